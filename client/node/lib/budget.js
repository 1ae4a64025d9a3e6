// What a request may take and has taken: layers with a budget each, and a total.
//
// Happy path
//  1. start() of a layer notes the time, unless an operation of it runs already.
//  2. stop() of its last operation adds the time up, records what the layer took, and says how that
//     compares with its budget.
//  3. run() does both around a function, and gives it a signal that aborts when the time is over.
//
// A layer has taken the time during which at least one of its operations ran: of nested and concurrent ones
// no time counts twice, and repeated ones add up. Once the total was started, and until it is reset, no
// layer has more time left than it. Time is over a limit when it is more than that, not when it is all.
//
// What can fail: options that make no sense. The budget is then one without limits, of which nothing comes.
"use strict";

const diagnostics = require("node:diagnostics_channel");
const timers = require("node:timers");

const limits = require("./limits.js");
const { now, wallOffset, toNanos } = require("./clock.js");
const { isGiven } = require("./values.js");
const { Writer } = require("./writer.js");

const { setTimeout, clearTimeout } = timers;

const LAYER = 1;
const ELAPSED = 2;
const OPERATION = 3;
const REQUEST_ID = 4;
const TRACE_ID = 5;
const SPAN_ID = 6;
const TIMESTAMP = 7;
const FLAGS = 8;
const BEFORE = 9;

const TOTAL = "total";
const TOTAL_MS = 50;
const SOFT_LIMIT = 0.8;
const KNOWN_LAYERS = [
    { name: "layer1_validation", budgetMs: 5 },
    { name: "layer2_deliberation", budgetMs: 20 },
    { name: "layer3_policy", budgetMs: 10 },
    { name: "layer4_audit", budgetMs: 15, strict: false },
];

// The later, the worse.
const VERDICTS = ["within", "soft_limit", "exceeded", "exceeded_strict"];
const EXCEEDED = 2;

// Who wants to know of layers over their budget or its soft limit subscribes to it.
const channel = diagnostics.channel("dwell.budget");
const scratch = new Writer(limits.RECORD_BYTES);

class LayerTimeoutError extends Error {
    constructor(layerName, budgetMs, elapsedMs, operation) {
        const of = isGiven(operation) ? ` in ${operation}` : "";
        super(
            `[${limits.CONSTITUTIONAL_HASH}] layer ${layerName} took ${elapsedMs.toFixed(2)}ms${of}, ` +
                `more than its budget of ${budgetMs.toFixed(2)}ms`,
        );
        this.name = "LayerTimeoutError";
        this.layerName = layerName;
        this.budgetMs = budgetMs;
        this.elapsedMs = elapsedMs;
        this.operation = isGiven(operation) ? operation : null;
        this.constitutionalHash = limits.CONSTITUTIONAL_HASH;
    }

    toJSON() {
        return {
            error: this.name,
            layer_name: this.layerName,
            budget_ms: this.budgetMs,
            elapsed_ms: this.elapsedMs,
            operation: this.operation,
            constitutional_hash: this.constitutionalHash,
        };
    }
}

// Of one layer: its budget, and the time it has taken.
class Layer {
    constructor({ name, budgetMs, softLimit, strict }) {
        this.name = name;
        this.budgetMs = budgetMs;
        this.softLimitMs = budgetMs * softLimit;
        this.isStrict = strict;
        this.reset();
    }

    reset() {
        this.running = 0;
        this.startedAt = 0;
        this.takenMs = 0;
        this.recordedMs = 0;
        this.hasStarted = false;
    }

    elapsedMs(time) {
        return this.takenMs + (this.running > 0 ? time - this.startedAt : 0);
    }

    verdict(time) {
        const elapsedMs = this.elapsedMs(time);
        if (elapsedMs > this.budgetMs) {
            return this.isStrict ? EXCEEDED + 1 : EXCEEDED;
        }
        return elapsedMs > this.softLimitMs ? 1 : 0;
    }
}

// One layer of the options, whole; null when it makes no sense.
function wholeLayer(said, totalMs) {
    const known = KNOWN_LAYERS.find(({ name }) => name === said.name) ?? {};
    const hasShare = isGiven(said.share);
    const ms = hasShare
        ? said.share > 0 && said.share <= 1
            ? said.share * totalMs
            : 0
        : (said.budgetMs ?? known.budgetMs);
    const softLimit = said.softLimit ?? SOFT_LIMIT;
    const isSound =
        typeof said.name === "string" &&
        said.name !== "" &&
        Buffer.byteLength(said.name) <= limits.BUDGET_NAME_BYTES &&
        !(hasShare && isGiven(said.budgetMs)) &&
        ms >= limits.BUDGET_MS_MIN &&
        ms <= limits.BUDGET_MS_MAX &&
        softLimit > 0 &&
        softLimit <= 1;
    const strict = said.strict ?? known.strict ?? true;
    return isSound
        ? { name: said.name, budgetMs: Number(ms), softLimit, strict: Boolean(strict) }
        : null;
}

// All layers by name, the total among them; null when something makes no sense.
function readLayers(options) {
    const totalMs = options.totalMs ?? TOTAL_MS;
    const said = options.layers ?? KNOWN_LAYERS;
    const total = {
        name: TOTAL,
        budgetMs: totalMs,
        softLimit: options.softLimit,
        strict: options.strict,
    };
    if (!Array.isArray(said) || said.length > limits.BUDGET_LAYERS_MAX) {
        return null;
    }
    const layers = new Map();
    for (const one of [total, ...said]) {
        const whole = wholeLayer(one, totalMs);
        if (whole === null || layers.has(whole.name)) {
            return null;
        }
        layers.set(whole.name, new Layer(whole));
    }
    return layers;
}

function isGoodRequestId(id) {
    return (
        !isGiven(id) ||
        (typeof id === "string" && Buffer.byteLength(id) <= limits.BUDGET_REQUEST_ID_BYTES)
    );
}

// Writes a record into the scratch memory. What is undefined is not written.
function encode(record) {
    const out = scratch;
    out.rewind();
    if (record.layer !== undefined) {
        out.text(LAYER, record.layer);
    }
    if (record.elapsedMs !== undefined) {
        out.double(ELAPSED, record.elapsedMs);
    }
    if (isGiven(record.operation)) {
        out.text(OPERATION, record.operation);
    }
    if (isGiven(record.requestId)) {
        out.text(REQUEST_ID, record.requestId);
    }
    if (record.traceId) {
        out.hex(TRACE_ID, record.traceId);
    }
    if (record.spanId) {
        out.hex(SPAN_ID, record.spanId);
    }
    if (isGiven(record.timestamp)) {
        out.fixed64(TIMESTAMP, record.timestamp);
    }
    if (isGiven(record.sampled)) {
        out.fixed32(FLAGS, record.sampled ? 1 : 0);
    }
    if (record.beforeMs !== undefined) {
        out.double(BEFORE, record.beforeMs);
    }
    return out;
}

function isThenable(value) {
    return typeof value === "object" && value !== null && typeof value.then === "function";
}

class Budget {
    constructor(client, options) {
        this._client = client;
        this._layers = null;
        this._requestId = undefined;
        try {
            const said = options ?? {};
            this._layers = isGoodRequestId(said.requestId) ? readLayers(said) : null;
            this._requestId = said.requestId ?? undefined;
        } catch {
            // A getter threw, or a layer is no object: a budget without limits.
        }
        this._total = this._layers?.get(TOTAL);
    }

    // False when the options made no sense: there are no limits then.
    get isValid() {
        return this._layers !== null;
    }

    // An operation of a layer, or of "total", begins. A layer that there is not: a no-op, here as below.
    start(layer) {
        const found = this._layers?.get(layer);
        if (found !== undefined) {
            found.hasStarted = true;
            found.running++;
            if (found.running === 1) {
                found.startedAt = now();
            }
        }
    }

    // One ends. Records, once the last one that runs has ended, what the layer took since its last record.
    stop(layer, operation) {
        const found = this._layers?.get(layer);
        if (found === undefined) {
            return { verdict: VERDICTS[0], elapsedMs: 0 };
        }
        const time = now();
        if (found.running > 0) {
            found.running--;
            if (found.running === 0) {
                found.takenMs += time - found.startedAt;
                this._record(found, time, operation);
            }
        }
        return this._judge(found, time);
    }

    // The same of a layer as it is now, also while it runs.
    check(layer) {
        const found = this._layers?.get(layer);
        return found === undefined ? { verdict: VERDICTS[0], elapsedMs: 0 } : this._judge(found, now());
    }

    // The ms that a layer has left, 0 or more; Infinity without such a layer.
    remaining(layer) {
        const found = this._layers?.get(layer);
        return found === undefined ? Infinity : Math.max(0, this._left(found, now()));
    }

    // Forgets the time of a layer, or of all and the total, and operations that run.
    reset(layer) {
        for (const one of this._layers?.values() ?? []) {
            if (layer === undefined || one.name === layer) {
                one.reset();
            }
        }
    }

    // How each layer stands, with the keys of the daemon's own report.
    report() {
        const time = now();
        const layers = {};
        for (const layer of this._layers?.values() ?? []) {
            if (layer !== this._total) {
                const elapsedMs = layer.elapsedMs(time);
                layers[layer.name] = {
                    budget_ms: layer.budgetMs,
                    elapsed_ms: elapsedMs,
                    remaining_ms: Math.max(0, layer.budgetMs - elapsedMs),
                    is_exceeded: elapsedMs > layer.budgetMs,
                    is_soft_limit_exceeded: elapsedMs > layer.softLimitMs,
                };
            }
        }
        const totalMs = this._total?.budgetMs ?? Infinity;
        const elapsedMs = this._total?.elapsedMs(time) ?? 0;
        return {
            total_budget_ms: totalMs,
            total_elapsed_ms: elapsedMs,
            total_remaining_ms: Math.max(0, totalMs - elapsedMs),
            layers,
            constitutional_hash: limits.CONSTITUTIONAL_HASH,
        };
    }

    // Runs `operation(signal)` within a layer.
    //
    // Async: when the time is over, the signal aborts, and what is awaited rejects: with LayerTimeoutError
    // if the layer (or the total, whose time was over first) is strict, else with the signal's own
    // TimeoutError. Sync: judged afterwards; only strict ones throw. What the operation throws itself
    // passes unchanged. `name` is told with the record; `signal` of the options aborts the operation's own
    // as well.
    run(layer, operation, options) {
        const { name, signal } = readRun(options);
        const found = this._layers?.get(layer);
        const controller = new AbortController();
        if (found === undefined) {
            followSignal(signal, controller);
            return operation(controller.signal);
        }
        const leave = followSignal(signal, controller);
        this.start(layer);
        let result;
        let isAsync = false;
        try {
            result = operation(controller.signal);
            isAsync = isThenable(result);
        } catch (error) {
            leave();
            this.stop(layer, name);
            throw error;
        }
        if (isAsync) {
            return this._await(found, result, controller, name).finally(leave);
        }
        leave();
        this._finish(found, name);
        return result;
    }

    // Settles as the operation does, or when the time is over.
    _await(layer, result, controller, name) {
        return new Promise((resolve, reject) => {
            let timer = null;
            let isOver = false;
            const finish = (settle, value, judge) => {
                if (isOver) {
                    return;
                }
                isOver = true;
                clearTimeout(timer);
                try {
                    if (judge) {
                        this._finish(layer, name);
                    } else {
                        this.stop(layer.name, name);
                    }
                } catch (error) {
                    reject(error);
                    return;
                }
                settle(value);
            };
            const look = () => {
                const left = this._left(layer, now());
                if (left > 0) {
                    timer = setTimeout(look, Math.min(Math.ceil(left), limits.TIMEOUT_MAX_MS));
                    return;
                }
                // A limit that is reached and not passed is passed by the time that anybody can look.
                const reason = new DOMException(
                    "The operation was aborted due to timeout",
                    "TimeoutError",
                );
                finish(reject, reason, true);
                controller.abort(reason);
            };
            result.then(
                (value) => finish(resolve, value, true),
                (error) => finish(reject, error, false),
            );
            if (this._left(layer, now()) > 0) {
                look();
            } else {
                queueMicrotask(look); // after what is there already
            }
        });
    }

    // Ends an operation; throws when the layer or the total is over a strict budget.
    _finish(layer, name) {
        this.stop(layer.name, name);
        const time = now();
        for (const one of [layer, this._total]) {
            const counts = one === layer || one.hasStarted;
            const verdict = counts ? one.verdict(time) : 0;
            if (verdict > 0) {
                publish(one, time, VERDICTS[verdict], name);
            }
            if (verdict > EXCEEDED) {
                throw new LayerTimeoutError(one.name, one.budgetMs, one.elapsedMs(time), name);
            }
            if (one === this._total) {
                break; // the layer was the total itself
            }
        }
    }

    _left(layer, time) {
        const left = layer.budgetMs - layer.elapsedMs(time);
        const total = this._total;
        return total.hasStarted ? Math.min(left, total.budgetMs - total.elapsedMs(time)) : left;
    }

    _judge(layer, time) {
        const own = layer.verdict(time);
        const whole = this._total.hasStarted ? this._total.verdict(time) : 0;
        const worst = whole >= EXCEEDED && whole > own ? whole : own;
        return { verdict: VERDICTS[worst], elapsedMs: layer.elapsedMs(time) };
    }

    _record(layer, time, operation) {
        const before = layer.recordedMs;
        layer.recordedMs = layer.takenMs;
        const client = this._client;
        if (!client.enabled) {
            return;
        }
        const context = client._shownContext();
        client._recordBudget(() =>
            encode({
                layer: layer.name,
                elapsedMs: layer.takenMs - before,
                operation: typeof operation === "string" ? operation : undefined,
                requestId: this._requestId,
                traceId: context?.traceId,
                spanId: context?.spanId,
                timestamp: context && wallOffset(time) + toNanos(time),
                sampled: context?.isDecided ? context.sampled : undefined,
                beforeMs: before > 0 ? before : undefined,
            }),
        );
    }
}

function publish(layer, time, verdict, operation) {
    if (channel.hasSubscribers) {
        channel.publish({
            layer_name: layer.name,
            budget_ms: layer.budgetMs,
            elapsed_ms: layer.elapsedMs(time),
            operation: operation ?? null,
            verdict,
            constitutional_hash: limits.CONSTITUTIONAL_HASH,
        });
    }
}

// What is said of a run, whatever it is.
function readRun(options) {
    try {
        const { name, signal } = { ...options };
        return { name: typeof name === "string" ? name : undefined, signal };
    } catch {
        return {};
    }
}

function isSignal(value) {
    try {
        return value instanceof AbortSignal;
    } catch {
        return false; // a proxy that throws
    }
}

// Aborts as another signal does; returns what ends that.
function followSignal(signal, controller) {
    if (!isSignal(signal)) {
        return () => {};
    }
    const abort = () => controller.abort(signal.reason);
    if (signal.aborted) {
        abort();
        return () => {};
    }
    signal.addEventListener("abort", abort, { once: true });
    return () => signal.removeEventListener("abort", abort);
}

module.exports = { Budget, LayerTimeoutError, encodeBudget: encode };
