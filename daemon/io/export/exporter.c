/*
 * Happy path of a span
 *   1. exporter_add_span   finds the service it belongs to, copies it into an item, queues that
 *   2. export_queue        wakes the thread when a batch is due
 *   3. thread_main         opens the spool, if there is to be one; turns the worker, which sends the
 *                          batch; waits while there is nothing to do
 *   4. exporter_stop       the worker sends the rest; the thread ends; exporter_close joins it
 *
 * What can fail, and where it ends
 *   no module, a bad target   a line in the log; spans are counted as dropped (no_exporter)
 *   no spool                  a line in the log; what cannot be sent stays in memory
 *   a full queue              the new span is dropped (queue_full)
 *   a service too many        its spans go under the daemon's resource and name it themselves
 *   whatever the network does export_worker
 */
#include "io/export/exporter.h"

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/export/export_spans.h"
#include "io/export/export_spooling.h"
#include "io/export/export_thread.h"
#include "io/export/export_worker.h"
#include "base/message.h"
#include "render/otlp_attribute.h"

enum {
    RESOURCE_MAX_BYTES = 1 << 20,
    SPAN_ATTRIBUTES = 9, /* the field of a Span that attributes are in */
    NAME_ATTRIBUTE_MAX = 4096,
};

struct exporter {
    struct exporter_options options;
    struct export_thread thread;
    struct export_queue queue;
    struct export_spans spans;
    struct export_service own;
    struct export_service *services[EXPORT_SERVICES_MAX]; /* those of the spans that came so far */
    unsigned service_count;
    struct export_service *last; /* the one of the span before; NULL: none but the own */
    struct buf scope;
    struct buf scratch; /* an attribute for a span without a resource of its service */
    /* The thread's from its start to its end. */
    struct export_worker worker;
};

static uint64_t ns_of(uint64_t ms)
{
    return ms * NS_PER_MS;
}

/* --- services ---------------------------------------------------------------------------------- */

static void free_service(struct export_service *service)
{
    mem_free((char *)(uintptr_t)service->name.ptr); /* owned, though a str is read-only */
    mem_free((char *)(uintptr_t)service->resource.ptr);
    *service = (struct export_service){0};
}

/* Returns 0 or ERR_NOMEM. */
static int init_service(struct exporter *exporter, struct export_service *service, unsigned index,
                        struct str name)
{
    struct buf resource;
    struct buf copy;
    buf_init(&resource, RESOURCE_MAX_BYTES);
    buf_init(&copy, RESOURCE_MAX_BYTES);
    otlp_resource_render(exporter->options.resource, name, &resource);
    buf_str(&copy, name);
    size_t resource_len = resource.len;
    char *resource_text = buf_steal(&resource);
    char *name_text = buf_steal(&copy);
    *service = (struct export_service){
        .index = index, .name = {name_text, name.len}, .resource = {resource_text, resource_len}};
    if (resource_text == NULL || name_text == NULL) {
        free_service(service);
        return ERR_NOMEM;
    }
    return 0;
}

/* The service of this name, made when there is room; NULL: it gets no resource of its own. */
static const struct export_service *find_service(struct exporter *exporter, struct str name)
{
    if (name.len == 0 || str_equal(name, exporter->options.resource->service_name)) {
        return &exporter->own;
    }
    if (exporter->last != NULL && str_equal(name, exporter->last->name)) {
        return exporter->last;
    }
    for (unsigned i = 0; i < exporter->service_count; i++) {
        if (str_equal(name, exporter->services[i]->name)) {
            exporter->last = exporter->services[i];
            return exporter->last;
        }
    }
    if (exporter->service_count == EXPORT_SERVICES_MAX || name.len > EXPORTER_NAME_MAX) {
        return NULL;
    }
    struct export_service *made = mem_alloc(sizeof *made);
    if (made == NULL || init_service(exporter, made, exporter->service_count + 1, name) != 0) {
        mem_free(made);
        return NULL; /* the next span of it tries again */
    }
    exporter->services[exporter->service_count++] = made;
    exporter->last = made;
    return made;
}

/* --- a span ------------------------------------------------------------------------------------ */

void exporter_drop_spans(struct exporter *exporter, enum export_drop reason, uint32_t spans,
                         bool were_held)
{
    if (exporter != NULL && were_held) {
        export_queue_give_up(&exporter->queue, spans, reason);
    } else if (exporter != NULL) {
        export_queue_refuse(&exporter->queue, spans, reason);
    }
}

void exporter_hold_span(struct exporter *exporter)
{
    if (exporter != NULL) {
        export_queue_hold(&exporter->queue, 1);
    }
}

static void add_span(struct exporter *exporter, struct str service_name, struct str span,
                     bool was_held)
{
    if (exporter->thread.channel == NULL || span.len > EXPORTER_SPAN_MAX) {
        exporter_drop_spans(exporter,
                            exporter->thread.channel == NULL ? EXPORT_DROP_NO_EXPORTER
                                                             : EXPORT_DROP_TOO_LARGE,
                            1, was_held);
        return;
    }
    const struct export_service *service = find_service(exporter, service_name);
    struct str extra = {NULL, 0};
    if (service == NULL) {
        /* Fields of one number may stand anywhere in a message: one more attribute at its end. */
        buf_clear(&exporter->scratch);
        otlp_attribute_text(&exporter->scratch, SPAN_ATTRIBUTES, STR_LITERAL("service.name"),
                            service_name);
        if (exporter->scratch.err == 0) {
            extra = (struct str){exporter->scratch.data, exporter->scratch.len};
        }
        service = &exporter->own;
    }
    struct export_item *item = export_item_new(service, span.len + extra.len);
    if (item == NULL) {
        exporter_drop_spans(exporter, EXPORT_DROP_OUT_OF_MEMORY, 1, was_held);
        return;
    }
    item->was_held = was_held;
    if (span.len > 0) {
        memcpy(item->bytes, span.ptr, span.len);
    }
    if (extra.len > 0) {
        memcpy(item->bytes + span.len, extra.ptr, extra.len);
    }
    export_queue_add(&exporter->queue, item);
}

void exporter_add_span(struct exporter *exporter, struct str service_name, struct str span)
{
    if (exporter != NULL) {
        add_span(exporter, service_name, span, false);
    }
}

void exporter_add_held_span(struct exporter *exporter, struct str service_name, struct str span)
{
    if (exporter != NULL) {
        add_span(exporter, service_name, span, true);
    }
}

struct export_queue *exporter_queue(struct exporter *exporter)
{
    return &exporter->queue;
}

void exporter_view(struct exporter *exporter, struct export_view *ret_view)
{
    export_queue_view(&exporter->queue, ret_view);
}

/* --- start and end ----------------------------------------------------------------------------- */

static void open_spool(struct exporter *exporter)
{
    const struct exporter_options *options = &exporter->options;
    if (options->spool_path != NULL && options->spool_path[0] != '\0') {
        export_spooling_open(&exporter->worker,
                             &(struct spool_options){.path = options->spool_path,
                                                     .signal = SPOOL_TRACES,
                                                     .max_bytes = options->spool_max_bytes,
                                                     .max_files = options->spool_max_files});
    }
}

static void *thread_main(void *ctx)
{
    struct exporter *exporter = ctx;
    uint64_t wake_ns;
    open_spool(exporter);
    while (export_worker_turn(&exporter->worker, &wake_ns)) {
        if (wake_ns > exporter->options.clock.mono_ns(exporter->options.clock.ctx)) {
            export_queue_wait(&exporter->queue, wake_ns);
        }
    }
    export_queue_end(&exporter->queue);
    return NULL;
}

static void init_worker(struct exporter *exporter)
{
    const struct exporter_options *options = &exporter->options;
    struct export_worker_options worker = {
        .transport = options->transport,
        .channel = exporter->thread.channel,
        .address = options->address,
        .clock = options->clock,
        .random = export_thread_draw,
        .random_ctx = &exporter->thread,
        .batch_items = exporter->queue.options.batch_items,
        .delay_ns = ns_of(options->delay_ms),
        .timeout_ns = ns_of(options->timeout_ms),
        .retry_timeout_ns = ns_of(options->retry_timeout_ms),
        .spool_after_ns = ns_of(options->spool_after_ms),
        .max_request_bytes = options->max_request_bytes,
    };
    export_worker_init(&exporter->worker, &exporter->queue, &worker);
}

/* Returns 0, also when the target is not taken; else ERR_SYSTEM. */
static int start_thread(struct exporter *exporter)
{
    const struct exporter_options *options = &exporter->options;
    export_thread_open(&exporter->thread, options->target, options->address, "spans");
    if (exporter->thread.channel != NULL) {
        init_worker(exporter);
        log_info("traces to %s", options->address);
    }
    return export_thread_start(&exporter->thread, thread_main, exporter);
}

int exporter_start(const struct exporter_options *options, struct exporter **ret_exporter)
{
    struct exporter *exporter = mem_zalloc(1, sizeof *exporter);
    if (exporter == NULL) {
        return ERR_NOMEM;
    }
    exporter->options = *options;
    exporter->thread = (struct export_thread){.transport = options->transport,
                                              .queue = &exporter->queue,
                                              .clock = options->clock,
                                              .random = options->seed};
    buf_init(&exporter->scope, NAME_ATTRIBUTE_MAX);
    buf_init(&exporter->scratch, EXPORTER_SPAN_MAX);
    struct export_queue_options queue = {
        .signal = &export_spans_signal,
        .signal_ctx = &exporter->spans,
        .address = options->address,
        .max_items = options->max_queue_spans,
        .max_weight = options->max_queue_spans,
        .max_bytes = options->max_queue_bytes,
        .batch_items = options->batch_spans < options->max_queue_spans ? options->batch_spans
                                                                       : options->max_queue_spans,
        .clock = options->clock};
    int err = export_queue_init(&exporter->queue, &queue);
    if (err != 0) {
        mem_free(exporter);
        return err;
    }
    otlp_scope_render(options->resource->dwelld_version, &exporter->scope);
    exporter->spans = (struct export_spans){.scope = {exporter->scope.data, exporter->scope.len},
                                            .max_request_bytes = options->max_request_bytes};
    err = exporter->scope.err != 0 ? exporter->scope.err
                                   : init_service(exporter, &exporter->own, 0, (struct str){0});
    if (err == 0) {
        err = start_thread(exporter);
    }
    if (err != 0) {
        exporter_close(exporter);
        return err;
    }
    *ret_exporter = exporter;
    return 0;
}

void exporter_stop(struct exporter *exporter, uint64_t deadline_ns)
{
    if (exporter != NULL) {
        export_thread_stop(&exporter->thread, deadline_ns);
    }
}

bool exporter_is_done(struct exporter *exporter)
{
    return exporter == NULL || export_thread_is_done(&exporter->thread);
}

void exporter_finish(struct exporter *exporter)
{
    if (exporter != NULL) {
        export_thread_finish(&exporter->thread);
    }
}

void exporter_close(struct exporter *exporter)
{
    if (exporter == NULL) {
        return;
    }
    bool had_worker = exporter->thread.channel != NULL;
    export_thread_close(&exporter->thread);
    if (had_worker) {
        export_worker_fini(&exporter->worker);
    }
    for (unsigned i = 0; i < exporter->service_count; i++) {
        free_service(exporter->services[i]);
        mem_free(exporter->services[i]);
    }
    free_service(&exporter->own);
    buf_fini(&exporter->scope);
    buf_fini(&exporter->scratch);
    export_queue_fini(&exporter->queue);
    mem_free(exporter);
}
