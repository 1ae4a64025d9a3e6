/*
 * A snapshot as the body of a state file: proto/state.proto, from which a later daemon goes on. It keeps
 * all that was counted, and nothing of what can be computed from it. It writes no file, and reads none
 * (wire/state does). Any thread.
 *
 * Two forms were weighed.
 *
 *   A  The structures as they lie in memory, a page of series at a time: a copy is all that it takes.
 *   B  Messages of Protocol Buffers, field by field.
 *
 * B it is. A file of A is of one version of one build, and a change of a structure makes a daemon forget
 * what it was to keep; it is a third shorter to write and four times as long to read, since counts are
 * small numbers in wide fields. B has fields that may come and go, a description that other programs read,
 * and is what dwell already speaks on its sockets and to receivers: there is a writer (base/message) and a
 * reader that works in place (wire/field). The library's generated code was the third: it makes an object
 * of every message, and the daemon proper links it for nothing else.
 */
#ifndef DWELL_RENDER_STATE_H
#define DWELL_RENDER_STATE_H

#include "base/buf.h"
#include "core/beside.h"
#include "core/snapshot.h"

struct state_source {
    const struct snapshot *snapshot;
    const struct beside *beside; /* of the same moment */
    struct saved_moment moment;  /* but for what the other two know */
    uint64_t scrapes, http_errors;
    struct str journal; /* up to SAVED_JOURNAL_MAX bytes */
};

/* Appends the body. *ret_lasting is where in `out` those pieces begin that do not change by themselves:
 * when they are as they were, nothing has come. Returns 0, or the error that is also in out->err: ERR_LIMIT
 * past the buffer's ceiling, ERR_NOMEM. */
int state_render(const struct state_source *source, struct buf *out, size_t *ret_lasting);

#endif
