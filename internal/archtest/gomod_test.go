package archtest

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

// maxDirect is the number of direct requirements the root go.mod may have,
// tests and the example included: users inherit each of them.
const maxDirect = 14

// gomod is what "go mod edit -json" prints, as far as rules ask.
type gomod struct {
	Require []struct {
		Path     string
		Indirect bool
	}
	Replace []json.RawMessage
	Tool    []struct{ Path string }
}

func checkGoMod(m gomod) (violations []string) {
	var direct []string
	for _, r := range m.Require {
		if !r.Indirect {
			direct = append(direct, r.Path)
		}
	}
	if len(direct) > maxDirect {
		violations = append(violations, fmt.Sprintf("go.mod: %d direct requirements, want at most %d: %s", len(direct), maxDirect, strings.Join(direct, " ")))
	}
	if len(m.Replace) > 0 {
		violations = append(violations, "go.mod: a replace directive: users' builds ignore it, so we would test what they do not get")
	}
	if len(m.Tool) > 0 {
		violations = append(violations, "go.mod: a tool block: users' module graphs would carry our tools; run them with go run pkg@version")
	}
	return violations
}

func TestRootGoMod(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), "go", "mod", "edit", "-json")
	cmd.Dir = root
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, stderr.String())
	}
	var m gomod
	if err := json.Unmarshal(out, &m); err != nil {
		t.Fatalf("%v: %v", cmd, err)
	}
	report(t, checkGoMod(m))
}
