/*
 * The C client when it asks for acknowledgements, against a daemon played by a thread (client_server.h):
 * what is kept, what is sent again, and what becomes of it when there are none.
 */
#include "client_server.h"
#include "dwell.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PATIENT_MS = 30000, LEAST_KEPT = 262144 };

static struct server server;
static dwell_t *dwell;
static const struct dwell_model *model;

static struct dwell_options options_of(void)
{
    return (struct dwell_options){
        .size = sizeof(struct dwell_options),
        .directory = server.directory,
        .evidence = DWELL_EVIDENCE_NONE,
        .close_timeout_ms = PATIENT_MS,
        .keep_ms = PATIENT_MS,
        .threads_max = 1,
        .buffer_bytes = 65536,
        .acknowledge = true,
        .unacknowledged_bytes = LEAST_KEPT,
    };
}

static void must_open(const struct dwell_options *options)
{
    dwell = dwell_open(options);
    assert_non_null(dwell);
    model = dwell_model(dwell, "m");
    assert_non_null(model);
}

static void begin(enum server_manner manner, enum server_answer answer)
{
    struct dwell_options options = options_of();
    server_init(&server);
    server.answer = answer;
    server_start(&server, manner);
    must_open(&options);
}

static void track(unsigned times)
{
    struct dwell_track tracked;
    for (unsigned i = 0; i < times; i++) {
        dwell_track_begin(&tracked, model);
        dwell_track_end(&tracked, false);
    }
}

static struct dwell_stats stats_of(void)
{
    struct dwell_stats stats = {.size = sizeof stats};
    dwell_stats(dwell, &stats);
    return stats;
}

static void must_flush(void)
{
    assert_int_equal(dwell_flush(dwell, PATIENT_MS), DWELL_OK);
}

static void pause_1_ms(void)
{
    (void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

/* Polls until that many records are acknowledged, half a minute at most. */
static void must_come_to(uint64_t acknowledged)
{
    for (unsigned i = 0; stats_of().acknowledged < acknowledged && i < PATIENT_MS; i++) {
        pause_1_ms();
    }
    struct dwell_stats stats = stats_of();
    if (stats.acknowledged != acknowledged) {
        print_error("recorded %llu, sent %llu, resent %llu, acknowledged %llu, dropped %llu, "
                    "unconfirmed %llu, connections %llu\n",
                    (unsigned long long)stats.recorded, (unsigned long long)stats.sent,
                    (unsigned long long)stats.resent, (unsigned long long)stats.acknowledged,
                    (unsigned long long)stats.dropped, (unsigned long long)stats.unconfirmed,
                    (unsigned long long)stats.connections);
    }
    assert_int_equal(stats.acknowledged, acknowledged);
}

/* Polls until that many records are with the server, on its n-th connection or a later one. */
static void must_arrive(uint64_t records, uint64_t connections)
{
    server_wait_records(&server, records);
    for (unsigned i = 0; i < PATIENT_MS; i++) {
        struct dwell_stats stats = stats_of();
        if (stats.sent >= records && stats.connections >= connections) {
            return;
        }
        pause_1_ms();
    }
    fail_msg("%s", "not sent in time");
}

/* Polls until that many records have come to the server once more. */
static void must_come_again(uint64_t records)
{
    for (unsigned i = 0; i < PATIENT_MS && server_client(&server, 0).repeated < records; i++) {
        pause_1_ms();
    }
    assert_true(server_client(&server, 0).repeated >= records);
}

/* Closes the handle and the server: the account of its only client. */
static struct server_client end(int result)
{
    assert_int_equal(dwell_close(dwell), result);
    struct server_client account = server_client(&server, 0);
    server_fini(&server);
    return account;
}

static void test_dwell_acknowledge_keeps_until_it_is_told(void **state)
{
    (void)state;
    begin(SERVER_POLITE, SERVER_HOLDS);
    track(1000);
    must_arrive(1000, 1);
    assert_int_equal(stats_of().sent, 1000);
    assert_int_equal(stats_of().acknowledged, 0);
    server_set_answer(&server, SERVER_SAYS_YES);
    must_come_to(1000);
    track(10);
    struct server_client account = end(DWELL_OK); /* waits for the rest */
    assert_int_equal(account.records, 1010);
    assert_int_equal(account.repeated + account.lost + account.dropped, 0);
    assert_int_equal(account.goodbye, 1010);
}

/* What is applied and not kept for good goes with a daemon that is killed: a flush waits for more. */
static void must_flush_until_it_is_told(bool no_thread)
{
    struct dwell_options options = options_of();
    options.no_thread = no_thread;
    server_init(&server);
    server.answer = SERVER_HOLDS;
    server_start(&server, SERVER_POLITE);
    must_open(&options);
    track(10);
    assert_int_equal(dwell_flush(dwell, 100), DWELL_TIMEOUT);
    assert_int_equal(stats_of().acknowledged, 0);
    server_set_answer(&server, SERVER_SAYS_YES);
    for (unsigned i = 1; i <= 50; i++) {
        track(10);
        must_flush();
        assert_int_equal(stats_of().acknowledged, 10 + i * 10);
    }
    must_flush(); /* with nothing to wait for */
    pthread_mutex_lock(&server.lock);
    server.breaks_left = 2;
    pthread_mutex_unlock(&server.lock);
    server_set_manner(&server, SERVER_BREAKS_LATE);
    track(10);
    must_flush();
    assert_int_equal(stats_of().acknowledged, 520);
    struct server_client account = end(DWELL_OK);
    assert_int_equal(account.records, 520);
    assert_int_equal(account.lost + account.dropped, 0);
}

static void test_dwell_acknowledge_is_what_a_flush_waits_for(void **state)
{
    (void)state;
    must_flush_until_it_is_told(false);
    must_flush_until_it_is_told(true);
}

static void test_dwell_acknowledge_sends_again_what_it_was_not_told(void **state)
{
    (void)state;
    for (unsigned breaks = 1; breaks <= 3; breaks++) {
        begin(SERVER_POLITE, SERVER_HOLDS);
        track(500);
        must_arrive(500, 1);
        pthread_mutex_lock(&server.lock);
        server.breaks_left = breaks;
        pthread_mutex_unlock(&server.lock);
        server_set_manner(&server, SERVER_BREAKS_LATE);
        track(500);
        must_arrive(1000, breaks + 1);
        must_come_again(500); /* else a hello is answered by what there is already */
        server_set_answer(&server, SERVER_SAYS_YES);
        must_come_to(1000);
        struct dwell_stats stats = stats_of();
        assert_int_equal(stats.connections, breaks + 1);
        assert_int_equal(stats.sent, 1000);
        assert_true(stats.resent >= 500);
        assert_int_equal(stats.unconfirmed + stats.dropped, 0);
        struct server_client account = end(DWELL_OK);
        assert_int_equal(account.records, 1000);
        assert_true(account.repeated >= 500);
        assert_int_equal(account.lost + account.dropped, 0);
    }
}

static void test_dwell_acknowledge_sends_a_cut_frame_again(void **state)
{
    (void)state;
    begin(SERVER_POLITE, SERVER_SAYS_YES);
    pthread_mutex_lock(&server.lock);
    server.breaks_left = 2;
    pthread_mutex_unlock(&server.lock);
    server_set_manner(&server, SERVER_BREAKS);
    track(3000);
    must_flush();
    must_come_to(3000);
    struct server_client account = end(DWELL_OK);
    assert_int_equal(account.records, 3000);
    assert_int_equal(account.lost + account.dropped, 0);
}

/* Its ring is full, then its lane: what is recorded is dropped and counted, until it is told. */
static void test_dwell_acknowledge_has_a_bound_on_what_it_keeps(void **state)
{
    (void)state;
    begin(SERVER_POLITE, SERVER_HOLDS);
    unsigned calls = 0;
    while (stats_of().dropped == 0) {
        track(1000);
        calls += 1000;
        assert_true(calls < 10000000);
    }
    assert_int_equal(stats_of().acknowledged, 0);
    server_set_answer(&server, SERVER_SAYS_YES);
    must_flush();
    uint64_t dropped = stats_of().dropped;
    must_come_to(calls - dropped);
    track(10);
    struct server_client account = end(DWELL_OK);
    assert_int_equal(account.records, calls - dropped + 10);
    assert_int_equal(account.dropped, dropped);
    assert_int_equal(account.lost, 0);
}

/* A ring that goes round many times, with frames of every size. */
static void test_dwell_acknowledge_goes_round(void **state)
{
    (void)state;
    begin(SERVER_POLITE, SERVER_SAYS_YES);
    unsigned calls = 0;
    for (unsigned i = 0; i < 600; i++) {
        track(1 + i * 7 % 1999);
        calls += 1 + i * 7 % 1999;
        must_flush();
    }
    must_come_to(calls);
    struct server_client account = end(DWELL_OK);
    assert_int_equal(account.records, calls);
    assert_int_equal(account.lost + account.dropped + account.repeated, 0);
}

/* Who acknowledges nothing is sent nothing twice: what went with the connection is in doubt. */
static void must_be_as_without(enum server_answer answer)
{
    begin(SERVER_POLITE, answer);
    track(100);
    must_flush();
    pthread_mutex_lock(&server.lock);
    server.breaks_left = 1;
    pthread_mutex_unlock(&server.lock);
    server_set_manner(&server, SERVER_BREAKS_ASKED);
    track(50);
    assert_int_equal(dwell_flush(dwell, PATIENT_MS), DWELL_UNCONFIRMED);
    must_flush();
    struct dwell_stats stats = stats_of();
    assert_int_equal(stats.sent, 150);
    assert_int_equal(stats.unconfirmed, 50);
    assert_int_equal(stats.resent + stats.acknowledged + stats.dropped, 0);
    struct server_client account = end(DWELL_OK);
    assert_int_equal(account.records, 150);
    assert_int_equal(account.repeated, 0);
}

static void test_dwell_acknowledge_without_acknowledgements(void **state)
{
    (void)state;
    must_be_as_without(SERVER_SAYS_NO);
    must_be_as_without(SERVER_KNOWS_NONE);
}

/* The new daemon knows none: it would count twice what the old one may have. */
static void test_dwell_acknowledge_sends_nothing_again_to_an_older_daemon(void **state)
{
    (void)state;
    begin(SERVER_POLITE, SERVER_HOLDS);
    track(100);
    must_arrive(100, 1);
    server_stop(&server);
    server.answer = SERVER_KNOWS_NONE;
    server_start(&server, SERVER_POLITE);
    track(20);
    must_flush();
    struct dwell_stats stats = stats_of();
    assert_int_equal(stats.sent, 120);
    assert_int_equal(stats.unconfirmed, 100);
    assert_int_equal(stats.resent, 0);
    struct server_client account = end(DWELL_OK);
    assert_int_equal(account.records, 120);
}

/* No daemon for keep_ms: what was sent is in doubt, what was not is dropped. */
static void test_dwell_acknowledge_keeps_nothing_for_ever(void **state)
{
    (void)state;
    struct dwell_options options = options_of();
    options.keep_ms = 1;
    server_init(&server);
    server.answer = SERVER_HOLDS;
    server_start(&server, SERVER_POLITE);
    must_open(&options);
    track(100);
    must_arrive(100, 1);
    server_stop(&server);
    track(50);
    for (unsigned i = 0; stats_of().unconfirmed + stats_of().dropped < 150 && i < PATIENT_MS; i++) {
        pause_1_ms();
    }
    assert_int_equal(stats_of().unconfirmed, 100);
    assert_int_equal(stats_of().dropped, 50);
    server_start(&server, SERVER_POLITE);
    server_set_answer(&server, SERVER_SAYS_YES);
    must_flush(); /* it is connected */
    track(10);
    must_flush();
    struct server_client account = end(DWELL_OK);
    assert_int_equal(account.records, 110);
    assert_int_equal(account.repeated + account.lost, 0);
    assert_int_equal(account.dropped, 50);
}

/* A daemon whose journal is full says that it will, and ends the connection: it is there. */
static void test_dwell_acknowledge_keeps_while_somebody_answers(void **state)
{
    (void)state;
    struct dwell_options options = options_of();
    options.keep_ms = 10;
    server_init(&server);
    server.answer = SERVER_HOLDS;
    server_start(&server, SERVER_GREETS);
    must_open(&options);
    track(100);
    for (unsigned i = 0; stats_of().connections < 8 && i < PATIENT_MS; i++) {
        pause_1_ms(); /* from one to the next it waits up to 640 ms */
    }
    assert_true(stats_of().connections >= 8);
    assert_int_equal(stats_of().unconfirmed + stats_of().dropped, 0);
    server_set_answer(&server, SERVER_SAYS_YES);
    server_set_manner(&server, SERVER_POLITE);
    must_flush();
    must_come_to(100);
    struct server_client account = end(DWELL_OK);
    assert_int_equal(account.records, 100);
    assert_int_equal(account.lost + account.dropped, 0);
}

static atomic_bool is_closed;

static void *close_it(void *ret_result)
{
    *(int *)ret_result = dwell_close(dwell);
    atomic_store(&is_closed, true);
    return NULL;
}

/* A daemon that is started again while the service ends. */
static void test_dwell_acknowledge_waits_for_the_daemon_at_the_end(void **state)
{
    (void)state;
    int result = DWELL_TIMEOUT;
    pthread_t closing;
    begin(SERVER_POLITE, SERVER_SAYS_YES);
    track(10);
    must_flush();
    must_come_to(10);
    server_stop(&server);
    track(100);
    atomic_store(&is_closed, false);
    assert_int_equal(pthread_create(&closing, NULL, close_it, &result), 0);
    for (unsigned i = 0; !atomic_load(&is_closed) && i < 150; i++) {
        pause_1_ms(); /* nobody is there for that long */
    }
    server_start(&server, SERVER_POLITE);
    assert_int_equal(pthread_join(closing, NULL), 0);
    assert_int_equal(result, DWELL_OK);
    struct server_client account = server_client(&server, 0);
    assert_int_equal(account.records, 110);
    assert_int_equal(account.lost + account.dropped, 0);
    server_fini(&server);
}

/* Nor for longer than it may. */
static void test_dwell_acknowledge_waits_no_longer_than_it_may(void **state)
{
    (void)state;
    struct dwell_options options = options_of();
    options.close_timeout_ms = 50;
    server_init(&server);
    must_open(&options);
    track(100);
    assert_int_equal(dwell_close(dwell), DWELL_TIMEOUT);
    options.close_timeout_ms = PATIENT_MS;
    options.keep_ms = 1;
    must_open(&options);
    track(100);
    assert_int_equal(dwell_close(dwell), DWELL_UNCONFIRMED); /* they are not kept for as long */
    must_open(&options);
    assert_int_equal(dwell_close(dwell), DWELL_OK);
    server_fini(&server);
}

static void test_dwell_acknowledge_is_nothing_of_a_child(void **state)
{
    (void)state;
    begin(SERVER_POLITE, SERVER_HOLDS);
    track(100);
    must_arrive(100, 1);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        _exit(stats_of().sent + stats_of().acknowledged == 0 && dwell_close(dwell) == DWELL_OK ? 0
                                                                                               : 1);
    }
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    server_set_answer(&server, SERVER_SAYS_YES);
    must_come_to(100);
    struct server_client account = end(DWELL_OK);
    assert_int_equal(account.records, 100);
    assert_int_equal(account.repeated, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dwell_acknowledge_keeps_until_it_is_told),
        cmocka_unit_test(test_dwell_acknowledge_is_what_a_flush_waits_for),
        cmocka_unit_test(test_dwell_acknowledge_sends_again_what_it_was_not_told),
        cmocka_unit_test(test_dwell_acknowledge_sends_a_cut_frame_again),
        cmocka_unit_test(test_dwell_acknowledge_has_a_bound_on_what_it_keeps),
        cmocka_unit_test(test_dwell_acknowledge_goes_round),
        cmocka_unit_test(test_dwell_acknowledge_without_acknowledgements),
        cmocka_unit_test(test_dwell_acknowledge_sends_nothing_again_to_an_older_daemon),
        cmocka_unit_test(test_dwell_acknowledge_keeps_nothing_for_ever),
        cmocka_unit_test(test_dwell_acknowledge_keeps_while_somebody_answers),
        cmocka_unit_test(test_dwell_acknowledge_waits_for_the_daemon_at_the_end),
        cmocka_unit_test(test_dwell_acknowledge_waits_no_longer_than_it_may),
        cmocka_unit_test(test_dwell_acknowledge_is_nothing_of_a_child),
    };
    return cmocka_run_group_tests_name("dwell_acknowledge", tests, NULL, NULL);
}
