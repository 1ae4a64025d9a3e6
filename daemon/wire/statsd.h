/*
 * Cuts StatsD and DogStatsD into lines and has each read (wire/statsd_line): the lines of a stream, or
 * of something that is complete in itself, as a datagram or one of Datadog's payloads. Bytes may come
 * in any split. It does not answer, and never sees a socket. One thread at a time.
 */
#ifndef DWELL_WIRE_STATSD_H
#define DWELL_WIRE_STATSD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "core/record.h"
#include "wire/statsd_line.h"

struct statsd {
    size_t max_line_bytes; /* without the newline */
    size_t
        begun_max_bytes; /* the ceiling of the line in `partial`, if it began under a higher one */
    struct buf partial;  /* a line of which only a part has come */
    struct statsd_memory memory;
    bool discarding; /* an over-long line is being skipped up to its newline */
    uint64_t line;   /* of the line being read, from 1 */
};

/* `samples` is borrowed for its life; NULL: there are none. */
void statsd_init(struct statsd *statsd, size_t max_line_bytes,
                 const struct statsd_samples *samples);
void statsd_fini(struct statsd *statsd);

/* The ceiling from the next line on. */
void statsd_limit(struct statsd *statsd, size_t max_line_bytes);

/* Takes all of `bytes`, hands over the records of every whole line, keeps the rest. A bad line is
 * rejected through the sink and the next one goes on. Returns 0 or ERR_NOMEM. */
int statsd_feed(struct statsd *statsd, struct str bytes, const struct record_sink *sink);

/* As statsd_feed with the last bytes, which may be none: an unterminated line is a line, read where
 * it lies if all of it is there. More may follow, as a new input whose lines are counted on. */
int statsd_feed_last(struct statsd *statsd, struct str bytes, const struct record_sink *sink);

#endif
