package command

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/kumihimo/kumihimo/obs/gcpauth"
)

// TestMain makes this test binary the program that is run: what it is to do is
// its first argument.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		if act, ok := acts[os.Args[1]]; ok {
			os.Exit(act())
		}
	}
	os.Exit(m.Run())
}

var acts = map[string]func() int{
	"print":   func() int { fmt.Println(fakeToken(time.Now())); return 0 },
	"expired": func() int { fmt.Println(fakeToken(time.Now().Add(-2 * time.Hour))); return 0 },
	"nothing": func() int { return 0 },
	"prose":   func() int { fmt.Println("You are now logged in as", fakeToken(time.Now())); return 0 },
	"flood":   func() int { fmt.Print(strings.Repeat("eyJ", 1<<20)); return 0 },
	"fail": func() int {
		fmt.Println(fakeToken(time.Now()))
		fmt.Fprintln(os.Stderr, "ERROR: (gcloud.auth.print-identity-token)\nYou do not have an active account.")
		return 1
	},
	"leak": func() int { fmt.Fprintln(os.Stderr, fakeToken(time.Now())); return 1 },
	"hang": func() int { select {} },
}

func fakeToken(issued time.Time) string {
	part := base64.RawURLEncoding.EncodeToString
	claims := fmt.Sprintf(`{"aud":"https://agent-xyz.a.run.app","email":"ada@example.com","iat":%d,"exp":%d}`, issued.Unix(), issued.Add(time.Hour).Unix())
	return part([]byte(`{"alg":"RS256"}`)) + "." + part([]byte(claims)) + "." + part([]byte("signature"))
}

func TestCommand(t *testing.T) {
	t.Parallel()
	tests := []struct {
		act  string
		want string // in the error; empty: none
	}{
		{"print", ""},
		{"expired", "expired"},
		{"nothing", "printed nothing"},
		{"prose", "malformed ID token"},
		{"flood", "more than 16384 bytes"},
		{"fail", `exit status 1: "ERROR: (gcloud.auth.print-identity-token) You do not have an active account."`},
		{"leak", "exit status 1"},
	}
	for _, tt := range tests {
		t.Run(tt.act, func(t *testing.T) {
			t.Parallel()
			token, err := New(os.Args[0], tt.act).Token(t.Context())
			if tt.want == "" {
				if err != nil || token.Identity() != "ada@example.com" {
					t.Errorf("got a token of %q, %v", token.Identity(), err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "eyJ") {
				t.Errorf("got %v, want an error that says %q and shows no token", err, tt.want)
			}
		})
	}
}

// TestEnds: the program ends with the context.
func TestEnds(t *testing.T) {
	t.Parallel()
	over := errors.New("over")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 100*time.Millisecond, over)
	defer cancel()
	if _, err := New(os.Args[0], "hang").Token(ctx); !errors.Is(err, over) {
		t.Errorf("got %v, want %v", err, over)
	}
}

func TestNoProgram(t *testing.T) {
	t.Parallel()
	source := New("no-such-program-anywhere", "auth")
	if _, err := source.Token(t.Context()); err == nil || !strings.Contains(err.Error(), "no-such-program-anywhere") {
		t.Errorf("got %v", err)
	}
	source.Invalidate(gcpauth.Token{})
}

// TestArgumentsAreCopied: what the caller does with its slice later is its own.
func TestArgumentsAreCopied(t *testing.T) {
	t.Parallel()
	args := []string{"print"}
	source := New(os.Args[0], args...)
	args[0] = "nothing"
	if _, err := source.Token(t.Context()); err != nil {
		t.Error(err)
	}
}

// A program that prints something else: in a terminal it may print a token.
func ExampleNew() {
	_, err := New("echo", "Go to the following link in your browser").Token(context.Background())
	fmt.Println(err)
	// Output: command: echo: gcpauth: malformed ID token: not a JSON Web Token in compact form
}
