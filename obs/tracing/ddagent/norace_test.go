//go:build !race

package ddagent

const raceEnabled = false
