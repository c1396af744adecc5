package conformance

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/propagation"

	"github.com/kumihimo/kumihimo/obs/tracing"
)

const (
	w3cTrace  = "12345678901234567890123456789012"
	w3cParent = "1234567890123456"
	w3cHeader = "00-" + w3cTrace + "-" + w3cParent + "-00"
)

// w3cAnswer is what a service of ours sends on after it has got the headers:
// the trace, the parent, and tracestate without the dd member.
func w3cAnswer(t *testing.T, headers ...string) (traceID, parent, state string) {
	t.Helper()
	h := http.Header{}
	for i := 0; i < len(headers); i += 2 {
		h.Add(headers[i], headers[i+1])
	}
	p := tracing.NewPropagator(tracing.PropagatorOptions{})
	ctx, span := tracing.NewProvider(tracing.Options{}).Tracer("w3c").Start(p.Extract(context.Background(), propagation.HeaderCarrier(h)), "request")
	defer span.End()
	out := http.Header{}
	p.Inject(ctx, propagation.HeaderCarrier(out))
	got := out.Get("traceparent")
	if len(out["Traceparent"]) != 1 || !traceparentForm.MatchString(got) || strings.ToLower(got) != got {
		t.Errorf("sent traceparent %q, want a valid one", out["Traceparent"])
		return "", "", ""
	}
	var members []string
	for _, m := range split(out.Get("tracestate"), ",") {
		if !strings.HasPrefix(m, "dd=") {
			members = append(members, m)
		}
	}
	return got[3:35], got[36:52], strings.Join(members, ",")
}

// TestW3CTraceparent are the cases about traceparent of W3C's test suite,
// https://github.com/w3c/trace-context/blob/main/test/test.py, in its order.
func TestW3CTraceparent(t *testing.T) {
	t.Parallel()
	full := func(s string) string { return "00-" + w3cTrace + "-" + w3cParent + s }
	tests := []struct {
		name      string
		headers   []string
		continues bool
	}{
		{"missing", nil, false},
		{"included", []string{"traceparent", full("-01")}, true},
		{"duplicated", []string{"traceparent", "00-12345678901234567890123456789011-" + w3cParent + "-01", "traceparent", full("-01")}, false},
		{"name with a dash", []string{"trace-parent", full("-01")}, false},
		{"name with a dot", []string{"trace.parent", full("-01")}, false},
		{"name TraceParent", []string{"TraceParent", full("-01")}, true},
		{"name TrAcEpArEnT", []string{"TrAcEpArEnT", full("-01")}, true},
		{"name TRACEPARENT", []string{"TRACEPARENT", full("-01")}, true},
		{"version 00, a dot", []string{"traceparent", full("-01.")}, false},
		{"version 00, more", []string{"traceparent", full("-01-what-the-future-will-be-like")}, false},
		{"version cc", []string{"traceparent", "cc" + full("-01")[2:]}, true},
		{"version cc, more", []string{"traceparent", "cc" + full("-01-what-the-future-will-be-like")[2:]}, true},
		{"version cc, run on", []string{"traceparent", "cc" + full("-01.what-the-future-will-be-like")[2:]}, false},
		{"version ff", []string{"traceparent", "ff" + full("-01")[2:]}, false},
		{"version .0", []string{"traceparent", ".0" + full("-01")[2:]}, false},
		{"version 0.", []string{"traceparent", "0." + full("-01")[2:]}, false},
		{"version 000", []string{"traceparent", "0" + full("-01")}, false},
		{"version 0000", []string{"traceparent", "00" + full("-01")}, false},
		{"version 0", []string{"traceparent", full("-01")[1:]}, false},
		{"trace id 0", []string{"traceparent", "00-" + strings.Repeat("0", 32) + "-" + w3cParent + "-01"}, false},
		{"trace id, illegal at the front", []string{"traceparent", "00-." + w3cTrace[1:] + "-" + w3cParent + "-01"}, false},
		{"trace id, illegal at the end", []string{"traceparent", "00-" + w3cTrace[:31] + ".-" + w3cParent + "-01"}, false},
		{"trace id too long", []string{"traceparent", "00-" + w3cTrace + "3-" + w3cParent + "-01"}, false},
		{"trace id too short", []string{"traceparent", "00-" + w3cTrace[:31] + "-" + w3cParent + "-01"}, false},
		{"parent id 0", []string{"traceparent", "00-" + w3cTrace + "-0000000000000000-01"}, false},
		{"parent id, illegal at the front", []string{"traceparent", "00-" + w3cTrace + "-." + w3cParent[1:] + "-01"}, false},
		{"parent id, illegal at the end", []string{"traceparent", "00-" + w3cTrace + "-" + w3cParent[:15] + ".-01"}, false},
		{"parent id too long", []string{"traceparent", full("7-01")}, false},
		{"parent id too short", []string{"traceparent", "00-" + w3cTrace + "-" + w3cParent[:15] + "-01"}, false},
		{"flags .0", []string{"traceparent", full("-.0")}, false},
		{"flags 0.", []string{"traceparent", full("-0.")}, false},
		{"flags too long", []string{"traceparent", full("-001")}, false},
		{"flags too short", []string{"traceparent", full("-1")}, false},
		{"blank in front", []string{"traceparent", " " + full("-01")}, true},
		{"tab in front", []string{"traceparent", "\t" + full("-01")}, true},
		{"blank behind", []string{"traceparent", full("-01") + " "}, true},
		{"tab behind", []string{"traceparent", full("-01") + "\t"}, true},
		{"blanks around", []string{"traceparent", "\t " + full("-01") + " \t"}, true},
	}
	for _, tt := range tests {
		traceID, parent, _ := w3cAnswer(t, tt.headers...)
		if (traceID == w3cTrace) != tt.continues || parent == w3cParent || !tt.continues && strings.HasPrefix(traceID, w3cTrace[:31]) {
			t.Errorf("%s: sent trace %s, parent %s; want it continued: %v, under a new parent", tt.name, traceID, parent, tt.continues)
		}
	}
}

// TestW3CTracestate are the suite's cases about tracestate. Where the suite
// wants all members gone because one is malformed (its level "strict"), we
// leave out that one: the other vendors' data is not at fault.
func TestW3CTracestate(t *testing.T) {
	t.Parallel()
	const legal = "abcdefghijklmnopqrstuvwxyz0123456789_-*/"
	value := func() string {
		var b []byte
		for c := byte(0x20); c <= 0x7e; c++ {
			if c != ',' && c != '=' {
				b = append(b, c)
			}
		}
		return string(b)
	}()
	members := func(from, to int) string {
		var list []string
		for i := from; i <= to; i++ {
			list = append(list, fmt.Sprintf("bar%02d=%02d", i, i))
		}
		return strings.Join(list, ",")
	}
	z, tenant, vendor := strings.Repeat("z", 256), strings.Repeat("t", 241), strings.Repeat("v", 14)
	tests := []struct {
		name  string
		state []string // one a header
		want  string
	}{
		{"included", []string{"foo=1,bar=2"}, "foo=1,bar=2"},
		{"empty", []string{""}, ""},
		{"empty after", []string{"foo=1", ""}, "foo=1"},
		{"empty before", []string{"", "foo=1"}, "foo=1"},
		{"several headers", []string{"foo=1,bar=2", "rojo=1,congo=2", "baz=3"}, "foo=1,bar=2,rojo=1,congo=2,baz=3"},
		{"all characters", []string{legal + "=" + value}, legal + "=" + value},
		{"all characters, with a vendor", []string{legal + "@a-z0-9_-*/=" + value}, legal + "@a-z0-9_-*/=" + value},
		{"blanks and tabs", []string{"foo=1 \t , \t bar=2, \t baz=3"}, "foo=1,bar=2,baz=3"},
		{"tabs and blanks", []string{"foo=1\t \t,\t \tbar=2,\t \tbaz=3"}, "foo=1,bar=2,baz=3"},
		{"blank in front", []string{" foo=1"}, "foo=1"},
		{"tab in front", []string{"\tfoo=1"}, "foo=1"},
		{"blank behind", []string{"foo=1 "}, "foo=1"},
		{"tab behind", []string{"foo=1\t"}, "foo=1"},
		{"blanks around", []string{"\t foo=1 \t"}, "foo=1"},
		{"key of 256", []string{"foo=1", z + "=1"}, "foo=1," + z + "=1"},
		{"tenant of 241, vendor of 14", []string{"foo=1", tenant + "@" + vendor + "=1"}, "foo=1," + tenant + "@" + vendor + "=1"},

		{"key with a blank", []string{"foo =1"}, ""},
		{"key in upper case", []string{"FOO=1"}, ""},
		{"key with a dot", []string{"foo.bar=1"}, ""},
		{"value with =", []string{"foo=bar=baz"}, ""},

		// 32 is the limit, and one of them is ours.
		{"32 members", []string{members(1, 10), members(11, 20), members(21, 30), members(31, 32)}, members(1, 31)},
		{"33 members", []string{members(1, 10), members(11, 20), members(21, 30), members(31, 33)}, members(1, 31)},

		// Strict: the suite wants none of the members.
		{"repeated key", []string{"foo=1,foo=1"}, "foo=1"},
		{"repeated key, other value", []string{"foo=1,foo=2"}, "foo=1"},
		{"repeated key in two headers", []string{"foo=1", "foo=2"}, "foo=1"},
		{"vendor missing", []string{"foo@=1,bar=2"}, "bar=2"},
		{"tenant missing", []string{"@foo=1,bar=2"}, "bar=2"},
		{"two @", []string{"foo@@bar=1,bar=2"}, "bar=2"},
		{"three parts", []string{"foo@bar@baz=1,bar=2"}, "bar=2"},
		{"key of 257", []string{"foo=1", z + "z=1"}, "foo=1"},
		{"tenant of 242", []string{"foo=1", tenant + "t@v=1"}, "foo=1"},
		{"vendor of 15", []string{"foo=1", "t@" + vendor + "v=1"}, "foo=1"},
		{"value missing", []string{"foo=,bar=3"}, "bar=3"},
	}
	for _, tt := range tests {
		headers := []string{"traceparent", w3cHeader}
		for _, s := range tt.state {
			headers = append(headers, "tracestate", s)
		}
		if traceID, _, got := w3cAnswer(t, headers...); traceID != w3cTrace || got != tt.want {
			t.Errorf("%s: sent trace %s, tracestate %q, want the same trace, %q", tt.name, traceID, got, tt.want)
		}
	}
	for _, name := range []string{"trace-state", "trace.state"} {
		if _, _, got := w3cAnswer(t, "traceparent", w3cHeader, name, "foo=1"); got != "" {
			t.Errorf("%s: sent %q on", name, got)
		}
	}
	for _, name := range []string{"TraceState", "TrAcEsTaTe", "TRACESTATE"} {
		if _, _, got := w3cAnswer(t, "traceparent", w3cHeader, name, "foo=1"); got != "foo=1" {
			t.Errorf("%s: sent %q", name, got)
		}
	}
	if _, _, got := w3cAnswer(t, "tracestate", "foo=1,bar=2"); got != "" {
		t.Errorf("without traceparent: sent %q", got)
	}
}

// TestW3CManyRequests are the suite's "advanced" cases: each request a service
// sends has its own parent, all have one trace.
func TestW3CManyRequests(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		headers   []string
		continues bool
	}{
		{[]string{"traceparent", w3cHeader}, true},
		{nil, false},
		{[]string{"traceparent", "00-" + strings.Repeat("0", 32) + "-" + w3cParent + "-01"}, false},
	} {
		parents := map[string]bool{}
		for range 3 {
			traceID, parent, _ := w3cAnswer(t, tt.headers...)
			parents[parent] = true
			if (traceID == w3cTrace) != tt.continues || traceID == strings.Repeat("0", 32) {
				t.Errorf("%q: got trace %s", tt.headers, traceID)
			}
		}
		if len(parents) != 3 {
			t.Errorf("%q: got %d parents, want 3", tt.headers, len(parents))
		}
	}
}
