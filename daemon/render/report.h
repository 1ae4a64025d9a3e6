/*
 * A snapshot as text for people: GET /report. Every model with its figures and verdict, then the
 * table of decisions, then the one for the whole service. Plain text in UTF-8, no colours; names
 * cannot forge lines. It decides nothing that core/classify has not decided.
 * Pure; any thread, one scratch for each thread.
 */
#ifndef DWELL_RENDER_REPORT_H
#define DWELL_RENDER_REPORT_H

#include "base/buf.h"
#include "core/profile.h"

struct report_options {
    struct str display_name; /* service.display_name, of the title */
    struct str constitutional_hash;
};

/* Appends the report; memory and ceiling are told by out->err. */
void report_render(const struct snapshot *snapshot, const struct report_options *options,
                   struct profile_scratch *scratch, struct buf *out);

#endif
