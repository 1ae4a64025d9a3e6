/*
 * What stands before the samples of a metric family in the two text formats: HELP, TYPE and UNIT,
 * and the spelling of bucket bounds. It renders no samples. Pure; any thread.
 */
#ifndef DWELL_RENDER_FAMILY_H
#define DWELL_RENDER_FAMILY_H

#include "render/exposition.h"

enum family_type {
    FAMILY_COUNTER, /* the name ends in _total */
    FAMILY_GAUGE,
    FAMILY_HISTOGRAM,
    FAMILY_INFO, /* the name ends in _info; a gauge for text 0.0.4 */
    FAMILY_TYPE_COUNT
};

/* `prefix` and `name` together are the name of the samples. `help` needs no escaping. */
void family_render_head(enum exposition_format format, enum family_type type, struct str prefix,
                        const char *name, const char *help, struct buf *out);

enum { FAMILY_BOUND_MAX = 48 };

/* Writes le="0.005", or le="+Inf"; returns the length. Whole numbers end in .0 in both formats, so
 * that both give the same series. */
size_t family_write_bound(double bound, char out[FAMILY_BOUND_MAX]);

#endif
