package agent

import (
	"context"
	"net"
	"strconv"
	"syscall"
	"testing"

	"github.com/DataDog/datadog-agent/pkg/opentelemetry-mapping-go/otlp/attributes"
	"github.com/DataDog/datadog-agent/pkg/trace/config"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	tracenoop "go.opentelemetry.io/otel/trace/noop"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// StartOTLP is Start with the trace-agent's OTLP intake, and a function that
// sends to it over gRPC, as Datadog's Agent does with what its OTLP receiver
// gets. The test must not be parallel: the intake's socket comes through the
// environment, the one way to let the system choose the port.
func StartOTLP(t testing.TB) (*Agent, func(context.Context, ptrace.Traces) error) {
	t.Helper()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("agent: %v", err)
	}
	defer ln.Close() // the agent has its own descriptor
	f, err := ln.(*net.TCPListener).File()
	if err != nil {
		t.Fatalf("agent: %v", err)
	}
	defer f.Close()
	fd, err := syscall.Dup(int(f.Fd())) // the agent closes it
	if err != nil {
		t.Fatalf("agent: %v", err)
	}
	t.Setenv("DD_OTLP_CONFIG_GRPC_FD", strconv.Itoa(fd))
	translator, err := attributes.NewTranslator(component.TelemetrySettings{
		Logger: zap.NewNop(), TracerProvider: tracenoop.NewTracerProvider(), MeterProvider: metricnoop.NewMeterProvider(),
	})
	if err != nil {
		t.Fatalf("agent: %v", err)
	}
	a := Start(t, func(c *config.AgentConfig) {
		c.OTLPReceiver = &config.OTLP{BindHost: "127.0.0.1", GRPCPort: 1, AttributesTranslator: translator}
	})
	conn, err := grpc.NewClient(ln.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatalf("agent: %v", err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // nothing is under way
	client := ptraceotlp.NewGRPCClient(conn)
	return a, func(ctx context.Context, td ptrace.Traces) error {
		_, err := client.Export(ctx, ptraceotlp.NewExportRequestFromTraces(td))
		return err
	}
}
