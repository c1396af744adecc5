package recipes

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"net/http"
	"strings"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/obs"
)

// A Message is what matters here of Pub/Sub's.
type Message struct {
	ID         string            `json:"messageId"`
	Data       []byte            `json:"data"`
	Attributes map[string]string `json:"attributes"`
}

// Publish sends m with the trace in its attributes.
func Publish(ctx context.Context, topic string, m Message, send func(context.Context, Message) error) (err error) {
	ctx, span := obs.Start(ctx, topic+" publish", obs.Kind(trace.SpanKindProducer),
		slog.String("messaging.system", "gcp_pubsub"), slog.String("messaging.destination.name", topic))
	defer span.End(&err)
	carrier := propagation.MapCarrier(maps.Clone(m.Attributes))
	if carrier == nil {
		carrier = make(propagation.MapCarrier)
	}
	otel.GetTextMapPropagator().Inject(ctx, carrier)
	m.Attributes = carrier
	return send(ctx, m)
}

// Process works on a message, in a span that links to the publisher's: a
// message may be delivered twice, or long after, so it is no child. ctx is that
// of a pull subscription's callback, or of a push request.
func Process(ctx context.Context, topic string, m Message, work func(context.Context, Message) error) (err error) {
	carrier := make(propagation.MapCarrier, len(m.Attributes))
	for k, v := range m.Attributes {
		carrier[strings.TrimPrefix(k, "googclient_")] = v // as Google's clients have it
	}
	publisher := otel.GetTextMapPropagator().Extract(context.Background(), carrier)
	ctx, span := obs.Start(ctx, topic+" process", obs.Kind(trace.SpanKindConsumer),
		obs.Link(trace.SpanContextFromContext(publisher)),
		slog.String("messaging.system", "gcp_pubsub"), slog.String("messaging.destination.name", topic),
		slog.String("messaging.message.id", m.ID))
	defer span.End(&err)
	return work(ctx, m)
}

// Push is the endpoint of a push subscription, to be wrapped by
// chiobs.Middleware as any other. An answer of 500 makes Pub/Sub deliver the
// message again.
func Push(topic string, work func(context.Context, Message) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var body struct{ Message Message }
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 10<<20)).Decode(&body); err != nil {
			http.Error(w, "not a push request", http.StatusBadRequest)
			return
		}
		if err := Process(r.Context(), topic, body.Message, work); err != nil {
			slog.ErrorContext(r.Context(), "message not processed", "error", err)
			w.WriteHeader(http.StatusInternalServerError)
		}
	}
}
