package dwell

// Where records wait until they are sent.
//
//	 a shard's buffer                                            capacity
//	+-------+--------+--------+-------+--------+--------+---------+
//	| stamp | length | record | stamp | length | record |  free   |
//	| 8     | 4      |        |       |        |        |         |
//	+-------+--------+--------+-------+--------+--------+---------+
//
// A call holds one shard for as long as it takes to copy a record, and takes another one when the first
// is held. The sender holds all of them while it exchanges their buffers for empty ones, so that what
// it gets is all that was recorded up to one moment.
//
// Order. A stamp is a reading of the clock from within the call. When one call ended before another one
// began, it is in its shard before the other takes its stamp, and so is all before it: by the smallest
// stamp of what comes next in each shard (merge in frame.go) the first call's record goes first. Counts
// and observations may come in any order, and save themselves the clock: stamp 0 is that of the record
// before them.

import (
	"encoding/binary"
	"math"
	"sync"
	"sync/atomic"
)

const (
	recordHeadBytes = 12

	// Of one shard. At 25 bytes a sample it holds 7000, which is 50 ms of 140,000 a second.
	bufferBytesDefault = 256 << 10
	bufferBytesMin     = 64 << 10
	bufferBytesMax     = 16 << 20

	// Waking the sender before its time pays when a whole batch waits.
	heavyBytes = batchBytesMax

	// More processors than this share shards: memory has a ceiling of twice this and the buffer's size.
	shardsMax = 64
)

type shard struct {
	mu       sync.Mutex
	buf      []byte
	stamp    int64  // of the newest record
	recorded uint64 // calls
	dropped  uint64 // of these: given up here
	closed   bool
	_        [56]byte // neighbours lie on other cache lines
}

// buffers is the recording half of a client.
type buffers struct {
	dozing  atomic.Bool // the sender sleeps until it is woken
	discard atomic.Bool // there was no daemon for too long
	heavy   atomic.Bool // a shard has as much as a batch holds
	poke    chan struct{}
	_       [40]byte

	shards []shard
	bytes  int       // of a shard's buffer
	hints  sync.Pool // of *shard: what the processor used last
	next   atomic.Uint32
}

func (b *buffers) init(shards, bytes int) {
	b.poke = make(chan struct{}, 1)
	b.shards = make([]shard, shards)
	b.bytes = bytes
	b.hints.New = func() any {
		return &b.shards[int(b.next.Add(1)-1)%len(b.shards)]
	}
}

// take gives a shard whose lock the caller then holds.
func (b *buffers) take() *shard {
	first := b.hints.Get().(*shard)
	if first.mu.TryLock() {
		return first
	}
	for i := range b.shards {
		if b.shards[i].mu.TryLock() {
			return &b.shards[i]
		}
	}
	first.mu.Lock() // the sender has them all, for about a microsecond
	return first
}

// put keeps a record, or drops and counts it. Where hole is not 0, number goes into the 8 bytes of the
// record that begin there. A nil record is one that is too long.
func (b *buffers) put(stamp int64, record []byte, hole int, number float64) bool {
	s := b.take()
	if s.closed {
		b.give(s)
		return false
	}
	s.recorded++
	if s.buf == nil {
		s.buf = make([]byte, 0, b.bytes)
	}
	at := len(s.buf)
	end := at + recordHeadBytes + len(record)
	if record == nil || end > cap(s.buf) || b.discard.Load() {
		s.dropped++
		b.give(s)
		if b.dozing.Load() {
			b.wake()
		}
		return false
	}
	if stamp == 0 {
		stamp = s.stamp
	}
	s.stamp = stamp
	to := s.buf[at:end]
	binary.LittleEndian.PutUint64(to, uint64(stamp))
	binary.LittleEndian.PutUint32(to[8:], uint32(len(record)))
	copy(to[recordHeadBytes:], record)
	if hole != 0 {
		binary.LittleEndian.PutUint64(to[recordHeadBytes+hole:], math.Float64bits(number))
	}
	s.buf = s.buf[:end]
	b.give(s)
	if at < heavyBytes && end >= heavyBytes {
		b.heavy.Store(true)
		b.wake()
	} else if b.dozing.Load() {
		b.wake()
	}
	return true
}

func (b *buffers) give(s *shard) {
	s.mu.Unlock()
	b.hints.Put(s)
}

// refuse counts a call whose record cannot be made.
func (b *buffers) refuse() {
	b.put(0, nil, 0, 0)
}

// wake makes the sender look around. Never waits.
func (b *buffers) wake() {
	select {
	case b.poke <- struct{}{}:
	default: // it has been told already
	}
}

// cut exchanges the buffers of all shards for those given, which are empty or nil, and returns how many
// calls were dropped so far. With last set, calls after it are no-ops.
func (b *buffers) cut(spares [][]byte, last bool) (dropped uint64) {
	for i := range b.shards {
		b.shards[i].mu.Lock()
	}
	for i := range b.shards {
		s := &b.shards[i]
		if len(s.buf) > 0 {
			s.buf, spares[i] = spares[i], s.buf
		}
		dropped += s.dropped
		s.closed = s.closed || last
	}
	for i := range b.shards {
		b.shards[i].mu.Unlock()
	}
	return dropped
}

// waits says whether a shard has a record, or has dropped one since `dropped` were known.
func (b *buffers) waits(dropped uint64) bool {
	var now uint64
	some := false
	for i := range b.shards {
		s := &b.shards[i]
		s.mu.Lock()
		some = some || len(s.buf) > 0
		now += s.dropped
		s.mu.Unlock()
	}
	return some || now != dropped
}

// count returns the calls so far, and those of them that were dropped here.
func (b *buffers) count() (recorded, dropped uint64) {
	for i := range b.shards {
		s := &b.shards[i]
		s.mu.Lock()
		recorded += s.recorded
		dropped += s.dropped
		s.mu.Unlock()
	}
	return recorded, dropped
}
