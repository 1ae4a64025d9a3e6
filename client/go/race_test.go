//go:build race

package dwell

const raceEnabled = true
