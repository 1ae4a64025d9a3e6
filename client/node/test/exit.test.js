// What becomes of records when a process or a worker ends, and that a client keeps none of them alive.
"use strict";

const assert = require("node:assert/strict");
const { spawn } = require("node:child_process");
const { once } = require("node:events");
const path = require("node:path");
const { test } = require("node:test");
const { Worker } = require("node:worker_threads");

const { DEADLINE_MS, listen, makeDirectory, until } = require("./support.js");

const PACKAGE = JSON.stringify(path.resolve(__dirname, "../index.js"));
const PREFIX = `
    const { Dwell, dwell } = require(${PACKAGE});
    dwell._closeTimeoutMs = ${DEADLINE_MS};
    const model = dwell.model("m");
    const record = (count) => { for (let i = 0; i < count; i++) model.begin().end(); };
    const spin = (ms) => { for (const end = performance.now() + ms; performance.now() < end; ); };
`;

// Runs code in a process of its own; resolves to its exit status, and what it printed.
async function run(code, directory) {
    const child = spawn(process.execPath, ["-e", PREFIX + code], {
        env: { ...process.env, DWELL_DIR: directory },
        timeout: DEADLINE_MS,
        stdio: ["ignore", "pipe", "pipe"],
    });
    let printed = "";
    child.stdout.on("data", (chunk) => (printed += chunk));
    child.stderr.on("data", (chunk) => (printed += chunk));
    const [code_, signal] = await once(child, "close");
    return { status: code_ ?? signal, printed };
}

// [what the program does, exit status, records that arrive, whether it said goodbye].
const ENDS = {
    "the event loop has nothing to do": ["record(3);", 0, 3, true],
    "nothing was recorded": ["", 0, 0, false],
    "close is awaited": [
        "record(3); dwell.close().then((said) => process.exit(said === 'ok' ? 0 : 1));",
        0,
        3,
        true,
    ],
    "flush is awaited at the top": [
        "record(3); dwell.flush().then((said) => process.exitCode = said === 'ok' ? 7 : 1);",
        7,
        3,
        true,
    ],
    "process.exit with a connection": [
        "record(3); dwell.flush().then(() => { record(2); process.exit(5); });",
        5,
        5,
        true,
    ],
    "an error that nobody caught": [
        "dwell.flush().then(() => { record(2); setImmediate(() => { throw 1; }); });",
        1,
        2,
        true,
    ],
    "process.exit before there is a connection": ["record(3); process.exit(0);", 0, 0, false],
    "more work in beforeExit": [
        "record(1); process.once('beforeExit', () => setTimeout(() => record(2), 1));",
        0,
        3,
        true,
    ],
    "a burst, and the end": ["record(8000);", 0, 8000, true],
    "a loop that does not turn": [
        `dwell.flush().then(() => {
            for (let i = 0; i < 30; i++) { record(1); spin(5); }
            process.kill(process.pid, "SIGKILL");
        });`,
        "SIGKILL",
        null,
        false,
    ],
};

for (const [what, [code, status, records, saysGoodbye]] of Object.entries(ENDS)) {
    test(`the end: ${what}`, async (t) => {
        const listener = await listen(t);
        const ended = await run(code, listener.directory);
        assert.equal(ended.status, status, ended.printed);
        if (records !== null) {
            await until(() => listener.recordCount === records, `${records} records`);
        } else {
            // Those of the last 50 ms are lost with it; the others were sent meanwhile.
            await until(() => listener.recordCount >= 10, "most of them came");
        }
        if (saysGoodbye) {
            await until(() => listener.batches.at(-1)?.goodbye, "it said goodbye");
            listener.mustBalance({ calls: records });
        }
    });
}

test("without a daemon a process ends at once", async (t) => {
    const begin = Date.now();
    const ended = await run("dwell._closeTimeoutMs = 60000; record(3);", makeDirectory(t));
    assert.equal(ended.status, 0, ended.printed);
    assert.ok(Date.now() - begin < DEADLINE_MS);
});

test("a daemon that does not answer holds a process for no more than its time", async (t) => {
    const listener = await listen(t);
    listener.answers = false;
    const ended = await run("dwell._closeTimeoutMs = 20; record(3);", listener.directory);
    assert.equal(ended.status, 0, ended.printed);
    assert.equal(listener.recordCount, 3);
});

test("a client prints nothing, and raises nothing, whatever goes on", async (t) => {
    const listener = await listen(t);
    const ended = await run(
        `
        const lost = new Dwell({ directory: "/nonexistent/dwell", keepMs: 1 });
        lost.model("m").begin().end();
        record(3);
        dwell.flush().then(() => {
            record(1);
            void dwell.flush(), lost.close(), dwell.close();
        });
        `,
        listener.directory,
    );
    assert.deepEqual([ended.status, ended.printed], [0, ""]);
});

test("few descriptors: records wait, and come once there are some", async (t) => {
    const listener = await listen(t);
    const ended = await run(
        `
        const fs = require("node:fs");
        const taken = [];
        try { for (;;) taken.push(fs.openSync("/dev/null")); }
        catch (error) { if (error.code !== "EMFILE") throw error; }
        record(3);
        const look = setInterval(() => {
            if (dwell._link.backoffMs <= 20) return;
            clearInterval(look);
            taken.forEach((fd) => fs.closeSync(fd));
        }, 1);
        `,
        listener.directory,
    );
    assert.equal(ended.status, 0, ended.printed);
    assert.equal(listener.recordCount, 3);
});

test("a worker is a client of its own, and its end is an end", async (t) => {
    const listener = await listen(t);
    process.env.DWELL_DIR = listener.directory;
    t.after(() => delete process.env.DWELL_DIR);
    const workers = [1, 2].map(() => new Worker(`${PREFIX} record(3);`, { eval: true }));
    const ends = await Promise.all(workers.map((worker) => once(worker, "exit")));
    assert.deepEqual(ends, [[0], [0]]);
    await until(() => listener.recordCount === 6, "all records");
    assert.equal(new Set(listener.batches.map(({ clientId }) => clientId)).size, 2);
});

test("a process that was forked is a client of its own", async (t) => {
    const listener = await listen(t);
    const ended = await run(
        `
        record(2);
        const { spawn } = require("node:child_process");
        const child = ${JSON.stringify(`require(${PACKAGE}).dwell.model("c").begin().end();`)};
        spawn(process.execPath, ["-e", child], { stdio: "inherit" });
        `,
        listener.directory,
    );
    assert.deepEqual([ended.status, ended.printed], [0, ""]);
    await until(() => listener.recordCount === 3, "all records");
    const hellos = listener.batches.filter(({ hello }) => hello);
    assert.equal(new Set(hellos.map(({ hello }) => hello.pid)).size, 2);
    assert.equal(new Set(hellos.map(({ clientId }) => clientId)).size, 2);
});
