// Spans: what is written of them, who is whose child, and how contexts go through headers.
"use strict";

const assert = require("node:assert/strict");
const { test } = require("node:test");

const { Dwell } = require("../index.js");
const { PATIENT, listen } = require("./support.js");

const TRACE_ID = "0af7651916cd43dd8448eb211c80319c";
const SPAN_ID = "b7ad6b7169203331";
const TRACEPARENT = `00-${TRACE_ID}-${SPAN_ID}`;

// Runs `act(dwell)` and resolves to the spans that came.
async function mustSendSpans(t, act, options) {
    const listener = await listen(t);
    const dwell = new Dwell({
        directory: listener.directory,
        evidence: "none",
        ...PATIENT,
        ...options,
    });
    await act(dwell);
    assert.equal(await dwell.close(), "ok");
    assert.equal(dwell.stats().dropped, 0);
    const spans = listener.records("spans");
    spans.samples = listener.records("samples");
    return spans;
}

// The attributes of a span, event or link as an object.
function plain(pairs = []) {
    const value = (any) => {
        const [kind] = Object.keys(any);
        return kind === undefined
            ? null
            : kind === "list"
              ? (any.list.values ?? []).map(value)
              : { [kind]: any[kind] };
    };
    return Object.fromEntries(pairs.map(({ key, value: any }) => [key, value(any)]));
}

test("a span that ended elsewhere, with every field", async (t) => {
    const [span] = await mustSendSpans(t, (dwell) =>
        dwell.recordSpan({
            traceId: TRACE_ID,
            spanId: SPAN_ID,
            traceState: "a=1",
            parentSpanId: "00f067aa0ba902b7",
            name: "predict",
            kind: "internal",
            startTime: 1777638600001000000n,
            endTime: 1777638600012000000n,
            attributes: {
                model_name: "resnet50",
                batch: 8,
                load: 0.5,
                warm: true,
                shape: [8, null, "x"],
            },
            events: [{ name: "loaded", time: 1777638600002000000n, attributes: { bytes: 4096 } }],
            links: [
                {
                    traceId: TRACE_ID,
                    spanId: SPAN_ID,
                    traceState: "b=2",
                    sampled: true,
                    attributes: { a: "b" },
                },
            ],
            status: { code: "error", message: "out of memory" },
            sampled: true,
            part: "end",
            serviceName: "bus",
        }),
    );
    const attributes = plain(span.attributes);
    assert.deepEqual(attributes, {
        model_name: { text: "resnet50" },
        batch: { whole: 8n },
        load: { double: 0.5 },
        warm: { truth: 1 },
        shape: [{ whole: 8n }, null, { text: "x" }],
    });
    delete span.attributes;
    assert.deepEqual(span, {
        traceId: TRACE_ID,
        spanId: SPAN_ID,
        traceState: "a=1",
        parentSpanId: "00f067aa0ba902b7",
        name: "predict",
        kind: 1,
        start: 1777638600001000000n,
        end: 1777638600012000000n,
        events: [
            {
                time: 1777638600002000000n,
                name: "loaded",
                attributes: [{ key: "bytes", value: { whole: 4096n } }],
            },
        ],
        links: [
            {
                traceId: TRACE_ID,
                spanId: SPAN_ID,
                traceState: "b=2",
                attributes: [{ key: "a", value: { text: "b" } }],
                flags: 1,
            },
        ],
        status: { message: "out of memory", code: 2 },
        flags: 1,
        part: 2,
        serviceName: "bus",
    });
});

test("spans within spans, across awaits, each with its own parent", async (t) => {
    const spans = await mustSendSpans(t, async (dwell) => {
        const branch = (name) =>
            dwell.span(name, async (span) => {
                await new Promise((resolve) => setImmediate(resolve));
                assert.equal(dwell.currentSpan(), span);
                dwell.model("m").begin().end();
                return dwell.span(`${name}.inner`, () => name);
            });
        const results = await dwell.span("root", { kind: "server" }, () =>
            Promise.all([branch("a"), branch("b")]),
        );
        assert.deepEqual(results, ["a", "b"]);
        assert.equal(dwell.currentSpan(), undefined);
        dwell.model("m").begin().end();
    });
    const byName = Object.fromEntries(spans.map((span) => [span.name, span]));
    assert.deepEqual(Object.keys(byName).sort(), ["a", "a.inner", "b", "b.inner", "root"]);
    const { root } = byName;
    assert.equal(root.parentSpanId, undefined);
    assert.equal(root.kind, 2);
    assert.equal(root.flags, undefined, "nobody has decided");
    for (const [child, parent] of [
        ["a", "root"],
        ["b", "root"],
        ["a.inner", "a"],
        ["b.inner", "b"],
    ]) {
        assert.equal(byName[child].parentSpanId, byName[parent].spanId);
        assert.equal(byName[child].traceId, root.traceId);
        assert.equal(byName[child].kind, 1);
    }
    assert.equal(new Set(spans.map(({ spanId }) => spanId)).size, 5);
    assert.deepEqual(
        spans.samples.map(({ traceId, spanId }) => [traceId, spanId]).sort(),
        [
            [undefined, undefined],
            [root.traceId, byName.a.spanId],
            [root.traceId, byName.b.spanId],
        ].sort(),
    );
});

test("times are those of the wall clock, and the end is not before the start", async (t) => {
    const before = BigInt(Date.now() - 5) * 1000000n;
    const [short, future] = await mustSendSpans(t, (dwell) => {
        dwell.span("s", () => {});
        dwell.startSpan("future", { startTime: 2n ** 62n }).end();
    });
    const after = BigInt(Date.now() + 5) * 1000000n;
    assert.ok(before <= short.start && short.start <= short.end && short.end <= after);
    assert.deepEqual([future.start, future.end], [2n ** 62n, 2n ** 62n]);
});

test("what throws is in the span once, and passes on", async (t) => {
    class OwnError extends Error {}
    const error = new OwnError("no");
    const spans = await mustSendSpans(t, async (dwell) => {
        assert.throws(() => dwell.span("sync", () => assert.fail("at once")), /at once/);
        await assert.rejects(
            dwell.span("async", (span) =>
                Promise.reject(error).catch((caught) => {
                    span.recordException(caught);
                    throw caught;
                }),
            ),
            (caught) => caught === error,
        );
        for (const thrown of ["text", 5, null, undefined, {}, Object.create(null)]) {
            await assert.rejects(
                dwell.span("odd", () => Promise.reject(thrown)),
                (caught) => caught === thrown,
            );
        }
        const evil = new Proxy({}, { get: () => assert.fail("a getter") });
        assert.throws(
            () =>
                dwell.span("evil", () => {
                    throw evil;
                }),
            (caught) => caught === evil,
        );
    });
    const byName = Object.fromEntries(spans.map((span) => [span.name, span]));
    assert.equal(byName.sync.status.code, 2);
    assert.deepEqual(byName.async.status, { message: "no", code: 2 });
    const [event, ...more] = byName.async.events;
    assert.deepEqual(more, []);
    const attributes = plain(event.attributes);
    assert.equal(event.name, "exception");
    assert.deepEqual(attributes["exception.message"], { text: "no" });
    assert.match(attributes["exception.stacktrace"].text, /spans\.test\.js/);
    assert.equal(spans.length, 9);
    assert.ok(spans.every(({ status }) => status.code === 2));
});

test("of statuses ok is final, and of errors the last one counts", async (t) => {
    const spans = await mustSendSpans(t, (dwell) => {
        dwell.startSpan("none").setStatus("unset").setStatus("what").end();
        dwell.startSpan("last").setStatus("error", "first").setStatus("error", "last").end();
        dwell.startSpan("ok").setStatus("ok", "x").setStatus("error", "late").end();
    });
    assert.deepEqual(
        spans.map(({ status }) => status),
        [undefined, { message: "last", code: 2 }, { code: 1 }],
    );
});

test("after its end a span takes nothing more", async (t) => {
    const [span, ...more] = await mustSendSpans(t, (dwell) => {
        const ended = dwell.startSpan("s");
        ended.end();
        ended
            .setAttribute("a", 1)
            .addEvent("e")
            .setStatus("error")
            .recordException(new Error("x"))
            .end();
        assert.equal(ended.isRecording, false);
    });
    assert.deepEqual(more, []);
    assert.deepEqual(Object.keys(span).sort(), ["end", "kind", "name", "spanId", "start", "traceId"]);
});

test("halves: the start at once, the end as a second record", async (t) => {
    const [start, end] = await mustSendSpans(t, (dwell) => {
        const span = dwell.startSpan("train", { halves: true, attributes: { a: 1 }, kind: "consumer" });
        assert.equal(dwell.stats().recorded, 1);
        span.setAttribute("b", 2).end();
    });
    assert.deepEqual([start.part, end.part], [1, 2]);
    assert.deepEqual([start.end, end.start], [undefined, undefined]);
    assert.deepEqual([start.spanId, start.name], [end.spanId, end.name]);
    assert.deepEqual(
        [plain(start.attributes), plain(end.attributes)],
        [{ a: { whole: 1n } }, { b: { whole: 2n } }],
    );
});

test("attributes: of a key the last value, what has no form is counted", async (t) => {
    const [span] = await mustSendSpans(t, (dwell) => {
        const list = [1, 2];
        const taken = {
            text: "模型",
            empty: "",
            whole: -5,
            zero: -0,
            big: 2n ** 63n - 1n,
            small: -(2n ** 63n),
            huge: 1e300,
            unsafe: 2 ** 53,
            none: [],
            list,
            bytes: Buffer.from([0, 255]),
            gone: undefined,
            nothing: null,
        };
        const left = {
            nan: NaN,
            infinite: Infinity,
            past: 2n ** 63n,
            object: {},
            run: () => 1,
            symbol: Symbol("s"),
            "": 1,
            zero_byte: "a\0b",
            "key\0": 1,
            [`k${"e".repeat(256)}`]: 1,
            nested: [[1]],
            long: Array(1025).fill(1),
        };
        const made = dwell.startSpan("s", { attributes: { ...taken, again: 1 } });
        list.push(3);
        made.setAttributes(left)
            .setAttribute("again", "2")
            .setAttributes(new Map([["map", true]]))
            .end();
    });
    assert.deepEqual(plain(span.attributes), {
        text: { text: "模型" },
        empty: { text: "" },
        whole: { whole: 2n ** 64n - 5n },
        zero: { whole: 0n },
        big: { whole: 2n ** 63n - 1n },
        small: { whole: 2n ** 63n },
        huge: { double: 1e300 },
        unsafe: { double: 2 ** 53 },
        none: [],
        list: [{ whole: 1n }, { whole: 2n }],
        bytes: { bytes: "00ff" },
        again: { text: "2" },
        map: { truth: 1 },
    });
    assert.equal(span.droppedAttributes, 12);
});

test("limits: 128 attributes, events and links; one more of each is counted", async (t) => {
    const [full, over] = await mustSendSpans(t, (dwell) => {
        for (const count of [128, 129]) {
            const span = dwell.startSpan("s");
            for (let i = 0; i < count; i++) {
                span.setAttribute(`k${i}`, i)
                    .addEvent("e")
                    .addLink({ traceId: TRACE_ID, spanId: SPAN_ID });
            }
            span.addLink({ traceId: "", spanId: "" }).addLink(null).addEvent("");
            span.end();
        }
    });
    for (const [span, dropped] of [
        [full, [undefined, 1, 2]],
        [over, [1, 2, 3]],
    ]) {
        assert.deepEqual(
            [span.attributes.length, span.events.length, span.links.length],
            [128, 128, 128],
        );
        assert.deepEqual([span.droppedAttributes, span.droppedEvents, span.droppedLinks], dropped);
    }
});

test("what does not fit into 16 kB is left out, and the span is sent", async (t) => {
    const [span] = await mustSendSpans(t, (dwell) => {
        const made = dwell.startSpan("s", { serviceName: "bus" });
        for (let i = 0; i < 20; i++) {
            made.setAttribute(`k${i}`, "x".repeat(1000));
        }
        made.addEvent("e", { text: "y".repeat(15000) }).setAttribute("short", 1);
        made.recordException(Object.assign(new Error("m".repeat(9000)), { stack: "s".repeat(9000) }));
        made.end();
    });
    assert.equal(span.attributes.length + span.droppedAttributes, 21);
    assert.ok(span.droppedAttributes > 0 && span.attributes.length > 0);
    assert.equal(span.droppedEvents + (span.events?.length ?? 0), 2);
    assert.equal(span.status.message.length, 4096);
    assert.equal(span.serviceName, "bus");
});

test("names: none is unnamed, a long one is cut between characters", async (t) => {
    const spans = await mustSendSpans(t, (dwell) => {
        for (const name of [
            undefined,
            "",
            5,
            "a".repeat(256),
            "a".repeat(257),
            `${"a".repeat(255)}é`,
            "é".repeat(200),
        ]) {
            dwell.startSpan(name).end();
        }
    });
    const wanted = [..."xxx"].map(() => "unnamed");
    wanted.push("a".repeat(256), "a".repeat(256), "a".repeat(255), "é".repeat(128));
    assert.deepEqual(
        spans.map(({ name }) => name),
        wanted,
    );
});

test("environment variables lower the limits", async (t) => {
    const names = ["ATTRIBUTE", "EVENT", "LINK"].map((part) => `OTEL_SPAN_${part}_COUNT_LIMIT`);
    t.after(() => names.forEach((name) => delete process.env[name]));
    names.forEach((name, i) => (process.env[name] = String(i)));
    const [span] = await mustSendSpans(t, (dwell) => {
        const made = dwell
            .startSpan("s", { attributes: { a: 1 } })
            .addEvent("e")
            .addEvent("f");
        made.addLink({ traceId: TRACE_ID, spanId: SPAN_ID }).end();
    });
    assert.deepEqual([span.droppedAttributes, span.droppedEvents, span.links.length], [1, 1, 1]);
});

test("a share of traces is sampled, by the rule that all clients have", async (t) => {
    const half = new Dwell({ directory: "/nonexistent/dwell", sampleRate: 0.5 });
    t.after(() => half.close());
    const shown = (low) => half._isSampled(`${"f".repeat(16)}${low}`);
    assert.deepEqual(["0000000000000000", "7fffffffffffffff", "8000000000000000"].map(shown), [
        true,
        true,
        false,
    ]);
    for (const [sampler, arg, wanted] of [
        ["always_off", "", 0],
        ["always_on", "", 1],
        ["traceidratio", "0.25", 0.25],
        ["parentbased_traceidratio", "0.25", 0.25],
        ["traceidratio", "two", 1],
        ["what", "", 1],
    ]) {
        process.env.OTEL_TRACES_SAMPLER = sampler;
        process.env.OTEL_TRACES_SAMPLER_ARG = arg;
        const dwell = new Dwell({ directory: "/nonexistent/dwell" });
        assert.equal(dwell._share, wanted);
        await dwell.close();
    }
    delete process.env.OTEL_TRACES_SAMPLER;
    delete process.env.OTEL_TRACES_SAMPLER_ARG;
    const spans = await mustSendSpans(
        t,
        (dwell) => {
            dwell.span("s", () => {
                dwell.model("m").begin().end();
                assert.match(dwell.inject({}, undefined, ["tracecontext"]).traceparent, /-00$/);
            });
        },
        { sampleRate: -1 },
    );
    assert.equal(spans.length, 1, "the daemon decides what it exports");
    assert.deepEqual(Object.keys(spans.samples[0]), ["modelName", "executionTimeMs"]);
});

// ---- Headers ----

const ID64 = "8448eb211c80319c";
const B3 = `${TRACE_ID}-${SPAN_ID}`;
const FROM = (fields) => ({ traceId: TRACE_ID, spanId: SPAN_ID, ...fields });
const NO_SPAN = { traceId: "", spanId: "" };
const YES = { isDecided: true, sampled: true };
const NO = { isDecided: true, sampled: false };
const ALL = ["tracecontext", "b3"];

// [headers, formats, what is found].
const EXTRACTED = [
    [{ traceparent: `${TRACEPARENT}-01` }, ALL, FROM(YES)],
    [{ traceparent: `${TRACEPARENT}-00` }, ALL, FROM(NO)],
    [{ traceparent: `${TRACEPARENT}-03` }, ALL, FROM(YES)],
    [
        { TraceParent: `${TRACEPARENT}-01`, TRACESTATE: " a=1,b=2\t" },
        ALL,
        FROM({ ...YES, traceState: "a=1,b=2" }),
    ],
    [
        { traceparent: `${TRACEPARENT}-01`, tracestate: ["a=1", "b=2"] },
        ALL,
        FROM({ ...YES, traceState: "a=1,b=2" }),
    ],
    [{ traceparent: `${TRACEPARENT}-01`, tracestate: "a=é" }, ALL, FROM(YES)],
    [{ traceparent: `01${TRACEPARENT.slice(2)}-01-more` }, ALL, FROM(YES)],
    [{ traceparent: `${TRACEPARENT}-01-more` }, ALL, null],
    [{ traceparent: `ff${TRACEPARENT.slice(2)}-01` }, ALL, null],
    [{ traceparent: `${TRACEPARENT}-1` }, ALL, null],
    [{ traceparent: `${TRACEPARENT.toUpperCase()}-01` }, ALL, null],
    [{ traceparent: `00-${"0".repeat(32)}-${SPAN_ID}-01` }, ALL, null],
    [{ traceparent: `00-${TRACE_ID}-${"0".repeat(16)}-01` }, ALL, null],
    [{ traceparent: `${TRACEPARENT}-01` }, ["b3"], null],
    [{ b3: B3 }, ALL, FROM({})],
    [{ b3: `${B3}-1` }, ALL, FROM(YES)],
    [{ b3: `${B3}-0` }, ALL, FROM(NO)],
    [{ b3: `${B3}-d` }, ALL, FROM({ ...YES, isDebug: true })],
    [{ b3: `${B3}-1-${SPAN_ID}` }, ALL, FROM(YES)],
    [{ b3: `${B3.toUpperCase()}-1` }, ALL, FROM(YES)],
    [{ b3: `${ID64}-${SPAN_ID}-1` }, ALL, FROM({ ...YES, traceId: `${"0".repeat(16)}${ID64}` })],
    [{ b3: "0" }, ALL, { ...NO_SPAN, ...NO }],
    [{ b3: "d" }, ALL, { ...NO_SPAN, ...YES, isDebug: true }],
    [{ b3: `${B3}-2` }, ALL, null],
    [{ b3: `${B3}-` }, ALL, null],
    [{ b3: "" }, ALL, null],
    [{ "X-B3-TraceId": TRACE_ID, "X-B3-SpanId": SPAN_ID, "X-B3-Sampled": "1" }, ["b3multi"], FROM(YES)],
    [
        { "x-b3-traceid": ID64, "x-b3-spanid": SPAN_ID },
        ["b3"],
        FROM({ traceId: `${"0".repeat(16)}${ID64}` }),
    ],
    [
        { "x-b3-traceid": TRACE_ID, "x-b3-spanid": SPAN_ID, "x-b3-flags": "1", "x-b3-sampled": "0" },
        ALL,
        FROM({ ...YES, isDebug: true }),
    ],
    [
        { "x-b3-traceid": TRACE_ID, "x-b3-spanid": "0".repeat(16), "x-b3-sampled": "false" },
        ALL,
        { ...NO_SPAN, ...NO },
    ],
    [{ "x-b3-traceid": TRACE_ID, "x-b3-sampled": "maybe" }, ALL, null],
    [{ traceparent: "bad", b3: `${B3}-1` }, ALL, FROM(YES)],
    [{ traceparent: 5, b3: {} }, ALL, null],
    [new Headers({ b3: `${B3}-1` }), ALL, FROM(YES)],
    [new Map([["b3", `${B3}-1`]]), ALL, FROM(YES)],
    [undefined, ALL, null],
    [null, ALL, null],
    [
        {
            get b3() {
                throw new Error("a getter");
            },
        },
        ALL,
        null,
    ],
];

test("contexts out of headers", async () => {
    const dwell = new Dwell({ directory: "/nonexistent/dwell" });
    const none = { traceState: "", sampled: false, isDecided: false, isDebug: false, isRemote: true };
    EXTRACTED.forEach(([headers, formats, wanted], i) => {
        assert.deepEqual(dwell.extract(headers, formats), wanted && { ...none, ...wanted }, `row ${i}`);
    });
    const long = `${"a".repeat(250)}=1,${"b".repeat(250)}=2,${"c".repeat(250)}=3`;
    const found = dwell.extract({ traceparent: `${TRACEPARENT}-01`, tracestate: long }, ALL);
    assert.equal(found.traceState, long.slice(0, 505));
    await dwell.close();
});

test("contexts into headers", async () => {
    const dwell = new Dwell({ directory: "/nonexistent/dwell" });
    const every = ["tracecontext", "b3", "b3multi"];
    const rows = [
        [
            FROM({ ...YES, traceState: "a=1" }),
            {
                traceparent: `${TRACEPARENT}-01`,
                tracestate: "a=1",
                b3: `${B3}-1`,
                "X-B3-TraceId": TRACE_ID,
                "X-B3-SpanId": SPAN_ID,
                "X-B3-Sampled": "1",
            },
        ],
        [
            FROM(NO),
            {
                traceparent: `${TRACEPARENT}-00`,
                b3: `${B3}-0`,
                "X-B3-TraceId": TRACE_ID,
                "X-B3-SpanId": SPAN_ID,
                "X-B3-Sampled": "0",
            },
        ],
        [
            FROM({ ...YES, isDebug: true }),
            {
                traceparent: `${TRACEPARENT}-01`,
                b3: `${B3}-d`,
                "X-B3-TraceId": TRACE_ID,
                "X-B3-SpanId": SPAN_ID,
                "X-B3-Flags": "1",
            },
        ],
        [
            FROM({}),
            {
                traceparent: `${TRACEPARENT}-01`,
                b3: B3,
                "X-B3-TraceId": TRACE_ID,
                "X-B3-SpanId": SPAN_ID,
            },
        ],
        [
            { ...NO_SPAN, ...NO },
            { b3: "0", "X-B3-Sampled": "0" },
        ],
        [NO_SPAN, {}],
    ];
    rows.forEach(([context, wanted], i) =>
        assert.deepEqual(dwell.inject({}, context, every), wanted, `row ${i}`),
    );
    assert.deepEqual(dwell.inject({ kept: "1" }), { kept: "1" });
    assert.deepEqual(dwell.inject({}, FROM(YES)), { b3: `${B3}-1` });
    assert.deepEqual(dwell.inject({}, FROM(YES), ["none"]), {});
    dwell.span("s", { parent: dwell.extract({ traceparent: `${TRACEPARENT}-00` }, ALL) }, (span) => {
        assert.deepEqual(dwell.inject(), { b3: `${TRACE_ID}-${span.context.spanId}-0` });
    });
    await dwell.close();
});

test("a trace that was decided elsewhere says so, one that was not does not", async (t) => {
    const spans = await mustSendSpans(t, (dwell) => {
        for (const b3 of [`${B3}-1`, `${B3}-0`, B3, "0", ""]) {
            dwell.span(b3, { parent: dwell.extract({ b3 }) }, () => {});
        }
        dwell.span("child of another client's span", { parent: dwell.startSpan("unsent") }, () => {});
    });
    assert.deepEqual(
        spans.map(({ flags }) => flags),
        [1, 0, undefined, 0, undefined, undefined],
    );
    assert.deepEqual(
        spans.slice(0, 5).map(({ parentSpanId }) => parentSpanId),
        [SPAN_ID, SPAN_ID, SPAN_ID, undefined, undefined],
    );
});
