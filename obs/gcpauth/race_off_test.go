//go:build !race

package gcpauth

const raceEnabled = false
