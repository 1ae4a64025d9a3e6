#include "core_helpers.h"

#include <stdio.h>
#include <stdlib.h>

#include "mem_fault.h"

/* --- a peer, driven as a decoder drives it ------------------------------------------------------ */

static struct core core;

static int open_core(void **state)
{
    (void)state;
    struct registry_options options = core_options();
    core_open(&core, &options);
    return 0;
}

static int close_core(void **state)
{
    (void)state;
    core_close(&core);
    return 0;
}

/* What the owner of a peer was told. */
struct told {
    unsigned rejected;
    int last_err;
    unsigned flushed;
    uint64_t applied;
    unsigned unknown;
    unsigned violations;
    char service[INTAKE_SERVICE_BYTES];
};

static void tell_rejected(void *ctx, const struct rejection *rejection)
{
    struct told *told = ctx;
    told->rejected++;
    told->last_err = rejection->err;
}

static void tell_flushed(void *ctx, uint64_t applied)
{
    struct told *told = ctx;
    told->flushed++;
    told->applied = applied;
}

static void tell_unknown(void *ctx, struct str key)
{
    struct told *told = ctx;
    (void)key;
    told->unknown++;
}

static void tell_violation(void *ctx, struct str service)
{
    struct told *told = ctx;
    told->violations++;
    assert_true(service.len < sizeof told->service);
    memcpy(told->service, service.ptr, service.len);
    told->service[service.len] = '\0';
}

struct talk {
    struct peer peer;
    struct record_sink sink;
    struct told told;
};

static void talk_open(struct talk *talk)
{
    *talk = (struct talk){.told = {0}};
    struct peer_events events = {.ctx = &talk->told,
                                 .rejected = tell_rejected,
                                 .flushed = tell_flushed,
                                 .unknown_key = tell_unknown,
                                 .violation = tell_violation};
    peer_init(&talk->peer, &core.intake, &events, 0);
    talk->sink = peer_sink(&talk->peer);
}

static void say_sample(struct talk *talk, const char *name)
{
    struct sample sample = sample_of(name, 1);
    int err = talk->sink.sample(talk->sink.ctx, &sample);
    if (err != 0) { /* what decoders do */
        struct rejection rejection = {.err = err};
        talk->sink.reject(talk->sink.ctx, &rejection);
    }
}

static void say_samples(struct talk *talk, uint64_t count)
{
    for (; count > 0; count--) {
        say_sample(talk, "m");
    }
}

static void say_rejected(struct talk *talk, int err, bool control)
{
    struct rejection rejection = {.err = err, .control = control};
    talk->sink.reject(talk->sink.ctx, &rejection);
}

static void note_kept(void *ctx, const struct span *span, bool was_held)
{
    struct str *service = ctx;
    assert_false(was_held);
    assert_true(str_is(span->name, BUDGET_EVENT_NAME));
    *service = span->service_name;
}

static void tell_over_budget(void *ctx, const struct budget *budget, double budget_ms)
{
    double *last_budget_ms = ctx;
    assert_true(budget->elapsed_ms > budget_ms);
    *last_budget_ms = budget_ms;
}

/* To whoever owns the peer, and in its trace. */
static void test_intake_tells_of_what_is_over_its_budget(void **state)
{
    (void)state;
    struct str family;
    struct str service = {NULL, 0};
    double told_ms = 0;
    struct sampler_sink kept = {.ctx = &service, .keep = note_kept};
    struct peer_events events = {.ctx = &told_ms, .over_budget = tell_over_budget};
    struct peer peer;
    assert_int_equal(budgets_declare(core.budgets, &family), 0);
    spans_export_to(core.spans, &kept);
    peer_init(&peer, &core.intake, &events, 0);
    struct record_sink sink = peer_sink(&peer);
    struct hello hello = {.service_name = STR_LITERAL("bus")};
    assert_int_equal(sink.hello(sink.ctx, &hello, &(struct mark){0}), 0);
    struct budget budget = {.layer = STR_LITERAL("layer3_policy"),
                            .elapsed_ms = 10,
                            .has = BUDGET_HAS_TRACE_ID | BUDGET_HAS_SPAN_ID,
                            .trace_id = {1},
                            .span_id = {2}};
    assert_int_equal(sink.budget(sink.ctx, &budget), 0);
    assert_true(told_ms == 0);
    assert_int_equal(core.spans->budget_events.made, 0);
    budget.elapsed_ms = 10.5;
    assert_int_equal(sink.budget(sink.ctx, &budget), 0);
    assert_true(told_ms == 10);
    assert_true(str_is(service, "bus"));
    assert_int_equal(core.spans->budget_events.made, 1);
    assert_int_equal(core.spans->completed, 0); /* it is none of a client */
    struct snapshot *snapshot = must_take(&core);
    assert_int_equal(snapshot->counters.value[COUNTER_BUDGET_EVENTS], 1);
    assert_int_equal(snapshot->counters.value[COUNTER_BUDGET_EVENTS_SUPPRESSED], 0);
    core_drop(&core, snapshot);
    peer_fini(&peer);
}

static const struct mark nowhere = {.has_sequence = false};

static struct mark at(uint64_t sequence)
{
    return (struct mark){.has_sequence = true, .sequence = sequence};
}

static void name(uint8_t id[RECORD_CLIENT_ID_BYTES], uint64_t client)
{
    memset(id, 0, RECORD_CLIENT_ID_BYTES);
    memcpy(id, &client, sizeof client);
}

static struct batch batch_of(uint64_t client, uint64_t sequence, uint64_t dropped)
{
    struct batch batch = {
        .has_client_id = true,
        .mark = {
            .has_sequence = true, .sequence = sequence, .has_dropped = true, .dropped = dropped}};
    name(batch.client_id, client);
    return batch;
}

static void say_batch(struct talk *talk, uint64_t client, uint64_t sequence, uint64_t dropped)
{
    struct batch batch = batch_of(client, sequence, dropped);
    talk->sink.batch(talk->sink.ctx, &batch);
}

static void say_hello(struct talk *talk, uint64_t client, const char *service, const char *hash,
                      const struct mark *mark)
{
    struct hello hello = {.service_name = str_of(service),
                          .constitutional_hash = str_of(hash),
                          .client = STR_LITERAL("lib/1"),
                          .has_client_id = client != 0};
    name(hello.client_id, client);
    assert_int_equal(talk->sink.hello(talk->sink.ctx, &hello, mark), 0);
}

static uint64_t sum_of(const uint64_t rejected[ERR_ROW_COUNT])
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < ERR_ROW_COUNT; i++) {
        sum += rejected[i];
    }
    return sum;
}

static const struct ledger_terms *all(void)
{
    return &core.ledger.view.all;
}

static void must_balance(void)
{
    assert_int_equal(all()->sent,
                     all()->accepted + sum_of(all()->rejected) + all()->dropped + all()->lost);
}

static void must_be(uint64_t accepted, uint64_t rejected, uint64_t dropped, uint64_t lost,
                    uint64_t unledgered)
{
    assert_int_equal(all()->accepted, accepted);
    assert_int_equal(sum_of(all()->rejected), rejected);
    assert_int_equal(all()->dropped, dropped);
    assert_int_equal(all()->lost, lost);
    assert_int_equal(core.ledger.view.unledgered, unledgered);
    must_balance();
}

/* --- applying ---------------------------------------------------------------------------------- */

static void test_intake_applies_and_answers(void **state)
{
    (void)state;
    struct talk talk;
    talk_open(&talk);
    peer_begin(&talk.peer);
    say_samples(&talk, 3);
    say_sample(&talk, "");
    assert_int_equal(talk.told.rejected, 1);
    assert_int_equal(talk.told.last_err, ERR_NAME);
    assert_int_equal(talk.sink.flush(talk.sink.ctx, &nowhere), 0);
    assert_int_equal(talk.told.flushed, 1);
    assert_int_equal(talk.told.applied, 3); /* refused ones are not applied */
    say_samples(&talk, 1);
    talk.sink.unknown_key(talk.sink.ctx, STR_LITERAL("x"));
    peer_settle(&talk.peer);
    peer_begin(&talk.peer);
    assert_int_equal(talk.sink.flush(talk.sink.ctx, &nowhere), 0);
    assert_int_equal(talk.sink.goodbye(talk.sink.ctx, &nowhere), 0);
    peer_settle(&talk.peer);
    assert_int_equal(talk.told.applied, 4);
    assert_int_equal(talk.told.unknown, 1);
    assert_int_equal(core.counters.value[COUNTER_UNKNOWN_KEYS], 1);
    assert_int_equal(core.intake.accepted, 4);
    assert_int_equal(core.intake.rejected[err_row(ERR_NAME)], 1);
    must_be(0, 0, 0, 0, 5);
}

static void test_intake_counts_what_decoders_ignore(void **state)
{
    (void)state;
    struct talk talk;
    talk_open(&talk);
    talk.sink.ignored(talk.sink.ctx, IGNORED_EVENT);
    talk.sink.ignored(talk.sink.ctx, IGNORED_EVENT);
    talk.sink.ignored(talk.sink.ctx, IGNORED_CHECK);
    assert_int_equal(core.counters.value[COUNTER_STATSD_EVENTS], 2);
    assert_int_equal(core.counters.value[COUNTER_STATSD_CHECKS], 1);
    must_be(0, 0, 0, 0, 0);
}

static void test_intake_events_may_be_absent(void **state)
{
    (void)state;
    struct talk talk;
    struct peer_events none = {.ctx = NULL};
    talk_open(&talk);
    peer_init(&talk.peer, &core.intake, &none, 0);
    peer_begin(&talk.peer);
    say_hello(&talk, 1, "s", "wrong", &nowhere);
    say_samples(&talk, 1);
    say_sample(&talk, "");
    talk.sink.unknown_key(talk.sink.ctx, STR_LITERAL("x"));
    assert_int_equal(talk.sink.flush(talk.sink.ctx, &nowhere), 0);
    peer_settle(&talk.peer);
    must_be(1, 1, 0, 0, 0);
}

static void test_intake_out_of_memory_is_a_rejection(void **state)
{
    (void)state;
    struct talk talk;
    talk_open(&talk);
    peer_begin(&talk.peer);
    say_batch(&talk, 1, 0, 0);
    mem_fail_after(1);
    say_sample(&talk, "m");
    mem_fail_after(0);
    say_sample(&talk, "m");
    peer_settle(&talk.peer);
    assert_int_equal(talk.told.last_err, ERR_NOMEM);
    must_be(1, 1, 0, 0, 0);
}

/* --- the ledger -------------------------------------------------------------------------------- */

static void test_intake_batches_are_accounted_for(void **state)
{
    (void)state;
    struct talk talk;
    talk_open(&talk);
    peer_begin(&talk.peer);
    say_hello(&talk, 0, "s", "", &nowhere);
    say_batch(&talk, 9, 0, 0);
    say_samples(&talk, 5);
    say_sample(&talk, ""); /* takes a number all the same */
    say_batch(&talk, 9, 6, 0);
    say_samples(&talk, 4);
    peer_settle(&talk.peer);
    must_be(9, 1, 0, 0, 0);
    peer_begin(&talk.peer);
    say_batch(&talk, 9, 20, 3); /* 10 to 19 did not come, 3 were given up */
    say_samples(&talk, 1);
    peer_settle(&talk.peer);
    must_be(10, 1, 3, 7, 0);
    struct mark end = {.has_sequence = true, .sequence = 25, .has_dropped = true, .dropped = 7};
    peer_begin(&talk.peer);
    assert_int_equal(talk.sink.goodbye(talk.sink.ctx, &end), 0);
    peer_settle(&talk.peer);
    must_be(10, 1, 7, 7, 0);
    assert_int_equal(all()->sent, 25);
}

static void test_intake_lines_take_numbers_after_a_hello(void **state)
{
    (void)state;
    struct talk talk;
    talk_open(&talk);
    peer_begin(&talk.peer);
    say_samples(&talk, 2); /* nobody's */
    struct mark begin = at(0);
    say_hello(&talk, 7, "s", "", &begin);
    say_samples(&talk, 3);
    struct mark mark = {.has_sequence = true, .sequence = 5, .has_dropped = true, .dropped = 1};
    assert_int_equal(talk.sink.flush(talk.sink.ctx, &mark), 0);
    say_samples(&talk, 1);
    peer_settle(&talk.peer);
    must_be(4, 0, 1, 1, 2);
    uint8_t library = ledger_library(&core.ledger, STR_LITERAL("lib/1"));
    assert_int_equal(core.ledger.view.libraries[library].terms.sent, 6);
}

static void test_intake_refused_control_takes_no_number(void **state)
{
    (void)state;
    struct talk talk;
    talk_open(&talk);
    peer_begin(&talk.peer);
    say_batch(&talk, 9, 0, 0);
    say_samples(&talk, 2);
    say_rejected(&talk, ERR_RANGE, true); /* a hello with a text too long */
    say_samples(&talk, 2);
    say_batch(&talk, 9, 4, 0);
    say_samples(&talk, 1);
    peer_settle(&talk.peer);
    must_be(5, 0, 0, 0, 0);
    assert_int_equal(core.intake.rejected[err_row(ERR_RANGE)], 1); /* but it is counted */
    assert_int_equal(talk.told.rejected, 1);
}

static void test_intake_repetitions_are_outside_the_ledger(void **state)
{
    (void)state;
    struct talk talk;
    talk_open(&talk);
    peer_begin(&talk.peer);
    say_batch(&talk, 9, 0, 0);
    say_samples(&talk, 5);
    say_batch(&talk, 9, 0, 0); /* sent again */
    say_samples(&talk, 5);
    say_batch(&talk, 9, 5, 0);
    say_samples(&talk, 1);
    peer_settle(&talk.peer);
    must_be(6, 0, 0, 0, 5);
    assert_int_equal(core.intake.accepted, 11); /* its records count */
}

static void test_intake_a_flush_does_not_end_a_repetition(void **state)
{
    (void)state;
    struct talk talk;
    talk_open(&talk);
    peer_begin(&talk.peer);
    say_batch(&talk, 9, 0, 0);
    say_samples(&talk, 5);
    say_batch(&talk, 9, 0, 0);
    say_samples(&talk, 2);
    assert_int_equal(talk.sink.flush(talk.sink.ctx, &nowhere), 0);
    say_samples(&talk, 2);
    say_hello(&talk, 9, "s", "", &nowhere);
    say_samples(&talk, 1);
    say_batch(&talk, 9, 5, 0); /* the new ones: still number 5 */
    say_samples(&talk, 1);
    peer_settle(&talk.peer);
    must_be(6, 0, 0, 0, 5);
}

static void test_intake_another_client_ends_a_repetition(void **state)
{
    (void)state;
    struct talk talk;
    talk_open(&talk);
    peer_begin(&talk.peer);
    say_batch(&talk, 9, 0, 0);
    say_samples(&talk, 5);
    say_batch(&talk, 9, 0, 0);
    say_samples(&talk, 1);
    say_hello(&talk, 10, "s", "", &nowhere);
    say_samples(&talk, 3);
    peer_settle(&talk.peer);
    must_be(8, 0, 0, 0, 1);
}

static void test_intake_clients_may_share_a_connection(void **state)
{
    (void)state;
    struct talk talk;
    talk_open(&talk);
    peer_begin(&talk.peer);
    say_batch(&talk, 1, 0, 0);
    say_samples(&talk, 3);
    say_batch(&talk, 2, 0, 0);
    say_samples(&talk, 3);
    say_batch(&talk, 1, 3, 0);
    say_samples(&talk, 3);
    say_batch(&talk, 2, 4, 0);
    peer_settle(&talk.peer);
    must_be(9, 0, 0, 1, 0);
}

/* A client that was forgotten goes on where its connection knows it to be. */
static void test_intake_survives_being_forgotten(void **state)
{
    (void)state;
    struct talk talk;
    talk_open(&talk);
    peer_begin(&talk.peer);
    say_batch(&talk, 1, 0, 0);
    say_samples(&talk, 3);
    peer_settle(&talk.peer);
    for (uint64_t i = 0; i < LEDGER_CLIENTS_MAX; i++) {
        struct talk other;
        talk_open(&other);
        peer_begin(&other.peer);
        say_batch(&other, 1000 + i, 0, 0);
        peer_settle(&other.peer);
    }
    peer_begin(&talk.peer);
    say_batch(&talk, 1, 5, 0); /* 3 and 4 are missed although it was forgotten */
    say_samples(&talk, 1);
    peer_settle(&talk.peer);
    must_be(4, 0, 0, 2, 0);
}

/* --- random schedules -------------------------------------------------------------------------- */

/* A client that numbers its calls, gives some up, loses batches, sends some twice. */
struct client {
    uint64_t id;
    uint64_t calls; /* numbers given out */
    uint64_t dropped;
    bool stream;
    struct talk talk;
};

enum { CLIENTS = 12 };

struct truth {
    uint64_t sent, accepted, rejected, dropped, lost, unledgered, control;
};

static void deliver(struct client *client, struct random *random, uint64_t first, uint64_t count,
                    struct truth *truth, bool again)
{
    if (!client->stream) {
        talk_open(&client->talk); /* each datagram is a peer of its own */
    }
    peer_begin(&client->talk.peer);
    say_batch(&client->talk, client->id, first, client->dropped);
    for (uint64_t i = 0; i < count; i++) {
        bool good = random_below(random, 5) != 0;
        say_sample(&client->talk, good ? "m" : "");
        if (again) {
            truth->unledgered++;
        } else {
            *(good ? &truth->accepted : &truth->rejected) += 1;
        }
        if (random_below(random, 10) == 0) {
            assert_int_equal(client->talk.sink.flush(client->talk.sink.ctx, &nowhere), 0);
        }
        if (random_below(random, 10) == 0) {
            say_rejected(&client->talk, ERR_RANGE, true);
            truth->control++;
        }
        if (client->stream && random_below(random, 4) == 0) { /* reads end anywhere */
            peer_settle(&client->talk.peer);
            peer_begin(&client->talk.peer);
        }
    }
    peer_settle(&client->talk.peer);
}

static void test_intake_balances_under_random_schedules(void **state)
{
    (void)state;
    struct random random = random_start("schedules");
    static struct client clients[CLIENTS];
    struct truth truth = {0};
    uint64_t next_id = 1;
    for (size_t i = 0; i < CLIENTS; i++) {
        clients[i] = (struct client){.id = next_id++, .stream = i % 2 == 0};
        talk_open(&clients[i].talk);
        deliver(&clients[i], &random, 0, 0, &truth, false); /* it is known from its first number */
    }
    for (int step = 0; step < 30000; step++) {
        struct client *client = &clients[random_below(&random, CLIENTS)];
        uint64_t count = random_below(&random, 6);
        switch (random_below(&random, 12)) {
        case 0: /* gives up some calls */
            client->calls += count;
            client->dropped += count;
            truth.dropped += count;
            break;
        case 1: /* a batch is lost */
            client->calls += count;
            truth.lost += count;
            break;
        case 2: /* a batch comes twice */
            deliver(client, &random, client->calls, count, &truth, false);
            client->calls += count;
            deliver(client, &random, client->calls - count, count, &truth, count > 0);
            break;
        case 3: /* reconnects */
            talk_open(&client->talk);
            break;
        case 4: /* restarts, after a goodbye that owns up to everything */
            deliver(client, &random, client->calls, 0, &truth, false);
            truth.sent += client->calls;
            *client = (struct client){.id = next_id++, .stream = client->stream};
            talk_open(&client->talk);
            deliver(client, &random, 0, 0, &truth, false);
            break;
        default:
            deliver(client, &random, client->calls, count, &truth, false);
            client->calls += count;
        }
        must_balance();
    }
    for (size_t i = 0; i < CLIENTS; i++) {
        deliver(&clients[i], &random, clients[i].calls, 0, &truth, false);
        truth.sent += clients[i].calls;
    }
    must_be(truth.accepted, truth.rejected, truth.dropped, truth.lost, truth.unledgered);
    assert_int_equal(all()->sent, truth.sent);
    assert_int_equal(core.intake.accepted + sum_of(core.intake.rejected),
                     truth.accepted + truth.rejected + truth.unledgered + truth.control);
}

/* Far more clients than are remembered: attributions may be lost, the balance is not. */
static void test_intake_balances_when_clients_are_forgotten(void **state)
{
    (void)state;
    struct random random = random_start("forgotten");
    enum { MANY = 3 * LEDGER_CLIENTS_MAX };
    static uint64_t calls[MANY];
    static struct client one;
    struct truth truth = {0};
    memset(calls, 0, sizeof calls);
    for (int step = 0; step < 40000; step++) {
        size_t who = random_below(&random, MANY);
        uint64_t count = random_below(&random, 4);
        one = (struct client){.id = 1 + who};
        uint64_t back = random_below(&random, 10) == 0 ? random_below(&random, 1 + calls[who]) : 0;
        deliver(&one, &random, calls[who] - back, count, &truth, false);
        calls[who] += count;
    }
    must_balance();
    assert_int_equal(core.intake.accepted, truth.accepted);
    assert_int_equal(all()->accepted + sum_of(all()->rejected) + core.ledger.view.unledgered,
                     truth.accepted + truth.rejected);
}

/* --- governance -------------------------------------------------------------------------------- */

#define GOOD "cdd01ef066bc6cf2"

static double violations_of(const char *service)
{
    char labels[256];
    (void)snprintf(labels, sizeof labels, "service=%s,violation_type=hash_mismatch", service);
    return core_series(&core, "constitutional_violations", labels).number;
}

static void test_intake_violations_are_counted_but_records_count(void **state)
{
    (void)state;
    struct talk talk;
    talk_open(&talk);
    peer_begin(&talk.peer);
    say_hello(&talk, 0, "billing", GOOD, &nowhere);
    say_hello(&talk, 0, "billing", "", &nowhere); /* says nothing, so nothing is wrong */
    assert_int_equal(talk.told.violations, 0);
    say_hello(&talk, 0, "billing", "0000", &nowhere);
    say_hello(&talk, 0, "billing", GOOD "0", &nowhere);
    say_hello(&talk, 0, "", "0000", &nowhere);
    say_samples(&talk, 2);
    peer_settle(&talk.peer);
    assert_int_equal(talk.told.violations, 3);
    assert_string_equal(talk.told.service, "unknown");
    assert_true(violations_of("billing") == 2);
    assert_true(violations_of("unknown") == 1);
    assert_int_equal(core.intake.accepted, 2);
}

static void test_intake_enforcement_refuses_until_the_hash_is_right(void **state)
{
    (void)state;
    core.intake.enforce_hash = true;
    struct talk talk;
    talk_open(&talk);
    peer_begin(&talk.peer);
    say_sample(&talk, "m");
    assert_int_equal(talk.told.last_err, ERR_NO_HELLO);
    say_hello(&talk, 0, "s", "0000", &nowhere);
    say_sample(&talk, "m");
    assert_int_equal(talk.told.last_err, ERR_HASH);
    say_hello(&talk, 0, "s", "", &nowhere);
    say_sample(&talk, "m");
    assert_int_equal(talk.told.last_err, ERR_HASH);
    assert_int_equal(talk.told.rejected, 3);
    say_hello(&talk, 0, "s", GOOD, &nowhere);
    say_sample(&talk, "m");
    peer_settle(&talk.peer);
    assert_int_equal(talk.told.rejected, 3);
    assert_int_equal(core.intake.accepted, 1);
    assert_int_equal(core.intake.rejected[err_row(ERR_HASH)], 2);
    assert_int_equal(core.intake.rejected[err_row(ERR_NO_HELLO)], 1);
}

static void test_intake_enforcement_on_batches(void **state)
{
    (void)state;
    core.intake.enforce_hash = true;
    const struct {
        const char *hash;
        int err;
    } table[] = {{"", ERR_NO_HELLO}, {"0000", ERR_HASH}, {GOOD, 0}};
    for (uint64_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct talk talk;
        talk_open(&talk);
        peer_begin(&talk.peer);
        struct batch batch = batch_of(1 + i, 0, 0);
        batch.constitutional_hash = str_of(table[i].hash);
        talk.sink.batch(talk.sink.ctx, &batch);
        say_sample(&talk, "m");
        peer_settle(&talk.peer);
        assert_int_equal(talk.told.last_err, table[i].err);
    }
    must_be(1, 2, 0, 0, 0); /* refused records have their numbers */
}

/* A batch does not say whose it is; on a connection a hello has said so before. */
static void test_intake_violations_of_batches_are_those_of_the_hello(void **state)
{
    (void)state;
    struct talk talk;
    talk_open(&talk);
    peer_begin(&talk.peer);
    struct batch batch = batch_of(1, 0, 0);
    batch.constitutional_hash = STR_LITERAL("0000");
    talk.sink.batch(talk.sink.ctx, &batch);
    say_hello(&talk, 0, "billing", GOOD, &nowhere);
    talk.sink.batch(talk.sink.ctx, &batch);
    peer_settle(&talk.peer);
    assert_true(violations_of("unknown") == 1);
    assert_true(violations_of("billing") == 1);
    assert_string_equal(talk.told.service, "billing");
}

static void test_intake_violations_past_a_ceiling_are_counted_together(void **state)
{
    (void)state;
    struct talk talk;
    talk_open(&talk);
    peer_begin(&talk.peer);
    unsigned ceiling = core.metrics->options.max_series_per_family;
    for (unsigned i = 0; i < 3 * ceiling; i++) {
        char service[32];
        (void)snprintf(service, sizeof service, "service-%u", i);
        say_hello(&talk, 0, service, "0000", &nowhere);
    }
    assert_true(violations_of("service-0") == 1);
    assert_true(core_series(&core, "constitutional_violations", "dwell_overflow=true").number ==
                2 * ceiling);
    peer_settle(&talk.peer);
}

static void test_intake_services_with_bad_names_are_other(void **state)
{
    (void)state;
    struct talk talk;
    talk_open(&talk);
    peer_begin(&talk.peer);
    char longest[INTAKE_SERVICE_BYTES + 1];
    memset(longest, 'x', sizeof longest);
    longest[INTAKE_SERVICE_BYTES] = '\0';
    say_hello(&talk, 0, longest, "0000", &nowhere);
    say_hello(&talk, 0, "\xff", "0000", &nowhere);
    struct hello hello = {.service_name = {"a\0b", 3}, .constitutional_hash = STR_LITERAL("0")};
    assert_int_equal(talk.sink.hello(talk.sink.ctx, &hello, &nowhere), 0);
    assert_true(violations_of("other") == 3);
    longest[INTAKE_SERVICE_BYTES - 1] = '\0';
    say_hello(&talk, 0, longest, "0000", &nowhere);
    assert_true(violations_of(longest) == 1);
    peer_settle(&talk.peer);
}

/* --- metrics ----------------------------------------------------------------------------------- */

static int say_metric(struct talk *talk, const struct metric *metric)
{
    int err = talk->sink.metric(talk->sink.ctx, metric);
    if (err != 0) { /* what decoders do */
        struct rejection rejection = {.err = err};
        talk->sink.reject(talk->sink.ctx, &rejection);
    }
    return err;
}

/* As a decoder that has spellings: the short way, else the long one. */
static void say_spelled(struct talk *talk, const struct metric *metric, bool wanted)
{
    bool applied = talk->sink.spelled(talk->sink.ctx, &metric->spelling, metric->value, 1);
    assert_int_equal(applied, wanted);
    if (!applied) {
        (void)say_metric(talk, metric);
    }
}

static void say_pid(struct talk *talk, uint64_t pid)
{
    struct hello hello = {.pid = pid};
    assert_int_equal(talk->sink.hello(talk->sink.ctx, &hello, &nowhere), 0);
}

static double value_of(const char *family, const char *labels)
{
    return core_series(&core, family, labels).number;
}

static void test_intake_metrics_are_accounted_for(void **state)
{
    (void)state;
    struct talk talk;
    struct metric good = metric_of(METRIC_COUNT, "c", 2, "");
    struct metric bad = metric_of(METRIC_SET, "c", 2, "");
    talk_open(&talk);
    peer_begin(&talk.peer);
    say_batch(&talk, 9, 0, 0);
    assert_int_equal(say_metric(&talk, &good), 0);
    assert_int_equal(say_metric(&talk, &bad), ERR_CONFLICT);
    say_samples(&talk, 1);
    assert_int_equal(say_metric(&talk, &good), 0);
    assert_int_equal(talk.sink.flush(talk.sink.ctx, &nowhere), 0);
    assert_int_equal(talk.told.applied, 3);
    peer_settle(&talk.peer);
    must_be(3, 1, 0, 0, 0);
    assert_true(value_of("c", "") == 4);
    assert_int_equal(core.intake.rejected[err_row(ERR_CONFLICT)], 1);
}

/* Each is counted once, whichever way it came. */
static void test_intake_spelled_records_are_records(void **state)
{
    (void)state;
    struct talk talk;
    struct metric metric = metric_of(METRIC_COUNT, "c", 2, "a=1");
    metric.spelling = (struct spelling){SPELLING_STATSD, STR_LITERAL("c:"), STR_LITERAL("|c")};
    talk_open(&talk);
    peer_begin(&talk.peer);
    say_batch(&talk, 9, 0, 0);
    say_spelled(&talk, &metric, false);
    say_spelled(&talk, &metric, true);
    say_spelled(&talk, &metric, true);
    peer_settle(&talk.peer);
    must_be(3, 0, 0, 0, 0);
    assert_true(value_of("c", "a=1") == 6);
}

static void test_intake_spelled_records_do_without_memory_what_others_do(void **state)
{
    (void)state;
    struct talk talk;
    struct metric metric = metric_of(METRIC_COUNT, "c", 2, "");
    metric.spelling = (struct spelling){SPELLING_STATSD, STR_LITERAL("c:"), STR_LITERAL("|c")};
    talk_open(&talk);
    peer_begin(&talk.peer);
    say_spelled(&talk, &metric, false);
    struct snapshot *snapshot = must_take(&core);
    mem_fail_after(1);
    say_spelled(&talk, &metric, false); /* the long way then finds memory */
    mem_fail_after(0);
    assert_int_equal(talk.told.rejected, 0);
    peer_settle(&talk.peer);
    assert_int_equal(core.intake.accepted, 2);
    assert_true(value_of("c", "") == 4);
    core_drop(&core, snapshot);
}

static void test_intake_enforcement_is_for_metrics_too(void **state)
{
    (void)state;
    core.intake.enforce_hash = true;
    struct talk talk;
    struct metric metric = metric_of(METRIC_COUNT, "c", 2, "");
    metric.spelling = (struct spelling){SPELLING_STATSD, STR_LITERAL("c:"), STR_LITERAL("|c")};
    talk_open(&talk);
    peer_begin(&talk.peer);
    say_spelled(&talk, &metric, false);
    assert_int_equal(talk.told.last_err, ERR_NO_HELLO);
    say_hello(&talk, 0, "s", GOOD, &nowhere);
    say_spelled(&talk, &metric, false);
    say_spelled(&talk, &metric, true);
    say_hello(&talk, 0, "s", "0000", &nowhere);
    say_spelled(&talk, &metric, false); /* although it is known */
    assert_int_equal(talk.told.last_err, ERR_HASH);
    assert_int_equal(talk.told.rejected, 2);
    assert_true(value_of("c", "") == 4);
    peer_settle(&talk.peer);
}

/* --- processes --------------------------------------------------------------------------------- */

static void add(struct talk *talk, double amount)
{
    struct metric metric = metric_of(METRIC_ADD, "g", amount, "");
    assert_int_equal(say_metric(talk, &metric), 0);
}

static void test_intake_parts_end_with_their_process(void **state)
{
    (void)state;
    struct talk one;
    struct talk two;
    talk_open(&one);
    talk_open(&two);
    add(&one, 1); /* nobody's */
    say_pid(&one, 100);
    say_pid(&two, 200);
    add(&one, 10);
    add(&two, 100);
    say_pid(&two, 0); /* says nothing of who it is */
    add(&two, 1000);
    say_hello(&one, 0, "s", "", &nowhere);
    assert_true(value_of("g", "") == 1111);
    assert_int_equal(core.processes.count, 2);
    peer_fini(&two.peer);
    assert_true(value_of("g", "") == 11);
    peer_fini(&one.peer);
    assert_true(value_of("g", "") == 1);
    assert_int_equal(core.processes.count, 0);
    peer_fini(&one.peer); /* it is over already */
}

/* The same process once more on its connection stays what it is; its child is another. */
static void test_intake_a_hello_may_come_again(void **state)
{
    (void)state;
    struct talk talk;
    talk_open(&talk);
    say_pid(&talk, 100);
    add(&talk, 1);
    say_pid(&talk, 100);
    assert_int_equal(core.processes.first->entered, 1);
    assert_true(value_of("g", "") == 1);
    say_pid(&talk, 101); /* nobody watches, and it was the parent's last connection */
    assert_int_equal(core.processes.count, 1);
    assert_true(value_of("g", "") == 0);
    add(&talk, 5);
    peer_fini(&talk.peer);
    assert_true(value_of("g", "") == 0);
}

static void test_intake_connections_of_a_process_share_its_part(void **state)
{
    (void)state;
    struct talk talks[3];
    for (size_t i = 0; i < 3; i++) {
        talk_open(&talks[i]);
        say_pid(&talks[i], 100);
        add(&talks[i], 1);
    }
    assert_int_equal(core.processes.count, 1);
    for (size_t i = 0; i < 3; i++) {
        assert_true(value_of("g", "") == 3);
        peer_fini(&talks[i].peer);
    }
    assert_true(value_of("g", "") == 0);
}

static void test_intake_past_the_ceiling_of_processes_is_nobody(void **state)
{
    (void)state;
    struct talk talk;
    talk_open(&talk);
    mem_fail_after(1);
    say_pid(&talk, 100);
    mem_fail_after(0);
    add(&talk, 3);
    peer_fini(&talk.peer);
    assert_true(value_of("g", "") == 3);
}

/* --- acknowledgements -------------------------------------------------------------------------- */

/* A peer that says hello for the client and asks, its next record having this number. */
static void open_asking(struct talk *talk, uint64_t client, uint64_t sequence)
{
    struct mark mark = at(sequence);
    struct hello hello = {
        .client = STR_LITERAL("lib/1"), .acknowledge = true, .has_client_id = true, .pid = 7};
    talk_open(talk);
    name(hello.client_id, client);
    peer_begin(&talk->peer);
    assert_int_equal(talk->sink.hello(talk->sink.ctx, &hello, &mark), 0);
    peer_settle(&talk->peer);
}

static void close_talk(struct talk *talk)
{
    peer_settle(&talk->peer);
    peer_fini(&talk->peer);
}

static void must_have_passed_over(uint64_t records)
{
    assert_int_equal(core.counters.value[COUNTER_DUPLICATE_RECORDS], records);
}

static void test_intake_passes_over_what_is_sent_again(void **state)
{
    (void)state;
    struct talk talk;
    open_asking(&talk, 9, 0);
    peer_begin(&talk.peer);
    say_batch(&talk, 9, 0, 0);
    say_samples(&talk, 4);
    say_batch(&talk, 9, 4, 0);
    say_samples(&talk, 4);
    close_talk(&talk);
    must_be(8, 0, 0, 0, 0);
    /* On another connection: one batch whole, one in part, one that is new. */
    open_asking(&talk, 9, 0);
    peer_begin(&talk.peer);
    say_batch(&talk, 9, 0, 0);
    say_samples(&talk, 4);
    must_have_passed_over(4);
    say_batch(&talk, 9, 6, 0);
    say_samples(&talk, 4);
    must_have_passed_over(6);
    say_batch(&talk, 9, 10, 0);
    say_samples(&talk, 1);
    assert_int_equal(talk.sink.flush(talk.sink.ctx, &nowhere), 0);
    assert_int_equal(talk.told.applied, 3); /* what had come before is not applied again */
    close_talk(&talk);
    must_be(11, 0, 0, 0, 0);
    must_have_passed_over(6);
    assert_int_equal(core.intake.accepted, 11);
}

static void test_intake_passes_over_every_kind_of_record(void **state)
{
    (void)state;
    struct talk talk;
    struct brief briefs[4] = {{.model_name = STR_LITERAL("m"), .execution_time_ms = 1}};
    struct budget budgets[4] = {{.layer = STR_LITERAL("layer"), .elapsed_ms = 1}};
    int errs[4] = {1, 1, 1, 1};
    for (unsigned i = 1; i < 4; i++) {
        briefs[i] = briefs[0];
        budgets[i] = budgets[0];
    }
    struct metric metric = metric_of(METRIC_COUNT, "c", 1, "");
    struct str family;
    assert_int_equal(budgets_declare(core.budgets, &family), 0);
    for (unsigned round = 0; round < 2; round++) {
        open_asking(&talk, 9, 0);
        peer_begin(&talk.peer);
        say_samples(&talk, 1);
        assert_int_equal(talk.sink.briefs(talk.sink.ctx, briefs, 4, errs), 0);
        assert_int_equal(talk.sink.budgets(talk.sink.ctx, budgets, 4, errs), 0);
        assert_int_equal(talk.sink.budget(talk.sink.ctx, budgets), 0);
        assert_int_equal(talk.sink.metric(talk.sink.ctx, &metric), 0);
        say_rejected(&talk, ERR_RANGE, false);
        say_rejected(&talk, ERR_RANGE, true); /* has no number: neither counted nor passed over */
        close_talk(&talk);
        assert_int_equal(talk.told.rejected, round == 0 ? 2 : 1);
        must_be(11, 1, 0, 0, 0);
        must_have_passed_over(round == 0 ? 0 : 12);
    }
    assert_true(value_of("c", "") == 1);
}

/* A group that begins among what has come and ends behind it. */
static void test_intake_passes_over_the_first_of_a_group(void **state)
{
    (void)state;
    struct brief briefs[6];
    int errs[6];
    for (uint64_t first = 0; first <= 6; first++) {
        for (unsigned i = 0; i < 6; i++) {
            briefs[i] = (struct brief){.model_name = STR_LITERAL("m"), .execution_time_ms = 1};
        }
        briefs[5].model_name = STR_LITERAL(""); /* is refused, as the last one */
        struct talk talk;
        open_asking(&talk, 100 + first, 0);
        peer_begin(&talk.peer);
        say_samples(&talk, first);
        close_talk(&talk);
        open_asking(&talk, 100 + first, 0);
        peer_begin(&talk.peer);
        unsigned refused = talk.sink.briefs(talk.sink.ctx, briefs, 6, errs);
        assert_int_equal(refused, first < 6);
        for (unsigned i = 0; i < 5 && refused > 0; i++) {
            assert_int_equal(errs[i], 0);
        }
        assert_int_equal(talk.peer.applied, first < 6 ? 5 - first : 0);
        close_talk(&talk);
    }
}

static void test_intake_without_asking_repetitions_count_as_ever(void **state)
{
    (void)state;
    struct talk talk;
    talk_open(&talk);
    peer_begin(&talk.peer);
    say_batch(&talk, 9, 0, 0);
    say_samples(&talk, 4);
    say_batch(&talk, 9, 0, 0);
    say_samples(&talk, 4);
    peer_settle(&talk.peer);
    must_be(4, 0, 0, 0, 4);
    must_have_passed_over(0);
}

static void note_raw(void *ctx, struct str bytes)
{
    *(size_t *)ctx += bytes.len;
}

static void test_intake_raw_bytes_are_told_of_who_asks(void **state)
{
    (void)state;
    size_t told = 0;
    struct peer_events events = {.ctx = &told, .raw = note_raw};
    struct hello hello = {.acknowledge = true};
    struct peer peer;
    peer_init(&peer, &core.intake, &events, 0);
    struct record_sink sink = peer_sink(&peer);
    peer_begin(&peer);
    assert_int_equal(sink.hello(sink.ctx, &hello, &nowhere), 0);
    sink.raw(sink.ctx, STR_LITERAL("nobody"));
    assert_int_equal(told, 0); /* without a client id there is nothing to ask for */
    hello.has_client_id = true;
    assert_int_equal(sink.hello(sink.ctx, &hello, &nowhere), 0);
    sink.raw(sink.ctx, STR_LITERAL("some"));
    hello.acknowledge = false;
    assert_int_equal(sink.hello(sink.ctx, &hello, &nowhere), 0);
    sink.raw(sink.ctx, STR_LITERAL("more"));
    assert_int_equal(told, 8); /* who asked once asks for as long as the connection lasts */
    peer_settle(&peer);
    peer_fini(&peer);
}

static void test_intake_who_is_barred_is_not_heard(void **state)
{
    (void)state;
    struct talk talk;
    open_asking(&talk, 9, 0);
    peer_begin(&talk.peer);
    say_samples(&talk, 1);
    peer_bar(&talk.peer);
    say_samples(&talk, 3);
    say_batch(&talk, 9, 4, 0);
    say_samples(&talk, 3);
    say_rejected(&talk, ERR_RANGE, false);
    close_talk(&talk);
    must_be(1, 0, 0, 0, 0);
    must_have_passed_over(0);
}

/* As after the end of the process: what is known of a peer is enough to go on for it. */
static void test_intake_a_described_peer_goes_on(void **state)
{
    (void)state;
    struct talk talk;
    struct peer_identity who;
    open_asking(&talk, 9, 0);
    peer_begin(&talk.peer);
    say_batch(&talk, 9, 5, 2); /* of the gap of 5 two were dropped */
    say_samples(&talk, 3);
    peer_settle(&talk.peer);
    peer_begin(&talk.peer);
    peer_describe(&talk.peer, &who);
    assert_int_equal(who.mark.sequence, 8);
    talk.peer.skip = 3;
    peer_describe(&talk.peer, &who);
    assert_int_equal(who.mark.sequence, 5); /* what comes next has come before */
    talk.peer.skip = 0;
    peer_describe(&talk.peer, &who);
    assert_int_equal(who.mark.dropped, 2);
    assert_int_equal(who.said_pid, 7);
    assert_true(str_is(who.library, "lib/1"));
    struct talk other;
    talk_open(&other);
    peer_resume(&other.peer, &who);
    say_batch(&other, 9, 6, 2); /* two of these have come */
    say_samples(&other, 4);
    close_talk(&other);
    close_talk(&talk);
    must_be(5, 0, 2, 3, 0);
    must_have_passed_over(2);
    /* One that the ledger does not know stands where it is said to stand. */
    name(who.client_id, 10);
    talk_open(&other);
    peer_resume(&other.peer, &who);
    say_samples(&other, 1);
    close_talk(&other);
    must_be(6, 0, 4, 3, 0);
}

/* A client that is cut off at any moment and sends again from any number that is not acknowledged: in the
 * end every record has counted, once. */
static void test_intake_counts_once_under_random_repetitions(void **state)
{
    (void)state;
    struct random random = random_start("intake repetitions");
    uint64_t reached = 0;
    for (unsigned round = 0; round < 2000; round++) {
        struct talk talk;
        uint64_t first = reached - random_below(&random, reached < 50 ? reached + 1 : 50);
        open_asking(&talk, 9, first);
        uint64_t next = first;
        for (uint64_t left = random_below(&random, 5); left > 0; left--) {
            uint64_t count = random_below(&random, 30);
            peer_begin(&talk.peer);
            say_batch(&talk, 9, next, 0);
            say_samples(&talk, count);
            peer_settle(&talk.peer);
            next += count;
            reached = next > reached ? next : reached;
            assert_int_equal(talk.peer.reached, reached);
        }
        close_talk(&talk);
        must_be(reached, 0, 0, 0, 0);
    }
}

/* After a reconnect the daemon may read both connections of a client in turn; lines bear no numbers. */
static void test_intake_counts_once_what_two_connections_bring(void **state)
{
    (void)state;
    enum { RECORDS = 4000, MOST = 300 };
    struct random random = random_start("two connections");
    struct talk talks[2];
    uint64_t said[2] = {0, 0};
    open_asking(&talks[0], 9, 0);
    open_asking(&talks[1], 9, 0);
    while (said[0] + said[1] < 2 * RECORDS) {
        unsigned i = (unsigned)random_below(&random, 2);
        uint64_t left = RECORDS - said[i];
        uint64_t count = random_below(&random, left < MOST ? left + 1 : MOST);
        peer_begin(&talks[i].peer);
        say_samples(&talks[i], count);
        peer_settle(&talks[i].peer);
        said[i] += count;
        uint64_t reached = said[0] > said[1] ? said[0] : said[1];
        must_be(reached, 0, 0, 0, 0);
        assert_int_equal(talks[i].peer.reached, reached);
    }
    close_talk(&talks[0]);
    close_talk(&talks[1]);
    must_have_passed_over(RECORDS);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_core, close_core)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_intake_applies_and_answers),
        TEST(test_intake_counts_what_decoders_ignore),
        TEST(test_intake_events_may_be_absent),
        TEST(test_intake_tells_of_what_is_over_its_budget),
        TEST(test_intake_out_of_memory_is_a_rejection),
        TEST(test_intake_batches_are_accounted_for),
        TEST(test_intake_lines_take_numbers_after_a_hello),
        TEST(test_intake_refused_control_takes_no_number),
        TEST(test_intake_repetitions_are_outside_the_ledger),
        TEST(test_intake_a_flush_does_not_end_a_repetition),
        TEST(test_intake_another_client_ends_a_repetition),
        TEST(test_intake_clients_may_share_a_connection),
        TEST(test_intake_survives_being_forgotten),
        TEST(test_intake_balances_under_random_schedules),
        TEST(test_intake_balances_when_clients_are_forgotten),
        TEST(test_intake_violations_are_counted_but_records_count),
        TEST(test_intake_enforcement_refuses_until_the_hash_is_right),
        TEST(test_intake_enforcement_on_batches),
        TEST(test_intake_violations_of_batches_are_those_of_the_hello),
        TEST(test_intake_violations_past_a_ceiling_are_counted_together),
        TEST(test_intake_services_with_bad_names_are_other),
        TEST(test_intake_metrics_are_accounted_for),
        TEST(test_intake_spelled_records_are_records),
        TEST(test_intake_spelled_records_do_without_memory_what_others_do),
        TEST(test_intake_enforcement_is_for_metrics_too),
        TEST(test_intake_parts_end_with_their_process),
        TEST(test_intake_a_hello_may_come_again),
        TEST(test_intake_connections_of_a_process_share_its_part),
        TEST(test_intake_past_the_ceiling_of_processes_is_nobody),
        TEST(test_intake_passes_over_what_is_sent_again),
        TEST(test_intake_passes_over_every_kind_of_record),
        TEST(test_intake_passes_over_the_first_of_a_group),
        TEST(test_intake_without_asking_repetitions_count_as_ever),
        TEST(test_intake_raw_bytes_are_told_of_who_asks),
        TEST(test_intake_who_is_barred_is_not_heard),
        TEST(test_intake_a_described_peer_goes_on),
        TEST(test_intake_counts_once_under_random_repetitions),
        TEST(test_intake_counts_once_what_two_connections_bring),
    };
    return cmocka_run_group_tests_name("intake", tests, core_tables, NULL);
}
