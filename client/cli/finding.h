/*
 * What dwell doctor finds, a row for each check: what was looked at, how it is, what was found, and what
 * to do about it. It looks at nothing itself. One thread at a time.
 *
 *     STATE    CHECK         FOUND
 *     ok       directory     mode 0700, of user 0
 *     fail     ingest.sock   nobody listens: it is left of a daemon that was killed
 *                            → Start dwelld: it replaces what nobody listens on.
 *
 * A check that is ok needs nothing done; every other one says what. What could not be looked at is unknown,
 * and not held against the daemon.
 */
#ifndef DWELL_CLI_FINDING_H
#define DWELL_CLI_FINDING_H

#include "cli/text.h"

enum finding_state { FINDING_OK, FINDING_WARN, FINDING_FAIL, FINDING_UNKNOWN, FINDING_STATE_COUNT };

enum {
    FINDINGS_MAX = 128,         /* rows; past it what is found is left out, and said so */
    FINDING_TEXT_MAX = 4 << 10, /* bytes: paths and numbers; what is longer is cut */
};

struct finding {
    const char *name; /* constant */
    enum finding_state state;
    bool utf8;
    struct buf found; /* owned, as `mend` */
    struct buf mend;  /* one sentence or command */
};

struct findings {
    struct finding rows[FINDINGS_MAX + 1]; /* the last one is for what finds no place */
    size_t count;
    bool utf8; /* what is found may be shown in it */
    bool is_cut;
};

void findings_init(struct findings *findings, bool utf8);
void findings_fini(struct findings *findings);

/* The next row, which is ok until something else is written into it. Never NULL; valid until the next
 * call. */
struct finding *finding_add(struct findings *findings, const char *name);

/* Appends to what was found, and unless the row is ok says what to do. What of it comes from outside is
 * shown as text_safe has it. */
void finding_say(struct finding *finding, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void finding_mend(struct finding *finding, enum finding_state state, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* How many rows are in this state. */
size_t findings_count(const struct findings *findings, enum finding_state state);

/* True when there is nothing to mend. */
bool findings_are_well(const struct findings *findings);

/* As text within `columns`, and as {"well", "checks": [{"name", "state", "found", "mend"}]}. */
void findings_render(const struct findings *findings, size_t columns, struct buf *out);
void findings_render_json(const struct findings *findings, struct buf *out);

#endif
