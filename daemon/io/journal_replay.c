/*
 * Happy path
 *   1. an entry says who sent it and where that client stood: the client's peer, made with its first
 *      entry, stands there
 *   2. the time is set to that of its arrival, which windows do not follow: they never go back
 *   3. its bytes are fed to the decoder of its format, whose sink is that peer
 *   4. after the last entry all peers are over: what they left open ends as of their last one, unless
 *      their process is still there, which is watched as that of a connection
 *
 * A peer lies where the ledger has its client, so there are LEDGER_CLIENTS_MAX of them at most: when the
 * ledger forgets a client, its peer is over. Considered were peers by connection, but an entry does not
 * say which it came by, nor when it ended: a client goes on by its next one.
 *
 * What can fail: bytes that were damaged when they came are damaged here, and count as far as they did
 * then; an entry does not hold whole frames or lines (no daemon writes such), or there is no memory: told
 * in the log, and counted; memory for a peer: it is over with its entry.
 */
#include "io/journal_replay.h"

#include "base/err.h"
#include "base/mem.h"
#include "io/state_machine.h"
#include "wire/frames.h"
#include "wire/ndjson.h"

/* A client of the journal. Its peer may speak for others in turn: the peer's own id says who did last. */
struct place {
    uint8_t client_id[RECORD_CLIENT_ID_BYTES];
    uint64_t wall_ns;  /* when its last entry came */
    struct peer *peer; /* owned; NULL: none */
};

struct replay {
    struct intake *intake;
    struct batch_decoder *decoder; /* owned */
    struct place *places;          /* owned; as the ledger has its clients */
    uint64_t now_mono_ns, now_wall_ns, now_boot_ns;
    uint64_t entries;
};

/* --- time --------------------------------------------------------------------------------------- */

/* What another clock said when the wall's said so, if that makes sense: as long ago. */
static uint64_t then_of(const struct replay *replay, uint64_t now_ns, uint64_t wall_ns)
{
    uint64_t age_ns = replay->now_wall_ns > wall_ns ? replay->now_wall_ns - wall_ns : 0;
    return now_ns > age_ns ? now_ns - age_ns : 0;
}

static void set_time(const struct replay *replay, uint64_t wall_ns)
{
    struct intake *intake = replay->intake;
    uint64_t mono_ns = then_of(replay, replay->now_mono_ns, wall_ns);
    registry_set_time(intake->registry, mono_ns, wall_ns);
    metrics_set_time(intake->metrics, mono_ns, wall_ns);
    spans_set_time(intake->spans, mono_ns, wall_ns);
}

/* --- peers -------------------------------------------------------------------------------------- */

/* Whose process cannot be watched, nobody will hear of again. */
static void end_spans(const struct replay *replay, struct process *process)
{
    if (process != NULL && !process->watched && process->entered == 1) {
        spans_end_owner(replay->intake->spans, &process->spans);
    }
}

static void end_peer(const struct replay *replay, struct place *place)
{
    if (place->peer != NULL) {
        set_time(replay, place->wall_ns);
        end_spans(replay, place->peer->process);
        peer_fini(place->peer);
        mem_free(place->peer);
        place->peer = NULL;
    }
}

/* Of the client of an entry; made when it is met. NULL without memory. */
static struct peer *find_peer(const struct replay *replay, const struct journal_entry *entry)
{
    static const struct peer_events nobody;
    const struct peer_identity *who = &entry->who;
    struct ledger *ledger = replay->intake->ledger;
    int index =
        ledger_client(ledger, who->client_id, ledger_library(ledger, who->library), &who->mark);
    struct place *place = &replay->places[index];
    if (memcmp(place->client_id, who->client_id, sizeof who->client_id) != 0) {
        end_peer(replay, place); /* another one had the place, and is forgotten */
    }
    if (place->peer == NULL && (place->peer = mem_alloc(sizeof *place->peer)) != NULL) {
        peer_init(place->peer, replay->intake, &nobody, 0);
    }
    memcpy(place->client_id, who->client_id, sizeof who->client_id);
    place->wall_ns = entry->wall_ns;
    return place->peer;
}

static void end_peers(const struct replay *replay)
{
    for (unsigned i = 0; i < LEDGER_CLIENTS_MAX; i++) {
        end_peer(replay, &replay->places[i]);
    }
    set_time(replay, replay->now_wall_ns);
}

/* --- entries ------------------------------------------------------------------------------------ */

static int feed_frames(const struct replay *replay, struct str bytes,
                       const struct record_sink *sink)
{
    struct frames frames;
    frames_init(&frames, bytes.len);
    int err = frames_feed(&frames, replay->decoder, bytes, sink);
    err = err == 0 && frames_kept(&frames) > 0 ? ERR_TOO_LONG : err;
    frames_fini(&frames);
    return err == ERR_FRAME ? 0 : err; /* it was told when it came, and nothing came after it */
}

static int feed_lines(struct str bytes, const struct record_sink *sink)
{
    struct ndjson ndjson;
    ndjson_init(&ndjson, bytes.len);
    int err = ndjson_feed(&ndjson, bytes, sink);
    ndjson_fini(&ndjson);
    return err;
}

/* Under the ceilings of then, which were no higher than what is here; those of today may be lower. */
static void feed(const struct replay *replay, const struct journal_entry *entry,
                 const struct record_sink *sink)
{
    int err = entry->kind == JOURNAL_FRAMES ? feed_frames(replay, entry->bytes, sink)
                                            : feed_lines(entry->bytes, sink);
    if (err != 0) {
        replay->intake->counters->value[COUNTER_JOURNAL_DAMAGED]++;
        log_error("journal: an entry of %zu bytes does not come back as a whole: %s",
                  entry->bytes.len, err_sentence(err));
    }
}

/* Whether the process that sent the entry is still there: its number may be another's by now, whom no gauge
 * is to stay for. */
static bool is_there(const struct replay *replay, const struct journal_entry *entry)
{
    uint64_t boot_ns = then_of(replay, replay->now_boot_ns, entry->wall_ns);
    return entry->who.kernel_pid > 0 && state_machine_has(NULL, entry->who.kernel_pid, boot_ns);
}

static void bring_back(const struct replay *replay, const struct journal_entry *entry,
                       struct peer *peer)
{
    uint64_t before = peer->applied;
    if (peer->kernel_pid != entry->who.kernel_pid) { /* the first, or a child that goes on */
        peer->kernel_pid = is_there(replay, entry) ? entry->who.kernel_pid : 0;
    }
    peer_resume(peer, &entry->who);
    struct record_sink sink = peer_sink(peer);
    feed(replay, entry, &sink);
    peer_settle(peer);
    replay->intake->counters->value[COUNTER_JOURNAL_REPLAYED] += peer->applied - before;
}

static void take(void *ctx, const struct journal_entry *entry)
{
    struct replay *replay = ctx;
    struct peer *peer = find_peer(replay, entry); /* before the time is set: another may end */
    set_time(replay, entry->wall_ns);
    if (peer != NULL) {
        bring_back(replay, entry, peer);
    } else {
        struct peer_events nobody = {.ctx = NULL};
        struct peer alone;
        peer_init(&alone, replay->intake, &nobody, 0);
        bring_back(replay, entry, &alone);
        peer_fini(&alone);
    }
    replay->entries++;
}

int journal_replay(struct journal *journal, uint64_t from, struct intake *intake,
                   const struct clock *clock, uint64_t *ret_entries)
{
    struct saved_moment now;
    state_machine_now(&now);
    struct replay replay = {.intake = intake,
                            .decoder = mem_zalloc(1, sizeof *replay.decoder),
                            .places = mem_zalloc(LEDGER_CLIENTS_MAX, sizeof(struct place)),
                            .now_boot_ns = now.boot_ns,
                            .now_mono_ns = clock->mono_ns(clock->ctx),
                            .now_wall_ns = clock->wall_ns(clock->ctx)};
    int err = ERR_NOMEM;
    if (replay.decoder != NULL && replay.places != NULL) {
        err = journal_read(journal, from, take, &replay);
        end_peers(&replay);
        intake->counters->value[COUNTER_JOURNAL_DAMAGED] += journal->disk.set_aside;
    }
    mem_free(replay.decoder);
    mem_free(replay.places);
    *ret_entries = replay.entries;
    if (replay.entries > 0) {
        log_info("journal %s: %llu records came back", journal->options.path,
                 (unsigned long long)intake->counters->value[COUNTER_JOURNAL_REPLAYED]);
    }
    return err;
}
