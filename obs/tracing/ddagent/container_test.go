package ddagent

import (
	"errors"
	"strings"
	"testing"
)

func TestContainer(t *testing.T) {
	t.Parallel()
	id := strings.Repeat("0123456789abcdef", 4)
	tests := []struct {
		name   string
		cgroup string // empty: there is no such file
		host   bool
		inodes map[string]string
		want   container
	}{
		{name: "no file", want: container{}},
		{name: "GKE, cgroup v1", cgroup: "11:memory:/kubepods/burstable/pod1/" + id + "\n1:name=systemd:/kubepods/x\n", want: container{id, "ci-" + id}},
		{name: "containerd under systemd", cgroup: "0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-" + id + ".scope\n", host: true, want: container{id, "ci-" + id}},
		{name: "cgroup v2 in a namespace", cgroup: "0::/\n", inodes: map[string]string{"/cg/": "4711"}, want: container{"", "in-4711"}},
		{name: "cgroup v1 in a namespace", cgroup: "0::/\n9:memory:/a\n8:cpu:/b\n", inodes: map[string]string{"/cg/": "1", "/cg/memory/a": "2"}, want: container{"", "in-2"}},
		{name: "no container", cgroup: "0::/user.slice\n", host: true, inodes: map[string]string{"/cg/user.slice": "1"}, want: container{}},
		{name: "no inode", cgroup: "0::/\n", want: container{}},
		{name: "garbage", cgroup: "\x00\xff\n:\n::\nabc", want: container{}},
		{name: "64 characters, not hex", cgroup: "0::/" + strings.Repeat("x", 64) + "\n", want: container{}},
	}
	for _, tt := range tests {
		got := containerFiles{
			cgroup: "/self", mount: "/cg",
			hostNamespace: func() bool { return tt.host },
			read: func(name string) ([]byte, error) {
				if name != "/self" || tt.cgroup == "" {
					return nil, errors.New("no such file")
				}
				return []byte(tt.cgroup), nil
			},
			inode: func(name string) string { return tt.inodes[name] },
		}.container()
		if got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

func TestContainerHeaders(t *testing.T) {
	t.Parallel()
	c := newClient(Options{URL: defaultURL}, process{container: container{"abc", "ci-abc"}})
	if id, entity := c.header.Get("Datadog-Container-ID"), c.header.Get("Datadog-Entity-ID"); id != "abc" || entity != "ci-abc" {
		t.Errorf("container %q, entity %q", id, entity)
	}
	c = newClient(Options{URL: defaultURL, ExternalEnv: "it-false,cn-app,pu-75a2\r\nX: y\x7f\u00e9"}, process{})
	if got, want := c.header.Get("Datadog-External-Env"), "it-false,cn-app,pu-75a2X: y"; got != want {
		t.Errorf("external environment %q, want %q", got, want)
	}
	c = newClient(Options{URL: defaultURL}, process{})
	for _, key := range []string{"Datadog-Container-ID", "Datadog-Entity-ID", "Datadog-External-Env"} {
		if _, ok := c.header[key]; ok {
			t.Errorf("%s is sent where there is none", key)
		}
	}
}
