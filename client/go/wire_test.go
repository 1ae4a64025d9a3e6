package dwell

import (
	"bytes"
	"encoding/hex"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/dwell/dwell/client/go/internal/hook"
)

// tap opens a client whose frames come to the test, and gives what they hold behind their heads.
func tap(t testing.TB, record func(*Client)) []byte {
	t.Helper()
	var got []byte
	head := []byte{0x0a, 0x10, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0x10, 0, 0x18, 0}
	made := &hook.Tap{Frame: func(frame []byte) {
		if len(got) == 0 && !bytes.HasPrefix(frame[4:], head) {
			t.Errorf("the head is % x", frame[:min(len(frame), 4+len(head))])
		}
		got = append(got, frame[4+len(head):]...)
	}}
	for i := range made.ClientID {
		made.ClientID[i] = byte(i)
	}
	hook.Give(made)
	c := Open(Options{Evidence: EvidenceNone})
	record(c)
	mustFlush(t, c)
	return got
}

// fromHex reads pairs of digits; # begins a comment.
func fromHex(t testing.TB, text string) []byte {
	t.Helper()
	digits := ""
	for _, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		digits += strings.Join(strings.Fields(line), "")
	}
	b, err := hex.DecodeString(digits)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func mustTrace(t testing.TB, text string) (id TraceID) {
	copy(id[:], fromHex(t, text))
	return id
}

func mustSpan(t testing.TB, text string) (id SpanID) {
	copy(id[:], fromHex(t, text))
	return id
}

func everyField(t testing.TB) *Sample {
	return &Sample{
		ModelName: "resnet50", ExecutionTimeMS: 12.5,
		CPUPercentDuring: Num(81.5), MemoryMBAfter: Num(512.25), CPUPercentBefore: Num(3.5),
		MemoryMBBefore: Num(500),
		Error:          true, QueueMS: Num(0.75), BatchSize: Num(8), Device: "cuda:0",
		TraceID: mustTrace(t, "000102030405060708090a0b0c0d0e0f"), SpanID: mustSpan(t, "a0a1a2a3a4a5a6a7"),
		TimestampUnixNano: 1714566600123456789,
		Labels:            []Label{{"env", "prod"}, {"zone", ""}}, ErrorText: "out of memory",
		UserMS: Num(9.5), SystemMS: Num(1.5), RunqueueMS: Num(0.125), MinorFaults: Num(100),
		MajorFaults: Num(2), VoluntarySwitches: Num(7), BytesMoved: Num(1e9), Flops: Num(4e9),
		Threads: Num(4), ProcessCPUMS: Num(12), InvoluntarySwitches: Num(3), DiskBytes: Num(4096),
		ThreadID: 4711,
	}
}

func TestSampleOfEveryFieldIsTheCommonFile(t *testing.T) {
	file, err := os.ReadFile("../../tests/data/wire/frames/valid/every_field.hex")
	if err != nil {
		t.Fatal(err)
	}
	want := fromHex(t, string(file))[8:] // behind the magic and the length
	if got := tap(t, func(c *Client) { c.RecordSample(everyField(t)) }); !bytes.Equal(got, want) {
		t.Errorf("got  % x\nwant % x", got, want)
	}
}

// Bytes of proto/WIRE.md and of tests/data/wire, and by hand.
func TestBytesOfRecords(t *testing.T) {
	trace, span := "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	least := SpanRecord{TraceID: mustTrace(t, trace), SpanID: mustSpan(t, span), Name: "n",
		StartUnixNano: 1,
		EndUnixNano:   2}
	ids := "0a 10" + trace + "12 08" + span
	for _, fact := range []struct {
		name   string
		record func(*Client)
		want   string
	}{
		{"a count", func(c *Client) { c.Counter("requests", "", Int("code", 200)).Add(1) },
			"72 22 0a 08 72 65 71 75 65 73 74 73 18 01 21 00 00 00 00 00 00 f0 3f 2a 0b 0a 04 63" +
				"6f 64 65 1a 03 32 30 30"},
		{"a set, with unit", func(c *Client) { c.Gauge("g", "ms").Set(2) },
			"72 12 0a 01 67 18 02 21 00 00 00 00 00 00 00 40 32 02 6d 73"},
		{"an addition, by the sum", func(c *Client) { c.GaugeOf(AggregationSum, "g", "").Add(-1) },
			"72 10 0a 01 67 18 03 21 00 00 00 00 00 00 f0 bf 38 02"},
		{"an observation", func(c *Client) { c.Histogram("h", "").Observe(0.5) },
			"72 0e 0a 01 68 18 04 21 00 00 00 00 00 00 e0 3f"},
		{"an info", func(c *Client) { c.Info("i", Bool("a", true)) },
			"72 10 0a 01 69 18 05 2a 09 0a 01 61 1a 04 74727565"},
		{"a metric of every field", func(c *Client) {
			c.RecordMetric(&Metric{Op: OpObserve, Name: "h", Value: 0.5, TraceID: mustTrace(t, trace),
				SpanID: mustSpan(t, span), TimestampUnixNano: 1, Weight: 300})
		}, "72 36 0a 01 68 18 04 21 00 00 00 00 00 00 e0 3f 42 10" + trace + "4a 08" + span +
			"51 01 00 00 00 00 00 00 00 58 ac 02"},
		{"a null attribute is not there", func(c *Client) {
			c.Counter("n", "", Attr{Key: "a"},
				String("b", "")).Add(0)
		},
			"72 15 0a 01 6e 18 01 21 00 00 00 00 00 00 00 00 2a 05 0a 01 62 1a 00"},
		{"a layer", func(c *Client) {
			c.RecordBudget(&BudgetRecord{Layer: "layer3_policy",
				ElapsedMS: 12.5})
		},
			"7a 18 0a 0d 6c 61 79 65 72 33 5f 70 6f 6c 69 63 79 11 00 00 00 00 00 00 29 40"},
		{"a layer with all", func(c *Client) {
			c.RecordBudget(&BudgetRecord{Layer: "a", ElapsedMS: 1, BeforeMS: Num(2), Operation: "o",
				RequestID: "r",
				TraceID:   mustTrace(t, trace), SpanID: mustSpan(t,
					span), TimestampUnixNano: 3, Decision: NotSampled})
		}, "7a 45 0a 01 61 11 00 00 00 00 00 00 f0 3f 1a 01 6f 22 01 72 2a 10" + trace + "32 08" + span +
			"39 03 00 00 00 00 00 00 00 45 00 00 00 00 49 00 00 00 00 00 00 00 40"},
		{"the least span", func(c *Client) { c.RecordSpan(&least) },
			"6a 31" + ids + "2a 01 6e 39 01 00 00 00 00 00 00 00 41 02 00 00 00 00 00 00 00"},
		{"a span with an attribute", func(c *Client) {
			s := least
			s.Attributes = []Attr{String("device", "gpu")}
			c.RecordSpan(&s)
		}, "6a 42" + ids + "2a 01 6e 39 01 00 00 00 00 00 00 00 41 02 00 00 00 00 00 00 00" +
			"4a 0f 0a 06 64 65 76 69 63 65 12 05 0a 03 67 70 75"},
		{"a span of every field", func(c *Client) {
			s := SpanRecord{TraceID: mustTrace(t, trace), SpanID: mustSpan(t, span), TraceState: "a=1",
				ParentSpanID: mustSpan(t, "31332069716badb7"), Name: "GET /", Kind: KindServer,
				StartUnixNano: 5, EndUnixNano: 9, DroppedAttributes: 3, DroppedEvents: 4, DroppedLinks: 5,
				Status: Status{StatusError, "bad"}, Decision: Sampled, ServiceName: "bus"}
			c.RecordSpan(&s)
		}, "6a 61" + ids +
			"1a 03 61 3d 31 22 08 31 33 20 69 71 6b ad b7 2a 05 47 45 54 20 2f 30 02" +
			"39 05 00 00 00 00 00 00" +
			"00 41 09 00 00 00 00 00 00 00 50 03 60 04 70 05 7a 07 12 03 62 61 64 18 02 85 01 01" +
			"00 00 00 aa 06 03 62 75 73"},
		{"a value of each kind", func(c *Client) {
			s := least
			s.Attributes = []Attr{String("text", "a"), Int("whole", 8), Int("negative", -8),
				Float("fraction", 0.5),
				Bool("yes", true), Bool("no", false), {"list", ListValue(StringValue("a"), IntValue(1),
					Value{})},
				{"map", MapValue(Int("k", 1))}, {"bytes", BytesValue([]byte{0xff, 0})}, {Key: "none"}}
			c.RecordSpan(&s)
		}, "6a d4 01" + ids + "2a 01 6e 39 01 00 00 00 00 00 00 00" +
			"41 02 00 00 00 00 00 00 00 4a 0b 0a 04 74 65 78 74 12 03 0a 01" +
			"61 4a 0b 0a 05 77 68 6f 6c 65 12 02 18 08 4a 17 0a 08 6e 65 67 61 74 69 76 65 12 0b" +
			"18 f8 ff ff" +
			"ff ff ff ff ff ff 01 4a 15 0a 08 66 72 61 63 74 69 6f 6e 12 09 21 00 00 00 00 00 00" +
			"e0 3f 4a 09" +
			"0a 03 79 65 73 12 02 10 01 4a 08 0a 02 6e 6f 12 02 10 00 4a 15 0a 04 6c 69 73 74 12" +
			"0d 2a 0b 0a" +
			"03 0a 01 61 0a 02 18 01 0a 00 4a 12 0a 03 6d 61 70 12 0b 32 09 0a 07 0a 01 6b 12 02" +
			"18 01 4a 0d" +
			"0a 05 62 79 74 65 73 12 04 3a 02 ff 00 4a 08 0a 04 6e 6f 6e 65 12 00"},
		{"halves", func(c *Client) {
			s := least
			s.Part, s.EndUnixNano = PartStart, 0
			c.RecordSpan(&s)
			s.Part, s.StartUnixNano, s.EndUnixNano = PartEnd, 0, 2
			c.RecordSpan(&s)
		}, "6a 2b" + ids + "2a 01 6e 39 01 00 00 00 00 00 00 00 a0 06 01" +
			"6a 2b" + ids + "2a 01 6e 41 02 00 00 00 00 00 00 00 a0 06 02"},
	} {
		got, want := tap(t, fact.record), fromHex(t, fact.want)
		if !bytes.Equal(got, want) {
			t.Errorf("%s:\ngot  % x\nwant % x", fact.name, got, want)
		}
	}
}

func TestEventsAndLinks(t *testing.T) {
	trace, span := mustTrace(t, "0af7651916cd43dd8448eb211c80319c"), mustSpan(t, "b7ad6b7169203331")
	got := tap(t, func(c *Client) {
		c.RecordSpan(&SpanRecord{TraceID: trace, SpanID: span, Name: "n", StartUnixNano: 1, EndUnixNano: 2,
			Events: []Event{{"exception", 5, []Attr{String("exception.type", "E")}}, {"", 0, nil}},
			Links: []Link{{SpanContext{trace, span, FlagDecided | FlagSampled, "a=1"},
				[]Attr{Int("k", 1)}}}})
	})
	s := mustDecode(t, mustDecode(t, got)[0].bytes)
	events, links := s.all(spanEvents), s.all(spanLinks)
	if len(events) != 2 || len(links) != 1 {
		t.Fatalf("%d events, %d links", len(events), len(links))
	}
	event, link := mustDecode(t, events[0].bytes), mustDecode(t, links[0].bytes)
	attribute := mustDecode(t, event.find(eventAttributes).bytes)
	if event.number(eventTime) != 5 || event.text(eventName) != "exception" ||
		attribute.text(keyValueKey) != "exception.type" {
		t.Errorf("the event is %v", event)
	}
	if link.text(linkTraceID) != string(trace[:]) || link.text(linkSpanID) != string(span[:]) ||
		link.text(linkTraceState) != "a=1" || link.number(linkFlags) != 1 ||
		link.find(linkAttributes) == nil {
		t.Errorf("the link is %v", link)
	}
}

// Whatever is given: it is sent as it is, or dropped and counted, and what is behind it arrives.
func TestValuesOfAllSorts(t *testing.T) {
	names := []string{"", "m", "模型", "модель", "نموذج", "मॉडल", "🧠🚀", "a\x00b", "\xff\xfe",
		"name with \"quotes\"\n",
		strings.Repeat("é", 128), strings.Repeat("x", 257), strings.Repeat("x", recordBodyMax-12),
		strings.Repeat("x", recordBodyMax-11), strings.Repeat("x", 1<<20)}
	numbers := []float64{0, math.Copysign(0, -1), -1, 1e12, 1e300, math.MaxFloat64,
		math.SmallestNonzeroFloat64,
		math.NaN(), math.Inf(1), math.Inf(-1)}
	f := serve(t)
	c := open(t, f, Options{})
	want := 0
	for _, name := range names {
		fits := len(name) <= recordBodyMax-12 // tag 1, length 2, tag and time 9
		for i := 0; i < 2 && fits; i++ {
			want++
		}
		track := c.Model(name).Begin()
		track.End(nil)
		c.RecordSample(&Sample{ModelName: name, ExecutionTimeMS: 1})
	}
	for _, number := range numbers {
		want += 2
		c.RecordSample(&Sample{ModelName: "n", ExecutionTimeMS: number, QueueMS: Num(number)})
		c.Gauge("g", "").Set(number)
	}
	mustFlush(t, c)
	got := len(f.records(batchSample)) + len(f.records(batchMetric))
	if got != want {
		t.Errorf("%d records came, expects %d", got, want)
	}
	for i, r := range f.records(batchMetric) {
		if math.Float64bits(r.double(metricValue)) != math.Float64bits(numbers[i]) {
			t.Errorf("%v came as %v", numbers[i], r.double(metricValue))
		}
	}
	if s := c.Stats(); s.Dropped != uint64(2*len(names)+2*len(numbers)-want) {
		t.Errorf("%+v", s)
	}
	mustCloseClient(t, c)
	f.mustClose(t, c)
}

func TestErrorTexts(t *testing.T) {
	long := strings.Repeat("é", errorTextMax)
	for _, fact := range []struct{ text, want string }{
		{"plain", "plain"},
		{"a\x00b", "a\uFFFDb"},
		{"a\xffb", "a\uFFFDb"},
		{strings.Repeat("x", errorTextMax), strings.Repeat("x", errorTextMax)},
		{strings.Repeat("x", errorTextMax+1), strings.Repeat("x", errorTextMax)},
		{long, long[:errorTextMax]},
		{"x" + long, ("x" + long)[:errorTextMax-1]},
	} {
		if got := errorText(textError(fact.text)); got != fact.want {
			t.Errorf("%.20q: %d bytes, expects %d: %.20q", fact.text, len(got), len(fact.want), got)
		}
	}
	if got := errorText((*badError)(nil)); got != "" {
		t.Errorf("an error that panics says %q", got)
	}
}

type textError string

func (e textError) Error() string { return string(e) }

type badError struct{ text string }

func (e *badError) Error() string { return e.text }

func TestFramesAreFullButNoFuller(t *testing.T) {
	f := serve(t)
	c := open(t, f, Options{BufferBytes: bufferBytesMax})
	const samples = 3000
	for i := 0; i < samples; i++ {
		c.RecordSample(&Sample{ModelName: strings.Repeat("x", 1+i%200), ExecutionTimeMS: 1})
	}
	mustFlush(t, c) // the listener holds frames against their ceiling
	if got := len(f.records(batchSample)); got != samples {
		t.Errorf("%d samples", got)
	}
	if batches := len(f.all()); batches > 20 {
		t.Errorf("%d batches for some 400 kB", batches)
	}
}

func FuzzRecords(f *testing.F) {
	f.Add("m", 1.5, uint64(7), "k", "v", int64(-3), true)
	f.Add("", math.NaN(), uint64(0), "", "", int64(math.MinInt64), false)
	f.Add(strings.Repeat("长", 5000), math.Inf(1), uint64(math.MaxUint64), "\xff", "\x00", int64(1), true)
	f.Fuzz(func(t *testing.T, name string, number float64, whole uint64, key, value string, integer int64,
		truth bool) {
		trace, span := TraceID{1, byte(whole)}, SpanID{2, byte(whole)}
		attributes := []Attr{String(key, value), Int(key, integer), Float(key, number), Bool(key, truth),
			Strings(key, value, name), Ints(key, integer), {key, MapValue(String(key, value))}, {key,
				BytesValue([]byte(value))}}
		records := []func(*Client){
			func(c *Client) {
				c.RecordSample(&Sample{ModelName: name, ExecutionTimeMS: number, QueueMS: Num(number),
					Error:     truth,
					ErrorText: value, Device: key, TraceID: trace, SpanID: span, TimestampUnixNano: whole,
					Labels: []Label{{key, value}}, ThreadID: whole})
			},
			func(c *Client) {
				c.RecordMetric(&Metric{Op: OpObserve, Name: name, Value: number, Unit: key,
					Attributes:        attributes,
					TimestampUnixNano: whole, Weight: whole})
			},
			func(c *Client) { c.Counter(name, key, attributes...).Add(number) },
			func(c *Client) {
				c.RecordBudget(&BudgetRecord{Layer: name, ElapsedMS: number,
					Operation: value})
			},
			func(c *Client) {
				c.RecordSpan(&SpanRecord{TraceID: trace, SpanID: span, Name: name, StartUnixNano: whole,
					Attributes: attributes, Events: []Event{{name, whole, attributes}},
					Links: []Link{{SpanContext{trace, span, FlagDecided, value},
						attributes}}, Status: Status{2, value}})
			},
		}
		for i, record := range records {
			got := tap(t, record)
			if len(got) == 0 {
				continue // too long: dropped
			}
			outer := mustDecode(t, got)
			if len(outer) != 1 {
				t.Fatalf("record %d became %d", i, len(outer))
			}
			inner := mustDecode(t, outer[0].bytes)
			text, at := uint64(1), uint64(3)
			switch outer[0].number {
			case batchMetric:
				at = metricValue
			case batchBudget:
				at = budgetElapsed
			case batchSpan:
				text, at = spanName, 0
			}
			if inner.text(text) != name {
				t.Errorf("record %d: the name is %q", i, inner.text(text))
			}
			if at != 0 && math.Float64bits(inner.double(at)) != math.Float64bits(number) {
				t.Errorf("record %d: %v became %v", i, number, inner.double(at))
			}
		}
	})
}
