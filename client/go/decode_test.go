package dwell

// A decoder of what a client writes, made for the tests alone. It takes nothing that proto/WIRE.md does
// not want from a client: fields of a message in ascending order, lengths that fit.

import (
	"encoding/binary"
	"fmt"
	"math"
	"testing"
)

type field struct {
	number uint64
	kind   uint64
	value  uint64
	bytes  []byte
}

type message []field

// decode reads a message. Ascending: numbers never fall.
func decode(b []byte, ascending bool) (m message, err error) {
	last := uint64(0)
	for len(b) > 0 {
		tag, size := binary.Uvarint(b)
		if size <= 0 {
			return nil, fmt.Errorf("a tag is cut")
		}
		b = b[size:]
		f := field{number: tag >> 3, kind: tag & 7}
		if f.number == 0 || (ascending && f.number < last) {
			return nil, fmt.Errorf("field %d after %d", f.number, last)
		}
		last = f.number
		length := 0
		switch f.kind {
		case wireVarint:
			if f.value, length = binary.Uvarint(b); length <= 0 {
				return nil, fmt.Errorf("field %d is cut", f.number)
			}
		case wireFixed64:
			if length = 8; len(b) >= length {
				f.value = binary.LittleEndian.Uint64(b)
			}
		case wireFixed32:
			if length = 4; len(b) >= length {
				f.value = uint64(binary.LittleEndian.Uint32(b))
			}
		case wireBytes:
			count, size := binary.Uvarint(b)
			if size <= 0 || count > uint64(len(b)-size) {
				return nil, fmt.Errorf("field %d is cut", f.number)
			}
			f.bytes = b[size : size+int(count)]
			length = size + int(count)
		default:
			return nil, fmt.Errorf("field %d has wire type %d", f.number, f.kind)
		}
		if length > len(b) {
			return nil, fmt.Errorf("field %d is cut", f.number)
		}
		b = b[length:]
		m = append(m, f)
	}
	return m, nil
}

func (m message) find(number uint64) *field {
	for i := range m {
		if m[i].number == number {
			return &m[i]
		}
	}
	return nil
}

func (m message) all(number uint64) (found []field) {
	for _, f := range m {
		if f.number == number {
			found = append(found, f)
		}
	}
	return found
}

func (m message) text(number uint64) string {
	if f := m.find(number); f != nil {
		return string(f.bytes)
	}
	return ""
}

func (m message) number(number uint64) uint64 {
	if f := m.find(number); f != nil {
		return f.value
	}
	return 0
}

func (m message) double(number uint64) float64 {
	return math.Float64frombits(m.number(number))
}

// record is one that came: its field in the batch, and its own fields.
type record struct {
	kind uint64
	message
}

// batch is one that came.
type batch struct {
	clientID string
	first    uint64
	dropped  uint64
	records  []record // also hello, flush and goodbye
}

func (b *batch) counted() (count uint64) {
	for _, r := range b.records {
		if r.kind != batchHello && r.kind != batchFlush && r.kind != batchGoodbye {
			count++
		}
	}
	return count
}

func decodeBatch(b []byte) (*batch, error) {
	all, err := decode(b, false)
	if err != nil {
		return nil, err
	}
	if len(all) < 3 || all[0].number != 1 || len(all[0].bytes) != 16 || all[1].number != 2 ||
		all[2].number != 3 {
		return nil, fmt.Errorf("the head is not client_id, first_sequence, dropped")
	}
	made := &batch{clientID: string(all[0].bytes), first: all[1].value, dropped: all[2].value}
	for _, f := range all[3:] {
		if f.kind != wireBytes || f.number < batchSample {
			return nil, fmt.Errorf("field %d is no record", f.number)
		}
		inner, err := decode(f.bytes, true)
		if err != nil {
			return nil, fmt.Errorf("record of field %d: %w", f.number, err)
		}
		made.records = append(made.records, record{f.number, inner})
	}
	return made, nil
}

func mustDecode(t testing.TB, b []byte) message {
	t.Helper()
	m, err := decode(b, true)
	if err != nil {
		t.Fatalf("% x: %v", b, err)
	}
	return m
}
