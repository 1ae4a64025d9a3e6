package dwell

// The goroutine that sends.
//
//  1. sleep, without a timer when nothing waits, until a call, a flush or a close wakes it; then 50 ms
//     longer, so that a batch comes together, or until one is full.
//  2. connect, if there is no connection and it is time: the first batch is a hello alone.
//  3. send: what is left of the last turn, then what was recorded until now, then a flush if one is
//     asked for.
//  4. farewell, when the client is closed: the same, a goodbye, and the end of the connection awaited.
//
// What can fail: connecting, writing, and the connection between the two. Each ends in lose, which says
// when to try again. After KeepFor without a connection giveUp drops what waits, and what is recorded
// from then on is dropped by the calls themselves.

import (
	"context"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	batchDelay   = int64(50 * time.Millisecond) // the longest wait of a record
	backoffMin   = int64(10 * time.Millisecond) // a daemon that restarts is back in less than a second
	backoffMax   = int64(5 * time.Second)
	steadyAfter  = int64(time.Second) // a connection that lived so long was a good one
	awaitedRetry = int64(20 * time.Millisecond)

	keepDefault = 10 * time.Second

	// Flushes asked for at once; one more is told that it was not confirmed.
	flushesMax = 4096

	magic = "DWL1"
)

// asking is a call of Flush.
type asking struct {
	answer chan error // has room for it
	left   atomic.Bool
}

// awaited leaves out those whose caller has gone.
func awaited(all []*asking) []*asking {
	return slices.DeleteFunc(all, func(a *asking) bool { return a.left.Load() })
}

type sender struct {
	framer
	client    *Client
	hello     []byte // the message
	directory string
	keep      int64

	link      *link
	pending   []*asking // flushes that were asked for and are not written
	goneSince int64     // when there was a daemon last, or something to send first
	tried     int64
	retry     int64 // not before
	backoff   int64

	// Shared with the calls.
	mu      sync.Mutex
	asked   []*asking
	closing bool
	conn    net.Conn // for stop
	stopped bool
	urgent  atomic.Bool // a flush or the end is asked for
	ctx     context.Context
	cancel  context.CancelFunc
	ended   chan struct{}
	result  error // valid once ended

	sent, gaveUp, doubtful, batches, sentBytes, connections atomic.Uint64
	connected                                               atomic.Bool
}

func (s *sender) init(c *Client, o *Options) {
	s.framer.init(&c.buffers, c.id)
	s.client = c
	s.directory = o.Directory
	s.keep = int64(o.KeepFor)
	s.backoff = backoffMin
	s.goneSince = c.now()
	s.ended = make(chan struct{})
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.hello = helloMake(o)
}

func helloMake(o *Options) []byte {
	b := appendSome(nil, 1, helloText(o.ServiceName))
	b = appendSome(b, 2, helloText(o.ServiceVersion))
	b = appendNumber(b, 3, uint64(os.Getpid()))
	b = appendSome(b, 4, helloText(o.ConstitutionalHash))
	return appendText(b, 5, "dwell-go/"+Version)
}

// helloText takes a text that is too long as not given.
func helloText(text string) string {
	if len(text) > 256 {
		return ""
	}
	return text
}

func (s *sender) run() {
	defer close(s.ended)
	defer s.cancel()
	for s.sleep() {
		s.turn()
	}
	s.farewell()
}

// ask makes the sender answer a flush. False: too many wait already, or it has ended.
func (s *sender) ask(a *asking) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.asked) >= flushesMax {
		s.asked = awaited(s.asked)
	}
	if s.closing || len(s.asked) >= flushesMax {
		return false
	}
	s.asked = append(s.asked, a)
	s.urgent.Store(true)
	s.from.wake()
	return true
}

// leave makes the sender say goodbye. False: it was told before.
func (s *sender) leave() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return false
	}
	s.closing = true
	s.urgent.Store(true)
	s.from.wake()
	return true
}

// stop ends a farewell that takes too long.
func (s *sender) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	s.cancel()
	if s.conn != nil {
		_ = s.conn.Close()
	}
}

// sleep waits for something to do. False: the client is being closed.
func (s *sender) sleep() bool {
	for {
		s.mu.Lock()
		closing := s.closing
		s.mu.Unlock()
		if closing {
			return false
		}
		if s.link != nil && s.link.broken.Load() {
			s.lose()
		}
		if s.urgent.Swap(false) {
			return true
		}
		until := s.due()
		if until == 0 {
			s.doze()
			if s.link == nil {
				s.goneSince = s.client.now() // nothing waited up to now
			}
			continue
		}
		if until <= s.client.now() || !s.nap(until) {
			return true
		}
	}
}

// due is when there is something to do; 0: not before a call wakes us.
func (s *sender) due() int64 {
	now := s.client.now()
	idle := len(s.frame) == 0 && !s.left() && !s.from.waits(s.known)
	switch {
	case s.link == nil && (len(s.pending) > 0):
		return now + awaitedRetry
	case idle && s.from.discard.Load():
		return max(s.retry, now+int64(time.Millisecond)) // else the next call would be dropped for nothing
	case idle:
		return 0
	case s.link == nil && !s.from.discard.Load():
		return max(min(s.retry, s.goneSince+s.keep), now+int64(time.Millisecond))
	case s.link == nil:
		return max(s.retry, now+int64(time.Millisecond))
	case len(s.frame) > 0 || s.left():
		return now
	}
	return now + batchDelay
}

// doze waits, however long, until a call finds us dozing.
func (s *sender) doze() {
	s.from.dozing.Store(true)
	defer s.from.dozing.Store(false)
	// A call that did not see that we doze has its record where we look now.
	if s.from.waits(s.known) || s.urgent.Load() {
		return
	}
	<-s.from.poke
}

// nap waits until a time. False: there is something to do before it.
func (s *sender) nap(until int64) bool {
	timer := time.NewTimer(time.Duration(until - s.client.now()))
	defer timer.Stop()
	for {
		if s.urgent.Load() || (s.link != nil && s.link.broken.Load()) {
			return true // sleep sees to it
		}
		if s.from.heavy.Swap(false) && s.link != nil {
			return false
		}
		select {
		case <-timer.C:
			return false
		case <-s.from.poke:
		}
	}
}

// takeUp makes what was asked for the sender's own.
func (s *sender) takeUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending = awaited(append(s.pending, s.asked...))
	s.asked = nil
}

func (s *sender) turn() {
	now := s.client.now()
	s.takeUp()
	if s.link == nil && (now >= s.retry || (len(s.pending) > 0 && now-s.tried >= awaitedRetry)) {
		s.connect()
	}
	if s.link != nil {
		s.send()
	}
	if s.link == nil && s.client.now()-s.goneSince >= s.keep {
		s.drop()
	}
}

func (s *sender) connect() {
	s.tried = s.client.now()
	conn, err := dial(s.ctx, s.directory)
	if err != nil {
		s.retryLater()
		return
	}
	s.mu.Lock()
	s.conn = conn
	if s.stopped {
		_ = conn.Close()
	}
	s.mu.Unlock()
	s.link = &link{conn: conn, made: s.client.now(), ended: make(chan struct{})}
	go s.link.read(s.from.wake)
	s.connections.Add(1)
	first, dropped := s.standing()
	b := s.head(make([]byte, 0, batchHeadBytesMax+len(s.hello)+8), first, dropped)
	b = tail(appendBytes(b, batchHello, s.hello))
	if s.write(append([]byte(magic), b...)) {
		s.connected.Store(true)
		s.from.discard.Store(false)
	}
}

// write writes all of b, or loses the connection.
func (s *sender) write(b []byte) bool {
	count, err := s.link.conn.Write(b)
	if err == nil && count == len(b) {
		return true
	}
	s.lose()
	return false
}

func (s *sender) retryLater() {
	// Between half of the interval and the whole, so that many clients do not come at once.
	s.retry = s.client.now() + s.backoff/2 + rand.Int64N(s.backoff/2+1)
	s.backoff = min(s.backoff*2, backoffMax)
}

// lose closes the account of a connection that is of no more use.
func (s *sender) lose() {
	flying, doubtful := s.link.close()
	now := s.client.now()
	if now-s.link.made >= steadyAfter {
		s.backoff = backoffMin
	}
	if s.connected.Swap(false) {
		s.goneSince = now
	}
	s.link = nil
	s.doubtful.Add(doubtful)
	var again []*asking
	for _, f := range flying {
		again = append(again, f.asked...)
	}
	s.pending = append(again, s.pending...)
	if doubtful > 0 {
		s.answer(ErrUnconfirmed)
	}
	s.retryLater()
}

// answer tells all whose flush is not written.
func (s *sender) answer(err error) {
	for _, a := range s.pending {
		a.answer <- err
	}
	s.pending = nil
}

// drain sends what was taken. False: the connection was lost.
func (s *sender) drain() bool {
	for len(s.frame) > 0 || s.fill() {
		if !s.write(s.frame) {
			return false
		}
		s.link.sent += s.records
		s.sent.Add(s.records)
		s.batches.Add(1)
		s.sentBytes.Add(uint64(len(s.frame)))
		s.done()
	}
	return true
}

// alone sends a batch with nothing but a flush or goodbye.
func (s *sender) alone(field uint64, message []byte) bool {
	first, dropped := s.standing()
	return s.write(tail(appendBytes(s.head(nil, first, dropped), field, message)))
}

func (s *sender) flush() bool {
	// Before it is written: the answer may come before write returns.
	s.link.fly(flight{asked: s.pending, mark: s.link.sent})
	s.pending = nil
	return s.alone(batchFlush, nil)
}

func (s *sender) send() bool {
	if !s.drain() {
		return false
	}
	s.from.heavy.Store(false)
	s.take(false)
	if !s.drain() {
		return false
	}
	return len(s.pending) == 0 || s.flush()
}

// drop gives up what waits: it is too old to be worth sending, since windows go by the time of arrival.
func (s *sender) drop() {
	s.from.discard.Store(true)
	s.abandon()
	s.take(false)
	s.abandon()
}

// abandon drops the frame and all that was taken, and says how many records that is.
func (s *sender) abandon() uint64 {
	before := s.dropped
	s.giveUp()
	s.gaveUp.Add(s.dropped - before)
	return s.dropped - before
}

// farewell sends the rest and ends the connection, or gives up when there is none.
func (s *sender) farewell() {
	s.takeUp()
	const attempts = 2 // the connection may be one whose daemon was just restarted
	for i := 0; i < attempts && !s.said(); i++ {
		if s.link != nil {
			s.lose()
		}
	}
	s.from.discard.Store(true)
	rest := s.abandon()
	s.take(true)
	rest += s.abandon()
	if s.link != nil {
		s.lose()
	}
	s.answer(ErrUnconfirmed)
	if rest > 0 || s.doubtful.Load() > 0 {
		s.result = ErrUnconfirmed
	}
}

// said says goodbye. False: it did not come to the end.
func (s *sender) said() bool {
	if s.link == nil {
		s.connect()
	}
	if s.link == nil || !s.drain() {
		return false
	}
	s.take(true)
	if !s.drain() || !s.flush() || !s.alone(batchGoodbye, appendNumber(nil, 1, s.numbered)) {
		return false
	}
	if unix, is := s.link.conn.(*net.UnixConn); is {
		_ = unix.CloseWrite() // if it fails, the end comes all the same
	}
	<-s.link.ended
	s.link.mu.Lock()
	defer s.link.mu.Unlock()
	return s.link.confirmed == s.link.sent
}
