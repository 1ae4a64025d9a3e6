// What recording costs with the Go client, against a pair of clock readings: an inference (evidence none,
// and cpu at 1 % of its time), a counter, a span, calls without a client, and inferences on all processors
// at once. One JSON line; status 1 when a limit is broken.
//
//		go run .            # from this directory; or go build, and run that
//
//	 1. Each subject has a listener of its own that throws away what it reads.
//	 2. A round does the same calls of each kind, one kind after the other. It stays below what a buffer
//	    holds, and the next one begins when everything was sent: nothing is dropped, nobody is woken.
//	 3. What is printed are medians of the rounds, and of ratios within a round.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	dwell "github.com/dwell/dwell/client/go"
)

const (
	calls        = 2000
	spans        = 250
	rounds       = 21
	warmUpRounds = 8 // until every page of the buffers was written to

	sampleLimitNS  = 200
	counterLimitNS = 200
	noOpLimitNS    = 50
)

var sink int64 // keeps what was computed

// subject is a client and who listens to it.
type subject struct {
	client *dwell.Client
	model  *dwell.Model
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func open(directory string, evidence dwell.Evidence) *subject {
	must(os.Mkdir(directory, 0o700))
	listener, err := net.Listen("unix", filepath.Join(directory, "ingest.sock"))
	must(err)
	go func() {
		for {
			conn, err := listener.Accept()
			must(err)
			go func() { _, _ = io.Copy(io.Discard, conn) }() // its end is the client's
		}
	}()
	client := dwell.Open(dwell.Options{Directory: directory, Evidence: evidence})
	return &subject{client: client, model: client.Model("resnet50-classifier-001")}
}

func (s *subject) waitUntilSent() {
	for {
		stats := s.client.Stats()
		if stats.Dropped > 0 {
			must(fmt.Errorf("%d records were dropped", stats.Dropped))
		}
		if stats.Sent == stats.Recorded {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// each gives the ns of one of so many calls.
func each(count int, call func()) float64 {
	begun := time.Now()
	for i := 0; i < count; i++ {
		call()
	}
	return float64(time.Since(begun)) / float64(count)
}

// clocks is a pair of readings of the monotonic clock; nows one of time.Now.
func clocks() float64 {
	epoch := time.Now()
	return each(calls, func() { sink += int64(time.Since(epoch)) - int64(time.Since(epoch)) })
}

func nows() float64 {
	return each(calls, func() { sink += int64(time.Now().Nanosecond()) - int64(time.Now().Nanosecond()) })
}

func (s *subject) tracked() float64 {
	// Not through each: a call through a pointer is no part of what is measured.
	begun := time.Now()
	for i := 0; i < calls; i++ {
		track := s.model.Begin()
		track.End(nil)
	}
	return float64(time.Since(begun)) / calls
}

func (s *subject) track() float64 {
	ns := s.tracked()
	s.waitUntilSent()
	return ns
}

func (s *subject) counter() float64 {
	counter := s.client.Counter("http.requests", "", dwell.Int("code", 200))
	begun := time.Now()
	for i := 0; i < calls; i++ {
		counter.Add(1)
	}
	ns := float64(time.Since(begun)) / calls
	s.waitUntilSent()
	return ns
}

func (s *subject) span() float64 {
	ctx := context.Background()
	ns := each(spans, func() {
		_, span := s.client.StartSpan(ctx, "POST /v1/infer", dwell.String("device", "cpu"),
			dwell.Int("batch.size", 8),
			dwell.Float("load", 0.5), dwell.Bool("warm", true))
		span.End()
	})
	s.waitUntilSent()
	return ns
}

func noOp() float64 {
	none := &subject{}
	return none.tracked()
}

// parallel is the time of a call while every processor makes them.
func (s *subject) parallel() float64 {
	var wait sync.WaitGroup
	workers := runtime.GOMAXPROCS(0)
	all := make([]float64, workers)
	for w := range all {
		wait.Add(1)
		go func() {
			defer wait.Done()
			all[w] = s.tracked()
		}()
	}
	wait.Wait()
	s.waitUntilSent()
	return median(all)
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

func processor() string {
	text, _ := os.ReadFile("/proc/cpuinfo") // without it the name is not known
	_, rest, _ := strings.Cut(string(text), "model name")
	_, rest, _ = strings.Cut(rest, ":")
	name, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(name)
}

// allocations of a tracked inference and a count, whole ones.
func (s *subject) allocations() float64 {
	var before, after runtime.MemStats
	counter := s.client.Counter("http.requests", "", dwell.Int("code", 200))
	runtime.ReadMemStats(&before)
	for i := 0; i < calls; i++ {
		track := s.model.Begin()
		track.End(nil)
		counter.Add(1)
	}
	runtime.ReadMemStats(&after)
	s.waitUntilSent()
	return float64((after.Mallocs - before.Mallocs) / calls)
}

func main() {
	base, err := os.MkdirTemp("", "dwell-bench-")
	must(err)
	none := open(filepath.Join(base, "none"), dwell.EvidenceNone)
	cpu := open(filepath.Join(base, "cpu"), dwell.EvidenceCPU)
	for i := 0; i < warmUpRounds; i++ {
		none.track()
		cpu.track()
		none.parallel()
	}
	kinds := []struct {
		name string
		do   func() float64
		all  []float64
	}{
		{"two_clocks_ns", clocks, nil}, {"two_nows_ns", nows, nil}, {"sample_ns", none.track, nil},
		{"sample_cpu_ns", cpu.track, nil}, {"counter_ns", none.counter, nil}, {"span_ns", none.span, nil},
		{"no_op_ns", noOp, nil}, {"parallel_sample_ns", none.parallel, nil},
	}
	ratios := make([][]float64, len(kinds))
	for i := 0; i < rounds; i++ {
		for k := range kinds {
			kinds[k].all = append(kinds[k].all, kinds[k].do())
		}
		for k := range kinds {
			ratios[k] = append(ratios[k], kinds[k].all[i]/kinds[1].all[i])
		}
	}
	allocations := none.allocations()
	must(os.RemoveAll(base))

	line := map[string]any{"bench": "client_go", "rounds": rounds, "calls": calls, "go": runtime.Version(),
		"machine": map[string]any{"cpu": processor(), "cpus": runtime.NumCPU()}, "allocations": allocations}
	for k, kind := range kinds {
		line[kind.name] = median(kind.all)
		line[strings.TrimSuffix(kind.name, "_ns")+"_ratio"] = median(ratios[k])
	}
	// How many times as much all processors do as one.
	line["parallel_gain"] = float64(runtime.GOMAXPROCS(0)) * median(kinds[2].all) / median(kinds[7].all)
	ok := allocations == 0
	for name, limit := range map[string]float64{"sample_ns": sampleLimitNS, "sample_cpu_ns": sampleLimitNS,
		"counter_ns": counterLimitNS, "no_op_ns": noOpLimitNS} {
		line[name+"_limit"] = limit
		ok = ok && line[name].(float64) <= limit
	}
	line["ok"] = ok
	must(json.NewEncoder(os.Stdout).Encode(line))
	if !ok {
		os.Exit(1)
	}
}
