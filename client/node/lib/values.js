// Turns what an application hands in into what can be written. It judges types, not ranges: those are the
// daemon's to refuse, under a reason that shows on its metrics.
//
// What can fail: a value of a type that has no form on the wire. It throws Unfit, which the recording
// function catches: the record is dropped and counted.
"use strict";

class Unfit extends Error {}

// One for all: its stack says nothing that anybody will read.
const UNFIT = new Unfit("no value for the wire");
UNFIT.stack = UNFIT.message;

const HEX = /^(?:[0-9a-fA-F]{2})*$/;
const UINT64_END = 1n << 64n;
const INT64_END = 1n << 63n;

function isGiven(value) {
    return value !== undefined && value !== null;
}

function number(value) {
    if (typeof value === "number") {
        return value;
    }
    if (typeof value === "bigint") {
        return Number(value);
    }
    throw UNFIT;
}

function text(value) {
    if (typeof value !== "string") {
        throw UNFIT;
    }
    return value;
}

// Of an id: hex digits, from these or from bytes.
function hex(value) {
    if (typeof value === "string" && HEX.test(value)) {
        return value;
    }
    if (value instanceof Uint8Array) {
        return Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("hex");
    }
    throw UNFIT;
}

// Nanoseconds since 1970, as a BigInt: from one, from a Date, or from a number of milliseconds.
function nanos(value) {
    let whole;
    if (typeof value === "bigint") {
        whole = value;
    } else {
        const ms = value instanceof Date ? value.getTime() : number(value);
        if (!Number.isFinite(ms)) {
            throw UNFIT;
        }
        const floor = Math.floor(ms);
        whole = BigInt(floor) * 1000000n + BigInt(Math.round((ms - floor) * 1e6));
    }
    if (whole < 0n || whole >= UINT64_END) {
        throw UNFIT;
    }
    return whole;
}

// Key and value pairs of an object or a Map.
function pairs(value) {
    if (value instanceof Map) {
        return value.entries();
    }
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
        throw UNFIT;
    }
    return Object.entries(value);
}

// The value of a metric's attribute as text: a text, a boolean, or a whole number of 64 bits.
function attributeText(value) {
    if (typeof value === "string") {
        return value;
    }
    if (typeof value === "boolean") {
        return String(value);
    }
    const whole = typeof value === "number" && Number.isInteger(value) ? BigInt(value) : value;
    if (typeof whole !== "bigint" || whole < -INT64_END || whole >= UINT64_END) {
        throw UNFIT;
    }
    return whole.toString();
}

// A message of an error, whatever was thrown.
function thrownTexts(thrown) {
    const texts = { type: "", message: "", stack: "" };
    try {
        if (thrown !== null && (typeof thrown === "object" || typeof thrown === "function")) {
            const name = thrown.name ?? thrown.constructor?.name;
            texts.type = typeof name === "string" ? name : "";
            texts.message = typeof thrown.message === "string" ? thrown.message : "";
            texts.stack = typeof thrown.stack === "string" ? thrown.stack : "";
        } else {
            texts.type = typeof thrown;
            texts.message = String(thrown);
        }
    } catch {
        // A getter that throws: what is known so far has to do.
    }
    return texts;
}

module.exports = { Unfit, UNFIT, isGiven, number, text, hex, nanos, pairs, attributeText, thrownTexts };
