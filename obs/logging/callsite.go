package logging

import (
	"log/slog"
	"path"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// callSites remembers every place that logged, by program counter. It grows to
// the number of such places in the program and is never emptied. Reading takes
// no lock.
type callSites struct {
	buckets [256]atomic.Pointer[callSite]
}

// A callSite is a place that logs. It is immutable but for level, shapes
// and the limiters.
type callSite struct {
	pc   uintptr
	next *callSite // in the bucket

	pkg      string
	main     bool   // pkg is the program's, "main" to the runtime
	source   string // file:line, relative to the module
	location []byte // logging.googleapis.com/sourceLocation, a member
	report   []byte // context, with the reportLocation, a member
	place    []byte // of the frame in runtime.Stack's text
	frame    []byte // a frame in the same form

	level   atomic.Pointer[ruleLevel]
	shapes  shapes
	stacks  limiter
	records limiter
}

// ruleLevel is the lowest level that rules allow a call site.
type ruleLevel struct {
	rules *rules
	level slog.Level
}

// get returns the call site of pc, which is not 0.
func (c *callSites) get(pc uintptr) *callSite {
	bucket := &c.buckets[uint64(pc)*0x9e3779b97f4a7c15>>56]
	first := bucket.Load()
	for s := first; s != nil; s = s.next {
		if s.pc == pc {
			return s
		}
	}
	s := newCallSite(pc)
	for {
		s.next = first
		if bucket.CompareAndSwap(first, s) {
			return s
		}
		first = bucket.Load() // that another has made the same one too does no harm
	}
}

// level returns the lowest level that r allows at pc.
func (c *callSites) level(pc uintptr, r *rules) slog.Level {
	if pc == 0 {
		return r.level
	}
	s := c.get(pc)
	known := s.level.Load()
	if known == nil || known.rules != r {
		known = &ruleLevel{r, r.of(s.pkg, s.main)}
		s.level.Store(known)
	}
	return known.level
}

func newCallSite(pc uintptr) *callSite {
	f, _ := runtime.CallersFrames([]uintptr{pc}).Next()
	s := &callSite{pc: pc, pkg: packageOf(f.Function)}
	build := buildInfo()
	if s.main = s.pkg == "main"; s.main && build.main != "" {
		s.pkg = build.main
	}
	file := relative(s.pkg, f.File, build.module)
	line := strconv.Itoa(f.Line)
	s.source = file + ":" + line

	// The API's int64 is a string in JSON.
	b := appendString([]byte(`"logging.googleapis.com/sourceLocation":{"file":`), file)
	b = append(b, `,"line":"`+line+`","function":`...)
	b = appendString(b, f.Function)
	s.location = append(b, "},"...)

	b = appendString([]byte(`"context":{"reportLocation":{"filePath":`), file)
	b = append(b, `,"lineNumber":`+line+`,"functionName":`...)
	b = appendString(b, f.Function)
	s.report = append(b, "}},"...)

	s.place = []byte("\n\t" + f.File + ":" + line)
	s.frame = []byte(f.Function + "(...)\n\t" + f.File + ":" + line + "\n")
	return s
}

// packageOf returns the import path of a function as runtime names it:
// "github.com/acme/shop/db.(*Store).Load.func1". Dots in the path's last
// element are written %2e there.
func packageOf(function string) string {
	end, _, _ := strings.Cut(function, "[") // type arguments may hold slashes
	slash := strings.LastIndexByte(end, '/') + 1
	if dot := strings.IndexByte(end[slash:], '.'); dot >= 0 {
		end = end[:slash+dot]
	}
	return strings.ReplaceAll(end, "%2e", ".")
}

// relative returns the file's path within the module: the working directory
// means nothing in a container, and the compiler's path names its machine.
func relative(pkg, file, module string) string {
	if strings.HasSuffix(file, "_test.go") {
		pkg = strings.TrimSuffix(pkg, "_test")
	}
	base := path.Base(strings.ReplaceAll(file, `\`, "/"))
	if rest, ok := strings.CutPrefix(pkg, module); ok && module != "" {
		switch {
		case rest == "":
			return base
		case rest[0] == '/':
			return rest[1:] + "/" + base
		}
	}
	if pkg == "" {
		return base
	}
	return pkg + "/" + base
}

// buildInfo returns the paths of the program's main package and module, as
// far as they are known.
var buildInfo = sync.OnceValue(func() (b struct{ main, module string }) {
	if info, ok := debug.ReadBuildInfo(); ok {
		b.main, b.module = info.Path, info.Main.Path
	}
	return b
})
