package browsertest

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/obs/devui"
)

// A system is services whose spans end in one viewer, at times that it makes up:
// what the pages show must not depend on how fast the machine is.
type system struct {
	viewer   *devui.Viewer
	services map[string]trace.Tracer
	random   *rand.Rand
	now      time.Time
}

func newSystem(t testing.TB, services ...string) *system {
	t.Helper()
	v := devui.New(devui.Options{})
	t.Cleanup(func() {
		if err := v.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	s := &system{viewer: v, services: map[string]trace.Tracer{}, random: rand.New(rand.NewPCG(1, 2)), now: time.Now().Add(-4 * time.Minute)}
	for _, name := range services {
		p := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(v), sdktrace.WithResource(resource.NewSchemaless(
			attribute.String("service.name", name), attribute.String("service.version", "1.4.2"), attribute.String("deployment.environment.name", "dev"))))
		s.services[name] = p.Tracer("github.com/acme/" + name)
	}
	return s
}

// span makes a span from at on, with body for what happens in it.
func (s *system) span(ctx context.Context, service, name string, kind trace.SpanKind, at, length time.Duration, attrs []attribute.KeyValue, body func(context.Context, trace.Span)) trace.Span {
	ctx, span := s.services[service].Start(ctx, name, trace.WithSpanKind(kind), trace.WithTimestamp(s.now.Add(at)), trace.WithAttributes(attrs...))
	if body != nil {
		body(ctx, span)
	}
	span.End(trace.WithTimestamp(s.now.Add(at + length)))
	return span
}

func (s *system) log(ctx context.Context, at time.Duration, level slog.Level, message string, args ...any) {
	r := slog.NewRecord(s.now.Add(at), level, message, 0)
	r.Add(args...)
	if err := s.viewer.Handle(ctx, r); err != nil {
		panic(err)
	}
}

func server(method, route, path string, status int) []attribute.KeyValue {
	return []attribute.KeyValue{
		attribute.String("http.request.method", method), attribute.String("http.route", route), attribute.String("url.path", path),
		attribute.Int("http.response.status_code", status), attribute.String("url.scheme", "https"), attribute.String("server.address", "shop.localhost"),
		attribute.String("user_agent.original", "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0"),
	}
}

const (
	ms     = time.Millisecond
	in     = trace.SpanKindServer
	out    = trace.SpanKindClient
	inside = trace.SpanKindInternal
)

// order is a request through three services; with failed, payment declines.
func (s *system) order(id int, scale time.Duration, failed bool) trace.Span {
	status := 200
	if failed {
		status = 502
	}
	path := fmt.Sprint("/orders/", id)
	return s.span(context.Background(), "shop", "GET /orders/{id}", in, 0, 118*scale, server("GET", "/orders/{id}", path, status), func(ctx context.Context, root trace.Span) {
		s.log(ctx, 2*scale, slog.LevelInfo, "order requested", "order.id", id)
		s.span(ctx, "shop", "auth.verify", inside, scale, 9*scale, []attribute.KeyValue{attribute.Bool("cached", true)}, nil)
		s.span(ctx, "shop", "order.load", inside, 11*scale, 58*scale, []attribute.KeyValue{attribute.Int("order.id", id)}, func(ctx context.Context, _ trace.Span) {
			s.span(ctx, "shop", "SELECT orders", out, 12*scale, 17*scale, []attribute.KeyValue{
				attribute.String("db.system.name", "postgresql"), attribute.String("db.namespace", "shop"), attribute.String("db.query.text", "SELECT id, total FROM orders WHERE id = $1")}, nil)
			s.span(ctx, "shop", "GET", out, 30*scale, 36*scale, []attribute.KeyValue{attribute.String("http.request.method", "GET"),
				attribute.String("url.full", "http://inventory.localhost/stock/7"), attribute.Int("http.response.status_code", 200)}, func(ctx context.Context, _ trace.Span) {
				s.span(ctx, "inventory", "GET /stock/{id}", in, 33*scale, 29*scale, server("GET", "/stock/{id}", "/stock/7", 200), func(ctx context.Context, _ trace.Span) {
					s.span(ctx, "inventory", "redis GET", out, 34*scale, 4*scale, []attribute.KeyValue{attribute.String("db.system.name", "redis")}, nil)
					s.span(ctx, "inventory", "stock.count", inside, 39*scale, 21*scale, nil, func(ctx context.Context, _ trace.Span) {
						s.log(ctx, 58*scale, slog.LevelInfo, "stock counted", "article", 7, "count", 3)
					})
				})
			})
		})
		s.span(ctx, "shop", "POST", out, 71*scale, 40*scale, []attribute.KeyValue{attribute.String("http.request.method", "POST"), attribute.String("url.full", "http://payments.localhost/charge")}, func(ctx context.Context, _ trace.Span) {
			s.span(ctx, "payments", "POST /charge", in, 74*scale, 34*scale, server("POST", "/charge", "/charge", status), func(ctx context.Context, span trace.Span) {
				s.span(ctx, "payments", "risk.score", inside, 76*scale, 12*scale, []attribute.KeyValue{attribute.Float64("score", 0.12)}, nil)
				s.span(ctx, "payments", "bank.authorize", out, 89*scale, 17*scale, []attribute.KeyValue{attribute.Int("cents", 9900)}, func(ctx context.Context, span trace.Span) {
					if !failed {
						return
					}
					span.AddEvent("exception", trace.WithTimestamp(s.now.Add(104*scale)), trace.WithAttributes(
						attribute.String("exception.type", "*bank.Declined"), attribute.String("exception.message", "charge 9900 cents: card declined"),
						attribute.String("exception.stacktrace", "github.com/acme/payments/bank.(*Client).Authorize\n\t/src/payments/bank/client.go:88\ngithub.com/acme/payments.(*Service).charge\n\t/src/payments/charge.go:41\nnet/http.HandlerFunc.ServeHTTP\n\t/usr/lib/go/src/net/http/server.go:2322")))
					span.SetStatus(codes.Error, "charge 9900 cents: card declined")
					s.log(ctx, 104*scale, slog.LevelWarn, "bank declined", "cents", 9900, "attempt", 1)
				})
				if failed {
					span.SetStatus(codes.Error, "charge 9900 cents: card declined")
					s.log(ctx, 106*scale, slog.LevelError, "payment failed", "error", "charge 9900 cents: card declined")
				}
			})
		})
		if failed {
			root.SetStatus(codes.Error, "payment failed")
		}
		s.log(ctx, 116*scale, slog.LevelInfo, fmt.Sprintf("GET %s %d", path, status), "http.route", "/orders/{id}")
	})
}

// day is a few minutes of traffic: mostly fast, some slow, some failing.
func (s *system) day(n int) (failed trace.Span) {
	for i := range n {
		s.now = s.now.Add(time.Duration(s.random.IntN(int(4 * time.Minute / time.Duration(n)))))
		switch {
		case i%17 == 16:
			failed = s.order(100+i, ms, true)
		case i%23 == 22:
			s.order(100+i, 9*ms, false)
		case i%3 == 0:
			s.span(context.Background(), "shop", "GET /articles", in, 0, time.Duration(6+s.random.IntN(20))*ms, server("GET", "/articles", "/articles", 200), func(ctx context.Context, _ trace.Span) {
				s.log(ctx, 4*ms, slog.LevelDebug, "cache hit", "key", "articles")
			})
		case i%11 == 7:
			s.span(context.Background(), "shop", "GET", in, 0, 900*time.Microsecond, server("GET", "", "/favicon.ico", 404), nil)
		default:
			s.order(100+i, ms*time.Duration(4+s.random.IntN(9))/8, false)
		}
	}
	return failed
}

// wide is a trace of n spans, ten under each.
func (s *system) wide(n int) trace.Span {
	var made int
	var under func(ctx context.Context, depth int, from, length time.Duration)
	under = func(ctx context.Context, depth int, from, length time.Duration) {
		for i := range 10 {
			if made >= n-1 {
				return
			}
			made++
			at, each := from+length*time.Duration(i)/10, length/10
			s.span(ctx, "shop", fmt.Sprint("step.", depth, ".", i), inside, at, each, []attribute.KeyValue{attribute.Int("n", made), attribute.String("text", "some text that a span carries")}, func(ctx context.Context, _ trace.Span) {
				if depth < 3 {
					under(ctx, depth+1, at, each)
				}
			})
		}
	}
	return s.span(context.Background(), "shop", "batch.run", in, 0, 10*time.Second, nil, func(ctx context.Context, _ trace.Span) {
		for made < n-1 {
			under(ctx, 0, 0, 10*time.Second)
		}
	})
}
