// The client: hands out models, series, spans and budgets, and takes their records in.
//
// Happy path
//  1. A recording function encodes its record into the open batch; the first one wakes the link.
//  2. The link sends batches; see there.
//  3. close() sends the rest; a process that ends without it sends what goes without waiting.
//
// What can fail: nothing that the application hears of. A record that has no form on the wire, is too long,
// or finds no room is dropped, counted, and the count is in the next batch.
"use strict";

const { AsyncLocalStorage } = require("node:async_hooks");
const { randomBytes } = require("node:crypto");

const limits = require("./limits.js");
const { Budget, encodeBudget } = require("./budget.js");
const { makeContext, readContext, extract, inject, knownFormats } = require("./context.js");
const { socketPaths } = require("./directory.js");
const { Evidence } = require("./evidence.js");
const { atExit, atExitNoMore } = require("./exit.js");
const { randomHex } = require("./ids.js");
const { Link } = require("./link.js");
const { makeMiddleware } = require("./middleware.js");
const { Counter, Gauge, Histogram, recordInfo } = require("./metric.js");
const { Model } = require("./model.js");
const { Outbox } = require("./outbox.js");
const { encodeSample } = require("./sample.js");
const { AnySpan, Span, NoSpan, encodeGiven } = require("./span.js");
const { isGiven, nanos, hex, number, text } = require("./values.js");
const { wallOffset, toNanos, now } = require("./clock.js");
const { Writer, putVarint } = require("./writer.js");

const SAMPLE_TAG = 0x42;
const SPAN_TAG = 0x6a;
const BUDGET_TAG = 0x7a;
const HELLO = { serviceName: 1, serviceVersion: 2, pid: 3, constitutionalHash: 4, client: 5 };

// For tests alone: the client's id, and no connection.
const INTERNAL = Symbol("dwell internal");

let openClients = 0;
const scratch = new Writer(limits.RECORD_BYTES);

function inRange(value, standard, least, most) {
    return typeof value === "number" && value > 0 ? Math.min(Math.max(value, least), most) : standard;
}

function shortText(value) {
    const isGood = typeof value === "string" && Buffer.byteLength(value) <= limits.HELLO_TEXT_BYTES;
    return isGood && value !== "" ? value : undefined;
}

// The share of traces begun here that are sampled, by OpenTelemetry's variables unless it is said.
function sampleShare(said) {
    if (typeof said === "number" && !Number.isNaN(said) && said !== 0) {
        return Math.min(Math.max(said, 0), 1);
    }
    const sampler = (process.env.OTEL_TRACES_SAMPLER ?? "").replace(/^parentbased_/, "");
    if (sampler === "always_off") {
        return 0;
    }
    const given = process.env.OTEL_TRACES_SAMPLER_ARG;
    const share = sampler === "traceidratio" && given ? Number(given) : 1;
    return share >= 0 && share <= 1 ? share : 1;
}

function countLimit(name) {
    const said = process.env[name] ?? "";
    return /^[0-9]+$/.test(said)
        ? Math.min(Number(said), limits.SPAN_PARTS_MAX)
        : limits.SPAN_PARTS_MAX;
}

// What options say, whatever they are; nothing when they cannot be read.
function readOptions(options) {
    try {
        return { ...options };
    } catch {
        return {};
    }
}

class Dwell {
    constructor(options) {
        const said = readOptions(options);
        this._spans = new AsyncLocalStorage();
        this._hasSpans = false; // until there is one, nobody need look for the current one
        this._models = new Map();
        this._share = sampleShare(said.sampleRate);
        this._bound = BigInt(Math.round(this._share * 2 ** 64));
        this._formats = knownFormats(said.propagators ?? process.env.OTEL_PROPAGATORS);
        this._countsMax = {
            attributes: countLimit("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT"),
            events: countLimit("OTEL_SPAN_EVENT_COUNT_LIMIT"),
            links: countLimit("OTEL_SPAN_LINK_COUNT_LIMIT"),
        };
        this._closeTimeoutMs = inRange(
            said.closeTimeoutMs,
            limits.CLOSE_TIMEOUT_MS,
            1,
            limits.TIMEOUT_MAX_MS,
        );
        this._invalidCount = 0;
        this._closed = null;
        this._drainedCalls = -1;

        this._evidence = said.evidence === "none" ? null : new Evidence();
        this._evidenceCount = 0;
        this._evidenceShare = inRange(said.evidencePercent, limits.EVIDENCE_PERCENT, 0.001, 100) / 100;
        this._priceMs = this._evidence === null ? Infinity : 0; // known when it was tried

        const internal = said[INTERNAL];
        const bufferBytes = inRange(
            said.bufferBytes,
            limits.BUFFER_BYTES,
            limits.BUFFER_BYTES_MIN,
            limits.BUFFER_BYTES_MAX,
        );
        this._outbox = new Outbox(internal?.clientId ?? randomBytes(16), bufferBytes);
        this._link = new Link(this._outbox, {
            paths: () => (internal ? [] : socketPaths(shortText(said.directory))),
            hello: () => encodeHello(said),
            keepMs: inRange(said.keepMs, limits.KEEP_MS, 1, limits.TIMEOUT_MAX_MS),
        });

        // False: with DWELL_DISABLED=1, past 16 clients, and after close(). Every call is a no-op then.
        this.enabled = process.env.DWELL_DISABLED !== "1" && openClients < limits.CLIENTS_MAX;
        if (this.enabled) {
            openClients++;
            atExit(this);
        }
    }

    // ---- Samples ----

    model(name) {
        let model = this._models.get(name);
        if (model === undefined) {
            model = new Model(this, name);
            if (this._models.size < limits.MODELS_MAX && model._field !== null) {
                this._models.set(name, model);
            }
        }
        return model;
    }

    sample(sample) {
        if (this.enabled) {
            this._record(SAMPLE_TAG, () => {
                scratch.rewind();
                encodeSample(scratch, sample, this._shownIds(sample));
                return scratch;
            });
        }
    }

    // The current span's ids, for a sample that has none.
    _shownIds(sample) {
        const context = this._shownContext();
        const isUnsaid = context !== null && !isGiven(sample.traceId) && !isGiven(sample.spanId);
        return isUnsaid ? { traceId: context.traceId, spanId: context.spanId } : undefined;
    }

    _evidenceBegin() {
        const evidence = this._evidence;
        if (!evidence.open()) {
            this._priceMs = Infinity;
            return null;
        }
        return evidence.begin();
    }

    // An inference of which there is more to say than its time.
    _recordMeasured(modelName, elapsedMs, failed, begun, more) {
        this._record(SAMPLE_TAG, () => {
            const own = { modelName, executionTimeMs: elapsedMs };
            if (begun !== null) {
                this._measure(own, begun);
            }
            const said = more ?? {};
            own.error = failed ? (said.error ?? true) : said.error;
            Object.assign(own, this._shownIds(said));
            scratch.rewind();
            encodeSample(scratch, said, own);
            return scratch;
        });
    }

    _measure(own, begun) {
        const used = this._evidence.end(begun);
        this._priceMs = this._evidence.priceMs;
        if (used === null) {
            return;
        }
        this._evidenceCount++;
        const thread = used.userMs + used.systemMs;
        const scale = thread > own.executionTimeMs ? own.executionTimeMs / thread : 1; // the clocks differ
        own.cpuPercentDuring =
            own.executionTimeMs > 0 ? (100 * thread * scale) / own.executionTimeMs : 0;
        own.userMs = used.userMs * scale;
        own.systemMs = used.systemMs * scale;
        own.processCpuMs = used.processMs;
        own.runqueueMs = used.runqueueMs;
        if (this._evidence.threadId > 0) {
            const time = now();
            own.threadId = this._evidence.threadId;
            own.timestamp = wallOffset(time) + toNanos(time);
        }
    }

    // ---- Metrics ----

    counter(name, options) {
        return new Counter(this, name, options);
    }

    gauge(name, options) {
        return new Gauge(this, name, options);
    }

    // For who adds to a gauge once: gauge(name, options).add(delta).
    gaugeAdd(name, delta, options) {
        this.gauge(name, options).add(delta);
    }

    histogram(name, options) {
        return new Histogram(this, name, options);
    }

    info(name, attributes) {
        if (this.enabled) {
            recordInfo(this, name, attributes);
        }
    }

    // ---- Spans ----

    // Starts a span, which does not become the current one: end() it, withSpan() it, or use span().
    startSpan(name, options) {
        const said = readOptions(options);
        const parent = this._parentOf(said.parent);
        if (!this.enabled) {
            return new NoSpan(parent);
        }
        this._hasSpans = true;
        return new Span(this, name, said, parent?.traceId ? parent : null, this._newContext(parent));
    }

    // A context, a span, or what is current; null: nothing, a new trace begins.
    _parentOf(parent) {
        if (parent === null) {
            return null;
        }
        if (!isGiven(parent)) {
            return this.currentContext() ?? null;
        }
        try {
            return readContext(parent.context ?? parent);
        } catch {
            return null; // a getter threw
        }
    }

    // Of a new span below `parent`: who has decided on its trace, or what becomes of it.
    _newContext(parent) {
        const hasSpan = Boolean(parent?.traceId);
        const traceId = hasSpan ? parent.traceId : randomHex(16);
        const isOpen = !parent?.isDecided && (!hasSpan || parent.isRemote);
        return {
            traceId,
            spanId: randomHex(8),
            sampled: isOpen ? this._isSampled(traceId) : parent.sampled,
            isDecided: parent?.isDecided ?? false,
            isDebug: parent?.isDebug ?? false,
            isRemote: false,
            traceState: hasSpan ? parent.traceState : "",
        };
    }

    // The rule of OpenTelemetry's TraceIdRatioBased, which the daemon follows as well.
    _isSampled(traceId) {
        return this._share >= 1 || BigInt(`0x${traceId.slice(16)}`) < this._bound;
    }

    // Runs a function with a span as the current one, of everything that it calls and awaits.
    withSpan(span, run) {
        return AnySpan.is(span) ? this._spans.run(span, run) : run();
    }

    // Runs `run(span)`, which may be async, within a span; what it throws goes into the span, and on.
    span(name, options, run) {
        if (typeof options === "function") {
            return this.span(name, undefined, options);
        }
        const span = this.startSpan(name, options);
        if (!this.enabled) {
            return this.withSpan(span, () => run(span));
        }
        const fail = (error) => {
            span.recordException(error);
            span.end();
            throw error;
        };
        let result;
        try {
            result = this.withSpan(span, () => run(span));
        } catch (error) {
            return fail(error);
        }
        if (typeof result === "object" && result !== null && typeof result.then === "function") {
            return Promise.resolve(result).then((value) => {
                span.end();
                return value;
            }, fail);
        }
        span.end();
        return result;
    }

    currentSpan() {
        return this._spans.getStore();
    }

    currentContext() {
        return this._spans.getStore()?.context;
    }

    // The current context, if its trace is sampled; null: none is shown.
    _shownContext() {
        const span = this._hasSpans ? this._spans.getStore() : undefined;
        return span !== undefined && span.isRecording && span.context.sampled ? span.context : null;
    }

    // Records a span that ended elsewhere, as it is.
    recordSpan(span) {
        if (this.enabled) {
            this._recordSpan(() => encodeGiven(span, this._countsMax));
        }
    }

    _recordSpan(encode) {
        return this._record(SPAN_TAG, encode);
    }

    // Headers that tell others of the current span, or of a context.
    inject(headers = {}, context = this.currentContext(), formats = this._formats) {
        try {
            const said = isGiven(context) ? readContext(context) : makeContext({ isRemote: false });
            const verdict = said.traceId === "" || this._isSampled(said.traceId);
            return inject(said, knownFormats(formats), verdict, headers);
        } catch {
            return headers;
        }
    }

    // The context that headers of a request hold; null: none.
    extract(headers, formats = this._formats) {
        return extract(headers, knownFormats(formats));
    }

    middleware(options) {
        return makeMiddleware(this, readOptions(options));
    }

    // ---- Time budgets ----

    budget(options) {
        return new Budget(this, options);
    }

    // Records how long a layer took, as it is.
    recordBudget(record) {
        if (this.enabled) {
            this._recordBudget(() => encodeBudget(givenBudget(record)));
        }
    }

    _recordBudget(encode) {
        return this._record(BUDGET_TAG, encode);
    }

    // ---- Taking records in ----

    // A record that `encode` writes into a Writer of its own. True: it waits to be sent.
    _record(tag, encode) {
        try {
            const out = encode();
            if (!out.overflow) {
                const begin = this._room(out.at + 4);
                if (begin < 0) {
                    return false;
                }
                const { bytes } = this._outbox.open;
                bytes[begin] = tag;
                const at = putVarint(bytes, begin + 1, out.at);
                out.bytes.copy(bytes, at, 0, out.at);
                this._outbox.added(at + out.at);
                return true;
            }
        } catch {
            // No form on the wire, or a getter of the application's threw.
        }
        this._invalid();
        return false;
    }

    _invalid() {
        this._invalidCount++;
        this._outbox.drops++;
    }

    // Where in the open batch `size` bytes may be written; -1: the record was dropped.
    _room(size) {
        const { open } = this._outbox;
        if (open !== null && open.at + size <= limits.BATCH_BYTES) {
            return open.at;
        }
        if (open !== null) {
            this._link.pump();
        }
        const at = this._outbox.room(size);
        if (at < 0) {
            this._outbox.drops++;
        }
        this._link.wake();
        return at;
    }

    // ---- Waiting ----

    // Sends what was recorded before the call, and waits until the daemon has applied it.
    async flush(options) {
        return this.enabled ? this._link.flush(this._waitMs(options), true) : "ok";
    }

    // As flush(), and the end of the client. Without a daemon it does not wait.
    close(options) {
        if (this._closed === null) {
            const wasEnabled = this.enabled;
            this.enabled = false;
            this._closed = wasEnabled ? this._close(this._waitMs(options)) : Promise.resolve("ok");
        }
        return this._closed;
    }

    _waitMs(options) {
        const timeout = readOptions(options).timeout ?? this._closeTimeoutMs;
        return typeof timeout === "number" && timeout > 0
            ? Math.min(timeout, limits.TIMEOUT_MAX_MS)
            : 0;
    }

    async _close(timeoutMs) {
        const result = await this._link.close(timeoutMs);
        this._evidence?.close();
        openClients--;
        atExitNoMore(this);
        return result;
    }

    // The event loop has nothing to do: the last moment to wait in. Once for what was recorded until then.
    _beforeExit() {
        if (this._outbox.records > 0 && this._drainedCalls !== this._outbox.calls) {
            this._drainedCalls = this._outbox.calls;
            void this._link.flush(this._closeTimeoutMs, false);
        }
    }

    stats() {
        const { _outbox: outbox, _link: link } = this;
        return {
            recorded: outbox.calls,
            sent: link.sent,
            dropped: outbox.dropped,
            invalid: this._invalidCount,
            unconfirmed: link.unconfirmed,
            evidence: this._evidenceCount,
            batches: link.batches,
            sentBytes: link.sentBytes,
            connections: link.connections,
            connected: link.connected,
        };
    }
}

function encodeHello(said) {
    scratch.rewind();
    for (const name of ["serviceName", "serviceVersion", "pid", "constitutionalHash", "client"]) {
        if (name === "pid") {
            scratch.varint(HELLO.pid, process.pid);
        } else {
            const value = name === "client" ? `dwell-node/${limits.VERSION}` : shortText(said[name]);
            if (value !== undefined) {
                scratch.text(HELLO[name], value);
            }
        }
    }
    return scratch.copy();
}

// Throws when there is no form for it.
function givenBudget(record) {
    const optional = (convert, value) => (isGiven(value) ? convert(value) : undefined);
    return {
        layer: optional(text, record.layer),
        elapsedMs: optional(number, record.elapsedMs),
        operation: optional(text, record.operation),
        requestId: optional(text, record.requestId),
        traceId: optional(hex, record.traceId),
        spanId: optional(hex, record.spanId),
        timestamp: optional(nanos, record.timestamp),
        sampled: record.sampled,
        beforeMs: optional(number, record.beforeMs),
    };
}

module.exports = { Dwell, INTERNAL };
