//go:build race

package chiobs

// raceEnabled: the race detector allocates for itself.
const raceEnabled = true
