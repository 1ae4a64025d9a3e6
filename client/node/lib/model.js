// One model of a client, and an inference of it that is being measured.
//
// Happy path
//  1. begin() reads the clock, and, as often as that is worth its price, the CPU time of the thread.
//  2. end() reads the clock again and writes the sample into the open batch, byte by byte: name, time, and
//     what else there is. Nothing is made for it but the handle.
//
// What can fail: there is no room, or the name is no text: the sample is dropped and counted.
"use strict";

const { performance } = require("node:perf_hooks");
const { types } = require("node:util");

const { Writer, putDouble, putHex, putVarint } = require("./writer.js");

const now = performance.now.bind(performance);

const SAMPLE_TAG = 0x42;
const TIME_TAG = 0x19;
const ERROR_TAG = 0x40;
const TRACE_ID_TAG = 0x62;
const SPAN_ID_TAG = 0x6a;
const NAME_FIELD = 1;
const TIME_BYTES = 9;
const ERROR_BYTES = 2;
const TRACE_ID_BYTES = 16;
const SPAN_ID_BYTES = 8;
const IDS_BYTES = 2 + TRACE_ID_BYTES + 2 + SPAN_ID_BYTES;
const NAME_BYTES_MAX = 4096; // of a name that is sent, to be refused by the daemon

// An inference being measured. To end it never is fine, and records nothing.
class Track {
    constructor(model, begun) {
        this._model = model;
        this._begun = begun;
        this._startedAt = now();
    }

    // Ends it and records one sample; a second time is a no-op. `error`: anything but undefined, null and
    // false marks the inference as failed. `more`: fields of a sample that were not measured.
    end(error, more) {
        const model = this._model;
        if (model === null) {
            return;
        }
        const time = now();
        this._model = null;
        model._record(time, time - this._startedAt, hasFailed(error), this._begun, more);
    }
}

function hasFailed(error) {
    return error !== undefined && error !== null && error !== false;
}

class NoTrack {
    end() {}
}

const NO_TRACK = new NoTrack();

function isThenable(value) {
    try {
        return (
            types.isPromise(value) || (typeof value === "object" && typeof value?.then === "function")
        );
    } catch {
        return false; // a getter that throws is the caller's to meet
    }
}

class Model {
    constructor(client, name) {
        this.name = name;
        this._client = client;
        this._earnedMs = Infinity; // what evidence may cost: the first inference is always read
        this._field = null; // the name as it is written
        if (typeof name === "string") {
            const out = new Writer(NAME_BYTES_MAX);
            out.text(NAME_FIELD, name);
            this._field = out.overflow ? null : new Uint8Array(out.copy());
        }
    }

    // Begins an inference; its handle's end() records it.
    begin() {
        const client = this._client;
        if (!client.enabled) {
            return NO_TRACK;
        }
        let begun = null;
        if (this._earnedMs > client._priceMs) {
            begun = client._evidenceBegin();
            this._earnedMs = 0;
        }
        return new Track(this, begun);
    }

    // Runs a function, which may be async, as one inference; what it returns or throws is passed on.
    track(run) {
        const track = this.begin();
        let result;
        try {
            result = run();
        } catch (error) {
            track.end(true);
            throw error;
        }
        if (track === NO_TRACK || !isThenable(result)) {
            track.end();
            return result;
        }
        return Promise.resolve(result).then(
            (value) => {
                track.end();
                return value;
            },
            (error) => {
                track.end(true);
                throw error;
            },
        );
    }

    _record(time, elapsedMs, failed, begun, more) {
        const client = this._client;
        this._earnedMs += elapsedMs * client._evidenceShare;
        if (begun !== null || (more !== undefined && more !== null)) {
            client._recordMeasured(this.name, elapsedMs, failed, begun, more);
        } else {
            this._recordPlain(
                client,
                elapsedMs,
                failed,
                client._hasSpans ? client._shownContext() : null,
            );
        }
        if (time > client._link.dueAt) {
            client._link.overdue(time); // the event loop has not turned for long
        }
    }

    // Most samples: time, whether it failed, and the span that is current.
    _recordPlain(client, elapsedMs, failed, context) {
        const name = this._field;
        if (name === null) {
            client._invalid();
            return;
        }
        const ids = context === null ? 0 : IDS_BYTES;
        const size = name.length + TIME_BYTES + (failed ? ERROR_BYTES : 0) + ids;
        let at = client._room(size + 4);
        if (at < 0) {
            return;
        }
        const { bytes } = client._outbox.open;
        bytes[at++] = SAMPLE_TAG;
        at = putVarint(bytes, at, size);
        for (let i = 0; i < name.length; i++) {
            bytes[at++] = name[i];
        }
        bytes[at++] = TIME_TAG;
        at = putDouble(bytes, at, elapsedMs);
        if (failed) {
            bytes[at++] = ERROR_TAG;
            bytes[at++] = 1;
        }
        if (context !== null) {
            bytes[at++] = TRACE_ID_TAG;
            bytes[at++] = TRACE_ID_BYTES;
            at = putHex(bytes, at, context.traceId);
            bytes[at++] = SPAN_ID_TAG;
            bytes[at++] = SPAN_ID_BYTES;
            at = putHex(bytes, at, context.spanId);
        }
        client._outbox.added(at);
    }
}

module.exports = { Model };
