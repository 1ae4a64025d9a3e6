// How records get to the daemon, and what becomes of them when it is not there, hangs, or comes back.
"use strict";

const assert = require("node:assert/strict");
const fs = require("node:fs");
const path = require("node:path");
const { test } = require("node:test");

const { Dwell } = require("../index.js");
const { PATIENT, Listener, listen, makeDirectory, until } = require("./support.js");

function open(t, options) {
    const dwell = new Dwell({ evidence: "none", ...PATIENT, ...options });
    t.after(() => dwell.close({ timeout: 1 }));
    return dwell;
}

function record(dwell, count, name = "m") {
    const model = dwell.model(name);
    for (let i = 0; i < count; i++) {
        model.begin().end();
    }
}

// Recorded is what was sent, dropped, and still waits.
function mustAddUp(dwell, waiting) {
    const { recorded, sent, dropped } = dwell.stats();
    assert.equal(recorded - sent - dropped, waiting);
}

test("a record is sent by itself", async (t) => {
    const listener = await listen(t);
    const dwell = open(t, { directory: listener.directory });
    record(dwell, 1);
    await until(() => listener.recordCount === 1, "the record has come");
    assert.equal(listener.batches.length, 2);
    await until(() => dwell.stats().sent === 1, "it counts as sent");
    mustAddUp(dwell, 0);
});

test("flush resolves when the daemon has said so, several at once too", async (t) => {
    const listener = await listen(t);
    const dwell = open(t, { directory: listener.directory });
    assert.equal(await dwell.flush(), "ok");
    record(dwell, 10);
    const both = [dwell.flush(), dwell.flush()];
    assert.deepEqual(await Promise.all(both), ["ok", "ok"]);
    assert.equal(listener.recordCount, 10);
    for (const batch of listener.batches) {
        const kinds = ["hello", "flush", "samples"].filter((kind) => kind in batch);
        assert.equal(kinds.length, 1, "each in a batch of its own");
    }
    assert.deepEqual([dwell.stats().connections, dwell.stats().unconfirmed], [1, 0]);
});

test("a burst in one turn of the event loop goes as far as the kernel takes it", async (t) => {
    const listener = await listen(t);
    const dwell = open(t, { directory: listener.directory });
    assert.equal(await dwell.flush(), "ok");
    const count = 6000; // some 100 kB: more than a batch, less than a socket takes
    record(dwell, count);
    assert.ok(dwell.stats().sent > 0, "a full batch is sent at once");
    assert.equal(await dwell.close(), "ok");
    assert.equal(listener.recordCount, count);
    listener.mustBalance({ calls: count });
});

test("a loop that keeps the event loop from turning sends every 50 ms, and no more often", async (t) => {
    const listener = await listen(t);
    const dwell = open(t, { directory: listener.directory });
    assert.equal(await dwell.flush(), "ok");
    const begin = performance.now();
    let calls = 0;
    for (; performance.now() < begin + 250; calls++) {
        dwell.model("m").track(() => {
            for (const end = performance.now() + 1; performance.now() < end;);
        });
    }
    const { batches, sent } = dwell.stats();
    const turns = (performance.now() - begin) / 50;
    assert.ok(sent > 0 && batches >= 1 && batches <= turns, `${batches} batches in ${turns} turns`);
    assert.equal(await dwell.close(), "ok");
    listener.mustBalance({ calls });
});

test("a burst past everything is dropped and counted", async (t) => {
    const listener = await listen(t);
    const dwell = open(t, { directory: listener.directory, bufferBytes: 131072 });
    const count = 20000; // before there is a connection: two batches of some 4000 are kept
    record(dwell, count);
    const { dropped } = dwell.stats();
    assert.ok(dropped > count / 2 && dropped < count, `${dropped}`);
    mustAddUp(dwell, count - dropped);
    assert.equal(await dwell.close(), "ok");
    assert.equal(listener.recordCount, count - dropped);
    listener.mustBalance({ calls: count });
    mustAddUp(dwell, 0);
});

test("a daemon that comes later gets what waited", async (t) => {
    const directory = makeDirectory(t);
    const dwell = open(t, { directory });
    record(dwell, 3);
    await until(() => dwell._link.backoffMs > 20, "it was looked for twice");
    const listener = await listen(t, directory);
    await until(() => listener.recordCount === 3, "the records have come");
    assert.equal(await dwell.close(), "ok");
    listener.mustBalance({ calls: 3 });
});

test("without a daemon records are kept for so long, and then dropped and counted", async (t) => {
    const dwell = open(t, { directory: makeDirectory(t), keepMs: 30 });
    record(dwell, 5);
    await until(() => dwell.stats().dropped === 5, "they were given up");
    record(dwell, 2);
    await until(() => dwell.stats().dropped === 7, "so are later ones");
    mustAddUp(dwell, 0);
    const listener = await listen(t, dwell._link.paths()[0].replace(/\/ingest.sock$/, ""));
    record(dwell, 1);
    assert.equal(await dwell.flush(), "ok");
    assert.equal(await dwell.close(), "ok");
    listener.mustBalance({ calls: 8 });
});

test("tries come after 10 ms, twice that, up to 5 s, between half of it and the whole", (t) => {
    const dwell = open(t, { directory: makeDirectory(t) });
    const link = dwell._link;
    for (const wanted of [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 5000, 5000]) {
        const before = performance.now();
        link._retryLater();
        const delay = link.retryAt - before;
        assert.ok(delay >= wanted / 2 && delay <= wanted + 50, `${delay} of ${wanted}`);
    }
});

test("a daemon that restarts: nothing that was sent is sent again", async (t) => {
    const first = await listen(t);
    const dwell = open(t, { directory: first.directory });
    record(dwell, 4);
    assert.equal(await dwell.flush(), "ok");
    await first.close();
    await until(() => !dwell.stats().connected, "the end is seen");
    record(dwell, 2);
    const second = await listen(t, first.directory);
    assert.equal(await dwell.flush(), "ok");
    assert.deepEqual([first.recordCount, second.recordCount], [4, 2]);
    assert.equal(second.batches[0].firstSequence, 4);
    assert.deepEqual([dwell.stats().connections, dwell.stats().unconfirmed], [2, 0]);
});

test("a connection that breaks before the daemon has confirmed: said, and counted", async (t) => {
    const listener = await listen(t);
    listener.answers = false;
    const dwell = open(t, { directory: listener.directory });
    record(dwell, 4);
    const flushed = dwell.flush();
    await until(() => listener.batches.some((batch) => batch.flush), "the flush has come");
    listener.connections[0].destroy();
    assert.equal(await flushed, "unconfirmed");
    assert.equal(dwell.stats().unconfirmed, 4);
});

test("a flush without an answer ends in time", async (t) => {
    const listener = await listen(t);
    listener.answers = false;
    const dwell = open(t, { directory: listener.directory });
    record(dwell, 1);
    assert.equal(await dwell.flush({ timeout: 20 }), "timeout");
    listener.answers = true;
    listener.answer(listener.connections[0], 1);
    assert.equal(await dwell.flush(), "ok");
});

test("a daemon that hangs: what is new is dropped and counted, and what waits comes later", async (t) => {
    const listener = await listen(t);
    const dwell = open(t, { directory: listener.directory, bufferBytes: 131072 });
    assert.equal(await dwell.flush(), "ok");
    listener.connections[0].pause();
    let calls = 0;
    await until(() => {
        record(dwell, 5000);
        calls += 5000;
        return dwell.stats().dropped > 0;
    }, "the socket and the buffers are full");
    assert.ok(dwell._link.writing !== null, "a batch is on its way");
    assert.equal(await dwell.flush({ timeout: 20 }), "timeout");
    listener.connections[0].resume();
    assert.equal(await dwell.close(), "ok");
    listener.mustBalance({ calls });
});

test("a batch that was cut off is sent again from its start", async (t) => {
    const listener = await listen(t);
    const dwell = open(t, { directory: listener.directory });
    assert.equal(await dwell.flush(), "ok");
    listener.connections[0].pause();
    let calls = 0;
    let seen = null;
    await until(() => {
        const isStuck = seen !== null && dwell._link.writing === seen;
        seen = dwell._link.writing;
        if (seen === null) {
            record(dwell, 1000);
            calls += 1000;
        }
        return isStuck;
    }, "a batch is on its way, and stays there");
    const { sent } = dwell.stats();
    assert.ok(sent < calls);
    listener.connections[0].destroy();
    await until(() => dwell.stats().connections === 2, "there is another connection");
    assert.equal(await dwell.flush(), "ok");
    const { unconfirmed, dropped } = dwell.stats();
    assert.deepEqual([unconfirmed, dropped, dwell.stats().sent], [sent, 0, calls]);
    const secondHello = listener.batches.findLastIndex((batch) => batch.hello);
    const after = listener.batches.slice(secondHello).flatMap((batch) => batch.samples ?? []);
    assert.equal(after.length, calls - sent, "all that was not written as a whole");
    assert.equal(listener.batches[secondHello].firstSequence, sent);
});

// Places where no daemon is: no error is raised, records wait, and close does not.
const NOWHERE = {
    "a directory that is not there": () => "/nonexistent/dwell",
    "a plain file as socket": (directory) => {
        fs.writeFileSync(path.join(directory, "ingest.sock"), "");
        return directory;
    },
    "a plain file as directory": (directory) => {
        fs.writeFileSync(path.join(directory, "file"), "");
        return path.join(directory, "file");
    },
    "a socket without a listener": async (directory) => {
        const listener = await new Listener(path.join(directory, "real.sock")).listen();
        fs.linkSync(path.join(directory, "real.sock"), path.join(directory, "ingest.sock"));
        await listener.close();
        return directory;
    },
    "a path that is too long": (directory) => path.join(directory, "d".repeat(200)),
    "a path with a zero byte": () => "/tmp/dwell\0x",
    "a text over 256 bytes": () => `/${"d".repeat(300)}`,
};

for (const [what, make] of Object.entries(NOWHERE)) {
    test(`no daemon: ${what}`, async (t) => {
        process.env.DWELL_DIR = "/nonexistent/dwell";
        t.after(() => delete process.env.DWELL_DIR);
        const dwell = open(t, { directory: await make(makeDirectory(t)) });
        record(dwell, 3);
        await until(() => dwell._link.backoffMs > 20, "it was looked for twice");
        mustAddUp(dwell, 3);
        assert.equal(await dwell.flush({ timeout: 1 }), "unconfirmed");
        assert.equal(await dwell.close({ timeout: 60000 }), "unconfirmed");
        assert.deepEqual([dwell.stats().dropped, dwell.stats().sent], [3, 0]);
    });
}

test("no permission", { skip: process.geteuid() === 0 && "root has every permission" }, async (t) => {
    const listener = await listen(t);
    fs.chmodSync(listener.path, 0);
    const dwell = open(t, { directory: listener.directory });
    record(dwell, 1);
    assert.equal(await dwell.close(), "unconfirmed");
    assert.equal(dwell.stats().dropped, 1);
});

// What a peer that is no daemon, or one that refuses, may say. The connection ends, and nothing else does.
const NO_REPLIES = {
    "a line of JSON": Buffer.from('{"error":"no","reason":"not_allowed"}\n'),
    "a reply that is too long": Buffer.from([0xfd, 0x0f, 0, 0]),
    "a reply that is no message": Buffer.from([1, 0, 0, 0, 0x80]),
    "a group": Buffer.from([1, 0, 0, 0, 0x0b]),
    "a field past the end": Buffer.from([2, 0, 0, 0, 0x12, 0x05]),
};

for (const [what, bytes] of Object.entries(NO_REPLIES)) {
    test(`replies that are none: ${what}`, async (t) => {
        const listener = await listen(t);
        const dwell = open(t, { directory: listener.directory });
        record(dwell, 1);
        await until(() => listener.recordCount === 1, "the record has come");
        listener.connections[0].write(bytes);
        await until(() => !dwell.stats().connected, "the connection has ended");
        record(dwell, 1);
        assert.equal(await dwell.flush(), "ok");
        assert.equal(listener.connections.length, 2);
    });
}

test("a reply in pieces, with fields that nobody knows, and an empty one", async (t) => {
    const listener = await listen(t);
    listener.answers = false;
    const dwell = open(t, { directory: listener.directory });
    record(dwell, 1);
    const flushed = dwell.flush();
    await until(() => listener.batches.some((batch) => batch.flush), "the flush has come");
    const fields = [0x21, 1, 2, 3, 4, 5, 6, 7, 8, 0x2d, 1, 2, 3, 4, 0x32, 1, 0, 0x08, 0x81, 0x01];
    for (const byte of [0, 0, 0, 0, fields.length, 0, 0, 0, ...fields]) {
        listener.connections[0].write(Buffer.from([byte]));
        await new Promise((resolve) => setImmediate(resolve));
    }
    assert.equal(await flushed, "ok");
});

test("the directory is looked for each time, by the rules of the contract", async (t) => {
    const { socketPaths } = require("../lib/directory.js");
    const own = `/tmp/dwell-${process.geteuid()}/ingest.sock`;
    const without = (paths) => paths.filter((candidate) => candidate !== own);
    assert.deepEqual(socketPaths("/a", { DWELL_DIR: "/b" }), ["/a/ingest.sock"]);
    assert.deepEqual(socketPaths(undefined, { DWELL_DIR: "/b", XDG_RUNTIME_DIR: "/c" }), [
        "/b/ingest.sock",
    ]);
    assert.deepEqual(without(socketPaths(undefined, { DWELL_DIR: "", XDG_RUNTIME_DIR: "/c" })), [
        "/c/dwell/ingest.sock",
        "/run/dwell/ingest.sock",
    ]);
    assert.deepEqual(without(socketPaths(undefined, {})), ["/run/dwell/ingest.sock"]);
    const fits = `/${"d".repeat(107 - "//ingest.sock".length)}`;
    assert.deepEqual(socketPaths(fits, {}), [`${fits}/ingest.sock`]);
    assert.deepEqual(socketPaths(`${fits}d`, {}), []);

    const listener = await listen(t);
    t.after(() => delete process.env.DWELL_DIR);
    process.env.DWELL_DIR = "/nonexistent/dwell";
    const dwell = open(t);
    record(dwell, 1);
    await until(() => dwell._link.backoffMs > 20, "it was looked for twice");
    process.env.DWELL_DIR = listener.directory;
    assert.equal(await dwell.flush(), "ok");
});

test("options that make no sense are as if not given", async (t) => {
    const listener = await listen(t);
    const throwing = Object.defineProperty({}, "keepMs", {
        enumerable: true,
        get: () => assert.fail(),
    });
    for (const options of [
        throwing,
        null,
        "text",
        5,
        { bufferBytes: "x", keepMs: -1, evidencePercent: NaN },
    ]) {
        const dwell = new Dwell(options);
        assert.equal(dwell._outbox.max, 4);
        assert.equal(dwell._link.keepMs, 10000);
        await dwell.close();
    }
    const dwell = open(t, {
        directory: listener.directory,
        serviceName: 5,
        serviceVersion: "v".repeat(257),
    });
    assert.equal(await dwell.flush(), "ok");
    assert.deepEqual(Object.keys(listener.batches[0].hello), ["pid", "client"]);
});

test("16 clients are open at once, one more is a no-op", async () => {
    const clients = Array.from({ length: 16 }, () => new Dwell({ directory: "/nonexistent/dwell" }));
    // The default client is one of them.
    assert.deepEqual(
        clients.map(({ enabled }) => enabled),
        [...Array(15).fill(true), false],
    );
    await Promise.all(clients.map((dwell) => dwell.close()));
    const again = new Dwell();
    assert.ok(again.enabled);
    await again.close();
});

test("1024 models are kept, further ones work", async (t) => {
    const listener = await listen(t);
    const dwell = open(t, { directory: listener.directory });
    for (let i = 0; i <= 1024; i++) {
        record(dwell, 1, `m${i}`);
    }
    assert.equal(dwell.model("m1023"), dwell.model("m1023"));
    assert.notEqual(dwell.model("m1024"), dwell.model("m1024"));
    assert.equal(await dwell.close(), "ok");
    assert.equal(listener.recordCount, 1025);
});

test("after close, and with DWELL_DISABLED=1, everything is a no-op that passes results on", async (t) => {
    t.after(() => delete process.env.DWELL_DISABLED);
    process.env.DWELL_DISABLED = "1";
    const disabled = new Dwell();
    delete process.env.DWELL_DISABLED;
    const closed = new Dwell({ directory: "/nonexistent/dwell" });
    await closed.close();
    for (const dwell of [disabled, closed]) {
        dwell.sample({ modelName: "m", executionTimeMs: 1 });
        dwell.model("m").begin().end();
        assert.equal(
            dwell.model("m").track(() => 5),
            5,
        );
        assert.equal(await dwell.model("m").track(async () => 6), 6);
        dwell.counter("c").add();
        dwell.gauge("g").set(1);
        dwell.histogram("h").record(1);
        dwell.info("i", { a: "b" });
        assert.equal(
            dwell.span("s", (span) => span.setAttribute("a", 1).addEvent("e") && 7),
            7,
        );
        assert.throws(() => dwell.span("s", () => assert.fail("mine")), /mine/);
        const context = dwell.extract({ b3: "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1" });
        dwell.span("s", { parent: context }, () => {
            assert.equal(dwell.inject().b3, "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1");
        });
        const budget = dwell.budget({ layers: [{ name: "a", budgetMs: 60000 }] });
        assert.equal(
            budget.run("a", () => 8),
            8,
        );
        assert.equal(await dwell.flush(), "ok");
        assert.equal(await dwell.close(), "ok");
        assert.deepEqual([dwell.stats().recorded, dwell.stats().connections], [0, 0]);
    }
});
