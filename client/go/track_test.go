package dwell

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"
)

// spin computes for a while, on the thread that it is on.
func spin(d time.Duration) (sum int) {
	for started := time.Now(); time.Since(started) < d; {
		sum++
	}
	return sum
}

func TestEvidence(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("readings are Linux's")
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for _, evidence := range []Evidence{EvidenceNone, EvidenceCPU, EvidenceFull} {
		f := serve(t)
		c := open(t, f, Options{Evidence: evidence})
		began := time.Now()
		track := c.Model("m").Begin()
		spin(5 * time.Millisecond)
		track.End(nil)
		took := time.Since(began)
		mustCloseClient(t, c)
		s := f.records(batchSample)[0]
		fields := []uint64{sampleCPUDuring, sampleTimestamp, sampleUser, sampleSystem, sampleMinorFaults,
			sampleMajorFaults,
			sampleVoluntary, sampleInvoluntary, sampleDiskBytes, sampleThreadID}
		for _, field := range fields {
			if (s.find(field) != nil) != (evidence >= EvidenceCPU) {
				t.Errorf("evidence %d: field %d", evidence, field)
			}
		}
		for _, field := range []uint64{sampleProcessCPU, sampleMemoryAfter} {
			if (s.find(field) != nil) != (evidence == EvidenceFull) {
				t.Errorf("evidence %d: field %d", evidence, field)
			}
		}
		if evidence == EvidenceNone {
			continue
		}
		cpu, used := s.double(sampleCPUDuring), s.double(sampleUser)+s.double(sampleSystem)
		if cpu <= 0 || cpu > 100 || used > float64(took)/1e6 || used <= 0 {
			t.Errorf("evidence %d: %v %%, %v of %v", evidence, cpu, used, took)
		}
		if ended := s.number(sampleTimestamp); ended < uint64(began.UnixNano()) ||
			ended > uint64(time.Now().UnixNano()) {
			t.Errorf("it ended at %d", ended)
		}
		if c.Stats().Evidence != 1 {
			t.Errorf("%+v", c.Stats())
		}
	}
}

func TestEvidenceOfAnotherThreadIsLeftOut(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("readings are Linux's")
	}
	f := serve(t)
	c := open(t, f, Options{Evidence: EvidenceCPU})
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	track := c.Model("m").Begin()
	if track.before == nil {
		t.Fatal("the first inference has no reading")
	}
	done := make(chan struct{})
	go func() { // on another thread, since this one is ours
		track.End(nil)
		close(done)
	}()
	<-done
	mustCloseClient(t, c)
	if s := f.records(batchSample)[0]; s.find(sampleCPUDuring) != nil || s.find(sampleThreadID) != nil {
		t.Errorf("the sample is %v", s)
	}
}

func TestEvidenceIsPaidFor(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("readings are Linux's")
	}
	f := serve(t)
	c := open(t, f, Options{Evidence: EvidenceCPU, BufferBytes: bufferBytesMax})
	m := c.Model("m")
	const inferences = 20000
	for i := 0; i < inferences; i++ {
		track := m.Begin()
		track.End(nil)
	}
	// These take some 100 ns each; a reading costs more than 10 of them, and is paid for by 125 times that.
	if taken := c.Stats().Evidence; taken == 0 || taken > inferences/20 {
		t.Errorf("%d readings for %d inferences", taken, inferences)
	}
}

func TestEndWith(t *testing.T) {
	f := serve(t)
	c := open(t, f, Options{Evidence: EvidenceNone})
	track := c.Model("m").Begin()
	more := Sample{ModelName: "other", ExecutionTimeMS: 1e9, BatchSize: Num(8), ErrorText: "no",
		Labels: []Label{{"a", "b"}}}
	track.EndWith(&more)
	mustFlush(t, c)
	s := f.records(batchSample)[0]
	if s.text(sampleModelName) != "m" || s.double(sampleExecutionTime) > 1e6 ||
		s.double(sampleBatchSize) != 8 ||
		s.text(sampleErrorText) != "no" || s.find(sampleLabel) == nil {
		t.Errorf("%v", s)
	}
	if more.ModelName != "other" {
		t.Error("what is the caller's was changed")
	}
}

func TestDo(t *testing.T) {
	f := serve(t)
	c := open(t, f, Options{})
	m := c.Model("m")
	own := errors.New("own")
	for _, want := range []error{nil, own} {
		if err := m.Do(context.Background(), func(context.Context) error { return want }); err != want {
			t.Errorf("%v became %v", want, err)
		}
	}
	func() {
		defer func() {
			if recover() != "own" {
				t.Error("the panic did not go on")
			}
		}()
		_ = m.Do(context.Background(), func(context.Context) error { panic("own") })
	}()
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_ = m.Do(context.Background(), func(context.Context) error { runtime.Goexit(); return nil })
	}()
	<-gone
	mustCloseClient(t, c)
	var failed []uint64
	for _, s := range f.records(batchSample) {
		failed = append(failed, s.number(sampleError))
	}
	if fmt.Sprint(failed) != "[0 1 1 1]" {
		t.Errorf("%v", failed)
	}
}

func TestHandlesAreKeptUpToACeiling(t *testing.T) {
	f := serve(t)
	c := open(t, f, Options{})
	if c.Model("m") != c.Model("m") {
		t.Error("the same model is another one")
	}
	if c.Counter("n", "", Int("a", 1)).series != c.Counter("n", "", Int("a", 1)).series {
		t.Error("the same series is another one")
	}
	many(modelsMax+1, func(i int) { c.Model(fmt.Sprint(i)) })
	many(seriesMax+1, func(i int) { c.Counter(fmt.Sprint(i), "") })
	if len(c.models) != modelsMax || len(c.series) != seriesMax {
		t.Errorf("%d models, %d series", len(c.models), len(c.series))
	}
	track := c.Model("past the ceiling").Begin()
	track.End(nil)
	c.Counter("past the ceiling", "").Add(1)
	mustFlush(t, c)
	if f.records(batchSample)[0].text(sampleModelName) != "past the ceiling" ||
		f.records(batchMetric)[0].text(metricName) != "past the ceiling" {
		t.Error("what is past the ceiling is not recorded")
	}
}
