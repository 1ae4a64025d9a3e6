// Records as they come out on the wire: each field in its place, and what has no form is dropped and
// counted.
"use strict";

const assert = require("node:assert/strict");
const { test } = require("node:test");

const { Dwell } = require("../index.js");
const { PATIENT, listen } = require("./support.js");

const TRACE_ID = "0af7651916cd43dd8448eb211c80319c";
const SPAN_ID = "b7ad6b7169203331";

async function open(t, options) {
    const listener = await listen(t);
    const dwell = new Dwell({
        directory: listener.directory,
        evidence: "none",
        ...PATIENT,
        ...options,
    });
    t.after(() => dwell.close());
    return { listener, dwell };
}

// Records by `record`, and must find exactly `wanted` of a kind, and nothing dropped.
async function mustSend(t, record, kind, wanted) {
    const { listener, dwell } = await open(t);
    record(dwell);
    assert.equal(await dwell.close(), "ok");
    assert.deepEqual(listener.records(kind), wanted);
    listener.mustBalance({ calls: wanted.length });
    assert.equal(dwell.stats().sent, wanted.length);
    assert.equal(dwell.stats().dropped, 0);
}

test("the first batch is a hello alone, the last ones a flush and a goodbye", async (t) => {
    const { listener, dwell } = await open(t, {
        serviceName: "bus",
        serviceVersion: "2.0.0",
        constitutionalHash: "cdd01ef066bc6cf2",
    });
    dwell.sample({ modelName: "m", executionTimeMs: 1 });
    assert.equal(await dwell.close(), "ok");
    const [first, second, third, last, ...more] = listener.batches;
    const { clientId } = first;
    assert.match(clientId, /^[0-9a-f]{32}$/);
    assert.deepEqual(first, {
        clientId,
        firstSequence: 0,
        dropped: 0,
        hello: {
            serviceName: "bus",
            serviceVersion: "2.0.0",
            pid: process.pid,
            hash: "cdd01ef066bc6cf2",
            client: "dwell-node/0.1.0",
        },
    });
    assert.deepEqual(second, {
        clientId,
        firstSequence: 0,
        dropped: 0,
        samples: [{ modelName: "m", executionTimeMs: 1 }],
    });
    assert.deepEqual(third, { clientId, firstSequence: 1, dropped: 0, flush: {} });
    assert.deepEqual(last, { clientId, firstSequence: 1, dropped: 0, goodbye: { sequence: 1 } });
    assert.deepEqual(more, []);
});

test("a sample with every field", async (t) => {
    const numbers = {
        executionTimeMs: 12.5,
        cpuPercentDuring: 80,
        memoryMbAfter: 512,
        cpuPercentBefore: 3,
        memoryMbBefore: 500,
        queueMs: 0.4,
        batchSize: 8,
        userMs: 2.1,
        systemMs: 0.2,
        runqueueMs: 0.1,
        minorFaults: 12,
        majorFaults: 0,
        voluntarySwitches: 1,
        bytesMoved: 4e6,
        flops: 2e9,
        threads: 1,
        processCpuMs: 2.4,
        involuntarySwitches: 2,
        diskBytes: 4096,
    };
    const texts = { modelName: "bert", device: "cuda:0", traceId: TRACE_ID, spanId: SPAN_ID };
    await mustSend(
        t,
        (dwell) =>
            dwell.sample({
                ...numbers,
                ...texts,
                threadId: 4712,
                error: "out of memory",
                timestamp: 1777638600123456789n,
                labels: { region: "eu", tier: "gold" },
            }),
        "samples",
        [
            {
                ...numbers,
                ...texts,
                threadId: 4712,
                error: 1,
                errorText: "out of memory",
                timestamp: 1777638600123456789n,
                labels: [
                    { key: "region", value: "eu" },
                    { key: "tier", value: "gold" },
                ],
            },
        ],
    );
});

test("what is not given is not sent", (t) =>
    mustSend(
        t,
        (dwell) => {
            dwell.sample({
                modelName: "m",
                executionTimeMs: 0,
                device: undefined,
                labels: null,
                error: false,
            });
            dwell.sample({ modelName: "m", executionTimeMs: -0, cpuPercentDuring: 0, error: true });
        },
        "samples",
        [
            { modelName: "m", executionTimeMs: 0 },
            { modelName: "m", executionTimeMs: -0, cpuPercentDuring: 0, error: 1 },
        ],
    ));

test("times may be bigint nanoseconds, a Date, or milliseconds", (t) =>
    mustSend(
        t,
        (dwell) => {
            for (const timestamp of [1500000n, new Date(1), 1.5, 0, 18446744073709551615n]) {
                dwell.sample({ modelName: "m", executionTimeMs: 1, timestamp });
            }
        },
        "samples",
        [1500000n, 1000000n, 1500000n, 0n, 18446744073709551615n].map((timestamp) => ({
            modelName: "m",
            executionTimeMs: 1,
            timestamp,
        })),
    ));

test("metrics", (t) =>
    mustSend(
        t,
        (dwell) => {
            const requests = dwell.counter("http.requests", {
                unit: "1",
                attributes: { code: 200, path: "/v1" },
            });
            requests.add();
            requests.add(2n, { traceId: TRACE_ID, spanId: Buffer.from(SPAN_ID, "hex"), timestamp: 5n });
            requests.with({ code: "500", hot: true }).add(3);
            const depth = dwell.gauge("queue", { aggregation: "per_pid" });
            depth.set(NaN);
            depth.add(-1);
            dwell.gaugeAdd("queue", 2);
            dwell
                .histogram("time", {
                    unit: "ms",
                    attributes: new Map([
                        ["big", 2n ** 64n - 1n],
                        ["gone", null],
                    ]),
                })
                .record(12.5);
            dwell.info("build", { version: "1.2.0", major: 9007199254740992 });
        },
        "metrics",
        [
            {
                name: "http.requests",
                op: 1,
                value: 1,
                attributes: [
                    { key: "code", value: "200" },
                    { key: "path", value: "/v1" },
                ],
                unit: "1",
            },
            {
                name: "http.requests",
                op: 1,
                value: 2,
                attributes: [
                    { key: "code", value: "200" },
                    { key: "path", value: "/v1" },
                ],
                unit: "1",
                traceId: TRACE_ID,
                spanId: SPAN_ID,
                timestamp: 5n,
            },
            {
                name: "http.requests",
                op: 1,
                value: 3,
                attributes: [
                    { key: "code", value: "500" },
                    { key: "path", value: "/v1" },
                    { key: "hot", value: "true" },
                ],
                unit: "1",
            },
            { name: "queue", op: 2, value: NaN, aggregation: 5 },
            { name: "queue", op: 3, value: -1, aggregation: 5 },
            { name: "queue", op: 3, value: 2 },
            {
                name: "time",
                op: 4,
                value: 12.5,
                attributes: [{ key: "big", value: "18446744073709551615" }],
                unit: "ms",
            },
            {
                name: "build",
                op: 5,
                attributes: [
                    { key: "version", value: "1.2.0" },
                    { key: "major", value: "9007199254740992" },
                ],
            },
        ],
    ));

// What has no form on the wire. Each is one call, dropped and counted, and nothing is raised.
const throwing = (name) =>
    Object.defineProperty({}, name, {
        enumerable: true,
        get() {
            throw new Error("a getter");
        },
    });
const NO_FORM = {
    "a sample that is none": (dwell) => dwell.sample(undefined),
    "a sample that is null": (dwell) => dwell.sample(null),
    "a name that is a number": (dwell) => dwell.sample({ modelName: 5, executionTimeMs: 1 }),
    "a name that is a symbol": (dwell) => dwell.sample({ modelName: Symbol("m"), executionTimeMs: 1 }),
    "a time that is text": (dwell) => dwell.sample({ modelName: "m", executionTimeMs: "1" }),
    "a time that is an object": (dwell) => dwell.sample({ modelName: "m", executionTimeMs: {} }),
    "a sample whose getter throws": (dwell) => dwell.sample(throwing("modelName")),
    "labels whose getter throws": (dwell) =>
        dwell.sample({ modelName: "m", executionTimeMs: 1, labels: throwing("key") }),
    "labels in a list": (dwell) => dwell.sample({ modelName: "m", executionTimeMs: 1, labels: ["a"] }),
    "a label that is a number": (dwell) =>
        dwell.sample({ modelName: "m", executionTimeMs: 1, labels: { a: 1 } }),
    "a trace id that is no hex": (dwell) =>
        dwell.sample({ modelName: "m", executionTimeMs: 1, traceId: "xyz" }),
    "an invalid Date": (dwell) =>
        dwell.sample({ modelName: "m", executionTimeMs: 1, timestamp: new Date(NaN) }),
    "a time before 1970": (dwell) =>
        dwell.sample({ modelName: "m", executionTimeMs: 1, timestamp: -1 }),
    "a time past 64 bits": (dwell) =>
        dwell.sample({ modelName: "m", executionTimeMs: 1, timestamp: 2n ** 64n }),
    "a sample over 16 kB": (dwell) =>
        dwell.sample({ modelName: "m".repeat(16384), executionTimeMs: 1 }),
    "a model whose name is no text": (dwell) => dwell.model({}).begin().end(),
    "a model whose name is over 4 kB": (dwell) => dwell.model("é".repeat(2048)).begin().end(),
    "more of a track that throws": (dwell) => dwell.model("m").begin().end(false, throwing("queueMs")),
    "a counter without a number": (dwell) => dwell.counter("c").add("1"),
    "a counter of null": (dwell) => dwell.counter("c").add(null),
    "a counter whose name is no text": (dwell) => dwell.counter(1).add(),
    "a counter whose name is over 16 kB": (dwell) => dwell.counter("c".repeat(16384)).add(),
    "an attribute that is a fraction": (dwell) => dwell.counter("c", { attributes: { a: 0.5 } }).add(),
    "an attribute past 64 bits": (dwell) => dwell.counter("c", { attributes: { a: 2 ** 64 } }).add(),
    "an attribute below 64 bits": (dwell) =>
        dwell.counter("c", { attributes: { a: -(2n ** 63n) - 1n } }).add(),
    "an attribute that is an object": (dwell) => dwell.counter("c", { attributes: { a: {} } }).add(),
    "attributes whose getter throws": (dwell) =>
        dwell.counter("c", { attributes: throwing("a") }).add(),
    "options whose getter throws": (dwell) => dwell.counter("c", throwing("attributes")).add(),
    "more attributes that are none": (dwell) => dwell.counter("c").with("a").add(),
    "a unit that is a number": (dwell) => dwell.histogram("h", { unit: 1 }).record(1),
    "an aggregation that there is not": (dwell) => dwell.gauge("g", { aggregation: "mean" }).set(1),
    "an info whose attributes are none": (dwell) => dwell.info("i", "text"),
    "a span that is none": (dwell) => dwell.recordSpan(undefined),
    "a span of a kind that there is not": (dwell) =>
        dwell.recordSpan({ traceId: TRACE_ID, spanId: SPAN_ID, kind: "x" }),
    "a span whose events are none": (dwell) =>
        dwell.recordSpan({ traceId: TRACE_ID, spanId: SPAN_ID, events: 5 }),
    "a span without ids": (dwell) => dwell.recordSpan({ name: "n" }),
    "a budget that is none": (dwell) => dwell.recordBudget(null),
    "a budget without a number": (dwell) => dwell.recordBudget({ layer: "l", elapsedMs: "1" }),
};

for (const [what, record] of Object.entries(NO_FORM)) {
    test(`dropped and counted: ${what}`, async (t) => {
        const { listener, dwell } = await open(t);
        dwell.sample({ modelName: "before", executionTimeMs: 1 });
        record(dwell);
        dwell.sample({ modelName: "after", executionTimeMs: 1 });
        assert.equal(await dwell.close(), "ok");
        assert.equal(listener.recordCount, 2);
        listener.mustBalance({ calls: 3 });
        assert.deepEqual([dwell.stats().dropped, dwell.stats().invalid], [1, 1]);
    });
}

test("texts in every script, at the limit of a short one, and lone surrogates", async (t) => {
    const names = [
        "",
        "模型",
        "модель",
        "نموذج",
        "मॉडल",
        "🤖👩🏽‍💻",
        "a".repeat(40),
        "a".repeat(41),
        "é".repeat(40),
        `${"a".repeat(39)}é`,
        "line\nbreak",
        "zero\0byte",
        "a".repeat(256),
        "a".repeat(257),
        "\ufeffmark",
    ];
    const { listener, dwell } = await open(t);
    for (const name of [...names, "\ud800", "x\udc00y"]) {
        dwell.sample({ modelName: name, executionTimeMs: 1 });
        dwell.model(name).begin().end();
        dwell.counter(name, { attributes: { [name]: name } }).add();
    }
    assert.equal(await dwell.close(), "ok");
    const wanted = [...names, "\ufffd", "x\ufffdy"];
    assert.deepEqual(
        listener.records("samples").map(({ modelName }) => modelName),
        wanted.flatMap((name) => [name, name]),
    );
    assert.deepEqual(
        listener.records("metrics").map(({ name }) => name),
        wanted,
    );
});

test("numbers go as they are: the daemon judges them", async (t) => {
    const numbers = [
        NaN,
        Infinity,
        -Infinity,
        -0,
        0,
        -1,
        5e-324,
        1.7976931348623157e308,
        2 ** 53,
        1e12,
        1e13,
    ];
    const { listener, dwell } = await open(t);
    const histogram = dwell.histogram("h");
    for (const number of numbers) {
        dwell.sample({ modelName: "m", executionTimeMs: number });
        histogram.record(number);
    }
    dwell.sample({ modelName: "m", executionTimeMs: 10n ** 20n });
    assert.equal(await dwell.close(), "ok");
    assert.deepEqual(
        listener.records("samples").map((sample) => sample.executionTimeMs),
        [...numbers, 1e20],
    );
    assert.deepEqual(
        listener.records("metrics").map(({ value }) => value),
        numbers,
    );
});

test("a record of exactly 16 kB is sent, one byte more is not", async (t) => {
    const { listener, dwell } = await open(t);
    // Before the name come a tag and a length of 2 bytes, behind it a tag and 8 bytes of the time.
    const longest = 16384 - 3 - 9;
    for (const extra of [0, 1]) {
        dwell.sample({ modelName: "a".repeat(longest + extra), executionTimeMs: 1 });
    }
    assert.equal(await dwell.close(), "ok");
    assert.deepEqual(
        listener.records("samples").map(({ modelName }) => modelName.length),
        [longest],
    );
    assert.deepEqual([dwell.stats().dropped, dwell.stats().invalid], [1, 1]);
});
