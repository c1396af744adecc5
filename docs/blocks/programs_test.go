package blocks

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// programs say what is done with the commands of each program.
var programs = map[string]func(context.Context, command) error{
	"go":   goCommand,
	"make": makeCommand,
	"curl": curlCommand,
}

// listed are programs whose commands are not run, and why.
var listed = map[string]string{
	"gcloud":    "it changes a Google Cloud project",
	"terraform": "it changes a Google Cloud project",
	"git":       "it changes the repository",
}

// A command is one of a document, split into words.
type command struct {
	line string
	env  []string // NAME=value before the program
	args []string // the program first
}

// commands are those of a block: comments left out, continued lines joined.
func commands(b block) (cmds []command) {
	text := strings.ReplaceAll(b.text, "\\\n", " ")
	for line := range strings.Lines(text) {
		line = strings.TrimPrefix(strings.TrimSpace(line), "$ ")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		c := command{line: line, args: words(line)}
		for len(c.args) > 1 && regexp.MustCompile(`^[A-Z_]+=`).MatchString(c.args[0]) {
			c.env, c.args = append(c.env, c.args[0]), c.args[1:]
		}
		cmds = append(cmds, c)
	}
	return cmds
}

var word = regexp.MustCompile(`(?:[^\s'"#]|'[^']*'|"[^"]*")+|#.*`)

// words splits a simple command as a shell would, less expansion.
func words(line string) (args []string) {
	for _, w := range word.FindAllString(line, -1) {
		if strings.HasPrefix(w, "#") {
			break
		}
		args = append(args, strings.NewReplacer(`'`, "", `"`, "").Replace(w))
	}
	return args
}

// run runs a program in the repository's root, or dir below it.
func run(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = filepath.Join(root, dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%v: %w\n%s", cmd, err, out)
	}
	return string(out), err
}

// goCommand holds a go command to what is there: its package builds, its test
// exists, its flags are known.
func goCommand(ctx context.Context, c command) error {
	if len(c.args) < 3 {
		return errors.New("go needs a command and an argument")
	}
	switch c.args[1] {
	case "get":
		return ourModule(c.args[2])
	case "run":
		return goRun(ctx, c.args[2], c.args[3:])
	case "test":
		return goTest(ctx, c.args[2:])
	case "doc", "list", "vet", "build":
		_, err := run(ctx, "", c.args...)
		return err
	}
	return fmt.Errorf("nobody knows how to try go %s", c.args[1])
}

// ourModule says whether path, less a version, is that of one of our modules.
func ourModule(path string) error {
	path, _, _ = strings.Cut(path, "@")
	dir, ours := strings.CutPrefix(path+"/", "github.com/kumihimo/kumihimo/")
	if !ours {
		return fmt.Errorf("%s is none of our modules", path)
	}
	mod, err := os.ReadFile(filepath.Join(root, dir, "go.mod"))
	if err == nil && !strings.HasPrefix(string(mod), "module "+path+"\n") {
		err = fmt.Errorf("go.mod says another path than %s", path)
	}
	return err
}

// goRun builds a package of ours and asks it for the flags that it knows. With
// -check a program ends by itself, so it is run, in an environment where all is
// well.
func goRun(ctx context.Context, pkg string, args []string) error {
	dir, name, err := split(pkg)
	if err != nil {
		return err
	}
	bin, err := build(ctx, dir, name)
	if err != nil {
		return err
	}
	for len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		args = args[1:] // a command of the program's, whose flags are not asked for
	}
	help, _ := exec.CommandContext(ctx, bin, "-h").CombinedOutput() // flag's own code is 0 or 2
	for _, a := range args {
		if name, isFlag := strings.CutPrefix(a, "-"); isFlag && !strings.Contains(string(help), "  -"+strings.TrimPrefix(name, "-")) {
			return fmt.Errorf("%s knows no flag %s:\n%s", pkg, a, help)
		}
	}
	if slices.Contains(args, "-check") {
		cmd := exec.CommandContext(ctx, bin, args...)
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Dir(bin)}
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%w\n%s", err, out)
		}
	}
	return nil
}

// split returns the nested module that a package is of, and its path there.
func split(pkg string) (dir, name string, err error) {
	if strings.Contains(pkg, "@") {
		return "", "", fmt.Errorf("%s: of another module; list the command with a reason", pkg)
	}
	for _, nested := range []string{"benchmarks", "conformance", "docs/blocks"} {
		if rest, ok := strings.CutPrefix(pkg, "./"+nested); ok {
			return nested, "./" + strings.TrimPrefix(rest, "/"), nil
		}
	}
	return "", pkg, nil
}

// goTest holds a go test command to what is there: its packages, and tests of
// its patterns. The tests themselves are CI's to run.
func goTest(ctx context.Context, args []string) error {
	for _, a := range args {
		flag, value, _ := strings.Cut(a, "=")
		switch {
		case flag == "-run" || flag == "-bench" || flag == "-fuzz":
			if err := testExists(value); err != nil {
				return err
			}
		case strings.HasPrefix(a, "./") && !strings.HasSuffix(a, "..."):
			dir, name, err := split(a)
			if err != nil {
				return err
			}
			if _, err := run(ctx, dir, "go", "list", name); err != nil {
				return err
			}
		}
	}
	return nil
}

var testFunc = regexp.MustCompile(`(?m)^func ((?:Test|Benchmark|Fuzz|Example)\w*)\(`)

// testExists says whether any module has a test whose name matches.
func testExists(pattern string) error {
	if pattern == "^$" {
		return nil // none is wanted
	}
	re, err := regexp.Compile(strings.Split(pattern, "/")[0])
	if err != nil {
		return err
	}
	found := errors.New("found")
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		code, err := os.ReadFile(path)
		for _, m := range testFunc.FindAllSubmatch(code, -1) {
			if re.Match(m[1]) {
				return found
			}
		}
		return err
	})
	switch {
	case errors.Is(err, found):
		return nil
	case err == nil:
		err = fmt.Errorf("no test is called like %q", pattern)
	}
	return err
}

// makeCommand asks make what it would do.
func makeCommand(ctx context.Context, c command) error {
	_, err := run(ctx, "", append([]string{"make", "-n"}, c.args[1:]...)...)
	return err
}

// curlCommand asks the example, which stands at 127.0.0.1:8080 in the documents.
func curlCommand(ctx context.Context, c command) error {
	if len(c.args) != 2 || !strings.HasPrefix(c.args[1], exampleURL) {
		return fmt.Errorf("only %s… can be asked; list the command with a reason", exampleURL)
	}
	_, err := chiApp(ctx, strings.TrimPrefix(c.args[1], exampleURL))
	return err
}
