package logging

import (
	"context"
	"io"
	"log/slog"
	"os"
	"runtime"
	"strconv"
	"strings"
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

	buf     []byte // what Logger.With bound
	table   table  // of buf
	failure error  // the first error among it
	prefix  string // the open groups, "a.b."
	secret  bool   // one's name is a secret's
}

// A style says how a part of a line is marked.
type style struct{ color bool }

func newStyle(w io.Writer, c Color) style {
	return style{c == ColorAlways || c == ColorAuto && isTerminal(w)}
}

// isTerminal reports whether w is a terminal that knows colours. A Windows
// console does only when told so, which is not done here.
func isTerminal(w io.Writer) bool {
	if b, ok := w.(*BufferedWriter); ok {
		w = b.W
	}
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

// Enabled reports whether some rule lets a record of this level through, or it
// is of use to the span or the flight recorder of ctx.
func (h *textHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.enabled(level) || h.hears(ctx, level)
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
	sc.adopt(0, &h.table, 0)
	for i := range attrs {
		h.appendAttr(l, &sc, attrs[i])
	}
	with.buf, with.table = l.keep(&sc)
	if l.failure != nil {
		with.failure = l.failure
	}
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
		h.alarm(ctx, l, &r, h.firstFailure(l))
	}
	return h.write(l.buf, r.Level)
}

func (h *textHandler) appendRecord(ctx context.Context, l *line, r *slog.Record, withheld int64) {
	h.appendHead(l, r)
	message := len(l.buf)
	l.shown = h.requestIn(r)
	if l.shown != nil {
		l.appendRequestText(l.shown)
	} else {
		l.buf = appendPrintable(l.buf, r.Message)
	}
	width := utf8.RuneCount(l.buf[message:])
	for ; width < messageWidth; width++ {
		l.buf = append(l.buf, ' ')
	}
	l.buf = append(l.buf, "  "...)

	sc := scope{root: true}
	if f := obsctx.FieldsFrom(ctx); f != nil {
		form := h.fields(f)
		sc.adopt(0, &form.table, len(l.buf))
		l.buf = append(l.buf, form.buf...)
	}
	if name, ok := h.spanName(ctx); ok {
		h.appendAttr(l, &sc, name)
	}
	l.override(&sc, &h.table, h.buf)
	sc.prefix, sc.secret, sc.root = h.prefix, h.secret, h.prefix == ""
	l.record = true
	r.Attrs(func(a slog.Attr) bool {
		h.appendAttr(l, &sc, a)
		return true
	})
	h.appendTail(ctx, l, r, withheld)
	end := len(l.buf)
	for l.buf[end-1] == ' ' {
		end--
	}
	l.buf = append(l.buf[:end], '\n')
	if r.Level >= slog.LevelWarn {
		h.appendCauses(l)
	}
	h.appendFrames(l)
}

// requestIn returns the request of an access record whose message says no more
// than the request does, which then stands in the message's place. Nil: there
// is none.
func (h *textHandler) requestIn(r *slog.Record) (found *HTTPRequest) {
	if h.prefix != "" {
		return nil
	}
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == requestKey && a.Value.Kind() == slog.KindLogValuer {
			found = requestOf(a.Value)
		}
		return found == nil
	})
	if found == nil || found.Method == "" || !strings.HasPrefix(r.Message, found.Method+" ") || !strings.HasSuffix(r.Message, " "+strconv.Itoa(found.Status)) {
		return nil
	}
	return found
}

// appendFrames adds the lines of the record's stack.
func (h *textHandler) appendFrames(l *line) {
	if l.frames == "" {
		return
	}
	// In the form of a crash, what precedes the frames has been said.
	_, frames, found := strings.Cut(l.frames, "]:\n")
	if !found {
		frames = l.frames
	}
	for frame := range strings.Lines(frames) {
		l.buf = append(l.buf, "    "...)
		l.buf = h.begin(l.buf, faint)
		frame = strings.TrimSuffix(frame, "\n")
		if place, ok := strings.CutPrefix(frame, "\t"); ok {
			l.buf = append(l.buf, "    "...)
			frame = place
		}
		l.buf = appendPrintable(l.buf, frame)
		l.buf = h.end(l.buf)
		l.buf = append(l.buf, '\n')
	}
}

// firstFailure is the first error of the record in l, its own before those
// bound.
func (h *textHandler) firstFailure(l *line) error {
	if l.failure != nil {
		return l.failure
	}
	return h.failure
}

// appendCauses adds a line for each error beneath the record's first.
func (h *textHandler) appendCauses(l *line) {
	err := h.firstFailure(l)
	if err == nil {
		return
	}
	for _, c := range l.causes(err) {
		for range c.Depth + 2 {
			l.buf = append(l.buf, "  "...)
		}
		l.buf = append(l.buf, "↳ "...)
		l.buf = appendPrintable(l.buf, strings.ReplaceAll(c.Text, "\n", "; "))
		l.buf = append(l.buf, "  "...)
		l.buf = h.begin(l.buf, faint)
		l.buf = append(l.buf, c.Kind...)
		l.buf = h.end(l.buf)
		l.buf = append(l.buf, '\n')
	}
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
func (h *textHandler) appendTail(ctx context.Context, l *line, r *slog.Record, withheld int64) {
	if id := trace.SpanContextFromContext(ctx).TraceID(); id.IsValid() {
		l.buf = h.begin(l.buf, faint)
		// The end is random; the beginning of Datadog's ids is a time.
		l.buf = append(l.buf, "trace="...)
		l.buf = appendHex(l.buf, id[len(id)-shortTrace/2:])
		l.buf = h.end(l.buf)
		l.buf = append(l.buf, ' ')
	}
	if withheld > 0 {
		l.buf = h.begin(l.buf, faint)
		l.buf = append(l.buf, "withheld="...)
		l.buf = strconv.AppendInt(l.buf, withheld, 10)
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
		sc.adopt(0, &outer.table, 0)
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
