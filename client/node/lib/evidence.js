// What CPU time an inference took: of the thread that runs this JavaScript, between two readings.
//
// Node has no figure of one thread in all of its versions:
//   - process.threadCpuUsage (23.9 and later): user and system time of the thread;
//   - else /proc/thread-self/schedstat: its CPU time in all, and how long it was ready without a CPU. The
//     kernel brings that up to date when getrusage is asked, which process.cpuUsage does just before. How
//     much of it was user and how much system time is then taken from the process as a whole.
// With it goes the CPU time of the process, all threads (the thread pool, workers, V8's own) included.
//
// A thread runs one thing at a time, and an inference that awaits something is interleaved with others:
// only of one that begins and ends without giving the event loop its turn does a reading say anything. A
// microtask that ran in between tells them apart.
//
// What can fail: no /proc, or no thread there. There are no readings then, and samples are as without.
"use strict";

const fs = require("node:fs");
const { performance } = require("node:perf_hooks");
const { isMainThread } = require("node:worker_threads");

const { CALIBRATIONS, COST_MARGIN, COST_OUTLIER } = require("./limits.js");

const now = performance.now.bind(performance);
const { cpuUsage, threadCpuUsage } = process;
const SCHEDSTAT_BYTES = 64; // three numbers of 64 bits at most

// The number of this thread as gettid says; 0 when it cannot be known.
function readThreadId() {
    try {
        return Number(/\d+$/.exec(fs.readlinkSync("/proc/thread-self"))[0]);
    } catch {
        return isMainThread ? process.pid : 0;
    }
}

class Evidence {
    constructor() {
        this.fd = -1;
        this.buffer = Buffer.allocUnsafe(SCHEDSTAT_BYTES);
        this.costMs = Infinity;
        this.isOpen = false;
        this.threadId = 0;
    }

    // Finds out what a reading costs; false when there are none. Opens a descriptor, at the first
    // inference.
    open() {
        if (this.isOpen) {
            return this.costMs < Infinity;
        }
        this.isOpen = true;
        this.threadId = readThreadId();
        try {
            if (typeof threadCpuUsage !== "function") {
                this.fd = fs.openSync("/proc/thread-self/schedstat", "r");
            }
            const costs = [];
            for (let i = 0; i < CALIBRATIONS; i++) {
                const begin = now();
                this._read();
                costs.push(now() - begin);
            }
            this.costMs = 2 * costs.sort((a, b) => a - b)[Math.floor(CALIBRATIONS / 2)];
        } catch {
            this.close();
        }
        return this.costMs < Infinity;
    }

    close() {
        this.costMs = Infinity;
        if (this.fd >= 0) {
            try {
                fs.closeSync(this.fd);
            } catch {
                // Somebody else has closed it.
            }
            this.fd = -1;
        }
    }

    // In ms: { user, system } of the process, { thread, waited } or { threadUser, threadSystem }.
    _read() {
        const { user, system } = cpuUsage();
        const reading = { user: user / 1e3, system: system / 1e3 };
        if (this.fd < 0) {
            const own = threadCpuUsage();
            reading.threadUser = own.user / 1e3;
            reading.threadSystem = own.system / 1e3;
            return reading;
        }
        const length = fs.readSync(this.fd, this.buffer, 0, SCHEDSTAT_BYTES, 0);
        const text = this.buffer.latin1Slice(0, length);
        reading.thread = parseInt(text, 10) / 1e6;
        reading.waited = parseInt(text.slice(text.indexOf(" ") + 1), 10) / 1e6;
        return reading;
    }

    // The first reading of an inference, or null.
    begin() {
        const startedAt = now();
        let reading;
        try {
            reading = this._read();
        } catch {
            this.close();
            return null;
        }
        const begun = { reading, isTorn: false, costMs: 0 };
        queueMicrotask(() => (begun.isTorn = true));
        begun.costMs = now() - startedAt;
        return begun;
    }

    // What was used since, or null: { userMs, systemMs, processMs, runqueueMs or undefined }.
    end({ reading: first, isTorn, costMs }) {
        if (isTorn) {
            return null;
        }
        const startedAt = now();
        let last;
        try {
            last = this._read();
        } catch {
            this.close();
            return null;
        }
        const user = last.user - first.user;
        const system = last.system - first.system;
        const used = { userMs: 0, systemMs: 0, processMs: user + system, runqueueMs: undefined };
        if (this.fd < 0) {
            used.userMs = last.threadUser - first.threadUser;
            used.systemMs = last.threadSystem - first.threadSystem;
        } else {
            const thread = last.thread - first.thread;
            const share = system > 0 ? system / (user + system) : 0;
            used.systemMs = thread * share;
            used.userMs = thread - used.systemMs;
            used.runqueueMs = last.waited - first.waited;
        }
        this._learn(costMs + now() - startedAt);
        const isSound = Object.values(used).every((figure) => figure === undefined || figure >= 0);
        return isSound ? used : null; // a figure that ran backwards would reject the sample
    }

    // An average that one reading in bad circumstances does not spoil.
    _learn(costMs) {
        this.costMs += (Math.min(costMs, COST_OUTLIER * this.costMs) - this.costMs) / 8;
    }

    // What the time since the last reading must be worth before the next one.
    get priceMs() {
        return this.costMs * COST_MARGIN;
    }
}

module.exports = { Evidence };
