/*
 * What stands before the samples of a metric family in the two text formats: HELP, TYPE and UNIT,
 * and the spelling of bucket bounds. It renders no samples. Pure; any thread.
 */
#ifndef DWELL_RENDER_FAMILY_H
#define DWELL_RENDER_FAMILY_H

#include "core/family.h"
#include "render/exposition.h"

/* `prefix` and `name` together are the name of the samples. `help` needs no escaping. */
void family_render_head(enum exposition_format format, enum family_type type, struct str prefix,
                        const char *name, const char *help, struct buf *out);

/* The same for a client's family: help is escaped, and where there is none, something is said. */
void family_render_shape(enum exposition_format format, const struct family_shape *shape,
                         struct buf *out);

enum { FAMILY_BOUND_MAX = 48 };

/* Writes le="0.005", or le="+Inf"; returns the length. Whole numbers end in .0 in both formats, so
 * that both give the same series. */
size_t family_write_bound(double bound, char out[FAMILY_BOUND_MAX]);

#endif
