/*
 * Names as Prometheus takes them for metrics and labels: letters, digits and underscores, no digit
 * first. It knows no reserved words. Any thread may call it.
 */
#ifndef DWELL_BASE_NAME_H
#define DWELL_BASE_NAME_H

#include "base/str.h"

/* Whether a byte may stand in a name, first or later. */
static inline bool name_takes(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* Writes the text as a name: every other character becomes one underscore, and one is put before a
 * digit that comes first. `out` has room for len + 1 bytes. Returns the length. */
size_t name_sanitise(struct str text, char *out);

/* UTF-8 without a zero byte: what a name or the value of a label may be made from. */
bool name_is_text(struct str text);

#endif
