#include "core/metric_key.h"

#include "base/err.h"
#include "base/name.h"
#include "base/num.h"

#define PREFIX "exported_"

enum { LABEL_NAME_MAX = sizeof PREFIX + RECORD_NAME_MAX + 1 };

/* Names that mean something on a series of the type, or on any. */
static bool is_reserved(struct str name, const struct family_shape *shape)
{
    return (shape->type == FAMILY_HISTOGRAM && str_is(name, "le")) || str_is(name, "quantile") ||
           (shape->aggregation == AGGREGATION_PER_PID && str_is(name, "pid")) ||
           str_is(name, "dwell_overflow") ||
           (shape->type != FAMILY_INFO && str_is(name, "constitutional_hash")) ||
           (name.len >= 2 && memcmp(name.ptr, "__", 2) == 0);
}

static bool put(struct metric_key *key, struct str text)
{
    if (text.len >= METRIC_KEY_MAX - key->len) {
        return false;
    }
    if (text.len > 0) {
        memcpy(key->pairs + key->len, text.ptr, text.len);
    }
    key->len += text.len;
    key->pairs[key->len++] = '\0';
    return true;
}

static int put_pair(struct metric_key *key, struct str name, struct str value)
{
    key->pair_count++;
    return put(key, name) && put(key, value) ? 0 : METRIC_KEY_OVERFLOW;
}

static int check_value(struct str value, size_t max_value)
{
    return value.len > max_value ? METRIC_KEY_OVERFLOW : name_is_text(value) ? 0 : ERR_NAME;
}

/* --- declared labels --------------------------------------------------------------------------- */

static const struct label *find_attribute(const struct metric *metric, struct str name)
{
    for (uint32_t i = 0; i < metric->attribute_count; i++) {
        if (str_equal(metric->attributes[i].key, name)) {
            return &metric->attributes[i];
        }
    }
    return NULL;
}

/* Every declared label once, and nothing else: with as many attributes as labels, one that is missing
 * or stands twice leaves another label without one. */
static int put_declared(const struct family_shape *shape, const struct metric *metric,
                        size_t max_value, struct metric_key *key)
{
    int outcome = metric->attribute_count == shape->label_count ? 0 : ERR_LABELS;
    for (uint32_t i = 0; outcome >= 0 && i < shape->label_count; i++) {
        const struct label *attribute = find_attribute(metric, shape->labels[i]);
        if (attribute == NULL) {
            return ERR_LABELS;
        }
        int err = check_value(attribute->value, max_value);
        err = err == 0 && outcome == 0 ? put_pair(key, shape->labels[i], attribute->value) : err;
        outcome = err == 0 ? outcome : err;
    }
    return outcome;
}

/* --- any labels -------------------------------------------------------------------------------- */

struct pair {
    struct str name;
    struct str value;
};

static bool comes_before(struct str a, struct str b)
{
    return str_compare(a, b) < 0;
}

/* In the order of names. Returns ERR_DUPLICATE_KEY for a name that is there. */
static int insert(struct pair *pairs, uint32_t *count, struct pair pair)
{
    uint32_t at = *count;
    while (at > 0 && comes_before(pair.name, pairs[at - 1].name)) {
        pairs[at] = pairs[at - 1];
        at--;
    }
    pairs[at] = pair;
    ++*count;
    return at > 0 && str_equal(pairs[at - 1].name, pair.name) ? ERR_DUPLICATE_KEY : 0;
}

static int make_label_name(const struct family_shape *shape, struct str key,
                           char out[LABEL_NAME_MAX], struct str *ret_name)
{
    if (key.len == 0 || key.len > RECORD_NAME_MAX || !name_is_text(key)) {
        return ERR_NAME;
    }
    char *plain = out + sizeof PREFIX - 1;
    *ret_name = (struct str){plain, name_sanitise(key, plain)};
    if (is_reserved(*ret_name, shape)) {
        memcpy(out, PREFIX, sizeof PREFIX - 1);
        *ret_name = (struct str){out, sizeof PREFIX - 1 + ret_name->len};
    }
    return 0;
}

static int put_any(const struct family_shape *shape, const struct metric *metric, size_t max_value,
                   struct metric_key *key)
{
    char names[RECORD_ATTRIBUTES_MAX][LABEL_NAME_MAX];
    struct pair pairs[RECORD_ATTRIBUTES_MAX];
    uint32_t count = 0;
    int outcome = 0;
    for (uint32_t i = 0; i < metric->attribute_count; i++) {
        const struct label *attribute = &metric->attributes[i];
        struct pair pair = {.value = attribute->value};
        int err = make_label_name(shape, attribute->key, names[i], &pair.name);
        if (err == 0 && pair.value.len > 0) {
            err = insert(pairs, &count, pair);
        }
        if (err != 0) {
            return err;
        }
        err = check_value(pair.value, max_value);
        if (err < 0) {
            return err;
        }
        outcome = err == 0 ? outcome : err;
    }
    for (uint32_t i = 0; outcome == 0 && i < count; i++) {
        outcome = put_pair(key, pairs[i].name, pairs[i].value);
    }
    return outcome;
}

int metric_key_make(const struct family_shape *shape, const struct metric *metric, size_t max_value,
                    uint64_t pid, struct metric_key *ret)
{
    ret->len = 0;
    ret->pair_count = 0;
    int outcome = shape->declared ? put_declared(shape, metric, max_value, ret)
                                  : put_any(shape, metric, max_value, ret);
    if (outcome == 0 && pid != 0) {
        char digits[NUM_U64_MAX];
        outcome =
            put_pair(ret, STR_LITERAL("pid"), (struct str){digits, num_write_u64(digits, pid)});
    }
    return outcome;
}

void metric_key_overflow(struct metric_key *ret)
{
    ret->len = 0;
    ret->pair_count = 0;
    (void)put_pair(ret, STR_LITERAL("dwell_overflow"), STR_LITERAL("true")); /* fits */
}
