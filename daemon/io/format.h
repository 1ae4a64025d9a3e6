/*
 * The formats that a connection may have: for each one the calls of its decoder, and how its peers are
 * answered. It chooses none (wire/sniff does) and sends nothing. Loop thread only.
 */
#ifndef DWELL_IO_FORMAT_H
#define DWELL_IO_FORMAT_H

#include "io/ingest.h"
#include "wire/frames.h"
#include "wire/ndjson.h"
#include "wire/sniff.h"
#include "wire/statsd_frames.h"

union decoder {
    struct frames frames;
    struct ndjson ndjson;
    struct statsd statsd;
    struct statsd_frames statsd_frames;
};

struct format {
    /* NULL where there is no decoder: the connection is refused. */
    void (*init)(union decoder *decoder, const struct ingest_options *options);
    void (*limit)(union decoder *decoder, const struct ingest_options *options);
    int (*feed)(union decoder *decoder, struct batch_decoder *batches, struct str bytes,
                const struct record_sink *sink);
    int (*end)(union decoder *decoder, const struct record_sink *sink);
    void (*fini)(union decoder *decoder);
    size_t (*kept)(const union decoder *decoder); /* bytes of what has come in part only */
    /* NULL where peers are not told: they do not read. */
    void (*render_rejection)(struct buf *out, const struct rejection *rejection);
    void (*render_flushed)(struct buf *out, uint64_t applied);
    void (*render_acknowledging)(struct buf *out, bool will);
    void (*render_acknowledged)(struct buf *out, uint64_t number);
    void (*render_end)(struct buf *out, int err); /* why the connection ends */
};

extern const struct format formats[WIRE_FORMAT_COUNT];

#endif
