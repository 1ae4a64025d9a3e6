//go:build !race

package dwell

const raceEnabled = false
