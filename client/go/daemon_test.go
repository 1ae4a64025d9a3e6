package dwell

// Against the real daemon, when DWELL_BUILD names the directory where it was built.

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

type daemon struct {
	t         testing.TB
	directory string
	process   *exec.Cmd
	http      http.Client
	said      bytes.Buffer // valid once it has ended
}

// placeMake names a directory that the daemon will make as it wants it.
func placeMake(t testing.TB) string { return filepath.Join(t.TempDir(), "d") }

// start runs a daemon in a directory; the test is skipped where there is none.
func start(t testing.TB, directory string, sets ...string) *daemon {
	t.Helper()
	build := os.Getenv("DWELL_BUILD")
	if build == "" {
		t.Skip("DWELL_BUILD does not name a build directory")
	}
	d := &daemon{t: t, directory: directory}
	arguments := []string{"--set", "http.listen=127.0.0.1:0", "--set", "ingest.directory=" + directory}
	for _, set := range sets {
		arguments = append(arguments, "--set", set)
	}
	d.process = exec.Command(filepath.Join(build, "dwelld"), arguments...)
	d.process.Env = []string{"PATH=" + os.Getenv("PATH")}
	d.process.Stderr = &d.said
	if err := d.process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.kill)
	d.http.Transport = &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _,
		_ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(directory, "query.sock"))
	}}
	until(t, "the daemon answers", func() bool {
		answer, err := d.http.Get("http://daemon/readyz")
		if err != nil {
			return false
		}
		_ = answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	})
	return d
}

func (d *daemon) kill() {
	if d.process.ProcessState == nil {
		_ = d.process.Process.Kill()
		_ = d.process.Wait() // it was killed
	}
	if d.t.Failed() {
		d.t.Logf("the daemon said:\n%s", &d.said)
	}
}

func (d *daemon) stop() {
	d.t.Helper()
	if err := d.process.Process.Signal(syscall.SIGTERM); err != nil {
		d.t.Fatal(err)
	}
	if err := d.process.Wait(); err != nil {
		d.t.Fatal(err)
	}
}

func (d *daemon) get(path string) string {
	d.t.Helper()
	answer, err := d.http.Get("http://daemon" + path)
	if err != nil {
		d.t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		d.t.Fatalf("%s: %d, %v", path, answer.StatusCode, err)
	}
	return string(body)
}

// mustShow says that lines of /metrics are there.
func (d *daemon) mustShow(lines ...string) {
	d.t.Helper()
	metrics := "\n" + d.get("/metrics")
	for _, line := range lines {
		if !strings.Contains(metrics, "\n"+line+"\n") {
			name, _, _ := strings.Cut(line, "{")
			var near []string
			for _, found := range strings.Split(metrics, "\n") {
				if strings.HasPrefix(found, name) {
					near = append(near, found)
				}
			}
			d.t.Errorf("/metrics has no %s, but\n%s", line, strings.Join(near, "\n"))
		}
	}
}

type ledger struct {
	Sent, Accepted, Dropped, Lost, Unledgered uint64
	Rejected                                  map[string]uint64
}

func (d *daemon) ledger() (l ledger) {
	d.t.Helper()
	var status struct{ Ledger ledger }
	if err := json.Unmarshal([]byte(d.get("/api/v1/status")), &status); err != nil {
		d.t.Fatal(err)
	}
	return status.Ledger
}

// mustBalance says that every call of the client has its place in the daemon's ledger.
func (d *daemon) mustBalance(c *Client, rejected uint64) {
	d.t.Helper()
	l, s := d.ledger(), c.Stats()
	refused := uint64(0)
	for _, count := range l.Rejected {
		refused += count
	}
	if l.Sent != s.Recorded || l.Dropped != s.Dropped || l.Lost != 0 || l.Unledgered != 0 ||
		refused != rejected ||
		l.Sent != l.Accepted+refused+l.Dropped {
		d.t.Errorf("%+v, the client says %+v", l, s)
	}
}

func openAt(t testing.TB, directory string, options Options) *Client {
	return open(t, &fake{directory: directory}, options)
}

func TestDaemonShowsAllKinds(t *testing.T) {
	d := start(t, placeMake(t))
	c := openAt(t, d.directory, Options{ServiceName: "bus", ConstitutionalHash: DefaultHash,
		Evidence: EvidenceFull})
	m := c.Model("resnet50")
	for i := 0; i < 10; i++ {
		track := m.Begin()
		var err error
		if i == 0 {
			err = errors.New("out of memory")
		}
		track.End(err)
	}
	c.RecordSample(everyField(t))
	c.Counter("jobs.done", "", Int("code", 200)).Add(3)
	c.Gauge("pool.size", "").Set(7)
	c.GaugeAdd("pool.used", "", 2)
	c.Histogram("http.time", "ms", Bool("cached", true)).Observe(12.5)
	c.Info("build", String("version", "1.2.0"))
	ctx, span := c.StartSpan(context.Background(), "predict", Strings("shape", "8", "224"))
	budget := c.Budget(0)
	if err := budget.Run(ctx, Layer3Policy, func(context.Context) error { return nil }); err != nil {
		t.Error(err)
	}
	span.RecordError(errors.New("no"))
	span.End()
	handler := c.Handler("svc", http.NotFoundHandler(), nil)
	handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/a", nil))
	mustFlush(t, c)
	d.mustShow(
		`acgs2_model_inference_total{model_name="resnet50"} 10`,
		`acgs2_model_inference_errors_total{model_name="resnet50"} 1`,
		`acgs2_model_inference_total{model_name="resnet50",device="cuda:0"} 1`,
		`jobs_done_total{code="200"} 3`,
		`pool_size 7`,
		`pool_used 2`,
		`http_time_seconds_sum{cached="true"} 0.0125`,
		`build_info{version="1.2.0"} 1`,
		`acgs2_budget_elapsed_seconds_count{layer="layer3_policy"} 1`,
		`http_requests_total{method="GET",endpoint="/a",service="svc",status="404"} 1`,
		`http_requests_in_progress{method="GET",endpoint="/a",service="svc"} 0`,
		`http_request_duration_seconds_count{method="GET",endpoint="/a",service="svc"} 1`,
		`dwelld_client_sent_total{client="dwell-go/0.1.0"} 23`,
	)
	mustCloseClient(t, c)
	d.mustBalance(c, 0)
}

func TestDaemonRejectsAndGoesOn(t *testing.T) {
	d := start(t, placeMake(t))
	c := openAt(t, d.directory, Options{})
	for _, name := range []string{"", "\xff", "a\x00b", strings.Repeat("x", 257)} {
		track := c.Model(name).Begin()
		track.End(nil)
	}
	c.RecordSample(&Sample{ModelName: "m", ExecutionTimeMS: -1})
	c.Counter("n", "").Add(-1)
	for _, name := range []string{"模型", "модель", "نموذج", "🧠🚀", "a\"b\n", strings.Repeat("x", 256)} {
		track := c.Model(name).Begin()
		track.End(textError("\xff\x00"))
	}
	mustCloseClient(t, c)
	d.mustBalance(c, 6)
	if l := d.ledger(); l.Rejected["bad_name"] != 4 || l.Rejected["out_of_range"] != 2 || l.Accepted != 6 {
		t.Errorf("%+v", l)
	}
}

func TestDaemonTakesManyGoroutines(t *testing.T) {
	d := start(t, placeMake(t))
	c := openAt(t, d.directory, Options{Evidence: EvidenceCPU})
	var wait sync.WaitGroup
	for g := 0; g < 4; g++ {
		wait.Add(1)
		go func() {
			defer wait.Done()
			m := c.Model(fmt.Sprint(g))
			for i := 0; i < 20000; i++ {
				track := m.Begin()
				track.End(nil)
			}
		}()
	}
	wait.Wait()
	mustCloseClient(t, c)
	d.mustBalance(c, 0)
}

func TestDaemonStopsAndComesBack(t *testing.T) {
	directory := placeMake(t)
	d := start(t, directory)
	c := openAt(t, directory, Options{})
	counter := c.Counter("n", "")
	counter.Add(1)
	mustFlush(t, c)
	d.stop()
	counter.Add(1) // waits
	d = start(t, directory)
	counter.Add(1)
	mustFlush(t, c)
	mustCloseClient(t, c)
	if l := d.ledger(); l.Accepted != 2 || l.Lost != 0 || l.Dropped != 0 {
		t.Errorf("%+v", l)
	}
	d.mustShow("n_total 2")
}

func TestDaemonThatHangsHoldsNobodyUp(t *testing.T) {
	d := start(t, placeMake(t))
	c := openAt(t, d.directory, Options{BufferBytes: bufferBytesMin})
	counter := c.Counter("n", "")
	counter.Add(1)
	mustFlush(t, c)
	if err := d.process.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	// Three times what socket and buffers hold.
	longest := time.Duration(0)
	for i := 0; i < 100000; i++ {
		started := time.Now()
		counter.Add(1)
		longest = max(longest, time.Since(started))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := c.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("flush: %v", err)
	}
	if s := c.Stats(); s.Dropped == 0 || longest > waitMax/4 {
		t.Errorf("%+v, the longest call took %v", s, longest)
	}
	if err := d.process.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	mustFlush(t, c)
	mustCloseClient(t, c)
	d.mustBalance(c, 0)
}

func TestDaemonThatHangsIsLeftInTime(t *testing.T) {
	d := start(t, placeMake(t))
	c := openAt(t, d.directory, Options{})
	counter := c.Counter("n", "")
	counter.Add(1)
	mustFlush(t, c)
	if err := d.process.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for i := 0; i < 100000; i++ {
		counter.Add(1)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := c.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("close: %v", err)
	}
	if s := c.Stats(); s.Recorded != s.Sent+s.Dropped {
		t.Errorf("%+v", s)
	}
}
