#include "wire/expects.h"

#include <stdio.h>

_Static_assert(RECORD_NAME_MAX == 256, "as said below");

/* A number between the two parts is so many times the maximum; 0: there is none. */
static const struct {
    const char *before;
    double times;
    const char *after;
} phrases[] = {
    [KIND_FIGURE] = {"a number from 0 to ", 1, ""},
    [KIND_NAME] = {"a text of 1 to 256 bytes", 0, ""},
    [KIND_TEXT] = {"a text of at most ", 1, " bytes"},
    [KIND_INTEGER] = {"a whole number, 0 or more", 0, ""},
    [KIND_ID] = {"a text of ", 2, " hex digits"},
    [KIND_TIMESTAMP] = {"a time such as 2026-01-31T12:00:00Z", 0, ""},
    [KIND_ERROR] = {"true, false or a text", 0, ""},
    [KIND_LABELS] = {"an object of texts", 0, ""},
    [KIND_ATTRIBUTES] = {"an object of texts, booleans and numbers", 0, ""},
    [KIND_VALUE] = {"a number", 0, ""},
    [KIND_DELTA] = {"a number", 0, ""},
    [KIND_AGGREGATION] = {"last, sum, max, min or per_pid", 0, ""},
    [KIND_SPAN_KIND] = {"internal, server, client, producer or consumer", 0, ""},
    [KIND_SAMPLED] = {"true or false", 0, ""},
    [KIND_FLAG] = {"true or false", 0, ""},
    [KIND_EVENTS] = {"a list of objects with name, time_unix_nano and attributes", 0, ""},
    [KIND_LINKS] = {"a list of objects with trace_id, span_id and attributes", 0, ""},
    [KIND_STATUS] = {"an object with code and message", 0, ""},
    [KIND_TYPE] = {"a text", 0, ""},
};

struct str expects_say(enum kind kind, double max, char words[EXPECTS_BYTES])
{
    const char *before = phrases[kind].before;
    double times = phrases[kind].times;
    int len;
    if (kind == KIND_INTEGER && max > 0) {
        len = snprintf(words, EXPECTS_BYTES, "a whole number from 1 to %.10g", max);
    } else if (times > 0) {
        len = snprintf(words, EXPECTS_BYTES, "%s%.10g%s", before, times * max, phrases[kind].after);
    } else {
        len = snprintf(words, EXPECTS_BYTES, "%s", before);
    }
    return (struct str){words, (size_t)len}; /* all are far shorter than EXPECTS_BYTES */
}
