package dwell

// Spans that the caller measured.

// Part says which half of a span a record is.
type Part uint8

const (
	PartWhole Part = iota
	PartStart      // has a start time
	PartEnd        // has an end time
)

// Event is something that happened during a span.
type Event struct {
	Name         string
	TimeUnixNano uint64
	Attributes   []Attr // at most 128
}

// Link names another span that one has to do with, without being its child. Of the flags of its context
// it is sent whether it is sampled, if that was decided.
type Link struct {
	Context    SpanContext
	Attributes []Attr // at most 128
}

// Status is how a span went. The message goes with errors.
type Status struct {
	Code    StatusCode
	Message string
}

// Decision is what somebody has decided on a trace.
type Decision uint8

const (
	Undecided  Decision = iota // the daemon decides
	Sampled                    // it is kept
	NotSampled                 // it is given up
)

// SpanRecord is one operation of a trace, or one half of it. Required: the ids, Name, and the times of
// its part. Numbers of what was left out go with it.
type SpanRecord struct {
	TraceID       TraceID
	SpanID        SpanID
	ParentSpanID  SpanID // zero: a root
	TraceState    string // at most 512 bytes
	Name          string // 1 to 256 bytes
	Kind          Kind
	StartUnixNano uint64 // 0: not sent
	EndUnixNano   uint64 // 0: not sent; not before the start

	Attributes        []Attr // at most 128; a key stands once
	DroppedAttributes uint32
	Events            []Event // at most 128
	DroppedEvents     uint32
	Links             []Link // at most 128
	DroppedLinks      uint32
	Status            Status
	Decision          Decision
	Part              Part
	ServiceName       string // empty: that of the client
}

// RecordSpan records a span as it is. Nil is a no-op.
func (c *Client) RecordSpan(span *SpanRecord) {
	if c == nil || span == nil {
		return
	}
	scratch := c.scratchTake()
	*scratch = span.append(recordBegin(*scratch))
	c.putRecord(c.now(), *scratch, batchSpan)
	c.scratchGive(scratch)
}

func (s *SpanRecord) append(b []byte) []byte {
	b = s.TraceID.append(b, spanTraceID)
	b = s.SpanID.append(b, spanSpanID)
	b = appendSome(b, spanTraceState, s.TraceState)
	b = s.ParentSpanID.append(b, spanParentSpanID)
	b = appendText(b, spanName, s.Name)
	b = appendSeen(b, spanKind, uint64(s.Kind))
	if s.StartUnixNano != 0 {
		b = appendFixed64(b, spanStartTime, s.StartUnixNano)
	}
	if s.EndUnixNano != 0 {
		b = appendFixed64(b, spanEndTime, s.EndUnixNano)
	}
	for i := range s.Attributes {
		b = s.Attributes[i].append(b, spanAttributes)
	}
	b = appendSeen(b, spanDroppedAttributes, uint64(s.DroppedAttributes))
	for i := range s.Events {
		b = s.Events[i].append(b)
	}
	b = appendSeen(b, spanDroppedEvents, uint64(s.DroppedEvents))
	for i := range s.Links {
		b = s.Links[i].append(b)
	}
	b = appendSeen(b, spanDroppedLinks, uint64(s.DroppedLinks))
	b = s.Status.append(b)
	if s.Decision != Undecided {
		b = appendFixed32(b, spanFlags, uint32(s.Decision)&1)
	}
	b = appendSeen(b, spanPart, uint64(s.Part))
	return appendSome(b, spanServiceName, s.ServiceName)
}

func (e *Event) append(b []byte) []byte {
	b = nestedBegin(b, spanEvents)
	at := len(b)
	b = appendText(appendFixed64(b, eventTime, e.TimeUnixNano), eventName, e.Name)
	return nestedEnd(few(b, e.Attributes, eventAttributes, eventDropped), at)
}

func (l *Link) append(b []byte) []byte {
	b = nestedBegin(b, spanLinks)
	at := len(b)
	b = appendBytes(b, linkTraceID, l.Context.TraceID[:])
	b = appendBytes(b, linkSpanID, l.Context.SpanID[:])
	b = appendSome(b, linkTraceState, traceStateGood(l.Context.TraceState))
	b = few(b, l.Attributes, linkAttributes, linkDropped)
	if flags := l.Context.Flags.whole(); flags&FlagDecided != 0 {
		b = appendFixed32(b, linkFlags, flags.trace())
	}
	return nestedEnd(b, at)
}

func (s *Status) append(b []byte) []byte {
	if s.Code == StatusUnset && s.Message == "" {
		return b
	}
	b = nestedBegin(b, spanStatus)
	at := len(b)
	b = appendSome(b, statusMessage, s.Message)
	return nestedEnd(appendSeen(b, statusCode, uint64(s.Code)), at)
}
