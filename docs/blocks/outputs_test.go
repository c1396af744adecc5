package blocks

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kumihimo/kumihimo/obs/emulator"
)

// outputs are the runs whose output documents show: "output of: NAME".
var outputs = map[string]func(context.Context) (string, error){
	"chi-app": func(ctx context.Context) (string, error) { return chiApp(ctx, "/orders/7") },
	"README.md on Cloud Run": func(ctx context.Context) (out string, err error) {
		return readme(ctx, map[string]string{
			"K_SERVICE": "shop", "K_REVISION": "shop-00042-abc", "DD_ENV": "prod", "GOOGLE_CLOUD_PROJECT": "acme-shop",
		})
	},
	"README.md on a laptop": func(ctx context.Context) (string, error) { return readme(ctx, nil) },
}

// exampleURL is where the documents have the example.
const exampleURL = "http://127.0.0.1:8080"

// chiApp runs the example, asks it for a path, ends it as Ctrl-C does, and
// returns what it printed.
func chiApp(ctx context.Context, path string) (string, error) {
	return server{pkg: []string{"./examples/chi-app"}, args: []string{"-addr", "127.0.0.1:0"}, path: path}.run(ctx)
}

// readme runs the README's program, on a port that is free and, on Google Cloud,
// with an agent.
func readme(ctx context.Context, env map[string]string) (string, error) {
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		return "", err
	}
	_, rest, _ := strings.Cut(string(text), "```go\n")
	program, _, _ := strings.Cut(rest, "```")
	program = strings.Replace(program, `":8080"`, `"127.0.0.1:0"`, 1)
	dir, err := os.MkdirTemp("", "readme")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "main.go")
	if err := os.WriteFile(file, []byte(program), 0o600); err != nil {
		return "", err
	}
	var environ []string
	if env != nil {
		cloud, err := emulator.StartCloud(emulator.CloudOptions{})
		if err != nil {
			return "", err
		}
		defer cloud.Close()
		for k, v := range cloud.Environ() {
			environ = append(environ, k+"="+v)
		}
		for k, v := range env {
			environ = append(environ, k+"="+v)
		}
	}
	return server{pkg: []string{file}, env: environ, path: "/users/7"}.run(ctx)
}

// binaries is where TestMain lets programs be built, each once.
var binaries struct {
	dir string
	mu  sync.Mutex
	of  map[string]string
}

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "blocks")
	if err != nil {
		panic(err)
	}
	binaries.dir, binaries.of = dir, make(map[string]string)
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// build returns the program of a package, or files, of the module in dir.
func build(ctx context.Context, dir string, pkg ...string) (string, error) {
	binaries.mu.Lock()
	defer binaries.mu.Unlock()
	key := dir + " " + strings.Join(pkg, " ")
	if bin, ok := binaries.of[key]; ok {
		return bin, nil
	}
	bin := filepath.Join(binaries.dir, strconv.Itoa(len(binaries.of)))
	if _, err := run(ctx, dir, append([]string{"go", "build", "-o", bin}, pkg...)...); err != nil {
		return "", err
	}
	binaries.of[key] = bin
	return bin, nil
}

var listening = regexp.MustCompile(`serving.*?(127\.0\.0\.1:\d+)`)

// A server is a program that prints where it is "serving".
type server struct {
	module   string   // the nested module's directory, if it is of one
	pkg      []string // a package, or files
	args     []string
	env      []string // all of the environment
	path     string   // what it is asked for
	answered func(context.Context) error
}

// run starts the server, asks it once it listens, ends it as Ctrl-C does, and
// returns what it printed.
func (s server) run(ctx context.Context) (string, error) {
	bin, err := build(ctx, s.module, s.pkg...)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute) // a bound, no expectation
	defer cancel()
	cmd := exec.CommandContext(ctx, bin, s.args...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Dir(bin)}, s.env...)
	out, in := io.Pipe()
	cmd.Stdout, cmd.Stderr = in, in
	if err := cmd.Start(); err != nil {
		return "", err
	}
	ended := make(chan error, 1)
	go func() {
		err := cmd.Wait()
		in.Close()
		ended <- err
	}()
	var printed bytes.Buffer
	var asked error
	for sc := bufio.NewScanner(out); sc.Scan(); {
		printed.WriteString(sc.Text() + "\n")
		if m := listening.FindStringSubmatch(sc.Text()); m != nil {
			asked = ask(ctx, "http://"+m[1]+s.path)
			if s.answered != nil {
				asked = errors.Join(asked, s.answered(ctx))
			}
			asked = errors.Join(asked, cmd.Process.Signal(os.Interrupt))
		}
	}
	if err := errors.Join(asked, <-ended); err != nil {
		return "", fmt.Errorf("%s: %w\n%s", s.pkg, err, printed.String())
	}
	return printed.String(), nil
}

func ask(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	return nil
}

// changing are what differs from run to run, in the order in which they are
// replaced.
var changing = []struct {
	re *regexp.Regexp
	by string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z`), "TIME"},
	{regexp.MustCompile(`\b\d\d:\d\d:\d\d\.\d{3}\b`), "TIME"},
	{regexp.MustCompile(`\b[0-9a-f]{32}\b`), "TRACE"},
	{regexp.MustCompile(`\b\d{15,20}\b`), "SPAN"},
	{regexp.MustCompile(`\b[0-9a-f]{16}\b`), "SPAN"},
	{regexp.MustCompile(`\btrace=[0-9a-f]{8}\b`), "trace=TRACE"},
	{regexp.MustCompile(`\b\d+(\.\d+)?(ns|µs|ms|s)\b`), "DURATION"},
	{regexp.MustCompile(` +\n`), "\n"},
	{regexp.MustCompile(` {2,}`), "  "},
}

func steady(text string) string {
	for _, c := range changing {
		text = c.re.ReplaceAllString(text, c.by)
	}
	return text
}

// shows says whether the lines of sample are among those printed, in that order,
// but for what differs from run to run.
func shows(printed, sample string) error {
	rest := strings.Split(steady(printed), "\n")
	for want := range strings.Lines(steady(sample)) {
		want = strings.TrimSpace(want)
		for len(rest) > 0 && strings.TrimSpace(rest[0]) != want {
			rest = rest[1:]
		}
		if len(rest) == 0 {
			return fmt.Errorf("no line\n%s\nin its place in\n%s", want, printed)
		}
		rest = rest[1:]
	}
	return nil
}
