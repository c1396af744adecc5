package logging

import (
	"context"
	"log/slog"
	"strconv"

	"github.com/kumihimo/kumihimo/internal/obsctx"
)

// jsonHandler is what NewHandler returns. It is not written to once made; its
// copies share the core and the identity.
type jsonHandler struct {
	*core
	*identity
	gate
	bound bound
}

// Enabled reports whether some rule lets a record of this level through, or it
// is of use to the span or the flight recorder of ctx.
func (h *jsonHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.enabled(level) || h.hears(ctx, level)
}

// WithAttrs returns a handler that writes attrs before those of each record.
func (h *jsonHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	if len(attrs) == 0 {
		return h
	}
	with := *h
	if !h.bound.nested() {
		with.gate = h.gate.bind(attrs)
	}
	with.bound = h.bound.with(h.core, attrs)
	return &with
}

// WithGroup returns a handler that puts later attributes into a group.
func (h *jsonHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	with := *h
	with.bound = h.bound.group(h.core, name)
	return &with
}

// Handle writes r. The error is the Write's.
func (h *jsonHandler) Handle(ctx context.Context, r slog.Record) error {
	if ctx == nil {
		ctx = context.Background()
	}
	if withheld := h.withheld(&h.sites, r.Level, r.PC); withheld || !h.enabled(r.Level) {
		// Of a logger of ours another may have said that it is enabled.
		if h.aside(ctx, &r) || withheld {
			return nil
		}
	}
	withheld, ok := h.admit(&r)
	if !ok {
		h.aside(ctx, &r)
		return nil
	}
	l := h.line()
	defer h.release(l)
	h.appendRecord(ctx, l, &r, withheld)
	if h.loud(r.Level) {
		h.alarm(ctx, l, &r, l.failure)
	}
	return h.write(l.buf, r.Level)
}

func (h *jsonHandler) appendRecord(ctx context.Context, l *line, r *slog.Record, withheld int64) {
	sev := severityOf(r.Level)
	isError := sev.from >= slog.LevelError
	var site *callSite
	if r.PC != 0 {
		site = h.sites.get(r.PC)
		l.reader.begin(site)
	}
	b := append(l.buf, sev.head...)
	if !r.Time.IsZero() {
		b = l.clock.append(b, r.Time)
	}
	message := len(b)
	if s := l.reader.shape; s != nil && s.message == r.Message && s.member != nil {
		b = append(b, s.member...)
	} else {
		b = append(b, `"message":`...)
		b = appendText(b, r.Message)
		b = append(b, ',')
	}
	l.buf = b
	member := b[message:]
	h.identify(ctx, l, site)

	root := scope{root: true}
	h.appendFields(ctx, l, &root)
	if name, ok := h.spanName(ctx); ok {
		l.appendNew(&root, &name)
	}
	h.appendAttrs(l, &root, r)
	if l.reader.learning || l.reader.differs {
		l.reader.end(site, r.Message, member)
	}
	if isError {
		h.appendReport(l, &root, r, site)
	}
	if !l.ordinary {
		// An entry of nothing but special fields and a message would become
		// a textPayload, out of reach of jsonPayload queries.
		l.buf = append(l.buf, `"level":"`...)
		l.buf = append(l.buf, sev.name...)
		l.buf = append(l.buf, `",`...)
	}
	if withheld > 0 {
		l.buf = append(l.buf, `"kumihimo.withheld":`...)
		l.buf = strconv.AppendInt(l.buf, withheld, 10)
		l.buf = append(l.buf, ',')
	}
	l.endObject()
	if l.labels > 1 || l.labels > 0 && len(h.labels) > 0 {
		l.mergeLabels()
	}
	if len(l.buf) > maxLine {
		l.shorten()
	}
}

// appendFields adds the context's fields to root.
func (h *jsonHandler) appendFields(ctx context.Context, l *line, root *scope) {
	f := obsctx.FieldsFrom(ctx)
	if f == nil {
		return
	}
	form := h.fields(f)
	root.adopt(0, &form.table, len(l.buf))
	l.buf = append(l.buf, form.buf...)
	l.ordinary = l.ordinary || form.ordinary
	l.access = l.access || form.access
	l.labels += form.labels
}

// A fieldsForm is a context's fields as one sink writes them.
type fieldsForm struct {
	table
	buf              []byte
	ordinary, access bool
	labels           int
}

// fields returns f encoded, from its cache after the first time.
func (h *jsonHandler) fields(f *obsctx.Fields) *fieldsForm {
	if form, ok := f.Form(h.core).(*fieldsForm); ok {
		return form
	}
	l := h.line()
	defer h.release(l)
	sc := scope{root: true}
	if f.Outer != nil {
		outer := h.fields(f.Outer)
		sc.adopt(0, &outer.table, 0)
		l.buf = append(l.buf, outer.buf...)
		l.ordinary, l.access, l.labels = outer.ordinary, outer.access, outer.labels
	}
	for i := range f.Attrs {
		l.appendAttr(&sc, &f.Attrs[i])
	}
	form := &fieldsForm{ordinary: l.ordinary, access: l.access, labels: l.labels}
	form.buf, form.table = l.keep(&sc)
	f.Keep(h.core, form)
	return form
}

// appendAttrs adds what is bound and the record's own attributes, and closes
// the groups that are open.
func (h *jsonHandler) appendAttrs(l *line, root *scope, r *slog.Record) {
	b := &h.bound
	base := l.override(root, &b.root, b.buf)
	l.ordinary = l.ordinary || b.ordinary
	l.access = l.access || b.access
	l.labels += b.labels

	sc, inner := root, scope{first: len(l.members), secret: b.secret}
	start := len(l.buf)
	if b.nested() {
		sc = &inner
		if b.pending == 0 {
			inner.adopt(0, &b.inner, base)
		}
		l.buf = append(l.buf, b.opening...)
	}
	r.Attrs(func(a slog.Attr) bool {
		l.appendAttr(sc, &a)
		return true
	})
	if l.failure == nil {
		l.failure = b.failure
	}
	if !b.nested() {
		return
	}
	l.members = l.members[:inner.first]
	open := b.depth
	switch {
	case b.pending == 0:
	case len(l.buf) == start+len(b.opening): // the groups stayed empty
		l.buf = l.buf[:start]
	default:
		open += b.pending
		l.claim(b, root, start, base)
	}
	for range open {
		l.buf[len(l.buf)-1] = '}'
		l.buf = append(l.buf, ',')
	}
}
