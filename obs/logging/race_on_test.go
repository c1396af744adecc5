//go:build race

package logging

// raceEnabled: sync.Pool drops at random then, so allocations say nothing.
const raceEnabled = true
