// The sending side: the socket, when to write to it, and who waits for an answer.
//
// Happy path
//  1. The first record that waits opens the connection: "DWL1" and a batch with the hello.
//  2. 50 ms later, or when 64 kB are full, pump() writes the oldest batch. The kernel mostly takes it at
//     once, also when the event loop is kept from turning; else the rest follows when there is room.
//  3. flush() and close() wait until what was recorded before them is sent, then a Flush is (and a Goodbye
//     for close), and the daemon's Reply settles them.
//
// What can fail, and where it ends
//  - No daemon, or it went away: a batch that was not written as a whole is sent again on the next
//    connection, one that was is not. Tries come after 10 ms, twice that, up to 5 s, between half of it
//    and the whole. After 10 s without a connection that lasted, what waits is given up and counted.
//  - The daemon hangs: the socket fills, the batch on its way waits, and the outbox drops what is new.
//  - Any other error of the socket (EACCES, EMFILE, ECONNREFUSED of a plain file, …) is as no daemon.
//
// Nothing here keeps the process alive but a flush() or close() that somebody awaits. Timers and socket
// live outside of the application's asynchronous contexts, so that they hold on to nothing of a request.
"use strict";

const { AsyncResource } = require("node:async_hooks");
const net = require("node:net");
const { performance } = require("node:perf_hooks");
const timers = require("node:timers");

const limits = require("./limits.js");
const { Replies } = require("./replies.js");

// As they are when the package is loaded: tests of applications replace them by clocks of their own.
const now = performance.now.bind(performance);
const { setTimeout, clearTimeout } = timers;

const outside = new AsyncResource("DWELL");
const MAGIC = Buffer.from("DWL1");
const OK = "ok";
const TIMEOUT = "timeout";
const UNCONFIRMED = "unconfirmed";

class Link {
    // `paths` and `hello` are asked for at each connection: both may change.
    constructor(outbox, { paths, hello, keepMs }) {
        this.outbox = outbox;
        this.paths = paths;
        this.hello = hello;
        this.keepMs = keepMs;

        this.socket = null;
        this.connected = false;
        this.connectedAt = 0;
        this.goneAt = now();
        this.triedAt = -Infinity;
        this.retryAt = 0;
        this.backoffMs = limits.BACKOFF_MIN_MS;
        this.writing = null; // what the kernel has not wholly taken, by an object of its own

        this.timer = null;
        this.dueAt = Infinity;

        this.waiters = []; // flushes that are not answered, in order
        this.hasFlying = false; // a Flush is on its way
        this.connSent = 0;
        this.connConfirmed = 0;
        this.flushMark = 0;
        this.saidGoodbye = false;
        this.closing = false;

        this.sent = 0;
        this.unconfirmed = 0;
        this.batches = 0;
        this.sentBytes = 0;
        this.connections = 0;
    }

    // ---- When ----

    // Something waits to be sent.
    wake() {
        if (this.socket === null && this.triedAt === -Infinity) {
            this._connect();
        }
        if (this.writing === null) {
            this._schedule(limits.FLUSH_MS);
        }
    }

    _schedule(delayMs) {
        const dueAt = now() + delayMs;
        if (this.dueAt <= dueAt) {
            return;
        }
        this._unschedule();
        this.dueAt = dueAt;
        this.timer = outside.runInAsyncScope(
            setTimeout,
            undefined,
            () => this._tick(),
            Math.ceil(delayMs),
        );
        if (this.waiters.length === 0) {
            this.timer.unref();
        }
    }

    // The timer should have fired at dueAt. What it does is done, and again after as long if need be.
    overdue(time) {
        this.dueAt = time + limits.FLUSH_MS;
        this.pump();
    }

    _unschedule() {
        clearTimeout(this.timer);
        this.timer = null;
        this.dueAt = Infinity;
    }

    _tick() {
        this._unschedule();
        const time = now();
        const isAwaited = this.waiters.length > 0;
        if (this.socket === null) {
            if (time >= this.retryAt || (isAwaited && time - this.triedAt >= limits.AWAITED_RETRY_MS)) {
                this._connect();
            } else {
                this._giveUpOld(time);
            }
        }
        this.pump();
        this._rearm();
    }

    _rearm() {
        const waits = this.outbox.records > 0;
        if (this.connected || this.socket !== null || !(waits || this.waiters.length > 0)) {
            return; // pump() has done what can be done, or an event of the socket comes first
        }
        const time = now();
        let next = this.retryAt - time;
        if (waits) {
            next = Math.min(next, this.goneAt + this.keepMs - time);
        }
        if (this.waiters.length > 0) {
            next = Math.min(next, limits.AWAITED_RETRY_MS);
        }
        this._schedule(Math.max(next, 1));
    }

    _giveUpOld(time) {
        if (time - this.goneAt >= this.keepMs) {
            this.outbox.giveUp(); // by which it is taken: nobody waits for it any longer
        }
    }

    // ---- The connection ----

    _connect() {
        this.triedAt = now();
        const paths = this.paths();
        if (paths.length === 0) {
            this._failed();
            return;
        }
        outside.runInAsyncScope(this._try, this, paths, 0);
    }

    _try(paths, i) {
        const replies = new Replies();
        let socket;
        try {
            socket = net.connect({
                path: paths[i],
                onread: {
                    buffer: Buffer.allocUnsafeSlow(limits.REPLY_BYTES),
                    callback: (length, buffer) => {
                        this._read(socket, replies.feed(buffer.subarray(0, length)));
                        return true;
                    },
                },
            });
        } catch {
            this._failed();
            return;
        }
        this.socket = socket;
        this._hold();
        let code = "";
        socket.on("error", (error) => (code = error.code));
        socket.on("connect", () => this._opened(socket));
        socket.on("close", () => {
            if (this.socket !== socket) {
                return; // closed by ourselves
            }
            if (this.connected) {
                this._broken();
            } else if ((code === "ENOENT" || code === "ENOTDIR") && i + 1 < paths.length) {
                this._try(paths, i + 1);
            } else {
                this._failed();
            }
        });
    }

    // The process is kept alive by the socket while somebody waits for an answer.
    _hold() {
        if (this.socket !== null) {
            this.socket[this.waiters.length > 0 ? "ref" : "unref"]();
        }
    }

    _opened(socket) {
        if (this.socket !== socket) {
            return;
        }
        this.connected = true;
        this.connectedAt = now();
        this.connSent = 0;
        this.connConfirmed = 0;
        this.saidGoodbye = false;
        this.connections++;
        this._write(Buffer.concat([MAGIC, this.outbox.hello(this.hello())]), null);
        if (this.outbox.isSealed || this.waiters.length > 0) {
            this.pump();
        }
        if (this.outbox.records > 0) {
            this.wake();
        }
    }

    _retryLater() {
        // Between half of the interval and the whole, so that many clients do not come at once.
        this.retryAt = now() + (this.backoffMs / 2) * (1 + Math.random());
        this.backoffMs = Math.min(2 * this.backoffMs, limits.BACKOFF_MAX_MS);
    }

    // There is no daemon.
    _failed() {
        this.socket = null;
        this._retryLater();
        this._giveUpOld(now());
        this._settle((waiter) => !waiter.isPatient, UNCONFIRMED);
        this._rearm();
    }

    // There was one.
    _broken() {
        const time = now();
        this.socket = null;
        this.connected = false;
        this.writing = null;
        if (time - this.connectedAt >= limits.STEADY_MS) {
            this.backoffMs = limits.BACKOFF_MIN_MS;
            this.goneAt = time;
        }
        this._retryLater();
        const doubtful = this.connSent - this.connConfirmed;
        this.unconfirmed += doubtful;
        this.hasFlying = false;
        this.waiters.forEach((waiter) => (waiter.isFlying = false)); // they ask again
        this._giveUpOld(time);
        this._settle((waiter) => doubtful > 0 || !waiter.isPatient, UNCONFIRMED);
        this._rearm();
    }

    _read(socket, flushed) {
        if (this.socket !== socket) {
            return;
        }
        if (flushed < 0) {
            socket.destroy(); // what it says is no answer
        } else if (flushed > 0 && this.hasFlying) {
            this.hasFlying = false;
            this.connConfirmed = this.flushMark;
            this._settle((waiter) => waiter.isFlying, OK);
            this.pump();
        }
    }

    // ---- Writing ----

    // Writes as much as goes without waiting.
    pump() {
        while (this.connected && this.writing === null) {
            if (this._writeFlush()) {
                continue;
            }
            if (this.outbox.waiting.length === 0) {
                return;
            }
            this._write(this.outbox.frame(), this.outbox);
        }
    }

    // A Flush, if there are some who wait for one and all that it is for was sent.
    _writeFlush() {
        const { taken, records } = this.outbox;
        const reached = this.hasFlying ? [] : this.waiters.filter((waiter) => waiter.mark <= taken);
        if (reached.length === 0) {
            return false;
        }
        for (const waiter of reached) {
            waiter.isFlying = true;
        }
        this.hasFlying = true;
        this.flushMark = this.connSent;
        const frames = [this.outbox.flush()];
        if (this.closing && records === 0 && !this.saidGoodbye) {
            this.saidGoodbye = true;
            frames.push(this.outbox.goodbye());
        }
        this._write(Buffer.concat(frames), null);
        return true;
    }

    _write(frame, outbox) {
        const { socket } = this;
        const token = { frame, outbox };
        this.writing = token;
        socket.write(frame, (error) => {
            // Of a socket that was destroyed meanwhile, Node says no error of a write that was cut off.
            if (!error && !socket.destroyed && this.writing === token) {
                this._written(token);
                this.pump();
                this._rearm();
            }
        });
        // The kernel has taken it already if nothing is left in Node's own queue. Its memory is free then.
        if (socket.writableLength === 0 && !socket.destroyed && !socket.errored) {
            this._written(token);
        }
    }

    _written({ frame, outbox }) {
        this.writing = null;
        if (outbox !== null) {
            const records = outbox.sent();
            this.sent += records;
            this.connSent += records;
            this.batches++;
            this.sentBytes += frame.length;
        }
    }

    // ---- Waiting for answers ----

    _settle(isMeant, result) {
        const settled = this.waiters.filter(isMeant);
        if (settled.length === 0) {
            return;
        }
        this.waiters = this.waiters.filter((waiter) => !settled.includes(waiter));
        for (const waiter of settled) {
            clearTimeout(waiter.timer);
            waiter.resolve(result);
        }
        this._hold();
        if (this.waiters.length === 0 && this.timer !== null) {
            this.timer.unref();
        }
    }

    // Resolves to "ok" when the daemon has applied what was recorded before the call, else "timeout" or
    // "unconfirmed". One who is not patient does not wait for a daemon to come.
    flush(timeoutMs, isPatient) {
        return new Promise((resolve) => {
            const mark = this.outbox.taken + this.outbox.records;
            const waiter = { resolve, isPatient, mark, isFlying: false, timer: null };
            this.waiters.push(waiter);
            waiter.timer = setTimeout(() => {
                this._settle((other) => other === waiter, this.connected ? TIMEOUT : UNCONFIRMED);
            }, timeoutMs);
            this._hold();
            if (this.socket === null && now() - this.triedAt >= limits.AWAITED_RETRY_MS) {
                this._connect();
            } else if (this.socket === null && !isPatient) {
                this._settle((other) => other === waiter, UNCONFIRMED);
            }
            this._unschedule(); // to be made anew, so that it holds the process
            this.pump();
            this._rearm();
        });
    }

    // Ends for good: says goodbye as flush() does.
    async close(timeoutMs) {
        this.closing = true;
        const isUnused = this.socket === null && this.outbox.calls === 0;
        const result = isUnused ? OK : await this.flush(timeoutMs, false);
        this.leave();
        this.outbox.giveUp();
        this._unschedule();
        const { socket } = this;
        this.socket = null;
        this.connected = false;
        this.writing = null;
        if (socket !== null) {
            socket.destroy();
        }
        return result;
    }

    // What can be done without waiting when the process ends: writes what waits and a Goodbye.
    leave() {
        this.pump();
        if (this.connected && this.writing === null && !this.saidGoodbye && this.outbox.records === 0) {
            this.saidGoodbye = true;
            this._write(this.outbox.goodbye(), null);
        }
    }
}

module.exports = { Link };
