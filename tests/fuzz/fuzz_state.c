/* wire/state and core/restore on any bytes as the body of a state file: they take all of it or nothing,
 * and a daemon that goes on from it can be asked, and saves a body that is one again. */
#include <stdbool.h>
#include <stdlib.h>

#include "base/clock.h"
#include "core/restore.h"
#include "fuzz.h"
#include "io/state_head.h"
#include "render/exposition.h"
#include "render/state.h"
#include "wire/state.h"
#include "wire_recorder.h"

enum { BODY_MAX = 1 << 26 };

static struct registry registry;
static struct metrics metrics;
static struct spans spans;
static struct budgets budgets;
static struct processes processes;
static struct ledger ledger;
static struct counters counters;
static struct intake intake = {.registry = &registry,
                               .metrics = &metrics,
                               .spans = &spans,
                               .budgets = &budgets,
                               .processes = &processes,
                               .ledger = &ledger,
                               .counters = &counters};

static const struct saved_moment now = {
    .wall_ns = UINT64_C(1700000000) * NS_PER_SECOND,
    .mono_ns = 5000 * NS_PER_SECOND,
    .boot_ns = 5000 * NS_PER_SECOND,
    .has_boot_id = true,
};

static void open_core(void)
{
    struct registry_options options = {
        .window_ns = 300 * NS_PER_SECOND, .max_models = 50, .hash_seed = 1};
    options.label_keys[options.label_key_count++] = STR_LITERAL("tier");
    struct metrics_options clients = {.max_series = 100,
                                      .max_series_per_family = 50,
                                      .max_label_bytes = 256,
                                      .name_space = STR_LITERAL("acgs2"),
                                      .window_ns = options.window_ns,
                                      .max_set_values = 1000,
                                      .hash_seed = 1};
    struct spans_options halves = {.name_space = clients.name_space,
                                   .max_open = 1,
                                   .max_open_bytes = 1024,
                                   .sampler = {.rate = 1, .hash_seed = 1}};
    struct budgets_options layers = {
        .name_space = clients.name_space, .total_ms = 50, .hash_seed = 1};
    struct str name;
    WIRE_REQUIRE(registry_init(&registry, &options) == 0);
    WIRE_REQUIRE(metrics_init(&metrics, &clients, &registry.limbo) == 0);
    WIRE_REQUIRE(ledger_init(&ledger, 1) == 0);
    spans_init(&spans, &halves, &registry, &metrics);
    WIRE_REQUIRE(budgets_init(&budgets, &layers, &registry, &metrics) == 0);
    registry_set_time(&registry, now.mono_ns, now.wall_ns);
    metrics_set_time(&metrics, now.mono_ns, now.wall_ns);
    WIRE_REQUIRE(budgets_declare(&budgets, &name) == 0);
}

static void close_core(void)
{
    spans_fini(&spans);
    budgets_fini(&budgets);
    metrics_fini(&metrics);
    processes_fini(&processes);
    registry_fini(&registry);
    ledger_fini(&ledger);
    counters = (struct counters){.value = {0}};
    intake.accepted = 0;
    for (unsigned row = 0; row < ERR_ROW_COUNT; row++) {
        intake.rejected[row] = 0;
    }
}

/* Every other process lives. */
static bool is_alive(void *ctx, int64_t kernel_pid, uint64_t boot_ns)
{
    (void)ctx;
    (void)boot_ns;
    return kernel_pid % 2 == 0;
}

static void go_on(struct str body)
{
    struct restore_options options = {.intake = &intake, .now = now, .is_alive = is_alive};
    struct restore *restore = restore_new(&options);
    WIRE_REQUIRE(restore != NULL);
    struct saved_sink sink = restore_sink(restore);
    WIRE_REQUIRE(state_read(body, &sink) == 0);
    restore_free(restore);
}

static void show(const struct snapshot *snapshot)
{
    struct exposition_options options = {.name_space = STR_LITERAL("acgs2"),
                                         .dwelld_version = STR_LITERAL("1"),
                                         .created_series = true,
                                         .label_keys = {STR_LITERAL("tier")},
                                         .label_key_count = 1};
    struct exposition *exposition = exposition_new(&options);
    struct buf out;
    WIRE_REQUIRE(exposition != NULL);
    buf_init(&out, BODY_MAX);
    for (unsigned format = 0; format < EXPOSITION_FORMAT_COUNT; format++) {
        buf_clear(&out);
        WIRE_REQUIRE(exposition_render(exposition, snapshot, (enum exposition_format)format, NULL,
                                       &out) == 0);
    }
    buf_fini(&out);
    exposition_free(exposition);
}

static void must_show_and_save(void)
{
    static const struct saved_sink nobody;
    struct thresholds thresholds = {.gpu = {.max_batch = 1}};
    struct snapshot *snapshot;
    struct beside *beside;
    struct buf body;
    size_t lasting;
    buf_init(&body, BODY_MAX);
    WIRE_REQUIRE(snapshot_take(&intake, &thresholds, now.mono_ns, now.wall_ns, &snapshot) == 0);
    WIRE_REQUIRE(beside_take(&intake, &beside) == 0);
    show(snapshot);
    struct state_source source = {.snapshot = snapshot, .beside = beside, .moment = now};
    WIRE_REQUIRE(state_render(&source, &body, &lasting) == 0);
    WIRE_REQUIRE(state_read((struct str){body.data, body.len}, &nobody) == 0);
    beside_free(beside);
    snapshot_release(snapshot, &registry);
    buf_fini(&body);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    static const struct saved_sink nobody;
    static bool ready;
    struct str body = {(const char *)bytes, len};
    struct str of_file;
    if (!ready) {
        hist_init_tables();
        tally_init_tables();
        ready = true;
    }
    (void)state_head_read(body, &of_file);
    if (state_read(body, &nobody) == 0) {
        open_core();
        go_on(body);
        must_show_and_save();
        close_core();
    }
    return 0;
}
