package obstest

import (
	"context"
	"runtime/pprof"
	"strconv"
	"strings"
	"testing"
	"time"
)

// labelKey marks the goroutines of a test: a goroutine passes its labels on to
// those it starts, which is how a test's are told from those of tests that run
// beside it.
const labelKey = "kumihimo.test"

// label marks the calling goroutine, which is the test's, and returns the
// test's context with the mark.
func label(t testing.TB) context.Context {
	ctx := pprof.WithLabels(t.Context(), pprof.Labels(labelKey, t.Name()))
	pprof.SetGoroutineLabels(ctx)
	return ctx
}

// settled are goroutines that a test need not wait for: connections that
// clients keep for the next request, and those of the test itself.
var settled = []string{
	"net/http.(*persistConn).", "net/http.(*Transport).", "net/http.(*http2", "internal/http2.",
	"testing.tRunner", "testing.(*T).Run", "runtime/pprof.",
}

// leakWait bounds the wait for goroutines that are about to end.
const leakWait = 2 * time.Second

// leaked returns the stacks of the test's goroutines that are left, or "".
func leaked(ctx context.Context) (stacks string) {
	name, _ := pprof.Label(ctx, labelKey)
	for wait := time.Millisecond; wait < leakWait; wait *= 2 {
		if stacks = labelled(name); stacks == "" {
			return ""
		}
		time.Sleep(wait)
	}
	return stacks
}

// labelled returns the entries of the goroutine profile that carry the label.
func labelled(name string) string {
	var profile strings.Builder
	if err := pprof.Lookup("goroutine").WriteTo(&profile, 1); err != nil {
		return ""
	}
	var left []string
	mark := `"` + labelKey + `":` + strconv.Quote(name)
next:
	for entry := range strings.SplitSeq(profile.String(), "\n\n") {
		if !strings.Contains(entry, mark) {
			continue
		}
		for _, s := range settled {
			if strings.Contains(entry, s) {
				continue next
			}
		}
		left = append(left, entry)
	}
	return strings.Join(left, "\n\n")
}
