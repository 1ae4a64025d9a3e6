#include "otlp_samples.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "render/exposition.h"
#include "render/form.h"

enum { TEXT_MAX = 64 << 20, KEY_MAX = 20000 };

struct sample_row *samples_find(struct samples *table, const char *key)
{
    uint64_t hash = UINT64_C(14695981039346656037); /* FNV-1a */
    for (const char *at = key; *at != '\0'; at++) {
        hash = (hash ^ (unsigned char)*at) * UINT64_C(1099511628211);
    }
    size_t at = hash % SAMPLES_MAX;
    while (table->row[at].key != NULL && strcmp(table->row[at].key, key) != 0) {
        at = (at + 1) % SAMPLES_MAX;
    }
    return &table->row[at];
}

static struct sample_row *must_add(struct samples *table, const char *key)
{
    struct sample_row *row = samples_find(table, key);
    if (row->key == NULL) {
        assert_true(++table->count < SAMPLES_MAX / 2);
        row->key = strdup(key);
        assert_non_null(row->key);
    }
    return row;
}

struct samples *samples_new(void)
{
    struct samples *table = calloc(1, sizeof *table);
    assert_non_null(table);
    return table;
}

void samples_free(struct samples *table)
{
    for (size_t i = 0; i < SAMPLES_MAX; i++) {
        free(table->row[i].key);
    }
    free(table);
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* name{label,label,…} of labels as they are told: name=value. */
static void write_key(const char *name, char **labels, size_t count, char out[KEY_MAX])
{
    size_t len = (size_t)snprintf(out, KEY_MAX, "%s{", name);
    qsort(labels, count, sizeof *labels, compare_texts);
    for (size_t i = 0; i < count; i++) {
        len += (size_t)snprintf(out + len, KEY_MAX - len, "%s%s", i > 0 ? "," : "", labels[i]);
        assert_true(len < KEY_MAX);
    }
}

/* One label of a line, without quotes and escapes; returns what follows. */
static const char *read_label(const char *at, char **ret)
{
    bool inside = false;
    size_t len = 0;
    char *out = malloc(KEY_MAX);
    assert_non_null(out);
    for (; inside || (*at != ',' && *at != '}'); at++) {
        if (*at == '"') {
            inside = !inside;
        } else if (*at == '\\') {
            at++;
            out[len++] = *at == 'n' ? '\n' : *at;
        } else {
            out[len++] = *at;
        }
    }
    out[len] = '\0';
    *ret = out;
    return *at == ',' ? at + 1 : at;
}

static void read_line(const char *line, struct samples *table)
{
    char name[512];
    char key[KEY_MAX];
    char *labels[64];
    size_t count = 0;
    size_t len = strcspn(line, "{ ");
    (void)snprintf(name, sizeof name, "%.*s", (int)len, line);
    line += len;
    if (*line == '{') {
        line++;
        while (*line != '}') {
            line = read_label(line, &labels[count++]);
        }
        line++;
    }
    write_key(name, labels, count, key);
    must_add(table, key)->value = strtod(line, NULL);
    while (count > 0) {
        free(labels[--count]);
    }
}

/* All samples of the text format. */
struct samples *samples_read_text(const struct snapshot *snapshot)
{
    struct exposition_options options = {.name_space = STR_LITERAL("acgs2"),
                                         .constitutional_hash = STR_LITERAL(OTLP_HASH),
                                         .hash_label = true,
                                         .dwelld_version = STR_LITERAL("0.1.0")};
    struct exposition *exposition = exposition_new(&options);
    struct samples *table = samples_new();
    struct buf text;
    buf_init(&text, TEXT_MAX);
    assert_non_null(exposition);
    assert_int_equal(exposition_render(exposition, snapshot, EXPOSITION_TEXT, &otlp_process, &text),
                     0);
    buf_char(&text, '\0');
    for (const char *line = text.data; *line != '\0'; line = strchr(line, '\n') + 1) {
        if (*line != '#') {
            read_line(line, table);
        }
    }
    buf_fini(&text);
    exposition_free(exposition);
    return table;
}

/* --- the same of points, as the Collector would have it on its /metrics ------------------------- */

enum collector_type samples_type_of(const Otlp__Metric *metric)
{
    return metric->data_case == OTLP__METRIC__DATA_SUM     ? COLLECTOR_COUNTER
           : metric->data_case == OTLP__METRIC__DATA_GAUGE ? COLLECTOR_GAUGE
                                                           : COLLECTOR_OTHER;
}

/* Free families are told without what stands in front of their names towards OTLP. */
void samples_name_of(const Otlp__Metric *metric, char out[COLLECTOR_NAME_MAX])
{
    static const char free_prefix[] = "acgs2_acgs2_agent_bus_";
    collector_name(metric->name, metric->unit == NULL ? "" : metric->unit, samples_type_of(metric),
                   out);
    if (strncmp(out, free_prefix, sizeof free_prefix - 1) == 0) {
        memmove(out, out + sizeof free_prefix - 1, strlen(out) - (sizeof free_prefix - 1) + 1);
    }
}

static char *label_text(const Otlp__KeyValue *pair)
{
    char *text = malloc(KEY_MAX);
    assert_non_null(text);
    if (strcmp(pair->key, "otel.metric.overflow") == 0) {
        assert_true(pair->value->bool_value);
        (void)snprintf(text, KEY_MAX, "dwell_overflow=true");
    } else {
        (void)snprintf(text, KEY_MAX, "%s=%s", pair->key, pair->value->string_value);
    }
    return text;
}

static void point_key(const struct otlp_point *point, const char *suffix, const char *le,
                      char out[KEY_MAX])
{
    char family[COLLECTOR_NAME_MAX];
    char name[COLLECTOR_NAME_MAX + 16];
    char *labels[64];
    size_t count = 0;
    samples_name_of(point->metric, family);
    (void)snprintf(name, sizeof name, "%s%s", family, suffix);
    for (; count < point->attribute_count; count++) {
        labels[count] = label_text(point->attributes[count]);
    }
    if (le != NULL) {
        labels[count++] = strdup(le);
    }
    write_key(name, labels, count, out);
    while (count > 0) {
        free(labels[--count]);
    }
}

/* The only family of core_random whose series end. */
static bool may_begin_anew(const Otlp__Metric *metric)
{
    return strcmp(metric->name, "classic") == 0;
}

/* A delta adds to what was there, if it begins where that ended; else the series is another one. */
static void put_row(struct samples *table, const struct otlp_point *point, const char *suffix,
                    const char *le, double value, bool delta)
{
    char key[KEY_MAX];
    point_key(point, suffix, le, key);
    struct sample_row *row = must_add(table, key);
    assert_true(row->time != point->time); /* each series once */
    bool follows = delta && row->time != 0 && row->time == point->start;
    assert_true(follows || !delta || row->time == 0 || may_begin_anew(point->metric));
    if (follows) {
        row->value += value;
    } else {
        row->value = value;
    }
    row->time = point->time;
}

static void put_classic(struct samples *table, const struct otlp_point *point, bool delta)
{
    const Otlp__HistogramDataPoint *classic = point->classic;
    uint64_t seen = 0;
    assert_int_equal(classic->n_bucket_counts, classic->n_explicit_bounds + 1);
    for (size_t i = 0; i < classic->n_bucket_counts; i++) {
        bool last = i == classic->n_explicit_bounds;
        char bound[FORM_BOUND_MAX + 1];
        char *le;
        double number = last ? (double)INFINITY : classic->explicit_bounds[i];
        bound[form_write_bound(number, bound)] = '}'; /* where a label ends */
        (void)read_label(bound, &le);
        seen += classic->bucket_counts[i];
        put_row(table, point, "_bucket", le, (double)seen, delta);
        free(le);
    }
    assert_int_equal(seen, classic->count);
    put_row(table, point, "_count", NULL, (double)classic->count, delta);
    if (classic->has_sum) {
        put_row(table, point, "_sum", NULL, classic->sum, delta);
    }
}

struct telling {
    struct samples *table;
    uint64_t time;     /* of all points */
    bool may_be_delta; /* counters and histograms are; else nothing is */
};

static void tell(void *ctx, const struct otlp_point *point)
{
    const struct telling *telling = ctx;
    const Otlp__Metric *metric = point->metric;
    bool delta = false;
    assert_int_equal(point->time, telling->time);
    assert_true(point->start <= point->time);
    assert_true(metric->description != NULL && metric->description[0] != '\0');
    if (metric->data_case == OTLP__METRIC__DATA_SUM) {
        assert_true(metric->sum->is_monotonic && point->start != 0);
        delta = metric->sum->aggregation_temporality == OTLP__AGGREGATION_TEMPORALITY__DELTA;
        assert_true(delta == telling->may_be_delta);
    } else if (metric->data_case == OTLP__METRIC__DATA_HISTOGRAM) {
        delta = metric->histogram->aggregation_temporality == OTLP__AGGREGATION_TEMPORALITY__DELTA;
        assert_true(delta == telling->may_be_delta && point->start != 0);
    } else {
        assert_true(point->start == 0);
    }
    if (point->classic != NULL) {
        put_classic(telling->table, point, delta);
        return;
    }
    bool empty = point->number->flags == 1;
    assert_true(empty || point->number->value_case == OTLP__NUMBER_DATA_POINT__VALUE_AS_DOUBLE);
    put_row(telling->table, point, "", NULL, empty ? (double)NAN : point->number->as_double, delta);
}

void samples_tell(const struct otlp_got *got, struct samples *table, uint64_t time, bool delta)
{
    struct telling telling = {table, time, delta};
    otlp_for_each(got, tell, &telling);
}

static bool is_sum(const char *key)
{
    const char *sum = strstr(key, "_sum{");
    return sum != NULL;
}

/* Sums of histograms that saw negative values are not told; a sum of deltas is near, all else equal. */
void samples_must_agree(struct samples *told, struct samples *text, bool delta)
{
    for (size_t i = 0; i < SAMPLES_MAX; i++) {
        const struct sample_row *wanted = &text->row[i];
        if (wanted->key == NULL) {
            continue;
        }
        const struct sample_row *row = samples_find(told, wanted->key);
        bool absent = row->key == NULL;
        bool nothing_yet = delta && wanted->value == 0;
        double tolerance = delta ? 1e-9 * fabs(wanted->value) : 0;
        if (absent ? !nothing_yet && !is_sum(wanted->key)
                   : row->value != wanted->value && !(isnan(row->value) && isnan(wanted->value)) &&
                         !(fabs(row->value - wanted->value) <= tolerance) &&
                         !(delta && is_sum(wanted->key))) {
            fail_msg("%s: %.17g, on /metrics %.17g", wanted->key, absent ? (double)NAN : row->value,
                     wanted->value);
        }
    }
    for (size_t i = 0; !delta && i < SAMPLES_MAX; i++) {
        if (told->row[i].key != NULL && samples_find(text, told->row[i].key)->key == NULL) {
            fail_msg("%s is not on /metrics", told->row[i].key);
        }
    }
}
