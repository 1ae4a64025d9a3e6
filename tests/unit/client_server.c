/*
 * Happy path
 *   1. server_start binds the socket and starts the thread
 *   2. each connection gets a thread; the first four bytes must be DWL1
 *   3. each frame is unpacked, checked, entered in its client's account, answered if it has a Flush
 *   4. end of input, or the order to stop: the thread ends
 *
 * Whatever breaks a rule of the protocol ends the test program: a failed check on a thread that is
 * not cmocka's cannot be told otherwise.
 */
#include "client_server.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { FRAME_MAX = 65536, VISITS_MAX = 256, PATIENCE_S = 30 };

static void must(bool holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "client_server: does not hold: %s\n", what);
        abort();
    }
}

#define MUST(condition) must(condition, #condition)

static struct server_client *client_of(struct server *server, const Dwell__Batch *batch)
{
    MUST(batch->has_client_id && batch->client_id.len == 16);
    for (unsigned i = 0; i < server->client_count; i++) {
        if (memcmp(server->clients[i].id, batch->client_id.data, 16) == 0) {
            return &server->clients[i];
        }
    }
    MUST(server->client_count < SERVER_CLIENTS_MAX);
    struct server_client *client = &server->clients[server->client_count++];
    *client = (struct server_client){0};
    memcpy(client->id, batch->client_id.data, 16);
    return client;
}

static void check_sample(const Dwell__Batch *batch, const Dwell__Sample *sample)
{
    MUST(sample->has_execution_time_ms);
    MUST(sample->has_model_ref != (sample->model_name != NULL));
    MUST(!sample->has_model_ref ||
         (sample->model_ref >= 1 && sample->model_ref <= batch->n_strings));
}

static void check_metric(const Dwell__Metric *metric)
{
    MUST(metric->name != NULL && metric->has_op);
    MUST(metric->has_value == (metric->op != DWELL__METRIC__OP__INFO));
}

static void check_attributes(size_t count, Dwell__KeyValue **attributes)
{
    MUST(count <= 128);
    for (size_t i = 0; i < count; i++) {
        MUST(attributes[i]->key != NULL && attributes[i]->key[0] != '\0');
        MUST(attributes[i]->value != NULL);
        MUST(attributes[i]->value->value_case != DWELL__ANY_VALUE__VALUE__NOT_SET);
        for (size_t j = 0; j < i; j++) {
            MUST(strcmp(attributes[i]->key, attributes[j]->key) != 0);
        }
    }
}

static bool is_id(bool is_there, ProtobufCBinaryData id, size_t len)
{
    static const uint8_t zero[16];
    return is_there && id.len == len && memcmp(id.data, zero, len) != 0;
}

static void check_span(const Dwell__Span *span)
{
    bool is_start = span->has_part && span->part == DWELL__SPAN__PART__START;
    bool is_end = span->has_part && span->part == DWELL__SPAN__PART__END;
    MUST(is_id(span->has_trace_id, span->trace_id, 16));
    MUST(is_id(span->has_span_id, span->span_id, 8));
    MUST(!span->has_parent_span_id || is_id(true, span->parent_span_id, 8));
    MUST(span->name != NULL && span->name[0] != '\0' && strlen(span->name) <= 256);
    MUST(span->has_start_time_unix_nano == !is_end);
    MUST(span->has_end_time_unix_nano == !is_start);
    MUST(is_start || is_end || span->start_time_unix_nano <= span->end_time_unix_nano);
    MUST(span->n_events <= 128 && span->n_links <= 128);
    check_attributes(span->n_attributes, span->attributes);
    for (size_t i = 0; i < span->n_events; i++) {
        MUST(span->events[i]->has_time_unix_nano && span->events[i]->name != NULL);
        check_attributes(span->events[i]->n_attributes, span->events[i]->attributes);
    }
    for (size_t i = 0; i < span->n_links; i++) {
        MUST(is_id(span->links[i]->has_trace_id, span->links[i]->trace_id, 16));
        MUST(is_id(span->links[i]->has_span_id, span->links[i]->span_id, 8));
        check_attributes(span->links[i]->n_attributes, span->links[i]->attributes);
    }
}

static void check_budget(const Dwell__Budget *budget)
{
    MUST(budget->layer != NULL && budget->layer[0] != '\0' && strlen(budget->layer) <= 256);
    MUST(budget->has_elapsed_ms && budget->elapsed_ms >= 0);
}

static uint64_t count_records(const Dwell__Batch *batch)
{
    return batch->n_sample + batch->n_metric + batch->n_span + batch->n_budget;
}

/* The rule of WIRE.md: lost = gap - dropped. Nothing may be repeated but to who acknowledges, and to
 * those the very batches that they have. */
static void account(struct server *server, const Dwell__Batch *batch)
{
    struct server_client *client = client_of(server, batch);
    MUST(batch->has_first_sequence && batch->has_dropped);
    if (server->answer != SERVER_KNOWS_NONE && batch->first_sequence < client->expected) {
        MUST(batch->first_sequence + count_records(batch) <= client->expected);
        client->repeated += count_records(batch);
        return;
    }
    if (batch->n_hello > 0 && batch->hello[0]->acknowledge &&
        batch->first_sequence < client->expected) {
        return; /* it would send again, if it were told that this is of use */
    }
    MUST(batch->first_sequence >= client->expected);
    MUST(batch->dropped >= client->dropped);
    uint64_t gap = batch->first_sequence - client->expected;
    uint64_t dropped = batch->dropped - client->dropped;
    client->lost += gap > dropped ? gap - dropped : 0;
    client->dropped = batch->dropped;
    client->expected = batch->first_sequence + count_records(batch);
    client->records += count_records(batch);
    for (size_t i = 0; i < batch->n_sample; i++) {
        check_sample(batch, batch->sample[i]);
    }
    for (size_t i = 0; i < batch->n_metric; i++) {
        check_metric(batch->metric[i]);
    }
    for (size_t i = 0; i < batch->n_span; i++) {
        check_span(batch->span[i]);
    }
    for (size_t i = 0; i < batch->n_budget; i++) {
        check_budget(batch->budget[i]);
    }
    if (batch->n_hello > 0) {
        MUST(batch->hello[0]->has_pid);
        client->pid = batch->hello[0]->pid;
    }
    if (batch->n_goodbye > 0) {
        MUST(batch->goodbye[0]->has_sequence);
        client->has_goodbye = true;
        client->goodbye = batch->goodbye[0]->sequence;
    }
}

static void take_batch(struct server *server, Dwell__Batch *batch, uint64_t *ret_number)
{
    pthread_mutex_lock(&server->lock);
    account(server, batch);
    *ret_number = client_of(server, batch)->expected;
    server->records += count_records(batch);
    server->flushes += batch->n_flush;
    if (batch->n_hello > 0) {
        if (server->greeting != NULL) {
            dwell__batch__free_unpacked(server->greeting, NULL);
        }
        server->greeting = batch;
        server->hello = batch->hello[0];
    } else if (count_records(batch) > 0 && server->batch_count < SERVER_BATCHES_MAX) {
        server->batches[server->batch_count++] = batch;
    } else {
        dwell__batch__free_unpacked(batch, NULL);
    }
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->lock);
}

/* Waits for input or for the order to stop. False: stop. */
static bool wait_readable(struct server *server, int fd)
{
    struct pollfd polled[2] = {
        {.fd = fd, .events = POLLIN},
        {.fd = server->stop_pipe[0], .events = POLLIN},
    };
    MUST(poll(polled, 2, -1) > 0);
    return polled[1].revents == 0;
}

/* Reads exactly that much. False: end of input before it, or stop. */
static bool read_all(struct server *server, int peer, void *out, size_t len)
{
    uint8_t *at = out;
    while (len > 0) {
        if (!wait_readable(server, peer)) {
            return false;
        }
        ssize_t got = read(peer, at, len);
        if (got <= 0) {
            return false;
        }
        at += got;
        len -= (size_t)got;
    }
    return true;
}

static void answer_flush(int peer)
{
    /* A field that a newer daemon may have comes first: it is to be skipped. */
    static const uint8_t reply[] = {6, 0, 0, 0, 0x92, 0x03, 0x01, 'x', 0x08, 0x07};
    (void)send(peer, reply, sizeof reply, MSG_NOSIGNAL); /* the peer may be gone */
}

static enum server_answer answer_now(struct server *server)
{
    pthread_mutex_lock(&server->lock);
    enum server_answer answer = server->answer;
    pthread_mutex_unlock(&server->lock);
    return answer;
}

static void reply_number(int peer, uint8_t field, uint64_t number)
{
    uint8_t reply[16] = {0, 0, 0, 0, (uint8_t)(field << 3)};
    size_t len = 5;
    while (number >= 0x80) {
        reply[len++] = (uint8_t)(number | 0x80);
        number >>= 7;
    }
    reply[len++] = (uint8_t)number;
    reply[0] = (uint8_t)(len - 4);
    (void)send(peer, reply, len, MSG_NOSIGNAL); /* the peer may be gone */
}

/* Of one connection. */
struct standing {
    uint64_t number; /* of the client's next record, as of the last batch */
    uint64_t told;   /* acknowledged */
};

static void acknowledge(int peer, struct standing *standing)
{
    standing->told = standing->number;
    reply_number(peer, 2, standing->number);
}

/* Waits for input while it holds back; what was held back is acknowledged when that is over. */
static void wait_while_holding(struct server *server, int peer, struct standing *standing)
{
    while (answer_now(server) == SERVER_HOLDS) {
        struct pollfd polled[2] = {
            {.fd = peer, .events = POLLIN},
            {.fd = server->stop_pipe[0], .events = POLLIN},
        };
        if (poll(polled, 2, 1) > 0) {
            return;
        }
    }
    if (answer_now(server) == SERVER_SAYS_YES && standing->told < standing->number) {
        acknowledge(peer, standing);
    }
}

static enum server_manner manner_now(struct server *server)
{
    pthread_mutex_lock(&server->lock);
    enum server_manner manner = server->manner;
    pthread_mutex_unlock(&server->lock);
    return manner;
}

static bool use_up_break(struct server *server)
{
    pthread_mutex_lock(&server->lock);
    bool breaks = server->breaks_left > 0;
    server->breaks_left -= breaks ? 1 : 0;
    pthread_mutex_unlock(&server->lock);
    return breaks;
}

/* False when the connection is to end. */
static bool serve_frame(struct server *server, int peer, bool is_first, uint8_t *bytes,
                        struct standing *standing)
{
    uint8_t head[4];
    wait_while_holding(server, peer, standing);
    enum server_manner manner = manner_now(server);
    if (!read_all(server, peer, head, sizeof head)) {
        return false;
    }
    uint32_t len = (uint32_t)head[0] | (uint32_t)head[1] << 8 | (uint32_t)head[2] << 16 |
                   (uint32_t)head[3] << 24;
    MUST(len <= FRAME_MAX - sizeof head);
    if (manner == SERVER_BREAKS && !is_first && use_up_break(server)) {
        (void)read_all(server, peer, bytes, len / 2);
        return false;
    }
    if (!read_all(server, peer, bytes, len)) {
        return false;
    }
    Dwell__Batch *batch = dwell__batch__unpack(NULL, len, bytes);
    MUST(batch != NULL);
    MUST((batch->n_hello > 0) == is_first);
    enum server_answer answer = answer_now(server);
    bool has_flush = batch->n_flush > 0;
    bool has_goodbye = batch->n_goodbye > 0;
    bool asks = is_first && batch->hello[0]->acknowledge;
    MUST(!asks || has_flush); /* else a client waits for ever for who knows none */
    if (batch->n_hello == 0) {
        MUST(count_records(batch) == 0 || answer == SERVER_KNOWS_NONE || !has_flush);
    }
    take_batch(server, batch, &standing->number);
    bool breaks = manner == SERVER_BREAKS_LATE || (manner == SERVER_BREAKS_ASKED && has_flush);
    if (breaks && !is_first && !has_goodbye && use_up_break(server)) {
        return false;
    }
    if (asks && answer != SERVER_KNOWS_NONE) {
        reply_number(peer, 5, answer != SERVER_SAYS_NO);
    }
    if (manner == SERVER_GREETS) {
        return false;
    }
    if (answer == SERVER_SAYS_YES) {
        acknowledge(peer, standing);
    }
    if (has_flush && manner != SERVER_MUTE) {
        answer_flush(peer);
    }
    return true;
}

static void wait_while_deaf(struct server *server)
{
    while (manner_now(server) == SERVER_DEAF) {
        struct pollfd polled = {.fd = server->stop_pipe[0], .events = POLLIN};
        if (poll(&polled, 1, 1) > 0) {
            return;
        }
    }
}

struct visit {
    struct server *server;
    int peer;
    pthread_t thread;
};

static void *serve_peer(void *arg)
{
    struct visit *visit = arg;
    struct server *server = visit->server;
    uint8_t *bytes = malloc(FRAME_MAX);
    char magic[4];
    MUST(bytes != NULL);
    wait_while_deaf(server);
    if (read_all(server, visit->peer, magic, sizeof magic)) {
        MUST(memcmp(magic, "DWL1", 4) == 0);
        bool is_first = true;
        struct standing standing = {0};
        while (serve_frame(server, visit->peer, is_first, bytes, &standing)) {
            is_first = false;
        }
    }
    close(visit->peer);
    free(bytes);
    return NULL;
}

static void *serve(void *arg)
{
    struct server *server = arg;
    struct visit visits[VISITS_MAX];
    unsigned count = 0;
    while (wait_readable(server, server->listener)) {
        MUST(count < VISITS_MAX);
        struct visit *visit = &visits[count++];
        visit->server = server;
        visit->peer = accept4(server->listener, NULL, NULL, SOCK_CLOEXEC);
        MUST(visit->peer >= 0);
        pthread_mutex_lock(&server->lock);
        server->connections++;
        pthread_cond_broadcast(&server->changed);
        pthread_mutex_unlock(&server->lock);
        MUST(pthread_create(&visit->thread, NULL, serve_peer, visit) == 0);
    }
    for (unsigned i = 0; i < count; i++) {
        MUST(pthread_join(visits[i].thread, NULL) == 0);
    }
    return NULL;
}

void server_init(struct server *server)
{
    *server = (struct server){.listener = -1, .directory = "/tmp/dwell-client-XXXXXX"};
    assert_non_null(mkdtemp(server->directory));
    assert_true(snprintf(server->path, sizeof server->path, "%s/ingest.sock", server->directory) >
                0);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&server->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&server->lock, NULL);
}

void server_start(struct server *server, enum server_manner manner)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, server->path, strlen(server->path));
    server->manner = manner;
    assert_int_equal(pipe(server->stop_pipe), 0);
    server->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(server->listener >= 0);
    assert_int_equal(bind(server->listener, (const struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(server->listener, 8), 0);
    assert_int_equal(pthread_create(&server->thread, NULL, serve, server), 0);
}

void server_stop(struct server *server)
{
    if (server->listener >= 0) {
        unlink(
            server->path); /* first: who is cut off finds nobody, not a socket that nobody serves */
        assert_int_equal(write(server->stop_pipe[1], "x", 1), 1);
        assert_int_equal(pthread_join(server->thread, NULL), 0);
        close(server->listener);
        close(server->stop_pipe[0]);
        close(server->stop_pipe[1]);
        server->listener = -1;
    }
}

void server_fini(struct server *server)
{
    server_stop(server);
    for (unsigned i = 0; i < server->batch_count; i++) {
        dwell__batch__free_unpacked(server->batches[i], NULL);
    }
    if (server->greeting != NULL) {
        dwell__batch__free_unpacked(server->greeting, NULL);
    }
    assert_int_equal(rmdir(server->directory), 0);
    pthread_cond_destroy(&server->changed);
    pthread_mutex_destroy(&server->lock);
}

void server_set_answer(struct server *server, enum server_answer answer)
{
    pthread_mutex_lock(&server->lock);
    server->answer = answer;
    pthread_mutex_unlock(&server->lock);
}

void server_set_manner(struct server *server, enum server_manner manner)
{
    pthread_mutex_lock(&server->lock);
    server->manner = manner;
    pthread_mutex_unlock(&server->lock);
}

static struct timespec patience(void)
{
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += PATIENCE_S;
    return end;
}

void server_wait_records(struct server *server, uint64_t records)
{
    struct timespec end = patience();
    int error = 0;
    pthread_mutex_lock(&server->lock);
    while (server->records < records && error == 0) {
        error = pthread_cond_timedwait(&server->changed, &server->lock, &end);
    }
    uint64_t came = server->records;
    pthread_mutex_unlock(&server->lock);
    assert_int_equal(came, records);
}

static unsigned count_goodbyes(const struct server *server)
{
    unsigned count = 0;
    for (unsigned i = 0; i < server->client_count; i++) {
        count += server->clients[i].has_goodbye ? 1 : 0;
    }
    return count;
}

void server_wait_goodbyes(struct server *server, unsigned count)
{
    struct timespec end = patience();
    int error = 0;
    pthread_mutex_lock(&server->lock);
    while (count_goodbyes(server) < count && error == 0) {
        error = pthread_cond_timedwait(&server->changed, &server->lock, &end);
    }
    pthread_mutex_unlock(&server->lock);
    assert_int_equal(error, 0);
}

const Dwell__Sample *server_sample(struct server *server, uint64_t n, const char **ret_name)
{
    const Dwell__Sample *found = NULL;
    pthread_mutex_lock(&server->lock);
    for (unsigned i = 0; i < server->batch_count && found == NULL; i++) {
        const Dwell__Batch *batch = server->batches[i];
        if (n < batch->n_sample) {
            found = batch->sample[n];
            *ret_name =
                found->has_model_ref ? batch->strings[found->model_ref - 1] : found->model_name;
        }
        n -= batch->n_sample;
    }
    pthread_mutex_unlock(&server->lock);
    assert_non_null(found);
    return found;
}

const Dwell__Metric *server_metric(struct server *server, uint64_t n)
{
    const Dwell__Metric *found = NULL;
    pthread_mutex_lock(&server->lock);
    for (unsigned i = 0; i < server->batch_count && found == NULL; i++) {
        const Dwell__Batch *batch = server->batches[i];
        found = n < batch->n_metric ? batch->metric[n] : NULL;
        n -= batch->n_metric;
    }
    pthread_mutex_unlock(&server->lock);
    assert_non_null(found);
    return found;
}

const Dwell__Span *server_span(struct server *server, uint64_t n)
{
    const Dwell__Span *found = NULL;
    pthread_mutex_lock(&server->lock);
    for (unsigned i = 0; i < server->batch_count && found == NULL; i++) {
        const Dwell__Batch *batch = server->batches[i];
        found = n < batch->n_span ? batch->span[n] : NULL;
        n -= batch->n_span;
    }
    pthread_mutex_unlock(&server->lock);
    assert_non_null(found);
    return found;
}

const Dwell__Budget *server_budget(struct server *server, uint64_t n)
{
    const Dwell__Budget *found = NULL;
    pthread_mutex_lock(&server->lock);
    for (unsigned i = 0; i < server->batch_count && found == NULL; i++) {
        const Dwell__Batch *batch = server->batches[i];
        found = n < batch->n_budget ? batch->budget[n] : NULL;
        n -= batch->n_budget;
    }
    pthread_mutex_unlock(&server->lock);
    assert_non_null(found);
    return found;
}

struct server_client server_client(struct server *server, unsigned n)
{
    pthread_mutex_lock(&server->lock);
    assert_true(n < server->client_count);
    struct server_client client = server->clients[n];
    pthread_mutex_unlock(&server->lock);
    return client;
}
