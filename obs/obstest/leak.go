package obstest

import (
	"context"
	"runtime/pprof"
	"strconv"
	"strings"
	"testing"
	"time"
)

// labelKey marks the goroutines of a recorder's test: a goroutine passes its
// labels on to those it starts, which is how a test's are told from those of
// tests that run beside it.
const labelKey = "kumihimo.test"

// label marks the calling goroutine, which is the test's, with the test's name
// and the recorder's number, and returns the test's context with the mark.
func label(t testing.TB) context.Context {
	mark := t.Name() + " " + strconv.FormatInt(router.recorders.Add(1), 10)
	ctx := pprof.WithLabels(t.Context(), pprof.Labels(labelKey, mark))
	pprof.SetGoroutineLabels(ctx)
	return ctx
}

// unlabel takes the mark from the calling goroutine, lest it go on to what
// starts after the test.
func unlabel() { pprof.SetGoroutineLabels(context.Background()) }

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
	mark, _ := pprof.Label(ctx, labelKey)
	for wait := time.Millisecond; wait < leakWait; wait *= 2 {
		if stacks = labelled(mark); stacks == "" {
			return ""
		}
		time.Sleep(wait)
	}
	return stacks
}

// labelled returns the entries of the goroutine profile that carry the label.
func labelled(label string) string {
	var profile strings.Builder
	if err := pprof.Lookup("goroutine").WriteTo(&profile, 1); err != nil {
		return ""
	}
	var left []string
	mark := `"` + labelKey + `":` + strconv.Quote(label)
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
		left = append(left, calls(entry))
	}
	return strings.Join(left, "\n")
}

// calls returns the functions of a goroutine, and where they are in the code,
// without the addresses.
func calls(entry string) string {
	var b strings.Builder
	for l := range strings.Lines(entry) {
		if rest, ok := strings.CutPrefix(l, "#\t"); ok {
			_, call, _ := strings.Cut(rest, "\t")
			b.WriteString(strings.Join(strings.Fields(call), " ") + "\n")
		}
	}
	return strings.TrimSuffix(b.String(), "\n")
}
