package logging

import (
	"strconv"
	"testing"
	"time"
)

// TestDigits: numbers about every power of ten and of two.
func TestDigits(t *testing.T) {
	t.Parallel()
	check := func(n uint64) {
		if got, want := string(appendUint([]byte("<"), n)), "<"+strconv.FormatUint(n, 10); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if got, want := string(appendInt([]byte("<"), -int64(n))), "<"+strconv.FormatInt(-int64(n), 10); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if got, want := string(appendInt([]byte("<"), int64(n))), "<"+strconv.FormatUint(n, 10); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	for p := uint64(1); p <= 1e15; p *= 10 {
		check(p - 1)
		check(p)
		check(p + 1)
		check(p * 7)
	}
	for shift := range 52 {
		check(1<<shift - 1)
		check(1 << shift)
	}
}

// FuzzTime compares attributes' times, in the calendar's own zone and others,
// with the time package's.
func FuzzTime(f *testing.F) {
	for _, second := range []int64{0, -1, 86399, 86400, -86400, 951782400, 1772368205, -62167219200, -62167219201, 253402300799, 253402300800} {
		for _, nano := range []int64{0, 1, 100, 123456789, 500000000, 999999999} {
			f.Add(second, nano, 0)
			f.Add(second, nano, 9*3600)
		}
	}
	var c calendar
	f.Fuzz(func(t *testing.T, second, nano int64, offset int) {
		at := time.Unix(second%1e12, nano)
		for _, x := range []time.Time{at, at.UTC(), at.In(time.FixedZone("", offset%86400)), at.In(time.FixedZone("Z", 0))} {
			want := `<"` + x.Format(time.RFC3339Nano) + `"`
			for range 2 {
				if got := string(c.append([]byte("<"), x)); got != want {
					t.Errorf("got %s, want %s", got, want)
				}
			}
		}
	})
}
