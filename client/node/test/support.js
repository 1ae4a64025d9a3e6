// What the tests share: a listener in the place of the daemon that keeps what it gets, the daemon itself,
// and a reader of batches that is written apart from the client's writer.
"use strict";

const assert = require("node:assert/strict");
const { spawn } = require("node:child_process");
const fs = require("node:fs");
const http = require("node:http");
const net = require("node:net");
const os = require("node:os");
const path = require("node:path");

// For anything that should take milliseconds, on a machine that does something else.
const DEADLINE_MS = 20000;
// For a client that waits as long as that, too.
const PATIENT = { closeTimeoutMs: DEADLINE_MS };
const ROOT = path.resolve(__dirname, "../../..");

// Nothing of what the tests run in may lead a client elsewhere.
for (const name of Object.keys(process.env)) {
    if (/^(DWELL_(?!BUILD)|OTEL_|XDG_RUNTIME_DIR$)/.test(name)) {
        delete process.env[name];
    }
}

// Polls until the predicate gives something true, and resolves to that.
async function until(predicate, what) {
    const deadline = Date.now() + DEADLINE_MS;
    for (;;) {
        const value = await predicate();
        if (value) {
            return value;
        }
        assert.ok(Date.now() < deadline, `it did not come to this: ${what}`);
        await new Promise((resolve) => setTimeout(resolve, 5));
    }
}

// A directory that goes with the test.
function makeDirectory(t) {
    const directory = fs.mkdtempSync(path.join(os.tmpdir(), "dwell-node-"));
    t.after(() => fs.rmSync(directory, { recursive: true, force: true }));
    return directory;
}

// ---- Reading batches ----

// The fields of a message: [number, value], where bytes are a Buffer, and other numbers BigInt.
function mustReadFields(bytes) {
    const fields = [];
    let at = 0;
    const varint = () => {
        let number = 0n;
        for (let shift = 0n; ; shift += 7n) {
            assert.ok(at < bytes.length && shift < 64n, "a varint that is cut");
            const byte = bytes[at++];
            number |= BigInt(byte & 0x7f) << shift;
            if (byte < 0x80) {
                return number;
            }
        }
    };
    while (at < bytes.length) {
        const tag = Number(varint());
        const take = (size) => {
            assert.ok(at + size <= bytes.length, "a field that is cut");
            at += size;
            return bytes.subarray(at - size, at);
        };
        const read = {
            0: varint,
            1: () => take(8),
            2: () => take(Number(varint())),
            5: () => take(4),
        }[tag % 8];
        assert.ok(read, `wire type ${tag % 8}`);
        fields.push([tag >> 3, read()]);
    }
    return fields;
}

// A message as an object: { number: value }, of a repeated field a list, with names for the numbers.
function mustRead(bytes, names) {
    const message = {};
    for (const [number, raw] of mustReadFields(bytes)) {
        const row = names[number];
        assert.ok(row, `a field ${number}`);
        const [name, kind] = row.split(" ");
        const value =
            {
                text: () => raw.toString("utf8"),
                hex: () => raw.toString("hex"),
                double: () => raw.readDoubleLE(0),
                number: () => Number(raw),
                big: () => raw,
                time: () => raw.readBigUInt64LE(0),
                flags: () => raw.readUInt32LE(0),
            }[kind]?.() ?? mustRead(raw, MESSAGES[kind]);
        if (name.endsWith("s[]")) {
            (message[name.slice(0, -2)] ??= []).push(value);
        } else {
            assert.ok(!(name in message), `${name} twice`);
            message[name] = value;
        }
    }
    return message;
}

const MESSAGES = {
    batch: {
        1: "clientId hex",
        2: "firstSequence number",
        3: "dropped number",
        8: "samples[] sample",
        9: "hello hello",
        10: "flush flush",
        11: "goodbye goodbye",
        13: "spans[] span",
        14: "metrics[] metric",
        15: "budgets[] budget",
    },
    hello: {
        1: "serviceName text",
        2: "serviceVersion text",
        3: "pid number",
        4: "hash text",
        5: "client text",
    },
    flush: {},
    goodbye: { 1: "sequence number" },
    sample: {
        1: "modelName text",
        3: "executionTimeMs double",
        4: "cpuPercentDuring double",
        5: "memoryMbAfter double",
        6: "cpuPercentBefore double",
        7: "memoryMbBefore double",
        8: "error number",
        9: "queueMs double",
        10: "batchSize double",
        11: "device text",
        12: "traceId hex",
        13: "spanId hex",
        14: "timestamp time",
        15: "labels[] label",
        16: "errorText text",
        17: "userMs double",
        18: "systemMs double",
        19: "runqueueMs double",
        20: "minorFaults double",
        21: "majorFaults double",
        22: "voluntarySwitches double",
        23: "bytesMoved double",
        24: "flops double",
        25: "threads double",
        26: "processCpuMs double",
        27: "involuntarySwitches double",
        28: "diskBytes double",
        29: "threadId number",
    },
    label: { 1: "key text", 2: "value text" },
    metric: {
        1: "name text",
        3: "op number",
        4: "value double",
        5: "attributes[] attribute",
        6: "unit text",
        7: "aggregation number",
        8: "traceId hex",
        9: "spanId hex",
        10: "timestamp time",
    },
    attribute: { 1: "key text", 3: "value text" },
    budget: {
        1: "layer text",
        2: "elapsedMs double",
        3: "operation text",
        4: "requestId text",
        5: "traceId hex",
        6: "spanId hex",
        7: "timestamp time",
        8: "flags flags",
        9: "beforeMs double",
    },
    span: {
        1: "traceId hex",
        2: "spanId hex",
        3: "traceState text",
        4: "parentSpanId hex",
        5: "name text",
        6: "kind number",
        7: "start time",
        8: "end time",
        9: "attributes[] pair",
        10: "droppedAttributes number",
        11: "events[] event",
        12: "droppedEvents number",
        13: "links[] link",
        14: "droppedLinks number",
        15: "status status",
        16: "flags flags",
        100: "part number",
        101: "serviceName text",
    },
    pair: { 1: "key text", 2: "value any" },
    any: {
        1: "text text",
        2: "truth number",
        3: "whole big",
        4: "double double",
        5: "list list",
        7: "bytes hex",
    },
    list: { 1: "values[] any" },
    event: { 1: "time time", 2: "name text", 3: "attributes[] pair", 4: "droppedAttributes number" },
    link: {
        1: "traceId hex",
        2: "spanId hex",
        3: "traceState text",
        4: "attributes[] pair",
        5: "droppedAttributes number",
        6: "flags flags",
    },
    status: { 2: "message text", 3: "code number" },
};

const RECORDS = ["samples", "spans", "metrics", "budgets"];

function recordCount(batch) {
    return RECORDS.reduce((count, kind) => count + (batch[kind]?.length ?? 0), 0);
}

// Field numbers of every message ascend, as all clients write them; in a batch the records may be mixed.
function mustAscend(bytes, names) {
    let last = 0;
    for (const [number, raw] of mustReadFields(bytes)) {
        assert.ok(
            number >= last || (names === MESSAGES.batch && last >= 8),
            `field ${number} after ${last}`,
        );
        last = number;
        const kind = names[number].split(" ")[1];
        if (MESSAGES[kind]) {
            mustAscend(raw, MESSAGES[kind]);
        }
    }
}

// ---- In the place of the daemon ----

// Keeps what connections send: `batches` of all of them, in order. It answers flushes unless told not to.
class Listener {
    constructor(socketPath) {
        this.path = socketPath;
        this.batches = [];
        this.connections = [];
        this.answers = true;
        this.server = net.createServer((connection) => this._accept(connection));
        this.server.maxConnections = 64;
    }

    async listen() {
        await new Promise((resolve, reject) => {
            this.server.once("error", reject);
            this.server.listen(this.path, resolve);
        });
        return this;
    }

    _accept(connection) {
        this.connections.push(connection);
        let bytes = Buffer.alloc(0);
        let isBegun = false;
        let applied = 0;
        connection.on("error", () => {});
        connection.on("data", (chunk) => {
            bytes = Buffer.concat([bytes, chunk]);
            if (!isBegun && bytes.length >= 4) {
                assert.equal(bytes.toString("latin1", 0, 4), "DWL1");
                bytes = bytes.subarray(4);
                isBegun = true;
            }
            while (isBegun && bytes.length >= 4 && bytes.length - 4 >= bytes.readUInt32LE(0)) {
                const size = bytes.readUInt32LE(0);
                const body = Buffer.from(bytes.subarray(4, 4 + size));
                assert.ok(size + 4 <= 65536, "a frame of more than 64 kB");
                mustAscend(body, MESSAGES.batch);
                const batch = mustRead(body, MESSAGES.batch);
                this.batches.push(batch);
                applied += recordCount(batch);
                if (batch.flush && this.answers) {
                    this.answer(connection, applied);
                }
                bytes = bytes.subarray(4 + size);
            }
        });
    }

    answer(connection, applied) {
        const body = [0x08];
        for (; applied >= 0x80; applied = Math.floor(applied / 128)) {
            body.push((applied & 0x7f) | 0x80);
        }
        body.push(applied);
        connection.write(Buffer.from([body.length, 0, 0, 0, ...body]));
    }

    records(kind) {
        return this.batches.flatMap((batch) => batch[kind] ?? []);
    }

    get recordCount() {
        return this.batches.reduce((count, batch) => count + recordCount(batch), 0);
    }

    // Sent = accepted + dropped + lost, to the unit, as the daemon would reckon.
    mustBalance({ lost = 0, calls }) {
        let expected = null;
        let gap = 0;
        let dropped = 0;
        let accepted = 0;
        for (const batch of this.batches) {
            const begin = expected ?? 0;
            assert.ok(
                batch.firstSequence >= begin,
                `a number given twice: ${batch.firstSequence} < ${begin}`,
            );
            gap += batch.firstSequence - begin;
            expected = batch.firstSequence + recordCount(batch);
            assert.ok(batch.dropped >= dropped);
            dropped = batch.dropped;
            accepted += recordCount(batch);
            if (batch.goodbye) {
                gap += batch.goodbye.sequence - expected;
                expected = batch.goodbye.sequence;
            }
        }
        assert.equal(gap - dropped, lost, "lost");
        assert.equal(accepted + dropped + lost, calls, "calls");
    }

    async close() {
        for (const connection of this.connections) {
            connection.destroy();
        }
        await new Promise((resolve) => this.server.close(resolve));
    }
}

async function listen(t, directory = makeDirectory(t)) {
    const listener = new Listener(path.join(directory, "ingest.sock"));
    listener.directory = directory;
    t.after(() => listener.close().catch(() => {}));
    return listener.listen();
}

// ---- The daemon ----

const DWELLD = process.env.DWELL_BUILD && path.resolve(ROOT, process.env.DWELL_BUILD, "dwelld");
const WITHOUT_DAEMON =
    DWELLD && fs.existsSync(DWELLD) ? false : "DWELL_BUILD names no directory with a dwelld";

class Daemon {
    constructor(directory) {
        this.directory = directory;
        this.log = "";
    }

    async start() {
        const sets = [`ingest.directory=${this.directory}`, "http.listen=127.0.0.1:0"];
        this.process = spawn(
            DWELLD,
            sets.flatMap((set) => ["--set", set]),
            { stdio: ["ignore", "ignore", "pipe"] },
        );
        this.log = "";
        this.ended = new Promise((resolve) =>
            this.process.once("exit", (code, signal) => resolve(code ?? signal)),
        );
        this.process.stderr.on("data", (chunk) => (this.log += chunk));
        await until(() => /is ready$/m.test(this.log), "the daemon is ready");
        return this;
    }

    get(target) {
        return new Promise((resolve, reject) => {
            const socketPath = path.join(this.directory, "query.sock");
            const request = http.get({ socketPath, path: target }, (response) => {
                let body = "";
                response.setEncoding("utf8");
                response.on("data", (chunk) => (body += chunk));
                response.on("end", () => resolve(body));
            });
            request.on("error", reject);
        });
    }

    async status() {
        return JSON.parse(await this.get("/api/v1/status"));
    }

    // The ledger, with the rejected ones added up.
    async ledger() {
        const { ledger } = await this.status();
        const rejected = Object.values(ledger.rejected).reduce((sum, count) => sum + count, 0);
        return { ...ledger, reasons: ledger.rejected, rejected };
    }

    // Each term as it is expected, and all of them together; resolves to the ledger.
    async mustAccountFor(wanted) {
        const keys = Object.keys(wanted);
        let got;
        await until(async () => {
            got = await this.ledger();
            return keys.every((key) => got[key] === wanted[key]);
        }, JSON.stringify(wanted)).catch(() => {
            assert.deepEqual(Object.fromEntries(keys.map((key) => [key, got[key]])), wanted);
        });
        assert.equal(got.sent, got.accepted + got.rejected + got.dropped + got.lost);
        return got;
    }

    // One figure of /metrics, its labels in any order; undefined when it is not there.
    async metric(name, labels = {}) {
        for (const line of (await this.get("/metrics")).split("\n")) {
            const found = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/.exec(line);
            if (found?.[1] === name) {
                const pairs = [...(found[2] ?? "").matchAll(/(\w+)="((?:\\.|[^"\\])*)"/g)];
                const got = Object.fromEntries(pairs.map(([, key, value]) => [key, value]));
                if (Object.entries(labels).every(([key, value]) => got[key] === value)) {
                    return Number(found[3]);
                }
            }
        }
        return undefined;
    }

    async stop(signal = "SIGTERM") {
        if (this.process.exitCode === null && this.process.signalCode === null) {
            this.process.kill(signal);
        }
        const status = await this.ended;
        assert.equal(status, signal === "SIGTERM" ? 0 : signal, this.log);
    }
}

async function startDaemon(t) {
    const daemon = new Daemon(path.join(makeDirectory(t), "d"));
    await daemon.start();
    t.after(() => (daemon.process.signalCode === null ? daemon.stop() : undefined));
    return daemon;
}

module.exports = {
    DEADLINE_MS,
    Daemon,
    DWELLD,
    MESSAGES,
    PATIENT,
    ROOT,
    WITHOUT_DAEMON,
    Listener,
    listen,
    makeDirectory,
    mustRead,
    recordCount,
    startDaemon,
    until,
};
