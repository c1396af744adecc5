package tracing

import (
	"math"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
)

func TestGlob(t *testing.T) {
	t.Parallel()
	tests := []struct {
		pattern string
		yes, no []string
	}{
		{"", []string{"", "a"}, nil},
		{"*", []string{"", "a"}, nil},
		{"**", []string{"", "a"}, nil},
		{"shop", []string{"shop", "SHOP"}, []string{"", "shops", "ashop"}},
		{"GET /users/*", []string{"get /users/", "GET /users/7/x"}, []string{"GET /user", "a GET /users/1"}},
		{"*health*", []string{"GET /healthz", "health"}, []string{"GET /"}},
		{"a*b*c", []string{"abc", "aXbXc", "abcbc"}, []string{"abcX", "acb"}},
		{"?", []string{"a", "é"}, []string{"", "ab"}},
		{"a?*", []string{"ab", "abc"}, []string{"a"}},
		{"*?", []string{"a", "ab"}, []string{""}},
		{"É", []string{"é"}, []string{"e"}},
		{"k", []string{"K", "\u212a"}, nil}, // the sign for Kelvin folds to k
		{"a.c", []string{"a.c"}, []string{"abc"}},
		{"[a]+", []string{"[A]+"}, []string{"aa"}},
	}
	for _, tt := range tests {
		g := newGlob(tt.pattern)
		for _, s := range tt.yes {
			if !g.match(s) {
				t.Errorf("%q does not match %q", tt.pattern, s)
			}
		}
		for _, s := range tt.no {
			if g.match(s) {
				t.Errorf("%q matches %q", tt.pattern, s)
			}
		}
	}
}

// A pattern from the environment must not be able to stop the service.
func TestGlobIsNotExponential(t *testing.T) {
	t.Parallel()
	g, s := newGlob(strings.Repeat("*a", 50)+"b"), strings.Repeat("a", 10_000)
	start := time.Now()
	if g.match(s) {
		t.Error("it matches")
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("took %v", d)
	}
}

// FuzzGlob compares with the regular expressions dd-trace-go makes of globs.
func FuzzGlob(f *testing.F) {
	for _, s := range []string{"", "*", "a*b?c", "GET /*", "É?", "*?*"} {
		f.Add(s, "GET /abc")
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, pattern, s string) {
		if !utf8.ValidString(pattern) || !utf8.ValidString(s) || strings.Contains(s+pattern, "\n") {
			t.Skip()
		}
		want := true
		if pattern != "" && pattern != "*" {
			expr := strings.NewReplacer(`\?`, `.`, `\*`, `.*`).Replace(regexp.QuoteMeta(pattern))
			want = regexp.MustCompile("(?i)^" + expr + "$").MatchString(s)
		}
		if got := newGlob(pattern).match(s); got != want {
			t.Errorf("%q matches %q: %v, want %v", pattern, s, got, want)
		}
	})
}

func TestParseSamplingRules(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in   string
		want []SamplingRule
		err  string
	}{
		{in: ""},
		{in: "[]"},
		{in: `[{}]`, want: []SamplingRule{{Rate: 1}}},
		{
			in:   ` [ {"service":"shop","name":"http.*","resource":"GET /?","tags":{"a":"b*"},"sample_rate":0.25,"max_per_second":5} , {"sample_rate":0,"provenance":"customer"} ] `,
			want: []SamplingRule{{Service: "shop", Name: "http.*", Resource: "GET /?", Tags: map[string]string{"a": "b*"}, Rate: 0.25, MaxPerSecond: 5}, {}},
		},
		{in: "shop", err: `at byte 1 ("shop")`},
		{in: `{"service":"shop"}`, err: "want a JSON array of rules"},
		{in: `[{"service":"shop",}]`, err: `at byte 20 ("}]")`},
		{in: `[{"service":"shop"}`, err: "at byte 19 (\"}\"): unexpected end"},
		{in: `[{"service":"shop"}] x`, err: "at byte 22"},
		{in: `[{"service":"shop"}] []`, err: "at byte 22"},
		{in: `[{}, {"service":7}]`, err: "at byte 17"},
		{in: `[{}, {"sample_rate":"a half"}]`, err: "sample_rate: a string, want a float64"},
		{in: `[{"sampel_rate":0.5}]`, err: `at byte 2 ("{\"sampel_rate\":0.5}]"): unknown field "sampel_rate"`},
		{in: `[{},{"sample_rate":1.5}]`, err: "at byte 5 (\"{\\\"sample_rate\\\":1.5}]\"): sample_rate 1.5: want a number from 0 to 1 (rule 2)"},
		{in: `[{"sample_rate":-0.5}]`, err: "at byte 2"},
		{in: `[{"max_per_second":-1}]`, err: "max_per_second -1"},
		{in: `[7]`, err: "at byte 2"},
	}
	for _, tt := range tests {
		got, err := ParseSamplingRules(tt.in)
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%s: got error %v, want %q in it", tt.in, err, tt.err)
			}
			continue
		}
		if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v\n-want +got:\n%s", tt.in, err, diff)
		}
	}
}

func FuzzParseSamplingRules(f *testing.F) {
	for _, s := range []string{"", "[]", `[{"service":"a","sample_rate":0.5,"tags":{"a":"*"}}]`, `[{},{"name":7}]`, `[1e999]`, `[{"sample_rate":1e-400}]`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		rules, err := ParseSamplingRules(s)
		if err != nil && (rules != nil || len(err.Error()) > 2*len(s)+300) {
			t.Errorf("%v, %v", rules, err)
		}
		for _, r := range compileRules(rules) {
			r.matches(&subject{service: s, name: s, resource: s, attrs: []attribute.KeyValue{attribute.String("a", s)}})
			if r.rate < 0 || r.rate > 1 || math.IsNaN(r.rate) {
				t.Errorf("rate %v", r.rate)
			}
		}
	})
}

func TestRuleMatches(t *testing.T) {
	t.Parallel()
	sub := &subject{
		service: "shop", name: "http.server.request", resource: "GET /users/{id}",
		attrs:         []attribute.KeyValue{attribute.String("tenant", "acme"), attribute.Int("status", 200), attribute.Float64("whole", 3), attribute.Float64("part", 3.5), attribute.Bool("beta", true)},
		resourceAttrs: []attribute.KeyValue{attribute.String("region", "europe-west1"), attribute.String("tenant", "none")},
	}
	tags := func(kv ...string) SamplingRule {
		r := SamplingRule{Tags: map[string]string{}}
		for i := 0; i < len(kv); i += 2 {
			r.Tags[kv[i]] = kv[i+1]
		}
		return r
	}
	tests := []struct {
		name string
		rule SamplingRule
		want bool
	}{
		{"empty", SamplingRule{}, true},
		{"service", SamplingRule{Service: "SH*"}, true},
		{"other service", SamplingRule{Service: "inventory"}, false},
		{"all", SamplingRule{Service: "shop", Name: "http.*", Resource: "get /users/*"}, true},
		{"one does not match", SamplingRule{Service: "shop", Name: "grpc.*"}, false},
		{"tags", tags("tenant", "ac?e", "status", "2*"), true},
		{"a tag does not match", tags("tenant", "acme", "status", "5*"), false},
		{"a missing tag", tags("nothing", "a*"), false},
		{"any value, as Datadog's tracers have it", tags("nothing", "*"), true},
		{"a tag of the resource", tags("region", "europe-*"), true},
		{"a whole number", tags("whole", "3"), true},
		{"a fraction", tags("part", "3*"), false},
		{"a bool", tags("beta", "TRUE"), true},
	}
	for _, tt := range tests {
		if got := compileRules([]SamplingRule{tt.rule})[0].matches(sub); got != tt.want {
			t.Errorf("%s: got %v", tt.name, got)
		}
	}
}

func TestLimiter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(10)
		take := func(n int) (allowed int, share float64) {
			for range n {
				var ok bool
				if ok, share = l.allow(time.Now()); ok {
					allowed++
				}
			}
			return allowed, share
		}
		steps := []struct {
			wait    time.Duration
			n       int
			allowed int
			share   float64
		}{
			{0, 20, 10, 0.5},                         // a burst of a second's worth
			{time.Second, 20, 10, 0.5},               // filled again; this second and the last
			{300 * time.Millisecond, 5, 3, 23. / 45}, // 3 have come back
			{time.Second, 5, 5, 18. / 30},
			{time.Hour, 100, 10, 0.1}, // no more than a burst; the past is forgotten
		}
		for i, s := range steps {
			time.Sleep(s.wait) // the test's own clock
			if allowed, share := take(s.n); allowed != s.allowed || math.Abs(share-s.share) > 1e-9 {
				t.Errorf("step %d: allowed %d, share %v, want %d, %v", i+1, allowed, share, s.allowed, s.share)
			}
		}
		none := newLimiter(0)
		if ok, share := none.allow(time.Now()); ok || share != 0 {
			t.Errorf("a limit of 0: got %v, %v", ok, share)
		}
	})
}
