/*
 * What an OTLP backend was last told of each series, so that with delta temporality it is told the
 * difference. It does not render and does not know what a series is: sets, places in them and serials
 * are the caller's. One thread.
 *
 *     find ──> the cell of what was told        render: the difference to it
 *     change ──> into the changes of the piece that tells it
 *     commit: the piece was delivered, its changes become cells      abort: it was not, nothing changes
 *
 * A cell is that of one serial, so who takes a place after another begins anew. Cells are as many as
 * the places of the caller's sets: otlp_delta_trim gives back those past the end. After a restart of
 * the process all begins anew.
 */
#ifndef DWELL_RENDER_OTLP_DELTA_H
#define DWELL_RENDER_OTLP_DELTA_H

#include "render/otlp_histogram.h"

/* Who a series is. */
struct otlp_series {
    uint32_t set;
    uint32_t place;
    uint64_t serial; /* never 0; never the same for two series that had one place */
};

struct otlp_cell {
    uint64_t serial;          /* 0: nothing was told */
    uint64_t wall_ns;         /* time of the last point */
    double number;            /* of a scalar */
    struct otlp_state *state; /* of a histogram; owned */
};

struct otlp_change {
    struct otlp_series series;
    struct otlp_cell cell;
};

/* Of one piece; zero is empty. */
struct otlp_changes {
    struct otlp_change *list; /* owned */
    uint32_t count;
    uint32_t room;
};

struct otlp_set {
    struct otlp_cell *cells; /* owned */
    uint32_t room;
};

/* Zero is empty. */
struct otlp_delta {
    struct otlp_set *sets; /* owned */
    uint32_t room;
};

void otlp_delta_fini(struct otlp_delta *delta);

/* What was told of the series, or NULL. Borrowed until the next commit or trim. */
const struct otlp_cell *otlp_delta_find(const struct otlp_delta *delta,
                                        const struct otlp_series *series);

/* Notes what a piece tells. Takes the cell's state, also when it fails. Returns 0 or ERR_NOMEM. */
int otlp_delta_change(struct otlp_delta *delta, const struct otlp_series *series,
                      const struct otlp_cell *cell, struct otlp_changes *changes);

/* Forgets changes from the count-th on: what they are of was taken out of the piece again. */
void otlp_changes_cut(struct otlp_changes *changes, uint32_t count);

/* End of changes, which are empty after. Neither can fail. */
void otlp_delta_commit(struct otlp_delta *delta, struct otlp_changes *changes);
void otlp_delta_abort(struct otlp_changes *changes);

/* The set has so many places now. */
void otlp_delta_trim(struct otlp_delta *delta, uint32_t set, uint32_t places);

#endif
