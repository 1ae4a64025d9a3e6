#include "io/format.h"

#include "wire/reply.h"

/* --- frames ------------------------------------------------------------------------------------ */

static void frames_begin(union decoder *decoder, const struct ingest_options *options)
{
    frames_init(&decoder->frames, options->max_frame_bytes);
}

static void frames_obey(union decoder *decoder, const struct ingest_options *options)
{
    frames_limit(&decoder->frames, options->max_frame_bytes);
}

static int frames_take(union decoder *decoder, struct batch_decoder *batches, struct str bytes,
                       const struct record_sink *sink)
{
    return frames_feed(&decoder->frames, batches, bytes, sink);
}

static int frames_finish(union decoder *decoder, const struct record_sink *sink)
{
    (void)sink;
    return frames_end(&decoder->frames);
}

static void frames_forget(union decoder *decoder)
{
    frames_fini(&decoder->frames);
}

static size_t frames_keep(const union decoder *decoder)
{
    return frames_kept(&decoder->frames);
}

/* --- NDJSON ------------------------------------------------------------------------------------ */

static void ndjson_begin(union decoder *decoder, const struct ingest_options *options)
{
    ndjson_init(&decoder->ndjson, options->max_line_bytes);
}

static void ndjson_obey(union decoder *decoder, const struct ingest_options *options)
{
    ndjson_limit(&decoder->ndjson, options->max_line_bytes);
}

static int ndjson_take(union decoder *decoder, struct batch_decoder *batches, struct str bytes,
                       const struct record_sink *sink)
{
    (void)batches;
    return ndjson_feed(&decoder->ndjson, bytes, sink);
}

static int ndjson_finish(union decoder *decoder, const struct record_sink *sink)
{
    ndjson_end(&decoder->ndjson, sink);
    return 0;
}

static void ndjson_forget(union decoder *decoder)
{
    ndjson_fini(&decoder->ndjson);
}

static size_t ndjson_keep(const union decoder *decoder)
{
    return decoder->ndjson.partial.len;
}

/* Also for whoever never came to have a format. */
static void ndjson_say_end(struct buf *out, int err)
{
    struct rejection rejection = {.err = err};
    ndjson_render_error(out, &rejection);
}

/* --- StatsD ------------------------------------------------------------------------------------ */

static void statsd_begin(union decoder *decoder, const struct ingest_options *options)
{
    statsd_init(&decoder->statsd, options->max_line_bytes, &options->statsd_samples);
}

static void statsd_obey(union decoder *decoder, const struct ingest_options *options)
{
    statsd_limit(&decoder->statsd, options->max_line_bytes);
}

static int statsd_take(union decoder *decoder, struct batch_decoder *batches, struct str bytes,
                       const struct record_sink *sink)
{
    (void)batches;
    return statsd_feed(&decoder->statsd, bytes, sink);
}

static int statsd_finish(union decoder *decoder, const struct record_sink *sink)
{
    return statsd_feed_last(&decoder->statsd, (struct str){0}, sink);
}

static void statsd_forget(union decoder *decoder)
{
    statsd_fini(&decoder->statsd);
}

static size_t statsd_keep(const union decoder *decoder)
{
    return decoder->statsd.partial.len;
}

static void payloads_begin(union decoder *decoder, const struct ingest_options *options)
{
    statsd_frames_init(&decoder->statsd_frames, options->max_frame_bytes, options->max_line_bytes,
                       &options->statsd_samples);
}

static void payloads_obey(union decoder *decoder, const struct ingest_options *options)
{
    statsd_frames_limit(&decoder->statsd_frames, options->max_frame_bytes, options->max_line_bytes);
}

static int payloads_take(union decoder *decoder, struct batch_decoder *batches, struct str bytes,
                         const struct record_sink *sink)
{
    (void)batches;
    return statsd_frames_feed(&decoder->statsd_frames, bytes, sink);
}

static int payloads_finish(union decoder *decoder, const struct record_sink *sink)
{
    (void)sink;
    return statsd_frames_end(&decoder->statsd_frames);
}

static void payloads_forget(union decoder *decoder)
{
    statsd_frames_fini(&decoder->statsd_frames);
}

static size_t payloads_keep(const union decoder *decoder)
{
    return decoder->statsd_frames.lines.partial.len;
}

/* --- all of them ------------------------------------------------------------------------------- */

const struct format formats[] = {
    [WIRE_UNDECIDED] = {.render_end = ndjson_say_end},
    [WIRE_FRAMES] = {.init = frames_begin,
                     .limit = frames_obey,
                     .feed = frames_take,
                     .end = frames_finish,
                     .fini = frames_forget,
                     .kept = frames_keep,
                     .render_flushed = reply_render_flushed,
                     .render_acknowledging = reply_render_acknowledging,
                     .render_acknowledged = reply_render_acknowledged,
                     .render_end = reply_render_error},
    [WIRE_NDJSON] = {.init = ndjson_begin,
                     .limit = ndjson_obey,
                     .feed = ndjson_take,
                     .end = ndjson_finish,
                     .fini = ndjson_forget,
                     .kept = ndjson_keep,
                     .render_rejection = ndjson_render_error,
                     .render_flushed = ndjson_render_flushed,
                     .render_acknowledging = ndjson_render_acknowledging,
                     .render_acknowledged = ndjson_render_acknowledged,
                     .render_end = ndjson_say_end},
    [WIRE_STATSD] = {.init = statsd_begin,
                     .limit = statsd_obey,
                     .feed = statsd_take,
                     .end = statsd_finish,
                     .fini = statsd_forget,
                     .kept = statsd_keep},
    [WIRE_STATSD_FRAMES] = {.init = payloads_begin,
                            .limit = payloads_obey,
                            .feed = payloads_take,
                            .end = payloads_finish,
                            .fini = payloads_forget,
                            .kept = payloads_keep},
    [WIRE_UNKNOWN] = {.render_end = ndjson_say_end},
};
_Static_assert(sizeof formats / sizeof formats[0] == WIRE_FORMAT_COUNT, "a row for each format");
