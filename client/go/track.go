package dwell

// Inferences that the library measures.
//
//	model := client.Model("resnet50")      // once
//
//	track := model.BeginContext(ctx)       // or Begin
//	err := infer()
//	track.End(err)

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"
)

const (
	// Handles that are kept by name; past them each call of Model makes one of its own.
	modelsMax = 1024

	// How a model's account of evidence is spread, so that processors do not fight for it.
	cellCount = 8

	// What is kept of an error's text.
	errorTextMax = 1024
)

// Model is a handle for the inferences of one model. Get it once, outside of the hot path.
type Model struct {
	client  *Client
	name    string
	evident bool   // evidence is taken
	plain   []byte // a whole record with a place for the time; nil: it is too long
	hole    int    // where the place is
	cells   [cellCount]cell
}

// cell says how long inferences ran since evidence was taken, in ns and one more; 0: it never was.
type cell struct {
	since atomic.Int64
	_     [56]byte
}

// Track is an inference being measured. One that is never ended records nothing.
type Track struct {
	model  *Model
	begun  int64
	cell   *cell    // nil with EvidenceNone
	before *reading // nil: no evidence is taken
	span   *SpanContext
}

// Model returns the handle of a model, for the same name the same one. The name is 1 to 256 bytes of
// UTF-8; what the daemon does not take as one it rejects and counts.
func (c *Client) Model(name string) *Model {
	if c == nil {
		return nil
	}
	c.mu.RLock()
	model := c.models[name]
	c.mu.RUnlock()
	if model != nil {
		return model
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if model = c.models[name]; model != nil {
		return model
	}
	model = c.modelMake(strings.Clone(name))
	if len(c.models) < modelsMax && model.plain != nil {
		c.models[model.name] = model
	}
	return model
}

func (c *Client) modelMake(name string) *Model {
	m := &Model{client: c, name: name, evident: c.options.Evidence != EvidenceNone}
	body := appendText(recordBegin(nil), sampleModelName, name)
	body = appendDouble(body, sampleExecutionTime, 0)
	if m.plain = recordEnd(body, batchSample); m.plain != nil {
		m.hole = len(m.plain) - 8
	}
	return m
}

// Begin begins an inference. With EvidenceNone that is one reading of the clock.
func (m *Model) Begin() (t Track) {
	if m == nil {
		return t
	}
	t.model = m
	if m.evident {
		m.evidenceBegin(&t)
	}
	t.begun = m.client.now()
	return t
}

// BeginContext is Begin in a context: the sample bears the ids of its span, if that is sampled.
func (m *Model) BeginContext(ctx context.Context) Track {
	t := m.Begin()
	if m != nil {
		t.span = current(ctx).shown()
	}
	return t
}

// errEnded has no text: why an inference did not come to its end is for others to say.
var errEnded = errors.New("")

// Do measures f, and returns what it returns. When f panics or ends its goroutine, the inference counts
// as failed, and the panic goes on.
func (m *Model) Do(ctx context.Context, f func(context.Context) error) error {
	if m == nil {
		return f(ctx)
	}
	t := m.BeginContext(ctx)
	ended := false
	defer func() {
		if !ended {
			t.end(errEnded, nil)
		}
	}()
	err := f(ctx)
	ended = true
	t.End(err)
	return err
}

// End ends the inference and records one sample. An error that is not nil marks it as failed, and its
// text goes with it. A second End is a no-op.
func (t *Track) End(err error) {
	m := t.model
	if m == nil {
		return
	}
	if err != nil || t.before != nil || t.span != nil {
		t.end(err, nil)
		return
	}
	t.model = nil
	now := m.client.now()
	if t.cell != nil {
		t.cell.since.Add(now - t.begun)
	}
	m.client.put(now, m.plain, m.hole, float64(now-t.begun)/1e6)
}

// EndWith is End with more to say: everything of more is sent but its ModelName, its ExecutionTimeMS,
// and what was measured; its TimestampUnixNano then, too. Nil: as End(nil).
func (t *Track) EndWith(more *Sample) {
	if more == nil {
		t.End(nil)
		return
	}
	t.end(nil, more)
}

// end is for inferences with more than a time. Apart from End, whose frame is small by that.
func (t *Track) end(err error, more *Sample) {
	m := t.model
	if m == nil {
		return
	}
	t.model = nil
	c := m.client
	now := c.now()
	taken := now - t.begun
	if t.cell != nil {
		t.cell.since.Add(taken)
	}
	var sample Sample
	if more != nil {
		sample = *more
	}
	sample.ModelName, sample.ExecutionTimeMS = m.name, float64(taken)/1e6
	if err != nil {
		sample.Error, sample.ErrorText = true, errorText(err)
	}
	if t.span != nil && sample.TraceID.IsZero() {
		sample.TraceID, sample.SpanID = t.span.TraceID, t.span.SpanID
	}
	if t.before != nil {
		m.evidenceEnd(t.before, now, taken, &sample)
		t.before = nil
	}
	scratch := c.scratchTake()
	*scratch = sample.append(recordBegin(*scratch))
	c.putRecord(now, *scratch, batchSample)
	c.scratchGive(scratch)
}

// errorText is what an error says, as valid text: its method is somebody else's code.
func errorText(err error) (text string) {
	if err == nil {
		return ""
	}
	defer func() {
		if recover() != nil {
			text = ""
		}
	}()
	return textOf(err.Error())
}

// textOf makes text that the daemon takes of any bytes.
func textOf(text string) string {
	if len(text) > errorTextMax {
		text = text[:errorTextMax]
		for len(text) > errorTextMax-utf8.UTFMax && !utf8.ValidString(text[max(0,
			len(text)-utf8.UTFMax):]) {
			text = text[:len(text)-1]
		}
	}
	return strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
}

// evidenceBegin takes a reading if the inferences since the last one have paid for it.
func (m *Model) evidenceBegin(t *Track) {
	c := m.client
	t.cell = &m.cells[rand.Uint32()%cellCount]
	paid := t.cell.since.Load()
	if (paid != 0 && paid-1 < c.cost.due.Load()) || !t.cell.since.CompareAndSwap(paid, 1) {
		return
	}
	before := c.readings.Get().(*reading)
	before.begun = c.now()
	if !before.take(c.options.Evidence) {
		c.readings.Put(before)
		return
	}
	t.before = before
}

// evidenceEnd takes the second reading and puts what was used between the two into the sample.
func (m *Model) evidenceEnd(before *reading, now, taken int64, sample *Sample) {
	c := m.client
	after := c.readings.Get().(*reading)
	if after.take(c.options.Evidence) && after.thread == before.thread && taken > 0 {
		after.sayInto(sample, before, taken, c.cost.bias.Load())
		sample.TimestampUnixNano = uint64(time.Now().UnixNano() - (c.now() - now))
		c.cost.taken.Add(1)
	}
	c.cost.learn(before.begun, now-taken, now, c.now())
	c.readings.Put(before)
	c.readings.Put(after)
}

// cost is what readings were seen to cost.
type cost struct {
	percent float64
	mean    atomic.Int64 // ns, of both readings of an inference
	due     atomic.Int64 // ns of inferences that pay for the next one
	bias    atomic.Int64 // ns of CPU time that two readings show with nothing between them
	taken   atomic.Uint64
}

const (
	calibrations = 5
	costOutlier  = 4    // a reading that was preempted counts as this many usual ones
	costMargin   = 1.25 // an inference also finds caches colder
)

func (k *cost) init(c *Client) {
	k.percent = c.options.EvidencePercent
	k.bias.Store(math.MaxInt64)
	if c.options.Evidence == EvidenceNone {
		return
	}
	var before, after reading
	for i := 0; i < calibrations; i++ {
		begun := c.now()
		if !before.take(c.options.Evidence) {
			break
		}
		from := c.now()
		to := c.now()
		after.take(c.options.Evidence)
		k.learn(begun, from, to, c.now())
		if before.thread == after.thread {
			k.bias.Store(min(k.bias.Load(), max(0, after.cpu-before.cpu-(to-from))))
		}
	}
	if k.bias.Load() == math.MaxInt64 {
		k.bias.Store(0)
	}
}

// learn takes in what a pair of readings cost: the time around an inference from its begin to its end.
func (k *cost) learn(begun, from, to, ended int64) {
	seen := max(1, from-begun+ended-to)
	mean := k.mean.Load()
	if mean == 0 {
		mean = seen
	} else {
		mean = max(1, (mean*7+min(seen, costOutlier*mean))/8)
	}
	k.mean.Store(mean)
	k.due.Store(int64(float64(mean) * costMargin * 100 / k.percent))
}
