// What a service tells of its HTTP requests: how many are in progress, how long they took, how they ended,
// and a span of each. For Express and its like, and for a plain http.Server.
//
// Happy path
//  1. A request comes: it is in progress, its span begins, and what handles it runs within that.
//  2. Its answer is finished, or the client has gone: duration, total by status, and the end of the span.
//
// What can fail: a path says nothing about an endpoint, and anybody can ask for any number of them. So the
// endpoint is a route of the application's: what the options say, else what Express has matched, else
// "(unmatched)". Past 1000 series a request counts as "(other)".
"use strict";

const { ROUTES_MAX } = require("./limits.js");
const { now } = require("./clock.js");

const UNMATCHED = "(unmatched)";
const OTHER = "(other)";
const CLIENT_CLOSED = 499; // as nginx has it

// Series of the three families for each endpoint, made once.
class RequestMetrics {
    constructor(client, service) {
        this._client = client;
        this._service = service;
        this._series = new Map();
    }

    _find(kind, labels, make) {
        let key = [kind, ...Object.values(labels)].join("\n");
        let found = this._series.get(key);
        if (found === undefined) {
            let all = { ...labels, service: this._service };
            if (this._series.size >= ROUTES_MAX) {
                all = { ...all, endpoint: OTHER };
                key = [kind, labels.method, OTHER, labels.status].join("\n");
                found = this._series.get(key);
            }
            if (found === undefined) {
                found = make(all);
                this._series.set(key, found); // past the ceiling: a few methods and statuses, and no more
            }
        }
        return found;
    }

    inProgress(method, endpoint) {
        return this._find("p", { method, endpoint }, (attributes) =>
            this._client.gauge("http_requests_in_progress", { attributes, aggregation: "sum" }),
        );
    }

    duration(method, endpoint) {
        return this._find("d", { method, endpoint }, (attributes) =>
            this._client.histogram("http_request_duration_seconds", { unit: "s", attributes }),
        );
    }

    total(method, endpoint, status) {
        return this._find("t", { method, endpoint, status }, (attributes) =>
            this._client.counter("http_requests_total", { attributes }),
        );
    }
}

function routeOf(request) {
    const path = request.route?.path;
    return typeof path === "string" ? `${request.baseUrl ?? ""}${path}` : UNMATCHED;
}

// What the options say of a request's endpoint: a text, or a function of the request; "" nothing.
function saidEndpoint(endpoint, request) {
    try {
        const said = typeof endpoint === "function" ? endpoint(request) : endpoint;
        return typeof said === "string" ? said : "";
    } catch {
        return "";
    }
}

// (request, response, next): `next` runs what handles the request. What it throws passes.
function makeMiddleware(client, { service, endpoint }) {
    const metrics = new RequestMetrics(client, typeof service === "string" ? service : "");
    return function dwellMiddleware(request, response, next) {
        if (!client.enabled) {
            return next();
        }
        const method = request.method ?? "GET";
        const said = saidEndpoint(endpoint, request);
        const startedAt = now();
        const progress = metrics.inProgress(method, said || UNMATCHED);
        progress.add(1);
        const span = client.startSpan(said ? `${method} ${said}` : method, {
            kind: "server",
            parent: client.extract(request.headers) ?? undefined,
            attributes: { "http.request.method": method },
        });
        let isOver = false;
        const finish = (status) => {
            if (isOver) {
                return;
            }
            isOver = true;
            const route = said || routeOf(request);
            progress.add(-1);
            metrics.duration(method, route).record((now() - startedAt) / 1e3);
            metrics.total(method, route, String(status)).add(1);
            span.setAttribute("http.route", route);
            span.setAttribute("http.response.status_code", status);
            if (status >= 500) {
                span.setStatus("error");
            }
            span.end();
        };
        response.once("finish", () => finish(response.statusCode));
        response.once("close", () =>
            finish(response.writableFinished ? response.statusCode : CLIENT_CLOSED),
        );
        try {
            return client.withSpan(span, next);
        } catch (error) {
            span.recordException(error);
            finish(500);
            throw error;
        }
    };
}

module.exports = { makeMiddleware };
