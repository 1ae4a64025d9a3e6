// Records what it reads, so that all clients can be compared: lines of NDJSON (proto/WIRE.md) from standard
// input, by the public functions of the package.
//
//     node conform.mjs --encode < records.ndjson    prints the frames that they make as hex, one a line;
//                                                   the client's id is 000102…0f
//     node conform.mjs < records.ndjson             sends them to $DWELL_DIR, ends with 0 when the daemon
//                                                   has taken all of them; prints stats() as JSON
//
// Blank lines are skipped; hello, flush and goodbye are no records, and are skipped as well. A line that is
// no object ends it with 2. JavaScript has no other numbers than doubles: of a span's attribute 1.0 is 1, a
// whole number, and integers past 2^53 have to be texts where the contract takes texts.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

import { Dwell } from "../index.mjs";

const { INTERNAL } = createRequire(import.meta.url)("../lib/dwell.js");

const CLIENT_ID = Uint8Array.from({ length: 16 }, (_, i) => i);
const CONTROL = ["hello", "flush", "goodbye"];

// "2026-05-01T12:30:00.123456789Z", UTC without a zone, as nanoseconds.
function nanosOf(text) {
    const [, toSeconds, fraction = "", zone = "Z"] =
        /^(.*?\d{2}:\d{2}:\d{2})(?:\.(\d+))?(Z|[+-]\d{2}:?\d{2})?$/i.exec(text.replace(" ", "T"));
    return (
        BigInt(Date.parse(toSeconds + zone)) * 1000000n + BigInt(fraction.padEnd(9, "0").slice(0, 9))
    );
}

function bigOf(value) {
    return value === undefined || value === null ? undefined : BigInt(value);
}

// Keys of NDJSON as those of the package: execution_time_ms is executionTimeMs.
function camel(record) {
    const made = {};
    for (const [key, value] of Object.entries(record)) {
        if (value !== null) {
            made[key.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase())] = value;
        }
    }
    if (made.timestamp !== undefined) {
        made.timestamp = nanosOf(made.timestamp);
    }
    return made;
}

function recordSpan(dwell, record, part) {
    const span = camel(record);
    dwell.recordSpan({
        ...span,
        startTime: bigOf(span.startTimeUnixNano),
        endTime: bigOf(span.endTimeUnixNano),
        events: span.events?.map((event) => ({ ...event, time: bigOf(event.time_unix_nano) })),
        links: span.links?.map(camel),
        part,
    });
}

const GAUGE_WORDS = { NaN: NaN, "+Inf": Infinity, "-Inf": -Infinity };

const RECORD = {
    sample: (dwell, record) => dwell.sample(camel(record)),
    span: (dwell, record) => recordSpan(dwell, record),
    span_start: (dwell, record) => recordSpan(dwell, record, "start"),
    span_end: (dwell, record) => recordSpan(dwell, record, "end"),
    counter: (dwell, record) => dwell.counter(record.name, record).add(record.value, camel(record)),
    histogram: (dwell, record) =>
        dwell.histogram(record.name, record).record(record.value, camel(record)),
    info: (dwell, record) => dwell.info(record.name, record.attributes),
    budget: (dwell, record) => dwell.recordBudget(camel(record)),
    gauge: (dwell, record) => {
        const gauge = dwell.gauge(record.name, record);
        if (record.delta === undefined || record.delta === null) {
            gauge.set(GAUGE_WORDS[record.value] ?? record.value, camel(record));
        } else {
            gauge.add(record.delta, camel(record));
        }
    },
};

function recordAll(dwell, lines) {
    for (const line of lines) {
        const record = JSON.parse(line);
        const type = record.type ?? "sample";
        if (!CONTROL.includes(type)) {
            RECORD[type](dwell, record);
        }
    }
}

const lines = readFileSync(0, "utf8")
    .split("\n")
    .filter((line) => line.trim() !== "");
const encodes = process.argv.includes("--encode");
const dwell = new Dwell({
    evidence: "none",
    bufferBytes: 16777216,
    [INTERNAL]: encodes && { clientId: CLIENT_ID },
});
try {
    recordAll(dwell, lines);
} catch (error) {
    console.error(String(error));
    process.exit(2);
}
if (encodes) {
    // Batches that are numbered one after the other, as if each had been sent.
    while (dwell._outbox.waiting.length > 0) {
        console.log(dwell._outbox.frame().toString("hex"));
        dwell._outbox.sent();
    }
} else {
    const result = await dwell.close({ timeout: 20000 });
    console.log(JSON.stringify({ result, ...dwell.stats() }));
    process.exitCode = result === "ok" ? 0 : 1;
}
