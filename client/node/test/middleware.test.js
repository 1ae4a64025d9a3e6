// The middleware under a real http.Server: the three families of requests, and a span of each.
"use strict";

const assert = require("node:assert/strict");
const http = require("node:http");
const { test } = require("node:test");

const { Dwell } = require("../index.js");
const { PATIENT, WITHOUT_DAEMON, listen, startDaemon, until } = require("./support.js");

const B3 = "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1";

// A server on a port of its own, whose requests go through the middleware to `handle`.
async function serve(t, directory, options, handle) {
    const dwell = new Dwell({ directory, evidence: "none", ...PATIENT });
    const middleware = dwell.middleware(options);
    const server = http.createServer((request, response) => {
        try {
            middleware(request, response, () => handle(request, response, dwell));
        } catch {
            response.statusCode = 500;
            response.end();
        }
    });
    await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
    t.after(() => server.close());
    return { dwell, server, port: server.address().port };
}

function get(port, path, { headers = {}, method = "GET" } = {}) {
    return new Promise((resolve, reject) => {
        const request = http.request({ port, path, headers, method, agent: false }, (response) => {
            response.resume().on("end", () => resolve(response.statusCode));
        });
        request.on("error", reject).end();
    });
}

function labels({ attributes }) {
    return Object.fromEntries(attributes.map(({ key, value }) => [key, value]));
}

test("an answered request: in progress up and down, duration, total, span", async (t) => {
    const listener = await listen(t);
    const options = { service: "bus", endpoint: "/v1/infer" };
    const { dwell, port } = await serve(
        t,
        listener.directory,
        options,
        async (request, response, own) => {
            await new Promise((resolve) => setImmediate(resolve));
            own.model("m").begin().end();
            response.statusCode = 201;
            response.end("x");
        },
    );
    assert.equal(await get(port, "/v1/infer?x=1", { headers: { b3: B3 }, method: "POST" }), 201);
    await until(() => dwell.stats().recorded === 6, "all is recorded");
    assert.equal(await dwell.close(), "ok");
    const [up, down, duration, total] = listener.records("metrics");
    const shared = { method: "POST", endpoint: "/v1/infer", service: "bus" };
    for (const [metric, op, value] of [
        [up, 3, 1],
        [down, 3, -1],
    ]) {
        assert.deepEqual(
            [metric.name, metric.op, metric.value],
            ["http_requests_in_progress", op, value],
        );
        assert.deepEqual([labels(metric), metric.aggregation], [shared, 2]);
    }
    assert.deepEqual(
        [duration.name, duration.op, duration.unit],
        ["http_request_duration_seconds", 4, "s"],
    );
    assert.ok(duration.value > 0 && duration.value < 20);
    assert.deepEqual(labels(duration), shared);
    assert.deepEqual([total.name, total.op, total.value], ["http_requests_total", 1, 1]);
    assert.deepEqual(labels(total), { ...shared, status: "201" });
    const [span] = listener.records("spans");
    assert.deepEqual(
        [span.name, span.kind, span.parentSpanId, span.flags, span.status],
        ["POST /v1/infer", 2, "b7ad6b7169203331", 1, undefined],
    );
    assert.equal(listener.records("samples")[0].spanId, span.spanId);
});

// [what handles it, the answer, endpoint and status that are counted, whether the span failed].
const HANDLERS = {
    "an error of the server": [
        (request, response) => response.writeHead(503).end(),
        503,
        "(unmatched)",
        "503",
        true,
    ],
    "something that throws": [() => assert.fail("no"), 500, "(unmatched)", "500", true],
    "a route of Express": [
        (request, response) => {
            request.baseUrl = "/v1";
            request.route = { path: "/models/:name" };
            response.end();
        },
        200,
        "/v1/models/:name",
        "200",
        false,
    ],
    "a route that is a pattern": [
        (request, response) => {
            request.route = { path: /^x/ };
            response.end();
        },
        200,
        "(unmatched)",
        "200",
        false,
    ],
};

for (const [what, [handle, answer, endpoint, status, failed]] of Object.entries(HANDLERS)) {
    test(`a request: ${what}`, async (t) => {
        const listener = await listen(t);
        const { dwell, port } = await serve(t, listener.directory, {}, handle);
        assert.equal(await get(port, "/v1/models/secret"), answer);
        await until(() => dwell.stats().recorded === 5, "all is recorded");
        assert.equal(await dwell.close(), "ok");
        const total = listener.records("metrics").find(({ name }) => name === "http_requests_total");
        assert.deepEqual(labels(total), { method: "GET", endpoint, service: "", status });
        assert.equal(listener.records("spans")[0].status?.code === 2, failed);
        const progress = listener
            .records("metrics")
            .filter(({ name }) => name === "http_requests_in_progress");
        assert.equal(
            progress.reduce((sum, { value }) => sum + value, 0),
            0,
        );
        assert.equal(new Set(progress.map((metric) => labels(metric).endpoint)).size, 1);
    });
}

test("a client that goes away is a 499", async (t) => {
    const listener = await listen(t);
    let arrived;
    const { dwell, port } = await serve(
        t,
        listener.directory,
        { endpoint: () => "/slow" },
        () => (arrived = true),
    );
    const request = http.get({ port, path: "/" });
    request.on("error", () => {});
    await until(() => arrived, "the request has come");
    request.destroy();
    await until(() => dwell.stats().recorded === 5, "all is recorded");
    assert.equal(await dwell.close(), "ok");
    const total = listener.records("metrics").find(({ name }) => name === "http_requests_total");
    assert.equal(labels(total).status, "499");
});

test("an endpoint that throws is none, and past 1000 series they are one", async (t) => {
    const listener = await listen(t);
    const dwell = new Dwell({ directory: listener.directory, bufferBytes: 1 << 22, ...PATIENT });
    const make = (endpoint) => {
        const middleware = dwell.middleware({ endpoint });
        return (name) => {
            const ends = {};
            const response = {
                statusCode: 200,
                writableFinished: true,
                once: (event, run) => (ends[event] = run),
            };
            middleware({ method: "GET", url: name, headers: {} }, response, () => {});
            ends.finish();
        };
    };
    make(() => assert.fail("mine"))("/");
    const request = make(({ url }) => url);
    for (let i = 0; i < 400; i++) {
        request(`/${i}`);
    }
    assert.equal(await dwell.close(), "ok");
    const totals = listener.records("metrics").filter(({ name }) => name === "http_requests_total");
    const endpoints = totals.map((metric) => labels(metric).endpoint);
    assert.equal(endpoints[0], "(unmatched)");
    assert.equal(endpoints.length, 401);
    // Three series a request: the 334th has its first two only.
    assert.deepEqual([endpoints.indexOf("(other)"), new Set(endpoints).size], [334, 335]);
});

test("a closed client lets requests through", async (t) => {
    const { dwell, port } = await serve(t, "/nonexistent/dwell", {}, (request, response) =>
        response.end(),
    );
    await dwell.close();
    assert.equal(await get(port, "/"), 200);
});

test("the declared families take them", { skip: WITHOUT_DAEMON }, async (t) => {
    const daemon = await startDaemon(t);
    const options = { service: "bus", endpoint: "/v1" };
    const { dwell, port } = await serve(t, daemon.directory, options, (request, response) =>
        response.end(),
    );
    assert.equal(await get(port, "/v1"), 200);
    await until(() => dwell.stats().recorded === 5, "all is recorded");
    assert.equal(await dwell.flush(), "ok");
    const shared = { method: "GET", endpoint: "/v1", service: "bus" };
    assert.equal(await daemon.metric("http_requests_total", { ...shared, status: "200" }), 1);
    assert.equal(await daemon.metric("http_requests_in_progress", shared), 0);
    assert.equal(await daemon.metric("http_request_duration_seconds_count", shared), 1);
    assert.equal(await dwell.close(), "ok");
    await daemon.mustAccountFor({ sent: 5, accepted: 5, rejected: 0, lost: 0 });
});
