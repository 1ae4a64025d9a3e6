package dwell

// Which span something belongs to, and what is sampled.

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
)

// TraceID names a trace; all zero is none.
type TraceID [16]byte

// SpanID names a span; all zero is none.
type SpanID [8]byte

// IsZero says that it is none.
func (id TraceID) IsZero() bool { return id == TraceID{} }

// IsZero says that it is none.
func (id SpanID) IsZero() bool { return id == SpanID{} }

// String is the id in 32 hexadecimal digits.
func (id TraceID) String() string { return hex.EncodeToString(id[:]) }

// String is the id in 16 hexadecimal digits.
func (id SpanID) String() string { return hex.EncodeToString(id[:]) }

func (id *TraceID) append(b []byte, field uint64) []byte {
	if id.IsZero() {
		return b
	}
	return appendBytes(b, field, id[:])
}

func (id *SpanID) append(b []byte, field uint64) []byte {
	if id.IsZero() {
		return b
	}
	return appendBytes(b, field, id[:])
}

// ContextFlags say what was decided about a trace.
type ContextFlags uint8

const (
	FlagSampled ContextFlags = 1 << iota
	FlagDecided              // FlagSampled, set or not, is the decision of somebody outside
	FlagDebug                // of B3; implies the two above
	FlagRemote               // it came from outside; if nothing is decided, we may
)

// whole are the flags with what they imply.
func (f ContextFlags) whole() ContextFlags {
	if f&FlagDebug != 0 {
		f |= FlagSampled | FlagDecided
	}
	return f
}

// trace are the trace flags of W3C Trace Context.
func (f ContextFlags) trace() uint32 {
	return uint32(f & FlagSampled)
}

const traceStateMax = 512 // bytes; the specification's

// SpanContext is what is handed on to other goroutines and services.
type SpanContext struct {
	TraceID    TraceID // all zero: there is no span, but perhaps a decision
	SpanID     SpanID
	Flags      ContextFlags
	TraceState string // of W3C Trace Context, at most 512 bytes
}

// HasSpan says whether a span is named.
func (s *SpanContext) HasSpan() bool {
	return s != nil && !s.TraceID.IsZero() && !s.SpanID.IsZero()
}

// shown is the context if a record is to bear its ids: they are said to lead to a trace.
func (s *SpanContext) shown() *SpanContext {
	if s.HasSpan() && s.Flags.whole()&FlagSampled != 0 {
		return s
	}
	return nil
}

type contextKey struct{}

// current gives the span of a context, or nil.
func current(ctx context.Context) *SpanContext {
	if ctx == nil {
		return nil
	}
	span, _ := ctx.Value(contextKey{}).(*SpanContext)
	return span
}

// ContextWithSpan returns a context in which spans and records belong to the given span, which may be
// one of another process.
func ContextWithSpan(ctx context.Context, span SpanContext) context.Context {
	return context.WithValue(ctx, contextKey{}, &span)
}

// SpanFromContext returns the span that a context belongs to; zero when there is none.
func SpanFromContext(ctx context.Context) SpanContext {
	if span := current(ctx); span != nil {
		return *span
	}
	return SpanContext{}
}

func traceIDMake() (id TraceID) {
	binary.NativeEndian.PutUint64(id[:], rand.Uint64())
	binary.NativeEndian.PutUint64(id[8:], rand.Uint64()|1) // never zero
	return id
}

func spanIDMake() (id SpanID) {
	for id.IsZero() {
		binary.NativeEndian.PutUint64(id[:], rand.Uint64())
	}
	return id
}

// sampler decides by the trace id, by the rule of OpenTelemetry's TraceIdRatioBased as its Python SDK
// and the daemon have it.
type sampler struct {
	all   bool
	bound uint64
}

func samplerOf(rate float64) sampler {
	switch {
	case rate < 0:
		rate = 0
	case !(rate > 0):
		rate = samplerShare()
	}
	if rate >= 1 {
		return sampler{all: true}
	}
	bound := math.RoundToEven(rate * (1 << 64))
	return sampler{all: bound >= 1<<64, bound: uint64(min(bound, 1<<63*1.9999999999999998))}
}

// samplerShare reads the environment. A decision from outside counts with and without "parentbased_".
func samplerShare() float64 {
	switch strings.TrimPrefix(os.Getenv("OTEL_TRACES_SAMPLER"), "parentbased_") {
	case "always_off":
		return 0
	case "traceidratio":
		share, err := strconv.ParseFloat(os.Getenv("OTEL_TRACES_SAMPLER_ARG"), 64)
		if err == nil && share >= 0 && share <= 1 {
			return share
		}
	}
	return 1
}

func (s *sampler) takes(id *TraceID) bool {
	return s.all || binary.BigEndian.Uint64(id[8:]) < s.bound
}
