/*
 * Happy path:
 *   1. statsd_feed finds the newlines; a whole line is read where it lies (wire/statsd_line);
 *   2. a part of a line at the end is kept in `partial`, completed by a later feed, read there.
 *
 * What can fail: a line is longer than the ceiling. It is rejected as soon as that is seen, once, and
 * skipped up to its newline or the end. There is no memory for a part: ERR_NOMEM, and the input ends.
 * Everything else concerns one line alone and is wire/statsd_line's.
 */
#include "wire/statsd.h"

#include "base/err.h"

enum { KEEP_BYTES = 4096 }; /* buffers of idle connections above it are given back */

void statsd_init(struct statsd *statsd, size_t max_line_bytes, const struct statsd_samples *samples)
{
    *statsd =
        (struct statsd){.max_line_bytes = max_line_bytes, .memory.samples = samples, .line = 1};
    buf_init(&statsd->partial, max_line_bytes);
}

void statsd_fini(struct statsd *statsd)
{
    buf_fini(&statsd->partial);
}

void statsd_limit(struct statsd *statsd, size_t max_line_bytes)
{
    size_t begun = statsd->begun_max_bytes;
    if (statsd->max_line_bytes > begun) {
        begun = statsd->max_line_bytes;
    }
    begun = statsd->partial.len == 0 ? 0 : begun;
    statsd->begun_max_bytes = begun;
    statsd->max_line_bytes = max_line_bytes;
    statsd->partial.max = begun > max_line_bytes ? begun : max_line_bytes;
}

/* How much more the line at hand may hold. */
static size_t room(const struct statsd *statsd)
{
    size_t begun = statsd->partial.len == 0 ? 0 : statsd->begun_max_bytes;
    return (begun > statsd->max_line_bytes ? begun : statsd->max_line_bytes) - statsd->partial.len;
}

static void refuse_length(const struct statsd *statsd, const struct record_sink *sink)
{
    struct rejection rejection = {.err = ERR_TOO_LONG, .line = statsd->line};
    sink->reject(sink->ctx, &rejection);
}

static void forget(struct buf *partial)
{
    if (partial->cap > KEEP_BYTES) {
        buf_fini(partial);
    }
    buf_clear(partial);
}

/* A whole line, or the rest of one. */
static int take_line(struct statsd *statsd, struct str rest, const struct record_sink *sink)
{
    struct buf *partial = &statsd->partial;
    int err = 0;
    if (statsd->discarding) {
        statsd->discarding = false;
    } else if (rest.len > room(statsd)) {
        refuse_length(statsd, sink);
        forget(partial);
    } else if (partial->len > 0) {
        buf_append(partial, rest.ptr, rest.len);
        err = partial->err;
        if (err == 0) {
            struct str line = {partial->data, partial->len};
            statsd_line_read(&statsd->memory, line, statsd->line, sink);
        }
        forget(partial);
    } else {
        statsd_line_read(&statsd->memory, rest, statsd->line, sink);
    }
    statsd->line++;
    return err;
}

/* Takes lines in short, as far as that goes. */
static inline void take_usual_lines(struct statsd *statsd, struct str *bytes,
                                    const struct record_sink *sink)
{
    if (statsd->partial.len == 0 && !statsd->discarding && sink->spelled != NULL) {
        const char *rest = statsd_line_take_usual(&statsd->memory, *bytes, statsd->max_line_bytes,
                                                  &statsd->line, sink);
        bytes->len -= (size_t)(rest - bytes->ptr);
        bytes->ptr = rest;
    }
}

/* Takes every line that has its newline; `bytes` are then the rest. */
static int take_lines(struct statsd *statsd, struct str *bytes, const struct record_sink *sink)
{
    int err = 0;
    while (err == 0 && bytes->len > 0) {
        take_usual_lines(statsd, bytes, sink);
        const char *newline = memchr(bytes->ptr, '\n', bytes->len);
        if (newline == NULL) {
            break;
        }
        size_t len = (size_t)(newline - bytes->ptr);
        err = take_line(statsd, (struct str){bytes->ptr, len}, sink);
        bytes->ptr += len + 1;
        bytes->len -= len + 1;
    }
    return err;
}

/* The part of a line at the end of what has come. */
static int keep(struct statsd *statsd, struct str part, const struct record_sink *sink)
{
    struct buf *partial = &statsd->partial;
    if (statsd->discarding || part.len == 0) {
        return 0;
    }
    if (part.len > room(statsd)) {
        refuse_length(statsd, sink);
        forget(partial);
        statsd->discarding = true;
        return 0;
    }
    buf_append(partial, part.ptr, part.len);
    return partial->err;
}

int statsd_feed(struct statsd *statsd, struct str bytes, const struct record_sink *sink)
{
    int err = take_lines(statsd, &bytes, sink);
    return err != 0 ? err : keep(statsd, bytes, sink);
}

int statsd_feed_last(struct statsd *statsd, struct str bytes, const struct record_sink *sink)
{
    int err = take_lines(statsd, &bytes, sink);
    if (err == 0 && (bytes.len > 0 || statsd->partial.len > 0 || statsd->discarding)) {
        err = take_line(statsd, bytes, sink);
    }
    return err;
}
