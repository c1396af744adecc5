package tracing

import (
	"context"
	"encoding/binary"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/internal/obsctx"
)

// checkExtracted holds what is true of every extraction: a state that fits the
// SpanContext, bounded and clean facts, and headers that net/http would send.
// What is injected again is read as what it was.
func checkExtracted(t *testing.T, p propagation.TextMapPropagator, h http.Header) {
	t.Helper()
	ctx := p.Extract(context.Background(), propagation.HeaderCarrier(h))
	got := takenFrom(t, ctx)
	if len(got.Tags) > maxTags || len(got.Origin) > maxOrigin || !printable(got.Tags, "") || !printable(got.Origin, "") {
		t.Errorf("origin %q, tags %q: too long or not clean", got.Origin, got.Tags)
	}
	if got.Tags != "" {
		for tag := range strings.SplitSeq(got.Tags, ",") {
			if key, value, _ := strings.Cut(tag, "="); !validTag(key, value) || key == tagTID || key == tagDM {
				t.Errorf("tag %q: not one to send on", tag)
			}
		}
	}
	out := propagation.HeaderCarrier{}
	p.Inject(ctx, out)
	for name, values := range out {
		if len(values) != 1 || !printable(values[0], "") || len(values[0]) > maxBaggage {
			t.Errorf("injected %s: %q", name, values)
		}
	}
	if len(out.Get("tracestate")) > maxState || len(out.Get("x-datadog-tags")) > maxTags {
		t.Errorf("injected more than a header holds: %v", out)
	}
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return
	}
	again := takenFrom(t, p.Extract(context.Background(), out))
	if again.Span != got.Span || again.Sampled != got.Sampled && got.Decision != "" {
		t.Errorf("read %+v, sent it on, read %+v", got, again)
	}
}

func addCorpus(f *testing.F, add func(headers http.Header)) {
	f.Helper()
	for _, h := range []string{
		"",
		ddA + "x-datadog-sampling-priority: 2\nx-datadog-origin: rum\nx-datadog-tags: " + tidA + ",_dd.p.dm=-4,_dd.p.a=1=2",
		w3cA + "tracestate: rojo=1,dd=s:2;o:rum;p:000000000000000c;t.dm:-4;t.a:1~2,congo=2",
		"b3: " + idA + "-00f067aa0ba902b7-1\nx-b3-traceid: " + idA + "\nx-b3-spanid: 00f067aa0ba902b7\nx-b3-sampled: 0",
		front + "tracestate: dd=s:-1;p:00f067aa0ba902b7\nbaggage: a=1;p,b=%20",
		"x-datadog-trace-id: -1\nx-datadog-parent-id: 18446744073709551615\nx-datadog-tags: =,,\ntraceparent: 00--\ntracestate: dd=;:;t.:,=",
	} {
		add(headers(h))
	}
}

func FuzzExtractDatadog(f *testing.F) {
	addCorpus(f, func(h http.Header) {
		f.Add(h.Get("x-datadog-trace-id"), h.Get("x-datadog-parent-id"), h.Get("x-datadog-sampling-priority"), h.Get("x-datadog-origin"), h.Get("x-datadog-tags"))
	})
	p := NewPropagator(PropagatorOptions{Extract: []string{"datadog"}})
	f.Fuzz(func(t *testing.T, id, parent, priority, origin, tags string) {
		checkExtracted(t, p, http.Header{
			"X-Datadog-Trace-Id": {id}, "X-Datadog-Parent-Id": {parent}, "X-Datadog-Sampling-Priority": {priority},
			"X-Datadog-Origin": {origin}, "X-Datadog-Tags": {tags},
		})
	})
}

func FuzzExtractTraceContext(f *testing.F) {
	addCorpus(f, func(h http.Header) { f.Add(h.Get("traceparent"), h.Get("tracestate")) })
	p := NewPropagator(PropagatorOptions{Extract: []string{"tracecontext"}})
	f.Fuzz(func(t *testing.T, parent, state string) {
		checkExtracted(t, p, http.Header{"Traceparent": {parent}, "Tracestate": {state}})
	})
}

func FuzzExtractB3(f *testing.F) {
	addCorpus(f, func(h http.Header) {
		f.Add(h.Get("b3"), h.Get("x-b3-traceid"), h.Get("x-b3-spanid"), h.Get("x-b3-sampled"))
	})
	styles := []string{"b3 single header", "b3multi"}
	p := NewPropagator(PropagatorOptions{Extract: styles, Inject: styles})
	f.Fuzz(func(t *testing.T, single, id, parent, sampled string) {
		checkExtracted(t, p, http.Header{"B3": {single}, "X-B3-Traceid": {id}, "X-B3-Spanid": {parent}, "X-B3-Sampled": {sampled}})
	})
}

func FuzzExtractBaggage(f *testing.F) {
	addCorpus(f, func(h http.Header) { f.Add(h.Get("baggage"), "ot-baggage-a", h.Get("x-datadog-origin")) })
	p := NewPropagator(PropagatorOptions{})
	f.Fuzz(func(t *testing.T, list, name, value string) {
		checkExtracted(t, p, http.Header{"Baggage": {list, value}, http.CanonicalHeaderKey(name): {value}})
	})
}

func FuzzExtractAll(f *testing.F) {
	addCorpus(f, func(h http.Header) {
		f.Add(h.Get("x-datadog-trace-id"), h.Get("x-datadog-parent-id"), h.Get("x-datadog-tags"), h.Get("traceparent"), h.Get("tracestate"), h.Get("x-cloud-trace-context"))
	})
	own := NewPropagator(PropagatorOptions{})
	f.Fuzz(func(t *testing.T, id, parent, tags, w3c, state, cloud string) {
		h := http.Header{
			"X-Datadog-Trace-Id": {id}, "X-Datadog-Parent-Id": {parent}, "X-Datadog-Tags": {tags},
			"Traceparent": {w3c}, "Tracestate": {state}, "X-Cloud-Trace-Context": {cloud},
		}
		checkExtracted(t, own, h)
		for _, p := range []propagation.TextMapPropagator{NewIngress(own), NewIngress(propagation.TraceContext{})} {
			takenFrom(t, p.Extract(context.Background(), propagation.HeaderCarrier(h)))
		}
	})
}

// What leaves a span of ours arrives whole at a service with the same styles,
// and, as far as its form allows, at one that reads W3C's headers alone.
func FuzzRoundTrip(f *testing.F) {
	f.Add(uint64(0x4bf92f3577b34da6), uint64(0xa3ce929d0e0e4736), uint64(5), int32(2), int8(4), true, "rum", "a", "1=2", "congo", "x")
	f.Add(uint64(0), uint64(1), uint64(1), int32(-1), int8(3), true, "", "", "", "", "")
	f.Add(uint64(1), uint64(0), uint64(1), int32(0), int8(-1), false, "a=b", "x.y", "é", "dd", "s:1")
	p := NewPropagator(PropagatorOptions{})
	w3c := NewPropagator(PropagatorOptions{Extract: []string{"tracecontext"}})
	f.Fuzz(func(t *testing.T, high, low, span uint64, priority int32, mechanism int8, decided bool, origin, tag, value, vendorKey, vendorValue string) {
		var s obsctx.Trace
		var sid trace.SpanID
		binary.BigEndian.PutUint64(s.ID[:8], high)
		binary.BigEndian.PutUint64(s.ID[8:], low)
		binary.BigEndian.PutUint64(sid[:], span)
		if !s.ID.IsValid() || !sid.IsValid() {
			return
		}
		s.Origin = cleanOrigin(origin)
		if key := tagPrefix + tag; validTag(key, value) && key != tagTID && key != tagDM && len(key)+1+len(value) < maxTags/2 {
			s.Tags = key + "=" + value
		}
		d := obsctx.Decision{Priority: int(priority), Mechanism: obsctx.Mechanism(max(mechanism, -1))}
		if d.Priority <= 0 {
			d.Mechanism = obsctx.MechanismUnknown // not sent
		}
		if decided {
			s.Init(d)
		}
		var state trace.TraceState
		if vendorKey != vendor {
			state, _ = state.Insert(vendorKey, vendorValue)
		}
		sc := trace.NewSpanContext(trace.SpanContextConfig{TraceID: s.ID, SpanID: sid, TraceState: state})
		h := propagation.HeaderCarrier{}
		p.Inject(obsctx.WithTrace(trace.ContextWithSpanContext(context.Background(), sc), &s), h)

		want := taken{Span: s.ID.String() + "/" + sid.String(), Sampled: decided && d.Priority > 0 || low == 0 && !decided, Origin: s.Origin, Tags: s.Tags, Last: sid.String()}
		if size := len(vendorKey) + 1 + len(vendorValue); size <= maxOther {
			want.State = state.String()
		}
		in := p.Extract(context.Background(), h)
		got := takenFrom(t, in)
		got.Decision = ""
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("sent %v (-want +got):\n%s", h, diff)
		}
		gotD, gotDecided := obsctx.TraceFrom(in).Decision()
		if low == 0 && !decided { // went in W3C's headers alone, which know no third state
			decided, d = true, obsctx.Decision{Priority: 1, Mechanism: obsctx.MechanismUnknown}
		}
		if gotDecided != decided || decided && gotD != d {
			t.Errorf("sent %v: got decision %+v (%v), want %+v (%v)", h, gotD, gotDecided, d, decided)
		}

		in = w3c.Extract(context.Background(), h)
		alone := takenFrom(t, in)
		if gotD, _ = obsctx.TraceFrom(in).Decision(); decided && gotD != d || !decided && gotD.Priority != 1 {
			t.Errorf("sent %v, read as W3C: got decision %+v, want %+v (%v)", h, gotD, d, decided)
		}
		if alone.Span != want.Span || alone.State != want.State || alone.Last != sid.String() ||
			!strings.ContainsAny(s.Origin, ",;~ ") && alone.Origin != s.Origin {
			t.Errorf("sent %v, read as W3C %+v, want %+v", h, alone, want)
		}
	})
}
