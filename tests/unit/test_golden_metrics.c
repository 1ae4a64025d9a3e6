/*
 * Plays tests/data/golden/exposition_script.json, updates of the families of the system that dwell
 * replaces, and compares /metrics with what that system answered: every family of its answer has the
 * same type here, and exactly the same series with the same values. Bytes are compared by their meaning:
 * labels may come in another order.
 */
#include "core_helpers.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "main/families.h"
#include "render/exposition.h"

#define GOLDEN        TEST_DATA "/golden/"
#define SUM_TOLERANCE 1e-9

enum { TEXT_BYTES_MAX = 64 << 20, SAMPLES_MAX = 5000, FAMILIES_MAX = 200, LABELS_MAX = 8 };

/* --- an answer, parsed ------------------------------------------------------------------------- */

struct parsed_sample {
    char *series; /* name{label=value,…}, labels in order, values as they are */
    double value;
    const char *family; /* by the last TYPE line */
};

struct parsed_family {
    char name[128]; /* as text 0.0.4 has it: of counters and infos with their ending */
    char type[16];
};

struct answer {
    struct parsed_sample samples[SAMPLES_MAX];
    size_t sample_count;
    struct parsed_family families[FAMILIES_MAX];
    size_t family_count;
};

static void add_family(struct answer *answer, const char *line, bool open_metrics)
{
    struct parsed_family *family = &answer->families[answer->family_count++];
    size_t name = strcspn(line, " ");
    size_t type = strcspn(line + name + 1, "\n");
    assert_true(answer->family_count <= FAMILIES_MAX);
    (void)snprintf(family->type, sizeof family->type, "%.*s", (int)type, line + name + 1);
    bool is_info = strcmp(family->type, "info") == 0;
    const char *end = !open_metrics                          ? ""
                      : strcmp(family->type, "counter") == 0 ? "_total"
                      : is_info                              ? "_info"
                                                             : "";
    (void)snprintf(family->name, sizeof family->name, "%.*s%s", (int)name, line, end);
    if (is_info) {
        (void)snprintf(family->type, sizeof family->type, "gauge");
    }
}

/* Reads name="value" with its escapes into name=value; returns what follows. */
static const char *read_label(const char *at, char *out, size_t room)
{
    size_t len = 0;
    bool inside = false;
    for (; inside || (*at != ',' && *at != '}'); at++) {
        assert_true(*at != '\0' && *at != '\n' && len + 1 < room);
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
    return at;
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void add_sample(struct answer *answer, const char *line)
{
    static char labels[LABELS_MAX][512];
    char series[2048];
    size_t count = 0;
    size_t name = strcspn(line, "{ ");
    const char *at = line + name;
    while (*at == '{' || *at == ',') {
        assert_true(count < LABELS_MAX);
        at = at[1] == '}' ? at + 1 : read_label(at + 1, labels[count++], sizeof labels[0]);
    }
    qsort(labels, count, sizeof labels[0], compare_texts);
    size_t len = (size_t)snprintf(series, sizeof series, "%.*s", (int)name, line);
    for (size_t i = 0; i < count; i++) {
        len += (size_t)snprintf(series + len, sizeof series - len, "|%s", labels[i]);
        assert_true(len < sizeof series);
    }
    assert_true(answer->sample_count < SAMPLES_MAX);
    struct parsed_sample *sample = &answer->samples[answer->sample_count++];
    sample->series = strdup(series);
    assert_non_null(sample->series);
    sample->value = strtod(at + (*at == '}'), NULL);
    sample->family =
        answer->family_count == 0 ? "" : answer->families[answer->family_count - 1].name;
}

static int compare_samples(const void *a, const void *b)
{
    const struct parsed_sample *left = a;
    const struct parsed_sample *right = b;
    return strcmp(left->series, right->series);
}

static struct answer *parse(const char *text, bool open_metrics)
{
    struct answer *answer = calloc(1, sizeof *answer);
    assert_non_null(answer);
    for (const char *line = text; *line != '\0'; line = strchr(line, '\n') + 1) {
        if (strncmp(line, "# TYPE ", 7) == 0) {
            add_family(answer, line + 7, open_metrics);
        } else if (line[0] != '#') {
            add_sample(answer, line);
        }
    }
    qsort(answer->samples, answer->sample_count, sizeof answer->samples[0], compare_samples);
    return answer;
}

static void free_answer(struct answer *answer)
{
    for (size_t i = 0; i < answer->sample_count; i++) {
        free(answer->samples[i].series);
    }
    free(answer);
}

static const struct parsed_family *find(const struct answer *answer, const char *name)
{
    for (size_t i = 0; i < answer->family_count; i++) {
        if (strcmp(answer->families[i].name, name) == 0) {
            return &answer->families[i];
        }
    }
    return NULL;
}

static bool is_sum(const char *series)
{
    const char *name_end = strchr(series, '|');
    return name_end != NULL && name_end - series > 4 && memcmp(name_end - 4, "_sum", 4) == 0;
}

static bool is_same(const struct parsed_sample *ours, const struct parsed_sample *wanted)
{
    double tolerance = is_sum(ours->series) ? SUM_TOLERANCE * fabs(wanted->value) : 0;
    return ours->value == wanted->value || (isnan(ours->value) && isnan(wanted->value)) ||
           fabs(ours->value - wanted->value) <= tolerance;
}

/* Families that the reference has, and ours has too, are equal to the last series. */
static void must_equal(const struct answer *ours, const struct answer *reference)
{
    for (size_t i = 0; i < reference->family_count; i++) {
        const struct parsed_family *family = find(ours, reference->families[i].name);
        if (family == NULL) {
            fail_msg("no family %s", reference->families[i].name);
            return;
        }
        assert_string_equal(family->type, reference->families[i].type);
    }
    size_t at = 0;
    for (size_t i = 0; i < ours->sample_count; i++) {
        const struct parsed_sample *sample = &ours->samples[i];
        if (find(reference, sample->family) == NULL) {
            continue; /* a family of ours alone */
        }
        const struct parsed_sample *wanted =
            at < reference->sample_count ? &reference->samples[at++] : NULL;
        if (wanted == NULL || strcmp(sample->series, wanted->series) != 0) {
            fail_msg("%s is here, %s there", sample->series,
                     wanted == NULL ? "none" : wanted->series);
            return;
        }
        if (!is_same(sample, wanted)) {
            fail_msg("%s is %.17g, not %.17g", sample->series, sample->value, wanted->value);
        }
    }
    assert_int_equal(at, reference->sample_count);
}

/* --- playing the script ------------------------------------------------------------------------ */

static struct core core;
static struct sample pending; /* of the model whose figures come one by one */

/* The reference counts each inference in three families. Here it is one sample. */
static bool play_model(const char *family, const char *model, double value)
{
    if (strcmp(family, "acgs2_model_inference_latency_seconds") == 0) {
        pending = sample_of(model, value * 1e3);
    } else if (strcmp(family, "acgs2_model_cpu_percent") == 0) {
        pending.has |= 1u << SAMPLE_CPU_DURING;
        pending.cpu_percent_during = value;
    } else if (strcmp(family, "acgs2_model_inference_total") != 0) {
        return false;
    }
    assert_true(str_is(pending.model_name, model));
    return true;
}

static enum metric_op op_of(const char *word)
{
    static const struct {
        const char *word;
        enum metric_op op;
    } ops[] = {{"observe", METRIC_OBSERVE}, {"set", METRIC_SET}, {"info", METRIC_INFO}};
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++) {
        if (strcmp(word, ops[i].word) == 0) {
            return ops[i].op;
        }
    }
    return METRIC_COUNT;
}

static void play_metric(const char *family, const char *op, json_t *labels, double value)
{
    bool counts = strcmp(family + strlen(family) - strlen("_total"), "_total") == 0;
    struct metric metric = metric_of(op_of(op), family, value, "");
    if (metric.op == METRIC_COUNT && !counts) { /* "inc" and "dec" of a gauge */
        metric.op = METRIC_ADD;
        metric.value = strcmp(op, "dec") == 0 ? -value : value;
    }
    const char *name;
    json_t *label;
    json_object_foreach(labels, name, label)
    {
        metric.attributes[metric.attribute_count++] =
            (struct label){str_of(name), str_of(json_string_value(label))};
    }
    must_count(&core, &metric, NULL);
}

/* NaN and infinities are texts; what is not said is 1. */
static double number_of(const json_t *said)
{
    return json_is_number(said)   ? json_number_value(said)
           : json_is_string(said) ? strtod(json_string_value(said), NULL)
                                  : 1;
}

static void play(const json_t *update, const json_t *next)
{
    const char *family = json_string_value(json_object_get(update, "family"));
    const char *op = json_string_value(json_object_get(update, "op"));
    json_t *labels = json_object_get(update, "labels");
    json_t *said = json_object_get(update, "value");
    double value = number_of(said);
    const char *model = json_string_value(json_object_get(labels, "model_name"));
    if (model == NULL) {
        play_metric(family, op, json_is_object(said) ? said : labels, value);
        return;
    }
    assert_true(play_model(family, model, value));
    const char *follows = json_string_value(json_object_get(next, "family"));
    bool goes_on = follows != NULL && (strcmp(follows, "acgs2_model_inference_total") == 0 ||
                                       strcmp(follows, "acgs2_model_cpu_percent") == 0);
    if (!goes_on) {
        must_record(&core, &pending);
    }
}

static void play_script(void)
{
    json_error_t error;
    json_t *script = json_load_file(GOLDEN "exposition_script.json", 0, &error);
    if (script == NULL) {
        fail_msg("exposition_script.json: %s", error.text);
        return;
    }
    const json_t *updates = json_object_get(script, "updates");
    assert_true(json_array_size(updates) > 800);
    for (size_t i = 0; i < json_array_size(updates); i++) {
        play(json_array_get(updates, i), json_array_get(updates, i + 1));
    }
    json_decref(script);
}

static void declare_builtin(void)
{
    struct conf_families families;
    struct buf errors;
    const char *name = "";
    buf_init(&errors, 4096);
    assert_int_equal(conf_families_load(
                         &families, (struct str){conf_families_builtin, conf_families_builtin_len},
                         NULL, (struct str){0}, &errors),
                     0);
    assert_int_equal(families_declare(core.metrics, &families, &name), 0);
    conf_families_fini(&families);
    buf_fini(&errors);
}

static char *read_file(const char *path)
{
    enum { ROOM = 1 << 20 };
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    char *text = calloc(1, ROOM);
    assert_non_null(text);
    assert_in_range(fread(text, 1, ROOM - 1, file), 1, ROOM - 2);
    (void)fclose(file); /* it was read only */
    return text;
}

static struct answer *must_answer(struct exposition *exposition, const struct snapshot *snapshot,
                                  enum exposition_format format)
{
    static const struct exposition_process process = {.resident_bytes = 1};
    struct buf text;
    buf_init(&text, TEXT_BYTES_MAX);
    assert_int_equal(exposition_render(exposition, snapshot, format, &process, &text), 0);
    buf_char(&text, '\0');
    assert_int_equal(text.err, 0);
    struct answer *answer = parse(text.data, format == EXPOSITION_OPENMETRICS);
    buf_fini(&text);
    return answer;
}

static void test_golden_metrics_are_those_of_the_reference(void **state)
{
    (void)state;
    struct registry_options options = core_options();
    core_open(&core, &options);
    declare_builtin();
    play_script();
    char *text = read_file(GOLDEN "exposition.txt");
    struct answer *reference = parse(text, false);
    assert_int_equal(reference->family_count, 20);
    struct exposition_options wanted = {.name_space = STR_LITERAL("acgs2")};
    struct exposition *exposition = exposition_new(&wanted);
    assert_non_null(exposition);
    struct snapshot *snapshot = must_take(&core);
    /* The text formats; what protobuf says is compared with them by test_form_message. */
    for (unsigned format = EXPOSITION_TEXT; format <= EXPOSITION_OPENMETRICS; format++) {
        struct answer *ours = must_answer(exposition, snapshot, (enum exposition_format)format);
        must_equal(ours, reference);
        free_answer(ours);
    }
    core_drop(&core, snapshot);
    exposition_free(exposition);
    free_answer(reference);
    free(text);
    core_close(&core);
}

/* Names, types, labels and buckets, also of families that nothing was counted in. */
static void test_golden_metrics_are_declared_as_in_the_reference(void **state)
{
    (void)state;
    struct registry_options options = core_options();
    json_t *file = json_load_file(GOLDEN "families.json", 0, NULL);
    core_open(&core, &options);
    declare_builtin();
    const json_t *families = json_object_get(file, "families");
    unsigned found = 0;
    for (size_t i = 0; i < json_array_size(families); i++) {
        const json_t *family = json_array_get(families, i);
        const char *name = json_string_value(json_object_get(family, "family_name"));
        uint32_t number = names_find(&core.metrics->names, str_of(name));
        if (number == NAMES_NONE) { /* the daemon's own, which samples fill */
            assert_memory_equal(name, "acgs2_model_", 12);
            continue;
        }
        const struct family_shape *shape = &core.metrics->sets[number].family->shape;
        static const char *const types[] = {"counter", "gauge", "histogram", "info"};
        const json_t *labels = json_object_get(family, "labels");
        const json_t *bounds = json_object_get(family, "buckets");
        assert_string_equal(json_string_value(json_object_get(family, "type")), types[shape->type]);
        assert_int_equal(json_array_size(labels), shape->label_count);
        assert_int_equal(json_array_size(bounds), shape->bound_count);
        for (size_t at = 0; at < shape->label_count; at++) {
            assert_true(str_is(shape->labels[at], json_string_value(json_array_get(labels, at))));
        }
        for (size_t at = 0; at < shape->bound_count; at++) {
            assert_true(json_number_value(json_array_get(bounds, at)) == shape->bounds[at]);
        }
        found++;
    }
    assert_int_equal(found, 17);
    json_decref(file);
    core_close(&core);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_metrics_are_those_of_the_reference),
        cmocka_unit_test(test_golden_metrics_are_declared_as_in_the_reference),
    };
    return cmocka_run_group_tests_name("golden_metrics", tests, core_tables, NULL);
}
