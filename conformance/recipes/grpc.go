package recipes

import (
	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"google.golang.org/grpc"

	"github.com/kumihimo/kumihimo/obs"
)

// NewGRPCServer returns a server with a span a call. Behind Google's front end
// the ingress propagator keeps its traces whole.
func NewGRPCServer(tel *obs.Telemetry) *grpc.Server {
	return grpc.NewServer(grpc.StatsHandler(
		otelgrpc.NewServerHandler(otelgrpc.WithPropagators(tel.IngressPropagator()))))
}

// DialGRPC returns a connection with a span a call.
func DialGRPC(target string, opts ...grpc.DialOption) (*grpc.ClientConn, error) {
	return grpc.NewClient(target, append(opts, grpc.WithStatsHandler(otelgrpc.NewClientHandler()))...)
}
