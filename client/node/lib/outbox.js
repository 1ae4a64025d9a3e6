// What was recorded and waits to be sent: encoded records in a few batches of fixed size, and the ledger
// that says which number each call got. It knows no socket and no clock.
//
//      batches     oldest                   open
//              +-------------+-------------+-------------+- - - - - - +
//              | head | r r r| head | r r r| head | r r  |    free    |      at most `max` of them
//              +-------------+-------------+-------------+- - - - - - +
//                ^ 64 bytes, written from their end when the batch is sent
//
// Happy path
//  1. room() says where a record may be written; added() counts it in.
//  2. frame() puts the head before the records of the oldest batch: one piece of memory to be sent.
//  3. sent() gives the memory back once the kernel has all of it.
//
// What can fail: all batches are full. room() is then -1, the record is dropped and counted.
//
// Numbers. Calls are numbered from 0, dropped ones too, and the records of a batch are consecutive. The
// numbers are given when a batch is sent: `taken` counts records that left by sent() or giveUp(), `drops`
// calls that never came in. With first_sequence = taken + drops and dropped = drops + givenUp, a batch
// that is given up, and every call that is dropped, moves both alike: nothing shows as lost.
"use strict";

const { BATCH_BYTES, HEAD_BYTES } = require("./limits.js");
const { putVarint } = require("./writer.js");

const BATCH_CLIENT_ID = 0x0a;
const BATCH_FIRST_SEQUENCE = 0x10;
const BATCH_DROPPED = 0x18;
const BATCH_HELLO = 0x4a;
const BATCH_FLUSH = 0x52;
const BATCH_GOODBYE = 0x5a;

class Batch {
    constructor() {
        this.bytes = Buffer.allocUnsafeSlow(BATCH_BYTES);
        this.at = HEAD_BYTES;
        this.records = 0;
    }
}

class Outbox {
    constructor(clientId, bytesMax) {
        this.clientId = clientId;
        this.max = Math.floor(bytesMax / BATCH_BYTES);
        this.waiting = []; // oldest first; the last one is open
        this.free = [];
        this.made = 0;
        this.open = null;
        this.records = 0; // that wait

        this.taken = 0;
        this.drops = 0;
        this.givenUp = 0;
    }

    // Calls so far; each is in exactly one of these.
    get calls() {
        return this.taken + this.drops + this.records;
    }

    get dropped() {
        return this.drops + this.givenUp;
    }

    // True when the oldest batch will not grow.
    get isSealed() {
        return this.waiting.length > 1;
    }

    // Where in open.bytes `size` bytes may be written, or -1 when everything is full.
    room(size) {
        const open = this.open;
        if (open !== null && open.at + size <= BATCH_BYTES) {
            return open.at;
        }
        return this._next(size);
    }

    _next(size) {
        if (size > BATCH_BYTES - HEAD_BYTES) {
            return -1;
        }
        let batch = this.free.pop();
        if (batch === undefined) {
            if (this.made === this.max) {
                return -1;
            }
            batch = new Batch();
            this.made++;
        }
        this.waiting.push(batch);
        this.open = batch;
        return batch.at;
    }

    // A record was written up to `at`.
    added(at) {
        this.open.at = at;
        this.open.records++;
        this.records++;
    }

    _ledger(bytes, at) {
        bytes[at++] = BATCH_CLIENT_ID;
        at = putVarint(bytes, at, this.clientId.length);
        bytes.set(this.clientId, at);
        at += this.clientId.length;
        bytes[at++] = BATCH_FIRST_SEQUENCE;
        at = putVarint(bytes, at, this.taken + this.drops);
        bytes[at++] = BATCH_DROPPED;
        return putVarint(bytes, at, this.dropped);
    }

    // The oldest batch as a frame. Its memory is lent until sent(), giveUp() or the next frame().
    frame() {
        const batch = this.waiting[0];
        if (batch === this.open) {
            this.open = null; // what is recorded meanwhile goes into another
        }
        const head = Buffer.allocUnsafe(HEAD_BYTES);
        const size = this._ledger(head, 4);
        const begin = HEAD_BYTES - size;
        head.writeUInt32LE(size - 4 + batch.at - HEAD_BYTES, 0);
        head.copy(batch.bytes, begin, 0, size);
        return batch.bytes.subarray(begin, batch.at);
    }

    _remove() {
        const batch = this.waiting.shift();
        if (batch === this.open) {
            this.open = null;
        }
        const records = batch.records;
        this.taken += records;
        this.records -= records;
        batch.at = HEAD_BYTES;
        batch.records = 0;
        this.free.push(batch);
        return records;
    }

    // The kernel has the oldest batch. Returns how many records were in it.
    sent() {
        return this._remove();
    }

    // Everything that waits is too old to be worth sending.
    giveUp() {
        while (this.waiting.length > 0) {
            this.givenUp += this._remove();
        }
    }

    // A frame without records: hello, flush or goodbye, which `put` writes into it and returns its end.
    _control(bytesMax, put) {
        const bytes = Buffer.allocUnsafe(HEAD_BYTES + bytesMax);
        const at = put(bytes, this._ledger(bytes, 4));
        bytes.writeUInt32LE(at - 4, 0);
        return bytes.subarray(0, at);
    }

    hello(message) {
        return this._control(message.length + 8, (bytes, at) => {
            bytes[at++] = BATCH_HELLO;
            at = putVarint(bytes, at, message.length);
            bytes.set(message, at);
            return at + message.length;
        });
    }

    flush() {
        return this._control(2, (bytes, at) => {
            bytes[at++] = BATCH_FLUSH;
            bytes[at++] = 0;
            return at;
        });
    }

    // Says how many numbers there were; everything that waited must have been sent.
    goodbye() {
        return this._control(12, (bytes, at) => {
            const begin = at + 2;
            bytes[at] = BATCH_GOODBYE;
            bytes[begin] = 0x08;
            const end = putVarint(bytes, begin + 1, this.taken + this.drops);
            bytes[at + 1] = end - begin;
            return end;
        });
    }
}

module.exports = { Outbox };
