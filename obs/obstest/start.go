package obstest

import (
	"testing"

	"github.com/kumihimo/kumihimo/obs/emulator"
)

// StartMetadataServer is [emulator.StartMetadataServer] until the test ends.
func StartMetadataServer(t testing.TB, o emulator.MetadataServerOptions) *emulator.MetadataServer {
	t.Helper()
	return start(t, emulator.StartMetadataServer, o)
}

// StartFrontEnd is [emulator.StartFrontEnd] until the test ends.
func StartFrontEnd(t testing.TB, o emulator.FrontEndOptions) *emulator.FrontEnd {
	t.Helper()
	return start(t, emulator.StartFrontEnd, o)
}

// StartAgent is [emulator.StartAgent] until the test ends.
func StartAgent(t testing.TB, o emulator.AgentOptions) *emulator.Agent {
	t.Helper()
	return start(t, emulator.StartAgent, o)
}

// StartCloud is [emulator.StartCloud] until the test ends.
func StartCloud(t testing.TB, o emulator.CloudOptions) *emulator.Cloud {
	t.Helper()
	return start(t, emulator.StartCloud, o)
}

// start fails the test if a part cannot be started, and closes it at the end.
func start[O any, P interface{ Close() error }](t testing.TB, starter func(O) (P, error), o O) P {
	t.Helper()
	part, err := starter(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := part.Close(); err != nil {
			t.Error(err)
		}
	})
	return part
}
