#include "main_families.h"

#include "base/err.h"
#include "base/mem.h"

/* Words of both lists stand in the same order. */
_Static_assert((int)CONF_FAMILY_INFO == (int)FAMILY_INFO &&
                   (int)CONF_FAMILY_TYPE_COUNT == (int)FAMILY_SET, /* not declared */
               "types");
_Static_assert((int)CONF_AGGREGATION_PER_PID == (int)AGGREGATION_PER_PID &&
                   (int)CONF_AGGREGATION_COUNT == (int)AGGREGATION_COUNT,
               "aggregations");
_Static_assert((int)CONF_FAMILY_LABELS_MAX <= (int)RECORD_ATTRIBUTES_MAX, "labels fit a record");
_Static_assert((int)CONF_FAMILY_BUCKETS_MAX <= (int)FAMILY_BOUNDS_MAX, "buckets fit a family");

static int declare(struct metrics *metrics, const struct conf_family *family)
{
    struct str labels[CONF_FAMILY_LABELS_MAX];
    for (size_t i = 0; i < family->labels.count; i++) {
        labels[i] = str_of(family->labels.texts[i]);
    }
    struct family_shape shape = {.name = str_of(family->name),
                                 .source = str_of(family->name),
                                 .help = str_of(family->help),
                                 .unit = str_of(family->unit),
                                 .type = (enum family_type)family->type,
                                 .aggregation = (enum aggregation)family->aggregation,
                                 .declared = true,
                                 .native = family->native,
                                 .label_count = (uint32_t)family->labels.count,
                                 .labels = labels,
                                 .bound_count = (uint32_t)family->buckets.count,
                                 .bounds = family->buckets.numbers,
                                 .expire_seconds = family->expire_seconds};
    return metrics_declare(metrics, &shape);
}

/* Combination number `number` of the labels' values: the last label counts fastest. */
static void choose(const struct conf_family *family, size_t number, struct metric *ret)
{
    for (size_t i = family->labels.count; i-- > 0;) {
        const struct conf_texts *values = &family->values[i];
        ret->attributes[i] = (struct label){str_of(family->labels.texts[i]),
                                            str_of(values->texts[number % values->count])};
        number /= values->count;
    }
}

static int start(struct metrics *metrics, const struct conf_family *family)
{
    static const enum metric_op ops[] = {METRIC_COUNT, METRIC_SET, METRIC_OBSERVE, METRIC_INFO};
    _Static_assert(sizeof ops / sizeof ops[0] == CONF_FAMILY_TYPE_COUNT, "one each");
    struct metric metric = {.name = str_of(family->name),
                            .op = ops[family->type],
                            .weight = 1,
                            .attribute_count = (uint32_t)family->labels.count};
    int err = 0;
    for (size_t i = 0; err == 0 && i < family->start_count; i++) {
        choose(family, i, &metric);
        err = metrics_start(metrics, &metric);
    }
    return err;
}

int families_declare(struct metrics *metrics, const struct conf_families *families,
                     const char **ret_name)
{
    int err = 0;
    for (size_t i = 0; err == 0 && i < families->count; i++) {
        const struct conf_family *family = &families->families[i];
        *ret_name = family->name;
        err = declare(metrics, family);
        if (err == 0) {
            err = start(metrics, family);
        }
    }
    return err;
}
