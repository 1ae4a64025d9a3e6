package dwell

// One connection to the daemon, and what comes back on it.
//
//  1. dial connects to the first place where something is.
//  2. The sender writes; flushes that it wrote are kept here in their order.
//  3. read, on a goroutine of its own, gives each reply that says `flushed` to the oldest of them.
//  4. It ends with the connection; the sender sees that by `broken`.
//
// What can fail: no place, nobody listens, a descriptor cannot be had: dial gives an error. Bytes that
// are no reply, an error of the daemon's (a line of JSON looks like a reply that is too long), a reset:
// the connection is closed.

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// The longest reply that is understood. The daemon's own are below 1 kB.
	replyBytesMax = 4096

	// A local socket answers at once or not at all.
	dialTimeout = time.Second

	replyFlushed = 1
)

var (
	errNoSocket = errors.New("dwell: there is no socket of a daemon")
	errReply    = errors.New("dwell: the daemon's reply makes no sense")
)

// flight is a flush that was written and has no answer yet.
type flight struct {
	asked []*asking // who waits for it
	mark  uint64    // records that were sent before it
}

type link struct {
	conn   net.Conn
	made   int64  // when, by the client's clock
	sent   uint64 // records; the sender's
	broken atomic.Bool
	ended  chan struct{} // closed when nothing more will be read

	mu        sync.Mutex
	flying    []flight
	confirmed uint64 // of those sent
	orderly   bool   // the daemon ended the connection
}

func dial(ctx context.Context, directory string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: dialTimeout}
	for _, place := range places(directory) {
		if place.isThere() {
			return dialer.DialContext(ctx, "unix", place.path)
		}
	}
	return nil, errNoSocket
}

func (l *link) fly(f flight) {
	l.mu.Lock()
	l.flying = append(l.flying, f)
	l.mu.Unlock()
}

// land answers the oldest flush.
func (l *link) land() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.flying) == 0 {
		return
	}
	f := l.flying[0]
	l.flying = l.flying[1:]
	l.confirmed = f.mark
	for _, a := range f.asked {
		a.answer <- nil
	}
}

// close ends the connection, and gives what is left of the flushes and how many records are in doubt.
func (l *link) close() (flying []flight, doubtful uint64) {
	_ = l.conn.Close() // it is given up whatever comes of that
	<-l.ended
	l.mu.Lock()
	defer l.mu.Unlock()
	flying, l.flying = l.flying, nil
	return flying, l.sent - l.confirmed
}

// read takes replies until the connection ends.
func (l *link) read(woken func()) {
	defer woken()
	defer close(l.ended)
	defer l.broken.Store(true)
	var buffer [replyBytesMax]byte
	have := 0
	for {
		count, err := l.conn.Read(buffer[have:])
		have += count
		used, bad := l.replies(buffer[:have])
		copy(buffer[:], buffer[used:have])
		have -= used
		if bad != nil {
			_ = l.conn.Close()
			return
		}
		if err != nil {
			l.mu.Lock()
			l.orderly = errors.Is(err, io.EOF)
			l.mu.Unlock()
			return
		}
	}
}

// replies handles the whole replies at the beginning of b, and says how many bytes they are.
func (l *link) replies(b []byte) (int, error) {
	done := 0
	for len(b)-done >= 4 {
		length := int(binary.LittleEndian.Uint32(b[done:]))
		if length > replyBytesMax-4 {
			return done, errReply
		}
		if len(b)-done-4 < length {
			break
		}
		flushed, err := replyRead(b[done+4 : done+4+length])
		if err != nil {
			return done, err
		}
		if flushed {
			l.land()
		}
		done += 4 + length
	}
	return done, nil
}

// replyRead looks for `flushed` in a Reply. What else there is, is skipped: an error is followed by the
// end of the connection, which is like any other.
func replyRead(b []byte) (flushed bool, err error) {
	for len(b) > 0 {
		tag, size := binary.Uvarint(b)
		if size <= 0 {
			return false, errReply
		}
		b = b[size:]
		skip := uint64(0)
		switch tag & 7 {
		case wireVarint:
			if _, size = binary.Uvarint(b); size <= 0 {
				return false, errReply
			}
			b = b[size:]
			flushed = flushed || tag>>3 == replyFlushed
		case wireFixed64:
			skip = 8
		case wireFixed32:
			skip = 4
		case wireBytes:
			if skip, size = binary.Uvarint(b); size <= 0 {
				return false, errReply
			}
			b = b[size:]
		default:
			return false, errReply
		}
		if skip > uint64(len(b)) {
			return false, errReply
		}
		b = b[skip:]
	}
	return flushed, nil
}
