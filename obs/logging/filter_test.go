package logging

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
)

func TestParseFilter(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ in, want string }{
		{"", "info"},
		{"debug", "debug"},
		{" WARN , ", "warn"},
		{"warning", "warn"},
		{"off", "off"},
		{"debug-4", "debug-4"},
		{"info+1", "info+1"},
		{"info+2", "notice"},
		{"emergency+5", "emergency+5"},
		{"net/http=off", "info,net/http=off"},
		{"info,github.com/acme/shop/db=debug,net/http=off", "info,github.com/acme/shop/db=debug,net/http=off"},
		{"a/b/ = error ,critical", "critical,a/b=error"},
		{"a=info,a/b=debug,a/b/c=off", "info,a=info,a/b=debug,a/b/c=off"},
	} {
		f, err := ParseFilter(tt.in)
		if err != nil {
			t.Errorf("%q: %v", tt.in, err)
			continue
		}
		if got := f.String(); got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestParseFilterErrors(t *testing.T) {
	t.Parallel()
	const levels = "want debug, info, notice, warn, error, critical, alert, emergency or off"
	for _, tt := range []struct{ in, want string }{
		{"loud", `logging: filter directive 1, "loud": unknown level "loud": ` + levels + `; or package=level`},
		{"info,net/http=loud", `logging: filter directive 2, "net/http=loud": unknown level "loud": ` + levels},
		{"info,debug", `logging: filter directive 2, "debug": there is a level for all already, "info"`},
		{"a=info,,a/=debug", `logging: filter directive 3, "a/=debug": there is a level for a already`},
		{"=debug", `logging: filter directive 1, "=debug": no package before the =`},
		{"a=", `logging: filter directive 1, "a=": unknown level "": ` + levels},
		{"a b=debug", `logging: filter directive 1, "a b=debug": "a b" is no package path`},
		{"info+x", `logging: filter directive 1, "info+x": "+x" is no offset of a level: want a number up to 1000 after + or -; or package=level`},
		{"info+99999999999999999999", `"+99999999999999999999" is no offset`},
		{"off+1", `unknown level "off+1"`},
	} {
		f, err := ParseFilter(tt.in)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: got %v, %v, want %s", tt.in, f, err, tt.want)
		}
	}
}

func TestRules(t *testing.T) {
	t.Parallel()
	f, err := ParseFilter("warn,github.com/acme/shop=info,github.com/acme/shop/db=debug,net/http=off,main=error,gopkg.in/yaml.v3=notice")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		function string
		main     bool
		want     slog.Level
	}{
		{"github.com/acme/shop.Run", false, slog.LevelInfo},
		{"github.com/acme/shop/db.(*Store).Load.func1", false, slog.LevelDebug},
		{"github.com/acme/shop/db/sql.Open", false, slog.LevelDebug},
		{"github.com/acme/shop/dbx.Open", false, slog.LevelInfo},
		{"github.com/acme/shopping.Run", false, slog.LevelWarn},
		{"net/http.(*conn).serve", false, levelOff},
		{"net/http/httptest.NewServer", false, levelOff},
		{"net.Dial", false, slog.LevelWarn},
		{"gopkg.in/yaml%2ev3.Unmarshal", false, LevelNotice},
		{"github.com/acme/shop/db.Map[go.shape.struct { a/b.C int }].Get", false, slog.LevelDebug},
		{"github.com/acme/shop/cmd/server.main", true, slog.LevelError},
		{"", false, slog.LevelWarn},
	} {
		if got := f.load().of(packageOf(tt.function), tt.main); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.function, levelName(got), levelName(tt.want))
		}
	}
}

const thisPackage = "github.com/kumihimo/kumihimo/obs/logging"

// TestFiltered logs at every level and says which records come out.
func TestFiltered(t *testing.T) {
	t.Parallel()
	named := func(name string) func(*slog.Logger) *slog.Logger {
		return func(l *slog.Logger) *slog.Logger { return l.With("logger", name) }
	}
	for _, tt := range []struct {
		name    string
		filter  string
		level   slog.Leveler
		derive  func(*slog.Logger) *slog.Logger
		want    string // written
		enabled string // what Enabled lets through
	}{
		{name: "nothing set", want: "IWE", enabled: "IWE"},
		{name: "level", level: slog.LevelWarn, want: "WE", enabled: "WE"},
		{name: "filter goes before level", level: slog.LevelDebug, filter: "error", want: "E", enabled: "E"},
		{name: "this package", filter: "error," + thisPackage + "=debug", want: "DIWE", enabled: "DIWE"},
		{name: "another package", filter: "warn,github.com/acme=debug", want: "WE", enabled: "DIWE"},
		{name: "the parent", filter: "debug,github.com/kumihimo=error", want: "E", enabled: "DIWE"},
		{name: "the module's prefix is no segment", filter: "warn,github.com/kumi=debug", want: "WE", enabled: "DIWE"},
		{name: "off", filter: "off", want: "", enabled: ""},
		{name: "package off", filter: "info," + thisPackage + "=off", want: "", enabled: "IWE"},
		{name: "named logger", filter: "warn,payments=info," + thisPackage + "=debug", derive: named("payments"), want: "IWE", enabled: "IWE"},
		{name: "below a named logger", filter: "warn,payments=info", derive: named("payments/card"), want: "IWE", enabled: "IWE"},
		{name: "named without a rule", filter: "warn," + thisPackage + "=debug", derive: named("payments"), want: "WE", enabled: "WE"},
		{name: "the last name counts", filter: "off,a=debug,b=error", derive: func(l *slog.Logger) *slog.Logger { return l.With("logger", "a").With("logger", "b") }, want: "E", enabled: "E"},
		{name: "a name in a group is none", filter: "warn,a=debug", derive: func(l *slog.Logger) *slog.Logger { return l.WithGroup("g").With("logger", "a") }, want: "WE", enabled: "DIWE"},
	} {
		for _, form := range []string{"json", "text", "another's handler"} {
			t.Run(tt.name+"/"+form, func(t *testing.T) {
				t.Parallel()
				opts := &Options{Level: tt.level}
				if tt.filter != "" {
					f, err := ParseFilter(tt.filter)
					if err != nil {
						t.Fatal(err)
					}
					opts.Filter = f
				}
				var buf bytes.Buffer
				logger := slog.New(NewHandler(&buf, opts))
				switch {
				case form == "text":
					logger = slog.New(NewTextHandler(&buf, opts))
				case form != "json" && opts.Filter != nil:
					logger = slog.New(opts.Filter.Handler(slog.NewTextHandler(&buf, &slog.HandlerOptions{Level: slog.LevelDebug})))
				}
				if tt.derive != nil {
					logger = tt.derive(logger)
				}
				var written, enabled strings.Builder
				for _, l := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
					buf.Reset()
					logger.Log(context.Background(), l, "m")
					if buf.Len() > 0 {
						written.WriteString(l.String()[:1])
					}
					if logger.Enabled(context.Background(), l) {
						enabled.WriteString(l.String()[:1])
					}
				}
				if written.String() != tt.want || enabled.String() != tt.enabled {
					t.Errorf("written %q, enabled %q, want %q, %q", &written, &enabled, tt.want, tt.enabled)
				}
			})
		}
	}
}

// TestRulesChange: call sites and bound loggers follow other rules at once.
func TestRulesChange(t *testing.T) {
	t.Parallel()
	var f Filter
	var buf bytes.Buffer
	plain := slog.New(NewHandler(&buf, &Options{Filter: &f}))
	named := plain.With("logger", "payments")
	for _, tt := range []struct {
		rules        string
		plain, named bool
	}{
		{"", false, false}, // the zero Filter
		{thisPackage + "=debug", true, false},
		{"payments=debug", false, true},
		{"error,x=debug", false, false},
		{"debug", true, true},
	} {
		if tt.rules != "" {
			if err := f.Set(tt.rules); err != nil {
				t.Fatal(err)
			}
			if err := f.Set("off,x=loud"); err == nil {
				t.Fatal("no error of a wrong directive")
			}
		}
		got := func(l *slog.Logger) bool {
			buf.Reset()
			l.Debug("m")
			return buf.Len() > 0
		}
		if p, n := got(plain), got(named); p != tt.plain || n != tt.named {
			t.Errorf("%q: got %t and %t, want %t and %t", tt.rules, p, n, tt.plain, tt.named)
		}
	}
	if s := (*Filter)(nil).String(); s != "info" {
		t.Errorf("nil Filter: %s", s)
	}
}

// FuzzParseFilter: what is accepted reads back as itself; nothing panics.
func FuzzParseFilter(f *testing.F) {
	for _, s := range []string{"", "info", "info,github.com/acme/shop/db=debug,net/http=off", "a=debug-4,,b/=off", "=", "x==info", "debug-1001", "\xff=info"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		one, err := ParseFilter(s)
		if err != nil {
			return
		}
		two, err := ParseFilter(one.String())
		if err != nil {
			t.Fatalf("%q became %q: %v", s, one, err)
		}
		if one.String() != two.String() || one.load().min != two.load().min {
			t.Errorf("%q: %q, then %q", s, one, two)
		}
		for _, r := range one.load().list {
			if two.load().of(r.target, false) != r.level {
				t.Errorf("%q: %s is %s after reading it back", s, r.target, levelName(two.load().of(r.target, false)))
			}
		}
	})
}
