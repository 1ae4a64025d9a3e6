//go:build !linux

package dwell

// take is for systems that do not tell what a thread used.
func (r *reading) take(Evidence) bool {
	return false
}
