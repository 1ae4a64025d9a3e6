// The driver by which all clients are compared, and the same bytes by hand.
"use strict";

const assert = require("node:assert/strict");
const { spawn } = require("node:child_process");
const { once } = require("node:events");
const path = require("node:path");
const { test } = require("node:test");

const { MESSAGES, WITHOUT_DAEMON, mustRead, startDaemon } = require("./support.js");

const DRIVER = path.resolve(__dirname, "conform.mjs");

async function run(lines, args, env = {}) {
    const child = spawn(process.execPath, [DRIVER, ...args], { env: { ...process.env, ...env } });
    let printed = "";
    child.stdout.on("data", (chunk) => (printed += chunk));
    child.stderr.on("data", (chunk) => (printed += chunk));
    child.stdin.end(lines.map((line) => `${line}\n`).join(""));
    const [status] = await once(child, "close");
    return { status, printed };
}

// The example of the wire contract, one of each kind.
const LINES = [
    '{"model_name":"resnet50","execution_time_ms":12.5}',
    '{"type":"hello","service_name":"bus"}',
    "",
    '{"type":"counter","name":"jobs.queued","value":1,"attributes":{"code":"200"}}',
    '{"type":"gauge","name":"learning_rate","value":"NaN","timestamp":"2026-05-01T12:30:00.5Z"}',
    '{"type":"span_start","name":"t","trace_id":"0af7651916cd43dd8448eb211c80319c",' +
        '"span_id":"b7ad6b7169203331","start_time_unix_nano":"1777638600000000001"}',
    '{"type":"budget","layer":"layer3_policy","elapsed_ms":12.5}',
];
const BEGIN =
    "0a10000102030405060708090a0b0c0d0e0f" + // client_id
    "1000" +
    "1800" + // first_sequence, dropped
    "4213" +
    "0a087265736e65743530" +
    "190000000000002940" +
    "7225" +
    "0a0b6a6f62732e717565756564" +
    "1801" +
    "21000000000000f03f" +
    "2a0b0a04636f64651a03323030";

test("records become a frame of known bytes", async () => {
    const { status, printed } = await run(LINES, ["--encode"]);
    assert.equal(status, 0, printed);
    const frame = Buffer.from(printed.trim(), "hex");
    assert.equal(frame.readUInt32LE(0), frame.length - 4);
    const begin = Buffer.from(BEGIN, "hex");
    assert.equal(frame.subarray(4, 4 + begin.length).toString("hex"), begin.toString("hex"));
    const batch = mustRead(frame.subarray(4), MESSAGES.batch);
    assert.deepEqual(batch.metrics[1], {
        name: "learning_rate",
        op: 2,
        value: NaN,
        timestamp: 1777638600500000000n,
    });
    assert.deepEqual([batch.spans[0].part, batch.spans[0].start], [1, 1777638600000000001n]);
    assert.deepEqual(batch.budgets, [{ layer: "layer3_policy", elapsedMs: 12.5 }]);
});

test("more than a batch becomes several, numbered one after the other", async () => {
    const lines = Array(5000).fill('{"model_name":"m","execution_time_ms":1}');
    const { printed } = await run(lines, ["--encode"]);
    const batches = printed
        .trim()
        .split("\n")
        .map((hex) => mustRead(Buffer.from(hex, "hex").subarray(4), MESSAGES.batch));
    assert.ok(batches.length > 1);
    let next = 0;
    for (const batch of batches) {
        assert.equal(batch.firstSequence, next);
        next += batch.samples.length;
    }
    assert.equal(next, 5000);
});

test("records are sent, and what came of them is said", { skip: WITHOUT_DAEMON }, async (t) => {
    const daemon = await startDaemon(t);
    const { status, printed } = await run(LINES, [], { DWELL_DIR: daemon.directory });
    assert.equal(status, 0, printed);
    assert.deepEqual([JSON.parse(printed).sent, JSON.parse(printed).dropped], [5, 0]);
    await daemon.mustAccountFor({ sent: 5, accepted: 5, rejected: 0, dropped: 0, lost: 0 });
});

test("without a daemon it says so, and a line that is no object is an error", async () => {
    assert.equal((await run(LINES, [], { DWELL_DIR: "/nonexistent" })).status, 1);
    assert.equal((await run(["{"], ["--encode"])).status, 2);
    assert.equal((await run(['{"type":"what"}'], ["--encode"])).status, 2);
});
