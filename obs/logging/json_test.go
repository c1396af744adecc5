package logging

import (
	"encoding/hex"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// TestClock: a timestamp is the time package's, whichever second was written
// before.
func TestClock(t *testing.T) {
	t.Parallel()
	var c clock
	rnd := rand.New(rand.NewPCG(1, 2))
	zone := time.FixedZone("", -7*3600)
	at := []time.Time{time.Unix(0, 0), time.Unix(0, 999_999_999), time.Unix(-1, 1), time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)}
	for range 2000 {
		second := time.Unix(rnd.Int64N(4e9)-1e9, 0)
		at = append(at, second.Add(time.Duration(rnd.Int64N(1e9))), second.Add(time.Duration(rnd.Int64N(1e9))).In(zone))
	}
	for _, when := range at {
		want := `"time":"` + when.UTC().Format("2006-01-02T15:04:05.000000000Z") + `",`
		if got := string(c.append(nil, when)); got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
	}
}

func TestHex(t *testing.T) {
	t.Parallel()
	for i := range 256 {
		id := []byte{byte(i), 0xff - byte(i), 0x0a, 0x90, byte(i) >> 1, 0, 0xff, byte(i) << 1}
		if got, want := string(appendHex(nil, id)), hex.EncodeToString(id); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// FuzzPlain compares the code that looks at eight bytes at a time with one
// that looks at each.
func FuzzPlain(f *testing.F) {
	for n := range 20 {
		f.Add(strings.Repeat("x", n))
	}
	for _, c := range []string{"\x00", "\x1f", " ", "!", "\"", "#", "[", "\\", "]", "\x7f", "\x80", "\xa0", "\xff", "é"} {
		for n := range 18 {
			f.Add(strings.Repeat("x", n) + c + strings.Repeat("y", 17-n))
		}
	}
	f.Fuzz(func(t *testing.T, s string) {
		want := len(s)
		for i := range len(s) {
			if c := s[i]; c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' {
				want = i
				break
			}
		}
		if got := plain(s); got != want {
			t.Errorf("plain(%q): got %d, want %d", s, got, want)
		}
		if got := plain([]byte(s)); got != want {
			t.Errorf("plain of the bytes of %q: got %d, want %d", s, got, want)
		}
		if len(s) <= maxShort {
			b, ok := appendShort([]byte("<"), s)
			if ok != (want == len(s)) || ok && string(b) != `<"`+s+`"` || !ok && string(b) != "<" {
				t.Errorf("appendShort(%q): got %s, %t", s, b, ok)
			}
		}
		b, size, sum := appendKey([]byte("<"), false, s)
		if size != len(b)-2 || sum != hash(b[2:size]) || want == len(s) && sum != hash(s) || want == len(s) && string(b) != `<"`+s+`":` {
			t.Errorf("appendKey(%q): got %d, %x: %s", s, size, sum, b)
		}
		if got := string(appendText([]byte("<"), s)); got != "<"+string(appendString(nil, s)) {
			t.Errorf("appendText(%q): got %s, want %s", s, got, appendString(nil, s))
		}
	})
}

// TestHash: keys of real records do not meet.
func TestHash(t *testing.T) {
	t.Parallel()
	seen := make(map[uint64]string)
	for _, key := range strings.Fields(`a b c ab ba id key user user.id user_id userId order order.id order_id tenant path method status code
		http.method http.route http.status_code http.url http.useragent db.system db.statement error error.kind error.message err cause
		elapsed duration took count items total amount currency comment gift address city zip country addr host port peer name version env service
		component module logger request_id trace_id span_id attempt retries size bytes offset limit page cursor queue topic partition`) {
		h := hash(key)
		if other, ok := seen[h]; ok {
			t.Errorf("%s and %s meet", key, other)
		}
		seen[h] = key
	}
}
