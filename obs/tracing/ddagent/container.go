package ddagent

import (
	"bytes"
	"strings"
)

// container says which container the process runs in, so that an agent on the
// same machine (GKE) can add its tags. Elsewhere it is empty.
type container struct {
	id     string // as the container's runtime has it
	entity string // "ci-" and the id, or "in-" and the inode of the cgroup
}

// The files that tell, and how; tests have their own.
type containerFiles struct {
	cgroup string // of the process: "0::/kubepods/…/<id>"
	mount  string // of the cgroups
	// hostNamespace says whether the process sees the machine's cgroups: then
	// their inode says nothing of a container.
	hostNamespace func() bool
	read          func(name string) ([]byte, error)
	inode         func(name string) string
}

func (f containerFiles) container() container {
	text, err := f.read(f.cgroup)
	if err != nil {
		return container{}
	}
	var paths []string // of the memory controller (v1), then of the one tree (v2)
	for line := range bytes.Lines(text) {
		parts := strings.SplitN(strings.TrimSpace(string(line)), ":", 3)
		if len(parts) != 3 {
			continue
		}
		if id := containerID(parts[2]); id != "" {
			return container{id: id, entity: "ci-" + id}
		}
		switch parts[1] {
		case "memory":
			paths = append([]string{f.mount + "/memory" + parts[2]}, paths...)
		case "":
			paths = append(paths, f.mount+parts[2])
		}
	}
	if f.hostNamespace() {
		return container{}
	}
	for _, path := range paths {
		if inode := f.inode(path); inode != "" {
			return container{entity: "in-" + inode}
		}
	}
	return container{}
}

// containerID returns the 64 hex digits at the end of a cgroup's path, before
// ".scope" if that is there.
func containerID(path string) string {
	path = strings.TrimSuffix(path, ".scope")
	if len(path) < 64 {
		return ""
	}
	id := path[len(path)-64:]
	for i := range len(id) {
		if c := id[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return ""
		}
	}
	return id
}

// printable returns s without what is no printable ASCII: a header that cannot
// be sent would stop every request.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, s)
}
