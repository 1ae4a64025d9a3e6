package dwell

// Makes frames of what was taken from the shards, and keeps the ledger: proto/WIRE.md, "Frames" and
// "Ledger".
//
//  1. take exchanges the shards' buffers; calls that were dropped since get the next numbers.
//  2. fill merges records by their stamps into a frame until it is full, and numbers them.
//  3. done, or giveUp, closes the account of the frame.
//
// Nothing can fail here. One goroutine at a time.

import "encoding/binary"

const (
	// A whole frame with its length.
	batchBytesMax = 64 << 10
	// length 4, client_id 18, first_sequence 11, dropped 11
	batchHeadBytesMax = 44
)

// taken is what a shard had.
type taken struct {
	bytes []byte
	at    int
}

func (t *taken) stamp() int64 {
	return int64(binary.LittleEndian.Uint64(t.bytes[t.at:]))
}

func (t *taken) record() []byte {
	from := t.at + recordHeadBytes
	return t.bytes[from : from+int(binary.LittleEndian.Uint32(t.bytes[t.at+8:]))]
}

func (t *taken) step() {
	t.at += recordHeadBytes + len(t.record())
}

type framer struct {
	from     *buffers
	clientID [16]byte

	spares [][]byte
	lots   []taken // by shard

	frame   []byte // empty: there is none
	records uint64 // in it
	first   uint64 // what its head says
	gone    uint64

	numbered uint64 // calls that have a number
	dropped  uint64 // of these: given up
	known    uint64 // drops of the shards that are in the two above
}

func (f *framer) init(from *buffers, clientID [16]byte) {
	f.from = from
	f.clientID = clientID
	f.spares = make([][]byte, len(from.shards))
	f.lots = make([]taken, len(from.shards))
	f.frame = make([]byte, 0, batchBytesMax)
}

// take gets everything that was recorded up to now. What was taken before must be used up.
func (f *framer) take(last bool) {
	for i := range f.lots {
		if f.lots[i].bytes != nil {
			f.spares[i] = f.lots[i].bytes[:0]
			f.lots[i] = taken{}
		}
	}
	dropped := f.from.cut(f.spares, last)
	for i := range f.spares {
		if len(f.spares[i]) > 0 {
			f.lots[i] = taken{bytes: f.spares[i]}
			f.spares[i] = nil
		}
	}
	f.numbered += dropped - f.known
	f.dropped += dropped - f.known
	f.known = dropped
}

// merge gives the lot whose next record is the oldest; nil when all are used up.
func (f *framer) merge() *taken {
	var oldest *taken
	for i := range f.lots {
		lot := &f.lots[i]
		if lot.at < len(lot.bytes) && (oldest == nil || lot.stamp() < oldest.stamp()) {
			oldest = lot
		}
	}
	return oldest
}

// left says whether something was taken and is in no frame yet.
func (f *framer) left() bool {
	return f.merge() != nil
}

// head begins a frame; tail ends it.
func (f *framer) head(b []byte, first, dropped uint64) []byte {
	b = append(b[:0], 0, 0, 0, 0)
	b = appendBytes(b, batchClientID, f.clientID[:])
	b = appendNumber(b, batchFirstSequence, first)
	return appendNumber(b, batchDropped, dropped)
}

func tail(b []byte) []byte {
	binary.LittleEndian.PutUint32(b, uint32(len(b)-4))
	return b
}

// fill makes a frame of records. False: there are none.
func (f *framer) fill() bool {
	lot := f.merge()
	if lot == nil {
		return false
	}
	f.first, f.gone, f.records = f.numbered, f.dropped, 0
	b := f.head(f.frame, f.first, f.gone)
	for lot != nil && len(b)+len(lot.record()) <= batchBytesMax {
		b = append(b, lot.record()...)
		f.records++
		lot.step()
		lot = f.merge()
	}
	f.numbered += f.records
	f.frame = tail(b)
	return true
}

// done forgets the frame, which was sent.
func (f *framer) done() {
	f.frame, f.records = f.frame[:0], 0
}

// giveUp drops the frame and all that was taken.
func (f *framer) giveUp() {
	f.dropped += f.records
	f.done()
	for lot := f.merge(); lot != nil; lot = f.merge() {
		lot.step()
		f.numbered++
		f.dropped++
	}
}

// standing is where the next frame begins: what a hello says.
func (f *framer) standing() (first, dropped uint64) {
	if len(f.frame) > 0 {
		return f.first, f.gone
	}
	return f.numbered, f.dropped
}
