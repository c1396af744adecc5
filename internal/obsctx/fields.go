package obsctx

import (
	"context"
	"log/slog"
	"sync/atomic"
)

// Fields are the attributes one obs.With bound to a context, linked to those
// bound further out. They are immutable, and must not be copied.
type Fields struct {
	Outer *Fields
	Attrs []slog.Attr

	forms atomic.Pointer[form]
}

// A form is what one sink made of a Fields. There are as many as sinks that
// the context meets: one, as a rule.
type form struct {
	sink, value any
	next        *form
}

type fieldsKey struct{}

// WithFields returns a context with attrs added to its fields. It keeps attrs;
// the caller must not write to it afterwards.
func WithFields(ctx context.Context, attrs []slog.Attr) context.Context {
	if len(attrs) == 0 {
		return ctx
	}
	return context.WithValue(ctx, fieldsKey{}, &Fields{Outer: FieldsFrom(ctx), Attrs: attrs})
}

// FieldsFrom returns the innermost fields of ctx, or nil.
func FieldsFrom(ctx context.Context) *Fields {
	f, _ := ctx.Value(fieldsKey{}).(*Fields)
	return f
}

// Form returns what sink kept with [Fields.Keep], or nil, so that a sink
// encodes the fields once a context and not once a record. sink is a pointer.
func (f *Fields) Form(sink any) any {
	for x := f.forms.Load(); x != nil; x = x.next {
		if x.sink == sink {
			return x.value
		}
	}
	return nil
}

// Keep keeps value for [Fields.Form]. Of two kept for one sink the first
// stays.
func (f *Fields) Keep(sink, value any) {
	x := &form{sink: sink, value: value}
	for {
		x.next = f.forms.Load()
		if f.Form(sink) != nil || f.forms.CompareAndSwap(x.next, x) {
			return
		}
	}
}
