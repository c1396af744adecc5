// Package conformance tests kumihimo against what it must agree with: Datadog's
// own trace-agent, run in process (folder agent), the OpenTelemetry Collector's
// OTLP receiver (folder collector), dd-trace-go's propagator, W3C's test suite,
// and Google's own validator of ID tokens. It is a module of its own because of
// what those link. Folder faults runs it beside other exporters against an agent
// that fails, folder idtokens beside Google's libraries for tokens; both write
// docs/reliability.md.
//
// Where our propagator is not dd-trace-go's on purpose, the list in
// propagation_differences_test.go has the point and the reason.
//
// Its go.sum cannot be tidied: a dependency's tests ask for a module that
// cannot be had. "go mod verify" and a build stand in.
package conformance
