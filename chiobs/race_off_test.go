//go:build !race

package chiobs

const raceEnabled = false
