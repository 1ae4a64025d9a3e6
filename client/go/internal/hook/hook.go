// Package hook lets the conformance driver see the bytes that a client makes.
package hook

import "sync"

// Tap takes the place of the daemon for one client: what it flushes comes here, in frames whose head has
// this id, and which begin at number 0.
type Tap struct {
	ClientID [16]byte
	Frame    func([]byte) // the bytes are valid during the call
}

var (
	mu   sync.Mutex
	next *Tap
)

// Give makes the next client that is opened have this tap.
func Give(tap *Tap) {
	mu.Lock()
	defer mu.Unlock()
	next = tap
}

// Take is for the client that is opened.
func Take() *Tap {
	mu.Lock()
	defer mu.Unlock()
	tap := next
	next = nil
	return tap
}
