// Wall clock time in nanoseconds, which Node itself gives in whole milliseconds: the monotonic clock, and
// what the wall clock was ahead of it. When that changes, because the wall clock was set, it is taken anew.
"use strict";

const { performance } = require("node:perf_hooks");

const now = performance.now.bind(performance);
const { now: wallNow } = Date;

const DRIFT_MS = 2; // more than the rounding of one clock and the time between two readings

let aheadMs = 0; // whole milliseconds
let aheadNs = 0n;

// By how much the wall clock is ahead of now(), in nanoseconds, at a given time of it.
function wallOffset(time) {
    const ahead = wallNow() - time;
    if (Math.abs(ahead - aheadMs) > DRIFT_MS) {
        aheadMs = Math.round(ahead);
        aheadNs = BigInt(aheadMs) * 1000000n;
    }
    return aheadNs;
}

function toNanos(ms) {
    return BigInt(Math.round(ms * 1e6));
}

module.exports = { now, wallOffset, toNanos };
