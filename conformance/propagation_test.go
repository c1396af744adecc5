package conformance

import (
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/DataDog/dd-trace-go/v2/ddtrace/tracer"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestMain(m *testing.M) {
	tracer.UseLogger(silence{})
	os.Exit(m.Run())
}

// agree compares both propagators on h. It returns which differences had a
// part in making them equal, and how they are not.
func agree(h http.Header, styles []string) (used []string, diff string) {
	c := &comparison{sent: h, headers: h.Clone(), styles: styles}
	use := func(d difference) {
		if len(used) == 0 || used[len(used)-1] != d.name {
			used = append(used, d.name)
		}
	}
	for _, d := range differences {
		if d.in == nil {
			continue
		}
		before := sortedHeader(c.headers)
		if d.in(c); sortedHeader(c.headers) != before {
			use(d)
		}
	}
	want, err := factsOfOracle(c.headers, styles)
	got := factsOfOurs(h, styles)
	for _, d := range differences {
		if d.out == nil {
			continue
		}
		w, g := copyOf(want), copyOf(got)
		d.out(c, &want, &got)
		if (!equal(w, want) || !equal(g, got)) && !slices.Contains(used, d.name) {
			used = append(used, d.name)
		}
	}
	capFacts(&want, &got)
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		if err != nil {
			diff = "the oracle: " + err.Error() + "\n" + diff
		}
		return used, diff
	}
	return used, ""
}

func equal(a, b facts) bool { return cmp.Equal(a, b, cmpopts.EquateEmpty()) }

func copyOf(f facts) facts {
	f.Tags, f.T = maps.Clone(f.Tags), maps.Clone(f.T)
	f.Vendors, f.Links = slices.Clone(f.Vendors), slices.Clone(f.Links)
	return f
}

// capFacts leaves out of the comparison what does not fit: which tags the
// oracle leaves out is up to the order of a Go map.
func capFacts(want, got *facts) {
	tags, member := 0, len("dd=s:2147483647;o:;p:0123456789abcdef")+len(want.O)
	for k, v := range got.Tags {
		tags += len(k) + len(v) + 2
		member += len(k) + len(v) + 4
	}
	for k, v := range want.Tags {
		tags += len(k) + len(v) + 2
		member += len(k) + len(v) + 4
	}
	if member > 256 {
		want.T, got.T = nil, nil
	}
	delete(got.T, "tid")
	if tags > maxTags {
		want.Tags, got.Tags = nil, nil
	}
	if n := 24; len(want.Vendors) > n || len(got.Vendors) > n {
		want.Vendors, got.Vendors = nil, nil
	}
}

// styleSets are the orders in which headers are read.
var styleSets = [][]string{
	{"datadog", "tracecontext"},
	{"tracecontext", "datadog"},
	{"datadog"},
	{"tracecontext"},
	{"b3multi"},
	{"b3 single header"},
	{"datadog", "tracecontext", "b3multi", "b3 single header"},
}

const (
	traceA = "4bf92f3577b34da6a3ce929d0e0e4736"
	spanA  = "00f067aa0ba902b7"
	ddA    = "x-datadog-trace-id: 11803532876627986230\nx-datadog-parent-id: 67667974448284343\n"
	tidA   = "_dd.p.tid=4bf92f3577b34da6"
	w3cA   = "traceparent: 00-" + traceA + "-" + spanA + "-01\n"
	w3cNo  = "traceparent: 00-" + traceA + "-" + spanA + "-00\n"
	w3cC   = "traceparent: 00-" + traceA + "-000000000000000c-01\n"
	w3cB   = "traceparent: 00-0b000000000000000000000000000000-0b00000000000000-01\n"
)

func headerOf(s string) http.Header {
	h := http.Header{}
	for line := range strings.Lines(s) {
		if name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ": "); ok {
			h.Add(name, value)
		}
	}
	return h
}

// propagationCases are read in every order of styles. What differs where they
// are read in the default order stands beside them; "last parent" and "dd is
// written anew" are left out where the case is not about them.
var propagationCases = []struct {
	name, headers string
	differs       []string
}{
	{"none", "", nil},
	{"datadog, 64 bits", ddA + "x-datadog-sampling-priority: 1", nil},
	{"datadog, 128 bits", ddA + "x-datadog-sampling-priority: 2\nx-datadog-tags: " + tidA + ",_dd.p.dm=-4", nil},
	{"datadog, origin and tags", ddA + "x-datadog-sampling-priority: 1\nx-datadog-origin: rum\nx-datadog-tags: " + tidA + ",_dd.p.usr.id=a=b,_dd.p.ts=02", nil},
	{"datadog, origin escaped", ddA + "x-datadog-sampling-priority: 1\nx-datadog-origin: a=b;c,d~e f", nil},
	{"datadog, origin with blanks", ddA + "x-datadog-sampling-priority: 1\nx-datadog-origin: a  b", nil},
	{"datadog, refused", ddA + "x-datadog-sampling-priority: -1\nx-datadog-tags: " + tidA, nil},
	{"datadog, signed id", "x-datadog-trace-id: -6643211197081565386\nx-datadog-parent-id: 1\nx-datadog-sampling-priority: 1", nil},
	{"datadog, id 0", "x-datadog-trace-id: 0\nx-datadog-parent-id: 1", nil},
	{"datadog, no parent", "x-datadog-trace-id: 1\nx-datadog-sampling-priority: 1", nil},
	{"datadog, malformed tid", ddA + "x-datadog-sampling-priority: 1\nx-datadog-tags: _dd.p.tid=4BF92F3577B34DA6,_dd.p.a=1", nil},
	{"datadog, malformed tags", ddA + "x-datadog-sampling-priority: 1\nx-datadog-tags: a", nil},
	{"datadog, tags too long", ddA + "x-datadog-sampling-priority: 1\nx-datadog-tags: " + tidA + ",_dd.p.a=" + strings.Repeat("x", 512), nil},
	{"datadog, no priority", ddA, []string{"decide here"}},
	{"datadog, no priority, with tags", ddA + "x-datadog-tags: " + tidA + ",_dd.p.a=1", []string{"decide here"}},
	{"datadog, malformed priority", ddA + "x-datadog-sampling-priority: much", []string{"bounds", "decide here"}},
	{"datadog, long id", "x-datadog-trace-id: 000000000000000000000042\nx-datadog-parent-id: 1\nx-datadog-sampling-priority: 1", []string{"bounds"}},
	{"datadog, tid alone", "x-datadog-parent-id: 1\nx-datadog-sampling-priority: 1\nx-datadog-tags: " + tidA, []string{"bounds"}},
	{"datadog, long origin", ddA + "x-datadog-sampling-priority: 1\nx-datadog-origin: " + strings.Repeat("x", 129), []string{"bounds"}},
	{"datadog, decision maker of a drop", ddA + "x-datadog-sampling-priority: 0\nx-datadog-tags: _dd.p.dm=-3", []string{"no decision maker without a keep"}},
	{"datadog, malformed decision maker", ddA + "x-datadog-sampling-priority: 1\nx-datadog-tags: _dd.p.dm=four", []string{"no decision maker without a keep"}},
	{"datadog, tags for others", ddA + "x-datadog-sampling-priority: 1\nx-datadog-tags: a=b,_dd.p.a=1,_dd.p.b=\x01", []string{"tags for others"}},
	{"malformed datadog, valid tracecontext", "x-datadog-trace-id: x\nx-datadog-parent-id: 1\n" + w3cA, []string{"malformed headers hide nothing"}},

	{"tracecontext", w3cA, nil},
	{"tracecontext, not sampled", w3cNo, nil},
	{"tracecontext, no low half", w3cB + "tracestate: dd=s:2;o:rum;t.dm:-4;t.a:1", []string{"no low half"}},
	{"tracecontext, upper case", "traceparent: 00-" + strings.ToUpper(traceA+"-"+spanA) + "-01", nil},
	{"tracecontext, later version", "traceparent: 01-" + traceA + "-" + spanA + "-01-more", nil},
	{"tracecontext, version ff", "traceparent: ff-" + traceA + "-" + spanA + "-01", []string{"grammar"}},
	{"tracecontext, blanks within", "traceparent: 01-_" + traceA + "-" + spanA + "-01", []string{"grammar"}},
	{"tracecontext, signed flags", "traceparent: 00-" + traceA + "-" + spanA + "-+1", []string{"grammar"}},
	{"tracecontext, all flags", "traceparent: 00-" + traceA + "-" + spanA + "-ff", []string{"flags above 7f", "random flag"}},
	{"tracecontext, twice", w3cA + w3cA, []string{"malformed headers hide nothing"}},
	{"dd agrees", w3cA + "tracestate: dd=s:2;o:rum;p:000000000000000d;t.dm:-4;t.usr.id:a~b", nil},
	{"dd agrees on no", w3cNo + "tracestate: dd=s:-1", nil},
	{"the flag overrules no", w3cA + "tracestate: dd=s:-1;t.dm:-4", nil},
	{"the flag overrules yes", w3cNo + "tracestate: dd=s:2;t.dm:-4", nil},
	{"dd without s", w3cA + "tracestate: dd=o:rum;t.dm:-4", nil},
	{"dd without s among vendors", w3cA + "tracestate: congo=1,dd=o:rum", nil},
	{"dd, decision maker of a drop", w3cNo + "tracestate: dd=s:-1;t.dm:-4,congo=1", []string{"no decision maker without a keep"}},
	{"dd, p is no id", w3cA + "tracestate: dd=s:1;p:12", []string{"last parent"}},
	{"dd, malformed tag", w3cA + "tracestate: dd=s:1;t.a b:1;t.c:1", []string{"dd is written anew"}},
	{"dd too long", w3cA + "tracestate: congo=1,dd=s:2;t.a:" + strings.Repeat("x", 256), nil},
	{"vendors in order", w3cA + "tracestate: rojo=1, dd=s:2 ,\tcongo=2", nil},
	{"a long vendor", w3cA + "tracestate: rojo=" + strings.Repeat("x", 250) + ",congo=" + strings.Repeat("y", 508), nil},
	{"malformed vendors", w3cA + "tracestate: Bad=1,rojo=1,,congo=2,rojo=3", []string{"vendors one by one"}},
	{"probability", w3cA + "tracestate: dd=s:1,congo=1,ot=th:8;rv:0123456789abcd", []string{"ot is a vendor"}},
	{"tracestate too long", w3cA + "tracestate: a=" + strings.Repeat("x", 4096), nil},

	{"both, same parent", ddA + w3cA + "x-datadog-sampling-priority: 2\nx-datadog-tags: " + tidA + "\ntracestate: dd=s:2;p:" + spanA + ",congo=1", []string{"last parent"}},
	{"both, another parent", ddA + w3cC + "x-datadog-sampling-priority: 2\nx-datadog-tags: " + tidA + "\ntracestate: congo=1", nil},
	{"both, another parent, with p", ddA + w3cC + "x-datadog-sampling-priority: 2\nx-datadog-tags: " + tidA + "\ntracestate: dd=s:1;p:000000000000000d", nil},
	{"both, another trace", ddA + w3cB + "x-datadog-sampling-priority: 2\ntracestate: dd=s:2,congo=1", []string{"links"}},
	{"three traces", ddA + w3cB + "x-datadog-sampling-priority: 2\nb3: 00000000000000000000000000000077-0000000000000077-0\nx-b3-traceid: 78\nx-b3-spanid: 78\nx-b3-sampled: 1", []string{"links"}},

	{"b3", "b3: " + traceA + "-" + spanA + "-1\nx-b3-traceid: " + traceA + "\nx-b3-spanid: " + spanA + "\nx-b3-sampled: 0", nil},
	{"b3 debug", "b3: " + traceA + "-" + spanA + "-d-000000000000000c", nil},
	{"b3 deferred", "b3: " + traceA + "-" + spanA + "\nx-b3-traceid: a3ce929d0e0e4736\nx-b3-spanid: 1", nil},
	{"b3 true", "x-b3-traceid: " + traceA + "\nx-b3-spanid: " + spanA + "\nx-b3-sampled: true", []string{"b3"}},
	{"b3 long id", "x-b3-traceid: 1" + traceA + "\nx-b3-spanid: " + spanA + "\nx-b3-sampled: 1", []string{"b3"}},
	{"b3 alone", "b3: 0", []string{"b3"}},
}

// TestPropagator reads every case in every order of styles, as dd-trace-go's
// propagator does and as ours does.
func TestPropagator(t *testing.T) {
	t.Parallel()
	var all []string
	for _, tt := range propagationCases {
		for i, styles := range styleSets {
			used, diff := agree(headerOf(tt.headers), styles)
			if diff != "" {
				t.Errorf("%s, read as %v: -dd-trace-go +ours:\n%s", tt.name, styles, diff)
			}
			all = append(all, used...)
			if i != 0 {
				continue
			}
			// The oracle goes through headers in the random order of a map,
			// and forgets a decision maker in one half of them.
			for n := 0; n < 64 && len(used) < len(tt.differs); n++ {
				used, _ = agree(headerOf(tt.headers), styles)
			}
			for _, name := range tt.differs {
				if !slices.Contains(used, name) {
					t.Errorf("%s: the difference %q has no part in it; used are %q", tt.name, name, used)
				}
			}
			for _, name := range used {
				if !slices.Contains(tt.differs, name) && name != "last parent" && name != "dd is written anew" {
					t.Errorf("%s: the difference %q is not listed", tt.name, name)
				}
			}
		}
	}
	for _, d := range differences {
		if !slices.Contains(all, d.name) {
			t.Errorf("difference %q: no case shows it: is it still one? (%s)", d.name, d.reason)
		}
	}
}
