package dwell

// Contexts in headers of messages: W3C Trace Context (traceparent, tracestate) and B3 (one header b3, or
// several X-B3-…).

import (
	"context"
	"encoding/hex"
	"net/http"
	"os"
	"strings"
)

// Propagation says how contexts are written into headers; values may be added up.
type Propagation uint8

const (
	PropagateB3      Propagation = 1 << iota // b3: {trace id}-{span id}-{0, 1 or d}
	PropagateB3Multi                         // X-B3-TraceId, -SpanId, -Sampled, -Flags
	PropagateW3C                             // traceparent, tracestate
	PropagateNone                            // nothing, added to nothing
)

// known is the propagation, or by OTEL_PROPAGATORS what is meant by none.
func (p Propagation) known() Propagation {
	if p &= PropagateB3 | PropagateB3Multi | PropagateW3C | PropagateNone; p != 0 {
		return p
	}
	for _, word := range strings.FieldsFunc(os.Getenv("OTEL_PROPAGATORS"), func(r rune) bool {
		return r == ',' || r == ' ' || r == '\t'
	}) {
		switch word {
		case "tracecontext":
			p |= PropagateW3C
		case "b3":
			p |= PropagateB3
		case "b3multi":
			p |= PropagateB3Multi
		case "none":
			p |= PropagateNone
		}
	}
	if p == 0 {
		p = PropagateW3C | PropagateB3
	}
	return p
}

func (c *Client) propagation() Propagation {
	if c == nil {
		return Propagation(0).known()
	}
	return c.options.Propagation
}

// Inject writes headers that say which span a request belongs to. Without a span in the context B3 says
// the decision alone, if there is one; else nothing is written. A nil client hands on what came.
func (c *Client) Inject(ctx context.Context, header http.Header) {
	span := current(ctx)
	if span == nil || header == nil {
		return
	}
	formats := c.propagation()
	flags := span.Flags.whole()
	sampled := flags&FlagSampled != 0
	unsaid := flags&FlagDecided == 0 && (flags&FlagRemote != 0 || !span.HasSpan())
	state := "0"
	switch {
	case unsaid:
		state = ""
	case flags&FlagDebug != 0:
		state = "d"
	case sampled:
		state = "1"
	}
	if formats&PropagateW3C != 0 && span.HasSpan() {
		if unsaid { // it has no word for what B3 leaves open
			sampled = c == nil || c.sampler.takes(&span.TraceID)
		}
		injectW3C(span, sampled, header)
	}
	if formats&PropagateB3 != 0 {
		injectB3(span, state, header)
	}
	if formats&PropagateB3Multi != 0 {
		injectB3Multi(span, state, header)
	}
}

// 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01
func injectW3C(span *SpanContext, sampled bool, header http.Header) {
	flags := "-00"
	if sampled {
		flags = "-01"
	}
	header.Set("traceparent", "00-"+span.TraceID.String()+"-"+span.SpanID.String()+flags)
	if state := traceStateGood(span.TraceState); state != "" {
		header.Set("tracestate", state)
	}
}

// 0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1
func injectB3(span *SpanContext, state string, header http.Header) {
	text := state
	if span.HasSpan() {
		text = span.TraceID.String() + "-" + span.SpanID.String()
		if state != "" {
			text += "-" + state
		}
	}
	if text != "" {
		header.Set("b3", text)
	}
}

func injectB3Multi(span *SpanContext, state string, header http.Header) {
	if span.HasSpan() {
		header.Set("X-B3-TraceId", span.TraceID.String())
		header.Set("X-B3-SpanId", span.SpanID.String())
	}
	switch state {
	case "d":
		header.Set("X-B3-Flags", "1") // which implies the other
	case "":
	default:
		header.Set("X-B3-Sampled", state)
	}
}

// Extract returns a context that belongs to the span which headers name: traceparent before b3 before
// X-B3-…, the first good one counts. A decision of B3 without a span is good. Without a good one the
// context comes back as it was. Formats for B3 take both of its forms.
func (c *Client) Extract(ctx context.Context, header http.Header) context.Context {
	formats := c.propagation()
	if formats&PropagateW3C != 0 {
		if span, good := extractW3C(header); good {
			return ContextWithSpan(ctx, span)
		}
	}
	if formats&(PropagateB3|PropagateB3Multi) != 0 {
		if span, good := extractB3(header.Get("b3")); good {
			return ContextWithSpan(ctx, span)
		}
		if span, good := extractB3Multi(header); good {
			return ContextWithSpan(ctx, span)
		}
	}
	return ctx
}

// hexInto reads exactly as many digits as fill the id; capitals are B3's alone.
func hexInto(id []byte, text string, capitals bool) bool {
	if len(text) != 2*len(id) || (!capitals && text != strings.ToLower(text)) {
		return false
	}
	count, err := hex.Decode(id, []byte(text))
	return err == nil && count == len(id)
}

// 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01; what later versions add comes after a "-".
func extractW3C(header http.Header) (span SpanContext, good bool) {
	text := header.Get("traceparent")
	const whole = 55
	if len(text) < whole || text[2] != '-' || text[35] != '-' || text[52] != '-' {
		return span, false
	}
	var version, flags [1]byte
	good = hexInto(version[:], text[:2], false) && hexInto(span.TraceID[:], text[3:35], false) &&
		hexInto(span.SpanID[:], text[36:52], false) && hexInto(flags[:], text[53:55], false)
	later := len(text) == whole || (version[0] != 0 && text[whole] == '-')
	if !good || !later || version[0] == 0xFF || !span.HasSpan() {
		return SpanContext{}, false
	}
	span.Flags = FlagRemote | FlagDecided
	if flags[0]&1 != 0 {
		span.Flags |= FlagSampled
	}
	span.TraceState = traceStateKept(strings.Join(header.Values("tracestate"), ","))
	return span, true
}

// traceStateKept is a trace state without blanks around it. Of one that is too long, members are left
// out from its end, as the specification wants.
func traceStateKept(text string) string {
	text = strings.Trim(text, " \t")
	if len(text) > traceStateMax {
		text = text[:max(0, strings.LastIndexByte(text[:traceStateMax+1], ','))]
	}
	return traceStateGood(strings.Trim(text, " \t"))
}

// traceStateGood is a trace state that may go into a header, or nothing. Its members are others' business.
func traceStateGood(text string) string {
	if len(text) > traceStateMax {
		return ""
	}
	for i := 0; i < len(text); i++ {
		if (text[i] < ' ' || text[i] > '~') && text[i] != '\t' {
			return ""
		}
	}
	return text
}

// stateFlags are the flags that a sampling state of B3 stands for, or 0.
func stateFlags(state string) ContextFlags {
	switch state {
	case "0":
		return FlagDecided
	case "1":
		return FlagDecided | FlagSampled
	case "d":
		return FlagDecided | FlagSampled | FlagDebug
	}
	return 0
}

// traceInto reads 32 digits, or 16 that are the low half.
func traceInto(id *TraceID, text string) bool {
	if len(text) == len(id) {
		return hexInto(id[len(id)/2:], text, true) && !id.IsZero()
	}
	return hexInto(id[:], text, true) && !id.IsZero()
}

// 0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1-05e3ac9a4f6e3b90, the last one or two parts perhaps
// not there, or the third part alone.
func extractB3(text string) (span SpanContext, good bool) {
	if flags := stateFlags(text); flags != 0 {
		return SpanContext{Flags: FlagRemote | flags}, true
	}
	parts := strings.Split(textCut(text, 128), "-") // no good one is longer
	span.Flags = FlagRemote
	good = len(parts) >= 2 && len(parts) <= 4 && traceInto(&span.TraceID, parts[0]) &&
		hexInto(span.SpanID[:], parts[1], true) && span.HasSpan()
	if good && len(parts) >= 3 {
		good = stateFlags(parts[2]) != 0
		span.Flags |= stateFlags(parts[2])
	}
	if good && len(parts) == 4 {
		var parent SpanID
		good = hexInto(parent[:], parts[3], true)
	}
	if !good {
		return SpanContext{}, false
	}
	return span, true
}

func extractB3Multi(header http.Header) (span SpanContext, good bool) {
	if !traceInto(&span.TraceID, header.Get("X-B3-TraceId")) ||
		!hexInto(span.SpanID[:], header.Get("X-B3-SpanId"), true) || !span.HasSpan() {
		span = SpanContext{}
	}
	flags := stateFlags("d")
	if header.Get("X-B3-Flags") != "1" {
		sampled := header.Get("X-B3-Sampled")
		switch { // the words are of senders before the rule
		case strings.EqualFold(sampled, "true"):
			sampled = "1"
		case strings.EqualFold(sampled, "false"):
			sampled = "0"
		case sampled == "d":
			sampled = ""
		}
		flags = stateFlags(sampled)
	}
	good = span.HasSpan() || flags != 0
	span.Flags = FlagRemote | flags
	return span, good
}
