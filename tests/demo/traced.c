/*
 * A model server in C that traces what it does by libdwell.
 *
 * Reads a line `b3: …`, the header of a request, and answers that by "answered": the first batch is
 * too large for it, a smaller one is not. Then it serves the model for a while without being traced,
 * and prints how many spans and how many inferences that were. Exit status 1: there was no request,
 * or the daemon did not take it all.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "dwell.h"

enum { SERVED = 300 };

#define MODEL "digit-net"

struct server {
    dwell_t *dwell;
    unsigned spans;
    unsigned inferences;
};

static double now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail */
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec * 1e-6;
}

/* Stands for what a real server computes. */
static void compute(double ms)
{
    double end = now_ms() + ms;
    while (now_ms() < end) {
    }
}

static void finish(struct server *server, struct dwell_span *span)
{
    dwell_span_end(span);
    server->spans++;
}

static void tokenize(struct server *server)
{
    struct dwell_span span;
    dwell_span_start(server->dwell, &span, "tokenize", NULL);
    dwell_span_int(&span, "tokens", 412);
    compute(1.5);
    finish(server, &span);
}

/* A span with the attribute model_name is an inference as well. */
static void start_inference(struct server *server, struct dwell_span *span, int batch)
{
    dwell_span_start(server->dwell, span, "infer", NULL);
    dwell_span_text(span, "model_name", MODEL);
    dwell_span_int(span, "batch.size", batch);
    server->inferences++;
}

static void fail_to_infer(struct server *server)
{
    struct dwell_span span;
    start_inference(server, &span, 64);
    compute(2);
    dwell_span_exception(&span, "MemoryError", "a batch of 64 does not fit into 512 MB",
                         "allocate (arena.c:88)\nforward (net.c:141)\ninfer (server.c:57)");
    finish(server, &span);
}

static void infer(struct server *server)
{
    struct dwell_span span;
    struct dwell_span layers;
    start_inference(server, &span, 8);
    dwell_span_start(server->dwell, &layers, "forward", NULL);
    for (int layer = 1; layer <= 3; layer++) {
        struct dwell_attribute number = dwell_int("layer", layer);
        compute(2);
        dwell_span_event(&layers, "layer done", &number, 1);
    }
    finish(server, &layers);
    compute(0.5);
    finish(server, &span);
}

static void answer(struct server *server, const char *b3)
{
    struct dwell_header received = {"b3", b3};
    struct dwell_headers headers = {&received, 1};
    struct dwell_context caller;
    struct dwell_span span;
    struct dwell_span_options options;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.kind = DWELL_KIND_SERVER;
    options.parent = &caller;
    (void)dwell_extract(DWELL_PROPAGATION_B3, dwell_header_find, &headers, &caller);
    dwell_span_start(server->dwell, &span, "POST /v1/infer", &options);
    tokenize(server);
    fail_to_infer(server);
    infer(server);
    finish(server, &span);
}

/* Most inferences take a millisecond or so, a few much longer. */
static void serve(struct server *server)
{
    const struct dwell_model *model = dwell_model(server->dwell, MODEL);
    for (int i = 0; i < SERVED; i++) {
        struct dwell_track track;
        dwell_track_begin(&track, model);
        compute(0.6 + 0.02 * (i % 40) + (i % 20 == 0 ? 5 : 0));
        dwell_track_end(&track, false);
        server->inferences++;
    }
}

int main(void)
{
    static const char header[] = "b3: ";
    struct dwell_options options;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.service_name = "model-server";
    struct server server = {dwell_open(&options), 0, 0};
    char line[128];
    if (fgets(line, sizeof line, stdin) == NULL || strncmp(line, header, strlen(header)) != 0) {
        return 1;
    }
    line[strcspn(line, "\n")] = '\0';
    answer(&server, line + strlen(header));
    puts("answered");
    (void)fflush(stdout); /* whoever waits for it finds out by itself */
    serve(&server);
    printf("%u %u\n", server.spans, server.inferences);
    return dwell_close(server.dwell) == DWELL_OK ? 0 : 1;
}
