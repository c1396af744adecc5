package ddagent

import (
	"io"
	"math"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/internal/obsctx"
)

func TestRates(t *testing.T) {
	bubble(t, ProcessorOptions{}, func(t *testing.T, r *rig, _ trace.Tracer) {
		var answer, version string
		r.agent.set(func(w http.ResponseWriter, req *http.Request, _ int, body []byte) bool {
			w.Header().Set(headerRates, version)
			w.Header().Set("Datadog-Agent-Version", "7")
			io.WriteString(w, answer)
			traces, _ := tracesOf(body)
			r.agent.mu.Lock()
			defer r.agent.mu.Unlock()
			for _, tr := range traces {
				for _, s := range tr {
					r.agent.accepted[s.id()]++
				}
			}
			return true
		})
		want := func(service, env string, want float64, wantOK bool) {
			t.Helper()
			if got, ok := r.exporter.Rate(service, env); math.Abs(got-want) > 1e-9 || ok != wantOK {
				t.Errorf("rate of %s in %s: %v, %v; want %v, %v", service, env, got, ok, want, wantOK)
			}
		}
		want("shop", "prod", 0, false)

		version, answer = "v1", `{"rate_by_service":{"service:shop,env:prod":0.1,"service:,env:":0.5,"service:a,b,env:x":0.25,"garbage":1,"service:bad,env:":7}}`
		r.one()
		want("shop", "prod", 0.1, true)
		want("a,b", "x", 0.25, true)
		want("other", "prod", 0.5, true)
		want("bad", "", 0.5, true)

		version, answer = "v2", `{"rate_by_service":{"service:shop,env:prod":1,"service:,env:":0.2,"service:new,env:":1}}`
		r.one()
		want("shop", "prod", 0.1, true) // an increase takes its time
		want("other", "prod", 0.2, true)
		want("new", "", 1, true)
		time.Sleep(time.Second)
		want("shop", "prod", 0.2, true)
		answer = `{}` // as before
		r.one()
		time.Sleep(time.Second)
		want("shop", "prod", 0.4, true)
		answer = `{"rate_by_service":{"service:shop,env:prod":1,"service:,env:":1}}`
		r.one() // said again in mid-climb: it neither starts over nor jumps
		want("shop", "prod", 0.4, true)
		time.Sleep(10 * time.Second)
		want("shop", "prod", 1, true)

		var sent []string
		for _, h := range r.agent.headers {
			sent = append(sent, h.Get(headerRates))
		}
		if got := sent; len(got) != 4 || got[0] != ratesUnknown || got[1] != "v1" || got[2] != "v2" || got[3] != "v2" {
			t.Errorf("versions sent back: %v", got)
		}
		r.check(4)
	})
}

// BenchmarkRate is what a sampler asks for each trace.
func BenchmarkRate(b *testing.B) {
	e := NewExporter(Options{})
	e.rates.update("1", map[string]float64{"service:shop,env:prod": 0.5, "service:,env:": 1}, time.Now())
	b.ReportAllocs()
	for b.Loop() {
		e.Rate("shop", "prod")
	}
}

// unsampled sends n traces of priority 0 in a second, each of one span.
func (r *rig) unsampled(n int, end func(trace.Span)) {
	for range n {
		_, span, _ := r.trace(obsctx.Decision{})
		if end != nil {
			end(span)
		}
		span.End()
		time.Sleep(time.Second / time.Duration(n))
	}
}

// TestUnsampledTracesAreThinned checks what the agent would count: each trace
// that arrives for as many as its rate says.
func TestUnsampledTracesAreThinned(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{UnsampledPerSecond: 50, QueueBytes: 64 << 20}, ProcessorOptions{})
		const perSecond, seconds = 1600, 20
		for range seconds {
			r.unsampled(perSecond, nil)
		}
		const n = perSecond * seconds
		r.flushed()
		s := r.check(n)
		hits, arrived, variance := 0.0, 0, 0.0
		for _, c := range r.agent.chunks() {
			weight := 1.0
			if rate, ok := c[0].metrics()[keySampleRate]; ok {
				weight = 1 / rate.(float64)
			}
			hits += weight
			arrived++
			variance += weight * (weight - 1)
		}
		if sigma := math.Sqrt(variance); math.Abs(hits-n) > 4*sigma {
			t.Errorf("%d traces count as %.0f, more than 4 standard errors (%.0f) off", n, hits, sigma)
		}
		if arrived > 3*50*seconds || arrived < 20*seconds {
			t.Errorf("%d of %d traces arrived, want about 50 a second", arrived, n)
		}
		if s.Dropped.Unsampled != int64(n-arrived) || s.Dropped.Total() != s.Dropped.Unsampled {
			t.Errorf("%+v", s)
		}
		r.stop()
	})
}

// TestFewUnsampledTracesAllGo, and sampled ones however many.
func TestFewUnsampledTracesAllGo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{UnsampledPerSecond: 50}, ProcessorOptions{})
		r.unsampled(50, nil)
		r.unsampled(50, func(s trace.Span) { s.SetStatus(codes.Error, "") })
		for range 500 {
			_, span, _ := r.trace(keepIt)
			span.End()
		}
		r.flushed()
		if s := r.check(600); s.Sent != 600 {
			t.Errorf("%+v", s)
		}
		for _, c := range r.agent.chunks() {
			if rate, ok := c[0].metrics()[keySampleRate]; ok {
				t.Fatalf("a trace has the rate %v", rate)
			}
		}
		r.stop()
	})
}

// TestErrorsAreNotThinnedByTheRest sends some errors in a flood without.
func TestErrorsAreNotThinnedByTheRest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{UnsampledPerSecond: 20}, ProcessorOptions{})
		r.unsampled(1000, nil)
		before := r.exporter.Stats().Dropped.Unsampled
		r.unsampled(20, func(s trace.Span) { s.SetStatus(codes.Error, "") })
		if after := r.exporter.Stats().Dropped.Unsampled; before == 0 || after != before {
			t.Errorf("dropped %d before the errors and %d after", before, after)
		}
		r.stop()
	})
}

// TestRateOfPartsAndOfSamplers looks where a rate must stand: on the local
// root, or on every span of a part without it, multiplied by a sampler's own.
func TestRateOfPartsAndOfSamplers(t *testing.T) {
	t.Parallel()
	chunks := budgetChunks(t, 1)
	whole := chunks[0]
	whole.rate = 0.25
	part, rest, _ := whole.halve()
	if part.root >= 0 {
		part, rest = rest, part
	}
	if part.root >= 0 || rest.root < 0 {
		t.Fatal("a half has the root twice or not at all")
	}
	for _, encode := range []func(...chunk) ([][]span, error){
		func(c ...chunk) ([][]span, error) { return tracesOf(encodeV04(c...)) },
		func(c ...chunk) ([][]span, error) { return tracesOfV1(encodeV1(c...)) },
	} {
		got, err := encode(whole, part)
		if err != nil {
			t.Fatal(err)
		}
		for i, s := range got[0] {
			if rate, ok := s.metrics()[keySampleRate]; ok != (i == 0) || ok && rate != 0.25 {
				t.Errorf("span %d of the whole: rate %v", i, rate)
			}
		}
		for i, s := range got[1] {
			if s.metrics()[keySampleRate] != 0.25 {
				t.Errorf("span %d of the part: rate %v", i, s.metrics()[keySampleRate])
			}
		}
	}
	for _, tt := range []struct {
		own  attrView
		want float64
	}{
		{attrView{kind: kindFloat, num: math.Float64bits(0.5)}, 0.5}, {attrView{kind: kindInt, num: 1}, 1},
		{attrView{kind: kindInt, num: 7}, 1}, {attrView{kind: kindFloat}, 1}, {attrView{kind: kindString, str: "0.5"}, 1},
	} {
		if got := share(tt.own); got != tt.want {
			t.Errorf("share(%+v) = %v, want %v", tt.own, got, tt.want)
		}
	}
}
