package logging

import (
	"bytes"
	"log/slog"
	"time"
	"unicode/utf8"

	"github.com/kumihimo/kumihimo/internal/fault"
)

const (
	// maxStack bounds stack_trace, message included; the innermost frames stay.
	maxStack = fault.MaxStack

	// maxStackMessage bounds the message that stands before the stack.
	maxStackMessage = 1 << 10

	// maxCauseText bounds the text of each cause, which often repeats another's.
	maxCauseText = 1 << 10

	// rawStack is what runtime.Stack is given, the frames below the caller's
	// among it, which are cut off.
	rawStack = maxStack + 4<<10
)

// appendReport adds to root what Error Reporting wants of an error, and
// Datadog's names for it. What the program itself gave under these names
// stands.
//
// https://cloud.google.com/error-reporting/docs/formatting-error-messages
func (h *jsonHandler) appendReport(l *line, root *scope, r *slog.Record, site *callSite) {
	err := l.failure
	l.buf = append(l.buf, h.service...)
	if site != nil {
		l.buf = append(l.buf, site.report...)
	}
	l.buf = append(l.buf, `"@type":"type.googleapis.com/google.devtools.clouderrorreporting.v1beta1.ReportedErrorEvent",`...)
	l.ordinary = true
	if err != nil && !l.has(root, `"error.message"`) {
		l.buf = append(l.buf, `"error.message":`...)
		l.buf = appendString(l.buf, l.errorText(err))
		l.buf = append(l.buf, ',')
	}
	if err != nil && !l.has(root, `"error.kind"`) {
		l.buf = append(l.buf, `"error.kind":`...)
		l.buf = appendString(l.buf, fault.Kind(err))
		l.buf = append(l.buf, ',')
	}
	if err != nil && !l.has(root, `"error.causes"`) {
		l.appendCauses(err)
	}
	// An access record's stack would be the middleware's, one for all routes,
	// and Error Reporting groups by it.
	if l.access || l.has(root, `"stack_trace"`) {
		return
	}
	if site == nil || site.stacks.allow(time.Now(), stackWindow, stackBurst) {
		l.appendStack(r.Message, site, err)
	}
}

// has reports whether root has a member of that encoded key.
func (l *line) has(root *scope, key string) bool {
	var b [16]byte
	k := append(b[:0], key...)
	return l.find(root, hash(k[1:len(k)-1]), k) >= 0
}

// appendCauses adds what err's chain holds beneath it: joined errors, and the
// types that wrappers hide.
func (l *line) appendCauses(err error) {
	causes := l.causes(err)
	if len(causes) == 0 {
		return
	}
	l.buf = append(l.buf, `"error.causes":[`...)
	for _, c := range causes {
		l.buf = append(l.buf, `{"kind":`...)
		l.buf = appendString(l.buf, c.Kind)
		l.buf = append(l.buf, `,"message":`...)
		l.buf = appendString(l.buf, truncate(c.Text, maxCauseText))
		l.buf = append(l.buf, "},"...)
	}
	l.buf[len(l.buf)-1] = ']'
	l.buf = append(l.buf, ',')
}

// appendStack adds the stack that err brings along, else that of the caller of
// the logger, in the form of a crash, which Error Reporting parses: the
// message, an empty line, and what runtime.Stack returns.
func (l *line) appendStack(message string, site *callSite, err error) {
	header, frames := l.stackOf(site, err)
	l.buf = append(l.buf, `"stack_trace":"`...)
	message = truncate(message, maxStackMessage)
	l.buf = appendEscaped(l.buf, message)
	l.buf = append(l.buf, `\n\n`...)
	l.buf = appendEscaped(l.buf, header)
	room := maxStack - len(message) - len("\n\n") - len(header)
	if len(frames) > room {
		frames = frames[:bytes.LastIndexByte(frames[:room], '\n')+1]
	}
	l.buf = appendEscaped(l.buf, frames)
	l.buf = append(l.buf, `",`...)
}

// splitStack returns the first line of raw, "goroutine 1 [running]:", and the
// frames from the caller's on. A record that is handled by another goroutine
// than its caller's has one frame.
func splitStack(raw []byte, site *callSite) (header, frames []byte) {
	end := bytes.IndexByte(raw, '\n') + 1
	header, frames = raw[:end], raw[end:]
	if site == nil {
		return header, frames
	}
	for from := 0; ; {
		i := bytes.Index(frames[from:], site.place)
		if i < 0 {
			return header, site.frame
		}
		i += from
		from = i + len(site.place)
		if from < len(frames) && (frames[from] == ' ' || frames[from] == '\n') { // else line 12 would match 123
			return header, frames[bytes.LastIndexByte(frames[:i], '\n')+1:]
		}
	}
}

// truncate cuts s to at most n bytes, at a rune's end.
func truncate(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
