/*
 * Cuts a stream into frames, u32 little-endian length and that many bytes, and decodes each.
 * Bytes may come in any split. It never sees a socket. One thread at a time.
 */
#ifndef DWELL_WIRE_FRAMES_H
#define DWELL_WIRE_FRAMES_H

#include "base/buf.h"
#include "wire/batch.h"

struct frames {
    size_t max_frame_bytes;
    size_t
        begun_bytes; /* of the frame that had begun when the ceiling changed; it may end. Else 0 */
    struct buf partial; /* a frame, with its length, of which only a part has come */
};

void frames_init(struct frames *frames, size_t max_frame_bytes);
void frames_fini(struct frames *frames);

/* The ceiling from the next frame on. */
void frames_limit(struct frames *frames, size_t max_frame_bytes);

/* Takes all of `bytes`. Whole frames are decoded in place, a rest is kept. Returns 0, or the error
 * that ends the connection: ERR_TOO_LONG, ERR_FRAME, ERR_NOMEM. `decoder` is shared by connections:
 * it holds nothing between calls. */
int frames_feed(struct frames *frames, struct batch_decoder *decoder, struct str bytes,
                const struct record_sink *sink);

/* How many bytes are kept. A caller that has room for them in front of what it reads next moves them
 * there and feeds both as one: then the whole frame need not be copied behind its beginning. */
size_t frames_kept(const struct frames *frames);
void frames_steal_kept(struct frames *frames, char *out);

/* End of input: 0, or ERR_FRAME when a frame was cut off. */
int frames_end(const struct frames *frames);

#endif
