package dwell

// Counters, gauges, histograms and infos.
//
//	requests := client.Counter("http.requests", "", dwell.Int("code", 200))   // once
//	requests.Add(1)
//
// A handle is one series: its name, unit and attributes. The bytes of its records are made once but for
// the value, and the daemon remembers them: proto/WIRE.md, "The quick way".

const (
	metricName        = 1
	metricOp          = 3
	metricValue       = 4
	metricAttribute   = 5
	metricUnit        = 6
	metricAggregation = 7
	metricTraceID     = 8
	metricSpanID      = 9
	metricTimestamp   = 10
	metricWeight      = 11

	attributeKey   = 1
	attributeValue = 3

	// Handles that are kept; past them each call makes one of its own.
	seriesMax = 4096
)

// Op is what a metric record does to its series.
type Op uint8

const (
	OpCount   Op = 1 // adds the value, 0 or more, to a counter
	OpSet     Op = 2 // sets a gauge to the value
	OpAdd     Op = 3 // adds the value to a gauge
	OpObserve Op = 4 // puts the value into a histogram
	OpInfo    Op = 5 // says that the attributes hold; no value
)

// Aggregation is how the values that several processes give to one gauge become one.
type Aggregation uint8

const (
	AggregationUnsaid Aggregation = iota // the last value that was set, and the sum of what was added
	AggregationLast
	AggregationSum
	AggregationMax
	AggregationMin
	AggregationPerPID // a series for each process
)

// Metric is one change of a counter, gauge, histogram or info. Required: Op, Name and, but for an info,
// Value. The name on /metrics is made from Name and Unit.
type Metric struct {
	Op          Op
	Aggregation Aggregation // of a gauge
	Name        string      // 1 to 256 bytes
	Value       float64
	Unit        string // "ms", "By", …, at most 32 bytes
	Attributes  []Attr // at most 32; texts, whole numbers and bools; one that is null is not there

	TraceID           TraceID // shown as exemplar of a count or observation
	SpanID            SpanID
	TimestampUnixNano uint64 // of the exemplar; 0: not sent
	Weight            uint64 // how many values this one of a histogram stands for; 0: not said, one
}

// RecordMetric records a metric as it is. Nil is a no-op.
func (c *Client) RecordMetric(metric *Metric) {
	if c == nil || metric == nil {
		return
	}
	scratch := c.scratchTake()
	*scratch = metric.append(recordBegin(*scratch))
	c.putRecord(c.now(), *scratch, batchMetric)
	c.scratchGive(scratch)
}

func (m *Metric) append(b []byte) []byte {
	b = appendNumber(appendText(b, metricName, m.Name), metricOp, uint64(m.Op))
	if m.Op != OpInfo {
		b = appendDouble(b, metricValue, m.Value)
	}
	for i := range m.Attributes {
		if text, is := m.Attributes[i].Value.label(); is {
			b = appendPair(b, metricAttribute, m.Attributes[i].Key, text, attributeValue)
		}
	}
	b = appendSome(b, metricUnit, m.Unit)
	b = appendSeen(b, metricAggregation, uint64(m.Aggregation))
	b = m.TraceID.append(b, metricTraceID)
	b = m.SpanID.append(b, metricSpanID)
	if m.TimestampUnixNano != 0 {
		b = appendFixed64(b, metricTimestamp, m.TimestampUnixNano)
	}
	return appendSeen(b, metricWeight, m.Weight)
}

// series is what handles are made of.
type series struct {
	client *Client
	record []byte // nil: too long, its records are dropped and counted
	hole   int
}

func (s *series) put(stamp int64, value float64) {
	s.client.put(stamp, s.record, s.hole, value)
}

// seriesOf gives the series of a metric, whose value does not matter; for the same one the same.
func (c *Client) seriesOf(metric Metric) *series {
	metric.Value = 0
	body := metric.append(recordBegin(nil))
	record := recordEnd(body, batchMetric)
	if record == nil {
		return &series{client: c}
	}
	c.mu.RLock()
	s := c.series[string(record)]
	c.mu.RUnlock()
	if s != nil {
		return s
	}
	before := len(body) - len(record)
	value := recordPrefixBytes + 1 + uvarintBytes(uint64(len(metric.Name))) + len(metric.Name) + 2
	s = &series{client: c, record: record, hole: value + 1 - before}
	c.mu.Lock()
	defer c.mu.Unlock()
	if known := c.series[string(record)]; known != nil {
		return known
	}
	if len(c.series) < seriesMax {
		c.series[string(record)] = s
	}
	return s
}

// Counter is a total that never falls.
type Counter struct{ *series }

// Counter returns the handle of a series. Name is what the service calls it, in any characters; unit may
// be empty. Make it outside of the hot path.
func (c *Client) Counter(name, unit string, attributes ...Attr) *Counter {
	if c == nil {
		return nil
	}
	return &Counter{c.seriesOf(Metric{Op: OpCount, Name: name, Unit: unit, Attributes: attributes})}
}

// Add adds a value of 0 to 1e300.
func (c *Counter) Add(value float64) {
	if c != nil {
		c.put(0, value)
	}
}

// Histogram is a distribution of values.
type Histogram struct{ *series }

// Histogram returns the handle of a series.
func (c *Client) Histogram(name, unit string, attributes ...Attr) *Histogram {
	if c == nil {
		return nil
	}
	return &Histogram{c.seriesOf(Metric{Op: OpObserve, Name: name, Unit: unit, Attributes: attributes})}
}

// Observe puts a value into the distribution, -1e300 to 1e300.
func (h *Histogram) Observe(value float64) {
	if h != nil {
		h.put(0, value)
	}
}

// Gauge is a figure that goes up and down.
type Gauge struct {
	set, add *series
}

// Gauge returns the handle of a series.
func (c *Client) Gauge(name, unit string, attributes ...Attr) *Gauge {
	return c.GaugeOf(AggregationUnsaid, name, unit, attributes...)
}

// GaugeOf is Gauge with a way in which the values of several processes become one.
func (c *Client) GaugeOf(aggregation Aggregation, name, unit string, attributes ...Attr) *Gauge {
	if c == nil {
		return nil
	}
	metric := Metric{Op: OpSet, Aggregation: aggregation, Name: name, Unit: unit, Attributes: attributes}
	set := c.seriesOf(metric)
	metric.Op = OpAdd
	return &Gauge{set: set, add: c.seriesOf(metric)}
}

// Set makes value what the gauge shows; any number.
func (g *Gauge) Set(value float64) {
	if g != nil {
		g.set.put(g.set.client.now(), value)
	}
}

// Add changes the gauge by a value, -1e300 to 1e300. What a process added ends with it.
func (g *Gauge) Add(value float64) {
	if g != nil {
		g.add.put(g.add.client.now(), value)
	}
}

// GaugeAdd changes a gauge once, without a handle.
func (c *Client) GaugeAdd(name, unit string, delta float64, attributes ...Attr) {
	c.RecordMetric(&Metric{Op: OpAdd, Name: name, Unit: unit, Value: delta, Attributes: attributes})
}

// Info says that attributes hold, one at least: a version, a commit.
func (c *Client) Info(name string, attributes ...Attr) {
	c.RecordMetric(&Metric{Op: OpInfo, Name: name, Attributes: attributes})
}
