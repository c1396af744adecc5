package fault

import (
	"bytes"
	"fmt"
	"reflect"
	"runtime"
	"strconv"
	"strings"
)

// MaxStack bounds a stack's text; the innermost frames stay.
const MaxStack = 8 << 10

// Callers returns the program counters, as runtime.Callers has them, of the
// innermost error of err's chain that keeps some: it was nearest to the fault.
func Callers(err error) (pcs []uintptr) {
	for range budget {
		if s := callersOf(err); len(s) > 0 {
			pcs = s
		}
		next := Unwrap(err)
		if len(next) == 0 || next[0] == nil {
			break
		}
		err = next[0]
	}
	return pcs
}

// callersOf knows the two shapes that packages of errors agree on: Callers
// []uintptr, and github.com/pkg/errors' StackTrace, a slice whose elements are
// uintptrs by another name. The types of the latter all format themselves,
// which spares other errors the reflection.
func callersOf(err error) (pcs []uintptr) {
	defer func() {
		if recover() != nil {
			pcs = nil
		}
	}()
	switch x := err.(type) { //nolint:errorlint // each link of the chain is looked at
	case interface{ Callers() []uintptr }:
		return x.Callers()
	case fmt.Formatter:
		m := reflect.ValueOf(err).MethodByName("StackTrace")
		if !m.IsValid() || m.Type().NumIn() != 0 || m.Type().NumOut() != 1 {
			return nil
		}
		frames := m.Call(nil)[0]
		if frames.Kind() != reflect.Slice || frames.Type().Elem().Kind() != reflect.Uintptr {
			return nil
		}
		for i := range frames.Len() {
			pcs = append(pcs, uintptr(frames.Index(i).Uint()))
		}
	}
	return pcs
}

// Header begins a stack whose goroutine is not known any more.
const Header = "goroutine 1 [running]:\n"

// Frames prints pcs as runtime.Stack prints frames.
func Frames(pcs []uintptr) (b []byte) {
	frames := runtime.CallersFrames(pcs)
	for len(b) < MaxStack {
		f, more := frames.Next()
		b = appendFrame(b, f)
		if !more {
			break
		}
	}
	return b
}

func appendFrame(b []byte, f runtime.Frame) []byte {
	if f.Function == "" {
		return b
	}
	b = append(b, f.Function...)
	b = append(b, "(...)\n\t"...)
	b = append(b, f.File...)
	b = append(b, ':')
	b = strconv.AppendInt(b, int64(f.Line), 10)
	return append(b, '\n')
}

// Stack returns the stack of pcs, in the form of a crash, from the program's
// own innermost function on: where a panic is under way, from where it
// happened. A panic that was passed on by deferred functions is under way
// several times, the first of them outermost.
func Stack(pcs []uintptr) []byte {
	start := 0
	frames := runtime.CallersFrames(pcs)
	for i, more := 0, len(pcs) > 0; more; i++ {
		var f runtime.Frame
		f, more = frames.Next()
		if f.Function == "runtime.gopanic" {
			start = i + 1
		}
	}
	b := []byte(Header)
	own := false
	frames = runtime.CallersFrames(pcs)
	for i, more := 0, len(pcs) > 0; more && len(b) < MaxStack; i++ {
		var f runtime.Frame
		f, more = frames.Next()
		own = own || i >= start && !strings.HasPrefix(f.Function, "runtime.")
		if own {
			b = appendFrame(b, f)
		}
	}
	return Bounded(b)
}

// Bounded cuts stack at a frame's end so that it has at most MaxStack bytes.
func Bounded(stack []byte) []byte {
	if len(stack) <= MaxStack {
		return stack
	}
	return stack[:bytes.LastIndexByte(stack[:MaxStack], '\n')+1]
}
