package chiobs_test

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"

	"github.com/go-chi/chi/v5"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/kumihimo/kumihimo/chiobs"
)

// get serves one GET request and says what came back.
func get(h http.Handler, target string) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, target, nil))
	fmt.Println(w.Code, w.Body)
}

// lines returns a logger that prints what is the same in every run; of
// httpRequest it is the URL.
func lines(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) > 0 && a.Key != "requestUrl" || a.Key == slog.TimeKey || a.Key == "stack_trace" {
				return slog.Attr{}
			}
			return a
		},
	}))
}

func ExampleMiddleware() {
	r := chi.NewRouter()
	r.Use(chiobs.Middleware) // after obs.Init, spans and records go where it says
	r.Get("/users/{id}", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "user "+chi.URLParam(r, "id"))
	})

	get(r, "/users/7")
	// Output: 200 user 7
}

func ExampleConfig_Middleware() {
	spans := tracetest.NewSpanRecorder()
	r := chi.NewRouter()
	r.Use(chiobs.Config{
		Provider: sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)),
		Logger:   lines(os.Stdout),
		Trust:    chiobs.TrustPublic, // this service faces the internet
		Skip:     func(r *http.Request) bool { return r.URL.Path == "/healthz" },
	}.Middleware)
	r.Get("/healthz", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") })
	r.Get("/users/{id}", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "user "+chi.URLParam(r, "id"))
	})

	get(r, "/healthz")
	get(r, "/users/7")
	get(r, "/wp-login.php")
	for _, s := range spans.Ended() {
		fmt.Println("span", s.Name())
	}
	// Output:
	// 200 ok
	// level=INFO msg="GET /users/{id} 200" httpRequest.requestUrl=http://example.com/users/7 http.route=/users/{id}
	// 200 user 7
	// level=WARN msg="GET 404" httpRequest.requestUrl=http://example.com/wp-login.php
	// 404 404 page not found
	//
	// span GET /users/{id}
	// span GET
}

func ExampleConfig_Middleware_panic() {
	r := chi.NewRouter()
	r.Use(chiobs.Config{Logger: lines(os.Stdout)}.Middleware)
	r.Get("/users/{id}", func(http.ResponseWriter, *http.Request) { panic("no users") })

	get(r, "/users/7")
	// Output:
	// level=ERROR msg="panic: no users" error.kind=string error.message="no users"
	// level=ERROR msg="GET /users/{id} 500" httpRequest.requestUrl=http://example.com/users/7 http.route=/users/{id}
	// 500 Internal Server Error
}

func ExampleAdd() {
	r := chi.NewRouter()
	r.Use(chiobs.Config{
		Logger: lines(os.Stdout),
		OnStart: func(r *http.Request) []slog.Attr {
			return []slog.Attr{slog.String("tenant", r.Header.Get("X-Tenant"))}
		},
		OnEnd: func(_ *http.Request, o chiobs.Outcome) []slog.Attr {
			return []slog.Attr{slog.Bool("large", o.ResponseSize > 5)}
		},
	}.Middleware)
	r.Get("/users/{id}", func(w http.ResponseWriter, r *http.Request) {
		chiobs.Add(r.Context(), slog.String("user.id", chi.URLParam(r, "id")))
		io.WriteString(w, "user 7")
	})

	get(r, "/users/7")
	// Output:
	// level=INFO msg="GET /users/{id} 200" httpRequest.requestUrl=http://example.com/users/7 http.route=/users/{id} tenant="" user.id=7 large=true
	// 200 user 7
}

// Records of what went wrong alone.
func ExampleAccess() {
	r := chi.NewRouter()
	r.Use(chiobs.Config{Logger: lines(os.Stdout), Access: chiobs.AccessErrors}.Middleware)
	r.Get("/users/{id}", func(w http.ResponseWriter, r *http.Request) {
		if chi.URLParam(r, "id") == "0" {
			w.WriteHeader(http.StatusInternalServerError)
		}
		io.WriteString(w, "user")
	})

	get(r, "/users/7")
	get(r, "/users/0")
	// Output:
	// 200 user
	// level=ERROR msg="GET /users/{id} 500" httpRequest.requestUrl=http://example.com/users/0 http.route=/users/{id}
	// 500 user
}
