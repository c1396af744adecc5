package tracing

import (
	"context"
	"encoding/hex"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/internal/obsctx"
)

func TestTraceIDs(t *testing.T) {
	t.Parallel()
	before := time.Now().Unix()
	seen := make(map[trace.TraceID]bool)
	for range 1000 {
		id, span := idGenerator{}.NewIDs(t.Context())
		seconds := int64(id[0])<<24 | int64(id[1])<<16 | int64(id[2])<<8 | int64(id[3])
		if seconds < before || seconds > time.Now().Unix() || [4]byte(id[4:8]) != [4]byte{} {
			t.Fatalf("trace id %s: the high half is not the time in seconds << 32", id)
		}
		if [8]byte(id[8:]) == [8]byte{} || !span.IsValid() || seen[id] {
			t.Fatalf("trace id %s, span id %s: zero or repeated", id, span)
		}
		seen[id] = true
	}
}

type fixedIDs struct{}

func (fixedIDs) NewIDs(context.Context) (trace.TraceID, trace.SpanID)  { return traceA, spanA }
func (fixedIDs) NewSpanID(context.Context, trace.TraceID) trace.SpanID { return spanB }

func TestIDGeneratorOfTheUser(t *testing.T) {
	t.Parallel()
	_, tr, _ := observed(Options{IDGenerator: fixedIDs{}})
	ctx, span := tr.Start(t.Context(), "root")
	if sc := span.SpanContext(); sc.TraceID() != traceA || sc.SpanID() != spanA || obsctx.TraceFrom(ctx).ID != traceA {
		t.Errorf("got span %v, state %+v, want the generator's ids", sc, obsctx.TraceFrom(ctx))
	}
	if _, child := tr.Start(ctx, "child"); child.SpanContext().SpanID() != spanB {
		t.Errorf("got child %v, want the generator's id", child.SpanContext())
	}
}

// A state that is Remote, or another trace's, is never written to.
func TestWritingGeneratorWritesOnlyToNewStates(t *testing.T) {
	t.Parallel()
	g := writingGenerator{fixedIDs{}}
	for _, s := range []*obsctx.Trace{{Remote: true}, {ID: traceB}} {
		want := s.ID
		if g.NewIDs(obsctx.WithTrace(t.Context(), s)); s.ID != want {
			t.Errorf("state %+v was written to", s)
		}
	}
}

func TestAppendHex(t *testing.T) {
	id := make([]byte, 16)
	for i := range 256 {
		for j := range id {
			id[j] = byte(i + 37*j)
		}
		got := string(appendHex([]byte("x"), id))
		if want := "x" + hex.EncodeToString(id); got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
		back := make([]byte, 16)
		for _, s := range []string{got[1:], strings.ToUpper(got[1:])} {
			if !unhex(back, s) || !slices.Equal(back, id) {
				t.Fatalf("%s: read %x", s, back)
			}
		}
		_, err := hex.DecodeString(string([]byte{byte(i), '0'}))
		for _, s := range []string{string([]byte{byte(i), '0'}), string([]byte{'0', byte(i)})} {
			if unhex(back[:1], s) != (err == nil) {
				t.Fatalf("%q: %v, want %v", s, err != nil, err)
			}
		}
	}
}
