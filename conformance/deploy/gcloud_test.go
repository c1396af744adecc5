package deploy

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// agentURL is what the gcloud of the tests says is the agent's.
const agentURL = "https://datadog-agent-4xz7k2lq5a-ew.a.run.app"

// stub takes the place of each program that the documents call: it notes its
// arguments, and prints what the real one would where that goes on.
const stub = `#!/bin/sh
printf '%s\0' "${0##*/}" "$#" "$@" >>"$CALLS"
case "$*" in
*"describe datadog-agent "*"(status.url)"*) echo ` + agentURL + ` ;;
*"describe shop "*"(status.url)"*) echo https://shop-4xz7k2lq5a-ew.a.run.app ;;
*"describe shop "*"containers[0].image"*) echo europe-west1-docker.pkg.dev/acme-shop/cloud-run-source-deploy/shop ;;
*"describe token-cache "*"(host)"*) echo 10.0.0.3 ;;
*"get-auth-string "*) echo 01234567-89ab-cdef-0123-456789abcdef ;;
*"describe datadog "*"(writerIdentity)"*) echo serviceAccount:service-1@gcp-sa-logging.iam.gserviceaccount.com ;;
"rand -base64 32") echo MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY= ;;
"auth print-identity-token"*) echo eyJ.e30.c2ln ;;
esac
`

// A call is a program's arguments, without its name.
type call []string

var shellBlock = regexp.MustCompile("(?s)```sh\n(.*?)```")

// run runs the document's blocks one after the other in one shell, which ends
// at the first error and at the first variable that has not been set, and
// returns the calls by program.
func run(t *testing.T, doc string) map[string][]call {
	t.Helper()
	var script strings.Builder
	for _, m := range shellBlock.FindAllStringSubmatch(read(t, doc), -1) {
		script.WriteString(m[1])
	}
	return shell(t, script.String())
}

func shell(t *testing.T, script string) map[string][]call {
	t.Helper()
	bin := t.TempDir()
	for _, name := range []string{"gcloud", "curl", "openssl", "terraform"} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte(stub), 0o700); err != nil { //nolint:gosec // a program
			t.Fatal(err)
		}
	}
	calls := filepath.Join(bin, "calls")
	cmd := exec.CommandContext(t.Context(), "sh", "-euc", script)
	cmd.Dir = root
	cmd.Env = []string{"PATH=" + bin + ":/usr/bin:/bin", "CALLS=" + calls}
	cmd.Stdin = strings.NewReader(strings.Repeat("secret\n", 9))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("the shell: %v\n%s", err, out)
	}
	text, err := os.ReadFile(calls)
	if err != nil {
		t.Fatal(err)
	}
	words := strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00")
	byName := map[string][]call{}
	for len(words) >= 2 {
		n, err := strconv.Atoi(words[1])
		if err != nil || n > len(words)-2 {
			t.Fatalf("calls: %q", words)
		}
		byName[words[0]] = append(byName[words[0]], words[2:2+n])
		words = words[2+n:]
	}
	return byName
}

// sdk is testdata/gcloud.json.
type sdk struct {
	Everywhere map[string]any
	Commands   map[string]map[string]any
}

func loadSDK(t *testing.T) sdk {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "gcloud.json"))
	if err != nil {
		t.Fatal(err)
	}
	var s sdk
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// check returns what is wrong with a call, "" for nothing.
func (s sdk) check(c call) string {
	command, flags := s.command(c)
	if flags == nil {
		return "no such command"
	}
	for _, arg := range c[len(strings.Fields(command)):] {
		name, value, has := strings.Cut(arg, "=")
		if !strings.HasPrefix(name, "--") {
			continue // a name
		}
		kind, known := flags[name]
		if !known {
			kind, known = s.Everywhere[name]
		}
		if positive := strings.Replace(name, "--no-", "--", 1); !known && positive != name && flags[positive] == "bool" {
			kind, known = "bool", true
		}
		switch choices, listed := kind.([]any); {
		case !known:
			return "no flag " + name
		case kind == "bool" && has:
			return name + " takes no value"
		case kind != "bool" && !has:
			return name + " needs a value, after ="
		case listed && !slices.ContainsFunc(choices, func(c any) bool { return strings.EqualFold(c.(string), value) }):
			return name + " does not take " + value
		}
	}
	return ""
}

// command returns the command that a call begins with, and its flags.
func (s sdk) command(c call) (string, map[string]any) {
	for n := min(len(c), 4); n > 0; n-- {
		name := strings.Join(c[:n], " ")
		if flags := s.Commands[name]; flags != nil {
			return name, flags
		}
	}
	return "", nil
}

// inline are the commands within the text, in tables above all.
var inline = regexp.MustCompile("`(gcloud [^`]*)`")

// TestCommands runs all commands of the documents, and checks each gcloud
// command and its flags.
func TestCommands(t *testing.T) {
	t.Parallel()
	s := loadSDK(t)
	used := map[string]bool{}
	if calls := run(t, "deploy/terraform/README.md")["terraform"]; len(calls) != 2 {
		t.Errorf("deploy/terraform/README.md: %d commands", len(calls))
	}
	for _, doc := range []string{"docs/cloud-run.md", "docs/datadog.md"} {
		calls := run(t, doc)["gcloud"]
		if len(calls) < 8 {
			t.Errorf("%s: %d gcloud commands", doc, len(calls))
		}
		for _, m := range inline.FindAllStringSubmatch(read(t, doc), -1) {
			if !strings.Contains(m[1], "…") {
				calls = append(calls, shell(t, m[1])["gcloud"]...)
			}
		}
		for _, c := range calls {
			if wrong := s.check(c); wrong != "" {
				t.Errorf("%s: gcloud %s: %s", doc, strings.Join(c, " "), wrong)
			}
			command, _ := s.command(c)
			used[command] = true
		}
		t.Logf("%s: %d gcloud commands", doc, len(calls))
	}
	for command := range s.Commands {
		if !used[command] {
			t.Errorf("testdata/gcloud.json has %q, which no document uses", command)
		}
	}
}

// TestCommandsBite: what is wrong is found.
func TestCommandsBite(t *testing.T) {
	t.Parallel()
	s := loadSDK(t)
	for text, want := range map[string]string{
		"run deploy shop --region=r --no-cpu-throttling": "",
		"run destroy shop":                          "no such command",
		"run deploy shop --cpu-throtling":           "no flag --cpu-throtling",
		"run deploy shop --no-region":               "no flag --no-region",
		"run deploy shop --cpu-throttling=false":    "--cpu-throttling takes no value",
		"run deploy shop --region":                  "--region needs a value, after =",
		"run deploy shop --execution-environment=3": "--execution-environment does not take 3",
	} {
		if got := s.check(strings.Fields(text)); got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
}
