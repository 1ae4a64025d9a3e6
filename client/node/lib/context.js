// Which span something belongs to, and how that goes into headers and out of them: W3C Trace Context and
// both forms of B3.
//
// What can fail: a header that makes no sense. It is as if it were not there, and a new trace begins.
"use strict";

const { TRACE_STATE_BYTES } = require("./limits.js");

const NO_TRACE = "0".repeat(32);
const NO_SPAN = "0".repeat(16);
const FORMATS = ["tracecontext", "b3", "b3multi", "none"];

const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/s;
const B3 = /^([0-9a-f]{16}|[0-9a-f]{32})-([0-9a-f]{16})(?:-([01d])(?:-[0-9a-f]{16})?)?$/i;
const WHOLE_TRACE_ID = /^[0-9a-f]{32}$/;
const WHOLE_SPAN_ID = /^[0-9a-f]{16}$/;
const TRACE_ID = /^(?:[0-9a-f]{16}|[0-9a-f]{32})$/i;
const SPAN_ID = /^[0-9a-f]{16}$/i;

// A context: `traceId` "" is no span, but perhaps a decision. `isDecided`: `sampled`, true or false, is the
// decision of somebody outside. `isRemote`: it came from outside; if nothing is decided, we may.
function makeContext(fields) {
    return {
        traceId: "",
        spanId: "",
        sampled: false,
        isDecided: false,
        isDebug: false,
        isRemote: true,
        traceState: "",
        ...fields,
    };
}

// A context that an application hands in, whatever it is. Ids that are none make it one without a span.
function readContext(said) {
    const { traceId, spanId, traceState } = said;
    const hasSpan = WHOLE_TRACE_ID.test(traceId) && WHOLE_SPAN_ID.test(spanId) && traceId !== NO_TRACE;
    return {
        traceId: hasSpan ? traceId : "",
        spanId: hasSpan ? spanId : "",
        sampled: Boolean(said.sampled),
        isDecided: Boolean(said.isDecided),
        isDebug: Boolean(said.isDebug),
        isRemote: said.isRemote ?? true,
        traceState: hasSpan && typeof traceState === "string" ? trimState(traceState) : "",
    };
}

function decision(state) {
    if (state === "1" || state === "0") {
        return { isDecided: true, sampled: state === "1" };
    }
    return state === "d" ? { isDecided: true, sampled: true, isDebug: true } : {};
}

// 16 digits are the low half of an id.
function wholeTraceId(digits) {
    const id = digits.toLowerCase().padStart(32, "0");
    return id === NO_TRACE ? null : id;
}

function wholeSpanId(digits) {
    const id = digits.toLowerCase();
    return id === NO_SPAN ? null : id;
}

// A value of a header, whatever the case of its name; those of a list are joined.
function reader(headers) {
    if (headers !== null && typeof headers === "object" && typeof headers.get === "function") {
        return (name) => headers.get(name) ?? undefined;
    }
    return (name) => {
        let value = headers?.[name];
        if (value === undefined) {
            const small = name.toLowerCase();
            const key = Object.keys(headers ?? {}).find((other) => other.toLowerCase() === small);
            value = key === undefined ? undefined : headers[key];
        }
        value = Array.isArray(value) ? value.join(",") : value;
        return typeof value === "string" ? value : undefined;
    };
}

// Without blanks around it. Of a state that is too long, members are left out from its end.
function trimState(text) {
    let state = text.replace(/^[ \t]+|[ \t]+$/g, "");
    while (state.length > TRACE_STATE_BYTES) {
        state = state.slice(0, Math.max(0, state.lastIndexOf(",", TRACE_STATE_BYTES))).trimEnd();
    }
    return /^[\x20-\x7e]*$/.test(state) ? state : "";
}

function extractW3c(find) {
    const found = TRACEPARENT.exec(find("traceparent") ?? "");
    if (found === null) {
        return null;
    }
    const [, version, traceId, spanId, flags, rest] = found;
    if (
        version === "ff" ||
        (version === "00" && rest !== undefined) ||
        traceId === NO_TRACE ||
        spanId === NO_SPAN
    ) {
        return null;
    }
    const sampled = (parseInt(flags, 16) & 1) === 1;
    const traceState = trimState(find("tracestate") ?? "");
    return makeContext({ traceId, spanId, isDecided: true, sampled, traceState });
}

function extractB3(find) {
    const text = find("b3") ?? "";
    if (/^[01d]$/.test(text)) {
        return makeContext(decision(text));
    }
    const found = B3.exec(text);
    const traceId = found && wholeTraceId(found[1]);
    const spanId = found && wholeSpanId(found[2]);
    return traceId && spanId
        ? makeContext({ traceId, spanId, ...decision(found[3]?.toLowerCase()) })
        : null;
}

function multiDecision(find) {
    if (find("X-B3-Flags") === "1") {
        return decision("d");
    }
    const sampled = find("X-B3-Sampled")?.toLowerCase();
    const words = { true: "1", false: "0", 1: "1", 0: "0" }; // the first two of senders before the rule
    return decision(words[sampled]);
}

function extractB3Multi(find) {
    const traceText = find("X-B3-TraceId") ?? "";
    const spanText = find("X-B3-SpanId") ?? "";
    const traceId = TRACE_ID.test(traceText) ? wholeTraceId(traceText) : null;
    const spanId = SPAN_ID.test(spanText) ? wholeSpanId(spanText) : null;
    const said = multiDecision(find);
    if (traceId && spanId) {
        return makeContext({ traceId, spanId, ...said });
    }
    return said.isDecided ? makeContext(said) : null;
}

// The context that headers hold, or null. `headers`: an object, as http.IncomingMessage has it, or what has
// get(), as Headers of fetch. traceparent counts before b3 before X-B3-…; for B3 both forms are taken.
function extract(headers, formats) {
    try {
        const find = reader(headers);
        const found = formats.includes("tracecontext") ? extractW3c(find) : null;
        if (found !== null || !(formats.includes("b3") || formats.includes("b3multi"))) {
            return found;
        }
        return extractB3(find) ?? extractB3Multi(find);
    } catch {
        return null; // a getter threw
    }
}

function injectW3c(context, sampled, headers) {
    if (context.traceId !== "") {
        headers.traceparent = `00-${context.traceId}-${context.spanId}-${sampled ? "01" : "00"}`;
        if (context.traceState !== "") {
            headers.tracestate = context.traceState;
        }
    }
}

function injectB3(context, state, headers) {
    const parts = context.traceId === "" ? [] : [context.traceId, context.spanId];
    if (state !== "") {
        parts.push(state);
    }
    if (parts.length > 0) {
        headers.b3 = parts.join("-");
    }
}

function injectB3Multi(context, state, headers) {
    if (context.traceId !== "") {
        headers["X-B3-TraceId"] = context.traceId;
        headers["X-B3-SpanId"] = context.spanId;
    }
    if (state === "d") {
        headers["X-B3-Flags"] = "1"; // which implies the other
    } else if (state !== "") {
        headers["X-B3-Sampled"] = state;
    }
}

// Writes headers into an object. `verdict`: what becomes of a trace on which nothing was decided; W3C has
// no word for that, and B3 leaves it open.
function inject(context, formats, verdict, headers) {
    const isOpen = !context.isDecided && (context.isRemote || context.traceId === "");
    const state = isOpen ? "" : context.isDebug ? "d" : context.sampled ? "1" : "0";
    if (formats.includes("tracecontext")) {
        injectW3c(context, isOpen ? verdict : context.sampled, headers);
    }
    if (formats.includes("b3")) {
        injectB3(context, state, headers);
    }
    if (formats.includes("b3multi")) {
        injectB3Multi(context, state, headers);
    }
    return headers;
}

// Of a list, or of a text such as "tracecontext,b3"; words that are not known say nothing.
function knownFormats(said) {
    let known = [];
    try {
        const words =
            typeof said === "string" ? said.split(/[, \t]+/) : Array.isArray(said) ? said : [];
        known = words.filter((word) => FORMATS.includes(word));
    } catch {
        // No list: as if nothing were said.
    }
    return known.length > 0 ? known : ["b3"];
}

module.exports = { makeContext, readContext, extract, inject, knownFormats };
