/*
 * Happy path
 *   1. an entry says who sent it and where that client stood: a peer is made that stands there
 *   2. the time is set to that of its arrival
 *   3. its bytes are fed to the decoder of its format, whose sink is that peer
 *   4. the peer is over; its process, if it is still there, is watched as that of a connection
 *
 * What can fail: bytes that were damaged when they came are damaged here, and count as far as they did
 * then; memory for a part of a frame or line (never: entries hold whole ones).
 */
#include "io/journal_replay.h"

#include "base/err.h"
#include "base/mem.h"
#include "wire/frames.h"
#include "wire/ndjson.h"

struct replay {
    struct intake *intake;
    const struct ingest_options *options;
    struct batch_decoder *decoder; /* owned */
    uint64_t now_mono_ns, now_wall_ns;
    uint64_t entries;
};

/* As long ago by the monotonic clock as the entry says by the wall's, if that makes sense. */
static void set_time(const struct replay *replay, uint64_t wall_ns)
{
    struct intake *intake = replay->intake;
    uint64_t age_ns = replay->now_wall_ns > wall_ns ? replay->now_wall_ns - wall_ns : 0;
    uint64_t mono_ns = replay->now_mono_ns > age_ns ? replay->now_mono_ns - age_ns : 0;
    registry_set_time(intake->registry, mono_ns, wall_ns);
    metrics_set_time(intake->metrics, mono_ns, wall_ns);
    spans_set_time(intake->spans, mono_ns, wall_ns);
}

/* Damage shows as what it left out; it was told when it came. */
static void feed(const struct replay *replay, const struct journal_entry *entry,
                 const struct record_sink *sink)
{
    if (entry->kind == JOURNAL_FRAMES) {
        struct frames frames;
        frames_init(&frames, replay->options->max_frame_bytes);
        (void)frames_feed(&frames, replay->decoder, entry->bytes, sink);
        frames_fini(&frames);
    } else {
        struct ndjson ndjson;
        ndjson_init(&ndjson, replay->options->max_line_bytes);
        (void)ndjson_feed(&ndjson, entry->bytes, sink);
        ndjson_fini(&ndjson);
    }
}

static void take(void *ctx, const struct journal_entry *entry)
{
    struct replay *replay = ctx;
    struct peer_events events = {.ctx = NULL};
    struct peer peer;
    set_time(replay, entry->wall_ns);
    peer_init(&peer, replay->intake, &events, entry->who.kernel_pid);
    peer_resume(&peer, &entry->who);
    struct record_sink sink = peer_sink(&peer);
    feed(replay, entry, &sink);
    peer_settle(&peer);
    replay->intake->counters->value[COUNTER_JOURNAL_REPLAYED] += peer.applied;
    peer_fini(&peer);
    replay->entries++;
}

int journal_replay(struct journal *journal, uint64_t from, struct intake *intake,
                   const struct ingest_options *options, const struct clock *clock)
{
    struct replay replay = {.intake = intake,
                            .options = options,
                            .decoder = mem_zalloc(1, sizeof *replay.decoder),
                            .now_mono_ns = clock->mono_ns(clock->ctx),
                            .now_wall_ns = clock->wall_ns(clock->ctx)};
    if (replay.decoder == NULL) {
        return ERR_NOMEM;
    }
    int err = journal_read(journal, from, take, &replay);
    mem_free(replay.decoder);
    if (replay.entries > 0) {
        log_info("journal %s: %llu records came back", journal->options.path,
                 (unsigned long long)intake->counters->value[COUNTER_JOURNAL_REPLAYED]);
    }
    return err;
}
