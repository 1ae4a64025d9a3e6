// What a service writes in TypeScript; it is compiled with --strict and not run. At the end stand lines
// that have to be refused.
import { createServer } from "node:http";

import standard, { CONSTITUTIONAL_HASH, Dwell, LayerTimeoutError, dwell } from "dwell";
import type { Context, Result, Span, Stats } from "dwell";

const client = new Dwell({ serviceName: "bus", evidence: "none", propagators: ["b3", "tracecontext"] });
const same: Dwell = standard;
const hash: string = CONSTITUTIONAL_HASH;

const model = client.model("resnet50");
const plain: number = model.track(() => 5);
const later: Promise<string> = model.track(async () => "x");
model.begin().end(new Error("no"), { batchSize: 8, labels: { tier: "gold", none: undefined } });
const labels = new Map([["a", "b"]]);
client.sample({ modelName: "m", executionTimeMs: 1, timestamp: 5n, error: "no", labels });

client.counter("jobs", { unit: "1", attributes: { code: 200, hot: true } }).with({ a: 1n }).add();
client.gauge("queue", { aggregation: "per_pid" }).set(1, { timestamp: new Date() });
client.gaugeAdd("queue", -1);
client.histogram("time", { unit: "ms" }).record(5, { traceId: new Uint8Array(16) });
client.info("build", { version: "1" });

const inner: string = client.span("s", (span: Span) => span.setAttribute("a", [1, null]).context.traceId);
const outer: Promise<void> = client.span("s", { kind: "server", parent: null }, async (span) => {
    span.addEvent("e", { bytes: 1 }).addLink(span.context).setStatus("error", "no").recordException(5);
});
const headers: { [name: string]: string } = client.inject();
const context: Context | null = client.extract(new Headers(headers)) ?? client.extract({ b3: ["x"] });
client.startSpan("s", { parent: context }).end();
const ids = { traceId: "0".repeat(32), spanId: "0".repeat(16) };
client.recordSpan({ ...ids, name: "n", part: "start", startTime: 1n });

const budget = client.budget({ totalMs: 100, layers: [{ name: "a", share: 0.5, strict: false }] });
const get = (signal: AbortSignal) => fetch("http://localhost", { signal });
const run: Promise<Response> = budget.run("a", get, { name: "x" });
const left: number = budget.remaining("total") + (budget.report().layers.a?.budget_ms ?? 0);
const failed = new LayerTimeoutError("a", 1, 2).toJSON().layer_name;

const middleware = client.middleware({ service: "bus", endpoint: (request) => request.method });
createServer((request, response) => middleware(request, response, () => response.end("x")));

const ended: Promise<[Result, Result]> = Promise.all([dwell.flush({ timeout: 5 }), dwell.close()]);
const stats: Stats = client.stats();

// @ts-expect-error
client.sample({ modelName: "m" });
// @ts-expect-error
client.model(5);
// @ts-expect-error
client.gauge("g", { aggregation: "mean" });
// @ts-expect-error
client.counter("c").add("1");
// @ts-expect-error
client.span("s", { kind: "what" }, () => 1);
// @ts-expect-error
new Dwell({ evidence: "full" });

export { same, hash, plain, later, inner, outer, run, left, failed, ended, stats };
