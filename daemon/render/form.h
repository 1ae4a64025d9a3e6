/*
 * A format of /metrics, as functions: whoever has samples (render/models, families, own) says each
 * thing once, and the format writes it. It does not know whose samples they are and remembers nothing.
 * Pure; any thread.
 *
 *     family    head | samples of series 1 | samples of series 2 | …
 *     samples   labels | number or histogram
 *
 * Heads and labels change never, so they are rendered once and handed in as bytes of the format. The
 * bytes of a scalar end with its number, unless something else is shown that stands behind it; a
 * number alone can so be exchanged.
 */
#ifndef DWELL_RENDER_FORM_H
#define DWELL_RENDER_FORM_H

#include "core/buckets.h"
#include "core/family.h"
#include "render/exposition.h"

enum { FORM_BOUND_MAX = 48, FORM_NUMBER_MAX = 33 };

/* A bound of a classic bucket, and what the text formats put behind the labels: ,le="0.005"} */
struct form_bound {
    double bound;
    uint32_t len;
    char text[FORM_BOUND_MAX + 3];
};

/* What a series shows beside its labels, all of it borrowed. */

struct form_scalar {
    double number;
    const struct label *more; /* one more label, of a word that needs no escaping; or NULL */
    const struct exemplar_mark *mark; /* of a counter; NULL: none */
    uint64_t created_wall_ns;         /* 0: not to be shown */
};

/* Counts of native buckets from `first` on, by Prometheus' numbers (core/buckets.h). */
struct form_run {
    int32_t first;
    uint32_t len;
    const uint64_t *counts;
};

struct form_native {
    int schema;
    double zero_threshold;
    uint64_t zero;
    struct form_run positive;
    struct form_run negative;
};

struct form_histogram {
    const struct form_bound *bounds; /* bound_count and one more, +Inf */
    uint32_t bound_count;
    const uint64_t *counts;            /* likewise; not cumulative */
    const struct exemplar_mark *marks; /* likewise; NULL: none */
    uint64_t count;
    double sum;
    const struct form_native *native; /* NULL: there are classic buckets only */
    uint64_t created_wall_ns;         /* 0: not to be shown */
};

/* How a format tells when a series began. */
enum form_created {
    FORM_CREATED_NEVER,
    FORM_CREATED_SERIES, /* as a series of its own, which not everybody wants: metrics.created_series */
    FORM_CREATED_FIELD, /* beside the number, which costs a scraper nothing */
};

struct form {
    bool exemplars; /* shown */
    bool target;    /* target_info is */
    bool native;    /* native buckets are */
    enum form_created created;
    const char *end; /* of an answer */

    /* HELP, TYPE, UNIT. Where the family has no help, something is said. */
    void (*head)(const struct form *form, const struct family_shape *shape, struct buf *out);

    /* Begins a family in the answer, whose samples, `len` bytes, are to follow. */
    void (*begin)(const struct form *form, const struct family_shape *shape, struct str head,
                  size_t len, struct buf *out);

    /* One more of a series' labels. */
    void (*label)(const char *name, struct str value, struct buf *labels);

    /* Returns where the number begins, counted from the first byte. */
    uint32_t (*scalar)(const struct form *form, const struct family_shape *shape, struct str labels,
                       const struct form_scalar *scalar, struct buf *out);

    /* Writes the number of a scalar and what ends it; returns the length. */
    size_t (*number)(double number, char out[FORM_NUMBER_MAX]);

    void (*histogram)(const struct form *form, const struct family_shape *shape, struct str labels,
                      const struct form_histogram *histogram, struct buf *out);
};

extern const struct form *const forms[EXPOSITION_FORMAT_COUNT];

/* Fills `count` bounds, each divided by `unit`, and +Inf. */
void form_bounds(const double *bounds, uint32_t count, double unit, struct form_bound *ret);

/* Writes le="0.005", or le="+Inf"; returns the length. Whole numbers end in .0 in both text formats,
 * so that both give the same series, and it is what Prometheus makes of a bound in protobuf. */
size_t form_write_bound(double bound, char out[FORM_BOUND_MAX]);

/* What the samples of a scalar add to the family's name: "_total", … */
struct str form_suffix(enum family_type type);

/* What HELP says. */
struct str form_help(const struct family_shape *shape);

/* One of our own families. `name` is that of its samples; help and unit are taken from constants. */
struct family_shape form_shape(enum family_type type, struct str name, const char *help);

#endif
