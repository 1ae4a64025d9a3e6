// Against the daemon itself: what it makes of what the client sends. DWELL_BUILD names its build directory.
"use strict";

const assert = require("node:assert/strict");
const { test } = require("node:test");

const { Dwell } = require("../index.js");
const { PATIENT, WITHOUT_DAEMON, startDaemon } = require("./support.js");

const options = { skip: WITHOUT_DAEMON };
const TRACE_ID = "0af7651916cd43dd8448eb211c80319c";
const SPAN_ID = "b7ad6b7169203331";

async function open(t, more) {
    const daemon = await startDaemon(t);
    const dwell = new Dwell({ directory: daemon.directory, serviceName: "bus", ...PATIENT, ...more });
    t.after(() => dwell.close());
    return { daemon, dwell };
}

test("records of every kind are in the next answer after a flush", options, async (t) => {
    const { daemon, dwell } = await open(t);
    for (let i = 1; i <= 100; i++) {
        dwell.sample({
            modelName: "resnet50",
            executionTimeMs: i,
            cpuPercentDuring: 80,
            error: i === 1,
        });
    }
    dwell.counter("jobs.done", { attributes: { code: 200 } }).add(5);
    dwell.gauge("pool.size").set(3);
    dwell.gauge("pool.size").add(2);
    dwell.histogram("http.time", { unit: "ms" }).record(12.5);
    dwell.info("build", { commit: "3f2a91c" });
    const budget = dwell.budget();
    budget.start("layer1_validation");
    budget.stop("layer1_validation");
    dwell.span("GET /v1", (span) => {
        span.setAttribute("batch", 8)
            .addEvent("loaded", { bytes: 4096 })
            .recordException(new Error("no"));
    });
    assert.equal(await dwell.flush(), "ok");
    const { models } = JSON.parse(await daemon.get("/api/v1/models"));
    const [model] = models;
    assert.deepEqual(
        [
            model.model_name,
            model.sample_count,
            model.errors,
            model.latency.p50_ms > 49,
            model.cpu.avg_percent,
        ],
        ["resnet50", 100, 1, true, 80],
    );
    assert.equal(await daemon.metric("jobs_done_total", { code: "200" }), 5);
    assert.equal(await daemon.metric("http_time_seconds_sum"), 0.0125);
    assert.equal(await daemon.metric("build_info", { commit: "3f2a91c" }), 1);
    assert.equal(JSON.parse(await daemon.get("/api/v1/budgets")).layers.layer1_validation.count, 1);
    const ledger = await daemon.mustAccountFor({
        sent: 107,
        accepted: 107,
        rejected: 0,
        dropped: 0,
        lost: 0,
    });
    assert.equal(ledger.unledgered, 0);
    assert.equal(await dwell.close(), "ok");
    assert.equal(await daemon.metric("dwelld_client_sent_total", { client: "dwell-node/0.1.0" }), 107);
});

// What the daemon refuses, under which reason: one call each.
const REFUSED = [
    [(dwell) => dwell.sample({ executionTimeMs: 1 }), "missing_key"],
    [(dwell) => dwell.sample({ modelName: "m" }), "missing_key"],
    [(dwell) => dwell.sample({}), "missing_key"],
    [(dwell) => dwell.sample({ modelName: "", executionTimeMs: 1 }), "bad_name"],
    [(dwell) => dwell.sample({ modelName: "a\0b", executionTimeMs: 1 }), "bad_name"],
    [(dwell) => dwell.sample({ modelName: "a".repeat(257), executionTimeMs: 1 }), "bad_name"],
    [(dwell) => dwell.model("").begin().end(), "bad_name"],
    [(dwell) => dwell.sample({ modelName: "m", executionTimeMs: NaN }), "out_of_range"],
    [(dwell) => dwell.sample({ modelName: "m", executionTimeMs: Infinity }), "out_of_range"],
    [(dwell) => dwell.sample({ modelName: "m", executionTimeMs: -1 }), "out_of_range"],
    [(dwell) => dwell.sample({ modelName: "m", executionTimeMs: 1.01e12 }), "out_of_range"],
    [(dwell) => dwell.sample({ modelName: "m", executionTimeMs: 1, traceId: "00" }), "out_of_range"],
    [(dwell) => dwell.sample({ modelName: "m", executionTimeMs: 1, threadId: 0.5 }), "out_of_range"],
    [
        (dwell) => dwell.sample({ modelName: "m", executionTimeMs: 1, threadId: 2 ** 31 }),
        "out_of_range",
    ],
    [
        (dwell) => dwell.sample({ modelName: "m", executionTimeMs: 1, labels: { "": "x" } }),
        "out_of_range",
    ],
    [(dwell) => dwell.sample({ modelName: "m", executionTimeMs: 1, labels: many(17) }), "out_of_range"],
    [(dwell) => dwell.counter("c").add(-1), "out_of_range"],
    [(dwell) => dwell.counter("c").add(NaN), "out_of_range"],
    [(dwell) => dwell.histogram("h").record(Infinity), "out_of_range"],
    [(dwell) => dwell.histogram("h", { unit: "u".repeat(33) }).record(1), "out_of_range"],
    [(dwell) => dwell.counter("c", { attributes: many(33) }).add(), "out_of_range"],
    [(dwell) => dwell.counter("").add(), "bad_name"],
    [(dwell) => dwell.counter().add(), "missing_key"],
    [(dwell) => dwell.info("i", {}), "missing_key"],
    [(dwell) => dwell.recordSpan({ traceId: TRACE_ID, spanId: SPAN_ID, name: "n" }), "missing_key"],
    [(dwell) => dwell.recordBudget({ layer: "", elapsedMs: 1 }), "bad_name"],
    [(dwell) => dwell.recordBudget({ layer: "l", elapsedMs: -1 }), "out_of_range"],
    [(dwell) => dwell.recordBudget({ layer: "l" }), "missing_key"],
];

function many(count) {
    return Object.fromEntries(Array.from({ length: count }, (_, i) => [`k${i}`, "v"]));
}

test("what the daemon refuses is in its ledger, with the reason", options, async (t) => {
    const { daemon, dwell } = await open(t, { evidence: "none" });
    const wanted = {};
    for (const [record, reason] of REFUSED) {
        const before = (await daemon.ledger()).reasons;
        record(dwell);
        assert.equal(await dwell.flush(), "ok");
        const { reasons } = await daemon.ledger();
        const grown = Object.keys(reasons).filter((name) => reasons[name] !== (before[name] ?? 0));
        assert.deepEqual(grown, [reason], record.toString());
        wanted[reason] = (wanted[reason] ?? 0) + 1;
    }
    const all = REFUSED.length;
    const { reasons } = await daemon.mustAccountFor({
        sent: all,
        rejected: all,
        accepted: 0,
        dropped: 0,
        lost: 0,
    });
    for (const [reason, count] of Object.entries(wanted)) {
        assert.equal(reasons[reason], count, reason);
    }
});

test("at the limit it takes them: names, labels, attributes, values", options, async (t) => {
    const { daemon, dwell } = await open(t, { evidence: "none" });
    const labels = many(16);
    const takes = [
        () =>
            dwell.sample({
                modelName: "a".repeat(256),
                executionTimeMs: 1e12,
                labels,
                threadId: 2 ** 31 - 1,
            }),
        () => dwell.sample({ modelName: "模型🤖", executionTimeMs: -0, timestamp: 2n ** 63n - 1n }),
        () => dwell.sample({ modelName: "\ud800", executionTimeMs: 5e-324, error: "😀" }),
        () => dwell.counter("c", { attributes: many(32), unit: "u".repeat(32) }).add(1e300),
        () => dwell.gauge("g").set(NaN),
        () => dwell.gauge("g").set(-Infinity),
        () => dwell.histogram("h").record(-1e300),
        () =>
            dwell.recordBudget({ layer: "l".repeat(256), elapsedMs: 1e12, operation: "o".repeat(256) }),
        () => {
            const span = dwell.startSpan("s", {
                attributes: { bytes: Buffer.from([255]), list: [1, "a", null, true] },
            });
            for (let i = 0; i < 200; i++) {
                span.setAttribute(`k${i}`, i)
                    .addEvent("e")
                    .addLink({ traceId: TRACE_ID, spanId: SPAN_ID });
            }
            span.setStatus("error", "é".repeat(3000)).end();
        },
        () => dwell.startSpan("halves", { halves: true }).end(),
    ];
    for (const take of takes) {
        take();
        assert.equal(await dwell.flush(), "ok");
        const { reasons } = await daemon.ledger();
        assert.deepEqual(Object.values(reasons).filter(Boolean), [], take.toString());
    }
    await daemon.mustAccountFor({ sent: takes.length + 1, accepted: takes.length + 1, lost: 0 });
});

test(
    "the ledger closes over drops, an outage, a restart and what was never sent",
    options,
    async (t) => {
        const { daemon, dwell } = await open(t, {
            bufferBytes: 131072,
            evidence: "none",
            keepMs: 60000,
        });
        const model = dwell.model("m");
        const record = (count) => {
            for (let i = 0; i < count; i++) {
                model.begin().end();
            }
        };
        record(50000);
        dwell.sample({ modelName: 5 });
        assert.equal(await dwell.flush(), "ok");
        const { dropped, recorded } = dwell.stats();
        assert.ok(dropped > 0 && recorded === 50001);
        await daemon.mustAccountFor({ sent: recorded, accepted: recorded - dropped, dropped, lost: 0 });

        await daemon.stop();
        record(100);
        await daemon.start();
        assert.equal(await dwell.flush(), "ok");
        record(1);
        assert.equal(await dwell.close(), "ok");
        // The new daemon takes over where the client says it stands.
        await daemon.mustAccountFor({ accepted: 101, lost: 0, rejected: 0 });
        const { sent } = dwell.stats();
        assert.equal(dwell.stats().recorded, sent + dwell.stats().dropped);
    },
);

test("a daemon that is stopped in its tracks, and goes on", options, async (t) => {
    const { daemon, dwell } = await open(t, { bufferBytes: 131072, evidence: "none" });
    assert.equal(await dwell.flush(), "ok");
    daemon.process.kill("SIGSTOP");
    const model = dwell.model("m");
    let calls = 0;
    while (dwell.stats().dropped === 0) {
        model.begin().end();
        calls++;
        assert.ok(calls < 1e6, "the socket takes everything");
    }
    assert.equal(await dwell.flush({ timeout: 20 }), "timeout");
    daemon.process.kill("SIGCONT");
    assert.equal(await dwell.flush(), "ok");
    assert.equal(await dwell.close(), "ok");
    await daemon.mustAccountFor({ sent: calls, accepted: calls - dwell.stats().dropped, lost: 0 });
});

test("a daemon that was killed: what it had not applied is unconfirmed", options, async (t) => {
    const { daemon, dwell } = await open(t, { evidence: "none" });
    const model = dwell.model("m");
    model.begin().end();
    assert.equal(await dwell.flush(), "ok");
    daemon.process.kill("SIGSTOP");
    model.begin().end();
    const flushed = dwell.flush();
    await daemon.stop("SIGKILL");
    assert.equal(await flushed, "unconfirmed");
    assert.equal(dwell.stats().unconfirmed, 1);
    await daemon.start();
    model.begin().end();
    assert.equal(await dwell.flush(), "ok");
    await daemon.mustAccountFor({ accepted: 1, lost: 0 });
    await daemon.stop();
});
