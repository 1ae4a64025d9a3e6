package dwell

// Samples that the caller measured.

import "encoding/binary"

const (
	sampleModelName     = 1
	sampleExecutionTime = 3
	sampleCPUDuring     = 4
	sampleMemoryAfter   = 5
	sampleCPUBefore     = 6
	sampleMemoryBefore  = 7
	sampleError         = 8
	sampleQueue         = 9
	sampleBatchSize     = 10
	sampleDevice        = 11
	sampleTraceID       = 12
	sampleSpanID        = 13
	sampleTimestamp     = 14
	sampleLabel         = 15
	sampleErrorText     = 16
	sampleUser          = 17
	sampleSystem        = 18
	sampleRunqueue      = 19
	sampleMinorFaults   = 20
	sampleMajorFaults   = 21
	sampleVoluntary     = 22
	sampleBytesMoved    = 23
	sampleFlops         = 24
	sampleThreads       = 25
	sampleProcessCPU    = 26
	sampleInvoluntary   = 27
	sampleDiskBytes     = 28
	sampleThreadID      = 29

	labelKey   = 1
	labelValue = 2

	// What most records need; longer ones let their buffer grow.
	scratchBytes = 1024
	// A buffer that grew past this is not kept.
	scratchBytesMax = recordBodyMax + 1024
)

// Number is a figure that may be missing: 0 % CPU is not the same as no CPU figure. The zero Number is
// missing.
type Number struct {
	value float64
	given bool
}

// Num is a figure that is there.
func Num(value float64) Number {
	return Number{value: value, given: true}
}

// Get returns the figure, and whether there is one.
func (n Number) Get() (value float64, given bool) {
	return n.value, n.given
}

func (n Number) append(b []byte, field uint64) []byte {
	if !n.given {
		return b
	}
	return appendDouble(b, field, n.value)
}

// Label is a key, 1 to 256 bytes, and a value, at most 256 bytes.
type Label struct {
	Key   string
	Value string
}

// Sample is one inference that the caller measured. Required: ModelName, 1 to 256 bytes of UTF-8, and
// ExecutionTimeMS. Numbers are finite and not negative.
type Sample struct {
	ModelName       string
	ExecutionTimeMS float64 // 0 to 1e12

	CPUPercentBefore Number // 100 = one core
	CPUPercentDuring Number
	MemoryMBBefore   Number // MiB
	MemoryMBAfter    Number
	QueueMS          Number // waited before execution began; not part of ExecutionTimeMS
	BatchSize        Number // inputs handled together

	Error     bool   // the inference failed
	ErrorText string // implies Error

	Device            string // "cpu", "cuda:0", …; at most 256 bytes
	TraceID           TraceID
	SpanID            SpanID
	TimestampUnixNano uint64  // 0: not sent; beside ThreadID when the inference ended
	Labels            []Label // at most 16

	// Evidence: what the inference used.
	UserMS              Number
	SystemMS            Number
	RunqueueMS          Number // ready, but without a CPU
	MinorFaults         Number
	MajorFaults         Number
	VoluntarySwitches   Number
	BytesMoved          Number // a hint: memory traffic that the inference needs
	Flops               Number // a hint: floating point operations
	Threads             Number // that worked on it
	ProcessCPUMS        Number // of all threads of the process meanwhile
	InvoluntarySwitches Number
	DiskBytes           Number // read from and written to disks
	ThreadID            uint64 // that ran it, as gettid says; 0: not sent
}

// RecordSample records a sample as it is. Nil is a no-op.
func (c *Client) RecordSample(sample *Sample) {
	if c == nil || sample == nil {
		return
	}
	scratch := c.scratchTake()
	*scratch = sample.append(recordBegin(*scratch))
	c.putRecord(c.now(), *scratch, batchSample)
	c.scratchGive(scratch)
}

func (s *Sample) append(b []byte) []byte {
	b = appendText(b, sampleModelName, s.ModelName)
	b = appendDouble(b, sampleExecutionTime, s.ExecutionTimeMS)
	b = s.CPUPercentDuring.append(b, sampleCPUDuring)
	b = s.MemoryMBAfter.append(b, sampleMemoryAfter)
	b = s.CPUPercentBefore.append(b, sampleCPUBefore)
	b = s.MemoryMBBefore.append(b, sampleMemoryBefore)
	if s.Error || s.ErrorText != "" {
		b = appendNumber(b, sampleError, 1)
	}
	b = s.QueueMS.append(b, sampleQueue)
	b = s.BatchSize.append(b, sampleBatchSize)
	b = appendSome(b, sampleDevice, s.Device)
	b = s.TraceID.append(b, sampleTraceID)
	b = s.SpanID.append(b, sampleSpanID)
	if s.TimestampUnixNano != 0 {
		b = appendFixed64(b, sampleTimestamp, s.TimestampUnixNano)
	}
	for _, label := range s.Labels {
		b = appendPair(b, sampleLabel, label.Key, label.Value, labelValue)
	}
	b = appendSome(b, sampleErrorText, s.ErrorText)
	b = s.UserMS.append(b, sampleUser)
	b = s.SystemMS.append(b, sampleSystem)
	b = s.RunqueueMS.append(b, sampleRunqueue)
	b = s.MinorFaults.append(b, sampleMinorFaults)
	b = s.MajorFaults.append(b, sampleMajorFaults)
	b = s.VoluntarySwitches.append(b, sampleVoluntary)
	b = s.BytesMoved.append(b, sampleBytesMoved)
	b = s.Flops.append(b, sampleFlops)
	b = s.Threads.append(b, sampleThreads)
	b = s.ProcessCPUMS.append(b, sampleProcessCPU)
	b = s.InvoluntarySwitches.append(b, sampleInvoluntary)
	b = s.DiskBytes.append(b, sampleDiskBytes)
	return appendSeen(b, sampleThreadID, s.ThreadID)
}

// appendPair appends a message of two texts: the key is its field 1.
func appendPair(b []byte, field uint64, key, value string, valueField uint64) []byte {
	length := 2 + uvarintBytes(uint64(len(key))) + len(key) + uvarintBytes(uint64(len(value))) + len(value)
	b = binary.AppendUvarint(appendTag(b, field, wireBytes), uint64(length))
	return appendText(appendText(b, labelKey, key), valueField, value)
}

// putRecord keeps the record whose body was appended to b after recordBegin.
func (c *Client) putRecord(stamp int64, b []byte, field uint64) bool {
	return c.put(stamp, recordEnd(b, field), 0, 0)
}

func (c *Client) scratchTake() *[]byte {
	return c.scratch.Get().(*[]byte)
}

func (c *Client) scratchGive(scratch *[]byte) {
	if cap(*scratch) <= scratchBytesMax {
		c.scratch.Put(scratch)
	}
}
