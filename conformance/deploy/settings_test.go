package deploy

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// flagsOf returns the values of a call's flags, the flags of one container
// where it has several. Of a flag that is there twice the values are joined.
func (c call) flagsOf(container string) map[string]string {
	flags := map[string]string{}
	within := ""
	for _, arg := range c {
		name, value, _ := strings.Cut(arg, "=")
		switch {
		case name == "--container":
			within = value
		case within != "" && within != container, !strings.HasPrefix(name, "--"):
		case flags[name] != "":
			flags[name] += "," + value
		default:
			flags[name] = value
		}
	}
	return flags
}

// pairs reads what --set-env-vars and the like take.
func pairs(list string) map[string]string {
	m := map[string]string{}
	for pair := range strings.SplitSeq(list, ",") {
		if k, v, found := strings.Cut(pair, "="); found {
			m[k] = v
		}
	}
	return m
}

// calls returns those that begin with the words.
func find(calls []call, words string) (found []call) {
	want := strings.Fields(words)
	for _, c := range calls {
		if len(c) >= len(want) && slices.Equal(c[:len(want)], want) {
			found = append(found, c)
		}
	}
	return found
}

// one returns the n-th of the calls that begin with the words.
func nth(t *testing.T, calls []call, words string, n int) call {
	t.Helper()
	found := find(calls, words)
	if len(found) <= n {
		t.Fatalf("%d calls of %q, want %d", len(found), words, n+1)
	}
	return found[n]
}

// invokers are the accounts that the document gives roles/run.invoker on the
// agent.
func invokers(calls []call) []string {
	emails := map[string]bool{}
	for _, c := range find(calls, "run services add-iam-policy-binding datadog-agent") {
		flags := c.flagsOf("")
		if email, found := strings.CutPrefix(flags["--member"], "serviceAccount:"); found && flags["--role"] == "roles/run.invoker" {
			emails[email] = true
		}
	}
	return slices.Sorted(maps.Keys(emails))
}
