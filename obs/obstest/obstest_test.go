package obstest_test

import (
	"net/http"
	"testing"

	"github.com/kumihimo/kumihimo/obs/emulator"
	"github.com/kumihimo/kumihimo/obs/obstest"
)

func TestPartsLiveAsLongAsTheTest(t *testing.T) {
	t.Parallel()
	var urls []string
	t.Run("a test", func(t *testing.T) {
		metadata := obstest.StartMetadataServer(t, emulator.MetadataServerOptions{})
		agent := obstest.StartAgent(t, emulator.AgentOptions{})
		front := obstest.StartFrontEnd(t, emulator.FrontEndOptions{Backend: agent.URL()})
		cloud := obstest.StartCloud(t, emulator.CloudOptions{})
		urls = []string{metadata.CertsURL(), agent.URL() + "/info", front.URL() + "/info", cloud.Agent.URL() + "/info"}
		for _, url := range urls {
			if err := get(t, url); err != nil {
				t.Error(err)
			}
		}
	})
	for _, url := range urls {
		if get(t, url) == nil {
			t.Errorf("%s answers after its test", url)
		}
	}
}

func get(t *testing.T, url string) error {
	r, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// fatal is a test that notes that it was failed.
type fatal struct {
	testing.TB
	failed bool
}

func (*fatal) Helper()        {}
func (f *fatal) Fatal(...any) { f.failed = true; panic(f) }

func TestFailsWhatCannotStart(t *testing.T) {
	t.Parallel()
	f := &fatal{TB: t}
	func() {
		defer func() {
			if r := recover(); r != any(f) {
				t.Errorf("recovered %v", r)
			}
		}()
		obstest.StartFrontEnd(f, emulator.FrontEndOptions{})
	}()
	if !f.failed {
		t.Error("not failed")
	}
}
