/*
 * Puts a configuration that was read into force, or refuses it: as a whole, with every reason in the log,
 * in the counts of reloads and in /api/v1/status. It reads no files. Loop thread, in one go: no record is
 * taken under half of it.
 */
#ifndef DWELL_MAIN_APPLY_H
#define DWELL_MAIN_APPLY_H

#include "core/intake.h"
#include "io/directory.h"
#include "io/handover.h"
#include "io/reload.h"

/* What changes. All borrowed. */
struct apply {
    struct conf *conf; /* in force */
    struct conf_families *families;
    const struct directory *directory;
    struct intake *intake;
    struct judge *judge; /* to be asked when evidence decides */
    struct handover *handover;
    uint64_t wall_ns; /* the present */
};

/* Whether refused or not, `news` is then the caller's to free: of what was adopted it has the old values,
 * and whoever borrowed from those must have been told before that. */
enum reload_outcome main_apply(const struct apply *apply, struct reload_news *news);

/* Writes each line of `text` to the log. */
void main_log_lines(enum log_level level, const struct buf *text);

#endif
