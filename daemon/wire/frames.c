/*
 * Happy path:
 *   1. frames_feed is given what a read brought;
 *   2. every frame that lies in it as a whole is decoded where it lies;
 *   3. a part of a frame at the end is copied to `partial`;
 *   4. the next feed adds what is missing there, decodes it from there, and goes on with 2; or the
 *      caller steals the part before, and it comes again in front of what follows.
 *
 * What can fail: a length above the ceiling (ERR_TOO_LONG, told from the length alone, before
 * anything is kept), a frame that is no Batch (ERR_FRAME), no memory for the copy (ERR_NOMEM). Each
 * ends the connection; what was decoded before counts. `partial` grows with the bytes that have
 * come, never by the length that a peer announces.
 *
 *      | len | len | len | len | Batch … |      len: u32, little-endian, of the Batch alone
 */
#include "wire/frames.h"

#include "base/err.h"

enum {
    LENGTH_BYTES = 4,
    KEEP_BYTES = 128 * 1024, /* idle connections give larger buffers back; clients send 64 kB */
};

void frames_init(struct frames *frames, size_t max_frame_bytes)
{
    frames->max_frame_bytes = max_frame_bytes;
    frames->begun_bytes = 0;
    buf_init(&frames->partial, LENGTH_BYTES + max_frame_bytes);
}

void frames_fini(struct frames *frames)
{
    buf_fini(&frames->partial);
}

static size_t read_length(const char *at)
{
    const uint8_t *bytes = (const uint8_t *)at;
    return (size_t)bytes[0] | (size_t)bytes[1] << 8 | (size_t)bytes[2] << 16 |
           (size_t)bytes[3] << 24;
}

void frames_limit(struct frames *frames, size_t max_frame_bytes)
{
    struct buf *partial = &frames->partial;
    size_t begun = partial->len < LENGTH_BYTES ? 0 : read_length(partial->data);
    frames->max_frame_bytes = max_frame_bytes;
    frames->begun_bytes = begun;
    partial->max = LENGTH_BYTES + (begun > max_frame_bytes ? begun : max_frame_bytes);
}

static bool is_too_long(const struct frames *frames, size_t len)
{
    return len > frames->max_frame_bytes && len > frames->begun_bytes;
}

static int keep(struct frames *frames, struct str *bytes, size_t len)
{
    buf_append(&frames->partial, bytes->ptr, len);
    bytes->ptr += len;
    bytes->len -= len;
    return frames->partial.err;
}

/* Adds to a kept part until it holds `needed` bytes or the input ends. */
static int fill(struct frames *frames, struct str *bytes, size_t needed)
{
    size_t missing = frames->partial.len < needed ? needed - frames->partial.len : 0;
    return keep(frames, bytes, missing < bytes->len ? missing : bytes->len);
}

static void forget(struct frames *frames)
{
    if (frames->partial.cap > KEEP_BYTES) {
        buf_fini(&frames->partial);
    }
    buf_clear(&frames->partial);
}

/* A whole frame, with its length in front. Whatever comes after it has begun under the present ceiling. */
static int decode(struct frames *frames, struct batch_decoder *decoder, struct str frame,
                  const struct record_sink *sink)
{
    struct str batch = {frame.ptr + LENGTH_BYTES, frame.len - LENGTH_BYTES};
    frames->begun_bytes = 0;
    int err = batch_decode(decoder, batch, sink);
    if (sink->raw != NULL) {
        sink->raw(sink->ctx, frame);
    }
    return err;
}

/* Goes on with the frame of which a part was kept. */
static int finish_kept(struct frames *frames, struct batch_decoder *decoder, struct str *bytes,
                       const struct record_sink *sink)
{
    int err = fill(frames, bytes, LENGTH_BYTES);
    if (err != 0 || frames->partial.len < LENGTH_BYTES) {
        return err;
    }
    size_t len = read_length(frames->partial.data);
    if (is_too_long(frames, len)) {
        return ERR_TOO_LONG;
    }
    err = fill(frames, bytes, LENGTH_BYTES + len);
    if (err != 0 || frames->partial.len < LENGTH_BYTES + len) {
        return err;
    }
    err = decode(frames, decoder, (struct str){frames->partial.data, LENGTH_BYTES + len}, sink);
    forget(frames);
    return err;
}

int frames_feed(struct frames *frames, struct batch_decoder *decoder, struct str bytes,
                const struct record_sink *sink)
{
    int err = 0;
    if (frames->partial.len > 0) {
        err = finish_kept(frames, decoder, &bytes, sink);
    }
    while (err == 0 && bytes.len >= LENGTH_BYTES) {
        size_t len = read_length(bytes.ptr);
        if (is_too_long(frames, len)) {
            return ERR_TOO_LONG;
        }
        if (bytes.len - LENGTH_BYTES < len) {
            break;
        }
        err = decode(frames, decoder, (struct str){bytes.ptr, LENGTH_BYTES + len}, sink);
        bytes.ptr += LENGTH_BYTES + len;
        bytes.len -= LENGTH_BYTES + len;
    }
    return err != 0 ? err : keep(frames, &bytes, bytes.len);
}

size_t frames_kept(const struct frames *frames)
{
    return frames->partial.len;
}

void frames_steal_kept(struct frames *frames, char *out)
{
    if (frames->partial.len > 0) {
        memcpy(out, frames->partial.data, frames->partial.len);
        forget(frames);
    }
}

int frames_end(const struct frames *frames)
{
    return frames->partial.len == 0 ? 0 : ERR_FRAME;
}
