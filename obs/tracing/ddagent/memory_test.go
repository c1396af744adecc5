package ddagent

import (
	"io/fs"
	"math"
	"testing"
)

func TestQueueDefault(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	tests := []struct {
		name    string
		runtime int64
		v2, v1  string // "" : there is no such file
		want    int64
	}{
		{"no limit", math.MaxInt64, "", "", 16 * mib},
		{"cgroup v2 without", math.MaxInt64, "max\n", "", 16 * mib},
		{"cgroup v1 without", math.MaxInt64, "", "9223372036854771712\n", 16 * mib},
		{"Cloud Run's smallest", math.MaxInt64, "134217728\n", "", 128 * mib / 20},
		{"cgroup v1", math.MaxInt64, "", "134217728\n", 128 * mib / 20},
		{"v2 before v1", math.MaxInt64, "268435456", "134217728", 256 * mib / 20},
		{"large", math.MaxInt64, "4294967296", "", 16 * mib},
		{"GOMEMLIMIT", 100 * mib, "134217728", "", 100 * mib / 20},
		{"GOMEMLIMIT above the container's", 1000 * mib, "134217728", "", 128 * mib / 20},
		{"GOMEMLIMIT alone", 200 * mib, "", "", 200 * mib / 20},
		{"garbage", math.MaxInt64, "lots", "", 16 * mib},
		{"zero", math.MaxInt64, "0", "", 16 * mib},
		{"negative", math.MaxInt64, "-1", "", 16 * mib},
		{"GOMEMLIMIT of 0", 0, "", "", 16 * mib},
	}
	for _, tt := range tests {
		got := queueBytes(tt.runtime, func(name string) ([]byte, error) {
			text := map[string]string{cgroupLimits[0]: tt.v2, cgroupLimits[1]: tt.v1}[name]
			if text == "" {
				return nil, fs.ErrNotExist
			}
			return []byte(text), nil
		})
		if got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
	if got := NewExporter(Options{}).opts.QueueBytes; got <= 0 || got > defaultQueueBytes {
		t.Errorf("here: %d", got)
	}
	if got := NewExporter(Options{QueueBytes: 1 << 30}).opts.QueueBytes; got != 1<<30 {
		t.Errorf("an option of 1 GiB became %d", got)
	}
}
