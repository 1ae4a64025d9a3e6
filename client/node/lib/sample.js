// Encodes a sample, one inference, from an object of the application's: every field that is given, in the
// order of their numbers.
"use strict";

const { isGiven, number, text, hex, nanos, pairs } = require("./values.js");

const LABEL_KEY = 1;
const LABEL_VALUE = 2;

const asNumber = (out, field, value) => out.double(field, number(value));
const asText = (out, field, value) => out.text(field, text(value));
const asId = (out, field, value) => out.hex(field, hex(value));

// True, or a text, which implies it. What was thrown counts as true.
function asError(out, field, value) {
    if (value) {
        out.varint(field, 1);
    }
}

function asErrorText(out, field, value) {
    if (typeof value === "string" && value !== "") {
        out.text(field, value);
    }
}

function asLabels(out, field, labels) {
    for (const [key, value] of pairs(labels)) {
        if (isGiven(value)) {
            const begin = out.open(field);
            out.text(LABEL_KEY, text(key));
            out.text(LABEL_VALUE, text(value));
            out.close(begin);
        }
    }
}

function asThread(out, field, value) {
    const id = number(value);
    if (Number.isSafeInteger(id) && id >= 0) {
        out.varint(field, id);
    } else {
        out.varint(field, 0); // which the daemon refuses, as any that is out of range
    }
}

const FIELDS = [
    ["modelName", 1, asText],
    ["executionTimeMs", 3, asNumber],
    ["cpuPercentDuring", 4, asNumber],
    ["memoryMbAfter", 5, asNumber],
    ["cpuPercentBefore", 6, asNumber],
    ["memoryMbBefore", 7, asNumber],
    ["error", 8, asError],
    ["queueMs", 9, asNumber],
    ["batchSize", 10, asNumber],
    ["device", 11, asText],
    ["traceId", 12, asId],
    ["spanId", 13, asId],
    ["timestamp", 14, (out, field, value) => out.fixed64(field, nanos(value))],
    ["labels", 15, asLabels],
    ["error", 16, asErrorText],
    ["userMs", 17, asNumber],
    ["systemMs", 18, asNumber],
    ["runqueueMs", 19, asNumber],
    ["minorFaults", 20, asNumber],
    ["majorFaults", 21, asNumber],
    ["voluntarySwitches", 22, asNumber],
    ["bytesMoved", 23, asNumber],
    ["flops", 24, asNumber],
    ["threads", 25, asNumber],
    ["processCpuMs", 26, asNumber],
    ["involuntarySwitches", 27, asNumber],
    ["diskBytes", 28, asNumber],
    ["threadId", 29, asThread],
];

// `own`: what was measured, which counts before what the application says.
function encodeSample(out, sample, own) {
    for (const [name, field, put] of FIELDS) {
        const value = own?.[name] ?? sample[name];
        if (isGiven(value)) {
            put(out, field, value);
        }
    }
}

module.exports = { encodeSample };
