// Whatever an application hands in, nothing is raised, every call is counted, and what comes out is sound:
// the daemon, if there is one, ends no connection.
"use strict";

const assert = require("node:assert/strict");
const { test } = require("node:test");

const { Dwell } = require("../index.js");
const { PATIENT, WITHOUT_DAEMON, listen, startDaemon } = require("./support.js");

const revoked = Proxy.revocable([], {});
revoked.revoke();
const evil = new Proxy(() => {}, {
    get: () => assert.fail("get"),
    has: () => assert.fail("has"),
    ownKeys: () => assert.fail("ownKeys"),
    getPrototypeOf: () => assert.fail("getPrototypeOf"),
});
const cyclic = {};
cyclic.itself = cyclic;

const VALUES = [
    undefined,
    null,
    true,
    false,
    0,
    -0,
    1,
    -1,
    0.5,
    NaN,
    Infinity,
    -Infinity,
    2 ** 53,
    1e308,
    5e-324,
    0n,
    -1n,
    2n ** 64n,
    2n ** 200n,
    "",
    "text",
    "\0",
    "\ud800",
    "模型🤖",
    "x".repeat(20000),
    Symbol("s"),
    {},
    [],
    [[]],
    cyclic,
    new Map(),
    new Map([[{}, {}]]),
    new Set([1]),
    new Date(),
    new Date(NaN),
    /x/,
    () => 1,
    class {},
    Object.create(null),
    new Error("e"),
    Buffer.from([255]),
    new Uint8Array(16),
    new Float64Array(2),
    Promise.resolve(),
    new Proxy({}, {}),
    evil,
    revoked.proxy,
    { traceId: "xyz", spanId: "x" },
    { context: 5 },
    { then: 5 },
    { traceId: "0af7651916cd43dd8448eb211c80319c", spanId: 5, traceState: {} },
    "0af7651916cd43dd8448eb211c80319c",
];

// [the call, how many records it counts as].
const CALLS = {
    "model name": [(dwell, value) => dwell.model(value).begin().end(), 1],
    "track error": [(dwell, value) => dwell.model("m").begin().end(value), 1],
    "track more": [(dwell, value) => dwell.model("m").begin().end(false, value), 1],
    "track result": [
        (dwell, value) => dwell.model("m").track(() => (value === evil ? 1 : value)),
        null,
    ],
    sample: [(dwell, value) => dwell.sample(value), 1],
    "every field of a sample": [
        (dwell, value) =>
            dwell.sample({
                modelName: value,
                executionTimeMs: value,
                error: value,
                device: value,
                traceId: value,
                spanId: value,
                timestamp: value,
                labels: value,
                threadId: value,
            }),
        1,
    ],
    "a label": [
        (dwell, value) => dwell.sample({ modelName: "m", executionTimeMs: 1, labels: { a: value } }),
        1,
    ],
    "counter name": [(dwell, value) => dwell.counter(value).add(), 1],
    "counter options": [(dwell, value) => dwell.counter("c", value).add(), 1],
    "counter value": [(dwell, value) => dwell.counter("c").add(value), 1],
    "counter more": [(dwell, value) => dwell.counter("c").add(1, value), 1],
    "counter attributes": [(dwell, value) => dwell.counter("c").with(value).add(), 1],
    "an attribute": [
        (dwell, value) => dwell.counter("c", { attributes: { a: value }, unit: value }).add(),
        1,
    ],
    gauge: [(dwell, value) => dwell.gauge("g", { aggregation: value }).set(value, value), 1],
    gaugeAdd: [(dwell, value) => dwell.gaugeAdd(value, value, value), 1],
    histogram: [
        (dwell, value) => dwell.histogram("h", { unit: value }).record(value, { traceId: value }),
        1,
    ],
    info: [(dwell, value) => dwell.info(value, value), 1],
    "span name": [(dwell, value) => dwell.startSpan(value).end(), 1],
    "span options": [(dwell, value) => dwell.startSpan("s", value).end(), 1],
    "every option of a span": [
        (dwell, value) =>
            dwell
                .startSpan("s", {
                    parent: value,
                    kind: value,
                    attributes: value,
                    links: value,
                    startTime: value,
                    serviceName: value,
                })
                .end(),
        1,
    ],
    "parts of a span": [
        (dwell, value) =>
            dwell
                .startSpan("s", { links: [{ context: value, attributes: value }] })
                .setAttribute(value, value)
                .setAttribute("a", value)
                .setAttribute("l", [value])
                .setAttributes(value)
                .addEvent(value, value)
                .addEvent("e", { a: value })
                .addLink(value, value)
                .setStatus(value, value)
                .setStatus("error", value)
                .recordException(value)
                .end(),
        1,
    ],
    recordSpan: [(dwell, value) => dwell.recordSpan(value), 1],
    "every field of recordSpan": [
        (dwell, value) =>
            dwell.recordSpan({
                traceId: value,
                spanId: value,
                parentSpanId: value,
                name: value,
                kind: value,
                startTime: value,
                endTime: value,
                attributes: value,
                events: value,
                links: value,
                status: value,
                sampled: value,
                part: value,
                serviceName: value,
            }),
        1,
    ],
    withSpan: [(dwell, value) => dwell.withSpan(value, () => dwell.model("m").begin().end()), 1],
    inject: [(dwell, value) => dwell.inject({}, value, value), 0],
    extract: [(dwell, value) => dwell.extract(value, value), 0],
    "extract headers": [
        (dwell, value) => dwell.extract({ b3: value, traceparent: value, "X-B3-TraceId": value }),
        0,
    ],
    "budget options": [(dwell, value) => dwell.budget(value).check(value), 0],
    "every option of a budget": [
        (dwell, value) =>
            dwell
                .budget({
                    totalMs: value,
                    softLimit: value,
                    strict: value,
                    requestId: value,
                    layers: [{ name: value, budgetMs: value, share: value, softLimit: value }, value],
                })
                .report(),
        0,
    ],
    "budget stop": [
        (dwell, value) => {
            const budget = dwell.budget();
            budget.start("total");
            budget.stop("total", value);
            budget.start(value);
            budget.stop(value);
            budget.reset(value);
            budget.remaining(value);
        },
        1,
    ],
    "budget run": [
        (dwell, value) => {
            const budget = dwell.budget({ totalMs: 60000, layers: [{ name: "a", budgetMs: 60000 }] });
            budget.run("a", () => 1, value);
            budget.run(value, () => 1, { name: value, signal: value });
            budget.run("a", () => 1, { name: value, signal: value });
        },
        2,
    ],
    recordBudget: [(dwell, value) => dwell.recordBudget(value), 1],
    "every field of recordBudget": [
        (dwell, value) =>
            dwell.recordBudget({
                layer: value,
                elapsedMs: value,
                operation: value,
                requestId: value,
                traceId: value,
                spanId: value,
                timestamp: value,
                sampled: value,
                beforeMs: value,
            }),
        1,
    ],
    "client options": [(dwell, value) => void new Dwell(value).close(), 0],
    "every option of a client": [
        (dwell, value) =>
            void new Dwell({
                directory: value,
                serviceName: value,
                serviceVersion: value,
                constitutionalHash: value,
                evidence: value,
                evidencePercent: value,
                bufferBytes: value,
                keepMs: value,
                closeTimeoutMs: value,
                sampleRate: value,
                propagators: value,
            }).close(),
        0,
    ],
    middleware: [(dwell, value) => dwell.middleware(value), 0],
    "middleware options": [(dwell, value) => dwell.middleware({ service: value, endpoint: value }), 0],
};

// Resolves to the client that has made all calls; each is counted as often as it should be.
async function callAll(t, directory) {
    const dwell = new Dwell({ directory, evidence: "none", bufferBytes: 1 << 24, ...PATIENT });
    t.after(() => dwell.close());
    for (const [what, [call, records]] of Object.entries(CALLS)) {
        for (const [i, value] of VALUES.entries()) {
            const before = dwell.stats().recorded;
            try {
                call(dwell, value);
            } catch (error) {
                assert.fail(`${what}, value ${i}: ${error.stack}`);
            }
            if (records !== null) {
                assert.equal(dwell.stats().recorded - before, records, `${what}, value ${i}`);
            }
        }
    }
    assert.equal(await dwell.flush(), "ok");
    return dwell;
}

test("nothing raises, and all that is sent is sound", async (t) => {
    const listener = await listen(t);
    const dwell = await callAll(t, listener.directory);
    const { recorded, sent, dropped, invalid } = dwell.stats();
    assert.equal(sent + dropped, recorded);
    assert.equal(dropped, invalid, "nothing was dropped for lack of room");
    assert.equal(listener.recordCount, sent);
    for (const value of VALUES) {
        assert.equal(await dwell.flush(value === evil ? null : value), "ok");
    }
    assert.equal(await dwell.close(null), "ok");
    listener.mustBalance({ calls: recorded });
});

test("the daemon keeps the connection, and its ledger closes", { skip: WITHOUT_DAEMON }, async (t) => {
    const daemon = await startDaemon(t);
    const dwell = await callAll(t, daemon.directory);
    assert.equal(await dwell.close(), "ok");
    const { recorded, sent, dropped, connections } = dwell.stats();
    assert.equal(connections, 1);
    const ledger = await daemon.mustAccountFor({ sent: recorded, dropped, lost: 0 });
    assert.equal(ledger.accepted + ledger.rejected, sent);
    assert.equal(ledger.reasons.bad_frame, 0);
});
