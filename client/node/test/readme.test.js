// The example of README.md runs as it stands, against a daemon if there is one, and without.
"use strict";

const assert = require("node:assert/strict");
const { spawn } = require("node:child_process");
const { once } = require("node:events");
const fs = require("node:fs");
const path = require("node:path");
const { test } = require("node:test");

const limits = require("../lib/limits.js");
const { WITHOUT_DAEMON, makeDirectory, startDaemon } = require("./support.js");

const PACKAGE = path.resolve(__dirname, "..");
const text = fs.readFileSync(path.join(PACKAGE, "README.md"), "utf8");

// Runs the example from a directory in which the package is installed.
async function run(t, dwellDirectory) {
    const directory = makeDirectory(t);
    fs.mkdirSync(path.join(directory, "node_modules"));
    fs.symlinkSync(PACKAGE, path.join(directory, "node_modules", "dwell"));
    const [, example] = /```js\n(.*?)```/s.exec(text);
    fs.writeFileSync(path.join(directory, "example.mjs"), example);
    const child = spawn(process.execPath, ["example.mjs"], {
        cwd: directory,
        env: { ...process.env, DWELL_DIR: dwellDirectory },
    });
    let printed = "";
    child.stdout.on("data", (chunk) => (printed += chunk));
    child.stderr.on("data", (chunk) => (printed += chunk));
    const [status] = await once(child, "close");
    return [status, printed];
}

test("the example, with a daemon", { skip: WITHOUT_DAEMON }, async (t) => {
    const daemon = await startDaemon(t);
    assert.deepEqual(await run(t, daemon.directory), [0, "cat allowed ok\n"]);
    await daemon.mustAccountFor({ sent: 9, accepted: 9, rejected: 0, dropped: 0, lost: 0 });
});

test("the example, without one", async (t) => {
    assert.deepEqual(await run(t, "/nonexistent"), [0, "cat allowed unconfirmed\n"]);
});

test("what it says of limits is so", () => {
    const said = {
        RECORD_BYTES: "16 kB",
        BUFFER_BYTES: "256 kB",
        BUFFER_BYTES_MIN: "128 kB",
        BUFFER_BYTES_MAX: "16 MB",
        STACK_BYTES: "4096 bytes",
        BUDGET_NAME_BYTES: "62 bytes a name",
        BUDGET_REQUEST_ID_BYTES: "128 a request id",
        CLIENTS_MAX: "| 16 | no-ops |",
        MODELS_MAX: "| 1024 | a new handle",
        SPAN_PARTS_MAX: "| 128 each;",
        LIST_MAX: "| 1024 | the attribute",
        ROUTES_MAX: "| 1000 | endpoint",
        BUDGET_LAYERS_MAX: "| 16, 4 h,",
        KEEP_MS: "| 10 s;",
    };
    const units = { kB: 1024, MB: 1024 * 1024, s: 1000 };
    for (const [name, phrase] of Object.entries(said)) {
        assert.ok(text.includes(phrase), phrase);
        const [, number, unit] = /(\d+)(?: (kB|MB|s)\b)?/.exec(phrase);
        assert.equal(limits[name], Number(number) * (units[unit] ?? 1), name);
    }
    assert.equal(require("../package.json").version, limits.VERSION);
});

test("by import and by require it is one module", async () => {
    const imported = await import("../index.mjs");
    const required = require("../index.js");
    assert.equal(imported.default, required.dwell);
    assert.deepEqual(
        Object.keys(required).sort(),
        Object.keys(imported)
            .filter((name) => name !== "default")
            .sort(),
    );
    for (const name of Object.keys(required)) {
        assert.equal(imported[name], required[name]);
    }
});
