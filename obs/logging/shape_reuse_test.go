package logging

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"unsafe"
)

// TestShapeOutlivesTexts: keys and messages may lie in a buffer that is used
// again after Handle, as those are that servers hand out without copying.
func TestShapeOutlivesTexts(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	h := NewHandler(&out, nil)
	buf := []byte("nickname")
	text := unsafe.String(&buf[0], len(buf))
	pc := here()
	for _, now := range []string{"nickname", "password"} {
		copy(buf, now)
		r := record(slog.LevelInfo, text, slog.String(text, "hunter2"))
		r.PC = pc
		if err := h.Handle(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	_, second, _ := strings.Cut(out.String(), "\n")
	if strings.Contains(second, "hunter2") || strings.Contains(second, "nickname") || !strings.Contains(second, `"message":"password"`) {
		t.Errorf("second line:\n%s", second)
	}
}
