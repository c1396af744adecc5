package rediscache

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func testKey(b byte) []byte { return bytes.Repeat([]byte{b}, keyBytes) }

func mustSealer(t testing.TB, o Options) sealer {
	t.Helper()
	s, err := newSealer(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSeal(t *testing.T) {
	t.Parallel()
	s := mustSealer(t, Options{Key: testKey(1)})
	a, b := s.seal([]byte("value"), "k"), s.seal([]byte("value"), "k")
	if bytes.Equal(a, b) {
		t.Error("two seals are equal: the nonce is not random")
	}
	if bytes.Contains(a, []byte("value")) {
		t.Error("the value is in clear")
	}
	for _, value := range []string{"value", "", strings.Repeat("x", 1<<16)} {
		got, err := s.open(s.seal([]byte(value), "k"), "k")
		if err != nil || got == nil || string(got) != value {
			t.Errorf("%d bytes: got %d, %v", len(value), len(got), err)
		}
	}
	for i := range a { // each byte counts
		altered := bytes.Clone(a)
		altered[i] ^= 1
		if _, err := s.open(altered, "k"); err == nil {
			t.Errorf("opens with byte %d altered", i)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	ours := mustSealer(t, Options{Key: testKey(1)})
	plain := mustSealer(t, Options{Plaintext: true})
	sealed := ours.seal([]byte("value"), "k")
	for _, test := range []struct {
		name   string
		sealer sealer
		value  []byte
		want   error
	}{
		{"garbage", ours, []byte("garbage"), errForm},
		{"empty", ours, nil, errForm},
		{"form alone", ours, []byte{formSealed}, errForm},
		{"short", ours, sealed[:10], errOpen},
		{"plaintext", ours, plain.seal([]byte("eyJ"), "k"), errForm},
		{"sealed for another key in Redis", ours, ours.seal([]byte("value"), "other"), errOpen},
		{"sealed with another key", ours, mustSealer(t, Options{Key: testKey(2)}).seal([]byte("value"), "k"), errKey},
		{"sealed, we have no key", plain, sealed, errForm},
		{"empty, we have no key", plain, nil, errForm},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if got, err := test.sealer.open(test.value, "k"); !errors.Is(err, test.want) || got != nil {
				t.Errorf("got %q, %v; want %v", got, err, test.want)
			}
		})
	}
}

// TestRotation goes from one key to the next without a moment at which a value
// of either side does not open.
func TestRotation(t *testing.T) {
	t.Parallel()
	before := mustSealer(t, Options{Key: testKey(1)})
	during := mustSealer(t, Options{Key: testKey(2), PreviousKey: testKey(1)})
	ahead := mustSealer(t, Options{Key: testKey(1), PreviousKey: testKey(2)})
	after := mustSealer(t, Options{Key: testKey(2)})
	for _, test := range []struct {
		name     string
		from, to sealer
		opens    bool
	}{
		{"old to new", before, during, true},
		{"new to those that know it", during, ahead, true},
		{"new to new", during, after, true},
		{"old to ahead", before, ahead, true},
		{"old to after", before, after, false},
		{"new to before", during, before, false},
	} {
		_, err := test.to.open(test.from.seal([]byte("value"), "k"), "k")
		if (err == nil) != test.opens {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

func TestKeysChecked(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		o    Options
		want string
	}{
		{"none", Options{}, "Options.Key is missing: want 32 bytes"},
		{"previous alone", Options{PreviousKey: testKey(1)}, "Options.Key is missing"},
		{"short", Options{Key: []byte("hunter2")}, "Options.Key has 7 bytes, want 32"},
		{"empty", Options{Key: []byte{}}, "Options.Key has 0 bytes, want 32"},
		{"16 bytes", Options{Key: make([]byte, 16)}, "Options.Key has 16 bytes, want 32"},
		{"base64", Options{Key: make([]byte, 44)}, "Options.Key has 44 bytes, want 32"},
		{"short previous", Options{Key: testKey(1), PreviousKey: []byte("x")}, "Options.PreviousKey has 1 bytes, want 32"},
		{"both ways", Options{Key: testKey(1), Plaintext: true}, "contradict"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for name, err := range map[string]error{
				"Open": func() error { _, err := Open("redis://127.0.0.1:1", test.o); return err }(),
				"New":  func() error { _, err := New(&fakeClient{}, test.o); return err }(),
			} {
				if err == nil || !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), "rediscache: ") || strings.Contains(err.Error(), "hunter2") {
					t.Errorf("%s: got %v, want %q", name, err, test.want)
				}
			}
		})
	}
}

func FuzzOpen(f *testing.F) {
	s := mustSealer(f, Options{Key: testKey(1), PreviousKey: testKey(2)})
	plain := mustSealer(f, Options{Plaintext: true})
	ours := s.seal([]byte("value"), "k")
	f.Add(ours)
	f.Add(ours[:len(ours)-1])
	f.Add([]byte{formPlain, 'x'})
	f.Add([]byte{formSealed})
	f.Fuzz(func(t *testing.T, b []byte) {
		// A seed that another process of the fuzzer sealed opens too.
		if value, err := s.open(b, "k"); err == nil && string(value) != "value" {
			t.Fatalf("a forged value opens as %q", value)
		}
		if value, err := plain.open(b, "k"); err == nil && !bytes.Equal(plain.seal(value, "k"), b) {
			t.Fatalf("opening and sealing %q gives another value", b)
		}
		if value, err := s.open(s.seal(b, "k"), "k"); err != nil || !bytes.Equal(value, b) {
			t.Fatalf("sealing and opening %q gives %q, %v", b, value, err)
		}
	})
}

func TestOptionsDoNotPrint(t *testing.T) {
	t.Parallel()
	o := Options{Key: []byte("hunter2-hunter2-hunter2-hunter2-"), Prefix: "p"}
	c, err := New(&fakeClient{}, o)
	if err != nil {
		t.Fatal(err)
	}
	numbers := strings.Trim(fmt.Sprintf("%d", []byte("hunter2")), "[]")
	for _, v := range []any{o, &o, []Options{o}, c} {
		for _, verb := range "vTdsqxXtef" {
			for _, flag := range []string{"", "+", "#"} {
				got := fmt.Sprintf("%"+flag+string(verb), v)
				for _, leak := range []string{"hunter2", numbers, "68756e746572", "0x68, 0x75"} {
					if strings.Contains(strings.ToLower(got), leak) {
						t.Fatalf("%%%s%c of %T prints %.200s", flag, verb, v, got)
					}
				}
			}
		}
	}
}
