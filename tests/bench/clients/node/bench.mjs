// What a call of the Node client costs, daemon running: the median over rounds of a tight loop, in ns, and
// as a ratio to a pair of process.hrtime.bigint() in the same run. One JSON line; exit status 1 when a
// limit is broken.
//
//     DWELL_BUILD=build node tests/bench/clients/node/bench.mjs [rounds]
//
//  1. A daemon is started, unless DWELL_DIR names the directory of one.
//  2. Each round runs every subject CALLS times, and waits outside of the clock until all was sent.
//  3. The ledger has to be without drops: what is dropped costs less.
import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import os from "node:os";
import path from "node:path";

import { Dwell } from "../../../../client/node/index.mjs";

const said = process.env.DWELL_DIR; // before the tests' support forgets it
const require = createRequire(import.meta.url);
const { Daemon, WITHOUT_DAEMON } = require("../../../../client/node/test/support.js");

const ROUNDS = Number(process.argv[2] ?? 200);
const CALLS = 1000; // some 100 kB of the largest records, so that buffers never fill
const LIMITS_NS = { sample: 1000, noop: 1000 };

if (!said && WITHOUT_DAEMON) {
    console.log(JSON.stringify({ bench: "node_client", client: "node", skipped: WITHOUT_DAEMON }));
    process.exit(0);
}

const directory = mkdtempSync(path.join(os.tmpdir(), "dwell-bench-"));
const daemon = said ? null : await new Daemon(path.join(directory, "d")).start();
const place = said || daemon.directory;

const none = new Dwell({
    directory: place,
    evidence: "none",
    bufferBytes: 1 << 22,
    closeTimeoutMs: 20000,
});
const cpu = new Dwell({ directory: place, bufferBytes: 1 << 22, closeTimeoutMs: 20000 });
const off = new Dwell();
await off.close();

const bare = none.model("bench");
const seen = cpu.model("bench");
const gone = off.model("bench");
const counter = none.counter("bench.calls", { attributes: { code: 200 } });
const layers = [{ name: "bench", budgetMs: 14400000 }];
const budget = none.budget({ layers });
const nothing = () => {};

// Each runs its call so many times: a loop of its own, so that none is compiled for another's types.
const SUBJECTS = {
    clock_pair: (calls) => {
        for (let i = 0; i < calls; i++) {
            process.hrtime.bigint();
            process.hrtime.bigint();
        }
    },
    sample: (calls) => {
        for (let i = 0; i < calls; i++) {
            bare.begin().end();
        }
    },
    sample_cpu: (calls) => {
        for (let i = 0; i < calls; i++) {
            seen.begin().end();
        }
    },
    track: (calls) => {
        for (let i = 0; i < calls; i++) {
            bare.track(nothing);
        }
    },
    counter: (calls) => {
        for (let i = 0; i < calls; i++) {
            counter.add();
        }
    },
    budget: (calls) => {
        for (let i = 0; i < calls; i++) {
            budget.start("bench");
            budget.stop("bench");
        }
    },
    noop: (calls) => {
        for (let i = 0; i < calls; i++) {
            gone.begin().end();
        }
    },
    // Last: once there was a span, a sample looks for the current one.
    span: (calls) => {
        for (let i = 0; i < calls; i++) {
            none.span("bench", nothing);
        }
    },
    sample_in_span: (calls) => {
        none.span("bench", () => {
            for (let i = 0; i < calls; i++) {
                bare.begin().end();
            }
        });
    },
};

function median(numbers) {
    return numbers.sort((a, b) => a - b)[Math.floor(numbers.length / 2)];
}

async function measure(run) {
    const rounds = [];
    for (let i = 0; i < ROUNDS; i++) {
        const begin = process.hrtime.bigint();
        run(CALLS);
        rounds.push(Number(process.hrtime.bigint() - begin) / CALLS);
        await Promise.all([none.flush(), cpu.flush()]);
    }
    return median(rounds);
}

const machine = `${os.cpus()[0].model}, node ${process.version}`;
const result = { bench: "node_client", client: "node", machine, rounds: ROUNDS };
for (const [name, run] of Object.entries(SUBJECTS)) {
    result[`${name}_ns`] = Math.round(await measure(run));
}
for (const name of Object.keys(SUBJECTS).slice(1)) {
    result[`${name}_ratio`] = Number((result[`${name}_ns`] / result.clock_pair_ns).toFixed(2));
}
for (const [name, limit] of Object.entries(LIMITS_NS)) {
    result[`${name}_ns_limit`] = limit;
}
result.rss_mb = Number((process.memoryUsage().rss / 2 ** 20).toFixed(1));
result.dropped = none.stats().dropped + cpu.stats().dropped;
const ends = await Promise.all([none.close(), cpu.close()]);
await daemon?.stop();
rmSync(directory, { recursive: true, force: true });

const broken = Object.entries(LIMITS_NS).filter(([name, limit]) => result[`${name}_ns`] > limit);
result.good = broken.length === 0 && result.dropped === 0 && ends.every((end) => end === "ok");
console.log(JSON.stringify(result));
process.exitCode = result.good ? 0 : 1;
