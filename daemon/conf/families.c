/*
 * Happy path of conf_families_load:
 *   1. the user's file is read as one object, as it may leave the built-in families out;
 *   2. the built-in families are read, one after the other, then the file's;
 *   3. a family is read member by member, its type first, as the others depend on it;
 *   4. it is compared with all before it: the same once more is nothing new; names that two would
 *      give to their samples are a mistake; else it is kept.
 * A mistake is told and its family left aside, so that one run tells all of them; at the end any
 * complaint fails the whole. Running out of memory ends it at once.
 */
#include "conf/families.h"

#include "base/err.h"
#include "base/mem.h"
#include "conf/table.h"

static const char *const type_words[] = {"counter", "gauge", "histogram", "info"};
_Static_assert(sizeof type_words / sizeof type_words[0] == CONF_FAMILY_TYPE_COUNT, "a word a type");

/* What follows the family's name in those of its samples. Nothing, first, as TYPE lines have the name
 * alone. The rest of a row is NULL. */
enum { SUFFIXES_MAX = 5 };
static const char *const suffixes[][SUFFIXES_MAX] = {
    [CONF_FAMILY_COUNTER] = {"", "_total", "_created"},
    [CONF_FAMILY_GAUGE] = {""},
    [CONF_FAMILY_HISTOGRAM] = {"", "_bucket", "_sum", "_count", "_created"},
    [CONF_FAMILY_INFO] = {"", "_info"},
};
_Static_assert(sizeof suffixes / sizeof suffixes[0] == CONF_FAMILY_TYPE_COUNT, "a row a type");

static const char *const aggregation_words[] = {"", "last", "sum", "max", "min", "per_pid"};
_Static_assert(sizeof aggregation_words / sizeof aggregation_words[0] == CONF_AGGREGATION_COUNT,
               "a word an aggregation");

static const char *const file_keys[] = {"builtin", "families"};
static const char *const family_keys[] = {"name",        "type",          "help",   "labels",
                                          "unit",        "buckets",       "native", "values",
                                          "aggregation", "expire_seconds"};

/* Where a family was declared. */
struct place {
    const char *source;
    size_t at;
};

struct loader {
    struct conf_families *families;
    struct place *places; /* owned; of each family */
    struct buf *errors;
    const char *source; /* what is being read */
    size_t at;          /* the family's place in the list there */
    size_t complaints;
    bool nomem;
};

/* --- complaints -------------------------------------------------------------------------------- */

/* A complaint is made of a blame and finish: `families[3].buckets[2]` and `: expects X, got Y (FILE)`. */
static void blame(const struct loader *loader, const char *member)
{
    buf_printf(loader->errors, "families[%zu]%s%s", loader->at, member[0] == '\0' ? "" : ".",
               member);
}

static void blame_item(const struct loader *loader, const char *member, size_t at)
{
    blame(loader, member);
    buf_printf(loader->errors, "[%zu]", at);
}

static void finish(struct loader *loader, const char *expects, const json_t *got)
{
    buf_printf(loader->errors, ": expects %s, got ", expects);
    if (got == NULL) {
        buf_puts(loader->errors, "nothing");
    } else {
        conf_show_json(loader->errors, got, false);
    }
    conf_from(loader->errors, loader->source);
    loader->complaints++;
}

static void complain(struct loader *loader, const char *member, const char *expects,
                     const json_t *got)
{
    blame(loader, member);
    finish(loader, expects, got);
}

static void complain_item(struct loader *loader, const char *member, size_t at, const char *expects,
                          const json_t *got)
{
    blame_item(loader, member, at);
    finish(loader, expects, got);
}

static struct str file_key(size_t i)
{
    return str_of(file_keys[i]);
}

static struct str family_key(size_t i)
{
    return str_of(family_keys[i]);
}

static void finish_unknown(struct loader *loader, struct str key, const char *of,
                           struct str nearest)
{
    conf_show(loader->errors, key);
    buf_printf(loader->errors, ": is not a key of a %s", of);
    if (nearest.len > 0) {
        buf_puts(loader->errors, "; the nearest is ");
        buf_str(loader->errors, nearest);
    }
    conf_from(loader->errors, loader->source);
    loader->complaints++;
}

static void check_keys(struct loader *loader, json_t *json)
{
    for (void *it = json_object_iter(json); it != NULL; it = json_object_iter_next(json, it)) {
        struct str key = {json_object_iter_key(it), json_object_iter_key_len(it)};
        struct str nearest =
            conf_nearest(key, sizeof family_keys / sizeof family_keys[0], family_key);
        if (nearest.len == 0 || !str_equal(key, nearest)) {
            blame(loader, "");
            buf_char(loader->errors, '.');
            finish_unknown(loader, key, "family", nearest);
        }
    }
}

/* --- members ----------------------------------------------------------------------------------- */

/* A copy that the caller owns, or NULL. */
static char *copy(struct loader *loader, struct str text)
{
    char *made = conf_copy(text);
    loader->nomem |= made == NULL;
    return made;
}

/* Zeroed memory, or NULL; also for none. */
static void *make(struct loader *loader, size_t count, size_t size)
{
    void *made = count == 0 ? NULL : mem_zalloc(count, size);
    loader->nomem |= made == NULL && count > 0;
    return made;
}

static bool begins_with(struct str text, const char *start)
{
    size_t len = strlen(start);
    return text.len >= len && memcmp(text.ptr, start, len) == 0;
}

static bool ends_with(struct str text, struct str end)
{
    return end.len == 0 || /* a missing text has no pointer */
           (text.len >= end.len && memcmp(text.ptr + text.len - end.len, end.ptr, end.len) == 0);
}

/* Which of the words it is, from `first`; -1 when it is none. */
static int find_word(const json_t *json, const char *const *words, int first, int count)
{
    for (int i = first; i < count; i++) {
        if (str_is(conf_json_text(json), words[i])) {
            return i;
        }
    }
    return -1;
}

/* CONF_FAMILY_TYPE_COUNT when it is wrong: what depends on it is not judged then. */
static void read_type(struct loader *loader, const json_t *json, struct conf_family *family)
{
    int found = find_word(json, type_words, 0, CONF_FAMILY_TYPE_COUNT);
    family->type = found < 0 ? CONF_FAMILY_TYPE_COUNT : (enum conf_family_type)found;
    if (found < 0) {
        complain(loader, "type", "\"counter\", \"gauge\", \"histogram\" or \"info\"", json);
    }
}

/* The name without what counters' and infos' samples end with. */
static struct str stem_of(struct str name, enum conf_family_type type)
{
    struct str end = type == CONF_FAMILY_COUNTER ? STR_LITERAL("_total")
                     : type == CONF_FAMILY_INFO  ? STR_LITERAL("_info")
                                                 : STR_LITERAL("");
    return ends_with(name, end) ? (struct str){name.ptr, name.len - end.len} : name;
}

static void read_name(struct loader *loader, const json_t *json, struct conf_family *family)
{
    struct str name = conf_json_text(json);
    struct str stem = stem_of(name, family->type);
    const char *expects = NULL;
    if (name.len > 0 && memchr(name.ptr, ':', name.len) != NULL) {
        expects = "a name without \":\", which is for names that Prometheus records itself";
    } else if (name.len == 0 || name.len > CONF_FAMILY_NAME_MAX || !conf_is_name(name)) {
        expects = "1 to 256 letters, digits and \"_\" that do not begin with a digit";
    } else if (stem.len == 0) {
        expects = "a name before its ending";
    } else if (begins_with(stem, "dwelld_")) {
        expects = "a name that does not begin with \"dwelld_\", as the daemon's own do";
    }
    if (expects != NULL) {
        complain(loader, "name", expects, json);
    } else {
        family->name = copy(loader, stem);
    }
}

static bool is_help(struct str text)
{
    for (size_t at = 0; at < text.len; at++) {
        if (text.ptr[at] != '\n' && !conf_is_plain((struct str){text.ptr + at, 1})) {
            return false;
        }
    }
    return text.len > 0 && text.len <= CONF_FAMILY_HELP_MAX;
}

static void read_help(struct loader *loader, const json_t *json, struct conf_family *family)
{
    if (!is_help(conf_json_text(json))) {
        complain(loader, "help",
                 "text of 1 to 1024 bytes without control characters other than newlines", json);
    } else {
        family->help = copy(loader, conf_json_text(json));
    }
}

/* A name is judged together with its "_", so that "latencyseconds" does not pass. */
static bool is_unit_of(struct str unit, const char *family_name)
{
    struct str name = str_of(family_name);
    return name.len > unit.len && name.ptr[name.len - unit.len - 1] == '_' && ends_with(name, unit);
}

static void read_unit(struct loader *loader, const json_t *json, struct conf_family *family)
{
    struct str unit = conf_json_text(json);
    if (json != NULL &&
        (!json_is_string(json) || unit.len > CONF_FAMILY_UNIT_MAX || !conf_is_name(unit))) {
        complain(loader, "unit", "a word of at most 32 letters, digits and \"_\", as \"seconds\"",
                 json);
        return;
    }
    if (unit.len > 0 && family->type == CONF_FAMILY_INFO) {
        complain(loader, "unit", "none for an info", json);
    } else if (unit.len > 0 && family->name != NULL && !is_unit_of(unit, family->name)) {
        blame(loader, "unit");
        buf_printf(loader->errors, ": expects what \"%s\" ends with after a \"_\", got \"",
                   family->name);
        buf_str(loader->errors, unit);
        buf_char(loader->errors, '"');
        conf_from(loader->errors, loader->source);
        loader->complaints++;
    } else {
        family->unit = copy(loader, json == NULL ? STR_LITERAL("") : unit);
    }
}

static void read_aggregation(struct loader *loader, const json_t *json, struct conf_family *family)
{
    if (json == NULL) {
        return;
    }
    int found =
        find_word(json, aggregation_words, CONF_AGGREGATION_UNSAID + 1, CONF_AGGREGATION_COUNT);
    if (found < 0) {
        complain(loader, "aggregation", "\"last\", \"sum\", \"max\", \"min\" or \"per_pid\"", json);
    } else if (family->type != CONF_FAMILY_GAUGE && family->type != CONF_FAMILY_TYPE_COUNT) {
        complain(loader, "aggregation", "none but for a gauge", json);
    } else {
        family->aggregation = found;
    }
}

static void read_native(struct loader *loader, const json_t *json, struct conf_family *family)
{
    if (json == NULL) {
        return;
    }
    if (!json_is_boolean(json)) {
        complain(loader, "native", "true or false", json);
    } else if (json_is_true(json) && family->type != CONF_FAMILY_HISTOGRAM &&
               family->type != CONF_FAMILY_TYPE_COUNT) {
        complain(loader, "native", "false but for a histogram", json);
    }
    family->native = json_is_true(json);
}

static void read_expire(struct loader *loader, const json_t *json, struct conf_family *family)
{
    if (json == NULL) {
        return;
    }
    json_int_t seconds = json_integer_value(json);
    if (!json_is_integer(json) || seconds < 0 || seconds > CONF_FAMILY_EXPIRE_MAX) {
        complain(loader, "expire_seconds", "a whole number from 0 to 31622400", json);
        return;
    }
    family->expire_seconds = (uint64_t)seconds;
}

/* --- labels and their values --- */

static bool is_in(const struct conf_texts *texts, size_t count, struct str text)
{
    for (size_t i = 0; i < count; i++) {
        if (texts->texts[i] != NULL && str_is(text, texts->texts[i])) {
            return true;
        }
    }
    return false;
}

static bool is_reserved(const struct conf_family *family, struct str label)
{
    return begins_with(label, "__") || str_is(label, "le") || str_is(label, "quantile") ||
           str_is(label, "dwell_overflow") ||
           (family->aggregation == CONF_AGGREGATION_PER_PID && str_is(label, "pid"));
}

static void read_labels(struct loader *loader, const json_t *json, struct conf_family *family)
{
    if (json == NULL) {
        return;
    }
    size_t count = json_array_size(json);
    if (!json_is_array(json) || count > CONF_FAMILY_LABELS_MAX) {
        complain(loader, "labels", "a list of at most 32 labels", json);
        return;
    }
    family->labels.texts = make(loader, count, sizeof(char *));
    family->labels.count = family->labels.texts == NULL ? 0 : count;
    for (size_t i = 0; i < family->labels.count && !loader->nomem; i++) {
        const json_t *item = json_array_get(json, i);
        struct str label = conf_json_text(item);
        const char *expects = NULL;
        if (label.len == 0 || label.len > CONF_FAMILY_NAME_MAX || !conf_is_name(label)) {
            expects = "1 to 256 letters, digits and \"_\" that do not begin with a digit";
        } else if (is_reserved(family, label)) {
            expects = "a label that neither Prometheus nor the daemon uses itself";
        } else if (is_in(&family->labels, i, label)) {
            expects = "a label that is not in the list yet";
        }
        if (expects != NULL) {
            complain_item(loader, "labels", i, expects, item);
        } else {
            family->labels.texts[i] = copy(loader, label);
        }
    }
}

static void blame_value(const struct loader *loader, struct str label)
{
    blame(loader, "values");
    buf_char(loader->errors, '.');
    conf_show(loader->errors, label);
}

static void read_values_of(struct loader *loader, const json_t *json, struct str label,
                           struct conf_texts *values)
{
    size_t count = json_array_size(json);
    if (count == 0 || count > CONF_FAMILY_STARTS_MAX) {
        blame_value(loader, label);
        finish(loader, "a list of 1 to 1000 texts", json);
        return;
    }
    values->texts = make(loader, count, sizeof(char *));
    values->count = values->texts == NULL ? 0 : count;
    for (size_t i = 0; i < values->count && !loader->nomem; i++) {
        const json_t *item = json_array_get(json, i);
        struct str value = conf_json_text(item);
        const char *expects = NULL;
        if (value.len == 0 || value.len > CONF_FAMILY_NAME_MAX || !conf_is_plain(value)) {
            expects = "text of 1 to 256 bytes without control characters";
        } else if (is_in(values, i, value)) {
            expects = "a value that is not in the list yet";
        }
        if (expects != NULL) {
            blame_value(loader, label);
            buf_printf(loader->errors, "[%zu]", i);
            finish(loader, expects, item);
        } else {
            values->texts[i] = copy(loader, value);
        }
    }
}

static void check_value_keys(struct loader *loader, json_t *json, const struct conf_family *family)
{
    for (void *it = json_object_iter(json); it != NULL; it = json_object_iter_next(json, it)) {
        struct str key = {json_object_iter_key(it), json_object_iter_key_len(it)};
        if (!is_in(&family->labels, family->labels.count, key)) {
            blame_value(loader, key);
            buf_puts(loader->errors, ": is not a label of the family");
            conf_from(loader->errors, loader->source);
            loader->complaints++;
        }
    }
}

/* How many series start at 0; more than the ceiling is as good as one more than it. */
static size_t count_starts(const struct conf_family *family)
{
    if (family->type == CONF_FAMILY_INFO || family->aggregation == CONF_AGGREGATION_PER_PID ||
        (family->values == NULL && family->labels.count > 0)) {
        return 0;
    }
    size_t count = 1;
    for (size_t i = 0; i < family->labels.count && count <= CONF_FAMILY_STARTS_MAX; i++) {
        count *= family->values[i].count; /* two factors of at most 1000 */
    }
    return count;
}

/* All labels or none: values of only some of them would change nothing, and their author would wait
 * for the series in vain. */
static void read_values(struct loader *loader, json_t *json, struct conf_family *family)
{
    if (json == NULL) {
        return;
    }
    if (!json_is_object(json)) {
        complain(loader, "values", "an object of lists of texts", json);
        return;
    }
    if (family->type == CONF_FAMILY_INFO || family->aggregation == CONF_AGGREGATION_PER_PID) {
        complain(loader, "values", "none where no series can start at 0", json);
        return;
    }
    size_t before = loader->complaints;
    check_value_keys(loader, json, family);
    family->values = make(loader, family->labels.count, sizeof *family->values);
    for (size_t i = 0; family->values != NULL && i < family->labels.count && !loader->nomem; i++) {
        struct str label = str_of(family->labels.texts[i]);
        read_values_of(loader, json_object_getn(json, label.ptr, label.len), label,
                       &family->values[i]);
    }
    if (loader->complaints == before && !loader->nomem &&
        count_starts(family) > CONF_FAMILY_STARTS_MAX) {
        complain(loader, "values", "at most 1000 combinations, each of which is a series", json);
    }
}

/* --- buckets --- */

/* `[0.1, 0.5, "+Inf"]`: the last is always there, and may be said. */
static size_t count_bounds(const json_t *json)
{
    size_t count = json_array_size(json);
    bool is_said = count > 0 && str_is(conf_json_text(json_array_get(json, count - 1)), "+Inf");
    return is_said ? count - 1 : count;
}

static void complain_order(struct loader *loader, size_t at, double before, const json_t *got)
{
    blame_item(loader, "buckets", at);
    buf_puts(loader->errors, ": expects a number above ");
    buf_double(loader->errors, before);
    buf_puts(loader->errors, ", got ");
    conf_show_json(loader->errors, got, false);
    conf_from(loader->errors, loader->source);
    loader->complaints++;
}

static void read_buckets(struct loader *loader, const json_t *json, struct conf_family *family)
{
    if (json == NULL) {
        /* Exponential buckets can do without others. */
        if (family->type == CONF_FAMILY_HISTOGRAM && !family->native) {
            complain(loader, "buckets", "a list of 1 to 64 ascending numbers", json);
        }
        return;
    }
    if (family->type != CONF_FAMILY_HISTOGRAM && family->type != CONF_FAMILY_TYPE_COUNT) {
        complain(loader, "buckets", "none but for a histogram", json);
        return;
    }
    size_t count = count_bounds(json);
    if (!json_is_array(json) || count == 0 || count > CONF_FAMILY_BUCKETS_MAX) {
        complain(loader, "buckets", "a list of 1 to 64 ascending numbers", json);
        return;
    }
    double *numbers = make(loader, count, sizeof *numbers);
    family->buckets = (struct conf_doubles){numbers, numbers == NULL ? 0 : count};
    const double *last = NULL; /* a number that is none is no measure for the next */
    for (size_t i = 0; i < family->buckets.count; i++) {
        const json_t *item = json_array_get(json, i);
        numbers[i] = json_number_value(item); /* jansson reads finite numbers only */
        if (!json_is_number(item)) {
            complain_item(loader, "buckets", i, "a number", item);
        } else if (last != NULL && numbers[i] <= *last) {
            complain_order(loader, i, *last, item);
        } else {
            last = &numbers[i];
        }
    }
}

/* --- one family against the others ------------------------------------------------------------- */

static bool same_texts(const struct conf_texts *a, const struct conf_texts *b)
{
    if (a->count != b->count) {
        return false;
    }
    for (size_t i = 0; i < a->count; i++) {
        if (strcmp(a->texts[i], b->texts[i]) != 0) {
            return false;
        }
    }
    return true;
}

static bool same_buckets(const struct conf_doubles *a, const struct conf_doubles *b)
{
    if (a->count != b->count) {
        return false;
    }
    for (size_t i = 0; i < a->count; i++) {
        if (a->numbers[i] != b->numbers[i]) {
            return false;
        }
    }
    return true;
}

static bool same_values(const struct conf_family *a, const struct conf_family *b)
{
    if (a->values == NULL || b->values == NULL || a->labels.count != b->labels.count) {
        return a->values == b->values;
    }
    for (size_t i = 0; i < a->labels.count; i++) {
        if (!same_texts(&a->values[i], &b->values[i])) {
            return false;
        }
    }
    return true;
}

size_t conf_family_differences(const struct conf_family *a, const struct conf_family *b,
                               const char *ret_members[CONF_FAMILY_MEMBERS_MAX])
{
    const struct {
        const char *member;
        bool is_same;
    } rows[CONF_FAMILY_MEMBERS_MAX] = {
        {"type", a->type == b->type},
        {"help", strcmp(a->help, b->help) == 0},
        {"labels", same_texts(&a->labels, &b->labels)},
        {"unit", strcmp(a->unit, b->unit) == 0},
        {"buckets", same_buckets(&a->buckets, &b->buckets)},
        {"native", a->native == b->native},
        {"values", same_values(a, b)},
        {"aggregation", a->aggregation == b->aggregation},
        {"expire_seconds", a->expire_seconds == b->expire_seconds},
    };
    size_t count = 0;
    for (size_t i = 0; i < CONF_FAMILY_MEMBERS_MAX; i++) {
        if (!rows[i].is_same) {
            ret_members[count++] = rows[i].member;
        }
    }
    return count;
}

/* `"jobs" in families[1]`, and where that is when it is not here. */
static void show_other(const struct loader *loader, size_t i)
{
    buf_printf(loader->errors, "\"%s\" in families[%zu]", loader->families->families[i].name,
               loader->places[i].at);
    if (loader->places[i].source != loader->source) {
        buf_puts(loader->errors, " (");
        log_escape(loader->errors, str_of(loader->places[i].source));
        buf_char(loader->errors, ')');
    }
}

static void complain_differences(struct loader *loader, size_t other, size_t count,
                                 const char *const *members)
{
    blame(loader, "");
    buf_puts(loader->errors, ": expects to be declared as ");
    show_other(loader, other);
    buf_puts(loader->errors, ", got other ");
    for (size_t i = 0; i < count; i++) {
        buf_puts(loader->errors, i == 0 ? "" : ", ");
        buf_puts(loader->errors, members[i]);
    }
    conf_from(loader->errors, loader->source);
    loader->complaints++;
}

/*
 * What ends the longer of two names where samples of both would be called the same; NULL when none
 * would. `rest` is how much longer it is:
 *
 *     jobs          + _created
 *     jobs_created  +
 *         ^^^^^^^^ rest
 */
static const char *find_clash(const char *rest, enum conf_family_type shorter,
                              enum conf_family_type longer)
{
    size_t len = strlen(rest);
    for (size_t i = 0; i < SUFFIXES_MAX && suffixes[shorter][i] != NULL; i++) {
        for (size_t j = 0; j < SUFFIXES_MAX && suffixes[longer][j] != NULL; j++) {
            const char *end = suffixes[shorter][i];
            if (strncmp(end, rest, len) == 0 && strcmp(end + len, suffixes[longer][j]) == 0) {
                return suffixes[longer][j];
            }
        }
    }
    return NULL;
}

static bool check_clash(struct loader *loader, const struct conf_family *family, size_t i)
{
    const struct conf_family *other = &loader->families->families[i];
    bool is_longer = strlen(family->name) > strlen(other->name);
    const struct conf_family *longer = is_longer ? family : other;
    const struct conf_family *shorter = is_longer ? other : family;
    size_t len = strlen(shorter->name);
    if (memcmp(longer->name, shorter->name, len) != 0) {
        return true;
    }
    const char *end = find_clash(longer->name + len, shorter->type, longer->type);
    if (end == NULL) {
        return true;
    }
    blame(loader, "name");
    buf_printf(loader->errors, ": expects names of its own, got \"%s%s\" that ", longer->name, end);
    show_other(loader, i);
    buf_puts(loader->errors, " has too");
    conf_from(loader->errors, loader->source);
    loader->complaints++;
    return false;
}

/* Whether the family is to be kept. The same once more is not, and no mistake. */
static bool is_new(struct loader *loader, const struct conf_family *family)
{
    bool is_good = true;
    for (size_t i = 0; i < loader->families->count; i++) {
        const struct conf_family *other = &loader->families->families[i];
        if (strcmp(family->name, other->name) == 0) {
            const char *members[CONF_FAMILY_MEMBERS_MAX];
            size_t count = conf_family_differences(family, other, members);
            if (count > 0) {
                complain_differences(loader, i, count, members);
            }
            return false;
        }
        is_good &= check_clash(loader, family, i);
    }
    return is_good;
}

/* --- lists of families ------------------------------------------------------------------------- */

static void fini_texts(struct conf_texts *texts)
{
    for (size_t i = 0; i < texts->count; i++) {
        mem_free(texts->texts[i]);
    }
    mem_free(texts->texts);
}

static void fini_family(struct conf_family *family)
{
    mem_free(family->name);
    mem_free(family->help);
    mem_free(family->unit);
    for (size_t i = 0; family->values != NULL && i < family->labels.count; i++) {
        fini_texts(&family->values[i]);
    }
    mem_free(family->values);
    fini_texts(&family->labels);
    mem_free(family->buckets.numbers);
}

static void read_family(struct loader *loader, json_t *json)
{
    if (!json_is_object(json)) {
        complain(loader, "", "an object {name, type, help, …}", json);
        return;
    }
    struct conf_family family = {0};
    size_t before = loader->complaints;
    check_keys(loader, json);
    read_type(loader, json_object_get(json, "type"), &family);
    read_name(loader, json_object_get(json, "name"), &family);
    read_help(loader, json_object_get(json, "help"), &family);
    read_unit(loader, json_object_get(json, "unit"), &family);
    read_aggregation(loader, json_object_get(json, "aggregation"), &family);
    read_native(loader, json_object_get(json, "native"), &family);
    read_expire(loader, json_object_get(json, "expire_seconds"), &family);
    read_buckets(loader, json_object_get(json, "buckets"), &family);
    size_t before_labels = loader->complaints;
    read_labels(loader, json_object_get(json, "labels"), &family);
    if (loader->complaints == before_labels && !loader->nomem) {
        read_values(loader, json_object_get(json, "values"), &family);
    }
    if (loader->complaints == before && !loader->nomem && is_new(loader, &family)) {
        family.start_count = count_starts(&family);
        loader->places[loader->families->count] = (struct place){loader->source, loader->at};
        loader->families->families[loader->families->count++] = family;
        return;
    }
    fini_family(&family);
}

static bool make_room(struct loader *loader, size_t more)
{
    size_t count = loader->families->count + more;
    if (count == 0) {
        return true;
    }
    void *families = mem_realloc(loader->families->families, count * sizeof(struct conf_family));
    if (families != NULL) {
        loader->families->families = families;
    }
    void *places = mem_realloc(loader->places, count * sizeof(struct place));
    if (places != NULL) {
        loader->places = places;
    }
    loader->nomem |= families == NULL || places == NULL;
    return !loader->nomem;
}

static void read_families(struct loader *loader, const char *source, const json_t *file)
{
    loader->source = source;
    const json_t *list = json_object_get(file, "families");
    size_t count = json_array_size(list);
    size_t room = CONF_FAMILIES_MAX - loader->families->count;
    if (!json_is_array(list)) {
        buf_puts(loader->errors, "families");
        finish(loader, "a list of families", list);
        return;
    }
    if (count > room) {
        buf_printf(loader->errors, "families: expects at most %zu with the built-in ones, got %zu",
                   (size_t)CONF_FAMILIES_MAX, loader->families->count + count);
        conf_from(loader->errors, loader->source);
        loader->complaints++;
        return;
    }
    if (!make_room(loader, count)) {
        return;
    }
    for (size_t i = 0; i < count && !loader->nomem; i++) {
        loader->at = i;
        read_family(loader, json_array_get(list, i));
    }
}

/* The file's own keys. Returns whether it wants the built-in families. */
static bool check_file(struct loader *loader, json_t *file)
{
    for (void *it = json_object_iter(file); it != NULL; it = json_object_iter_next(file, it)) {
        struct str key = {json_object_iter_key(it), json_object_iter_key_len(it)};
        struct str nearest = conf_nearest(key, sizeof file_keys / sizeof file_keys[0], file_key);
        if (nearest.len == 0 || !str_equal(key, nearest)) {
            finish_unknown(loader, key, "file of families", nearest);
        }
    }
    const json_t *builtin = json_object_get(file, "builtin");
    if (builtin != NULL && !json_is_boolean(builtin)) {
        buf_puts(loader->errors, "builtin");
        finish(loader, "true or false", builtin);
    }
    return !json_is_false(builtin);
}

/* As conf_parse_file, with a ceiling; NULL when it failed. */
static json_t *parse(struct loader *loader, const char *source, struct str text)
{
    json_t *json = NULL;
    if (text.len > CONF_FAMILIES_FILE_MAX_BYTES) {
        log_escape(loader->errors, str_of(source));
        buf_printf(loader->errors, ": expects at most %u bytes, got %zu\n",
                   (unsigned)CONF_FAMILIES_FILE_MAX_BYTES, text.len);
        loader->complaints++;
        return NULL;
    }
    int err = conf_parse_file(source, text, loader->errors, &json);
    loader->nomem |= err == ERR_NOMEM;
    loader->complaints += err == ERR_SYNTAX;
    return json;
}

int conf_families_load(struct conf_families *families, struct str builtin_json,
                       const char *file_name, struct str file_text, struct buf *errors)
{
    static const char builtin_name[] = "built in";
    *families = (struct conf_families){0};
    struct loader loader = {.families = families, .errors = errors, .source = file_name};
    json_t *file = file_name == NULL ? NULL : parse(&loader, file_name, file_text);
    bool wants_builtin = file == NULL || check_file(&loader, file);
    json_t *builtin = wants_builtin ? parse(&loader, builtin_name, builtin_json) : NULL;
    if (builtin != NULL && !loader.nomem) {
        read_families(&loader, builtin_name, builtin);
    }
    if (file != NULL && !loader.nomem) {
        read_families(&loader, file_name, file);
    }
    json_decref(builtin);
    json_decref(file);
    mem_free(loader.places);
    if (loader.nomem || loader.complaints > 0) {
        conf_families_fini(families);
        return loader.nomem ? ERR_NOMEM : ERR_SYNTAX;
    }
    return 0;
}

const struct conf_family *conf_families_find(const struct conf_families *families, const char *name)
{
    for (size_t i = 0; i < families->count; i++) {
        if (strcmp(families->families[i].name, name) == 0) {
            return &families->families[i];
        }
    }
    return NULL;
}

void conf_families_truncate(struct conf_families *families, size_t count)
{
    while (families->count > count) {
        fini_family(&families->families[--families->count]);
    }
}

void conf_families_fini(struct conf_families *families)
{
    conf_families_truncate(families, 0);
    mem_free(families->families);
    *families = (struct conf_families){0};
}
