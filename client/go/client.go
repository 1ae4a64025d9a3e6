package dwell

// A client: what it is opened with, and how it is flushed and closed.

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"math"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/dwell/dwell/client/go/internal/hook"
)

// ErrUnconfirmed says that the daemon did not confirm all records: the connection broke, or there is
// none. Some may not have arrived.
var ErrUnconfirmed = errors.New("dwell: not confirmed by the daemon")

// How long Flush waits, and Close, where neither its context nor Options say it.
const closeTimeoutDefault = time.Second

// Options of Open. What is zero takes the default; what is out of range the nearest that is in it.
type Options struct {
	// Directory of the daemon's sockets. Empty: $DWELL_DIR, else the first of $XDG_RUNTIME_DIR/dwell,
	// /run/dwell and /tmp/dwell-<uid> in which ingest.sock exists.
	Directory string

	// Who is speaking, at most 256 bytes each; longer is not said.
	ServiceName        string
	ServiceVersion     string
	ConstitutionalHash string

	// Evidence is what an inference is asked for besides its time. Default EvidenceCPU.
	Evidence Evidence
	// EvidencePercent is the part of the time of a model's inferences that evidence may cost: more than
	// 0, at most 100. Default 1.
	EvidencePercent float64

	// BufferBytes is the size of a shard's buffer, 64 kB to 16 MB; default 256 kB. There is a shard for
	// each processor (GOMAXPROCS), at most 64, and at most two buffers for each; memory is used once it
	// is written to.
	BufferBytes int

	// KeepFor is how long records wait for a daemon that is gone before they are dropped: its windows
	// go by the time of arrival. Default 10 s.
	KeepFor time.Duration
	// CloseTimeout is how long Close and Flush may take when their context has no deadline. Default 1 s.
	CloseTimeout time.Duration

	// SampleRate is the share of the traces begun here that are said to be sampled to whom they are
	// handed on: above 0, at most 1; negative: none. 0 or NaN: by OTEL_TRACES_SAMPLER and
	// OTEL_TRACES_SAMPLER_ARG, else all. The daemon decides by the same rule what it exports.
	SampleRate float64
	// Propagation says which headers are written and read. 0: by OTEL_PROPAGATORS, else W3C and B3.
	Propagation Propagation

	// Logger is told of layers over their budget or soft limit by Budget.Run. Nil: nobody.
	Logger *slog.Logger
}

// Client is a connection to the daemon and all that waits for it.
type Client struct {
	buffers
	sender  sender
	options Options
	id      [16]byte
	epoch   time.Time
	tap     *hook.Tap

	cost     cost
	sampler  sampler
	scratch  sync.Pool // of *[]byte: for records that are not made in place
	readings sync.Pool // of *reading

	mu     sync.RWMutex
	models map[string]*Model
	series map[string]*series
}

// Stats are figures since Open. Recorded - Sent - Dropped still waits; they agree exactly only while
// nobody records or sends.
type Stats struct {
	Recorded    uint64 // calls of recording methods, starts of spans in halves included
	Sent        uint64 // of these: handed to the kernel on a connection to the daemon
	Dropped     uint64 // of these: given up
	Unconfirmed uint64 // of those sent: on a connection that broke before the daemon confirmed
	Evidence    uint64 // inferences for which evidence was taken
	Batches     uint64 // sent
	SentBytes   uint64 // of batches
	Connections uint64 // made; all but the first are reconnects
	Connected   bool
}

// Open makes a client. It needs no daemon and waits for none. With DWELL_DISABLED=1 in the environment
// it returns nil, which is a no-op in all that it is used for.
func Open(options Options) *Client {
	if os.Getenv("DWELL_DISABLED") == "1" {
		return nil
	}
	c := &Client{options: options, epoch: time.Now()}
	c.settle()
	shards := min(runtime.GOMAXPROCS(0), shardsMax)
	if tap := hook.Take(); tap != nil {
		c.tap, c.id, shards = tap, tap.ClientID, 1
	} else {
		_, _ = rand.Read(c.id[:]) // does not fail
	}
	c.buffers.init(shards, c.options.BufferBytes)
	c.models = map[string]*Model{}
	c.series = map[string]*series{}
	c.scratch.New = func() any { b := make([]byte, 0, scratchBytes); return &b }
	c.readings.New = func() any { return new(reading) }
	c.sampler = samplerOf(c.options.SampleRate)
	c.cost.init(c)
	c.sender.init(c, &c.options)
	if c.tap == nil {
		go c.sender.run()
	}
	return c
}

// settle replaces what is missing or out of range.
func (c *Client) settle() {
	o := &c.options
	if o.Evidence < EvidenceNone || o.Evidence > EvidenceFull {
		o.Evidence = EvidenceCPU
	}
	if !(o.EvidencePercent > 0) {
		o.EvidencePercent = 1
	}
	o.EvidencePercent = math.Min(o.EvidencePercent, 100)
	if o.BufferBytes == 0 {
		o.BufferBytes = bufferBytesDefault
	}
	o.BufferBytes = min(max(o.BufferBytes, bufferBytesMin), bufferBytesMax)
	if o.KeepFor <= 0 {
		o.KeepFor = keepDefault
	}
	if o.CloseTimeout <= 0 {
		o.CloseTimeout = closeTimeoutDefault
	}
	o.Propagation = o.Propagation.known()
}

// now is the monotonic clock, in ns since the client was opened.
func (c *Client) now() int64 {
	return int64(time.Since(c.epoch))
}

// Flush sends what was recorded before the call and waits until the daemon has applied it: then the
// records show in its next answer. It returns nil when the daemon said so, the context's error when that
// was done first (nothing is lost by it), and else ErrUnconfirmed. Dropped records are not waited for. A
// context without a deadline is waited for as long as Options.CloseTimeout.
func (c *Client) Flush(ctx context.Context) error {
	if c == nil {
		return nil
	}
	if c.tap != nil {
		c.tapAll()
		return nil
	}
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	a := &asking{answer: make(chan error, 1)}
	if !c.sender.ask(a) {
		return ErrUnconfirmed
	}
	select {
	case err := <-a.answer:
		return err
	case <-ctx.Done():
		a.left.Store(true)
		return ctx.Err()
	}
}

// Close sends what waits, says goodbye and waits until the daemon has taken everything, as long as the
// context or else Options.CloseTimeout allows. Without a daemon it does not wait. It returns nil when
// the daemon took everything or nothing was recorded, the context's error when that was done first, and
// else ErrUnconfirmed. Whatever it returns, calls after it are no-ops; so is a second Close.
func (c *Client) Close(ctx context.Context) error {
	if c == nil {
		return nil
	}
	if c.tap != nil {
		c.tapAll()
		return nil
	}
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	c.sender.leave()
	select {
	case <-c.sender.ended:
		return c.sender.result
	case <-ctx.Done():
		c.sender.stop()
		<-c.sender.ended
		if c.sender.result == nil {
			return nil
		}
		return ctx.Err()
	}
}

// bounded gives a context an end.
func (c *Client) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, has := ctx.Deadline(); has {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, c.options.CloseTimeout)
}

// tapAll makes frames of what waits and hands them to who taps, in place of a daemon.
func (c *Client) tapAll() {
	c.sender.take(false)
	for c.sender.fill() {
		c.tap.Frame(c.sender.frame)
		c.sender.done()
	}
}

// Stats returns the figures as they are.
func (c *Client) Stats() Stats {
	if c == nil {
		return Stats{}
	}
	recorded, dropped := c.count()
	s := &c.sender
	return Stats{
		Recorded:    recorded,
		Sent:        s.sent.Load(),
		Dropped:     dropped + s.gaveUp.Load(),
		Unconfirmed: s.doubtful.Load(),
		Evidence:    c.cost.taken.Load(),
		Batches:     s.batches.Load(),
		SentBytes:   s.sentBytes.Load(),
		Connections: s.connections.Load(),
		Connected:   s.connected.Load(),
	}
}
