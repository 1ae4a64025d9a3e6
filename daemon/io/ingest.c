#include "io/ingest.h"

#include "base/mem.h"

/* Complaints: so many lines a minute of each kind. */
enum { COMPLAINTS = 5 };
#define COMPLAINT_PERIOD_NS (60 * NS_PER_SECOND)

int ingest_init(struct ingest *ingest, uv_loop_t *loop, struct intake *intake,
                const struct ingest_options *options, const struct clock *clock)
{
    *ingest = (struct ingest){.loop = loop, .intake = intake, .options = *options, .clock = *clock};
    ingest->decoder = mem_zalloc(1, sizeof *ingest->decoder);
    ingest->read_buffer = mem_alloc(INGEST_READ_BYTES);
    int err = senders_init(&ingest->senders, &options->senders);
    if (err != 0 || ingest->decoder == NULL || ingest->read_buffer == NULL) {
        ingest_fini(ingest);
        return ERR_NOMEM;
    }
    log_limit_init(&ingest->rejections, LOG_LEVEL_WARNING, "rejected records", COMPLAINTS,
                   COMPLAINT_PERIOD_NS);
    log_limit_init(&ingest->refusals, LOG_LEVEL_WARNING, "refused connections", COMPLAINTS,
                   COMPLAINT_PERIOD_NS);
    log_limit_init(&ingest->violations, LOG_LEVEL_WARNING, "constitutional violations", COMPLAINTS,
                   COMPLAINT_PERIOD_NS);
    log_limit_init(&ingest->broken, LOG_LEVEL_WARNING, "broken connections", COMPLAINTS,
                   COMPLAINT_PERIOD_NS);
    log_limit_init(&ingest->over_budget, LOG_LEVEL_WARNING, "layers over their time budget",
                   COMPLAINTS, COMPLAINT_PERIOD_NS);
    log_limit_init(&ingest->dropped, LOG_LEVEL_WARNING, "lines on dropped datagrams",
                   2 * COMPLAINTS, COMPLAINT_PERIOD_NS);
    turns_start(&ingest->turns, loop, &ingest->senders, intake->counters, clock);
    ingest_set_time(ingest);
    return 0;
}

void ingest_close(struct ingest *ingest)
{
    turns_close(&ingest->turns);
}

void ingest_fini(struct ingest *ingest)
{
    mem_free(ingest->decoder);
    mem_free(ingest->read_buffer);
    senders_fini(&ingest->senders);
    ingest->decoder = NULL;
    ingest->read_buffer = NULL;
}

void ingest_set_time(struct ingest *ingest)
{
    const struct clock *clock = &ingest->clock;
    uint64_t mono_ns = clock->mono_ns(clock->ctx);
    uint64_t wall_ns = clock->wall_ns(clock->ctx);
    registry_set_time(ingest->intake->registry, mono_ns, wall_ns);
    metrics_set_time(ingest->intake->metrics, mono_ns, wall_ns);
    spans_set_time(ingest->intake->spans, mono_ns, wall_ns);
}

void ingest_tell_over_budget(struct ingest *ingest, pid_t pid, const struct budget *budget,
                             double budget_ms)
{
    const struct str operation = budget->operation;
    const struct str request = budget->request_id;
    log_limited(&ingest->over_budget,
                "process %ld: layer %.*s took %.3f ms of its budget of %.3f ms%s%.*s%s%.*s",
                (long)pid, (int)budget->layer.len, budget->layer.ptr, record_spent_ms(budget),
                budget_ms, operation.len > 0 ? ", operation " : "", (int)operation.len,
                operation.len > 0 ? operation.ptr : "", request.len > 0 ? ", request " : "",
                (int)request.len, request.len > 0 ? request.ptr : "");
}

size_t ingest_read_size(const struct ingest *ingest)
{
    bool is_shared = ingest->intake->registry->limbo.shared_epoch != 0;
    return is_shared || turns_are_wanted(&ingest->turns) ? INGEST_READ_BYTES_SHARED
                                                         : INGEST_READ_BYTES;
}

/* A kept frame or line, its length or newline, and a read. */
size_t ingest_most_at_once(const struct ingest_options *options)
{
    enum { AROUND_BYTES = 8 };
    size_t kept = options->max_frame_bytes > options->max_line_bytes ? options->max_frame_bytes
                                                                     : options->max_line_bytes;
    return kept + AROUND_BYTES + INGEST_READ_BYTES;
}

static bool contains(const uint32_t *ids, size_t count, uint32_t id)
{
    for (size_t i = 0; i < count; i++) {
        if (ids[i] == id) {
            return true;
        }
    }
    return false;
}

bool ingest_may_send(const struct ingest *ingest, const struct ucred *who)
{
    const struct ingest_access *access = &ingest->options.access;
    return (access->uid_count == 0 && access->gid_count == 0) ||
           contains(access->uids, access->uid_count, who->uid) ||
           contains(access->gids, access->gid_count, who->gid);
}
