// Package conformance tests kumihimo against what it must agree with: Datadog's
// own trace-agent, run in process (folder agent), and Google's own validator
// of ID tokens. It is a module of its own because of what those link.
//
// Its go.sum cannot be tidied: a dependency's tests ask for a module that
// cannot be had. "go mod verify" and a build stand in.
package conformance
