package dwell

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestConnectionBeginsWithHelloAlone(t *testing.T) {
	f := serve(t)
	c := open(t, f, Options{ServiceName: "api", ServiceVersion: "1.2", ConstitutionalHash: "abc"})
	c.Model("m").Begin()
	track := c.Model("m").Begin()
	track.End(nil)
	mustFlush(t, c)
	mustCloseClient(t, c)

	all := f.all()
	if len(all) != 5 {
		t.Fatalf("%d batches, expects hello, samples, flush, the flush of the end, goodbye", len(all))
	}
	kinds := []uint64{batchHello, batchSample, batchFlush, batchFlush, batchGoodbye}
	for i, b := range all {
		if len(b.records) != 1 || b.records[0].kind != kinds[i] {
			t.Errorf("batch %d has %d records, the first of field %d", i, len(b.records), b.records[0].kind)
		}
		if b.clientID != all[0].clientID {
			t.Errorf("batch %d is somebody else's", i)
		}
	}
	hello := all[0].records[0]
	if hello.text(1) != "api" || hello.text(2) != "1.2" || hello.number(3) != uint64(os.Getpid()) ||
		hello.text(4) != "abc" || hello.text(5) != "dwell-go/0.1.0" {
		t.Errorf("hello is %v", hello)
	}
	if got := all[4].records[0].number(1); got != 1 {
		t.Errorf("goodbye says %d calls", got)
	}
	f.mustClose(t, c)
}

func TestSampleHasTimeAndError(t *testing.T) {
	f := serve(t)
	c := open(t, f, Options{})
	m := c.Model("resnet50")
	for _, err := range []error{nil, errors.New("out of memory"), errors.New("")} {
		track := m.Begin()
		track.End(err)
		track.End(err) // a second one is nothing
	}
	mustFlush(t, c)
	got := f.records(batchSample)
	if len(got) != 3 {
		t.Fatalf("%d samples", len(got))
	}
	for i, want := range []struct {
		failed uint64
		text   string
	}{{0, ""}, {1, "out of memory"}, {1, ""}} {
		s := got[i]
		if s.text(sampleModelName) != "resnet50" || s.double(sampleExecutionTime) <= 0 ||
			s.double(sampleExecutionTime) > 1000 || s.number(sampleError) != want.failed ||
			s.text(sampleErrorText) != want.text {
			t.Errorf("sample %d is %v", i, s)
		}
	}
}

func TestNothingIsNothing(t *testing.T) {
	t.Setenv("DWELL_DISABLED", "1")
	c := Open(Options{})
	if c != nil {
		t.Fatal("a client was opened")
	}
	ctx := context.Background()
	m := c.Model("m")
	track := m.BeginContext(ctx)
	track.End(errors.New("x"))
	track.EndWith(nil)
	own := func(context.Context) error { return errors.ErrUnsupported }
	if err := m.Do(ctx, own); err != errors.ErrUnsupported {
		t.Errorf("Do gave %v", err)
	}
	c.RecordSample(&Sample{})
	c.RecordMetric(&Metric{})
	c.RecordSpan(&SpanRecord{})
	c.RecordBudget(&BudgetRecord{})
	c.Counter("c", "").Add(1)
	c.Histogram("h", "").Observe(1)
	c.Gauge("g", "").Set(1)
	c.Gauge("g", "").Add(1)
	c.GaugeAdd("g", "", 1)
	c.Info("i", String("a", "b"))
	inner, span := c.StartSpan(ctx, "s")
	span.SetAttributes(Int("a", 1))
	span.AddEvent("e")
	span.AddLink(SpanContext{})
	span.RecordError(errors.New("x"))
	span.SetStatus(StatusError, "x")
	span.End()
	if inner != ctx || span.Context() != (SpanContext{}) {
		t.Error("a span came of it")
	}
	if c.Flush(ctx) != nil || c.Close(ctx) != nil || c.Stats() != (Stats{}) {
		t.Error("something was sent")
	}
}

func TestManyGoroutinesLoseNothing(t *testing.T) {
	f := serve(t)
	c := open(t, f, Options{BufferBytes: bufferBytesMax})
	const goroutines, calls = 8, 3000
	var wait sync.WaitGroup
	for g := 0; g < goroutines; g++ {
		wait.Add(1)
		go func() {
			defer wait.Done()
			m := c.Model("m")
			counter := c.Counter("n", "", Int("g", int64(g)))
			for i := 0; i < calls; i++ {
				track := m.Begin()
				track.End(nil)
				counter.Add(1)
			}
		}()
	}
	wait.Wait()
	mustCloseClient(t, c)
	samples, counts := len(f.records(batchSample)), len(f.records(batchMetric))
	if samples != goroutines*calls ||
		counts != goroutines*calls {
		t.Errorf("%d samples, %d counts", samples, counts)
	}
	f.mustClose(t, c)
}

func TestOrderOfCallsIsKept(t *testing.T) {
	f := serve(t)
	c := open(t, f, Options{})
	gauge := c.Gauge("g", "")
	const sets = 2000
	baton := make(chan int)
	done := make(chan struct{})
	for g := 0; g < 4; g++ { // each set on another goroutine than the one before
		go func() {
			for i := range baton {
				gauge.Set(float64(i))
				if i+1 == sets {
					close(done)
					return
				}
				baton <- i + 1
			}
		}()
	}
	baton <- 0
	<-done
	mustFlush(t, c)
	got := f.records(batchMetric)
	if len(got) != sets {
		t.Fatalf("%d sets", len(got))
	}
	for i, r := range got {
		if r.double(metricValue) != float64(i) {
			t.Fatalf("set %d came in place %d", int(r.double(metricValue)), i)
		}
	}
}

func TestFullBufferDropsAndCounts(t *testing.T) {
	f := serve(t)
	f.be(func() { f.deaf = true })
	c := open(t, f, Options{BufferBytes: 1}) // taken as the least
	m := c.Model("m")
	// What the socket, the frame on its way and the buffers hold is far below this.
	const calls = 200000
	for i := 0; i < calls; i++ {
		track := m.Begin()
		track.End(nil)
	}
	if s := c.Stats(); s.Recorded != calls || s.Dropped == 0 {
		t.Errorf("%+v", s)
	}
	// The daemon is back to its senses: what it lost sight of is in the ledger.
	f.mu.Lock()
	f.deaf = false
	conns := f.conns
	f.conns = nil
	f.mu.Unlock()
	for _, conn := range conns {
		go f.read(conn)
	}
	mustCloseClient(t, c)
	f.mustClose(t, c)
}

func TestNoDaemon(t *testing.T) {
	f := serve(t)
	f.stop()
	started := time.Now()
	c := open(t, f, Options{KeepFor: 20 * time.Millisecond})
	m := c.Model("m")
	until(t, "records are dropped at once", func() bool {
		track := m.Begin()
		track.End(nil)
		return c.discard.Load()
	})
	before := c.Stats()
	for i := 0; i < 100; i++ {
		c.Counter("n", "").Add(1)
	}
	if s := c.Stats(); s.Dropped < before.Dropped+100 || s.Sent != 0 || s.Connected {
		t.Errorf("%+v", s)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancel()
	if err := c.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("flush without a daemon: %v", err)
	}
	if err := c.Close(context.Background()); !errors.Is(err, ErrUnconfirmed) && err != nil {
		t.Errorf("close without a daemon: %v", err)
	}
	if s := c.Stats(); s.Recorded != s.Dropped {
		t.Errorf("%+v", s)
	}
	if took := time.Since(started); took > waitMax {
		t.Errorf("it took %v", took)
	}
}

func TestDaemonComesLater(t *testing.T) {
	f := serve(t)
	f.stop()
	c := open(t, f, Options{})
	m := c.Model("m")
	for i := 0; i < 10; i++ {
		track := m.Begin()
		track.End(nil)
	}
	until(t, "it was looked for", func() bool { return c.Stats().Connections == 0 })
	f.listen()
	mustFlush(t, c)
	if got := len(f.records(batchSample)); got != 10 {
		t.Errorf("%d samples", got)
	}
	mustCloseClient(t, c)
	f.mustClose(t, c)
}

func TestDaemonRestarts(t *testing.T) {
	f := serve(t)
	c := open(t, f, Options{})
	m := c.Model("m")
	for round := 0; round < 5; round++ {
		for i := 0; i < 10; i++ {
			track := m.Begin()
			track.End(nil)
		}
		mustFlush(t, c)
		f.stop()
		f.listen()
	}
	mustCloseClient(t, c)
	if got := len(f.records(batchSample)); got != 50 {
		t.Errorf("%d samples", got)
	}
	if hellos := len(f.records(batchHello)); hellos < 5 {
		t.Errorf("%d hellos", hellos)
	}
	f.mustClose(t, c)
}

func TestFlushOfMuteDaemonEndsWithItsContext(t *testing.T) {
	f := serve(t)
	f.be(func() { f.mute = true })
	c := open(t, f, Options{})
	track := c.Model("m").Begin()
	track.End(nil)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := c.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("flush: %v", err)
	}
	short, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	// The fake ends the connection once it is told to leave, and has confirmed nothing.
	if err := c.Close(short); err == nil {
		t.Error("close says that all was confirmed")
	}
	if s := c.Stats(); s.Sent != 1 || s.Unconfirmed != 1 {
		t.Errorf("%+v", s)
	}
}

func TestBrokenConnectionEndsFlushes(t *testing.T) {
	f := serve(t)
	f.be(func() { f.mute = true })
	c := open(t, f, Options{})
	track := c.Model("m").Begin()
	track.End(nil)
	asked := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), waitMax)
		defer cancel()
		asked <- c.Flush(ctx)
	}()
	until(t, "the flush came", func() bool { return len(f.records(batchFlush)) > 0 })
	f.stop()
	if err := <-asked; !errors.Is(err, ErrUnconfirmed) {
		t.Errorf("flush: %v", err)
	}
}

func TestRepliesThatMakeNoSense(t *testing.T) {
	for name, reply := range map[string][]byte{
		"a line of JSON": []byte(`{"error": "no", "reason": "not_allowed"}` + "\n"),
		"a group":        {1, 0, 0, 0, 0x0b},
		"a cut varint":   {1, 0, 0, 0, 0x80},
		"a cut text":     {2, 0, 0, 0, 0x1a, 0x05},
	} {
		t.Run(name, func(t *testing.T) {
			f := serve(t)
			f.be(func() { f.reply = reply })
			c := open(t, f, Options{})
			track := c.Model("m").Begin()
			track.End(nil)
			ctx, cancel := context.WithTimeout(context.Background(), waitMax)
			defer cancel()
			if err := c.Flush(ctx); !errors.Is(err, ErrUnconfirmed) {
				t.Errorf("flush: %v", err)
			}
		})
	}
}

func TestReplyRead(t *testing.T) {
	for _, fact := range []struct {
		name    string
		bytes   []byte
		flushed bool
		good    bool
	}{
		{"nothing", nil, false, true},
		{"flushed", []byte{0x08, 0x03}, true, true},
		{"unknown fields around it", []byte{0x10, 0x01, 0x08, 0x03, 0x7a, 0x01, 0x00}, true, true},
		{"fixed fields", []byte{0x29, 1, 2, 3, 4, 5, 6, 7, 8, 0x2d, 1, 2, 3, 4}, false, true},
		{"an error", []byte{0x1a, 0x02, 'n', 'o'}, false, true},
		{"a fixed field that is cut", []byte{0x29, 1}, false, false},
		{"a tag that is cut", []byte{0x80}, false, false},
	} {
		flushed, err := replyRead(fact.bytes)
		if flushed != fact.flushed || (err == nil) != fact.good {
			t.Errorf("%s: %v, %v", fact.name, flushed, err)
		}
	}
}

func TestPlacesThatAreNoDaemon(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Log("permissions do not bind root: that case says nothing")
	}
	for name, make := range map[string]func(path string) error{
		"a plain file": func(path string) error { return os.WriteFile(path, nil, 0o600) },
		"a directory":  func(path string) error { return os.Mkdir(path, 0o700) },
		"a dead link":  func(path string) error { return os.Symlink("nowhere", path) },
		"not allowed": func(path string) error {
			return errors.Join(os.WriteFile(path, nil, 0), os.Chmod(path, 0))
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fake{t: t, directory: t.TempDir()}
			if err := make(filepath.Join(f.directory, socketName)); err != nil {
				t.Fatal(err)
			}
			c := open(t, f, Options{})
			for i := 0; i < 10; i++ {
				track := c.Model("m").Begin()
				track.End(nil)
			}
			_ = c.Close(context.Background())
			if s := c.Stats(); s.Recorded != 10 || s.Dropped != 10 || s.Connections != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

func TestNoDescriptorIsLeft(t *testing.T) {
	f := serve(t)
	c := open(t, f, Options{})
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	few := old
	few.Cur = 0
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &few); err != nil {
		t.Skipf("the limit cannot be set: %v", err)
	}
	track := c.Model("m").Begin()
	track.End(nil)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	err := c.Flush(ctx)
	cancel()
	if restored := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &old); restored != nil {
		t.Fatal(restored)
	}
	if err == nil {
		t.Error("a connection was made without a descriptor")
	}
	mustFlush(t, c)
	mustCloseClient(t, c)
	f.mustClose(t, c)
}

func TestDirectoryIsLookedFor(t *testing.T) {
	runtime := t.TempDir()
	t.Setenv("DWELL_DIR", "")
	t.Setenv("XDG_RUNTIME_DIR", runtime)
	paths := places("")
	want := []string{filepath.Join(runtime, "dwell", socketName), "/run/dwell/" + socketName}
	for i, path := range want {
		if paths[i].path != path || paths[i].private {
			t.Errorf("place %d is %+v", i, paths[i])
		}
	}
	if last := paths[len(paths)-1]; !last.private {
		t.Errorf("anybody may be at %+v", last)
	}
	t.Setenv("DWELL_DIR", "/elsewhere")
	if paths = places(""); len(paths) != 1 || paths[0].path != "/elsewhere/"+socketName {
		t.Errorf("%+v", paths)
	}
	if paths = places("/named"); len(paths) != 1 || paths[0].path != "/named/"+socketName {
		t.Errorf("%+v", paths)
	}
	link := filepath.Join(runtime, "link")
	if err := os.Symlink(runtime, link); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(runtime, socketName), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if !(place{filepath.Join(runtime, socketName), true}).isThere() {
		t.Error("the user's own directory was not taken")
	}
	if (place{filepath.Join(link, socketName), true}).isThere() {
		t.Error("a link was taken for the user's own directory")
	}
}

func TestCloseTwiceAndAfterwards(t *testing.T) {
	f := serve(t)
	c := open(t, f, Options{})
	m := c.Model("m")
	track := m.Begin()
	track.End(nil)
	mustCloseClient(t, c)
	mustCloseClient(t, c)
	late := m.Begin()
	late.End(nil)
	c.Counter("n", "").Add(1)
	if err := c.Flush(context.Background()); !errors.Is(err, ErrUnconfirmed) {
		t.Errorf("flush after close: %v", err)
	}
	if s := c.Stats(); s.Recorded != 1 || s.Sent != 1 {
		t.Errorf("%+v", s)
	}
	f.mustClose(t, c)
}

func TestRecordsGoOutByThemselves(t *testing.T) {
	f := serve(t)
	c := open(t, f, Options{})
	track := c.Model("m").Begin()
	track.End(nil)
	until(t, "the sample came", func() bool { return len(f.records(batchSample)) == 1 })
}

// Whatever comes back: each whole reply once, and no more than there is.
func FuzzReplies(f *testing.F) {
	f.Add([]byte{2, 0, 0, 0, 0x08, 3, 0, 0, 0, 0}, uint8(1))
	f.Add([]byte(`{"error": "no"}`), uint8(3))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff}, uint8(0))
	f.Fuzz(func(t *testing.T, bytes []byte, piece uint8) {
		if len(bytes) > replyBytesMax {
			return // what is read at once is no more
		}
		whole := &link{}
		used, bad := whole.replies(bytes)
		if used > len(bytes) {
			t.Fatalf("%d of %d bytes used", used, len(bytes))
		}
		// In pieces it comes to the same.
		cut := &link{}
		var buffer []byte
		usedCut, badCut := 0, error(nil)
		for at := 0; at < len(bytes) && badCut == nil; {
			next := min(len(bytes), at+1+int(piece))
			buffer = append(buffer, bytes[at:next]...)
			at = next
			var done int
			done, badCut = cut.replies(buffer)
			buffer = buffer[done:]
			usedCut += done
		}
		if usedCut != used || (bad == nil) != (badCut == nil) {
			t.Errorf("%d bytes and %v, in pieces %d and %v", used, bad, usedCut, badCut)
		}
	})
}

func TestRestartsInMidStream(t *testing.T) {
	f := serve(t)
	c := open(t, f, Options{BufferBytes: bufferBytesMax})
	stop := make(chan struct{})
	var wait sync.WaitGroup
	for g := 0; g < 2; g++ {
		wait.Add(1)
		go func() {
			defer wait.Done()
			for m := c.Model("m"); ; {
				select {
				case <-stop:
					return
				default:
					many(100, func(int) { track := m.Begin(); track.End(nil) })
					time.Sleep(100 * time.Microsecond) // so that two processors do not fill 16 MB
				}
			}
		}()
	}
	for round := uint64(1); round <= 5; round++ {
		until(t, "it is connected again", func() bool { return c.Stats().Connections >= round && len(f.all()) > 0 })
		sent := c.Stats().Sent
		until(t, "something was sent", func() bool { return c.Stats().Sent > sent })
		f.stop()
		f.listen()
	}
	close(stop)
	wait.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), waitMax)
	defer cancel()
	_ = c.Close(ctx) // what it says of the broken connections is in the figures below
	accepted, dropped, lost := f.ledger()
	s := c.Stats()
	if s.Recorded != accepted+dropped+lost || dropped != s.Dropped || lost > s.Unconfirmed {
		t.Errorf("accepted %d, dropped %d, lost %d; the client says %+v", accepted, dropped, lost, s)
	}
	if hellos := len(f.records(batchHello)); hellos < 5 {
		t.Errorf("%d hellos", hellos)
	}
}

func TestCloseLeavesNothingBehind(t *testing.T) {
	descriptors := func() int {
		names, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skipf("descriptors cannot be counted: %v", err)
		}
		return len(names)
	}
	f := serve(t)
	goroutines, before := runtime.NumGoroutine(), descriptors()
	for round := 0; round < 10; round++ {
		c := Open(Options{Directory: f.directory, Evidence: EvidenceFull})
		track := c.Model("m").Begin()
		track.End(nil)
		mustFlush(t, c)
		mustCloseClient(t, c)
	}
	until(t, "goroutines and descriptors are as before", func() bool {
		return runtime.NumGoroutine() <= goroutines && descriptors() <= before
	})
}
