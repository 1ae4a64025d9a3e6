// Random ids, in hex, from the kernel's generator: some hundreds at a time, as a call costs a microsecond.
"use strict";

const { randomFillSync } = require("node:crypto");

const NO_TRACE = "0".repeat(32);
const NO_SPAN = "0".repeat(16);
const POOL_BYTES = 4096;
const pool = Buffer.alloc(POOL_BYTES);
let at = POOL_BYTES;

// `size` is 8 or 16. All zero would be no id.
function randomHex(size) {
    if (at + size > POOL_BYTES) {
        randomFillSync(pool);
        at = 0;
    }
    const id = pool.toString("hex", at, at + size);
    at += size;
    return id === NO_TRACE || id === NO_SPAN ? `${id.slice(0, -1)}1` : id;
}

module.exports = { randomHex };
