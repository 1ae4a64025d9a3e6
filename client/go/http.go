package dwell

// Requests that a net/http server answers, as metrics and spans.
//
//	http.ListenAndServe(address, client.Handler("ranker", mux, nil))
//
//  1. The trace goes on from the request's headers; a span of kind server begins.
//  2. http_requests_in_progress goes up.
//  3. The handler runs, with a context that belongs to the span.
//  4. The three families have their record, and the span ends.
//
// What can fail is the handler: a panic counts as status 500 and goes on; a client that went away as 499.

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
)

const (
	statusClientGone = 499

	// Methods and endpoints of a handler whose handles are kept; those of others are made each time.
	routesMax = 1024
)

// Handler answers requests by next, and records them: http_requests_in_progress, http_requests_total and
// http_request_duration_seconds, with the labels method, endpoint and service, and a span. `endpoint` names
// what a request is for; it should have few values. Nil: of an http.ServeMux the pattern that matches, or
// "unmatched"; else the path. With a nil client it is next.
func (c *Client) Handler(service string, next http.Handler,
	endpoint func(*http.Request) string) http.Handler {
	if c == nil {
		return next
	}
	if endpoint == nil {
		endpoint = endpointOf(next)
	}
	all := &routes{client: c, service: service, known: map[routeKey]*route{}}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// An unknown method would make a series of its own for whoever asks.
		c.answer(all.find(routeKey{methodOf(r.Method), endpoint(r)}), next, w, r)
	})
}

func endpointOf(next http.Handler) func(*http.Request) string {
	mux, is := next.(*http.ServeMux)
	if !is {
		return func(r *http.Request) string { return r.URL.Path }
	}
	return func(r *http.Request) string {
		if _, pattern := mux.Handler(r); pattern != "" {
			return pattern
		}
		return "unmatched"
	}
}

// routes are the handles that requests of a handler need.
type routes struct {
	client  *Client
	service string
	mu      sync.RWMutex
	known   map[routeKey]*route
}

type routeKey struct{ method, endpoint string }

type route struct {
	routeKey
	labels   []Attr
	progress *Gauge
	duration *Histogram
	mu       sync.Mutex
	totals   map[int]*Counter // by status
}

func (a *routes) find(key routeKey) *route {
	a.mu.RLock()
	found := a.known[key]
	a.mu.RUnlock()
	if found != nil {
		return found
	}
	labels := []Attr{String("method", key.method), String("endpoint", key.endpoint),
		String("service", a.service)}
	made := &route{
		routeKey: key,
		labels:   labels,
		progress: a.client.Gauge("http_requests_in_progress", "", labels...),
		duration: a.client.Histogram("http_request_duration_seconds", "", labels...),
		totals:   map[int]*Counter{},
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.known) < routesMax {
		a.known[key] = made
	}
	return made
}

// total gives the counter of a status: the server takes 100 to 999.
func (r *route) total(c *Client, status int) *Counter {
	r.mu.Lock()
	defer r.mu.Unlock()
	counter := r.totals[status]
	if counter == nil {
		labels := append(slices.Clone(r.labels), String("status", strconv.Itoa(status)))
		counter = c.Counter("http_requests_total", "", labels...)
		r.totals[status] = counter
	}
	return counter
}

func (c *Client) answer(to *route, next http.Handler, w http.ResponseWriter, r *http.Request) {
	ctx, span := c.StartSpanWith(c.Extract(r.Context(), r.Header), to.method+" "+to.endpoint,
		SpanOptions{Kind: KindServer}, String("http.request.method", to.method), String("url.path",
			r.URL.Path))
	to.progress.Add(1)
	begun := c.now()
	seen := &responseWriter{ResponseWriter: w, status: http.StatusOK}
	ended := false
	defer func() {
		status := seen.status
		switch {
		case r.Context().Err() != nil:
			status = statusClientGone
		case !ended:
			status = http.StatusInternalServerError
		}
		to.progress.Add(-1)
		to.duration.Observe(float64(c.now()-begun) / 1e9)
		to.total(c, status).Add(1)
		span.SetAttributes(Int("http.response.status_code", int64(status)))
		if status >= http.StatusInternalServerError {
			span.SetStatus(StatusError, http.StatusText(status))
		}
		span.End()
	}()
	next.ServeHTTP(seen, r.WithContext(ctx))
	ended = true
}

func methodOf(method string) string {
	switch method {
	case "":
		return http.MethodGet
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
		http.MethodDelete, http.MethodConnect, http.MethodOptions, http.MethodTrace:
		return method
	}
	return "_OTHER"
}

// responseWriter sees the status. What else the server's own one can do, it does by that.
type responseWriter struct {
	http.ResponseWriter
	status int
	said   bool
}

// WriteHeader keeps the first status that is not informational.
func (w *responseWriter) WriteHeader(status int) {
	if !w.said && status >= http.StatusOK {
		w.status, w.said = status, true
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write says 200 if nothing was said.
func (w *responseWriter) Write(b []byte) (int, error) {
	w.said = true
	return w.ResponseWriter.Write(b)
}

// ReadFrom lets the server send files in its own way.
func (w *responseWriter) ReadFrom(from io.Reader) (int64, error) {
	w.said = true
	return io.Copy(w.ResponseWriter, from)
}

// Unwrap is for http.ResponseController.
func (w *responseWriter) Unwrap() http.ResponseWriter {
	return w.ResponseWriter
}

// Flush sends what was written, where the server can.
func (w *responseWriter) Flush() {
	w.said = true
	if flusher, can := w.ResponseWriter.(http.Flusher); can {
		flusher.Flush()
	}
}

// Hijack hands the connection over, where the server can.
func (w *responseWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if hijacker, can := w.ResponseWriter.(http.Hijacker); can {
		return hijacker.Hijack()
	}
	return nil, nil, errors.ErrUnsupported
}
