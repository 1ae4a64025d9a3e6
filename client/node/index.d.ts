// The types of the package `dwell`: a client of the sidecar dwelld, for Node 18 and later.
//
// No function here raises, blocks or prints on its own account, or keeps the process alive but flush() and
// close() while they are awaited. What cannot be kept or has no form on the wire is dropped, counted, and
// the count is sent. Times are in ms unless the name says otherwise; texts are UTF-8, and their limits in
// bytes. A client belongs to the thread that made it: each worker makes its own.
/// <reference types="node" />

/** Nanoseconds since 1970, a Date, or a number of ms since 1970. */
export type Time = bigint | Date | number;

/** 32 (of a trace) or 16 (of a span) hex digits, or 16 or 8 bytes. */
export type Id = string | Uint8Array;

/** By key; a value that is undefined or null is not there. */
export type Pairs<Value> =
    { readonly [key: string]: Value | null | undefined } | ReadonlyMap<string, Value>;

export type Propagator = "tracecontext" | "b3" | "b3multi" | "none";

export interface DwellOptions {
    /** Where the daemon's sockets are. Default: $DWELL_DIR, else the first of $XDG_RUNTIME_DIR/dwell,
     * /run/dwell and /tmp/dwell-<uid> in which ingest.sock exists; looked for at each connection. */
    directory?: string;
    /** Who is speaking, at most 256 bytes each. */
    serviceName?: string;
    serviceVersion?: string;
    constitutionalHash?: string;
    /** What an inference is asked for besides its time. Default "cpu": the CPU time of the thread, of
     * inferences that do not give the event loop its turn, as often as evidencePercent allows. */
    evidence?: "cpu" | "none";
    /** Of the time of a model's inferences that evidence may cost: above 0, at most 100. Default 1. */
    evidencePercent?: number;
    /** What waits to be sent, at most: 128 kB to 16 MB. Default 256 kB. */
    bufferBytes?: number;
    /** How long records wait for a daemon that is gone before they are dropped. Default 10000. */
    keepMs?: number;
    /** How long flush() and close() wait unless they are told, and a process that ends. Default 1000. */
    closeTimeoutMs?: number;
    /** Share of the traces begun here that are said to be sampled to whom they are handed on: above 0,
     * at most 1; negative: none. Default: by OTEL_TRACES_SAMPLER and OTEL_TRACES_SAMPLER_ARG, else
     * all. */
    sampleRate?: number;
    /** How contexts are written into headers and read. Default: OTEL_PROPAGATORS, else "b3". */
    propagators?: Propagator[] | string;
}

/** An inference that the caller measured. Required: modelName and executionTimeMs. The daemon judges
 * ranges, and counts what it refuses under a reason. */
export interface Sample {
    /** 1 to 256 bytes. */
    modelName: string;
    /** 0 to 1e12. */
    executionTimeMs: number | bigint;
    /** 100 is one core. */
    cpuPercentDuring?: number | bigint;
    cpuPercentBefore?: number | bigint;
    /** MiB. */
    memoryMbAfter?: number | bigint;
    memoryMbBefore?: number | bigint;
    /** Anything but undefined, null, false, 0 and "" says that it failed; a text is sent as well. */
    error?: unknown;
    /** Waited before execution began; not part of executionTimeMs. */
    queueMs?: number | bigint;
    /** Inputs handled together. */
    batchSize?: number | bigint;
    /** "cpu", "cuda:0", …; at most 256 bytes. */
    device?: string;
    /** Default: those of the current span, if its trace is sampled. */
    traceId?: Id;
    spanId?: Id;
    /** Beside threadId when the inference ended. */
    timestamp?: Time;
    /** At most 16; keys of 1 to 256 bytes, values of at most 256. */
    labels?: Pairs<string>;
    userMs?: number | bigint;
    systemMs?: number | bigint;
    /** Ready, but without a CPU. */
    runqueueMs?: number | bigint;
    minorFaults?: number | bigint;
    majorFaults?: number | bigint;
    voluntarySwitches?: number | bigint;
    involuntarySwitches?: number | bigint;
    /** Hints: memory traffic and floating point operations that the inference needs. */
    bytesMoved?: number | bigint;
    flops?: number | bigint;
    /** That worked on it. */
    threads?: number | bigint;
    /** Of all threads of the process meanwhile, user and system. */
    processCpuMs?: number | bigint;
    /** Read from and written to disks. */
    diskBytes?: number | bigint;
    /** That ran it, as gettid says. */
    threadId?: number | bigint;
}

/** An inference being measured. */
export interface Track {
    /** Ends it and records one sample; a second time is a no-op. `error`: anything but undefined, null
     * and false says that it failed. `more`: what was not measured; what was counts before it. */
    end(error?: unknown, more?: Partial<Sample>): void;
}

export interface Model {
    readonly name: string;
    begin(): Track;
    /** Runs a function, which may be async, as one inference. What it returns or throws is passed on,
     * of an async one as a promise. */
    track<Result>(run: () => Result): Result;
}

export interface SeriesOptions {
    /** "ms", "By", …; at most 32 bytes. */
    unit?: string;
    /** At most 32; whole numbers and booleans become texts. */
    attributes?: Pairs<string | number | bigint | boolean>;
}

/** Which span a value is an exemplar of, and when it was. */
export interface Exemplar {
    traceId?: Id;
    spanId?: Id;
    timestamp?: Time;
}

interface Series {
    readonly name: string;
    /** The series of the same name that has these attributes as well. Make it once, and keep it. */
    with(attributes: SeriesOptions["attributes"]): this;
}

export interface Counter extends Series {
    /** Adds to the total: 0 to 1e300, 1 unless it is said. */
    add(value?: number | bigint, exemplar?: Exemplar): void;
}

export interface GaugeOptions extends SeriesOptions {
    /** How the values that several processes give become one. Default: the last one that was set, and
     * the sum of what was added. */
    aggregation?: "last" | "sum" | "max" | "min" | "per_pid";
}

export interface Gauge extends Series {
    set(value: number | bigint, at?: { timestamp?: Time }): void;
    /** Changes it; what a process has added ends with it. */
    add(delta: number | bigint, at?: { timestamp?: Time }): void;
}

export interface Histogram extends Series {
    record(value: number | bigint, exemplar?: Exemplar): void;
}

type AttributePart = string | number | bigint | boolean;
export type AttributeValue =
    AttributePart | Uint8Array | ReadonlyArray<AttributePart | null | undefined>;
/** Of a span, an event or a link: at most 128. Whole numbers up to 2^53 and bigints of 64 bits are
 * whole. */
export type Attributes = Pairs<AttributeValue>;

export type Kind = "unspecified" | "internal" | "server" | "client" | "producer" | "consumer";

/** Which span something belongs to: what is handed on to other services. */
export interface Context {
    /** "": there is no span, but perhaps a decision. */
    readonly traceId: string;
    readonly spanId: string;
    readonly sampled?: boolean;
    /** `sampled`, true or false, is the decision of somebody outside. */
    readonly isDecided?: boolean;
    /** Of B3. */
    readonly isDebug?: boolean;
    /** It came from outside; if nothing is decided, we may. */
    readonly isRemote?: boolean;
    /** Of W3C Trace Context; at most 512 bytes. */
    readonly traceState?: string;
}

export interface Link {
    context: Context;
    attributes?: Attributes;
}

export interface SpanOptions {
    /** Whose child it is. Default: the current span's; null: nobody's, a new trace begins. */
    parent?: Context | Span | null;
    /** Default "internal". */
    kind?: Exclude<Kind, "unspecified">;
    attributes?: Attributes;
    links?: readonly Link[];
    /** Default: now. */
    startTime?: Time;
    /** Records the start at once and the end as a second record, so that a span whose process died
     * shows. */
    halves?: boolean;
    /** Default: that of the client. */
    serviceName?: string;
}

/** A span being measured. To end it never is fine, and records nothing. */
export interface Span {
    readonly context: Required<Context>;
    readonly isRecording: boolean;
    /** Of a key that is set again the last value counts. What has no form is counted in the span. */
    setAttribute(key: string, value: AttributeValue | null | undefined): this;
    setAttributes(attributes: Attributes): this;
    /** An event that happens now. */
    addEvent(name: string, attributes?: Attributes): this;
    addLink(context: Context, attributes?: Attributes): this;
    /** Of errors the last one counts, "ok" is final; success needs none. */
    setStatus(code: "ok" | "error", message?: string): this;
    /** Adds the event "exception", and sets the status to "error". */
    recordException(thrown: unknown): this;
    /** Ends it and records it. What comes afterwards is a no-op. */
    end(): void;
}

/** A span that ended elsewhere, recorded as it is. */
export interface EndedSpan {
    traceId: Id;
    spanId: Id;
    traceState?: string;
    parentSpanId?: Id;
    name: string;
    kind?: Kind;
    startTime?: Time;
    endTime?: Time;
    attributes?: Attributes;
    events?: ReadonlyArray<{ time: Time; name: string; attributes?: Attributes }>;
    links?: ReadonlyArray<{
        traceId: Id;
        spanId: Id;
        traceState?: string;
        sampled?: boolean;
        attributes?: Attributes;
    }>;
    status?: { code?: "unset" | "ok" | "error"; message?: string };
    /** The decision of somebody on the trace. */
    sampled?: boolean;
    /** Default: all of it. */
    part?: "start" | "end";
    serviceName?: string;
}

/** An object of headers, as http.IncomingMessage has it, or what has get(), as Headers of fetch. */
export type HeadersIn =
    | { readonly [name: string]: string | readonly string[] | undefined }
    | { get(name: string): string | null | undefined };

export interface BudgetLayer {
    /** 1 to 62 bytes, not "total"; no two the same. */
    name: string;
    /** One of the two: 0.001 to 14400000 ms, or above 0, at most 1, of the total. Without: as the known
     * layer. */
    budgetMs?: number;
    share?: number;
    /** Of its budget, above 0, at most 1. Default 0.8. */
    softLimit?: number;
    /** A request that is over it has failed. Default true, but for layer4_audit. */
    strict?: boolean;
}

export interface BudgetOptions {
    /** Default 50. */
    totalMs?: number;
    /** Of the total. */
    softLimit?: number;
    strict?: boolean;
    /** At most 16. Default: layer1_validation 5 ms, layer2_deliberation 20, layer3_policy 10,
     * layer4_audit 15. */
    layers?: readonly BudgetLayer[];
    /** Sent with each record; at most 128 bytes. */
    requestId?: string;
}

export interface Judged {
    /** The later, the worse; time is over a limit when it is more than that. */
    verdict: "within" | "soft_limit" | "exceeded" | "exceeded_strict";
    elapsedMs: number;
}

export interface BudgetReport {
    total_budget_ms: number;
    total_elapsed_ms: number;
    total_remaining_ms: number;
    layers: {
        [name: string]: {
            budget_ms: number;
            elapsed_ms: number;
            remaining_ms: number;
            is_exceeded: boolean;
            is_soft_limit_exceeded: boolean;
        };
    };
    constitutional_hash: string;
}

/** What a request may take and has taken. Layers over their budget, or its soft limit, are also
 * published on the channel "dwell.budget" of node:diagnostics_channel by run(). */
export interface Budget {
    /** False: the options made no sense, and there are no limits. */
    readonly isValid: boolean;
    /** An operation of a layer, or of "total", begins; any number at once. */
    start(layer: string): void;
    /** One ends. Records, once the last one has ended, what the layer took; `operation` goes with it. */
    stop(layer: string, operation?: string): Judged;
    check(layer: string): Judged;
    /** In ms; Infinity without such a layer. */
    remaining(layer: string): number;
    /** Of one layer, or of all and the total. */
    reset(layer?: string): void;
    report(): BudgetReport;
    /** Runs a function within a layer. Async: at the limit the signal aborts, and the promise rejects
     * with LayerTimeoutError if the layer, or the total, is strict, else with the signal's
     * TimeoutError. Sync: judged afterwards, and only a strict one throws. What the function throws
     * passes unchanged. */
    run<Result>(
        layer: string,
        operation: (signal: AbortSignal) => Result,
        options?: { name?: string; signal?: AbortSignal },
    ): Result;
}

export class LayerTimeoutError extends Error {
    constructor(layerName: string, budgetMs: number, elapsedMs: number, operation?: string | null);
    readonly layerName: string;
    readonly budgetMs: number;
    readonly elapsedMs: number;
    readonly operation: string | null;
    readonly constitutionalHash: string;
    /** With the names that all clients have: layer_name, budget_ms, … */
    toJSON(): {
        error: string;
        layer_name: string;
        budget_ms: number;
        elapsed_ms: number;
        operation: string | null;
        constitutional_hash: string;
    };
}

/** A record of a budget, as it is. */
export interface BudgetRecord {
    layer: string;
    elapsedMs: number | bigint;
    operation?: string;
    requestId?: string;
    traceId?: Id;
    spanId?: Id;
    timestamp?: Time;
    sampled?: boolean;
    /** What the layer took in the same request before. */
    beforeMs?: number | bigint;
}

/** What node:http and Express hand to middleware, as far as it is used. */
export interface MiddlewareRequest {
    method?: string;
    headers: { readonly [name: string]: string | string[] | undefined };
}

export interface MiddlewareResponse {
    statusCode: number;
    readonly writableFinished: boolean;
    once(event: "finish" | "close", listener: () => void): unknown;
}

export interface MiddlewareOptions<Request> {
    /** Of the label `service`. */
    service?: string;
    /** The label `endpoint`: a route, not a path. Default: the route that Express has matched. */
    endpoint?: string | ((request: Request) => string | undefined);
}

/** "ok": the daemon has applied everything. "timeout": the time was over first; nothing is lost by
 * that. "unconfirmed": the connection broke, or there is none. */
export type Result = "ok" | "timeout" | "unconfirmed";

/** Since the client was made. recorded - sent - dropped still waits. */
export interface Stats {
    recorded: number;
    /** Of these: handed to the kernel on a connection to the daemon. */
    sent: number;
    dropped: number;
    /** Of those dropped: had no form on the wire, or were over 16 kB. */
    invalid: number;
    /** Of those sent: on a connection that broke before the daemon confirmed. */
    unconfirmed: number;
    /** Inferences for which evidence was taken. */
    evidence: number;
    batches: number;
    sentBytes: number;
    /** Made; all but the first are reconnects. */
    connections: number;
    connected: boolean;
}

export class Dwell {
    /** Needs no daemon, and connects when there is something to send. Options that are out of range are
     * taken as the nearest that is in range, others that make no sense as not given. */
    constructor(options?: DwellOptions);

    /** False with DWELL_DISABLED=1, past 16 open clients of a thread, and after close(): everything is
     * a no-op then, but time budgets hold. */
    readonly enabled: boolean;

    /** The same handle for the same name, of the first 1024. */
    model(name: string): Model;
    sample(sample: Sample): void;

    counter(name: string, options?: SeriesOptions): Counter;
    gauge(name: string, options?: GaugeOptions): Gauge;
    gaugeAdd(name: string, delta: number | bigint, options?: GaugeOptions): void;
    histogram(name: string, options?: SeriesOptions): Histogram;
    /** Says that the attributes hold. */
    info(name: string, attributes: SeriesOptions["attributes"]): void;

    /** Runs a function within a span, which is the current one of all that it calls and awaits. What it
     * throws goes into the span, and on. */
    span<Result>(name: string, run: (span: Span) => Result): Result;
    span<Result>(name: string, options: SpanOptions | undefined, run: (span: Span) => Result): Result;
    /** Starts a span that does not become the current one. */
    startSpan(name: string, options?: SpanOptions): Span;
    withSpan<Result>(span: Span, run: () => Result): Result;
    currentSpan(): Span | undefined;
    currentContext(): Context | undefined;
    recordSpan(span: EndedSpan): void;

    /** Writes headers that tell others of the current span, or of a context; returns them. */
    inject<Headers extends object = { [name: string]: string }>(
        headers?: Headers,
        context?: Context,
        propagators?: Propagator[],
    ): Headers & { [name: string]: string };
    /** The context that headers hold; null: none. */
    extract(headers: HeadersIn | null | undefined, propagators?: Propagator[]): Context | null;

    budget(options?: BudgetOptions | null): Budget;
    recordBudget(record: BudgetRecord): void;

    /** For Express, or a plain server: `middleware(request, response, () => handle(request,
     * response))`. */
    middleware<Request extends MiddlewareRequest>(
        options?: MiddlewareOptions<Request>,
    ): <Result>(request: Request, response: MiddlewareResponse, next: () => Result) => Result;

    /** Sends what was recorded before the call, and waits until the daemon has applied it: it then
     * shows in its next answer. Never rejects. */
    flush(options?: { timeout?: number }): Promise<Result>;
    /** The same, and the end of the client. Without a daemon it does not wait. */
    close(options?: { timeout?: number }): Promise<Result>;
    stats(): Stats;
}

/** A client with default options, which connects when it is first used. */
export const dwell: Dwell;

export const CONSTITUTIONAL_HASH: string;
export const VERSION: string;
