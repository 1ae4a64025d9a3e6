/*
 * Happy path:
 *   1. four bytes of length are gathered;
 *   2. as many bytes go to the reader of lines as they come: nothing is kept but a part of a line;
 *   3. with the last of them the payload ends, and so does its last line.
 *
 *      | len | len | len | len | a:1|c \n b:2|c |      len: u32, little-endian, of the payload alone
 *
 * What can fail: a length above the ceiling (ERR_TOO_LONG, told from the length alone), no memory for
 * a part of a line (ERR_NOMEM), the end of input within a payload (ERR_FRAME). Each ends the
 * connection; the lines that were whole before count.
 */
#include "wire/statsd_frames.h"

#include "base/err.h"

void statsd_frames_init(struct statsd_frames *frames, size_t max_frame_bytes, size_t max_line_bytes,
                        const struct statsd_samples *samples)
{
    *frames = (struct statsd_frames){.max_frame_bytes = max_frame_bytes};
    statsd_init(&frames->lines, max_line_bytes, samples);
}

void statsd_frames_fini(struct statsd_frames *frames)
{
    statsd_fini(&frames->lines);
}

void statsd_frames_limit(struct statsd_frames *frames, size_t max_frame_bytes,
                         size_t max_line_bytes)
{
    frames->max_frame_bytes = max_frame_bytes; /* only ever compared with a new length */
    statsd_limit(&frames->lines, max_line_bytes);
}

static size_t read_length(const uint8_t bytes[STATSD_LENGTH_BYTES])
{
    return (size_t)bytes[0] | (size_t)bytes[1] << 8 | (size_t)bytes[2] << 16 |
           (size_t)bytes[3] << 24;
}

static struct str take(struct str *bytes, size_t wanted)
{
    struct str taken = {bytes->ptr, wanted < bytes->len ? wanted : bytes->len};
    bytes->ptr += taken.len;
    bytes->len -= taken.len;
    return taken;
}

/* Moves on in the length; with its last byte the payload begins. */
static int feed_length(struct statsd_frames *frames, struct str *bytes)
{
    struct str part = take(bytes, STATSD_LENGTH_BYTES - frames->length_count);
    memcpy(frames->length + frames->length_count, part.ptr, part.len);
    frames->length_count += part.len;
    if (frames->length_count < STATSD_LENGTH_BYTES) {
        return 0;
    }
    frames->length_count = 0;
    frames->missing = read_length(frames->length);
    return frames->missing > frames->max_frame_bytes ? ERR_TOO_LONG : 0;
}

static int feed_payload(struct statsd_frames *frames, struct str *bytes,
                        const struct record_sink *sink)
{
    struct str part = take(bytes, frames->missing);
    frames->missing -= part.len;
    return frames->missing == 0 ? statsd_feed_last(&frames->lines, part, sink)
                                : statsd_feed(&frames->lines, part, sink);
}

int statsd_frames_feed(struct statsd_frames *frames, struct str bytes,
                       const struct record_sink *sink)
{
    int err = 0;
    while (err == 0 && bytes.len > 0) {
        err =
            frames->missing == 0 ? feed_length(frames, &bytes) : feed_payload(frames, &bytes, sink);
    }
    return err;
}

int statsd_frames_end(const struct statsd_frames *frames)
{
    return frames->missing == 0 && frames->length_count == 0 ? 0 : ERR_FRAME;
}
