/*
 * A sink that writes down what a decoder says, one line of text for each call, so that two runs, or
 * a run and a file, can be compared. It also holds the decoder to the sink's contract: a refused
 * record is rejected next, with the same reason; a batch is told before its records.
 * For unit tests and fuzz targets: it takes its memory from malloc and aborts when a rule is broken.
 *
 *   batch client_id=00…0f sequence=7 dropped=2 constitutional_hash="cdd0…"
 *   sample "resnet50" ref=1 execution_time_ms=12.5 error error_text="oom" labels={"env"="prod"}
 *   member "users" member="alice" attributes={"plan"="free"}
 *   observe "http.time" value=12.5 weight=10 unit="ms" attributes={"code"="200"}
 *   span "GET /" trace_id=00…0f span_id=00…07 start=1 end=2 status=error attributes={"a"="b"}
 *   budget "layer3_policy" elapsed_ms=12.5 operation="evaluate" request_id="r1"
 *   hello service_name="api" pid=12 sequence=0
 *   flush
 *   goodbye sequence=9
 *   unknown "Sample.30"
 *   ignored event
 *   reject missing_key key="model_name" near="modle_name" line=3 control
 *
 * Parts that are not there are not written. Bytes of texts that are not printable ASCII, quotes and
 * backslashes are written as \xNN; an empty label list is not written.
 */
#ifndef DWELL_TESTS_WIRE_RECORDER_H
#define DWELL_TESTS_WIRE_RECORDER_H

#include <stddef.h>

#include "core/record.h"

struct recorder {
    struct record_sink sink; /* hand this to the decoder */
    char *text;              /* owned, terminated; "" at first */
    size_t len;
    size_t cap;
    size_t batches;
    size_t accepted; /* samples and metrics */
    size_t controls; /* accepted hello, flush and goodbye */
    size_t rejected;
    size_t unknown;
    size_t ignored;
    int refuse;    /* 0, or the code with which records are refused */
    unsigned owed; /* refused records that must be rejected next */
};

void recorder_init(struct recorder *recorder);
void recorder_fini(struct recorder *recorder);

/* Forgets what was written and counted, keeps `refuse`. */
void recorder_clear(struct recorder *recorder);

/* Nothing may be pending: call after each decoder call. */
void recorder_check(const struct recorder *recorder);

/* Adds a text between quotes, what is not printable in it as \xNN. */
void recorder_quote(struct recorder *recorder, struct str text);

/* Adds a formatted text of one's own. */
void recorder_print(struct recorder *recorder, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Aborts with a message when `holds` is false. */
#define WIRE_REQUIRE(holds) wire_require((holds), #holds, __FILE__, __LINE__)
void wire_require(bool holds, const char *condition, const char *file, int line);

#endif
