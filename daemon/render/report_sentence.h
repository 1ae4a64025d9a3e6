/*
 * The sentences of the report:
 *
 *       verdict  unknown: no share is large enough and ahead by enough: compute 45 %, memory
 *                0 %, io 55 %, lock 0 %
 *
 * Any thread.
 */
#ifndef DWELL_RENDER_REPORT_SENTENCE_H
#define DWELL_RENDER_REPORT_SENTENCE_H

#include "base/buf.h"

enum {
    REPORT_COLUMNS = 80,
    REPORT_INDENT = 11, /* of what stands beside a block's words */
};

/* A sentence beside its word, in as many lines as the page makes of it. */
void report_put_sentence(struct buf *out, const char *word, const char *sentence);

#endif
