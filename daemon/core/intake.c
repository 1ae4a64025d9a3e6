/*
 * Happy path of a connection
 *   1. peer_begin     the client's place in the ledger, if it ever named itself
 *   2. hello          library, service, hash; on NDJSON the client id, which opens the account
 *   3. batch          of frames: client id and number of the first record
 *   4. sample         to the models, and its evidence to the judge; metric to the metrics, span to the
 *                     spans, budget to the budgets; accepted
 *   5. flush          settles, then the owner is asked to answer
 *   6. peer_end       the ledger learns what was accepted since peer_begin
 *
 * What can fail: the registry or the governance refuses a record; the decoder then calls `reject`,
 * which is the one place where refused records are counted. Numbers that go back (a repetition) put
 * the batch outside the ledger, its records still count. But of a client that asks for
 * acknowledgements they are passed over, one by one, up to the number that it has reached: it sends
 * again what it was not told to be kept.
 */
#include "core/intake.h"

#include "base/name.h"

void peer_init(struct peer *peer, struct intake *intake, const struct peer_events *events,
               int64_t kernel_pid)
{
    *peer = (struct peer){
        .intake = intake, .events = *events, .client = LEDGER_NOBODY, .kernel_pid = kernel_pid};
    peer->library = ledger_library(intake->ledger, (struct str){0});
}

static void leave_process(struct peer *peer)
{
    if (peer->process != NULL) {
        process_leave(peer->intake->processes, peer->process);
        peer->process = NULL;
    }
}

void peer_fini(struct peer *peer)
{
    leave_process(peer);
    spans_end_owner(peer->intake->spans, &peer->spans);
}

static void find_account(struct peer *peer, const struct mark *mark)
{
    peer->client = peer->has_client_id
                       ? ledger_client(peer->intake->ledger, peer->client_id, peer->library, mark)
                       : LEDGER_NOBODY;
    if (peer->asks && peer->client != LEDGER_NOBODY) {
        ledger_ask(peer->intake->ledger, peer->client);
    }
}

/* After a reconnect both connections of a client may be read in turn. What the other one has brought
 * meanwhile comes here, too: of frames the next number says so, lines bear none. */
static void notice_others(struct peer *peer)
{
    if (!peer->asks || peer->client == LEDGER_NOBODY || peer->skip == PEER_BARRED) {
        return;
    }
    uint64_t next = ledger_next(peer->intake->ledger, peer->client);
    if (next > peer->reached) {
        peer->skip += next - peer->reached;
        peer->reached = next;
    }
}

void peer_begin(struct peer *peer)
{
    peer->intake->metrics->maker = peer->maker;
    peer->intake->registry->maker = peer->maker;
    /* A client that was forgotten meanwhile is met again at the number it has reached. */
    struct mark reached = {.has_sequence = true, .sequence = peer->reached};
    find_account(peer, &reached);
    notice_others(peer);
}

static int ledger_place(const struct peer *peer)
{
    return peer->repeating ? LEDGER_NOBODY : peer->client;
}

/* A mark without a number, as of a plain flush, does not end a repetition. */
static void advance(struct peer *peer, const struct mark *mark)
{
    if (peer->client == LEDGER_NOBODY || !mark->has_sequence || peer->skip == PEER_BARRED) {
        return;
    }
    struct ledger *ledger = peer->intake->ledger;
    bool goes_on = ledger_advance(ledger, peer->client, mark);
    peer->repeating = !goes_on && !peer->asks;
    peer->skip = goes_on || !peer->asks ? 0 : ledger_next(ledger, peer->client) - mark->sequence;
}

/* Of the next `count` records, how many have come before. */
static unsigned pass_over(struct peer *peer, unsigned count)
{
    if (__builtin_expect(peer->skip == 0, 1)) {
        return 0;
    }
    if (peer->skip == PEER_BARRED) {
        return count;
    }
    unsigned passed = peer->skip < count ? (unsigned)peer->skip : count;
    peer->skip -= passed;
    peer->intake->counters->value[COUNTER_DUPLICATE_RECORDS] += passed;
    return passed;
}

/* Where the batch at hand begins, which its first record or its end brings into account. */
static void take_head(struct peer *peer)
{
    if (peer->has_head) {
        peer->has_head = false;
        find_account(peer, &peer->head);
        advance(peer, &peer->head);
    }
}

void peer_settle(struct peer *peer)
{
    take_head(peer);
    uint64_t fresh = peer->applied - peer->settled;
    peer->intake->accepted += fresh;
    ledger_count(peer->intake->ledger, ledger_place(peer), fresh);
    peer->settled = peer->applied;
    if (peer->client != LEDGER_NOBODY) {
        peer->reached = ledger_next(peer->intake->ledger, peer->client);
    }
}

void peer_end(struct peer *peer)
{
    peer_settle(peer);
    peer->intake->metrics->maker = NULL;
    peer->intake->registry->maker = NULL;
}

static void name_client(struct peer *peer, const uint8_t id[RECORD_CLIENT_ID_BYTES])
{
    if (!peer->has_client_id || memcmp(peer->client_id, id, RECORD_CLIENT_ID_BYTES) != 0) {
        peer->repeating = false;
        peer->clients++;
    }
    peer->has_client_id = true;
    memcpy(peer->client_id, id, RECORD_CLIENT_ID_BYTES);
}

/* Text of a peer that becomes a label: cut to whole UTF-8, zero bytes and damage refused. */
static struct str label_text(struct str text)
{
    if (text.len >= INTAKE_SERVICE_BYTES || !str_is_utf8(text) ||
        (text.len > 0 && memchr(text.ptr, '\0', text.len) != NULL)) {
        return STR_LITERAL("other");
    }
    return text.len == 0 ? STR_LITERAL("unknown") : text;
}

/* A violation is a record of our own. Past a ceiling it is counted in the overflow series; that it
 * finds no memory shows nowhere else. */
static void count_violation(struct intake *intake, struct str service)
{
    struct metric metric = {.name = STR_LITERAL("constitutional_violations"),
                            .op = METRIC_COUNT,
                            .value = 1,
                            .weight = 1,
                            .attribute_count = 2};
    metric.attributes[0] = (struct label){STR_LITERAL("service"), service};
    metric.attributes[1] =
        (struct label){STR_LITERAL("violation_type"), STR_LITERAL("hash_mismatch")};
    (void)metrics_record(intake->metrics, &metric, NULL);
}

static void check_hash(struct peer *peer, struct str hash, struct str service)
{
    peer->hash_differs = !str_equal(hash, peer->intake->constitutional_hash);
    if (!peer->hash_differs) {
        return;
    }
    struct str label = label_text(service);
    count_violation(peer->intake, label);
    if (peer->events.violation != NULL) {
        peer->events.violation(peer->events.ctx, label);
    }
}

static int govern(const struct peer *peer)
{
    if (!peer->intake->enforce_hash) {
        return 0;
    }
    return !peer->said_hello ? ERR_NO_HELLO : peer->hash_differs ? ERR_HASH : 0;
}

static void take_batch(void *ctx, const struct batch *batch)
{
    struct peer *peer = ctx;
    peer_settle(peer);
    registry_begin_batch(peer->intake->registry);
    if (batch->constitutional_hash.len > 0) {
        peer->said_hello = true;
        check_hash(peer, batch->constitutional_hash,
                   (struct str){peer->service, peer->service_len});
    }
    if (batch->has_client_id) {
        name_client(peer, batch->client_id);
    }
    peer->has_head = true;
    peer->head = batch->mark;
    if (peer->asks) {
        take_head(peer); /* whose numbers these are is known, and which of them came before */
    }
}

static int take_metric(void *ctx, const struct metric *metric)
{
    struct peer *peer = ctx;
    if (pass_over(peer, 1) > 0) {
        return 0;
    }
    int err = govern(peer);
    if (err == 0) {
        err = metrics_record(peer->intake->metrics, metric, peer->process);
    }
    peer->applied += err == 0;
    return err;
}

static bool take_spelled(void *ctx, const struct spelling *spelling, double value, uint64_t weight)
{
    struct peer *peer = ctx;
    if (peer->skip > 0) {
        return false; /* the long way, which passes it over */
    }
    bool applied = govern(peer) == 0 &&
                   metrics_spelled(peer->intake->metrics, spelling, value, weight, peer->process);
    peer->applied += applied;
    return applied;
}

/* Whose the spans are that this peer leaves open. A datagram is over before the next one brings their
 * ends, and so is a process that nobody watches and that has no connection: those spans are nobody's. */
static struct span_owner *span_owner(struct peer *peer)
{
    if (peer->is_datagram) {
        return peer->process != NULL && peer->process->watched ? &peer->process->spans : NULL;
    }
    return peer->process != NULL ? &peer->process->spans : &peer->spans;
}

static int take_span(void *ctx, const struct span *span)
{
    struct peer *peer = ctx;
    if (pass_over(peer, 1) > 0) {
        return 0;
    }
    int err = govern(peer);
    if (err == 0) {
        err = spans_take(peer->intake->spans, span, span_owner(peer),
                         (struct str){peer->service, peer->service_len});
    }
    peer->applied += err == 0;
    return err;
}

__attribute__((noinline)) static void tell_over_budget(struct peer *peer,
                                                       const struct budget *budget,
                                                       double budget_ms)
{
    if (peer->events.over_budget != NULL) {
        peer->events.over_budget(peer->events.ctx, budget, budget_ms);
    }
    spans_over_budget(peer->intake->spans, budget, budget_ms,
                      (struct str){peer->service, peer->service_len});
}

static int take_budget(void *ctx, const struct budget *budget)
{
    struct peer *peer = ctx;
    struct budget_verdict verdict = {.exceeded = false};
    if (pass_over(peer, 1) > 0) {
        return 0;
    }
    int err = govern(peer);
    if (err == 0) {
        err = budgets_record(peer->intake->budgets, budget, &verdict);
    }
    if (verdict.exceeded) {
        tell_over_budget(peer, budget, verdict.budget_ms);
    }
    peer->applied += err == 0;
    return err;
}

/* Of a sample with evidence the model's number is needed, too. */
static int apply_sample(const struct peer *peer, const struct sample *sample)
{
    const struct intake *intake = peer->intake;
    uint32_t number;
    if (intake->judge == NULL || !evidence_is_in(sample)) {
        return registry_record(intake->registry, sample);
    }
    int err = registry_record_evidence(intake->registry, sample, &number);
    if (err == 0) {
        judge_sample(intake->judge, number, peer->kernel_pid, sample);
    }
    return err;
}

static unsigned take_budgets(void *ctx, const struct budget *budgets, unsigned count, int *ret_errs)
{
    struct peer *peer = ctx;
    struct budget_verdict verdicts[RECORD_BUDGETS_MAX];
    unsigned refused = 0;
    unsigned passed = pass_over(peer, count);
    memset(ret_errs, 0, passed * sizeof *ret_errs);
    budgets += passed;
    count -= passed;
    ret_errs += passed;
    int err = govern(peer);
    if (err == 0 && count > 0) {
        budgets_record_some(peer->intake->budgets, budgets, count, ret_errs, verdicts);
    }
    for (unsigned i = 0; i < count; i++) {
        ret_errs[i] = err != 0 ? err : ret_errs[i];
        refused += ret_errs[i] != 0;
        if (ret_errs[i] == 0 && verdicts[i].exceeded) {
            tell_over_budget(peer, &budgets[i], verdicts[i].budget_ms);
        }
    }
    peer->applied += count - refused;
    return refused;
}

static int take_sample(void *ctx, const struct sample *sample)
{
    struct peer *peer = ctx;
    if (pass_over(peer, 1) > 0) {
        return 0;
    }
    int err = govern(peer);
    if (err == 0) {
        err = apply_sample(peer, sample);
    }
    peer->applied += err == 0;
    return err;
}

static unsigned take_briefs(void *ctx, const struct brief *briefs, unsigned count, int *ret_errs)
{
    struct peer *peer = ctx;
    unsigned passed = pass_over(peer, count);
    memset(ret_errs, 0, passed * sizeof *ret_errs);
    briefs += passed;
    count -= passed;
    ret_errs += passed;
    int err = govern(peer);
    if (err == 0 && count > 0) {
        unsigned refused = registry_record_briefs(peer->intake->registry, briefs, count, ret_errs);
        peer->applied += count - refused;
        return refused;
    }
    for (unsigned i = 0; i < count; i++) {
        ret_errs[i] = err;
    }
    return count;
}

/* Who speaks now may be another than before: a child that goes on with its parent's connection. A hello
 * without a pid leaves things as they are. Entered before it leaves, so that the same one stays. */
static void enter_process(struct peer *peer, uint64_t said_pid)
{
    if (said_pid != 0) {
        struct process *process =
            process_enter(peer->intake->processes, said_pid, peer->kernel_pid);
        leave_process(peer);
        peer->process = process;
    }
}

/* Of a service that has no good name the spans are the daemon's own. */
static void name_service(struct peer *peer, struct str name)
{
    if (name.len > 0 && name.len <= sizeof peer->service && name_is_text(name)) {
        memcpy(peer->service, name.ptr, name.len);
        peer->service_len = (uint16_t)name.len;
    }
}

static int take_hello(void *ctx, const struct hello *hello, const struct mark *mark)
{
    struct peer *peer = ctx;
    if (peer->applied > peer->settled) {
        peer_settle(peer);
    }
    peer->library = ledger_library(peer->intake->ledger, hello->client);
    if (hello->has_client_id) {
        name_client(peer, hello->client_id);
    }
    /* Who asks once asks for as long as the connection lasts: else its numbers would have a hole. */
    peer->asks = peer->asks || (hello->acknowledge && peer->has_client_id && !peer->is_datagram);
    take_head(peer);
    find_account(peer, mark);
    if (peer->client != LEDGER_NOBODY) {
        ledger_set_library(peer->intake->ledger, peer->client, peer->library);
    }
    advance(peer, mark);
    enter_process(peer, hello->pid);
    name_service(peer, hello->service_name);
    /* A hello without a hash leaves things as they are: the hash is optional unless enforced. */
    if (hello->constitutional_hash.len > 0 || peer->intake->enforce_hash) {
        peer->said_hello = true;
        check_hash(peer, hello->constitutional_hash, hello->service_name);
    }
    if (hello->acknowledge && peer->events.asked != NULL) {
        peer->events.asked(peer->events.ctx);
    }
    return 0;
}

static int take_flush(void *ctx, const struct mark *mark)
{
    struct peer *peer = ctx;
    peer_settle(peer);
    advance(peer, mark);
    if (peer->events.flushed != NULL) {
        peer->events.flushed(peer->events.ctx, peer->applied);
    }
    return 0;
}

static int take_goodbye(void *ctx, const struct mark *mark)
{
    struct peer *peer = ctx;
    peer_settle(peer);
    advance(peer, mark);
    return 0;
}

static void take_rejection(void *ctx, const struct rejection *rejection)
{
    struct peer *peer = ctx;
    peer_settle(peer);
    if (!rejection->control && pass_over(peer, 1) > 0) {
        return;
    }
    peer->intake->rejected[err_row(rejection->err)]++;
    if (!rejection->control) { /* a refused hello, flush or goodbye took no number */
        ledger_reject(peer->intake->ledger, ledger_place(peer), rejection->err);
    }
    if (peer->events.rejected != NULL) {
        peer->events.rejected(peer->events.ctx, rejection);
    }
}

static void take_unknown_key(void *ctx, struct str key)
{
    struct peer *peer = ctx;
    peer->intake->counters->value[COUNTER_UNKNOWN_KEYS]++;
    if (peer->events.unknown_key != NULL) {
        peer->events.unknown_key(peer->events.ctx, key);
    }
}

static void take_ignored(void *ctx, enum ignored what)
{
    static const enum counter counter_of[] = {
        [IGNORED_EVENT] = COUNTER_STATSD_EVENTS, [IGNORED_CHECK] = COUNTER_STATSD_CHECKS};
    _Static_assert(sizeof counter_of / sizeof counter_of[0] == IGNORED_COUNT, "one each");
    const struct peer *peer = ctx;
    peer->intake->counters->value[counter_of[what]]++;
}

static void take_raw(void *ctx, struct str bytes)
{
    const struct peer *peer = ctx;
    if (peer->asks && peer->events.raw != NULL) {
        peer->events.raw(peer->events.ctx, bytes);
    }
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* --- peers that outlive the process ------------------------------------------------------------- */

void peer_describe(const struct peer *peer, struct peer_identity *ret_identity)
{
    const struct ledger *ledger = peer->intake->ledger;
    uint64_t next = ledger_next(ledger, peer->client);
    *ret_identity =
        (struct peer_identity){.mark = {.has_sequence = true,
                                        .sequence = next - least(peer->skip, next),
                                        .has_dropped = true,
                                        .dropped = ledger_credited(ledger, peer->client)},
                               .said_pid = peer->process == NULL ? 0 : peer->process->said_pid,
                               .kernel_pid = peer->kernel_pid,
                               .said_hello = peer->said_hello,
                               .hash_differs = peer->hash_differs,
                               .library = str_of(ledger->view.libraries[peer->library].name),
                               .service = {peer->service, peer->service_len}};
    memcpy(ret_identity->client_id, peer->client_id, sizeof ret_identity->client_id);
}

void peer_resume(struct peer *peer, const struct peer_identity *identity)
{
    peer->asks = true;
    peer->said_hello = identity->said_hello;
    peer->hash_differs = identity->hash_differs;
    peer->library = ledger_library(peer->intake->ledger, identity->library);
    name_client(peer, identity->client_id);
    peer->service_len = 0; /* a connection before this one may have named one */
    name_service(peer, identity->service);
    enter_process(peer, identity->said_pid);
    find_account(peer, &identity->mark);
    advance(peer, &identity->mark);
}

void peer_bar(struct peer *peer)
{
    peer->skip = PEER_BARRED;
}

struct record_sink peer_sink(struct peer *peer)
{
    return (struct record_sink){.ctx = peer,
                                .batch = take_batch,
                                .sample = take_sample,
                                .briefs = take_briefs,
                                .metric = take_metric,
                                .span = take_span,
                                .budget = take_budget,
                                .budgets = take_budgets,
                                .spelled = take_spelled,
                                .hello = take_hello,
                                .flush = take_flush,
                                .goodbye = take_goodbye,
                                .reject = take_rejection,
                                .unknown_key = take_unknown_key,
                                .ignored = take_ignored,
                                .raw = take_raw};
}
