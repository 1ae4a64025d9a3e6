package dwell

// Spans that the library measures.
//
//  1. StartSpan takes the parent from the context, makes ids, reads both clocks, and gives a context in
//     which the new span is the parent.
//  2. Attributes, events and links are encoded as they come.
//  3. End makes one record of them.
//
// What does not fit is left out and counted in the span: past 128 attributes, events or links, and past
// 15 kB in all. A span that is never ended records nothing, but the half that began it if it was to come
// in halves.

import (
	"context"
	"encoding/binary"
	"os"
	"reflect"
	"strconv"
	"sync"
	"time"
)

const (
	spanTraceID           = 1
	spanSpanID            = 2
	spanTraceState        = 3
	spanParentSpanID      = 4
	spanName              = 5
	spanKind              = 6
	spanStartTime         = 7
	spanEndTime           = 8
	spanAttributes        = 9
	spanDroppedAttributes = 10
	spanEvents            = 11
	spanDroppedEvents     = 12
	spanLinks             = 13
	spanDroppedLinks      = 14
	spanStatus            = 15
	spanFlags             = 16
	spanPart              = 100
	spanServiceName       = 101

	eventTime       = 1
	eventName       = 2
	eventAttributes = 3
	eventDropped    = 4

	linkTraceID    = 1
	linkSpanID     = 2
	linkTraceState = 3
	linkAttributes = 4
	linkDropped    = 5
	linkFlags      = 6

	statusMessage = 2
	statusCode    = 3

	// Attributes, events and links of a span, and attributes of an event or link: OpenTelemetry's. The
	// first three are lowered by OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT and its like.
	partsMax = 128
	nameMax  = 256 // bytes
	keyMax   = 256

	// What a span may have in attributes, events and links, so that with all else it is no longer than
	// recordBodyMax: name, trace state and service name 1024, status 1031, single fields 150.
	partsBytesMax = recordBodyMax - 2304
)

// Kind says which side of what a span is.
type Kind uint8

const (
	KindUnsaid Kind = iota // internal
	KindInternal
	KindServer
	KindClient
	KindProducer
	KindConsumer
)

// StatusCode says how a span went.
type StatusCode uint8

const (
	StatusUnset StatusCode = iota
	StatusOK
	StatusError
)

// SpanOptions are what a span may be started with, beside its name and attributes.
type SpanOptions struct {
	Kind Kind
	// Halves: its start is recorded at once and its end as a second record, so that a span whose process
	// died shows as cut off. If there was no room for the start, it comes as a whole.
	Halves        bool
	StartUnixNano uint64 // 0: now
	ServiceName   string // empty: that of the client; at most 256 bytes
	Links         []Link
}

// Span is an operation being measured. Any number of goroutines may use it at once.
type Span struct {
	client  *Client
	context SpanContext
	parent  SpanID
	name    string
	service string
	start   uint64 // ns since 1970
	begun   int64
	kind    Kind

	mu      sync.Mutex
	ended   bool
	halves  bool
	status  StatusCode
	message string
	parts   *spanParts
	counts  [3]int    // of attributes, events, links
	dropped [3]uint64 // of each
}

// spanParts holds what is encoded already.
type spanParts struct {
	parts [3][]byte // attributes, events, links
}

const (
	partAttributes = iota
	partEvents
	partLinks
)

var (
	partsPool   = sync.Pool{New: func() any { return new(spanParts) }}
	countLimits = sync.OnceValue(func() [3]int {
		return [3]int{
			countLimit("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT"),
			countLimit("OTEL_SPAN_EVENT_COUNT_LIMIT"),
			countLimit("OTEL_SPAN_LINK_COUNT_LIMIT"),
		}
	})
)

func countLimit(name string) int {
	limit, err := strconv.Atoi(os.Getenv(name))
	if err != nil || limit < 0 {
		return partsMax
	}
	return min(limit, partsMax)
}

// spanContext is a context that belongs to the span in it.
type spanContext struct {
	context.Context
	span Span
}

func (s *spanContext) Value(key any) any {
	if key == (contextKey{}) {
		return &s.span.context
	}
	return s.Context.Value(key)
}

// StartSpan starts a span, child of the context's, or root of a new trace; the context that it returns
// belongs to it. A name of more than 256 bytes is cut; an empty one is "unnamed". With a nil client the
// context goes on as it is, so that a trace goes through a service in which dwell is switched off.
// All times of a span are its start and what has passed since by the monotonic clock.
func (c *Client) StartSpan(ctx context.Context, name string, attributes ...Attr) (context.Context, *Span) {
	return c.StartSpanWith(ctx, name, SpanOptions{}, attributes...)
}

// StartSpanWith is StartSpan with more to say.
func (c *Client) StartSpanWith(ctx context.Context, name string, options SpanOptions,
	attributes ...Attr) (context.Context, *Span) {
	if c == nil {
		return ctx, nil
	}
	if ctx == nil {
		ctx = context.Background()
	}
	holder := &spanContext{Context: ctx}
	s := &holder.span
	s.client = c
	now := time.Now()
	s.begun = int64(now.Sub(c.epoch))
	s.start = options.StartUnixNano
	if s.start == 0 {
		s.start = uint64(now.UnixNano())
	}
	s.name = nameOf(name)
	s.kind = options.Kind
	if s.kind == KindUnsaid || s.kind > KindConsumer {
		s.kind = KindInternal
	}
	if len(options.ServiceName) <= nameMax {
		s.service = options.ServiceName
	}
	c.begin(s, current(ctx))
	s.parts = partsPool.Get().(*spanParts)
	s.SetAttributes(attributes...)
	for i := range options.Links {
		s.AddLink(options.Links[i].Context, options.Links[i].Attributes...)
	}
	if options.Halves && s.put(PartStart, s.begun) {
		s.halves = true // what was said is not said again
		s.partsClear()
	}
	return holder, s
}

func nameOf(name string) string {
	if name == "" {
		return "unnamed"
	}
	return textCut(name, nameMax)
}

// textCut cuts a text between its characters.
func textCut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	for most > 0 && text[most]&0xC0 == 0x80 {
		most--
	}
	return text[:most]
}

// begin says where the span belongs.
func (c *Client) begin(s *Span, parent *SpanContext) {
	undecided := true
	if parent != nil {
		flags := parent.Flags.whole()
		undecided = flags&FlagDecided == 0 && (flags&FlagRemote != 0 || !parent.HasSpan())
		s.context.Flags = flags &^ FlagRemote
	}
	if parent.HasSpan() {
		s.context.TraceID, s.parent = parent.TraceID, parent.SpanID
		s.context.TraceState = traceStateGood(parent.TraceState)
	} else {
		s.context.TraceID = traceIDMake()
	}
	s.context.SpanID = spanIDMake()
	if undecided && c.sampler.takes(&s.context.TraceID) {
		s.context.Flags |= FlagSampled
	}
}

// Context returns what is handed on of the span, also after its end; zero of nil.
func (s *Span) Context() SpanContext {
	if s == nil {
		return SpanContext{}
	}
	return s.context
}

// lock locks a span that has not ended. False: it has, or is none.
func (s *Span) lock() bool {
	if s == nil {
		return false
	}
	s.mu.Lock()
	if s.ended {
		s.mu.Unlock()
		return false
	}
	return true
}

func (s *Span) bytesUsed() int {
	p := &s.parts.parts
	return len(p[partAttributes]) + len(p[partEvents]) + len(p[partLinks])
}

// keep takes in a part that was appended to b, or leaves it out and counts it.
func (s *Span) keep(which int, b []byte) {
	p := &s.parts.parts
	grown := len(b) - len(p[which])
	if s.counts[which] >= countLimits()[which] || s.bytesUsed()+grown > partsBytesMax {
		s.dropped[which]++
		return
	}
	s.counts[which]++
	p[which] = b
}

// SetAttributes sets attributes. Of a key that is set again the last value counts. One without a good
// key is left out and counted.
func (s *Span) SetAttributes(attributes ...Attr) {
	if len(attributes) == 0 || !s.lock() {
		return
	}
	defer s.mu.Unlock()
	for i := range attributes {
		a := &attributes[i]
		if a.Key == "" || len(a.Key) > keyMax {
			s.dropped[partAttributes]++
			continue
		}
		s.forget(a.Key)
		s.keep(partAttributes, a.append(s.parts.parts[partAttributes], spanAttributes))
	}
}

// forget takes the attribute of a key out.
//
//	4a 0f  0a 06 d e v i c e  12 05 …
//	|      |     key          value
//	attribute
func (s *Span) forget(key string) {
	all := s.parts.parts[partAttributes]
	for at := 0; at < len(all); {
		length, size := binary.Uvarint(all[at+1:])
		body := all[at+1+size : at+1+size+int(length)]
		keyLength, keySize := binary.Uvarint(body[1:])
		end := at + 1 + size + int(length)
		if string(body[1+keySize:1+keySize+int(keyLength)]) == key {
			s.parts.parts[partAttributes] = append(all[:at], all[end:]...)
			s.counts[partAttributes]--
			return
		}
		at = end
	}
}

// few appends attributes of an event or link, and how many were left out.
func few(b []byte, attributes []Attr, field, droppedField uint64) []byte {
	dropped := uint64(0)
	kept := 0
	for i := range attributes {
		a := &attributes[i]
		later := false
		for j := i + 1; j < len(attributes); j++ {
			later = later || attributes[j].Key == a.Key // of which the last counts
		}
		switch {
		case later:
		case a.Key == "" || len(a.Key) > keyMax || kept >= partsMax:
			dropped++
		default:
			kept++
			b = a.append(b, field)
		}
	}
	return appendSeen(b, droppedField, dropped)
}

// unix is a moment of the client's clock as a time of the span, in ns since 1970.
func (s *Span) unix(now int64) uint64 {
	return s.start + uint64(max(0, now-s.begun))
}

// AddEvent adds an event that happens now. It is there as a whole, or left out as a whole and counted.
func (s *Span) AddEvent(name string, attributes ...Attr) {
	if s.lock() {
		s.event(s.unix(s.client.now()), name, attributes)
		s.mu.Unlock()
	}
}

func (s *Span) event(at uint64, name string, attributes []Attr) {
	event := Event{Name: name, TimeUnixNano: at, Attributes: attributes}
	s.keep(partEvents, event.append(s.parts.parts[partEvents]))
}

// AddLink adds a link to another span; one to no span is left out.
func (s *Span) AddLink(to SpanContext, attributes ...Attr) {
	if to.HasSpan() && s.lock() {
		link := Link{Context: to, Attributes: attributes}
		s.keep(partLinks, link.append(s.parts.parts[partLinks]))
		s.mu.Unlock()
	}
}

// RecordError adds the event "exception" with the error's type and text, and sets the status to error
// with the text. Nil is a no-op.
func (s *Span) RecordError(err error) {
	if err == nil || s == nil {
		return
	}
	text := errorText(err)
	if s.lock() {
		s.event(s.unix(s.client.now()), "exception", []Attr{
			String("exception.type", reflect.TypeOf(err).String()),
			String("exception.message", text),
		})
		s.statusSet(StatusError, text)
		s.mu.Unlock()
	}
}

// SetStatus sets the status; success needs none. Of errors the last one counts, ok is final, unset is
// ignored. The message goes with errors only, and is cut at 1024 bytes.
func (s *Span) SetStatus(code StatusCode, message string) {
	if s.lock() {
		s.statusSet(code, message)
		s.mu.Unlock()
	}
}

func (s *Span) statusSet(code StatusCode, message string) {
	if code == StatusUnset || code > StatusError || s.status == StatusOK {
		return
	}
	s.status, s.message = code, ""
	if code == StatusError {
		s.message = textCut(message, errorTextMax)
	}
}

// End ends the span and records it. A second end, and whatever else comes after the first, is a no-op.
func (s *Span) End() {
	if !s.lock() {
		return
	}
	defer s.mu.Unlock()
	s.ended = true
	part := PartWhole
	if s.halves {
		part = PartEnd
	}
	s.put(part, s.client.now())
	s.partsClear()
	partsPool.Put(s.parts)
	s.parts = nil
}

func (s *Span) partsClear() {
	for i := range s.parts.parts {
		s.parts.parts[i] = s.parts.parts[i][:0]
	}
	s.counts, s.dropped = [3]int{}, [3]uint64{}
}

// put records the span or a half of it as it is now, in the order of the fields' numbers.
func (s *Span) put(part Part, now int64) bool {
	c := s.client
	scratch := c.scratchTake()
	b := recordBegin(*scratch)
	b = appendBytes(b, spanTraceID, s.context.TraceID[:])
	b = appendBytes(b, spanSpanID, s.context.SpanID[:])
	first := part != PartEnd
	if first {
		b = appendSome(b, spanTraceState, s.context.TraceState)
		b = s.parent.append(b, spanParentSpanID)
	}
	b = appendText(b, spanName, s.name)
	if first {
		b = appendNumber(b, spanKind, uint64(s.kind))
		b = appendFixed64(b, spanStartTime, s.start)
	}
	if part != PartStart {
		b = appendFixed64(b, spanEndTime, s.unix(now))
	}
	b = append(b, s.parts.parts[partAttributes]...)
	b = appendSeen(b, spanDroppedAttributes, s.dropped[partAttributes])
	b = append(b, s.parts.parts[partEvents]...)
	b = appendSeen(b, spanDroppedEvents, s.dropped[partEvents])
	b = append(b, s.parts.parts[partLinks]...)
	b = appendSeen(b, spanDroppedLinks, s.dropped[partLinks])
	b = (&Status{Code: s.status, Message: s.message}).append(b)
	if first && s.context.Flags&FlagDecided != 0 {
		b = appendFixed32(b, spanFlags, s.context.Flags.trace())
	}
	b = appendSeen(b, spanPart, uint64(part))
	if first {
		b = appendSome(b, spanServiceName, s.service)
	}
	*scratch = b
	kept := c.putRecord(now, b, batchSpan)
	c.scratchGive(scratch)
	return kept
}
