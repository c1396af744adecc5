package ddagent

import (
	"bytes"
	"os"
	"runtime/debug"
	"strconv"
)

// queueShare is the part of a small container's memory that the queue may
// take: 16 MiB would be an eighth of Cloud Run's smallest, 128 MiB.
const queueShare = 20

// cgroupLimits are the files that say how much memory the container has, of
// cgroup v2 and v1.
var cgroupLimits = []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}

// queueBytes returns the default of Options.QueueBytes: less than 16 MiB if a
// twentieth of the smaller of the runtime's limit (GOMEMLIMIT) and the
// container's is less.
func queueBytes(runtimeLimit int64, read func(name string) ([]byte, error)) int64 {
	limit := runtimeLimit
	for _, name := range cgroupLimits {
		text, err := read(name)
		if err != nil {
			continue
		}
		// "max" is no number, and no limit.
		if n, err := strconv.ParseInt(string(bytes.TrimSpace(text)), 10, 64); err == nil && n > 0 {
			limit = min(limit, n)
		}
		break
	}
	if limit <= 0 {
		return defaultQueueBytes
	}
	return min(defaultQueueBytes, max(limit/queueShare, 1))
}

func defaultQueue() int64 { return queueBytes(debug.SetMemoryLimit(-1), os.ReadFile) }
