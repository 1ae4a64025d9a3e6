package dwell

// A listener in the daemon's place that keeps every batch, and can be told to misbehave.

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

const waitMax = 20 * time.Second // for anything that should take milliseconds

// until waits for a predicate.
func until(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(waitMax); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it did not come to this: %s", what)
		}
	}
}

type fake struct {
	t         testing.TB
	directory string
	listener  net.Listener

	mu      sync.Mutex
	batches []*batch
	conns   []net.Conn
	mute    bool // flushes are not answered
	deaf    bool // nothing is read
	reply   []byte
	fault   error
}

// serve listens in a new directory.
func serve(t testing.TB) *fake {
	f := &fake{t: t, directory: t.TempDir()}
	f.listen()
	t.Cleanup(func() {
		f.stop()
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.fault != nil {
			t.Errorf("what came is no good: %v", f.fault)
		}
	})
	return f
}

func (f *fake) listen() {
	listener, err := net.Listen("unix", filepath.Join(f.directory, socketName))
	if err != nil {
		f.t.Fatal(err)
	}
	f.listener = listener
	go func() {
		for {
			conn, err := listener.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				time.Sleep(time.Millisecond) // there is no descriptor: a test takes them away
				continue
			}
			f.mu.Lock()
			f.conns = append(f.conns, conn)
			deaf := f.deaf
			f.mu.Unlock()
			if !deaf {
				go f.read(conn)
			}
		}
	}()
}

// stop ends the listener and all connections.
func (f *fake) stop() {
	_ = f.listener.Close()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, conn := range f.conns {
		_ = conn.Close()
	}
	f.conns = nil
}

func (f *fake) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = err
}

func (f *fake) read(conn net.Conn) {
	defer conn.Close()
	var word [4]byte
	if _, err := io.ReadFull(conn, word[:]); err != nil {
		return
	}
	if string(word[:]) != magic {
		f.fail(io.ErrUnexpectedEOF)
		return
	}
	applied := uint64(0)
	for {
		if _, err := io.ReadFull(conn, word[:]); err != nil {
			return
		}
		length := binary.LittleEndian.Uint32(word[:])
		body := make([]byte, length)
		if _, err := io.ReadFull(conn, body); err != nil {
			return // a frame of which a part is missing does not count
		}
		b, err := decodeBatch(body)
		if err != nil || length+4 > batchBytesMax {
			f.fail(err)
			return
		}
		f.mu.Lock()
		f.batches = append(f.batches, b)
		mute, reply := f.mute, f.reply
		f.mu.Unlock()
		applied += b.counted()
		for _, r := range b.records {
			if r.kind == batchFlush && !mute {
				if reply == nil {
					reply = tail(appendNumber(make([]byte, 4), replyFlushed, applied))
				}
				_, _ = conn.Write(reply)
			}
		}
	}
}

// be changes how it behaves.
func (f *fake) be(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// all gives what came so far.
func (f *fake) all() []*batch {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]*batch(nil), f.batches...)
}

// records gives those of one kind.
func (f *fake) records(kind uint64) (found []record) {
	for _, b := range f.all() {
		for _, r := range b.records {
			if r.kind == kind {
				found = append(found, r)
			}
		}
	}
	return found
}

// ledger does the daemon's account of what came: proto/WIRE.md, "Ledger".
func (f *fake) ledger() (accepted, dropped, lost uint64) {
	expected, gap := uint64(0), uint64(0)
	for _, b := range f.all() {
		if b.first > expected {
			gap += b.first - expected
		}
		expected = max(expected, b.first) + b.counted()
		accepted += b.counted()
		dropped = b.dropped
		for _, r := range b.records {
			if r.kind == batchGoodbye {
				gap += r.number(1) - expected
				expected = r.number(1)
			}
		}
	}
	return accepted, dropped, gap - min(gap, dropped)
}

// mustClose says that the ledger closes: all that was sent is accepted or dropped, and nothing is lost.
func (f *fake) mustClose(t testing.TB, c *Client) {
	t.Helper()
	accepted, dropped, lost := f.ledger()
	stats := c.Stats()
	if stats.Recorded != accepted+dropped || lost != 0 || stats.Dropped != dropped {
		t.Errorf("sent %d, accepted %d, dropped %d, lost %d; the client says %+v", stats.Recorded,
			accepted, dropped,
			lost, stats)
	}
}

func open(t testing.TB, f *fake, options Options) *Client {
	t.Helper()
	options.Directory = f.directory
	if options.Evidence == EvidenceDefault {
		options.Evidence = EvidenceNone
	}
	c := Open(options)
	if c == nil {
		t.Fatal("DWELL_DISABLED is set")
	}
	t.Cleanup(func() { shut(c) })
	return c
}

// shut closes a client, whatever comes of it.
func shut(c *Client) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = c.Close(ctx)
}

func mustFlush(t testing.TB, c *Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), waitMax)
	defer cancel()
	if err := c.Flush(ctx); err != nil {
		t.Fatalf("flush: %v", err)
	}
}

func mustCloseClient(t testing.TB, c *Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), waitMax)
	defer cancel()
	if err := c.Close(ctx); err != nil {
		t.Fatalf("close: %v", err)
	}
}
