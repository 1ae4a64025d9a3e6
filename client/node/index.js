// The package `dwell`: a client of the sidecar dwelld. See README.md and index.d.ts.
"use strict";

const { CONSTITUTIONAL_HASH, VERSION } = require("./lib/limits.js");
const { LayerTimeoutError } = require("./lib/budget.js");
const { Dwell } = require("./lib/dwell.js");

// For who needs one client with default options: it connects when it is first used.
const dwell = new Dwell();

module.exports = { Dwell, dwell, LayerTimeoutError, CONSTITUTIONAL_HASH, VERSION };
