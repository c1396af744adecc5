package devui

import (
	"embed"
	"encoding/json"
	"net/http"
	"path"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/trace"
)

//go:embed page
var page embed.FS

// ServeHTTP serves the page and what it asks for. The viewer does not know
// where it is mounted, so it goes by the end of the path:
//
//	…/                           the page
//	…/app.js and the like        its files
//	…/api/stream                 what happens, as server-sent events
//	…/api/traces                 the list, filtered as the page filters it
//	…/api/traces/{id}            one trace
//	…/api/traces/{id}/file       the same with everything in it, to keep
//	…/api/traces/{id}/spans/{n}  the n-th span's details
func (v *Viewer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	setPolicy(w.Header())
	if why := v.refusal(r); why != "" {
		http.Error(w, "refused: "+why, http.StatusForbidden)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "want GET", http.StatusMethodNotAllowed)
		return
	}
	if i := strings.LastIndex(r.URL.Path, "/api/"); i >= 0 {
		v.api(w, r, strings.Split(r.URL.Path[i+len("/api/"):], "/"))
		return
	}
	v.file(w, r)
}

// file serves a file of the page, or sends the browser to where the page's own
// addresses are right: behind a slash.
func (v *Viewer) file(w http.ResponseWriter, r *http.Request) {
	name := path.Base(r.URL.Path)
	if strings.HasSuffix(r.URL.Path, "/") {
		name = "index.html"
	} else if name == "." || !strings.Contains(name, ".") {
		// What a router has taken off the path is still in the request's own.
		asked, _, _ := strings.Cut(r.RequestURI, "?")
		w.Header().Set("Location", path.Base(asked)+"/")
		w.WriteHeader(http.StatusFound)
		return
	}
	body, err := page.ReadFile("page/" + name)
	kind, known := kinds[path.Ext(name)]
	if err != nil || !known {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Cache-Control", "no-cache")
	_, _ = w.Write(body) // a browser that is gone
}

var kinds = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

func (v *Viewer) api(w http.ResponseWriter, r *http.Request, parts []string) {
	w.Header().Set("Cache-Control", "no-store")
	switch {
	case len(parts) == 1 && parts[0] == "stream":
		v.stream(w, r)
	case len(parts) == 1 && parts[0] == "traces":
		v.list(w, r)
	case len(parts) > 1 && parts[0] == "traces":
		v.trace(w, r, parts[1], parts[2:])
	default:
		http.NotFound(w, r)
	}
}

func (v *Viewer) list(w http.ResponseWriter, r *http.Request) {
	f, err := parseFilter(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	u := v.store.since(0, f, true, false)
	u.Stats, u.Facets = v.statsDoc(), v.store.facets()
	if u.Traces == nil {
		u.Traces = []traceRow{}
	}
	writeJSON(w, u)
}

func (v *Viewer) trace(w http.ResponseWriter, r *http.Request, id string, rest []string) {
	key, err := trace.TraceIDFromHex(id)
	if err != nil {
		http.Error(w, "want a trace id of 32 hexadecimal digits", http.StatusBadRequest)
		return
	}
	s, ok := v.store.trace(key)
	if !ok {
		http.Error(w, "the trace is not held: it has given way to others, or never came", http.StatusNotFound)
		return
	}
	switch {
	case len(rest) == 0:
		v.writeTrace(w, &s, false)
	case len(rest) == 1 && rest[0] == "file":
		w.Header().Set("Content-Disposition", `attachment; filename="trace-`+key.String()+`.json"`)
		v.writeTrace(w, &s, true)
	case len(rest) == 2 && rest[0] == "spans":
		n, err := strconv.Atoi(rest[1])
		if err != nil || n < 0 || n >= len(s.entry.spans) {
			http.Error(w, "no such span", http.StatusNotFound)
			return
		}
		v.writeSpan(w, &s, n)
	default:
		http.NotFound(w, r)
	}
}

func (v *Viewer) writeTrace(w http.ResponseWriter, s *snapshot, detail bool) {
	d, err := s.doc(detail)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	writeJSON(w, d)
}

func (v *Viewer) writeSpan(w http.ResponseWriter, s *snapshot, n int) {
	sp, err := decode(s.entry.spans[n], s.names)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	details, err := s.details([]span{sp}, s.base())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	writeJSON(w, details[0])
}

func writeJSON(w http.ResponseWriter, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body) // a browser that is gone
}

func (v *Viewer) statsDoc() statsDoc {
	s := v.Stats()
	return statsDoc{s.Traces, s.Spans, s.Logs, s.Bytes, v.opts.MaxBytes, s.Evicted, s.DroppedSpans, s.DroppedLogs}
}
