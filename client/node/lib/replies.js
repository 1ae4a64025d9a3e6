// Reads what the daemon answers: frames of a little-endian length and a Reply. It keeps at most one reply.
//
// What can fail: bytes that are no reply, among them the line of JSON by which a daemon refuses a
// connection (its first byte would be a length that no reply has). feed() is then -1 for good.
"use strict";

const { REPLY_BYTES } = require("./limits.js");

const REPLY_FLUSHED = 1;

// The number at `at` and where it ends, or null.
function varintAt(bytes, at, end) {
    let number = 0;
    for (let scale = 1; at < end && scale <= 2 ** 63; scale *= 128) {
        const byte = bytes[at++];
        number += (byte & 0x7f) * scale;
        if (byte < 0x80) {
            return { number, at };
        }
    }
    return null;
}

// Whether a Reply says `flushed`; null when the bytes are no message. What else it says is skipped.
function saysFlushed(bytes, at, end) {
    let flushed = false;
    while (at < end) {
        const tag = varintAt(bytes, at, end);
        if (tag === null) {
            return null;
        }
        at = tag.at;
        const type = tag.number % 8;
        if (type === 1) {
            at += 8;
        } else if (type === 5) {
            at += 4;
        } else if (type === 0 || type === 2) {
            const value = varintAt(bytes, at, end);
            if (value === null) {
                return null;
            }
            at = type === 2 ? value.at + value.number : value.at;
            flushed ||= type === 0 && Math.floor(tag.number / 8) === REPLY_FLUSHED;
        } else {
            return null;
        }
    }
    return at === end ? flushed : null;
}

class Replies {
    constructor() {
        this.bytes = Buffer.allocUnsafe(REPLY_BYTES);
        this.length = 0;
        this.isBroken = false;
    }

    // Takes bytes as they come, in any pieces; returns how many flushes they answer, -1 when they make no
    // sense.
    feed(chunk) {
        let answered = 0;
        for (let at = 0; at < chunk.length && !this.isBroken;) {
            const part = Math.min(chunk.length - at, REPLY_BYTES - this.length);
            this.bytes.set(chunk.subarray(at, at + part), this.length);
            this.length += part;
            at += part;
            answered += this._handle();
        }
        return this.isBroken ? -1 : answered;
    }

    _handle() {
        let answered = 0;
        let at = 0;
        while (this.length - at >= 4) {
            const size = this.bytes.readUInt32LE(at);
            if (size > REPLY_BYTES - 4) {
                this.isBroken = true;
                break;
            }
            if (this.length - at - 4 < size) {
                break;
            }
            const flushed = saysFlushed(this.bytes, at + 4, at + 4 + size);
            this.isBroken = flushed === null;
            answered += flushed ? 1 : 0;
            at += 4 + size;
        }
        this.bytes.copyWithin(0, at, this.length);
        this.length -= at;
        return answered;
    }
}

module.exports = { Replies };
