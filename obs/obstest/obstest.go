// Package obstest lets a test assert on telemetry: a [Recorder] is a pipeline
// of production's making whose spans and records stay in the test.
//
//	func TestCheckout(t *testing.T) {
//		t.Parallel()
//		rec := obstest.New(t)
//		shop.Checkout(rec.Context(), "order 7")
//		rec.Want(`
//			checkout
//			  INFO order paid order.id=7
//			  charge error="card declined"
//		`)
//	}
//
// The code under test needs no change: slog's default logger, OpenTelemetry's
// globals, obs and chiobs all lead to the recorder of the context they are
// given, so tests in parallel do not see each other. What is given no such
// context belongs to no test: its records are printed on stderr, and a test that
// fails lists the first of its spans and records.
//
// The Start functions bind Google Cloud and a Datadog Agent in miniature, of
// package obs/emulator, to a test's life. [NewIn] sends a test's spans there,
// whatever emulator's faults do on the way:
//
//	cloud := obstest.StartCloud(t, emulator.CloudOptions{
//		Agent: emulator.AgentOptions{Fault: emulator.Times(1, emulator.Status(503))},
//	})
//	rec := obstest.NewIn(t, cloud.Environ())
//
// docs/testing.md goes through the tests of a small service.
//
// Read recorder.go first, then route.go for how telemetry finds its test,
// trace.go and tree.go for what a test looks at, check.go for how it says what
// it wants, leak.go for what must be over when it ends, and start.go for the
// emulators. It is the one package that imports testing, and so is not for
// programs.
package obstest
