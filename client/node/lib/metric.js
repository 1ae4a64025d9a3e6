// Counters, gauges, histograms and infos: a handle for each series, with its bytes made beforehand.
//
//      72 .. | name | op | 21 v v v v v v v v | attributes | unit | aggregation |      ids, time
//              ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^       ^^^^^^^^^
//              copied as it is, but for the 8 bytes of the value                      seldom
//
// The daemon knows a series by these bytes, so they are the same for all of its records.
//
// What can fail: a name, an attribute or a value that has no form on the wire, or is over 16 kB long. The
// record is dropped and counted; of a handle that was made of such, each of its records.
"use strict";

const { RECORD_BYTES } = require("./limits.js");
const { isGiven, number, text, hex, nanos, pairs, attributeText, UNFIT } = require("./values.js");
const { Writer, putDouble, putVarint } = require("./writer.js");

const METRIC_TAG = 0x72;
const NAME = 1;
const OP = 3;
const VALUE = 4;
const ATTRIBUTE = 5;
const UNIT = 6;
const AGGREGATION = 7;
const TRACE_ID = 8;
const SPAN_ID = 9;
const TIMESTAMP = 10;
const KEY = 1;
const ATTRIBUTE_VALUE = 3;

const COUNT = 1;
const SET = 2;
const ADD = 3;
const OBSERVE = 4;
const INFO = 5;
const AGGREGATIONS = ["last", "sum", "max", "min", "per_pid"];

const NO_OPTIONS = { attributes: 0 }; // of which no record can be made

const scratch = new Writer(RECORD_BYTES);

// The body of a record without what is seldom there, and where its value is; null when it is none.
function encode(op, name, { unit, attributes, aggregation }) {
    scratch.rewind();
    let valueAt = -1;
    try {
        if (isGiven(name)) {
            scratch.text(NAME, text(name));
        }
        scratch.varint(OP, op);
        if (op !== INFO) {
            valueAt = scratch.at + 1;
            scratch.double(VALUE, 0);
        }
        for (const [key, value] of isGiven(attributes) ? pairs(attributes) : []) {
            if (isGiven(value)) {
                const begin = scratch.open(ATTRIBUTE);
                scratch.text(KEY, text(key));
                scratch.text(ATTRIBUTE_VALUE, attributeText(value));
                scratch.close(begin);
            }
        }
        if (isGiven(unit)) {
            scratch.text(UNIT, text(unit));
        }
        if (isGiven(aggregation)) {
            const at = AGGREGATIONS.indexOf(aggregation);
            if (at < 0) {
                throw UNFIT;
            }
            scratch.varint(AGGREGATION, at + 1);
        }
    } catch {
        return null;
    }
    return scratch.overflow ? null : { bytes: new Uint8Array(scratch.copy()), valueAt };
}

// What goes behind: the span that an exemplar is of, and when it was.
function encodeMore({ traceId, spanId, timestamp }) {
    scratch.rewind();
    if (isGiven(traceId)) {
        scratch.hex(TRACE_ID, hex(traceId));
    }
    if (isGiven(spanId)) {
        scratch.hex(SPAN_ID, hex(spanId));
    }
    if (isGiven(timestamp)) {
        scratch.fixed64(TIMESTAMP, nanos(timestamp));
    }
    return scratch.copy();
}

class Series {
    constructor(client, name, options) {
        this.name = name;
        this._client = client;
        try {
            this._options = { ...options };
        } catch {
            this._options = NO_OPTIONS; // a getter threw
        }
    }

    // The series of the same name that has these attributes as well.
    with(attributes) {
        let all = attributes;
        try {
            all = new Map([...pairs(this._options.attributes ?? {}), ...pairs(attributes ?? {})]);
        } catch {
            // No attributes: its records will be dropped, as they are of other handles that are made so.
        }
        return new this.constructor(this._client, this.name, { ...this._options, attributes: all });
    }

    _record(body, value, more) {
        const client = this._client;
        if (!client.enabled) {
            return;
        }
        try {
            const figure = number(value);
            const tail = more === undefined || more === null ? null : encodeMore(more);
            if (body === null) {
                throw UNFIT;
            }
            write(client, body, figure, tail);
        } catch {
            client._invalid();
        }
    }
}

function write(client, { bytes: body, valueAt }, value, tail) {
    const size = body.length + (tail === null ? 0 : tail.length);
    const begin = client._room(size + 4);
    if (begin < 0) {
        return;
    }
    const { bytes } = client._outbox.open;
    bytes[begin] = METRIC_TAG;
    let at = putVarint(bytes, begin + 1, size);
    bytes.set(body, at);
    if (valueAt >= 0) {
        putDouble(bytes, at + valueAt, value);
    }
    at += body.length;
    if (tail !== null) {
        bytes.set(tail, at);
        at += tail.length;
    }
    client._outbox.added(at);
}

class Counter extends Series {
    constructor(client, name, options) {
        super(client, name, options);
        this._count = encode(COUNT, name, { ...this._options, aggregation: undefined });
    }

    // Adds to the total: 0 or more.
    add(value = 1, more = undefined) {
        this._record(this._count, value, more);
    }
}

class Gauge extends Series {
    constructor(client, name, options) {
        super(client, name, options);
        this._set = encode(SET, name, this._options);
        this._add = encode(ADD, name, this._options);
    }

    set(value, more = undefined) {
        this._record(this._set, value, more);
    }

    // Changes it by so much; what a process has added ends with it.
    add(delta, more = undefined) {
        this._record(this._add, delta, more);
    }
}

class Histogram extends Series {
    constructor(client, name, options) {
        super(client, name, options);
        this._observe = encode(OBSERVE, name, { ...this._options, aggregation: undefined });
    }

    record(value, more = undefined) {
        this._record(this._observe, value, more);
    }
}

// An info has no handle: it is said once.
function recordInfo(client, name, attributes) {
    const body = encode(INFO, name, { attributes });
    if (body === null) {
        client._invalid();
    } else {
        write(client, body, 0, null);
    }
}

module.exports = { Counter, Gauge, Histogram, recordInfo };
