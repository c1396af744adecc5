package gcpauth

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestFile reads what is there now, and never says what it read.
func TestFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "token")
	now := time.Now()
	for _, test := range []struct {
		name, content string
		want          string // in the error; empty: none
	}{
		{"token", issue(testAudience, now, time.Hour), ""},
		{"with a new line", "\n" + issue(testAudience, now, time.Hour) + "\r\n", ""},
		{"empty", "", "malformed ID token"},
		{"expired", issue(testAudience, now.Add(-2*time.Hour), time.Hour), "expired"},
		{"two tokens", issue(testAudience, now, time.Hour) + "\n" + issue(testAudience, now, time.Hour), "malformed ID token"},
		{"something else", strings.Repeat("eyJ", 1<<20), "malformed ID token"},
		{"an access token", "ya29.eyJ", "malformed ID token"},
	} {
		if err := os.WriteFile(path, []byte(test.content), 0o600); err != nil {
			t.Fatal(err)
		}
		token, err := File(path).Token(t.Context())
		if test.want == "" {
			if err != nil || token.Identity() != testEmail {
				t.Errorf("%s: got %v, %v", test.name, token.Identity(), err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), path) || leaks(err.Error()) {
			t.Errorf("%s: got %v, want an error that says %q and names the file", test.name, err, test.want)
		}
	}
	for _, path := range []string{filepath.Join(dir, "none"), dir} {
		if _, err := File(path).Token(t.Context()); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got %v", path, err)
		}
	}
}

// TestFileThatIsKeptFresh: the next token is the file's next.
func TestFileThatIsKeptFresh(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "token")
	source := File(path)
	var tokens []Token
	for _, age := range []time.Duration{20 * time.Minute, 0} {
		if err := os.WriteFile(path, []byte(issue(testAudience, time.Now().Add(-age), time.Hour)), 0o600); err != nil {
			t.Fatal(err)
		}
		token, err := source.Token(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		source.Invalidate(token)
		tokens = append(tokens, token)
	}
	if tokens[0].same(tokens[1]) {
		t.Error("the file's first token came back")
	}
}

func TestStaticIsTrimmed(t *testing.T) {
	t.Parallel()
	if _, err := Static(issue(testAudience, time.Now(), time.Hour) + "\n").Token(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestTokenSaysWhose it is, and the zero Token that it is nobody's.
func TestTokenSaysWhose(t *testing.T) {
	t.Parallel()
	token := mint(t, 0, time.Hour)
	if token.Identity() != testEmail || len(token.Audience()) != 1 || token.Audience()[0] != testAudience {
		t.Errorf("got %q for %q", token.Identity(), token.Audience())
	}
	token.Audience()[0] = "another"
	if token.Audience()[0] != testAudience {
		t.Error("the token's audience was written to")
	}
	if z := (Token{}); z.Identity() != "" || z.Audience() != nil {
		t.Errorf("the zero Token: got %q for %q", z.Identity(), z.Audience())
	}
}
