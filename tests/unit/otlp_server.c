#include "otlp_server.h"

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <pthread.h>
#include <stdlib.h>

struct otlp_server {
    grpc_server *server;
    grpc_completion_queue *queue;
    int port;
    otlp_server_fn answer;
    void *ctx;
    pthread_t thread;
};

/* Tags of events. */
static char tag_request, tag_read, tag_answer, tag_end;

/* Waits for the event of a tag; false: it failed, or the end came first. */
static bool wait_for(struct otlp_server *server, void *tag)
{
    for (;;) {
        grpc_event event =
            grpc_completion_queue_next(server->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
        if (event.type != GRPC_OP_COMPLETE || event.tag == &tag_end) {
            return false;
        }
        if (event.tag == tag) {
            return event.success != 0;
        }
    }
}

static struct str str_of_slice(const grpc_slice *slice)
{
    return (struct str){(const char *)GRPC_SLICE_START_PTR(*slice), GRPC_SLICE_LENGTH(*slice)};
}

struct str otlp_server_header(const struct otlp_server_request *request, const char *name)
{
    const grpc_metadata_array *metadata = request->metadata;
    for (size_t i = 0; i < metadata->count; i++) {
        if (grpc_slice_str_cmp(metadata->metadata[i].key, name) == 0) {
            return str_of_slice(&metadata->metadata[i].value);
        }
    }
    return (struct str){NULL, 0};
}

static grpc_slice slice_of(struct str text)
{
    return grpc_slice_from_copied_buffer(text.len > 0 ? text.ptr : "", text.len);
}

static void send_answer(struct otlp_server *server, grpc_call *call,
                        const struct otlp_server_answer *answer)
{
    int cancelled = 0;
    size_t count = 0;
    grpc_op operations[3] = {{.op = GRPC_OP_RECV_CLOSE_ON_SERVER}};
    operations[count++].data.recv_close_on_server.cancelled = &cancelled;
    grpc_slice body = slice_of(answer->body);
    grpc_byte_buffer *message = grpc_raw_byte_buffer_create(&body, 1);
    grpc_slice text = slice_of(str_of(answer->message == NULL ? "" : answer->message));
    grpc_metadata details = {.key = grpc_slice_from_static_string("grpc-status-details-bin"),
                             .value = slice_of(answer->details)};
    if (!answer->never && answer->status == 0) {
        operations[count].op = GRPC_OP_SEND_MESSAGE;
        operations[count++].data.send_message.send_message = message;
    }
    if (!answer->never) {
        operations[count].op = GRPC_OP_SEND_STATUS_FROM_SERVER;
        operations[count].data.send_status_from_server.status = (grpc_status_code)answer->status;
        operations[count].data.send_status_from_server.status_details = &text;
        operations[count].data.send_status_from_server.trailing_metadata = &details;
        operations[count++].data.send_status_from_server.trailing_metadata_count =
            answer->details.len > 0 ? 1 : 0;
    }
    if (grpc_call_start_batch(call, operations, count, &tag_answer, NULL) == GRPC_CALL_OK) {
        (void)wait_for(server, &tag_answer); /* the client may be gone: that is its business */
    }
    grpc_byte_buffer_destroy(message);
    grpc_slice_unref(body);
    grpc_slice_unref(text);
    grpc_slice_unref(details.value);
}

static void serve(struct otlp_server *server, grpc_call *call, const grpc_call_details *details,
                  const grpc_metadata_array *metadata)
{
    grpc_byte_buffer *message = NULL;
    grpc_op operations[2] = {{.op = GRPC_OP_SEND_INITIAL_METADATA}, {.op = GRPC_OP_RECV_MESSAGE}};
    operations[1].data.recv_message.recv_message = &message;
    if (grpc_call_start_batch(call, operations, 2, &tag_read, NULL) != GRPC_CALL_OK ||
        !wait_for(server, &tag_read) || message == NULL) {
        return;
    }
    grpc_byte_buffer_reader reader;
    struct otlp_server_answer answer = {0};
    if (grpc_byte_buffer_reader_init(&reader, message) != 0) {
        grpc_slice body = grpc_byte_buffer_reader_readall(&reader);
        struct otlp_server_request request = {.method = str_of_slice(&details->method),
                                              .body = str_of_slice(&body),
                                              .packed = message->data.raw.compression ==
                                                        GRPC_COMPRESS_GZIP,
                                              .metadata = metadata};
        server->answer(server->ctx, &request, &answer);
        grpc_slice_unref(body);
        grpc_byte_buffer_reader_destroy(&reader);
    }
    grpc_byte_buffer_destroy(message);
    send_answer(server, call, &answer);
}

static void *serve_all(void *ctx)
{
    struct otlp_server *server = ctx;
    bool goes_on = true;
    while (goes_on) {
        grpc_call *call = NULL;
        grpc_call_details details;
        grpc_metadata_array metadata;
        grpc_call_details_init(&details);
        grpc_metadata_array_init(&metadata);
        goes_on =
            grpc_server_request_call(server->server, &call, &details, &metadata, server->queue,
                                     server->queue, &tag_request) == GRPC_CALL_OK &&
            wait_for(server, &tag_request);
        if (goes_on) {
            serve(server, call, &details, &metadata);
        }
        if (call != NULL) {
            grpc_call_unref(call);
        }
        grpc_call_details_destroy(&details);
        grpc_metadata_array_destroy(&metadata);
    }
    return NULL;
}

static grpc_server_credentials *make_credentials(const struct otlp_server_tls *tls)
{
    if (tls == NULL) {
        return grpc_insecure_server_credentials_create();
    }
    grpc_ssl_pem_key_cert_pair pair = {.private_key = tls->key, .cert_chain = tls->certificate};
    return grpc_ssl_server_credentials_create_ex(
        tls->authorities, &pair, 1,
        tls->authorities == NULL ? GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE
                                 : GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY,
        NULL);
}

static void free_server(struct otlp_server *server)
{
    grpc_completion_queue_shutdown(server->queue);
    while (
        grpc_completion_queue_next(server->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL).type !=
        GRPC_QUEUE_SHUTDOWN) {
    }
    grpc_server_destroy(server->server);
    grpc_completion_queue_destroy(server->queue);
    free(server);
    grpc_shutdown_blocking();
}

struct otlp_server *otlp_server_start(const char *address, const struct otlp_server_tls *tls,
                                      otlp_server_fn answer, void *ctx)
{
    grpc_init();
    struct otlp_server *server = calloc(1, sizeof *server);
    if (server == NULL) {
        abort();
    }
    server->answer = answer;
    server->ctx = ctx;
    server->queue = grpc_completion_queue_create_for_next(NULL);
    grpc_arg argument[] = {{.type = GRPC_ARG_INTEGER,
                            .key = (char *)(uintptr_t)GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH,
                            .value.integer = -1},
                           {.type = GRPC_ARG_INTEGER,
                            .key = (char *)(uintptr_t)GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION,
                            .value.integer = 0}};
    grpc_channel_args arguments = {2, argument};
    server->server = grpc_server_create(&arguments, NULL);
    grpc_server_register_completion_queue(server->server, server->queue, NULL);
    grpc_server_credentials *credentials = make_credentials(tls);
    server->port = grpc_server_add_http2_port(server->server, address, credentials);
    grpc_server_credentials_release(credentials);
    grpc_server_start(server->server);
    if (server->port == 0 || pthread_create(&server->thread, NULL, serve_all, server) != 0) {
        grpc_server_shutdown_and_notify(server->server, server->queue, &tag_end);
        free_server(server);
        return NULL;
    }
    return server;
}

int otlp_server_port(const struct otlp_server *server)
{
    return server->port;
}

void otlp_server_stop(struct otlp_server *server)
{
    grpc_server_shutdown_and_notify(server->server, server->queue, &tag_end);
    grpc_server_cancel_all_calls(server->server);
    (void)pthread_join(server->thread, NULL);
    free_server(server);
}
