package redact

import (
	"strings"
	"testing"
)

// TestKeyTails: keys at the edges of the filter of last letters.
func TestKeyTails(t *testing.T) {
	t.Parallel()
	custom := New([]string{"Card-Number", "x", "", "--"})
	for _, tt := range []struct {
		key            string
		want, byCustom bool
	}{
		{"password", true, true}, {"PASSWORD", true, true}, {"db_password", true, true}, {"db.password", true, true}, {"dbPassword", true, true},
		{"Authorization", true, true}, {"Proxy-Authorization", true, true}, {"x-api-key", true, true}, {"apiKey", true, true}, {"api.key", true, true},
		{"set-cookie", true, true}, {"access_token", true, true}, {"accessToken", true, true}, {"id_token_", true, true}, {"token", true, true},
		{"token_count", false, false}, {"tokens", false, false}, {"passwords", false, false}, {"mytoken", false, false}, {"keyboard", false, false},
		{"", false, false}, {"-", false, false}, {"t", false, false}, {"n", false, false}, {"user", false, false}, {"e", false, false},
		{"card_number", false, true}, {"cardNumber", false, true}, {"CARDNUMBER", false, true}, {"number", false, false},
		{"x", false, true}, {"a.x", false, true}, {"X", false, true}, {"ax", false, false}, {"x_", false, true}, {"_x", false, true},
		{"to_ken", true, true}, {"tok-e-n", true, true}, {"トークン", false, false}, {"é_token", true, true},
	} {
		if got := (*Redactor)(nil).Key(tt.key); got != tt.want {
			t.Errorf("%q: got %t, want %t", tt.key, got, tt.want)
		}
		if got := custom.Key(tt.key); got != tt.byCustom {
			t.Errorf("%q with more keys: got %t, want %t", tt.key, got, tt.byCustom)
		}
	}
}

// FuzzKey: what is looked at first never hides a secret.
func FuzzKey(f *testing.F) {
	for _, s := range []string{"password", "x_token-", "a.b", "-", "é", "tOkEn", "X", "_", "toke_n", "n"} {
		f.Add(s, "x")
		f.Add("a"+s, s)
	}
	f.Fuzz(func(t *testing.T, key, extra string) {
		r := New([]string{extra})
		want := false
		for _, k := range r.keys {
			want = want || endsIn(key, k)
		}
		if got := r.Key(key); got != want {
			t.Errorf("%q with %q: got %t, want %t", key, extra, got, want)
		}
	})
}

func TestKeyAllocs(t *testing.T) {
	if got := testing.AllocsPerRun(100, func() { (*Redactor)(nil).Key("some.access_token") }); got != 0 {
		t.Errorf("%v allocations, want 0", got)
	}
}

func BenchmarkKey(b *testing.B) {
	for _, key := range []string{"user.id", "comment", "access_token", strings.Repeat("k", 64)} {
		b.Run(key[:min(len(key), 12)], func(b *testing.B) {
			for b.Loop() {
				(*Redactor)(nil).Key(key)
			}
		})
	}
}
