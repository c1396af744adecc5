//go:build race

package ddagent

const raceEnabled = true
