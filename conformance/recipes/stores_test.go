package recipes

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/kumihimo/kumihimo/obs"
)

func TestRedis(t *testing.T) {
	w := start(t)
	server := miniredis.RunT(t)
	client, err := OpenRedis(&redis.Options{Addr: server.Addr()})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, root := obs.Start(t.Context(), "request")
	if err := client.Set(ctx, "user:7", "planted", 0).Err(); err != nil {
		t.Fatal(err)
	}
	root.End(nil)
	spans := w.spans(t, trace.SpanContextFromContext(ctx).TraceID().String())
	s, ok := spans["set"]
	if !ok || s.Type != "redis" || s.Kind != "client" || s.ParentID != spans["request"].SpanID {
		t.Errorf("got %+v of %v", s, spans)
	}
	if strings.Contains(fmt.Sprint(spans), "planted") {
		t.Errorf("the value is shown: %+v", spans)
	}
}

// table is a driver with one row, and an error for other tables.
type table struct{}

func (table) Open(string) (driver.Conn, error)   { return conn{}, nil }
func (conn) Prepare(string) (driver.Stmt, error) { return nil, errors.ErrUnsupported }
func (conn) Close() error                        { return nil }
func (conn) Begin() (driver.Tx, error)           { return nil, errors.ErrUnsupported }
func (r *rows) Columns() []string                { return []string{"name"} }
func (r *rows) Close() error                     { return nil }
func (r *rows) Next(dest []driver.Value) error {
	if r.done {
		return io.EOF
	}
	r.done, dest[0] = true, "Ada"
	return nil
}

func (conn) QueryContext(_ context.Context, query string, _ []driver.NamedValue) (driver.Rows, error) {
	if !strings.Contains(query, "FROM users") {
		return nil, errors.New("no such table")
	}
	return &rows{}, nil
}

type (
	conn struct{}
	rows struct{ done bool }
)

func init() { sql.Register("table", table{}) }

func TestSQL(t *testing.T) {
	w := start(t)
	db, err := OpenSQL("table", "")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	ctx, root := obs.Start(t.Context(), "request")
	var name string
	if err := db.QueryRowContext(ctx, "SELECT name FROM users WHERE id = 7").Scan(&name); err != nil || name != "Ada" {
		t.Fatalf("got %q, %v", name, err)
	}
	if _, err := db.QueryContext(ctx, "SELECT name FROM others"); err == nil { //nolint:sqlclosecheck,rowserrcheck // there is none
		t.Fatal("got no error")
	}
	root.End(nil)
	spans := w.spans(t, trace.SpanContextFromContext(ctx).TraceID().String())
	s, failed := spans["SELECT name FROM users WHERE id = 7"], spans["SELECT name FROM others"]
	if s.Type != "sql" || s.Kind != "client" || s.Meta["db.system.name"] != "postgresql" || s.ParentID != spans["request"].SpanID {
		t.Errorf("got %+v of %v", s, spans)
	}
	if !failed.Error || failed.Meta["error.message"] != "no such table" {
		t.Errorf("got %+v of %v", failed, spans)
	}
}

func TestGRPC(t *testing.T) {
	w := start(t)
	server := NewGRPCServer(w.tel)
	healthpb.RegisterHealthServer(server, health.NewServer())
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ln) }()
	cc, err := DialGRPC(ln.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	ctx, root := obs.Start(t.Context(), "request")
	client := healthpb.NewHealthClient(cc)
	if _, err := client.Check(ctx, &healthpb.HealthCheckRequest{}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Check(ctx, &healthpb.HealthCheckRequest{Service: "none"}); status.Code(err) != codes.NotFound {
		t.Fatal(err)
	}
	root.End(nil)
	cc.Close()
	server.GracefulStop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if err := w.tel.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	id := trace.SpanContextFromContext(ctx).TraceID().String()
	clients, servers := map[uint64]bool{}, 0
	for _, s := range w.agent.Spans() {
		if s.TraceID == id && s.Kind == "client" {
			clients[s.SpanID] = true
		}
	}
	for _, s := range w.agent.Spans() {
		if s.TraceID == id && s.Kind == "server" && clients[s.ParentID] {
			servers++
		}
	}
	if len(clients) != 2 || servers != 2 {
		t.Errorf("got %d client spans, and %d server spans under them, want 2 and 2", len(clients), servers)
	}
}
