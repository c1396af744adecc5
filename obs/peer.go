package obs

import (
	"context"
	"net"
	"net/http/httptrace"

	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// withPeer returns a context for a request of span, which learns from it what
// the request is connected to: behind a proxy that is the proxy. Of several
// connections the last one counts, and none that comes when span has ended. A
// trace that the program has in ctx is called too.
func withPeer(ctx context.Context, span trace.Span) context.Context {
	if !span.IsRecording() {
		return ctx
	}
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) {
		if i.Conn != nil {
			setPeer(span, i.Conn.RemoteAddr())
		}
	}})
}

func setPeer(span trace.Span, a net.Addr) {
	switch a := a.(type) {
	case nil:
	case *net.TCPAddr:
		ap := a.AddrPort()
		span.SetAttributes(semconv.NetworkPeerAddress(ap.Addr().Unmap().String()), semconv.NetworkPeerPort(int(ap.Port())))
	case *net.UnixAddr:
		span.SetAttributes(semconv.NetworkPeerAddress(a.Name))
	}
}
