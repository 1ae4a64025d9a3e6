/*
 * The lines of one series of a client's family, in the two text formats. It remembers nothing.
 * Pure; any thread.
 */
#ifndef DWELL_RENDER_FAMILY_TEXT_H
#define DWELL_RENDER_FAMILY_TEXT_H

#include "render/family.h"

/* ,le="0.005"} and a blank: what follows the labels of a bucket. */
struct family_bound {
    uint32_t len;
    char text[FAMILY_BOUND_MAX + 3];
};

/* What the series of a family have in common. Borrowed. */
struct family_style {
    const struct family_shape *shape;
    const struct family_bound *bounds; /* shape->bound_count + 1; of a histogram */
    struct str hash_label;             /* rendered, or empty */
    bool open_metrics;                 /* show exemplars */
    bool created;                      /* and _created */
};

/* Fills `shape->bound_count + 1` bounds. */
void family_text_bounds(const struct family_shape *shape, struct family_bound *ret);

/* What one series is. */
struct family_subject {
    const struct series_id *id;
    union series_value value;
    const struct exemplar_mark *mark; /* of a counter; NULL: none */
};

/* Appends its lines. `scratch` is emptied and used. *ret_value says where the number of a scalar
 * begins, counted from the first line. */
void family_text_render(const struct family_style *style, const struct family_subject *subject,
                        struct buf *scratch, struct buf *out, uint32_t *ret_value);

/* Writes a scalar's number and what ends its line when it has no exemplar; room for NUM_DOUBLE_MAX + 1
 * bytes. Returns the length. */
size_t family_text_number(double number, char *out);

#endif
