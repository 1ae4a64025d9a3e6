/*
 * Datadog's way of sending StatsD through a stream: payloads of lines, each after its length (u32,
 * little-endian). Bytes may come in any split. It reads no line itself (wire/statsd does) and never
 * sees a socket. One thread at a time.
 */
#ifndef DWELL_WIRE_STATSD_FRAMES_H
#define DWELL_WIRE_STATSD_FRAMES_H

#include "wire/statsd.h"

enum { STATSD_LENGTH_BYTES = 4 };

struct statsd_frames {
    struct statsd lines;
    size_t max_frame_bytes;
    size_t missing; /* bytes of the payload that are still to come */
    size_t length_count;
    uint8_t length[STATSD_LENGTH_BYTES]; /* the bytes of it that have come */
};

void statsd_frames_init(struct statsd_frames *frames, size_t max_frame_bytes, size_t max_line_bytes,
                        const struct statsd_samples *samples);
void statsd_frames_fini(struct statsd_frames *frames);

/* The ceilings from the next payload and the next line on. */
void statsd_frames_limit(struct statsd_frames *frames, size_t max_frame_bytes,
                         size_t max_line_bytes);

/* Takes all of `bytes`. Returns 0, or the error that ends the connection: ERR_TOO_LONG, ERR_NOMEM. */
int statsd_frames_feed(struct statsd_frames *frames, struct str bytes,
                       const struct record_sink *sink);

/* End of input: 0, or ERR_FRAME when a payload was cut off. */
int statsd_frames_end(const struct statsd_frames *frames);

#endif
