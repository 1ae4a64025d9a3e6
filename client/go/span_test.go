package dwell

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// mustSpans gives the spans that a client records.
func mustSpans(t testing.TB, options Options, use func(*Client)) []message {
	t.Helper()
	f := serve(t)
	c := open(t, f, options)
	use(c)
	mustCloseClient(t, c)
	f.mustClose(t, c)
	var spans []message
	for _, r := range f.records(batchSpan) {
		spans = append(spans, r.message)
	}
	return spans
}

// attribute gives the value of a text attribute.
func attribute(t testing.TB, m message, field uint64, key string) (text string, found bool) {
	t.Helper()
	for _, f := range m.all(field) {
		pair := mustDecode(t, f.bytes)
		if pair.text(keyValueKey) == key {
			return mustDecode(t, pair.find(keyValueValue).bytes).text(anyString), true
		}
	}
	return "", false
}

func TestSpanAndChild(t *testing.T) {
	before := uint64(time.Now().UnixNano())
	spans := mustSpans(t, Options{}, func(c *Client) {
		ctx, parent := c.StartSpanWith(context.Background(), "POST /v1",
			SpanOptions{Kind: KindServer, ServiceName: "s"},
			String("device", "cpu"))
		_, child := c.StartSpan(ctx, "")
		child.End()
		parent.SetAttributes(String("device", "gpu"), String("", "no key"), String("other", "x"))
		parent.AddEvent("loaded", Int("bytes", 1))
		parent.AddLink(child.Context(), String("why", "because"))
		parent.AddLink(SpanContext{})
		parent.End()
		parent.End()
		parent.AddEvent("too late")
	})
	if len(spans) != 2 {
		t.Fatalf("%d spans", len(spans))
	}
	child, parent := spans[0], spans[1]
	if child.text(spanTraceID) != parent.text(spanTraceID) ||
		child.text(spanParentSpanID) != parent.text(spanSpanID) ||
		parent.find(spanParentSpanID) != nil {
		t.Error("the child is not the parent's")
	}
	if child.text(spanName) != "unnamed" || child.number(spanKind) != uint64(KindInternal) ||
		child.find(spanStatus) != nil {
		t.Errorf("the child is %v", child)
	}
	if parent.number(spanKind) != uint64(KindServer) || parent.text(spanServiceName) != "s" ||
		parent.find(spanFlags) != nil {
		t.Errorf("the parent is %v", parent)
	}
	if device, _ := attribute(t, parent, spanAttributes, "device"); device != "gpu" ||
		len(parent.all(spanAttributes)) != 2 || parent.number(spanDroppedAttributes) != 1 {
		t.Errorf("the attributes are %v", parent.all(spanAttributes))
	}
	if len(parent.all(spanEvents)) != 1 || len(parent.all(spanLinks)) != 1 {
		t.Error("expects one event and one link")
	}
	if start, end := parent.number(spanStartTime), parent.number(spanEndTime); start < before ||
		end < start ||
		end > uint64(time.Now().UnixNano()) {
		t.Errorf("from %d to %d", start, end)
	}
}

func TestSpanInHalves(t *testing.T) {
	spans := mustSpans(t, Options{}, func(c *Client) {
		_, span := c.StartSpanWith(context.Background(), "train", SpanOptions{Halves: true},
			String("a", "b"))
		span.SetAttributes(String("c", "d"))
		span.End()
	})
	if len(spans) != 2 || spans[0].number(spanPart) != uint64(PartStart) ||
		spans[1].number(spanPart) != uint64(PartEnd) {
		t.Fatalf("%v", spans)
	}
	start, end := spans[0], spans[1]
	if start.find(spanEndTime) != nil || end.find(spanStartTime) != nil ||
		start.text(spanSpanID) != end.text(spanSpanID) {
		t.Errorf("%v, %v", start, end)
	}
	if _, found := attribute(t, end, spanAttributes, "a"); found {
		t.Error("what was said is said again")
	}
}

func TestErrorsOfSpans(t *testing.T) {
	for _, fact := range []struct {
		name    string
		use     func(*Span)
		code    StatusCode
		message string
		events  int
	}{
		{"an error", func(s *Span) { s.RecordError(errors.New("no")) }, StatusError, "no", 1},
		{"none", func(s *Span) { s.RecordError(nil) }, StatusUnset, "", 0},
		{"of errors the last one", func(s *Span) {
			s.SetStatus(StatusError, "a")
			s.SetStatus(StatusError,
				"b")
		},
			StatusError, "b", 0},
		{"ok is final", func(s *Span) { s.SetStatus(StatusOK, "x"); s.SetStatus(StatusError, "b") },
			StatusOK, "", 0},
		{"unset is ignored", func(s *Span) { s.SetStatus(StatusError, "a"); s.SetStatus(StatusUnset, "") },
			StatusError, "a", 0},
		{"there is no such status", func(s *Span) { s.SetStatus(9, "a") }, StatusUnset, "", 0},
	} {
		spans := mustSpans(t, Options{}, func(c *Client) {
			_, span := c.StartSpan(context.Background(), "s")
			fact.use(span)
			span.End()
		})
		status := message{}
		if f := spans[0].find(spanStatus); f != nil {
			status = mustDecode(t, f.bytes)
		}
		if StatusCode(status.number(statusCode)) != fact.code ||
			status.text(statusMessage) != fact.message ||
			len(spans[0].all(spanEvents)) != fact.events {
			t.Errorf("%s: %v", fact.name, spans[0])
		}
	}
}

func TestLimitsOfSpans(t *testing.T) {
	large := strings.Repeat("x", 4096)
	for _, fact := range []struct {
		name       string
		use        func(*Span)
		field      uint64
		kept       int
		droppedIn  uint64
		wantOfLost uint64
	}{
		{"attributes at the limit", func(s *Span) {
			many(128,
				func(i int) { s.SetAttributes(Int(fmt.Sprint(i), 1)) })
		},
			spanAttributes, 128, spanDroppedAttributes, 0},
		{"attributes, one over", func(s *Span) {
			many(129,
				func(i int) { s.SetAttributes(Int(fmt.Sprint(i), 1)) })
		},
			spanAttributes, 128, spanDroppedAttributes, 1},
		{"the same attribute again", func(s *Span) {
			many(300, func(int) {
				s.SetAttributes(Int("k",
					1))
			})
		},
			spanAttributes, 1, spanDroppedAttributes, 0},
		{"events, one over", func(s *Span) { many(129, func(int) { s.AddEvent("e") }) }, spanEvents, 128,
			spanDroppedEvents, 1},
		{"links, one over", func(s *Span) { many(129, func(int) { s.AddLink(s.Context()) }) }, spanLinks,
			128, spanDroppedLinks, 1},
		{"keys, one over", func(s *Span) {
			s.SetAttributes(Int(large[:256], 1), Int(large[:257], 1))
		}, spanAttributes, 1, spanDroppedAttributes, 1},
		{"more than fits", func(s *Span) {
			many(4, func(i int) {
				s.SetAttributes(String(fmt.Sprint(i),
					large))
			})
		},
			spanAttributes, 3, spanDroppedAttributes, 1},
	} {
		spans := mustSpans(t, Options{}, func(c *Client) {
			_, span := c.StartSpan(context.Background(), strings.Repeat("é", 200))
			fact.use(span)
			span.End()
		})
		if len(spans) != 1 {
			t.Errorf("%s: %d spans", fact.name, len(spans))
			continue
		}
		s := spans[0]
		if kept := len(s.all(fact.field)); kept != fact.kept ||
			s.number(fact.droppedIn) != fact.wantOfLost ||
			s.text(spanName) != strings.Repeat("é", 128) {
			t.Errorf("%s: %d kept, %d left out", fact.name, kept, s.number(fact.droppedIn))
		}
	}
	spans := mustSpans(t, Options{}, func(c *Client) {
		_, span := c.StartSpan(context.Background(), "s")
		var attributes []Attr
		many(129, func(i int) { attributes = append(attributes, Int(fmt.Sprint(i), 1)) })
		span.AddEvent("e", append(attributes, Int("0", 2))...)
		span.End()
	})
	event := mustDecode(t, spans[0].find(spanEvents).bytes)
	if len(event.all(eventAttributes)) != 128 || event.number(eventDropped) != 1 {
		t.Errorf("%d attributes of an event, %d left out", len(event.all(eventAttributes)),
			event.number(eventDropped))
	}
}

func many(count int, do func(i int)) {
	for i := 0; i < count; i++ {
		do(i)
	}
}

func TestSpanOfManyGoroutines(t *testing.T) {
	spans := mustSpans(t, Options{}, func(c *Client) {
		_, span := c.StartSpan(context.Background(), "s")
		var wait sync.WaitGroup
		for g := 0; g < 8; g++ {
			wait.Add(1)
			go func() {
				defer wait.Done()
				many(100, func(i int) {
					span.SetAttributes(Int(fmt.Sprint(g), int64(i)))
					span.AddEvent("e")
				})
				span.End()
				span.End()
			}()
		}
		wait.Wait()
	})
	if len(spans) != 1 {
		t.Errorf("%d spans", len(spans))
	}
}

func TestSampleBearsIdsOfSampledSpan(t *testing.T) {
	for _, fact := range []struct {
		name  string
		flags ContextFlags
		ids   bool
	}{{"sampled", FlagSampled, true}, {"not sampled", FlagDecided, false}, {"debug", FlagDebug, true}} {
		f := serve(t)
		c := open(t, f, Options{})
		ctx := ContextWithSpan(context.Background(), SpanContext{TraceID{1}, SpanID{2}, fact.flags, ""})
		track := c.Model("m").BeginContext(ctx)
		track.End(nil)
		mustFlush(t, c)
		s := f.records(batchSample)[0]
		if (s.find(sampleTraceID) != nil) != fact.ids || (s.find(sampleSpanID) != nil) != fact.ids {
			t.Errorf("%s: %v", fact.name, s)
		}
	}
}

func TestSampling(t *testing.T) {
	low, high := TraceID{8: 0x3f, 9: 0xff}, TraceID{8: 0x40}
	for _, fact := range []struct {
		rate          float64
		name, arg     string
		takes, takes2 bool
	}{
		{1, "", "", true, true},
		{0, "", "", true, true},
		{-1, "", "", false, false},
		{0.25, "", "", true, false},
		{0, "traceidratio", "0.25", true, false},
		{0, "parentbased_traceidratio", "0.25", true, false},
		{0, "traceidratio", "nonsense", true, true},
		{0, "traceidratio", "1.5", true, true},
		{0, "parentbased_always_off", "", false, false},
		{0, "always_on", "", true, true},
		{1, "always_off", "", true, true},
	} {
		t.Setenv("OTEL_TRACES_SAMPLER", fact.name)
		t.Setenv("OTEL_TRACES_SAMPLER_ARG", fact.arg)
		s := samplerOf(fact.rate)
		if s.takes(&low) != fact.takes || s.takes(&high) != fact.takes2 {
			t.Errorf("%+v: %v, %v", fact, s.takes(&low), s.takes(&high))
		}
	}
}

const (
	traceText = "0af7651916cd43dd8448eb211c80319c"
	spanText  = "b7ad6b7169203331"
)

func TestExtract(t *testing.T) {
	long := "a=" + strings.Repeat("x", 300) + ",b=" + strings.Repeat("y", 300)
	decided, sampled := FlagRemote|FlagDecided, FlagRemote|FlagDecided|FlagSampled
	for _, fact := range []struct {
		name    string
		headers map[string]string
		want    string // trace-span-flags-state
	}{
		{"nothing", nil, ""},
		{"traceparent", map[string]string{"traceparent": "00-" + traceText + "-" + spanText + "-01",
			"tracestate": " a=1 "},
			fmt.Sprintf("%s-%s-%d-a=1", traceText, spanText, sampled)},
		{"not sampled", map[string]string{"traceparent": "00-" + traceText + "-" + spanText + "-00"},
			fmt.Sprintf("%s-%s-%d-", traceText, spanText, decided)},
		{"a later version", map[string]string{"traceparent": "01-" + traceText + "-" + spanText +
			"-01-more"},
			fmt.Sprintf("%s-%s-%d-", traceText, spanText, sampled)},
		{"more than version 0 has", map[string]string{"traceparent": "00-" + traceText + "-" + spanText +
			"-01-more"}, ""},
		{"version ff", map[string]string{"traceparent": "ff-" + traceText + "-" + spanText + "-01"}, ""},
		{"capitals", map[string]string{"traceparent": "00-" + strings.ToUpper(traceText) + "-" +
			spanText + "-01"}, ""},
		{"no trace", map[string]string{"traceparent": "00-" + strings.Repeat("0", 32) + "-" + spanText +
			"-01"}, ""},
		{"too short", map[string]string{"traceparent": "00-" + traceText + "-" + spanText + "-0"}, ""},
		{"a long state", map[string]string{"traceparent": "00-" + traceText + "-" + spanText + "-01",
			"tracestate": long},
			fmt.Sprintf("%s-%s-%d-%s", traceText, spanText, sampled, long[:302])},
		{"a bad state", map[string]string{"traceparent": "00-" + traceText + "-" + spanText + "-01",
			"tracestate": "a=é"},
			fmt.Sprintf("%s-%s-%d-", traceText, spanText, sampled)},
		{"b3", map[string]string{"b3": traceText + "-" + spanText + "-1"},
			fmt.Sprintf("%s-%s-%d-", traceText, spanText, sampled)},
		{"b3 undecided", map[string]string{"b3": traceText + "-" + spanText},
			fmt.Sprintf("%s-%s-%d-", traceText, spanText, FlagRemote)},
		{"b3 debug, with a parent", map[string]string{"b3": traceText + "-" + spanText + "-d-" + spanText},
			fmt.Sprintf("%s-%s-%d-", traceText, spanText, sampled|FlagDebug)},
		{"b3 of 64 bits", map[string]string{"b3": traceText[16:] + "-" + spanText + "-0"},
			fmt.Sprintf("%032s-%s-%d-", traceText[16:], spanText, decided)},
		{"b3, the decision alone", map[string]string{"b3": "0"},
			fmt.Sprintf("%032d-%016d-%d-", 0, 0, decided)},
		{"b3 of five parts", map[string]string{"b3": traceText + "-" + spanText + "-1-" + spanText +
			"-1"}, ""},
		{"b3 of another state", map[string]string{"b3": traceText + "-" + spanText + "-2"}, ""},
		{"multi", map[string]string{"X-B3-TraceId": strings.ToUpper(traceText), "X-B3-SpanId": spanText,
			"X-B3-Sampled": "TRUE"},
			fmt.Sprintf("%s-%s-%d-", traceText, spanText, sampled)},
		{"multi, debug", map[string]string{"X-B3-TraceId": traceText, "X-B3-SpanId": spanText,
			"X-B3-Flags": "1"},
			fmt.Sprintf("%s-%s-%d-", traceText, spanText, sampled|FlagDebug)},
		{"multi, no span", map[string]string{"X-B3-TraceId": traceText}, ""},
		{"multi, the decision alone", map[string]string{"X-B3-Sampled": "0"},
			fmt.Sprintf("%032d-%016d-%d-", 0, 0, decided)},
		{"traceparent before b3", map[string]string{"traceparent": "00-" + traceText + "-" + spanText +
			"-01", "b3": "0"},
			fmt.Sprintf("%s-%s-%d-", traceText, spanText, sampled)},
		{"b3 where traceparent is bad", map[string]string{"traceparent": "bad", "b3": "1"},
			fmt.Sprintf("%032d-%016d-%d-", 0, 0, sampled)},
	} {
		header := http.Header{}
		for name, value := range fact.headers {
			header.Set(name, value)
		}
		var c *Client // what there is without a client
		got := ""
		if span := current(c.Extract(context.Background(), header)); span != nil {
			got = fmt.Sprintf("%s-%s-%d-%s", span.TraceID, span.SpanID, span.Flags, span.TraceState)
		}
		if got != fact.want {
			t.Errorf("%s:\ngot  %s\nwant %s", fact.name, got, fact.want)
		}
	}
}

func TestInject(t *testing.T) {
	ids := SpanContext{mustTrace(t, traceText), mustSpan(t, spanText), 0, "a=1"}
	of := func(flags ContextFlags) SpanContext {
		with := ids
		with.Flags = flags
		return with
	}
	w3c, b3 := "00-"+traceText+"-"+spanText, traceText+"-"+spanText
	for _, fact := range []struct {
		name    string
		span    SpanContext
		formats Propagation
		want    map[string]string
	}{
		{"W3C", of(FlagSampled), PropagateW3C, map[string]string{"Traceparent": w3c + "-01",
			"Tracestate": "a=1"}},
		{"W3C, not sampled", of(0), PropagateW3C, map[string]string{"Traceparent": w3c + "-00",
			"Tracestate": "a=1"}},
		{"W3C, left to us", of(FlagRemote), PropagateW3C, map[string]string{"Traceparent": w3c + "-01",
			"Tracestate": "a=1"}},
		{"B3", of(FlagSampled), PropagateB3, map[string]string{"B3": b3 + "-1"}},
		{"B3, debug", of(FlagDebug), PropagateB3, map[string]string{"B3": b3 + "-d"}},
		{"B3, undecided", of(FlagRemote), PropagateB3, map[string]string{"B3": b3}},
		{"B3, the decision alone", SpanContext{Flags: FlagRemote | FlagDecided}, PropagateB3,
			map[string]string{"B3": "0"}},
		{"no span, no decision", SpanContext{}, PropagateB3 | PropagateW3C | PropagateB3Multi,
			map[string]string{}},
		{"multi", of(FlagSampled), PropagateB3Multi,
			map[string]string{"X-B3-Traceid": traceText, "X-B3-Spanid": spanText, "X-B3-Sampled": "1"}},
		{"multi, debug", of(FlagDebug), PropagateB3Multi,
			map[string]string{"X-B3-Traceid": traceText, "X-B3-Spanid": spanText, "X-B3-Flags": "1"}},
		{"both", of(FlagSampled), 0, map[string]string{"Traceparent": w3c + "-01", "Tracestate": "a=1",
			"B3": b3 + "-1"}},
		{"none", of(FlagSampled), PropagateNone, map[string]string{}},
	} {
		t.Setenv("OTEL_PROPAGATORS", "")
		c := &Client{options: Options{Propagation: fact.formats.known()}, sampler: sampler{all: true}}
		header := http.Header{}
		c.Inject(ContextWithSpan(context.Background(), fact.span), header)
		got := map[string]string{}
		for name := range header {
			got[name] = header.Get(name)
		}
		if fmt.Sprint(got) != fmt.Sprint(fact.want) {
			t.Errorf("%s:\ngot  %v\nwant %v", fact.name, got, fact.want)
		}
	}
	t.Setenv("OTEL_PROPAGATORS", "b3multi, tracecontext,nonsense")
	if got := Propagation(0).known(); got != PropagateB3Multi|PropagateW3C {
		t.Errorf("by the environment: %d", got)
	}
}

func TestDecisionGoesOn(t *testing.T) {
	for _, fact := range []struct {
		name    string
		headers string // b3
		flags   int    // of the span: -1 not there
	}{
		{"kept outside", traceText + "-" + spanText + "-1", 1},
		{"given up outside", traceText + "-" + spanText + "-0", 0},
		{"left to us", traceText + "-" + spanText, -1},
	} {
		spans := mustSpans(t, Options{}, func(c *Client) {
			ctx := c.Extract(context.Background(), http.Header{"B3": {fact.headers}})
			_, span := c.StartSpan(ctx, "s")
			span.End()
		})
		got := -1
		if f := spans[0].find(spanFlags); f != nil {
			got = int(f.value)
		}
		if got != fact.flags || spans[0].text(spanTraceID) == "" || spans[0].text(spanParentSpanID) == "" {
			t.Errorf("%s: flags %d", fact.name, got)
		}
	}
}

func FuzzExtract(f *testing.F) {
	f.Add("00-"+traceText+"-"+spanText+"-01", "a=1", "0", traceText)
	f.Add("", "", traceText+"-"+spanText+"-d-"+spanText, "")
	f.Fuzz(func(t *testing.T, parent, state, b3, multi string) {
		header := http.Header{"Traceparent": {parent}, "Tracestate": {state}, "B3": {b3},
			"X-B3-Traceid": {multi},
			"X-B3-Spanid":  {multi}, "X-B3-Sampled": {b3}}
		c := &Client{options: Options{Propagation: PropagateW3C | PropagateB3}, sampler: sampler{all: true}}
		span := SpanFromContext(c.Extract(context.Background(), header))
		if span.HasSpan() == (span.TraceID.IsZero() || span.SpanID.IsZero()) ||
			len(span.TraceState) > traceStateMax {
			t.Errorf("%+v", span)
		}
		out := http.Header{}
		c.Inject(ContextWithSpan(context.Background(), span), out)
		if again := SpanFromContext(c.Extract(context.Background(), out)); again.TraceID != span.TraceID ||
			again.SpanID != span.SpanID {
			t.Errorf("%+v came back as %+v", span, again)
		}
	})
}
