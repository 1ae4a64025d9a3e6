// Writes Protocol Buffers into memory that is there already. It knows wire types, not what fields mean.
//
// Happy path
//  1. rewind() forgets what was written.
//  2. text(), double() and their like write a field each; open() and close() surround a nested message.
//  3. bytes[0 … at) is the message.
//
// What can fail: there is no room for a field. It is then left out and `overflow` stays set, so that one
// look at the end tells. Whoever can do without a part takes `at` before it, and puts it back.
"use strict";

const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;
const FIXED32 = 5;

// A text up to here is written character by character: a call into Node's own code costs more.
const SHORT_TEXT = 40;

const double = new Float64Array(1);
const doubleBytes = new Uint8Array(double.buffer); // little-endian wherever Node runs but on s390x
const long = new BigUint64Array(1);
const longBytes = new Uint8Array(long.buffer);
const isBigEndian = new Uint8Array(new Uint16Array([1]).buffer)[0] === 0;

function turn(bytes) {
    if (isBigEndian) {
        bytes.reverse();
    }
}

// Writes 8 bytes of a double, without a tag; returns where they end.
function putDouble(bytes, at, number) {
    double[0] = number;
    turn(doubleBytes);
    bytes[at] = doubleBytes[0];
    bytes[at + 1] = doubleBytes[1];
    bytes[at + 2] = doubleBytes[2];
    bytes[at + 3] = doubleBytes[3];
    bytes[at + 4] = doubleBytes[4];
    bytes[at + 5] = doubleBytes[5];
    bytes[at + 6] = doubleBytes[6];
    bytes[at + 7] = doubleBytes[7];
    return at + 8;
}

// Writes a whole number from 0 to 2^53 - 1; returns where it ends.
function putVarint(bytes, at, number) {
    while (number >= 0x80) {
        bytes[at++] = (number & 0x7f) | 0x80; // of numbers past 32 bits, & takes the low ones
        number = number < 0x80000000 ? number >>> 7 : Math.floor(number / 128);
    }
    bytes[at++] = number;
    return at;
}

function varintBytes(number) {
    let count = 1;
    for (; number >= 0x80; number = Math.floor(number / 128)) {
        count++;
    }
    return count;
}

// By the code of a digit, of either case.
const DIGITS = new Uint8Array(128);
for (let i = 0; i < 16; i++) {
    DIGITS["0123456789abcdef".charCodeAt(i)] = i;
    DIGITS["0123456789ABCDEF".charCodeAt(i)] = i;
}

// Writes the bytes of hex digits that were looked at; returns where they end. Of ids a third of what Node's
// own write takes.
function putHex(bytes, at, digits) {
    for (let i = 0; i < digits.length; i += 2) {
        bytes[at++] = (DIGITS[digits.charCodeAt(i)] << 4) | DIGITS[digits.charCodeAt(i + 1)];
    }
    return at;
}

class Writer {
    constructor(size) {
        this.bytes = Buffer.allocUnsafeSlow(size);
        this.limit = size;
        this.at = 0;
        this.overflow = false;
    }

    rewind() {
        this.limit = this.bytes.length;
        this.at = 0;
        this.overflow = false;
    }

    // What was written, copied.
    copy() {
        return Buffer.from(this.bytes.subarray(0, this.at));
    }

    _has(room) {
        if (this.at + room > this.limit) {
            this.overflow = true;
        }
        return !this.overflow;
    }

    _tag(field, type) {
        this.at = putVarint(this.bytes, this.at, field * 8 + type);
    }

    // A whole number from 0 to 2^53 - 1.
    varint(field, number) {
        if (this._has(12)) {
            this._tag(field, VARINT);
            this.at = putVarint(this.bytes, this.at, number);
        }
    }

    // A BigInt; of a negative one the 64 bits of its two's complement, as int64 has them.
    bigVarint(field, number) {
        if (this._has(12)) {
            this._tag(field, VARINT);
            let rest = BigInt.asUintN(64, number);
            for (; rest >= 0x80n; rest >>= 7n) {
                this.bytes[this.at++] = Number(rest & 0x7fn) | 0x80;
            }
            this.bytes[this.at++] = Number(rest);
        }
    }

    double(field, number) {
        if (this._has(field < 16 ? 9 : 10)) {
            this._tag(field, FIXED64);
            this.at = putDouble(this.bytes, this.at, number);
        }
    }

    // A BigInt of 64 bits.
    fixed64(field, number) {
        if (this._has(10)) {
            this._tag(field, FIXED64);
            long[0] = number;
            turn(longBytes);
            this.bytes.set(longBytes, this.at);
            this.at += 8;
        }
    }

    fixed32(field, number) {
        if (this._has(6)) {
            this._tag(field, FIXED32);
            this.at = this.bytes.writeUInt32LE(number, this.at);
        }
    }

    // UTF-8; a surrogate without its other half becomes U+FFFD.
    text(field, text) {
        const length = text.length;
        if (!this._has(8 + length)) {
            return;
        }
        this._tag(field, BYTES);
        const bytes = this.bytes;
        if (length <= SHORT_TEXT) {
            let at = this.at;
            bytes[at++] = length;
            let i = 0;
            for (; i < length; i++) {
                const code = text.charCodeAt(i);
                if (code >= 0x80) {
                    break;
                }
                bytes[at++] = code;
            }
            if (i === length) {
                this.at = at;
                return;
            }
        }
        const size = Buffer.byteLength(text);
        if (this._has(5 + size)) {
            this.at = putVarint(bytes, this.at, size);
            this.at += bytes.write(text, this.at, "utf8");
        }
    }

    // Bytes, from a Uint8Array.
    blob(field, blob) {
        if (this._has(8 + blob.length)) {
            this._tag(field, BYTES);
            this.at = putVarint(this.bytes, this.at, blob.length);
            this.bytes.set(blob, this.at);
            this.at += blob.length;
        }
    }

    // Bytes, from hex digits that were looked at.
    hex(field, digits) {
        if (this._has(8 + digits.length / 2)) {
            this._tag(field, BYTES);
            this.at = putVarint(this.bytes, this.at, digits.length / 2);
            this.at = putHex(this.bytes, this.at, digits);
        }
    }

    // Begins a nested message; close() wants what this returns.
    open(field) {
        if (this._has(8)) {
            this._tag(field, BYTES);
            this.at++; // for a length of one byte, which most are
        }
        return this.at;
    }

    close(begin) {
        if (this.overflow || !this._has(4)) {
            return;
        }
        const size = this.at - begin;
        const more = varintBytes(size) - 1;
        if (more > 0) {
            this.bytes.copyWithin(begin + more, begin, this.at);
            this.at += more;
        }
        putVarint(this.bytes, begin - 1, size);
    }
}

module.exports = { Writer, putDouble, putHex, putVarint, varintBytes };
