package logging

import (
	"context"
	"io"
	"log/slog"
	"os"
	"runtime"
	"unicode/utf8"

	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/internal/obsctx"
)

const (
	textTime = "15:04:05.000"

	// messageWidth is what short messages are filled up to, so that the
	// attributes of most lines begin in one column.
	messageWidth = 28

	// shortTrace is how many hex digits of a trace id are shown: enough to
	// tell the requests of a screen apart.
	shortTrace = 8
)

// textHandler is what NewTextHandler returns. It is not written to once made;
// its copies share the core.
type textHandler struct {
	*core
	gate
	style

	buf    []byte // what Logger.With bound
	table  table  // of buf
	prefix string // the open groups, "a.b."
	secret bool   // one's name is a secret's
}

// A style says how a part of a line is marked.
type style struct{ color bool }

func newStyle(w io.Writer, c Color) style {
	return style{c == ColorAlways || c == ColorAuto && isTerminal(w)}
}

// isTerminal reports whether w is a terminal that knows colours. A Windows
// console does only when told so, which is not done here.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || runtime.GOOS == "windows" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

const faint = "2"

// begin and end enclose what is marked by sgr, parameters of ECMA-48's Select
// Graphic Rendition.
func (s style) begin(b []byte, sgr string) []byte {
	if !s.color {
		return b
	}
	b = append(b, "\x1b["...)
	b = append(b, sgr...)
	return append(b, 'm')
}

func (s style) end(b []byte) []byte {
	if !s.color {
		return b
	}
	return append(b, "\x1b[0m"...)
}

// Enabled reports whether some rule lets a record of this level through.
func (h *textHandler) Enabled(_ context.Context, level slog.Level) bool {
	return h.enabled(level)
}

// WithAttrs returns a handler that writes attrs before those of each record.
func (h *textHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	if len(attrs) == 0 {
		return h
	}
	with := *h
	if h.prefix == "" {
		with.gate = h.gate.bind(attrs)
	}
	l := h.line()
	defer h.release(l)
	l.buf = append(l.buf, h.buf...)
	sc := scope{prefix: h.prefix, secret: h.secret, root: h.prefix == ""}
	sc.adopt(0, h.table, 0)
	for i := range attrs {
		h.appendAttr(l, &sc, attrs[i])
	}
	with.buf, with.table = l.keep(&sc)
	return &with
}

// WithGroup returns a handler that puts name before the keys of later
// attributes.
func (h *textHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	with := *h
	with.prefix += name + "."
	with.secret = h.secret || h.opts.Redactor.Key(name)
	return &with
}

// Handle writes r. The error is the Write's.
func (h *textHandler) Handle(ctx context.Context, r slog.Record) error {
	if h.withheld(&h.sites, r.Level, r.PC) {
		return nil
	}
	if ctx == nil {
		ctx = context.Background()
	}
	l := h.line()
	defer h.release(l)
	h.appendHead(l, &r)
	message := len(l.buf)
	l.buf = appendPrintable(l.buf, r.Message)
	width := utf8.RuneCount(l.buf[message:])
	for ; width < messageWidth; width++ {
		l.buf = append(l.buf, ' ')
	}
	l.buf = append(l.buf, "  "...)

	sc := scope{root: true}
	if f := obsctx.FieldsFrom(ctx); f != nil {
		form := h.fields(f)
		sc.adopt(0, form.table, len(l.buf))
		l.buf = append(l.buf, form.buf...)
	}
	l.override(&sc, h.table, h.buf)
	sc.prefix, sc.secret, sc.root = h.prefix, h.secret, h.prefix == ""
	r.Attrs(func(a slog.Attr) bool {
		h.appendAttr(l, &sc, a)
		return true
	})
	h.appendTail(ctx, l, &r)
	end := len(l.buf)
	for l.buf[end-1] == ' ' {
		end--
	}
	l.buf = append(l.buf[:end], '\n')
	return h.write(l.buf)
}

func (h *textHandler) appendHead(l *line, r *slog.Record) {
	if !r.Time.IsZero() {
		l.buf = h.begin(l.buf, faint)
		l.buf = r.Time.AppendFormat(l.buf, textTime)
		l.buf = h.end(l.buf)
		l.buf = append(l.buf, ' ')
	}
	sev := severityOf(r.Level)
	l.buf = h.begin(l.buf, sev.color)
	l.buf = append(l.buf, sev.short...)
	l.buf = h.end(l.buf)
	l.buf = append(l.buf, ' ')
}

// appendTail adds where the record comes from: the trace and the place.
func (h *textHandler) appendTail(ctx context.Context, l *line, r *slog.Record) {
	if id := trace.SpanContextFromContext(ctx).TraceID(); id.IsValid() {
		l.buf = h.begin(l.buf, faint)
		// The end is random; the beginning of Datadog's ids is a time.
		l.buf = append(l.buf, "trace="...)
		l.buf = appendHex(l.buf, id[len(id)-shortTrace/2:])
		l.buf = h.end(l.buf)
		l.buf = append(l.buf, ' ')
	}
	if h.opts.AddSource && r.PC != 0 {
		l.buf = h.begin(l.buf, faint)
		l.buf = append(l.buf, "source="...)
		l.buf = appendPrintable(l.buf, h.sites.get(r.PC).source)
		l.buf = h.end(l.buf)
		l.buf = append(l.buf, ' ')
	}
}

// fields returns f as text, from its cache after the first time.
func (h *textHandler) fields(f *obsctx.Fields) *fieldsForm {
	if form, ok := f.Form(h.core).(*fieldsForm); ok {
		return form
	}
	l := h.line()
	defer h.release(l)
	sc := scope{root: true}
	if f.Outer != nil {
		outer := h.fields(f.Outer)
		sc.adopt(0, outer.table, 0)
		l.buf = append(l.buf, outer.buf...)
	}
	for i := range f.Attrs {
		h.appendAttr(l, &sc, f.Attrs[i])
	}
	form := &fieldsForm{}
	form.buf, form.table = l.keep(&sc)
	f.Keep(h.core, form)
	return form
}
