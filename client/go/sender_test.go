package dwell

import (
	"math"
	"strings"
	"testing"
	"time"
)

// still makes a client whose sender does not run.
func still(options Options) *Client {
	c := &Client{options: options, epoch: time.Now()}
	c.settle()
	c.buffers.init(1, c.options.BufferBytes)
	c.sender.init(c, &c.options)
	return c
}

func TestOptionsOutOfRange(t *testing.T) {
	for _, fact := range []struct{ given, want Options }{
		{Options{}, Options{Evidence: EvidenceCPU, EvidencePercent: 1, BufferBytes: 256 << 10}},
		{Options{BufferBytes: 64 << 10}, Options{BufferBytes: 64 << 10}},
		{Options{BufferBytes: 64<<10 - 1}, Options{BufferBytes: 64 << 10}},
		{Options{BufferBytes: -1}, Options{BufferBytes: 64 << 10}},
		{Options{BufferBytes: 16 << 20}, Options{BufferBytes: 16 << 20}},
		{Options{BufferBytes: 16<<20 + 1}, Options{BufferBytes: 16 << 20}},
		{Options{Evidence: EvidenceFull + 1}, Options{Evidence: EvidenceCPU}},
		{Options{Evidence: -1}, Options{Evidence: EvidenceCPU}},
		{Options{EvidencePercent: 100}, Options{EvidencePercent: 100}},
		{Options{EvidencePercent: 101}, Options{EvidencePercent: 100}},
		{Options{EvidencePercent: -1}, Options{EvidencePercent: 1}},
		{Options{EvidencePercent: math.NaN()}, Options{EvidencePercent: 1}},
		{Options{KeepFor: -1, CloseTimeout: -1}, Options{}},
	} {
		got := still(fact.given).options
		want := fact.want
		if want.Evidence != EvidenceDefault && got.Evidence != want.Evidence ||
			want.EvidencePercent != 0 && got.EvidencePercent != want.EvidencePercent ||
			want.BufferBytes != 0 && got.BufferBytes != want.BufferBytes {
			t.Errorf("%+v became %+v", fact.given, got)
		}
		if got.KeepFor != 10*time.Second || got.CloseTimeout != time.Second {
			t.Errorf("%+v: keeps for %v, closes in %v", fact.given, got.KeepFor, got.CloseTimeout)
		}
	}
}

func TestTextsOfHello(t *testing.T) {
	most := strings.Repeat("x", 256)
	hello := mustDecode(t, helloMake(&Options{ServiceName: most, ServiceVersion: most + "x"}))
	if hello.text(1) != most || hello.find(2) != nil || hello.find(4) != nil ||
		hello.text(5) != "dwell-go/0.1.0" {
		t.Errorf("%v", hello)
	}
}

func TestBackoffDoublesUpToItsMost(t *testing.T) {
	s := &still(Options{}).sender
	seen := map[int64]bool{}
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		before := s.client.now()
		s.retryLater()
		after := s.client.now()
		if early, late := s.retry-after, s.retry-before; late < int64(pause)/2 || early > int64(pause) {
			t.Fatalf("the pause of %v is %v to %v", pause, time.Duration(early), time.Duration(late))
		}
		if pause == 5*time.Second {
			seen[s.retry-before] = true
			if len(seen) == 10 {
				break // and they are not the same
			}
		}
	}
}

func TestFlushesHaveACeiling(t *testing.T) {
	s := &still(Options{}).sender
	asked := make([]*asking, flushesMax+1)
	for i := range asked {
		asked[i] = &asking{answer: make(chan error, 1)}
		if taken := s.ask(asked[i]); taken != (i < flushesMax) {
			t.Fatalf("flush %d: taken %v", i, taken)
		}
	}
	asked[7].left.Store(true)
	if !s.ask(asked[flushesMax]) {
		t.Error("who has left takes up room")
	}
}

func TestNumbersOfTheLedger(t *testing.T) {
	c := still(Options{BufferBytes: bufferBytesMin})
	s := &c.sender
	record := recordEnd(append(recordBegin(nil), make([]byte, 16000)...), batchSample)
	const fit, tried = 4, 6 // of 64 kB
	many(tried, func(int) { c.put(c.now(), record, 0, 0) })
	s.take(false)
	if !s.fill() || s.first != tried-fit || s.gone != tried-fit || s.records != fit {
		t.Errorf("first %d, dropped %d, %d records", s.first, s.gone, s.records)
	}
	if first, dropped := s.standing(); first != tried-fit || dropped != tried-fit {
		t.Errorf("a hello says %d, %d while a frame waits", first, dropped)
	}
	s.abandon()
	if first, dropped := s.standing(); first != tried || dropped != tried {
		t.Errorf("a hello says %d, %d once all is given up", first, dropped)
	}
	many(2, func(int) { c.put(c.now(), record, 0, 0) })
	s.take(false)
	s.drop()
	c.put(c.now(), record, 0, 0) // dropped at once
	if s.fill() {
		t.Error("something is left")
	}
	s.take(false)
	if first, dropped := s.standing(); first != tried+3 || dropped != tried+3 {
		t.Errorf("a hello says %d, %d", first, dropped)
	}
}

func TestShardIsFullAtItsSize(t *testing.T) {
	c := still(Options{BufferBytes: bufferBytesMin})
	const records = 8
	record := make([]byte, bufferBytesMin/records-recordHeadBytes) // eight of them fill it to the byte
	for i := 0; i <= records; i++ {
		if kept := c.put(1, record, 0, 0); kept != (i < records) {
			t.Errorf("record %d: kept %v", i, kept)
		}
	}
	if recorded, dropped := c.count(); recorded != records+1 || dropped != 1 {
		t.Errorf("%d recorded, %d dropped", recorded, dropped)
	}
}
