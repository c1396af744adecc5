//go:build race

package tracing

// raceEnabled: the race detector allocates for itself.
const raceEnabled = true
