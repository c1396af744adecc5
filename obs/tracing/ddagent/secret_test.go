package ddagent

import (
	"fmt"
	"io"
	"net/url"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/trace"
)

// TestErrorTextsKeepSecrets: whoever recorded the error, the URL that its text
// quotes leaves without userinfo and signature.
func TestErrorTextsKeepSecrets(t *testing.T) {
	t.Parallel()
	err := fmt.Errorf("load: %w", &url.Error{Op: "Get", URL: "https://u:planted@a.example/?X-Goog-Signature=planted&token=planted", Err: io.EOF})
	s := mapped(t, Options{}, resource.Empty(), trace.SpanKindClient, func(s trace.Span) {
		s.RecordError(err)
		s.SetStatus(codes.Error, err.Error())
	})
	if got := s.meta()["error.message"]; got != `load: Get "https://REDACTED@a.example/?X-Goog-Signature=REDACTED&token=REDACTED": EOF` {
		t.Errorf("error.message: got %v", got)
	}
	if all := fmt.Sprint(s); strings.Contains(all, "planted") {
		t.Errorf("a secret is shown: %s", all)
	}
}
