/*
 * The module's table of functions, by gRPC core.
 *
 * Happy path of a call
 *   1. where the last attempt to connect has failed, the next one is waited for, for a moment
 *   2. a grpc_call is made with the caller's deadline, and shown to `cancel`
 *   3. one batch of six operations: send headers, message and end; receive headers, message, status
 *   4. the calling thread waits for the batch on the channel's own queue, doing gRPC's work there
 *   5. status, details and response are read into the reply
 *
 * What can fail, and where it ends
 *   no connection, a deadline, a reset   a status like any other: the caller decides
 *   the call is cancelled                TRANSPORT_CANCELLED; calls that come later end the same way
 *   a response that is no protobuf       TRANSPORT_OK and is_garbled: the server has the request
 *
 * The process must not fork after `open`: gRPC has threads of its own from then on.
 */
#include <ctype.h>
#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/support/log.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "io/export/otlp_module/credentials.h"
#include "io/export/otlp_module/library.h"
#include "io/export/otlp_module/response.h"

enum {
    OPERATIONS = 6,
    CHANNEL_ARGUMENTS = 8,
    RECONNECT_FIRST_MS = 500, /* after the first failure to connect, then growing */
    RECONNECT_MOST_MS = 1000, /* so that each call has a new attempt within READY_WAIT_MS */
    READY_WAIT_MS = 1500,
    READY_STEP_MS = 100,     /* how soon a cancel is seen */
    RESOLVE_AGAIN_MS = 5000, /* least time between two look-ups of a name: a receiver may move */
};

_Static_assert((int)TRANSPORT_UNAUTHENTICATED == (int)GRPC_STATUS_UNAUTHENTICATED,
               "our codes are gRPC's");
_Static_assert((int)TRANSPORT_RESOURCE_EXHAUSTED == (int)GRPC_STATUS_RESOURCE_EXHAUSTED,
               "our codes are gRPC's");

struct transport_channel {
    grpc_channel *channel;
    grpc_completion_queue *queue;
    grpc_metadata headers[TRANSPORT_HEADERS_MAX];
    size_t header_count;
    pthread_mutex_t mutex; /* guards what is below */
    grpc_call *call;       /* in progress, or NULL */
    bool is_cancelled;
};

/* gRPC would write lines of its own to standard error, in a form that no collector of ours expects.
 * What they say of a call is in its status too. Whoever looks for more sets GRPC_VERBOSITY. */
static void say_nothing(gpr_log_func_args *args)
{
    (void)args;
}

/* --- opening and closing ----------------------------------------------------------------------- */

/* gRPC wants names in lower case. */
static int add_header(struct transport_channel *channel, const struct transport_header *header)
{
    size_t len = strlen(header->name);
    char *name = mem_alloc(len + 1);
    if (name == NULL) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < len; i++) {
        name[i] = (char)tolower((unsigned char)header->name[i]);
    }
    grpc_metadata *added = &channel->headers[channel->header_count];
    added->key = grpc_slice_from_copied_buffer(name, len);
    added->value = grpc_slice_from_copied_string(header->value);
    mem_free(name);
    channel->header_count++; /* from here on it is released with the rest */
    bool is_legal = len > 0 && grpc_header_key_is_legal(added->key) != 0 &&
                    grpc_header_nonbin_value_is_legal(added->value) != 0;
    return is_legal ? 0 : ERR_RANGE;
}

static grpc_arg whole_argument(const char *name, int value)
{
    /* The struct wants a char *, which the library does not write to. */
    return (grpc_arg){
        .type = GRPC_ARG_INTEGER, .key = (char *)(uintptr_t)name, .value.integer = value};
}

static grpc_channel *make_channel(const struct transport_target *target,
                                  grpc_channel_credentials *credentials)
{
    grpc_arg arguments[CHANNEL_ARGUMENTS] = {
        whole_argument(GRPC_ARG_ENABLE_HTTP_PROXY, 0), /* what http_proxy names knows no gRPC */
        whole_argument(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, RECONNECT_FIRST_MS),
        whole_argument(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, RECONNECT_MOST_MS),
        whole_argument(GRPC_ARG_DNS_MIN_TIME_BETWEEN_RESOLUTIONS_MS, RESOLVE_AGAIN_MS),
        whole_argument(GRPC_ARG_MAX_SEND_MESSAGE_LENGTH, -1), /* the exporter has its own ceiling */
        whole_argument(GRPC_ARG_ENABLE_RETRIES, 0),           /* retries are the exporter's too */
        whole_argument(GRPC_COMPRESSION_CHANNEL_DEFAULT_ALGORITHM,
                       target->gzip ? GRPC_COMPRESS_GZIP : GRPC_COMPRESS_NONE),
        {.type = GRPC_ARG_STRING,
         .key = (char *)(uintptr_t)GRPC_ARG_PRIMARY_USER_AGENT_STRING,
         .value.string = (char *)(uintptr_t)target->user_agent}};
    grpc_channel_args list = {.num_args = CHANNEL_ARGUMENTS, .args = arguments};
    return grpc_channel_create(target->address, credentials, &list);
}

static void close_channel(struct transport_channel *channel)
{
    if (channel == NULL) {
        return;
    }
    if (channel->channel != NULL) {
        grpc_channel_destroy(channel->channel);
    }
    if (channel->queue != NULL) {
        grpc_completion_queue_shutdown(channel->queue);
        grpc_completion_queue_destroy(channel->queue);
    }
    for (size_t i = 0; i < channel->header_count; i++) {
        grpc_slice_unref(channel->headers[i].key);
        grpc_slice_unref(channel->headers[i].value);
    }
    (void)pthread_mutex_destroy(&channel->mutex); /* nobody holds it */
    mem_free(channel);
    library_end();
}

static int open_channel(const struct transport_target *target,
                        struct transport_channel **ret_channel)
{
    grpc_channel_credentials *credentials = NULL;
    struct transport_channel *channel = mem_zalloc(1, sizeof *channel);
    if (channel == NULL) {
        return ERR_NOMEM;
    }
    if (getenv("GRPC_VERBOSITY") == NULL) {
        gpr_set_log_function(say_nothing);
    }
    library_begin();
    int err = pthread_mutex_init(&channel->mutex, NULL) == 0 ? 0 : ERR_SYSTEM;
    if (err == 0 && target->header_count > TRANSPORT_HEADERS_MAX) {
        err = ERR_RANGE;
    }
    for (size_t i = 0; err == 0 && i < target->header_count; i++) {
        err = add_header(channel, &target->headers[i]);
    }
    if (err == 0) {
        err = credentials_make(target, &credentials);
    }
    if (err == 0) {
        channel->queue = grpc_completion_queue_create_for_pluck(NULL);
        channel->channel = make_channel(target, credentials);
        err = channel->channel == NULL ? ERR_SYSTEM : 0;
    }
    if (credentials != NULL) {
        grpc_channel_credentials_release(credentials);
    }
    if (err != 0) {
        close_channel(channel);
        return err;
    }
    *ret_channel = channel;
    return 0;
}

/* --- a call ------------------------------------------------------------------------------------ */

/* What a batch of operations receives. */
struct outcome {
    grpc_metadata_array first; /* headers */
    grpc_metadata_array last;  /* trailers */
    grpc_byte_buffer *message;
    grpc_status_code status;
    grpc_slice details;
};

static gpr_timespec time_of(uint64_t ns)
{
    return (gpr_timespec){.tv_sec = (int64_t)(ns / NS_PER_SECOND),
                          .tv_nsec = (int32_t)(ns % NS_PER_SECOND),
                          .clock_type = GPR_CLOCK_MONOTONIC};
}

/* The call is now one that `cancel` sees. False: it was cancelled before. */
static bool show_call(struct transport_channel *channel, grpc_call *call)
{
    (void)pthread_mutex_lock(&channel->mutex); /* cannot fail: it is a plain one */
    bool may_go_on = !channel->is_cancelled;
    channel->call = call;
    (void)pthread_mutex_unlock(&channel->mutex);
    return may_go_on;
}

static bool is_cancelled(struct transport_channel *channel)
{
    (void)pthread_mutex_lock(&channel->mutex);
    bool cancelled = channel->is_cancelled;
    (void)pthread_mutex_unlock(&channel->mutex);
    return cancelled;
}

static uint64_t now_ns(void)
{
    gpr_timespec now = gpr_now(GPR_CLOCK_MONOTONIC);
    uint64_t seconds = (uint64_t)now.tv_sec;
    uint64_t rest = (uint64_t)now.tv_nsec;
    return seconds * NS_PER_SECOND + rest;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* A channel that could not connect fails calls at once until it could, and as nobody waits on its
 * sockets between calls, it hardly finds out that it could. So a call looks after it for a moment. */
static void await_connection(struct transport_channel *channel, uint64_t deadline_ns)
{
    uint64_t until = least(deadline_ns, now_ns() + READY_WAIT_MS * NS_PER_MS);
    const grpc_connectivity_state failed = GRPC_CHANNEL_TRANSIENT_FAILURE;
    while (grpc_channel_check_connectivity_state(channel->channel, 1) == failed &&
           now_ns() < until && !is_cancelled(channel)) {
        uint64_t step = least(until, now_ns() + READY_STEP_MS * NS_PER_MS);
        grpc_channel_watch_connectivity_state(channel->channel, failed, time_of(step),
                                              channel->queue, channel);
        (void)grpc_completion_queue_pluck(channel->queue, channel,
                                          gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    }
}

static void run_batch(struct transport_channel *channel, grpc_call *call, struct str request,
                      struct outcome *outcome)
{
    grpc_slice slice = grpc_slice_from_copied_buffer(request.ptr, request.len);
    grpc_byte_buffer *message = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_op operations[OPERATIONS] = {
        {.op = GRPC_OP_SEND_INITIAL_METADATA},  {.op = GRPC_OP_SEND_MESSAGE},
        {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT}, {.op = GRPC_OP_RECV_INITIAL_METADATA},
        {.op = GRPC_OP_RECV_MESSAGE},           {.op = GRPC_OP_RECV_STATUS_ON_CLIENT}};
    operations[0].data.send_initial_metadata.metadata = channel->headers;
    operations[0].data.send_initial_metadata.count = channel->header_count;
    operations[1].data.send_message.send_message = message;
    operations[3].data.recv_initial_metadata.recv_initial_metadata = &outcome->first;
    operations[4].data.recv_message.recv_message = &outcome->message;
    operations[5].data.recv_status_on_client.trailing_metadata = &outcome->last;
    operations[5].data.recv_status_on_client.status = &outcome->status;
    operations[5].data.recv_status_on_client.status_details = &outcome->details;
    /* Fails only for batches that are wrong in themselves; the status stays UNKNOWN then. */
    if (grpc_call_start_batch(call, operations, OPERATIONS, call, NULL) == GRPC_CALL_OK) {
        (void)grpc_completion_queue_pluck(channel->queue, call, gpr_inf_future(GPR_CLOCK_MONOTONIC),
                                          NULL);
    }
    grpc_byte_buffer_destroy(message);
    grpc_slice_unref(slice);
}

static void read_message(const struct outcome *outcome, struct transport_reply *reply)
{
    grpc_byte_buffer_reader reader;
    if (outcome->message == NULL || grpc_byte_buffer_reader_init(&reader, outcome->message) == 0) {
        reply->is_garbled = true;
        return;
    }
    grpc_slice whole = grpc_byte_buffer_reader_readall(&reader);
    response_read(GRPC_SLICE_START_PTR(whole), GRPC_SLICE_LENGTH(whole), reply);
    grpc_slice_unref(whole);
    grpc_byte_buffer_reader_destroy(&reader);
}

static void read_outcome(const struct outcome *outcome, struct transport_reply *reply)
{
    if (outcome->status == GRPC_STATUS_OK) {
        read_message(outcome, reply);
        return;
    }
    bool is_known = outcome->status > 0 && (int)outcome->status < (int)TRANSPORT_STATUS_COUNT;
    reply->status = is_known ? (enum transport_status)outcome->status : TRANSPORT_UNKNOWN;
    response_copy_text(reply, (const char *)GRPC_SLICE_START_PTR(outcome->details),
                       GRPC_SLICE_LENGTH(outcome->details));
    for (size_t i = 0; i < outcome->last.count; i++) {
        const grpc_metadata *trailer = &outcome->last.metadata[i];
        if (grpc_slice_str_cmp(trailer->key, "grpc-status-details-bin") == 0) {
            response_read_details(GRPC_SLICE_START_PTR(trailer->value),
                                  GRPC_SLICE_LENGTH(trailer->value), reply);
        }
    }
}

static void call_channel(struct transport_channel *channel, const char *method, struct str request,
                         uint64_t deadline_ns, struct transport_reply *ret_reply)
{
    struct outcome outcome = {.status = GRPC_STATUS_UNKNOWN, .details = grpc_empty_slice()};
    *ret_reply = (struct transport_reply){.status = TRANSPORT_OK};
    grpc_metadata_array_init(&outcome.first);
    grpc_metadata_array_init(&outcome.last);
    await_connection(channel, deadline_ns);
    grpc_slice path = grpc_slice_from_static_string(method);
    grpc_call *call =
        grpc_channel_create_call(channel->channel, NULL, GRPC_PROPAGATE_DEFAULTS, channel->queue,
                                 path, NULL, time_of(deadline_ns), NULL);
    if (show_call(channel, call)) {
        run_batch(channel, call, request, &outcome);
    } else {
        outcome.status = GRPC_STATUS_CANCELLED;
    }
    (void)show_call(channel, NULL);
    read_outcome(&outcome, ret_reply);
    grpc_call_unref(call);
    grpc_byte_buffer_destroy(outcome.message);
    grpc_metadata_array_destroy(&outcome.first);
    grpc_metadata_array_destroy(&outcome.last);
    grpc_slice_unref(outcome.details);
}

static void cancel_channel(struct transport_channel *channel)
{
    (void)pthread_mutex_lock(&channel->mutex);
    channel->is_cancelled = true;
    if (channel->call != NULL) {
        (void)grpc_call_cancel(channel->call, NULL); /* a call that has ended stays ended */
    }
    (void)pthread_mutex_unlock(&channel->mutex);
}

static const struct transport functions = {.version = TRANSPORT_VERSION,
                                           .open = open_channel,
                                           .call = call_channel,
                                           .cancel = cancel_channel,
                                           .close = close_channel};

__attribute__((visibility("default"))) const struct transport *dwell_transport(void);

const struct transport *dwell_transport(void)
{
    return &functions;
}
