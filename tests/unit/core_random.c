#include "core_random.h"

#include <math.h>
#include <stdio.h>

static const char awkward[] = "a \"b\"\\\n模型";

void core_random_declare(struct core *core)
{
    static const double bounds[] = {0.5, 1, 2};
    static const struct str labels[] = {{"queue", 5}};
    struct family_shape shape = {.name = STR_LITERAL("classic_seconds"),
                                 .source = STR_LITERAL("classic_seconds"),
                                 .help = STR_LITERAL("Without native buckets,\n\"so\" \\."),
                                 .unit = STR_LITERAL("seconds"),
                                 .type = FAMILY_HISTOGRAM,
                                 .declared = true,
                                 .label_count = 1,
                                 .labels = labels,
                                 .bound_count = 3,
                                 .bounds = bounds,
                                 .expire_seconds = 20};
    assert_int_equal(metrics_declare(core->metrics, &shape), 0);
    shape.name = STR_LITERAL("both_seconds");
    shape.source = shape.name;
    shape.native = true;
    shape.expire_seconds = 0;
    assert_int_equal(metrics_declare(core->metrics, &shape), 0);
    shape.name = STR_LITERAL("unused_seconds");
    shape.source = shape.name;
    assert_int_equal(metrics_declare(core->metrics, &shape), 0);
    struct metric first = metric_of(METRIC_OBSERVE, "both_seconds", 0, "queue=empty");
    assert_int_equal(metrics_start(core->metrics, &first), 0);
}

static double random_value(struct random *random, enum metric_op op)
{
    uint64_t kind = random_below(random, 12);
    double size = exp(random_normal(random) * (double)(1 + random_below(random, 6)));
    bool may_fall = op != METRIC_COUNT;
    if (op == METRIC_SET && kind < 3) {
        return kind == 0 ? (double)NAN : kind == 1 ? (double)INFINITY : -(double)INFINITY;
    }
    return kind == 3              ? 0
           : kind < 6 && may_fall ? -size
           : kind == 6            ? ldexp(size, -130) /* about the zero threshold */
           : kind == 7            ? ldexp(size, 60)
           : kind == 8            ? floor(exp(random_unit(random) * 16))
                                  : size;
}

void core_random_count(struct core *core, struct random *random)
{
    static const struct {
        const char *name;
        enum metric_op op;
        const char *key;
    } kinds[] = {
        {"requests", METRIC_COUNT, "path"},
        {"untraced", METRIC_COUNT, "path"},
        {"depth", METRIC_SET, "queue"},
        {"balance", METRIC_ADD, "queue"},
        {"size", METRIC_OBSERVE, "queue"},
        {"classic_seconds", METRIC_OBSERVE, "queue"},
        {"both_seconds", METRIC_OBSERVE, "queue"},
        {"build", METRIC_INFO, "version"},
        {"users", METRIC_MEMBER, "plan"},
    };
    size_t kind = random_below(random, sizeof kinds / sizeof kinds[0]);
    char value[16];
    /* Few and many: series of many exemplars, and families of two pages. */
    (void)snprintf(value, sizeof value, "v%u",
                   (unsigned)random_below(random, random_below(random, 2) == 0 ? 2 : 90));
    struct metric metric = {.name = str_of(kinds[kind].name),
                            .op = kinds[kind].op,
                            .value = random_value(random, kinds[kind].op),
                            .member = str_of(value),
                            .weight = 1,
                            .attribute_count = 1};
    metric.attributes[0] = (struct label){str_of(kinds[kind].key), str_of(value)};
    uint64_t bits = random_next(random);
    if ((bits & 7) == 0) {
        metric.attributes[0].value = str_of(awkward);
    } else if ((bits & 7) == 1) {
        metric.attributes[0].value = STR_LITERAL("");
    }
    bool may_be_traced = metric.op == METRIC_COUNT || metric.op == METRIC_OBSERVE;
    if ((bits & 8) == 0 && may_be_traced && !str_is(metric.name, "untraced")) {
        metric.has = METRIC_HAS_TRACE_ID | METRIC_HAS_TIMESTAMP |
                     ((bits & 0x20) == 0 ? METRIC_HAS_SPAN_ID : 0);
        metric.timestamp_wall_ns =
            UINT64_C(1700000000000000000) + (random_below(random, 1u << 30) << 8);
        memset(metric.trace_id, (int)(bits >> 8), sizeof metric.trace_id);
        memset(metric.span_id, (int)(bits >> 16), sizeof metric.span_id);
    }
    if (metric.op == METRIC_OBSERVE && (bits & 0x3C0) == 0) {
        metric.weight = 1 + random_below(random, 1000000);
    }
    must_count(core, &metric, NULL);
}

void core_random_record(struct core *core, struct random *random)
{
    char name[32];
    (void)snprintf(name, sizeof name, "model_%u", (unsigned)random_below(random, 12));
    struct sample sample =
        sample_of(name, random_shape(random, (enum shape)random_below(random, SHAPE_COUNT)));
    uint64_t bits = random_next(random);
    if ((bits & 7) == 0) {
        sample.model_name = str_of(awkward);
    }
    if ((bits & 0x38) == 0) { /* far apart, so that resolution falls */
        sample.execution_time_ms = exp2((random_unit(random) - 0.5) * 70) * 1e3;
        sample.execution_time_ms = fmin(sample.execution_time_ms, RECORD_MS_MAX);
    }
    if ((bits & 0x1C0) == 0) {
        sample.has |= 1u << SAMPLE_QUEUE | 1u << SAMPLE_MEMORY_AFTER | 1u << SAMPLE_BATCH_SIZE |
                      1u << SAMPLE_USER | 1u << SAMPLE_SYSTEM | 1u << SAMPLE_CPU_DURING;
        sample.queue_ms = random_unit(random) * 100;
        sample.batch_size = (double)random_below(random, 2000);
        sample.memory_mb_after = random_unit(random) * 4096;
        sample.cpu_percent_during = random_unit(random) * 100;
        sample.user_ms = sample.execution_time_ms / 3;
    }
    if ((bits & 0xE00) == 0) {
        sample.has |= 1u << SAMPLE_TRACE_ID | 1u << SAMPLE_SPAN_ID | 1u << SAMPLE_TIMESTAMP;
        sample.trace_id[3] = (uint8_t)(bits >> 16);
        sample.timestamp_wall_ns = UINT64_C(1700000000000000000) + random_below(random, 1u << 30);
    }
    must_record(core, &sample);
}

void core_random_change(struct core *core, struct random *random)
{
    uint64_t what = random_below(random, 20);
    if (what == 0) {
        assert_true(registry_reset(core->registry, NULL) >= 0);
    } else if (what <= 6) {
        core_move(core, (int64_t)random_below(random, CORE_SLOT_S));
        metrics_tick(core->metrics);
    }
    uint64_t changes = what < 16 ? random_below(random, 10) : random_below(random, 400);
    for (uint64_t i = 0; i < changes; i++) {
        core_random_record(core, random);
        core_random_count(core, random);
    }
}
