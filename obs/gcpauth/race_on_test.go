//go:build race

package gcpauth

const raceEnabled = true
