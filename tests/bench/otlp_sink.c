/*
 * A receiver of OTLP as a program of its own: listens where it is told, answers every request with
 * success, ends with its input.
 *
 *     otlp_sink 127.0.0.1:0 [--show | --count]
 *
 * prints "port N" and, with --show, a line for each request: the method and the body in hexadecimal
 * digits; with --count, at the end "spans N": how many there were in the requests it answered.
 * A line "N text" on its input is the status and message of every answer from then on.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "otlp_server.h"

#define TRACES_METHOD "/opentelemetry.proto.collector.trace.v1.TraceService/Export"

enum { LINE_MAX_BYTES = 1024 };

static struct sink {
    bool shows;
    bool counts;
    pthread_mutex_t mutex; /* guards what is below */
    int status;
    char message[LINE_MAX_BYTES];
    uint64_t spans;
} sink = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static const char *read_varint(const char *at, const char *end, uint64_t *ret_number)
{
    *ret_number = 0;
    for (unsigned shift = 0; at < end && shift < 64; shift += 7) {
        *ret_number |= (uint64_t)(*at & 0x7F) << shift;
        if ((*at++ & 0x80) == 0) {
            return at;
        }
    }
    abort(); /* the daemon writes none such */
}

/* Spans of an ExportTraceServiceRequest: resource_spans, in them scope_spans, in them spans. Level 0 is
 * the request. */
static uint64_t count_spans(const char *at, const char *end, unsigned level)
{
    static const unsigned path[] = {1, 2, 2};
    uint64_t count = 0;
    while (at < end) {
        uint64_t tag;
        uint64_t number;
        uint64_t len = 0;
        at = read_varint(at, end, &tag);
        switch (tag & 7) {
        case 0:
            at = read_varint(at, end, &number);
            break;
        case 1:
            len = 8;
            break;
        case 2:
            at = read_varint(at, end, &len);
            break;
        default:
            len = 4;
        }
        if (len > (uint64_t)(end - at)) {
            abort();
        }
        if (tag == (path[level] << 3 | 2)) {
            count += level == 2 ? 1 : count_spans(at, at + len, level + 1);
        }
        at += len;
    }
    return count;
}

static void on_request(void *ctx, const struct otlp_server_request *request,
                       struct otlp_server_answer *answer)
{
    static char message[LINE_MAX_BYTES]; /* lives until the next answer */
    (void)ctx;
    struct str body = request->body;
    bool is_traces = str_equal(request->method, STR_LITERAL(TRACES_METHOD));
    uint64_t spans = sink.counts && is_traces ? count_spans(body.ptr, body.ptr + body.len, 0) : 0;
    pthread_mutex_lock(&sink.mutex);
    answer->status = sink.status;
    sink.spans += sink.status == 0 ? spans : 0;
    memcpy(message, sink.message, sizeof message);
    pthread_mutex_unlock(&sink.mutex);
    answer->message = message;
    if (sink.shows) {
        printf("%.*s ", (int)request->method.len, request->method.ptr);
        for (size_t i = 0; i < request->body.len; i++) {
            printf("%02x", (unsigned char)request->body.ptr[i]);
        }
        printf("\n");
        fflush(stdout);
    }
}

int main(int argc, char **argv)
{
    char line[LINE_MAX_BYTES];
    if (argc < 2) {
        fprintf(stderr, "usage: otlp_sink ADDRESS [--show | --count]\n");
        return 64;
    }
    sink.shows = argc > 2 && strcmp(argv[2], "--show") == 0;
    sink.counts = argc > 2 && strcmp(argv[2], "--count") == 0;
    struct otlp_server *server = otlp_server_start(argv[1], NULL, on_request, NULL);
    if (server == NULL) {
        fprintf(stderr, "otlp_sink: cannot listen on %s\n", argv[1]);
        return 69;
    }
    printf("port %d\n", otlp_server_port(server));
    fflush(stdout);
    while (fgets(line, sizeof line, stdin) != NULL) {
        char *text = line;
        line[strcspn(line, "\n")] = '\0';
        pthread_mutex_lock(&sink.mutex);
        sink.status = (int)strtol(line, &text, 10);
        snprintf(sink.message, sizeof sink.message, "%s", *text == ' ' ? text + 1 : text);
        pthread_mutex_unlock(&sink.mutex);
    }
    otlp_server_stop(server);
    if (sink.counts) {
        printf("spans %llu\n", (unsigned long long)sink.spans);
    }
    return 0;
}
