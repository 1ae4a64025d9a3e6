// Time budgets: what a layer has taken, how that is judged, and what is recorded of it.
"use strict";

const assert = require("node:assert/strict");
const diagnostics = require("node:diagnostics_channel");
const { after, test } = require("node:test");

const { Dwell, LayerTimeoutError, CONSTITUTIONAL_HASH } = require("../index.js");
const { PATIENT, listen, until } = require("./support.js");

const offline = new Dwell({ directory: "/nonexistent/dwell" });
after(() => offline.close());

function spin(ms) {
    for (const end = performance.now() + ms; performance.now() < end;);
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

test("without options there are the four known layers and the total", () => {
    const report = offline.budget().report();
    const limits = Object.entries(report.layers).map(([name, layer]) => [name, layer.budget_ms]);
    assert.deepEqual(limits, [
        ["layer1_validation", 5],
        ["layer2_deliberation", 20],
        ["layer3_policy", 10],
        ["layer4_audit", 15],
    ]);
    assert.deepEqual(
        [report.total_budget_ms, report.total_elapsed_ms, report.total_remaining_ms],
        [50, 0, 50],
    );
    assert.equal(report.constitutional_hash, CONSTITUTIONAL_HASH);
});

test("options that make no sense are a budget without limits", () => {
    const layer = (more) => ({ layers: [{ name: "a", budgetMs: 1, ...more }] });
    const bad = [
        { totalMs: 0 },
        { totalMs: -1 },
        { totalMs: NaN },
        { totalMs: 14400001 },
        { totalMs: "x" },
        { layers: 5 },
        { layers: [null] },
        { layers: [{ name: "new" }] },
        { layers: Array(17).fill({ name: "a", budgetMs: 1 }) },
        layer({ name: "" }),
        layer({ name: "total" }),
        layer({ name: "é".repeat(32) }),
        layer({ budgetMs: 0.0009 }),
        layer({ share: 0.5 }),
        layer({ budgetMs: undefined, share: 1.1 }),
        layer({ softLimit: 0 }),
        layer({ softLimit: 1.1 }),
        {
            layers: [
                { name: "a", budgetMs: 1 },
                { name: "a", budgetMs: 2 },
            ],
        },
        { requestId: "r".repeat(129) },
        { requestId: 5 },
        {
            get totalMs() {
                throw new Error("a getter");
            },
        },
    ];
    for (const options of bad) {
        const budget = offline.budget(options);
        assert.equal(budget.isValid, false);
        budget.start("a");
        assert.deepEqual(budget.stop("a"), { verdict: "within", elapsedMs: 0 });
        assert.deepEqual([budget.remaining("a"), budget.run("a", () => 5)], [Infinity, 5]);
        assert.deepEqual(budget.report().layers, {});
    }
    const good = [
        { totalMs: 0.001 },
        { totalMs: 14400000 },
        { layers: [] },
        layer({ name: "é".repeat(31) }),
        { layers: [{ name: "layer3_policy" }] },
        { requestId: "r".repeat(128) },
        null,
        { layers: Array.from({ length: 16 }, (_, i) => ({ name: `l${i}`, budgetMs: 1 })) },
    ];
    for (const options of good) {
        assert.equal(offline.budget(options).isValid, true);
    }
});

test("a share scales with the total", () => {
    const budget = offline.budget({ totalMs: 200, layers: [{ name: "a", share: 0.25 }] });
    assert.equal(budget.report().layers.a.budget_ms, 50);
});

test("nested and concurrent operations of a layer count once, repeated ones add up", () => {
    const budget = offline.budget({ layers: [{ name: "a", budgetMs: 1000 }] });
    budget.start("a");
    budget.start("a");
    spin(2);
    budget.stop("a");
    spin(2);
    const { elapsedMs: first } = budget.stop("a");
    assert.ok(first >= 4 && first < 1000);
    assert.equal(budget.stop("a").elapsedMs, first, "nothing runs");
    spin(1);
    assert.equal(budget.check("a").elapsedMs, first);
    budget.start("a");
    spin(1);
    assert.ok(budget.check("a").elapsedMs >= first + 1, "also while it runs");
    assert.ok(budget.stop("a").elapsedMs >= first + 1);
    budget.reset("a");
    assert.deepEqual(budget.check("a"), { verdict: "within", elapsedMs: 0 });
});

test("verdicts: strict comparisons, and the total once it was started", () => {
    const layers = [
        { name: "a", budgetMs: 10 },
        { name: "lax", budgetMs: 10, strict: false },
    ];
    const budget = offline.budget({ totalMs: 20, layers });
    const [a, lax, total] = ["a", "lax", "total"].map((name) => budget._layers.get(name));
    const rows = [
        [8, 0, "within", "within"],
        [8.001, 0, "soft_limit", "soft_limit"],
        [10, 0, "soft_limit", "soft_limit"],
        [10.001, 0, "exceeded_strict", "exceeded"],
        [1, 20, "within", "within"],
        [1, 20.001, "exceeded_strict", "exceeded_strict"],
    ];
    for (const [taken, whole, strict, lenient] of rows) {
        a.takenMs = taken;
        lax.takenMs = taken;
        total.takenMs = whole;
        total.hasStarted = whole > 0;
        assert.deepEqual(
            [budget.check("a").verdict, budget.check("lax").verdict],
            [strict, lenient],
            `${taken} ${whole}`,
        );
    }
    budget.reset();
    assert.deepEqual(
        [budget.remaining("a"), budget.remaining("total"), budget.remaining("b")],
        [10, 20, Infinity],
    );
    total.hasStarted = true;
    total.takenMs = 15;
    assert.equal(budget.remaining("a"), 5);
});

test("a sync operation is judged afterwards: strict layers throw, others pass the result on", () => {
    const seen = [];
    const listener = (message) => seen.push(message);
    diagnostics.subscribe("dwell.budget", listener);
    const budget = offline.budget({
        layers: [
            { name: "roomy", budgetMs: 10000 },
            { name: "a", budgetMs: 1 },
            { name: "lax", budgetMs: 1, strict: false },
        ],
    });
    assert.equal(
        budget.run("roomy", () => 5),
        5,
    );
    assert.equal(
        budget.run("lax", () => (spin(2), 6), { name: "audit" }),
        6,
    );
    let caught;
    try {
        budget.run("a", () => spin(2), { name: "check" });
    } catch (error) {
        caught = error;
    }
    diagnostics.unsubscribe("dwell.budget", listener);
    assert.ok(caught instanceof LayerTimeoutError && caught instanceof Error);
    assert.deepEqual(caught.toJSON(), {
        error: "LayerTimeoutError",
        layer_name: "a",
        budget_ms: 1,
        elapsed_ms: caught.elapsedMs,
        operation: "check",
        constitutional_hash: CONSTITUTIONAL_HASH,
    });
    assert.ok(caught.elapsedMs > 2);
    assert.ok(
        caught.message.includes(`${caught.elapsedMs.toFixed(2)}ms`) &&
            caught.message.includes("1.00ms"),
    );
    assert.deepEqual(
        seen.map(({ layer_name, operation, verdict }) => [layer_name, operation, verdict]),
        [
            ["lax", "audit", "exceeded"],
            ["a", "check", "exceeded_strict"],
        ],
    );
    assert.throws(() => budget.run("a", () => assert.fail("mine")), /mine/, "its own error passes");
});

test("an async operation is aborted at the limit", async () => {
    const budget = offline.budget({
        layers: [
            { name: "a", budgetMs: 5 },
            { name: "lax", budgetMs: 5, strict: false },
        ],
    });
    let signal;
    const never = (own) => {
        signal = own;
        return new Promise(() => {});
    };
    await assert.rejects(budget.run("a", never, { name: "wait" }), (error) => {
        assert.ok(error instanceof LayerTimeoutError);
        assert.deepEqual([error.layerName, error.operation], ["a", "wait"]);
        return error.elapsedMs >= 5;
    });
    assert.equal(signal.reason.name, "TimeoutError");
    await assert.rejects(budget.run("lax", never), (error) => error === signal.reason);
    assert.equal(budget.check("a").verdict, "exceeded_strict");
    await assert.rejects(budget.run("a", never), LayerTimeoutError, "nothing is left");
    assert.equal(await budget.run("lax", async () => 5), 5, "what is there already counts");
});

test("its own errors pass, a TimeoutError of its own too, and a late one is nobody's", async () => {
    const budget = offline.budget({
        layers: [
            { name: "a", budgetMs: 1000 },
            { name: "b", budgetMs: 2 },
        ],
    });
    const own = new DOMException("mine", "TimeoutError");
    await assert.rejects(
        budget.run("a", () => Promise.reject(own)),
        (error) => error === own,
    );
    let late;
    const operation = () => new Promise((resolve, reject) => (late = reject));
    await assert.rejects(budget.run("b", operation), LayerTimeoutError);
    const unhandled = [];
    const listener = (reason) => unhandled.push(reason);
    process.on("unhandledRejection", listener);
    late(new Error("late"));
    await turn();
    await turn();
    process.removeListener("unhandledRejection", listener);
    assert.deepEqual(unhandled, []);
});

test("concurrent operations of a layer each end by themselves", async () => {
    const budget = offline.budget({ layers: [{ name: "a", budgetMs: 1000 }] });
    const results = await Promise.all(
        [1, 2, 3].map((i) => budget.run("a", async () => (await turn(), i))),
    );
    assert.deepEqual(results, [1, 2, 3]);
    assert.equal(budget._layers.get("a").running, 0);
});

test("the total ends a layer whose own time is not over", async () => {
    const budget = offline.budget({ totalMs: 5, layers: [{ name: "a", budgetMs: 1000 }] });
    budget.start("total");
    await assert.rejects(
        budget.run("a", () => new Promise(() => {})),
        (error) => error.layerName === "total",
    );
});

test("a signal from outside is handed on, and let go of", async () => {
    const budget = offline.budget({ layers: [{ name: "a", budgetMs: 60000 }] });
    const outer = new AbortController();
    const run = budget.run(
        "a",
        (signal) =>
            new Promise((resolve) => {
                signal.addEventListener("abort", () => resolve(signal.reason));
            }),
        { signal: outer.signal },
    );
    outer.abort("enough");
    assert.equal(await run, "enough");
    assert.equal(
        budget.run("a", (signal) => signal.reason, { signal: outer.signal }),
        "enough",
    );
});

test("each run is a record, with what the layer took before", async (t) => {
    const listener = await listen(t);
    const dwell = new Dwell({ directory: listener.directory, ...PATIENT });
    const layers = [{ name: "layer2_deliberation", budgetMs: 60000 }];
    const budget = dwell.budget({ requestId: "r-17", totalMs: 60000, layers });
    budget.start("total");
    budget.run("layer2_deliberation", () => spin(1), { name: "evaluate" });
    let spanId;
    dwell.span("s", (span) => {
        ({ spanId } = span.context);
        budget.run("layer2_deliberation", () => {});
    });
    budget.stop("total");
    dwell.recordBudget({
        layer: "l",
        elapsedMs: 1,
        operation: "o",
        requestId: "q",
        traceId: "0af7651916cd43dd8448eb211c80319c",
        spanId: "b7ad6b7169203331",
        timestamp: 5n,
        sampled: false,
        beforeMs: 2,
    });
    assert.equal(await dwell.close(), "ok");
    const [first, second, total, given] = listener.records("budgets");
    assert.deepEqual(
        [first.layer, first.operation, first.requestId, first.beforeMs],
        ["layer2_deliberation", "evaluate", "r-17", undefined],
    );
    assert.equal(second.beforeMs, first.elapsedMs);
    assert.deepEqual([second.spanId, second.operation, second.flags], [spanId, undefined, undefined]);
    assert.equal(total.layer, "total");
    assert.ok(total.elapsedMs >= first.elapsedMs + second.elapsedMs);
    assert.deepEqual(given, {
        layer: "l",
        elapsedMs: 1,
        operation: "o",
        requestId: "q",
        traceId: "0af7651916cd43dd8448eb211c80319c",
        spanId: "b7ad6b7169203331",
        timestamp: 5n,
        flags: 0,
        beforeMs: 2,
    });
    listener.mustBalance({ calls: 5 });
});

test("a promise that settles in time leaves no timer behind", async () => {
    const budget = offline.budget({ layers: [{ name: "a", budgetMs: 14400000 }], totalMs: 14400000 });
    const timers = () => process.getActiveResourcesInfo().filter((kind) => kind === "Timeout").length;
    const before = timers();
    assert.equal(await budget.run("a", async () => 5), 5);
    await until(() => timers() <= before, "it is gone");
});
