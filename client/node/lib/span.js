// A span being measured, and how a span is written.
//
// Happy path
//  1. startSpan() reads the clock, makes ids and keeps what is said of the span, as it is.
//  2. end() reads the clock again and encodes everything into one record.
//
// What can fail: what does not fit into a record of 16 kB, is past a limit, has no good key or no value
// that can be written is left out, and counted in the span's dropped_…_count.
"use strict";

const limits = require("./limits.js");
const { now, wallOffset, toNanos } = require("./clock.js");
const { makeContext, readContext } = require("./context.js");
const { isGiven, text, hex, nanos, pairs, thrownTexts, UNFIT } = require("./values.js");
const { Writer } = require("./writer.js");

const SPAN = {
    traceId: 1,
    spanId: 2,
    traceState: 3,
    parentSpanId: 4,
    name: 5,
    kind: 6,
    start: 7,
    end: 8,
    attributes: 9,
    droppedAttributes: 10,
    events: 11,
    droppedEvents: 12,
    links: 13,
    droppedLinks: 14,
    status: 15,
    flags: 16,
    part: 100,
    serviceName: 101,
};
const EVENT = { time: 1, name: 2, attributes: 3, dropped: 4 };
const LINK = { traceId: 1, spanId: 2, traceState: 3, attributes: 4, dropped: 5, flags: 6 };
const PAIR = { key: 1, value: 2 };
const ANY = { text: 1, truth: 2, whole: 3, double: 4, list: 5, bytes: 7 };
const STATUS = { message: 2, code: 3 };

const KINDS = ["unspecified", "internal", "server", "client", "producer", "consumer"];
const CODES = ["unset", "ok", "error"];
const PARTS = { start: 1, end: 2 };
const INT64_MIN = -(1n << 63n);
const INT64_END = 1n << 63n;

const scratch = new Writer(limits.RECORD_BYTES);

// Cuts a text to so many bytes of UTF-8, between two characters.
function cut(value, bytesMax) {
    if (value.length * 3 <= bytesMax || Buffer.byteLength(value) <= bytesMax) {
        return value;
    }
    const bytes = Buffer.from(value.slice(0, bytesMax));
    let end = Math.min(bytesMax, bytes.length);
    while (end > 0 && (bytes[end] & 0xc0) === 0x80) {
        end--;
    }
    return bytes.toString("utf8", 0, end);
}

// ---- Attributes ----

// The daemon refuses a span for one bad text, however deep it lies.
function isGoodText(value) {
    return !value.includes("\0");
}

function isGoodKey(key) {
    return (
        typeof key === "string" &&
        key !== "" &&
        isGoodText(key) &&
        (key.length * 3 <= limits.NAME_BYTES || Buffer.byteLength(key) <= limits.NAME_BYTES)
    );
}

function isGoodValue(value) {
    switch (typeof value) {
        case "string":
            return isGoodText(value);
        case "number":
            return Number.isFinite(value);
        case "bigint":
            return value >= INT64_MIN && value < INT64_END;
        case "boolean":
            return true;
        default:
            return value instanceof Uint8Array;
    }
}

// A value as it is kept: of a list a copy, as it may change. Undefined when there is no form for it.
function keptValue(value) {
    if (!Array.isArray(value)) {
        return isGoodValue(value) ? value : undefined;
    }
    if (value.length > limits.LIST_MAX) {
        return undefined;
    }
    const list = [...value];
    return list.every((part) => !isGiven(part) || isGoodValue(part)) ? list : undefined;
}

function tryToKeep(value) {
    try {
        return keptValue(value);
    } catch {
        return undefined; // a list whose getter threw
    }
}

function putValue(out, value) {
    if (typeof value === "string") {
        out.text(ANY.text, value);
    } else if (typeof value === "boolean") {
        out.varint(ANY.truth, value ? 1 : 0);
    } else if (typeof value === "bigint") {
        out.bigVarint(ANY.whole, value);
    } else if (typeof value === "number") {
        if (!Number.isSafeInteger(value)) {
            out.double(ANY.double, value);
        } else if (value >= 0) {
            out.varint(ANY.whole, value);
        } else {
            out.bigVarint(ANY.whole, BigInt(value));
        }
    } else if (Array.isArray(value)) {
        const list = out.open(ANY.list);
        for (const part of value) {
            const begin = out.open(1);
            if (isGiven(part)) {
                putValue(out, part);
            }
            out.close(begin);
        }
        out.close(list);
    } else {
        out.blob(ANY.bytes, value);
    }
}

// Attributes of a span, an event or a link, with a count of those that are not there.
class Attributes {
    constructor(max) {
        this.max = max;
        this.kept = null; // a Map, once there is one
        this.dropped = 0;
    }

    // Of a key that is set again the last value counts.
    set(key, value) {
        if (!isGiven(value)) {
            return;
        }
        const kept = isGoodKey(key) ? tryToKeep(value) : undefined;
        const isNew = !this.kept?.has(key);
        if (kept === undefined || (isNew && (this.kept?.size ?? 0) >= this.max)) {
            this.dropped++;
            return;
        }
        this.kept ??= new Map();
        this.kept.set(key, kept);
    }

    setAll(attributes) {
        if (!isGiven(attributes)) {
            return this;
        }
        try {
            for (const [key, value] of pairs(attributes)) {
                this.set(key, value);
            }
        } catch {
            this.dropped++; // no attributes, or a getter threw
        }
        return this;
    }

    put(out, field, droppedField) {
        let { dropped } = this;
        for (const [key, value] of this.kept ?? []) {
            dropped += putPart(out, field, () => {
                out.text(PAIR.key, key);
                const begin = out.open(PAIR.value);
                putValue(out, value);
                out.close(begin);
            });
        }
        if (dropped > 0) {
            out.varint(droppedField, dropped);
        }
    }
}

// A nested message that is there as a whole, or left out. Returns how many were left out.
function putPart(out, field, put) {
    const { at } = out;
    const begin = out.open(field);
    put();
    out.close(begin);
    if (!out.overflow) {
        return 0;
    }
    out.at = at;
    out.overflow = false;
    return 1;
}

// ---- A span as a record ----

function putEvents(out, events, dropped) {
    let left = dropped;
    for (const { time, name, attributes } of events) {
        left += putPart(out, SPAN.events, () => {
            out.fixed64(EVENT.time, time);
            out.text(EVENT.name, name);
            attributes.put(out, EVENT.attributes, EVENT.dropped);
        });
    }
    if (left > 0) {
        out.varint(SPAN.droppedEvents, left);
    }
}

function putLinks(out, links, dropped) {
    let left = dropped;
    for (const { context, attributes } of links) {
        left += putPart(out, SPAN.links, () => {
            out.hex(LINK.traceId, context.traceId);
            out.hex(LINK.spanId, context.spanId);
            if (context.traceState !== undefined) {
                out.text(LINK.traceState, context.traceState);
            }
            attributes.put(out, LINK.attributes, LINK.dropped);
            if (context.isDecided) {
                out.fixed32(LINK.flags, context.sampled ? 1 : 0);
            }
        });
    }
    if (left > 0) {
        out.varint(SPAN.droppedLinks, left);
    }
}

// Writes a span, or one half of it, into the scratch memory. What is undefined is not written.
function encode(span) {
    const out = scratch;
    out.rewind();
    out.hex(SPAN.traceId, span.traceId);
    out.hex(SPAN.spanId, span.spanId);
    if (span.traceState !== undefined) {
        out.text(SPAN.traceState, span.traceState);
    }
    if (span.parentSpanId !== undefined) {
        out.hex(SPAN.parentSpanId, span.parentSpanId);
    }
    if (span.name !== undefined) {
        out.text(SPAN.name, span.name);
    }
    if (span.kind > 0) {
        out.varint(SPAN.kind, span.kind);
    }
    if (span.start !== undefined) {
        out.fixed64(SPAN.start, span.start);
    }
    if (span.end !== undefined) {
        out.fixed64(SPAN.end, span.end);
    }
    // What comes behind them has its room: a status and a service are cut to that, or end the record.
    const behind = 3 * ((span.statusMessage?.length ?? 0) + (span.serviceName?.length ?? 0));
    out.limit -= Math.min(behind, limits.RECORD_BYTES / 4) + limits.SPAN_RESERVE_BYTES;
    span.attributes.put(out, SPAN.attributes, SPAN.droppedAttributes);
    putEvents(out, span.events, span.droppedEvents);
    putLinks(out, span.links, span.droppedLinks);
    out.limit = limits.RECORD_BYTES;
    if (span.statusCode > 0 || span.statusMessage !== undefined) {
        const begin = out.open(SPAN.status);
        if (span.statusMessage !== undefined) {
            out.text(STATUS.message, span.statusMessage);
        }
        if (span.statusCode !== undefined) {
            out.varint(STATUS.code, span.statusCode);
        }
        out.close(begin);
    }
    if (span.sampled !== undefined) {
        out.fixed32(SPAN.flags, span.sampled ? 1 : 0);
    }
    if (span.part > 0) {
        out.varint(SPAN.part, span.part);
    }
    if (span.serviceName !== undefined) {
        out.text(SPAN.serviceName, span.serviceName);
    }
    return out;
}

// ---- A span that ended elsewhere, as an application says it ----

function indexOf(words, word) {
    if (!isGiven(word)) {
        return undefined;
    }
    const at = words.indexOf(word);
    if (at < 0) {
        throw UNFIT;
    }
    return at;
}

function optional(convert, value) {
    return isGiven(value) ? convert(value) : undefined;
}

function given(list) {
    if (isGiven(list) && !Array.isArray(list)) {
        throw UNFIT; // of anything else there may be no end
    }
    return list ?? [];
}

// Throws when there is no form for it.
function encodeGiven(span, countsMax) {
    const events = given(span.events).map(({ time, name, attributes }) => ({
        time: nanos(time),
        name: text(name),
        attributes: new Attributes(limits.SPAN_PARTS_MAX).setAll(attributes),
    }));
    const links = given(span.links).map(({ traceId, spanId, traceState, sampled, attributes }) => ({
        context: {
            traceId: hex(traceId),
            spanId: hex(spanId),
            traceState: optional(text, traceState),
            isDecided: isGiven(sampled),
            sampled,
        },
        attributes: new Attributes(limits.SPAN_PARTS_MAX).setAll(attributes),
    }));
    return encode({
        traceId: hex(span.traceId),
        spanId: hex(span.spanId),
        parentSpanId: optional(hex, span.parentSpanId),
        traceState: optional(text, span.traceState),
        name: optional(text, span.name),
        kind: indexOf(KINDS, span.kind),
        start: optional(nanos, span.startTime),
        end: optional(nanos, span.endTime),
        attributes: new Attributes(countsMax.attributes).setAll(span.attributes),
        events: events.slice(0, countsMax.events),
        droppedEvents: Math.max(0, events.length - countsMax.events),
        links: links.slice(0, countsMax.links),
        droppedLinks: Math.max(0, links.length - countsMax.links),
        statusCode: indexOf(CODES, span.status?.code),
        statusMessage: optional(text, span.status?.message),
        sampled: isGiven(span.sampled) ? Boolean(span.sampled) : undefined,
        part: isGiven(span.part) ? (PARTS[span.part] ?? 0) : 0,
        serviceName: optional(text, span.serviceName),
    });
}

// ---- A span being measured ----

// Tells our spans from whatever else somebody makes the current one, without asking it anything.
class AnySpan {
    #isSpan = true;

    static is(value) {
        return typeof value === "object" && value !== null && #isSpan in value && value.#isSpan;
    }
}

class Span extends AnySpan {
    // `origin`: the context that it comes from, or null; `ids`: those of the new span.
    constructor(client, name, options, origin, ids) {
        super();
        this._client = client;
        this._time = now();
        this._offset = wallOffset(this._time);
        this._name = typeof name === "string" && name !== "" ? cut(name, limits.NAME_BYTES) : "unnamed";
        this._kind = Math.max(1, KINDS.indexOf(options.kind));
        this._parentId = origin?.spanId ?? "";
        this._attributes = new Attributes(client._countsMax.attributes).setAll(options.attributes);
        this._events = [];
        this._droppedEvents = 0;
        this._links = [];
        this._droppedLinks = 0;
        this._code = 0;
        this._message = "";
        this._thrown = "";
        this._serviceName = typeof options.serviceName === "string" ? options.serviceName : "";
        this._hasStarted = false; // its start was recorded
        this._isOpen = true;
        // What new spans, samples and headers take from it.
        this.context = ids;
        this._start = this._offset + toNanos(this._time);
        if (isGiven(options.startTime)) {
            try {
                this._start = nanos(options.startTime);
            } catch {
                // Then it begins now.
            }
        }
        this._addLinks(options.links);
        if (options.halves) {
            this._hasStarted = client._recordSpan(() => encode(this._state(PARTS.start, undefined)));
            if (this._hasStarted) {
                this._attributes = new Attributes(client._countsMax.attributes); // is not said again
                this._links = [];
                this._droppedLinks = 0;
            }
        }
    }

    get isRecording() {
        return this._isOpen;
    }

    _addLinks(links) {
        try {
            given(links).forEach(({ context, attributes }) => this.addLink(context, attributes));
        } catch {
            this._droppedLinks++; // no list, no link, or a getter threw
        }
    }

    _state(part, end) {
        const { context } = this;
        const isEnd = part === PARTS.end;
        return {
            traceId: context.traceId,
            spanId: context.spanId,
            traceState: isEnd ? undefined : context.traceState || undefined,
            parentSpanId: isEnd ? undefined : this._parentId || undefined,
            name: this._name,
            kind: isEnd ? undefined : this._kind,
            start: isEnd ? undefined : this._start,
            end,
            attributes: this._attributes,
            events: this._events,
            droppedEvents: this._droppedEvents,
            links: this._links,
            droppedLinks: this._droppedLinks,
            statusCode: this._code,
            statusMessage: this._message || undefined,
            sampled: context.isDecided && !isEnd ? context.sampled : undefined,
            part,
            serviceName: isEnd ? undefined : this._serviceName || undefined,
        };
    }

    // Of a key that is set again the last value counts.
    setAttribute(key, value) {
        if (this._isOpen) {
            this._attributes.set(key, value);
        }
        return this;
    }

    setAttributes(attributes) {
        if (this._isOpen) {
            this._attributes.setAll(attributes);
        }
        return this;
    }

    // Adds an event that happens now.
    addEvent(name, attributes) {
        if (!this._isOpen) {
            return this;
        }
        const isGood = typeof name === "string" && name !== "" && isGoodText(name);
        if (!isGood || this._events.length >= this._client._countsMax.events) {
            this._droppedEvents++;
            return this;
        }
        this._events.push({
            time: this._offset + toNanos(now()),
            name: cut(name, limits.NAME_BYTES),
            attributes: new Attributes(limits.SPAN_PARTS_MAX).setAll(attributes),
        });
        return this;
    }

    // Adds a link to another span; one to no span is left out.
    addLink(context, attributes) {
        if (!this._isOpen) {
            return this;
        }
        try {
            const linked = readContext(context);
            if (linked.traceId !== "" && this._links.length < this._client._countsMax.links) {
                this._links.push({
                    context: { ...linked, traceState: linked.traceState || undefined },
                    attributes: new Attributes(limits.SPAN_PARTS_MAX).setAll(attributes),
                });
                return this;
            }
        } catch {
            // It is none.
        }
        this._droppedLinks++;
        return this;
    }

    // Sets the status, "ok" or "error"; success needs none. Of errors the last one counts, ok is final.
    setStatus(code, message) {
        const at = CODES.indexOf(code);
        if (this._isOpen && this._code !== 1 && at > 0) {
            this._code = at;
            const isText = at === 2 && typeof message === "string" && isGoodText(message);
            this._message = isText ? cut(message, limits.STACK_BYTES) : "";
        }
        return this;
    }

    // Adds the event `exception` and sets the status to error. The same error again, on its way out through
    // several functions, is a no-op.
    recordException(thrown) {
        const { type, message, stack } = thrownTexts(thrown);
        const same = `${type}\0${message}`;
        if (!this._isOpen || same === this._thrown) {
            return this;
        }
        this._thrown = same;
        this.setStatus("error", message);
        const attributes = new Map([["exception.type", cut(type, limits.NAME_BYTES)]]);
        attributes.set("exception.message", cut(message, limits.STACK_BYTES));
        attributes.set("exception.stacktrace", cut(stack, limits.STACK_BYTES));
        for (const [key, value] of attributes) {
            if (value === "") {
                attributes.delete(key);
            }
        }
        return this.addEvent("exception", attributes);
    }

    // Ends it and records it. A second time, and whatever else comes after the first, is a no-op.
    end() {
        if (!this._isOpen) {
            return;
        }
        this._isOpen = false;
        const measured = this._offset + toNanos(now());
        const end = measured > this._start ? measured : this._start; // nobody may say it began later
        const part = this._hasStarted ? PARTS.end : 0;
        this._client._recordSpan(() => encode(this._state(part, end)));
    }
}

// A span without a client: nothing but the context that goes through it.
class NoSpan extends AnySpan {
    constructor(context) {
        super();
        this.context = context ?? makeContext({ isRemote: false });
    }
    get isRecording() {
        return false;
    }
    setAttribute() {
        return this;
    }
    setAttributes() {
        return this;
    }
    addEvent() {
        return this;
    }
    addLink() {
        return this;
    }
    setStatus() {
        return this;
    }
    recordException() {
        return this;
    }
    end() {}
}

module.exports = { AnySpan, Span, NoSpan, encodeGiven };
