// Every ceiling of the client, and why it is where it is. The page of the package says the public ones.
"use strict";

exports.VERSION = "0.1.0";
exports.CONSTITUTIONAL_HASH = "cdd01ef066bc6cf2"; // of budgets; a hello says one only if asked to

exports.BATCH_BYTES = 65536; // a whole frame: what the daemon's contract wants at most
exports.HEAD_BYTES = 64; // length, client_id, first_sequence, dropped: at most 4 + 18 + 9 + 9
exports.RECORD_BYTES = 16384; // of one record: four of any kind fit into a batch
exports.BUFFER_BYTES = 262144; // what waits, unless said otherwise: some 8000 samples
exports.BUFFER_BYTES_MIN = 131072; // one batch on its way, and one that fills
exports.BUFFER_BYTES_MAX = 16777216;

exports.FLUSH_MS = 50; // longest wait of a record, if the event loop runs and the socket takes it
exports.BACKOFF_MIN_MS = 10; // a daemon that restarts is back in less than a second
exports.BACKOFF_MAX_MS = 5000;
exports.STEADY_MS = 1000; // a connection that lived so long was a good one
exports.AWAITED_RETRY_MS = 20; // while flush() or close() wait for a daemon
exports.KEEP_MS = 10000; // records wait so long for a daemon: its windows go by the time of arrival
exports.CLOSE_TIMEOUT_MS = 1000;
exports.TIMEOUT_MAX_MS = 2147483647; // of a timer of Node's: a longer one fires at once

exports.CLIENTS_MAX = 16; // open at once in a thread; more are a mistake in a loop
exports.MODELS_MAX = 1024; // handles that are found again by name; further ones work and are not kept
exports.REPLY_BYTES = 4096; // the longest reply that is understood
exports.PATH_BYTES = 107; // of a socket's path, without its zero byte
exports.HELLO_TEXT_BYTES = 256; // the daemon refuses a hello with a longer text
exports.NAME_BYTES = 256; // of a span's name: a longer one is cut

exports.EVIDENCE_PERCENT = 1; // of the time of a model's inferences that evidence may cost
exports.COST_MARGIN = 1.25; // a usual cost is known of the readings before only
exports.COST_OUTLIER = 4; // a reading that was preempted counts as this many usual ones
exports.CALIBRATIONS = 5;

exports.LABELS_MAX = 16; // of a sample
exports.ATTRIBUTES_MAX = 32; // of a metric
exports.SPAN_PARTS_MAX = 128; // attributes, events, links; attributes of these
exports.SPAN_RESERVE_BYTES = 64; // of a record, kept for what is written behind attributes
exports.LIST_MAX = 1024; // values of a list in an attribute; more than fit into a span with text
exports.STACK_BYTES = 4096; // of an exception's stack trace; the first frames are those that matter
exports.TRACE_STATE_BYTES = 512; // W3C Trace Context, section 3.3.1.5

exports.BUDGET_LAYERS_MAX = 16;
exports.BUDGET_NAME_BYTES = 62; // of a layer
exports.BUDGET_REQUEST_ID_BYTES = 128;
exports.BUDGET_MS_MIN = 0.001;
exports.BUDGET_MS_MAX = 14400000; // 4 h

exports.ROUTES_MAX = 1000; // series that a middleware keeps; requests past them count as "(other)"
