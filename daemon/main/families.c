#include "main/families.h"

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

/* Its labels are put into `labels`. */
static struct family_shape shape_of(const struct conf_family *family,
                                    struct str labels[CONF_FAMILY_LABELS_MAX])
{
    for (size_t i = 0; i < family->labels.count; i++) {
        labels[i] = str_of(family->labels.texts[i]);
    }
    return (struct family_shape){.name = str_of(family->name),
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
}

static int declare(struct metrics *metrics, const struct conf_family *family)
{
    struct str labels[CONF_FAMILY_LABELS_MAX];
    struct family_shape shape = shape_of(family, labels);
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

/* Which ones are new and can be declared. Of those that cannot, names of our own are a mistake, and others
 * are taken by what clients have sent. */
static int choose_new(const struct families_change *change, bool wanted[CONF_FAMILIES_MAX])
{
    int err = 0;
    for (size_t i = 0; i < change->fresh->count; i++) {
        const struct conf_family *family = &change->fresh->families[i];
        struct str labels[CONF_FAMILY_LABELS_MAX];
        struct family_shape shape = shape_of(family, labels);
        wanted[i] = false;
        if (conf_families_find(change->in_force, family->name) != NULL) {
            continue;
        }
        int outcome = metrics_check(change->metrics, &shape);
        if (outcome == ERR_CONFLICT) {
            buf_printf(change->fixed,
                       "metrics.families_file: %s: needs a restart, as metrics of such a name are "
                       "there already\n",
                       family->name);
            ++*change->fixed_count;
        } else if (outcome != 0) {
            buf_printf(change->errors, "metrics.families_file: %s: is a name of the daemon's own\n",
                       family->name);
            err = outcome;
        }
        wanted[i] = outcome == 0;
    }
    return err;
}

/* Where a family is among others; it is there. */
static size_t place_of(const struct conf_families *families, const char *name)
{
    return (size_t)(conf_families_find(families, name) - families->families);
}

static int declare_new(const struct families_change *change, size_t first)
{
    struct conf_families *in_force = change->in_force;
    struct conf_families fresh = {in_force->families + first, in_force->count - first};
    const char *name = "";
    int err = families_declare(change->metrics, &fresh, &name);
    if (err != 0) {
        buf_printf(change->errors, "metrics.families_file: %s: cannot be declared: %s\n", name,
                   err_sentence(err));
        conf_families_truncate(in_force, place_of(in_force, name));
    }
    return err;
}

int families_change(const struct families_change *change)
{
    bool wanted[CONF_FAMILIES_MAX];
    size_t before = change->in_force->count;
    int compared = conf_families_compare(change->in_force, change->fresh, change->errors,
                                         change->fixed, change->fixed_count);
    int err = choose_new(change, wanted);
    err = compared != 0 ? compared : err;
    if (err == 0) {
        err = conf_families_take(change->in_force, change->fresh, wanted);
    }
    return err != 0 ? err : declare_new(change, before);
}
