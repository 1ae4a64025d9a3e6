package dwell

// How fields of messages become bytes: proto/WIRE.md, "Batch". Pure; every function appends to a slice.

import (
	"encoding/binary"
	"math"
)

const (
	wireVarint  = 0
	wireFixed64 = 1
	wireBytes   = 2
	wireFixed32 = 5

	batchClientID      = 1
	batchFirstSequence = 2
	batchDropped       = 3
	batchSample        = 8
	batchHello         = 9
	batchFlush         = 10
	batchGoodbye       = 11
	batchSpan          = 13
	batchMetric        = 14
	batchBudget        = 15

	// What may stand before a record's body: a tag of one byte and a length of at most three.
	recordPrefixBytes = 4

	// The longest body of a record: fits a batch four times.
	recordBodyMax = 16384
)

func appendTag(b []byte, field, kind uint64) []byte {
	return binary.AppendUvarint(b, field<<3|kind)
}

func appendNumber(b []byte, field, number uint64) []byte {
	return binary.AppendUvarint(appendTag(b, field, wireVarint), number)
}

func appendFixed64(b []byte, field, number uint64) []byte {
	return binary.LittleEndian.AppendUint64(appendTag(b, field, wireFixed64), number)
}

func appendFixed32(b []byte, field uint64, number uint32) []byte {
	return binary.LittleEndian.AppendUint32(appendTag(b, field, wireFixed32), number)
}

func appendDouble(b []byte, field uint64, number float64) []byte {
	return appendFixed64(b, field, math.Float64bits(number))
}

func appendText(b []byte, field uint64, text string) []byte {
	b = binary.AppendUvarint(appendTag(b, field, wireBytes), uint64(len(text)))
	return append(b, text...)
}

func appendBytes(b []byte, field uint64, bytes []byte) []byte {
	b = binary.AppendUvarint(appendTag(b, field, wireBytes), uint64(len(bytes)))
	return append(b, bytes...)
}

// appendSome appends a text unless it is empty.
func appendSome(b []byte, field uint64, text string) []byte {
	if text == "" {
		return b
	}
	return appendText(b, field, text)
}

// appendSeen appends a number unless it is 0.
func appendSeen(b []byte, field, number uint64) []byte {
	if number == 0 {
		return b
	}
	return appendNumber(b, field, number)
}

func uvarintBytes(number uint64) int {
	count := 1
	for ; number >= 0x80; number >>= 7 {
		count++
	}
	return count
}

// nestedBegin begins a message within a message; nestedEnd, given the length of b after it, ends it.
func nestedBegin(b []byte, field uint64) []byte {
	return appendTag(b, field, wireBytes)
}

// nestedEnd puts the length before what was appended since the slice had `at` bytes.
func nestedEnd(b []byte, at int) []byte {
	length := len(b) - at
	size := uvarintBytes(uint64(length))
	for i := 0; i < size; i++ {
		b = append(b, 0)
	}
	copy(b[at+size:], b[at:at+length])
	binary.PutUvarint(b[at:], uint64(length))
	return b
}

// recordBegin empties a buffer, but for room for what stands before the body.
func recordBegin(b []byte) []byte {
	return append(b[:0], 0, 0, 0, 0)
}

// recordEnd gives the whole record of a body that was appended after recordBegin. Nil: it is too long.
func recordEnd(b []byte, field uint64) []byte {
	length := len(b) - recordPrefixBytes
	if length > recordBodyMax {
		return nil
	}
	at := recordPrefixBytes - uvarintBytes(uint64(length)) - 1
	b[at] = byte(field<<3 | wireBytes)
	binary.PutUvarint(b[at+1:], uint64(length))
	return b[at:]
}
