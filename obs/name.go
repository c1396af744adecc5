package obs

import (
	"reflect"
	"runtime"
	"strings"
)

// callerName names the function that called the caller.
func callerName() string {
	var pcs [1]uintptr
	if runtime.Callers(3, pcs[:]) == 0 { // less Callers, this and the caller
		return unnamed
	}
	f, _ := runtime.CallersFrames(pcs[:]).Next()
	return functionName(f.Function)
}

// nameOf names a function value.
func nameOf(f any) string {
	v := reflect.ValueOf(f)
	if v.Kind() != reflect.Func || v.IsNil() {
		return unnamed
	}
	if f := runtime.FuncForPC(v.Pointer()); f != nil {
		return functionName(f.Name())
	}
	return unnamed
}

// unnamed is a span's name where the function has none.
const unnamed = "unknown"

// functionName shortens a function's name as runtime has it,
// "github.com/acme/shop/db.(*Store[...]).Load.func1", to "db.Store.Load.func1".
func functionName(full string) string {
	for {
		before, rest, found := strings.Cut(full, "[")
		if !found {
			break
		}
		_, after, _ := strings.Cut(rest, "]")
		full = before + after
	}
	full = full[strings.LastIndexByte(full, '/')+1:]
	full = strings.NewReplacer("(*", "", ")", "", "%2e", ".", "-fm", "").Replace(full)
	if full == "" {
		return unnamed
	}
	return full
}
