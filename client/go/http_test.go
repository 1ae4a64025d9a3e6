package dwell

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// families says what a handler recorded: name, labels and value of counts and additions.
func families(t testing.TB, f *fake) []string {
	var all []string
	for _, r := range f.records(batchMetric) {
		var labels []string
		for _, a := range r.all(metricAttribute) {
			pair := mustDecode(t, a.bytes)
			labels = append(labels, pair.text(attributeKey)+"="+pair.text(attributeValue))
		}
		value := fmt.Sprint(r.double(metricValue))
		if r.number(metricOp) == uint64(OpObserve) {
			value = "observed"
		}
		all = append(all, r.text(metricName)+"{"+strings.Join(labels, ",")+"} "+value)
	}
	slices.Sort(all)
	return all
}

func TestHandler(t *testing.T) {
	ask := func(method, path string) *http.Request { return httptest.NewRequest(method, path, nil) }
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/{model}", func(w http.ResponseWriter,
		_ *http.Request) {
		w.WriteHeader(http.StatusCreated)
	})
	for _, fact := range []struct {
		name     string
		handler  http.Handler
		endpoint func(*http.Request) string
		request  *http.Request
		labels   string // method, endpoint
		status   string
		failed   bool
	}{
		{"nothing said", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), nil,
			ask("GET", "/a"),
			"method=GET,endpoint=/a", "200", false},
		{"a status", http.HandlerFunc(func(w http.ResponseWriter,
			_ *http.Request) {
			http.NotFound(w, nil)
		}), nil, ask("GET", "/a"),
			"method=GET,endpoint=/a", "404", false},
		{"the first one counts", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusTeapot)
			w.WriteHeader(http.StatusOK)
		}), nil, ask("GET", "/a"), "method=GET,endpoint=/a", "418", false},
		{"a pattern", mux, nil, ask("POST", "/v1/resnet50"), "method=POST,endpoint=POST /v1/{model}",
			"201", false},
		{"no pattern", mux, nil, ask("GET", "/elsewhere"), "method=GET,endpoint=unmatched", "404", false},
		{"a method of nobody's", mux, func(*http.Request) string { return "e" },
			ask("BREW", "/v1/resnet50"),
			"method=_OTHER,endpoint=e", "405", false},
		{"a client that went away", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), nil,
			ask("GET", "/a").WithContext(gone), "method=GET,endpoint=/a", "499", false},
		{"a panic", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("own") }), nil,
			ask("GET", "/a"),
			"method=GET,endpoint=/a", "500", true},
	} {
		f := serve(t)
		c := open(t, f, Options{})
		fact.request.Header.Set("traceparent", "00-"+traceText+"-"+spanText+"-01")
		func() {
			defer func() {
				if (recover() == "own") != fact.failed {
					t.Errorf("%s: the panic did not go on", fact.name)
				}
			}()
			c.Handler("svc", fact.handler, fact.endpoint).ServeHTTP(httptest.NewRecorder(), fact.request)
		}()
		mustCloseClient(t, c)
		f.mustClose(t, c)
		labels := "{" + fact.labels + ",service=svc"
		want := []string{"http_requests_in_progress" + labels + "} 1", "http_requests_in_progress" +
			labels + "} -1",
			"http_request_duration_seconds" + labels + "} observed",
			"http_requests_total" + labels + ",status=" + fact.status + "} 1"}
		slices.Sort(want) // counts and observations may come in any order
		if got := families(t, f); strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("%s:\ngot  %s\nwant %s", fact.name, strings.Join(got, "\n     "),
				strings.Join(want, "\n     "))
		}
		span := f.records(batchSpan)[0]
		if string(span.find(spanTraceID).bytes) != string(fromHex(t, traceText)) ||
			span.number(spanKind) != uint64(KindServer) ||
			(span.find(spanStatus) != nil) != fact.failed {
			t.Errorf("%s: the span is %v", fact.name, span)
		}
	}
}

func TestHandlerLeavesTheServersWays(t *testing.T) {
	f := serve(t)
	c := open(t, f, Options{})
	server := httptest.NewServer(c.Handler("svc", http.HandlerFunc(func(w http.ResponseWriter,
		r *http.Request) {
		if !current(r.Context()).HasSpan() {
			t.Error("the handler's context has no span")
		}
		if r.URL.Path == "/hijack" {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = io.WriteString(conn, "HTTP/1.0 200 OK\r\n\r\nmine")
			_ = conn.Close()
			return
		}
		_, _ = io.Copy(w, strings.NewReader("text"))
		w.(http.Flusher).Flush()
	}), nil))
	defer server.Close()
	for path, want := range map[string]string{"/flush": "text", "/hijack": "mine"} {
		answer, err := http.Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if string(body) != want {
			t.Errorf("%s: %q", path, body)
		}
	}
	var none *Client
	next := http.NewServeMux()
	if none.Handler("svc", next, nil) != http.Handler(next) {
		t.Error("without a client it is not the handler itself")
	}
	recorder := &responseWriter{ResponseWriter: httptest.NewRecorder()}
	if _, _, err := recorder.Hijack(); err == nil {
		t.Error("a recorder was hijacked")
	}
}

func TestRoutesAreKeptUpToACeiling(t *testing.T) {
	c := open(t, serve(t), Options{})
	all := &routes{client: c, service: "svc", known: map[routeKey]*route{}}
	many(routesMax+1, func(i int) { all.find(routeKey{"GET", fmt.Sprint(i)}) })
	first, past := routeKey{"GET", "0"}, routeKey{"GET", fmt.Sprint(routesMax)}
	if len(all.known) != routesMax || all.find(first) != all.find(first) ||
		all.find(past) == all.find(past) {
		t.Errorf("%d routes are kept", len(all.known))
	}
	if all.find(past).total(c, 200) == nil || all.find(first).total(c, 200) != all.find(first).total(c,
		200) {
		t.Error("the counter of a status is another one each time")
	}
}
