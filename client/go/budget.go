package dwell

// Time budgets: what the layers of a request may take and have taken.
//
//	budget := client.Budget(50 * time.Millisecond)        // the four usual layers
//	budget.Start(dwell.LayerTotal)
//	err := budget.Run(ctx, dwell.Layer3Policy, evaluate)  // *LayerTimeoutError when it took too long
//	verdict, elapsed := budget.Stop(ctx, dwell.LayerTotal, "")
//
// A layer has taken the time during which at least one of its operations ran: repeated ones add up, of
// nested and concurrent ones no time counts twice. Another layer that runs meanwhile has its own time.
// The total, once it was started and until it is reset, is enforced: no layer has more time left than it,
// and when it is exceeded every layer's verdict is at least that of the total. Time is over a limit when
// it is more than that, not when it is all of it.

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"sync"
	"time"
)

const (
	Layer1Validation   = "layer1_validation"   // 5 ms
	Layer2Deliberation = "layer2_deliberation" // 20 ms
	Layer3Policy       = "layer3_policy"       // 10 ms
	Layer4Audit        = "layer4_audit"        // 15 ms, not strict
	LayerTotal         = "total"               // the whole request, 50 ms

	layersMax     = 16  // of a budget
	layerNameMax  = 62  // bytes, as in the C client
	requestIDMax  = 128 // bytes
	budgetMin     = time.Microsecond
	budgetMax     = 4 * time.Hour
	totalDefault  = 50 * time.Millisecond
	softLimitPart = 0.8

	budgetLayer     = 1
	budgetElapsed   = 2
	budgetOperation = 3
	budgetRequestID = 4
	budgetTraceID   = 5
	budgetSpanID    = 6
	budgetTimestamp = 7
	budgetFlags     = 8
	budgetBefore    = 9
)

// Enforcement says what being over a budget means.
type Enforcement uint8

const (
	EnforcementDefault Enforcement = iota // strict, but for layer4_audit
	EnforcementStrict                     // a request that is over it has failed
	EnforcementLenient                    // it is only said, and the request goes on
)

// Verdict is how the time that was used compares with a budget; the later, the worse.
type Verdict uint8

const (
	Within Verdict = iota
	SoftLimit
	Exceeded
	ExceededStrict // and that is strict: give the request up
)

// Layer is a part of a request with a budget of its own. Budget, 1 µs to 4 h, or Share, above 0 and at
// most 1, of the total; with neither it has the budget of the usual layer of its name.
type Layer struct {
	Name        string // 1 to 62 bytes, not "total"; no two the same
	Budget      time.Duration
	Share       float64
	SoftLimit   float64 // part of its budget, above 0, at most 1; default 0.8
	Enforcement Enforcement
}

var usualLayers = []Layer{
	{Name: Layer1Validation, Budget: 5 * time.Millisecond},
	{Name: Layer2Deliberation, Budget: 20 * time.Millisecond},
	{Name: Layer3Policy, Budget: 10 * time.Millisecond},
	{Name: Layer4Audit, Budget: 15 * time.Millisecond, Enforcement: EnforcementLenient},
}

// LayerTimeoutError says that a strict layer took more than its budget. It is a context.DeadlineExceeded.
type LayerTimeoutError struct {
	LayerName          string
	BudgetMS           float64
	ElapsedMS          float64
	Operation          string // empty: not said
	ConstitutionalHash string
}

// Error names the layer and both figures.
func (e *LayerTimeoutError) Error() string {
	operation := ""
	if e.Operation != "" {
		operation = " in " + e.Operation
	}
	return fmt.Sprintf("[%s] layer %s exceeded its budget of %.2f ms: %.2f ms%s", e.ConstitutionalHash,
		e.LayerName, e.BudgetMS, e.ElapsedMS, operation)
}

// Unwrap is context.DeadlineExceeded.
func (e *LayerTimeoutError) Unwrap() error { return context.DeadlineExceeded }

// Timeout is true, as of errors of package net.
func (e *LayerTimeoutError) Timeout() bool { return true }

// layerTime is the account of a layer.
type layerTime struct {
	name     string
	budget   int64 // ns
	soft     int64
	strict   bool
	running  int
	since    int64 // when the first of those that run began
	elapsed  int64 // of those that ended
	recorded int64 // what is in records
	started  bool  // since it was reset
}

func (l *layerTime) taken(now int64) int64 {
	if l.running > 0 {
		return l.elapsed + max(0, now-l.since)
	}
	return l.elapsed
}

func (l *layerTime) judge(taken int64) Verdict {
	switch {
	case taken > l.budget && l.strict:
		return ExceededStrict
	case taken > l.budget:
		return Exceeded
	case taken > l.soft:
		return SoftLimit
	}
	return Within
}

// Budget is what one request may take and has taken. Any number of goroutines may use it at once, and an
// operation may end on another one than it began. Reset makes it ready for the next request.
type Budget struct {
	client *Client
	clock  func() int64 // ns, monotonic
	err    error

	mu        sync.Mutex
	requestID string
	total     layerTime
	layers    []layerTime
}

var budgetEpoch = time.Now()

// Budget makes a budget: total, 1 µs to 4 h, or 0 for 50 ms, and at most 16 layers, or none for the four
// usual ones. Where that is out of range it is a budget without limits, and Err says why. With a nil
// client it is kept to as any other, and records nothing.
func (c *Client) Budget(total time.Duration, layers ...Layer) *Budget {
	return c.BudgetWith(Layer{Name: LayerTotal, Budget: total}, layers...)
}

// BudgetWith is Budget with more to say of the total, whose name and share do not matter.
func (c *Client) BudgetWith(total Layer, layers ...Layer) *Budget {
	b := &Budget{client: c, clock: func() int64 { return int64(time.Since(budgetEpoch)) }}
	if err := b.fill(total, layers); err != nil {
		b.err, b.total, b.layers = err, layerTime{}, nil
	}
	return b
}

func (b *Budget) fill(total Layer, layers []Layer) (err error) {
	if total.Budget == 0 {
		total.Budget = totalDefault
	}
	total.Name, total.Share = LayerTotal, 0
	if b.total, err = layerMake(total, total.Budget); err != nil {
		return err
	}
	if len(layers) == 0 {
		layers = usualLayers
	}
	if len(layers) > layersMax {
		return fmt.Errorf("dwell: %d layers, more than %d", len(layers), layersMax)
	}
	for _, layer := range layers {
		if b.find(layer.Name) != nil {
			return fmt.Errorf("dwell: layer %q is there twice", layer.Name)
		}
		made, err := layerMake(layer, total.Budget)
		if err != nil {
			return err
		}
		b.layers = append(b.layers, made)
	}
	return nil
}

func layerMake(layer Layer, total time.Duration) (layerTime, error) {
	if layer.Name == "" || len(layer.Name) > layerNameMax {
		return layerTime{}, fmt.Errorf("dwell: layer %.80q: expects a name of 1 to %d bytes", layer.Name,
			layerNameMax)
	}
	for _, usual := range usualLayers {
		if usual.Name != layer.Name {
			continue
		}
		if layer.Budget == 0 && layer.Share == 0 {
			layer.Budget = usual.Budget
		}
		if layer.Enforcement == EnforcementDefault {
			layer.Enforcement = usual.Enforcement
		}
	}
	if layer.SoftLimit == 0 {
		layer.SoftLimit = softLimitPart
	}
	good := layer.SoftLimit > 0 && layer.SoftLimit <= 1 && layer.Enforcement <= EnforcementLenient
	if layer.Share != 0 {
		good = good && layer.Budget == 0 && layer.Share > 0 && layer.Share <= 1
		layer.Budget = time.Duration(math.Round(float64(total) * layer.Share))
	}
	if !good || layer.Budget < budgetMin || layer.Budget > budgetMax {
		return layerTime{}, fmt.Errorf("dwell: layer %q: out of range", layer.Name)
	}
	return layerTime{
		name:   layer.Name,
		budget: int64(layer.Budget),
		soft:   int64(math.Round(float64(layer.Budget) * layer.SoftLimit)),
		strict: layer.Enforcement != EnforcementLenient,
	}, nil
}

// Err says what was wrong with the arguments of Client.Budget; nil: nothing.
func (b *Budget) Err() error {
	if b == nil {
		return nil
	}
	return b.err
}

// SetRequestID says which request it is, at most 128 bytes; sent with each record. Longer is cut.
func (b *Budget) SetRequestID(id string) {
	if b != nil {
		b.mu.Lock()
		b.requestID = textCut(id, requestIDMax)
		b.mu.Unlock()
	}
}

// find gives a layer or the total; nil: there is none of the name.
func (b *Budget) find(name string) *layerTime {
	if name == LayerTotal && b.total.budget > 0 {
		return &b.total
	}
	for i := range b.layers {
		if b.layers[i].name == name {
			return &b.layers[i]
		}
	}
	return nil
}

// Start begins an operation of a layer or of the total. A layer that there is not: a no-op.
func (b *Budget) Start(layer string) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if l := b.find(layer); l != nil {
		if l.running == 0 {
			l.since = b.clock()
		}
		l.running++
		l.started = true
	}
}

// Stop ends one: it returns what is to be said of the layer now, and the time it has taken since it was
// reset. When the last one that runs has ended, it records what the layer has taken since its last
// record, and what it had taken before, with the operation (empty: not said) and the context's span, if
// that is sampled. If none runs, it is Check.
func (b *Budget) Stop(ctx context.Context, layer, operation string) (Verdict, time.Duration) {
	verdict, taken, _ := b.stop(ctx, layer, operation)
	return verdict, taken
}

func (b *Budget) stop(ctx context.Context, layer, operation string) (Verdict, time.Duration, *layerTime) {
	if b == nil {
		return Within, 0, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.find(layer)
	if l == nil {
		return Within, 0, nil
	}
	now := b.clock()
	if l.running > 0 {
		taken := l.taken(now)
		l.running--
		if l.running == 0 {
			l.elapsed = taken
			b.record(ctx, l, operation)
		}
	}
	return b.judge(l, now)
}

// judge gives the verdict, the time of the layer, and which of the layer and the total is at fault.
func (b *Budget) judge(l *layerTime, now int64) (Verdict, time.Duration, *layerTime) {
	taken := l.taken(now)
	verdict := l.judge(taken)
	if !b.total.started {
		return verdict, time.Duration(taken), l
	}
	if whole := b.total.judge(b.total.taken(now)); whole >= Exceeded && whole > verdict {
		return whole, time.Duration(taken), &b.total
	}
	return verdict, time.Duration(taken), l
}

// Check is what Stop returns, of a layer as it is now. Records nothing. Without such a layer it is within,
// after no time.
func (b *Budget) Check(layer string) (Verdict, time.Duration) {
	if b == nil {
		return Within, 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.find(layer)
	if l == nil {
		return Within, 0
	}
	verdict, taken, _ := b.judge(l, b.clock())
	return verdict, taken
}

// Remaining is the time that an operation of the layer has left, 0 or more. Without such a layer it is
// the longest there is.
func (b *Budget) Remaining(layer string) time.Duration {
	if b == nil {
		return math.MaxInt64
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.find(layer)
	if l == nil {
		return math.MaxInt64
	}
	now := b.clock()
	left := l.budget - l.taken(now)
	if b.total.started {
		left = min(left, b.total.budget-b.total.taken(now))
	}
	return time.Duration(max(0, left))
}

// Reset forgets the time of the layers that are named, without any of all and the total, and operations
// that run. What was recorded is not taken back.
func (b *Budget) Reset(layers ...string) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, layer := range layers {
		if l := b.find(layer); l != nil {
			l.reset()
		}
	}
	if len(layers) == 0 {
		b.total.reset()
		for i := range b.layers {
			b.layers[i].reset()
		}
	}
}

func (l *layerTime) reset() {
	l.running, l.elapsed, l.recorded, l.started = 0, 0, 0, false
}

// record says what a layer has taken that is in no record yet.
func (b *Budget) record(ctx context.Context, l *layerTime, operation string) {
	before := l.recorded
	l.recorded = l.elapsed
	c := b.client
	if c == nil {
		return
	}
	record := BudgetRecord{
		Layer:     l.name,
		ElapsedMS: float64(l.elapsed-before) / 1e6,
		Operation: textCut(operation, nameMax),
		RequestID: b.requestID,
	}
	if before > 0 {
		record.BeforeMS = Num(float64(before) / 1e6)
	}
	if span := current(ctx).shown(); span != nil {
		record.TraceID, record.SpanID = span.TraceID, span.SpanID
		record.TimestampUnixNano = uint64(time.Now().UnixNano())
		if span.Flags.whole()&FlagDecided != 0 {
			record.Decision = Sampled
		}
	}
	c.RecordBudget(&record)
}

// Run runs f as an operation of the layer, in a context that ends when the layer's time is over. Its own
// errors come back as they are. When the time is over:
//
//   - of a strict layer it returns a *LayerTimeoutError, whether f noticed the end of its context or came
//     to an end by itself;
//   - of another one, what f returned: context.DeadlineExceeded if it noticed.
//
// It waits for f: a goroutine cannot be ended from outside. Layers over their budget or soft limit are
// told to Options.Logger.
func (b *Budget) Run(ctx context.Context, layer string, f func(context.Context) error) error {
	return b.RunOperation(ctx, layer, "", f)
}

// RunOperation is Run with the operation's name, which is in the record and the error.
func (b *Budget) RunOperation(ctx context.Context, layer, operation string,
	f func(context.Context) error) error {
	if b == nil {
		return f(ctx)
	}
	b.Start(layer) // before the timer, so that who sees its end has used more than the budget
	inner := ctx
	if left := b.Remaining(layer); left < math.MaxInt64 {
		var cancel context.CancelFunc
		inner, cancel = context.WithTimeout(ctx, left)
		defer cancel()
	}
	ended := false
	defer func() {
		if !ended { // f panics, or ends its goroutine
			b.Stop(ctx, layer, operation)
		}
	}()
	err := f(inner)
	ended = true
	verdict, taken, fault := b.stop(ctx, layer, operation)
	b.tell(verdict, taken, layer, operation)
	if verdict < ExceededStrict || (err != nil && !ours(err, ctx, inner)) {
		return err
	}
	return b.timeout(fault, taken, layer, operation)
}

// ours says whether an error comes from the end of the inner context, and not of the outer one.
func ours(err error, outer, inner context.Context) bool {
	var earlier *LayerTimeoutError
	return outer.Err() == nil && inner.Err() != nil && !errors.As(err, &earlier) &&
		errors.Is(err, context.DeadlineExceeded)
}

func (b *Budget) timeout(fault *layerTime, taken time.Duration, layer, operation string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if fault == &b.total && layer != LayerTotal {
		taken = time.Duration(b.total.taken(b.clock()))
	}
	return &LayerTimeoutError{
		LayerName:          fault.name,
		BudgetMS:           float64(fault.budget) / 1e6,
		ElapsedMS:          float64(taken) / 1e6,
		Operation:          operation,
		ConstitutionalHash: b.hash(),
	}
}

// hash is the client's, or what the service has by its environment.
func (b *Budget) hash() string {
	if b.client != nil && b.client.options.ConstitutionalHash != "" {
		return b.client.options.ConstitutionalHash
	}
	if hash := os.Getenv("CONSTITUTIONAL_HASH"); hash != "" {
		return hash
	}
	return DefaultHash
}

func (b *Budget) tell(verdict Verdict, taken time.Duration, layer, operation string) {
	if verdict == Within || b.client == nil || b.client.options.Logger == nil {
		return
	}
	what := "over its soft limit"
	if verdict >= Exceeded {
		what = "over its budget"
	}
	b.client.options.Logger.Warn("["+b.hash()+"] layer "+what, "layer", layer,
		"elapsed_ms", float64(taken)/1e6, "operation", operation)
}

// BudgetReport is a budget as it is, with the keys of the daemon's /api/v1/budgets.
type BudgetReport struct {
	TotalBudgetMS      float64                `json:"total_budget_ms"`
	TotalElapsedMS     float64                `json:"total_elapsed_ms"`
	TotalRemainingMS   float64                `json:"total_remaining_ms"`
	Layers             map[string]LayerReport `json:"layers"`
	ConstitutionalHash string                 `json:"constitutional_hash"`
}

// LayerReport is one layer of it.
type LayerReport struct {
	BudgetMS            float64 `json:"budget_ms"`
	ElapsedMS           float64 `json:"elapsed_ms"`
	RemainingMS         float64 `json:"remaining_ms"`
	IsExceeded          bool    `json:"is_exceeded"`
	IsSoftLimitExceeded bool    `json:"is_soft_limit_exceeded"`
}

// Report returns what every layer has taken. What is left of a layer is by its own budget alone.
func (b *Budget) Report() BudgetReport {
	report := BudgetReport{Layers: map[string]LayerReport{}, ConstitutionalHash: DefaultHash}
	if b == nil {
		return report
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.clock()
	taken := b.total.taken(now)
	report.ConstitutionalHash = b.hash()
	report.TotalBudgetMS = float64(b.total.budget) / 1e6
	report.TotalElapsedMS = float64(taken) / 1e6
	report.TotalRemainingMS = float64(max(0, b.total.budget-taken)) / 1e6
	for i := range b.layers {
		l := &b.layers[i]
		taken = l.taken(now)
		report.Layers[l.name] = LayerReport{
			BudgetMS:            float64(l.budget) / 1e6,
			ElapsedMS:           float64(taken) / 1e6,
			RemainingMS:         float64(max(0, l.budget-taken)) / 1e6,
			IsExceeded:          taken > l.budget,
			IsSoftLimitExceeded: taken > l.soft,
		}
	}
	return report
}

// BudgetRecord says how long one layer of one request took. Required: Layer and ElapsedMS.
type BudgetRecord struct {
	Layer     string  // 1 to 256 bytes; "total": the request
	ElapsedMS float64 // 0 to 1e12
	BeforeMS  Number  // what the layer took in the same request before
	Operation string  // at most 256 bytes
	RequestID string  // at most 256 bytes

	// The span in which the layer ran; only if that is sent, too.
	TraceID           TraceID
	SpanID            SpanID
	TimestampUnixNano uint64 // when the layer was left; 0: not sent
	Decision          Decision
}

// RecordBudget records a layer's time as it is. Nil is a no-op.
func (c *Client) RecordBudget(record *BudgetRecord) {
	if c == nil || record == nil {
		return
	}
	scratch := c.scratchTake()
	*scratch = record.append(recordBegin(*scratch))
	c.putRecord(c.now(), *scratch, batchBudget)
	c.scratchGive(scratch)
}

func (r *BudgetRecord) append(b []byte) []byte {
	b = appendDouble(appendText(b, budgetLayer, r.Layer), budgetElapsed, r.ElapsedMS)
	b = appendSome(b, budgetOperation, r.Operation)
	b = appendSome(b, budgetRequestID, r.RequestID)
	b = r.TraceID.append(b, budgetTraceID)
	b = r.SpanID.append(b, budgetSpanID)
	if r.TimestampUnixNano != 0 {
		b = appendFixed64(b, budgetTimestamp, r.TimestampUnixNano)
	}
	if r.Decision != Undecided {
		b = appendFixed32(b, budgetFlags, uint32(r.Decision)&1)
	}
	return r.BeforeMS.append(b, budgetBefore)
}
