package main

// What a line says, as a call.

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	dwell "github.com/dwell/dwell/client/go"
)

// reader takes fields out of a line; the first that is wrong is kept.
type reader struct {
	*node
	err error
}

func record(client *dwell.Client, line *node) error {
	r := &reader{node: line}
	switch kind := line.text("type"); kind {
	case "", "sample":
		client.RecordSample(r.sample())
	case "counter":
		client.RecordMetric(r.metric(dwell.OpCount, "value"))
	case "gauge":
		if line.get("delta") != nil {
			client.RecordMetric(r.metric(dwell.OpAdd, "delta"))
		} else {
			client.RecordMetric(r.metric(dwell.OpSet, "value"))
		}
	case "histogram":
		client.RecordMetric(r.metric(dwell.OpObserve, "value"))
	case "info":
		client.RecordMetric(r.metric(dwell.OpInfo, ""))
	case "span":
		client.RecordSpan(r.span(dwell.PartWhole))
	case "span_start":
		client.RecordSpan(r.span(dwell.PartStart))
	case "span_end":
		client.RecordSpan(r.span(dwell.PartEnd))
	case "budget":
		client.RecordBudget(r.budget())
	case "hello", "flush", "goodbye":
	default:
		return fmt.Errorf("type %q is unknown", kind)
	}
	return r.err
}

func (r *reader) fail(key string, what any) {
	if r.err == nil {
		r.err = fmt.Errorf("%s: %v makes no sense", key, what)
	}
}

func (r *reader) number(key string) dwell.Number {
	found := r.get(key)
	if found == nil {
		return dwell.Number{}
	}
	switch scalar := found.scalar.(type) {
	case json.Number:
		number, err := strconv.ParseFloat(scalar.String(), 64)
		if err != nil {
			r.fail(key, scalar)
		}
		return dwell.Num(number)
	case string:
		switch scalar {
		case "NaN":
			return dwell.Num(math.NaN())
		case "+Inf":
			return dwell.Num(math.Inf(1))
		case "-Inf":
			return dwell.Num(math.Inf(-1))
		}
	}
	r.fail(key, found.scalar)
	return dwell.Number{}
}

func (r *reader) float(key string) float64 {
	number, _ := r.number(key).Get()
	return number
}

// whole reads a number of 64 bits, which may be written as text.
func (r *reader) whole(key string) uint64 {
	found := r.get(key)
	if found == nil {
		return 0
	}
	number, err := strconv.ParseUint(fmt.Sprint(found.scalar), 10, 64)
	if err != nil {
		r.fail(key, found.scalar)
	}
	return number
}

func (r *reader) id(into []byte, key string) {
	text := r.text(key)
	if text == "" {
		return
	}
	if count, err := hex.Decode(into, []byte(text)); err != nil || count != len(into) {
		r.fail(key, text)
	}
}

func (r *reader) time(key string) uint64 {
	text := r.text(key)
	if text == "" {
		return 0
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999",
		"2006-01-02 15:04:05.999999999"} {
		if at, err := time.Parse(layout, text); err == nil {
			return uint64(at.UnixNano())
		}
	}
	r.fail(key, text)
	return 0
}

func (r *reader) truth(key string) (is, given bool) {
	found := r.get(key)
	if found == nil {
		return false, false
	}
	is, given = found.scalar.(bool)
	return is, given
}

func (r *reader) decision(key string) dwell.Decision {
	is, given := r.truth(key)
	switch {
	case !given:
		return dwell.Undecided
	case is:
		return dwell.Sampled
	}
	return dwell.NotSampled
}

func (r *reader) sample() *dwell.Sample {
	s := &dwell.Sample{
		ModelName:           r.text("model_name"),
		ExecutionTimeMS:     r.float("execution_time_ms"),
		CPUPercentBefore:    r.number("cpu_percent_before"),
		CPUPercentDuring:    r.number("cpu_percent_during"),
		MemoryMBBefore:      r.number("memory_mb_before"),
		MemoryMBAfter:       r.number("memory_mb_after"),
		QueueMS:             r.number("queue_ms"),
		BatchSize:           r.number("batch_size"),
		ErrorText:           r.text("error"),
		Device:              r.text("device"),
		TimestampUnixNano:   r.time("timestamp"),
		UserMS:              r.number("user_ms"),
		SystemMS:            r.number("system_ms"),
		RunqueueMS:          r.number("runqueue_ms"),
		MinorFaults:         r.number("minor_faults"),
		MajorFaults:         r.number("major_faults"),
		VoluntarySwitches:   r.number("voluntary_switches"),
		BytesMoved:          r.number("bytes_moved"),
		Flops:               r.number("flops"),
		Threads:             r.number("threads"),
		ProcessCPUMS:        r.number("process_cpu_ms"),
		InvoluntarySwitches: r.number("involuntary_switches"),
		DiskBytes:           r.number("disk_bytes"),
		ThreadID:            r.whole("thread_id"),
	}
	s.Error, _ = r.truth("error")
	r.id(s.TraceID[:], "trace_id")
	r.id(s.SpanID[:], "span_id")
	if labels := r.get("labels"); labels != nil {
		for _, m := range labels.members {
			s.Labels = append(s.Labels, dwell.Label{Key: m.key, Value: fmt.Sprint(m.value.scalar)})
		}
	}
	return s
}

func (r *reader) metric(op dwell.Op, key string) *dwell.Metric {
	m := &dwell.Metric{
		Op:                op,
		Name:              r.text("name"),
		Unit:              r.text("unit"),
		Attributes:        r.labels(),
		TimestampUnixNano: r.time("timestamp"),
	}
	if key != "" {
		m.Value = r.float(key)
	}
	words := []string{"", "last", "sum", "max", "min", "per_pid"}
	for i, word := range words {
		if r.text("aggregation") == word {
			m.Aggregation = dwell.Aggregation(i)
		}
	}
	r.id(m.TraceID[:], "trace_id")
	r.id(m.SpanID[:], "span_id")
	return m
}

// labels reads the attributes of a metric: texts, of whole numbers up to 2^64 - 1, too.
func (r *reader) labels() []dwell.Attr {
	all := r.attributes(r.node)
	for i := range all {
		number, is := r.get("attributes").members[i].value.scalar.(json.Number)
		if !is {
			continue
		}
		if _, err := strconv.ParseUint(number.String(), 10, 64); err == nil {
			all[i].Value = dwell.StringValue(number.String())
		}
	}
	return all
}

// attributes reads the member of that name.
func (r *reader) attributes(of *node) (all []dwell.Attr) {
	found := of.get("attributes")
	if found == nil {
		return nil
	}
	for _, m := range found.members {
		all = append(all, dwell.Attr{Key: m.key, Value: r.value(m.value)})
	}
	return all
}

// value: a number without fraction and exponent stays whole.
func (r *reader) value(n *node) dwell.Value {
	if n.kind == '[' {
		var list []dwell.Value
		for _, item := range n.items {
			list = append(list, r.value(item))
		}
		return dwell.ListValue(list...)
	}
	switch scalar := n.scalar.(type) {
	case string:
		return dwell.StringValue(scalar)
	case bool:
		return dwell.BoolValue(scalar)
	case json.Number:
		text := scalar.String()
		if !strings.ContainsAny(text, ".eE") {
			if number, err := strconv.ParseInt(text, 10, 64); err == nil {
				return dwell.IntValue(number)
			}
		}
		number, err := strconv.ParseFloat(text, 64)
		if err != nil {
			r.fail("attributes", text)
		}
		return dwell.FloatValue(number)
	}
	return dwell.Value{}
}

func (r *reader) span(part dwell.Part) *dwell.SpanRecord {
	s := &dwell.SpanRecord{
		TraceState:    r.text("trace_state"),
		Name:          r.text("name"),
		StartUnixNano: r.whole("start_time_unix_nano"),
		EndUnixNano:   r.whole("end_time_unix_nano"),
		Attributes:    r.attributes(r.node),
		Decision:      r.decision("sampled"),
		Part:          part,
		ServiceName:   r.text("service_name"),
	}
	r.id(s.TraceID[:], "trace_id")
	r.id(s.SpanID[:], "span_id")
	r.id(s.ParentSpanID[:], "parent_span_id")
	for i, word := range []string{"unspecified", "internal", "server", "client", "producer", "consumer"} {
		if r.text("kind") == word {
			s.Kind = dwell.Kind(i)
		}
	}
	if status := r.get("status"); status != nil {
		s.Status.Message = status.text("message")
		for i, word := range []string{"unset", "ok", "error"} {
			if status.text("code") == word {
				s.Status.Code = dwell.StatusCode(i)
			}
		}
	}
	if events := r.get("events"); events != nil {
		for _, item := range events.items {
			e := &reader{node: item}
			s.Events = append(s.Events, dwell.Event{Name: e.text("name"),
				TimeUnixNano: e.whole("time_unix_nano"),
				Attributes:   r.attributes(item)})
		}
	}
	if links := r.get("links"); links != nil {
		for _, item := range links.items {
			l := &reader{node: item}
			link := dwell.Link{Attributes: r.attributes(item)}
			link.Context.TraceState = l.text("trace_state")
			l.id(link.Context.TraceID[:], "trace_id")
			l.id(link.Context.SpanID[:], "span_id")
			s.Links = append(s.Links, link)
		}
	}
	return s
}

func (r *reader) budget() *dwell.BudgetRecord {
	b := &dwell.BudgetRecord{
		Layer:             r.text("layer"),
		ElapsedMS:         r.float("elapsed_ms"),
		BeforeMS:          r.number("before_ms"),
		Operation:         r.text("operation"),
		RequestID:         r.text("request_id"),
		TimestampUnixNano: r.time("timestamp"),
		Decision:          r.decision("sampled"),
	}
	r.id(b.TraceID[:], "trace_id")
	r.id(b.SpanID[:], "span_id")
	return b
}
