package dwell

// What recording allocates: nothing. And how long it takes, by go test -bench.

import (
	"context"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"
)

// drain listens and reads, and that is all.
func drain(t testing.TB) string {
	directory := t.TempDir()
	listener, err := net.Listen("unix", filepath.Join(directory, socketName))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(io.Discard, conn) }()
		}
	}()
	return directory
}

func openDrained(t testing.TB, evidence Evidence) *Client {
	c := Open(Options{Directory: drain(t), Evidence: evidence, BufferBytes: bufferBytesMax})
	t.Cleanup(func() { shut(c) })
	return c
}

// calls are those that must not allocate.
func calls(c *Client) map[string]func() {
	model := c.Model("resnet50")
	counter := c.Counter("http.requests", "", Int("code", 200))
	gauge := c.Gauge("queue.depth", "")
	histogram := c.Histogram("http.time", "ms", String("path", "/v1"))
	sample := Sample{ModelName: "resnet50", ExecutionTimeMS: 12.5, CPUPercentDuring: Num(80),
		MemoryMBAfter: Num(512)}
	metric := Metric{Op: OpCount, Name: "jobs.done", Value: 1}
	ctx := ContextWithSpan(context.Background(), SpanContext{TraceID{1}, SpanID{2}, FlagSampled, ""})
	budget := c.Budget(0)
	return map[string]func(){
		"track":           func() { track := model.Begin(); track.End(nil) },
		"track in a span": func() { track := model.BeginContext(ctx); track.End(nil) },
		"track with more": func() { track := model.Begin(); track.EndWith(&sample) },
		"sample":          func() { c.RecordSample(&sample) },
		"counter":         func() { counter.Add(1) },
		"gauge, set":      func() { gauge.Set(17) },
		"gauge, added to": func() { gauge.Add(-1) },
		"histogram":       func() { histogram.Observe(12.5) },
		"metric as it is": func() { c.RecordMetric(&metric) },
		"layer of a budget": func() {
			budget.Start(Layer3Policy)
			budget.Stop(ctx, Layer3Policy,
				"evaluate")
		},
	}
}

func TestNoAllocation(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool forget")
	}
	for _, evidence := range []Evidence{EvidenceNone, EvidenceCPU} {
		for name, call := range calls(openDrained(t, evidence)) {
			call() // the first of a shard gets its buffer
			if got := testing.AllocsPerRun(2000, call); got >= 1 {
				t.Errorf("%s, evidence %d: %v allocations", name, evidence, got)
			}
		}
	}
}

func BenchmarkClockPair(b *testing.B) {
	epoch := time.Now()
	var sum time.Duration
	for i := 0; i < b.N; i++ {
		sum += -time.Since(epoch) + time.Since(epoch)
	}
	b.ReportMetric(float64(sum)/float64(b.N), "ns-between")
}

func BenchmarkCalls(b *testing.B) {
	for name, call := range calls(openDrained(b, EvidenceNone)) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; i < b.N; i++ {
				call()
			}
		})
	}
}

func BenchmarkTrackCPU(b *testing.B) {
	model := openDrained(b, EvidenceCPU).Model("resnet50")
	b.ReportAllocs()
	for i := 0; i < b.N; i++ {
		track := model.Begin()
		track.End(nil)
	}
}

func BenchmarkTrackParallel(b *testing.B) {
	model := openDrained(b, EvidenceNone).Model("resnet50")
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			track := model.Begin()
			track.End(nil)
		}
	})
}

func BenchmarkSpan(b *testing.B) {
	c := openDrained(b, EvidenceNone)
	b.ReportAllocs()
	for i := 0; i < b.N; i++ {
		_, span := c.StartSpan(context.Background(), "POST /v1/infer", String("device", "cpu"),
			Int("batch", 8))
		span.End()
	}
}
