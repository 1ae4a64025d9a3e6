#include "core_helpers.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/err.h"
#include "mem_fault.h"

#define PART(part) (1u << SAMPLE_##part)

static struct core core;

static void open_default(void)
{
    struct registry_options options = core_options();
    core_open(&core, &options);
}

static void record(const char *name, double ms)
{
    struct sample sample = sample_of(name, ms);
    must_record(&core, &sample);
}

static uint32_t models(void)
{
    return core.registry->count;
}

/* Samples of a model in a span; 0 when it has none. */
static uint64_t count_of(const char *name, enum profile_span span)
{
    struct snapshot *snapshot = must_take(&core);
    struct profile profile = must_profile(&core, snapshot, name, span);
    if (span == PROFILE_WINDOW && profile.span == PROFILE_ALL) {
        profile.count = 0; /* fallen back */
    }
    core_drop(&core, snapshot);
    return profile.count;
}

static uint64_t total_of(const char *name)
{
    struct snapshot *snapshot = must_take(&core);
    uint64_t count = totals_of(must_find(snapshot, name)).count;
    core_drop(&core, snapshot);
    return count;
}

/* --- who a sample belongs to ------------------------------------------------------------------- */

static void must_name(const char *bytes, size_t len, int err)
{
    struct sample sample = {.model_name = {bytes, len}, .execution_time_ms = 1};
    uint32_t before = models();
    assert_int_equal(registry_record(core.registry, &sample), err);
    assert_int_equal(models(), before + (err == 0 ? 1 : 0));
    assert_int_equal(registry_record(core.registry, &sample), err); /* the second time too */
    assert_int_equal(models(), before + (err == 0 ? 1 : 0));
}

static void test_registry_names_are_checked(void **state)
{
    (void)state;
    open_default();
    char text[300];
    memset(text, 'x', sizeof text);
    must_name("", 0, ERR_NAME);
    must_name(NULL, 0, ERR_NAME);
    must_name("a", 1, 0);
    must_name(text, RECORD_NAME_MAX, 0);
    must_name(text, RECORD_NAME_MAX + 1, ERR_NAME);
    must_name(text, sizeof text, ERR_NAME);
    must_name("\0", 1, ERR_NAME);
    must_name("m\0", 2, ERR_NAME);
    must_name("m\0cpu", 5, ERR_NAME);
    must_name("\xc3\xa9", 2, 0);
    must_name("\xc3", 1, ERR_NAME);
    must_name("\xff", 1, ERR_NAME);
    must_name("\xc0\x80", 2, ERR_NAME);         /* overlong zero */
    must_name("\xed\xa0\x80", 3, ERR_NAME);     /* surrogate */
    must_name("\xf4\x90\x80\x80", 4, ERR_NAME); /* past the last code point */
    must_name("a b", 3, 0);
    must_name("a\nb", 3, 0);
    must_name("a\"\\b", 4, 0);
    must_name("\x01", 1, 0);
    core_close(&core);
}

static void test_registry_a_name_is_all_its_bytes(void **state)
{
    (void)state;
    open_default();
    record("model", 1);
    record("Model", 1);
    record("model ", 1);
    record("mode", 1);
    record("model", 1);
    assert_int_equal(models(), 4);
    assert_int_equal(total_of("model"), 2);
    core_close(&core);
}

/* Names of every length, each with one that differs from it in a single byte, at every place. */
static void test_registry_names_differ_in_any_byte(void **state)
{
    (void)state;
    struct registry_options options = core_options();
    options.max_models = 5000;
    core_open(&core, &options);
    char name[41] = "0123456789abcdefghijklmnopqrstuvwxyzABCD";
    uint32_t wanted = 0;
    for (int round = 0; round < 3; round++) { /* the first makes them, the others find them */
        uint32_t number = 0;
        for (size_t len = 1; len <= 40; len++) {
            for (size_t at = 0; at <= len; at++) { /* the last differs nowhere */
                struct sample sample = sample_of("", 1);
                char varied[41];
                memcpy(varied, name, len);
                if (at < len) {
                    varied[at] = '!';
                }
                sample.model_name = (struct str){varied, len};
                must_record(&core, &sample);
                must_record(&core, &sample); /* at once again: the short way */
                const struct model *model = core.registry->models[number++];
                assert_true(str_equal(model->id->name, sample.model_name));
                assert_int_equal(model_window_count(model), 2 * round + 2);
            }
        }
        wanted = number;
        assert_int_equal(models(), wanted);
    }
    core_close(&core);
}

static struct sample on_device(const char *name, const char *device)
{
    struct sample sample = sample_of(name, 1);
    sample.has = PART(DEVICE);
    sample.device = str_of(device);
    return sample;
}

static void test_registry_devices_are_told_apart(void **state)
{
    (void)state;
    open_default();
    record("m", 1);
    struct sample cpu = on_device("m", "cpu");
    struct sample cuda = on_device("m", "cuda:0");
    must_record(&core, &cpu);
    must_record(&core, &cuda);
    must_record(&core, &cuda);
    assert_int_equal(models(), 3);
    assert_true(str_is(core.registry->models[1]->id->device, "cpu"));
    assert_true(str_is(core.registry->models[2]->id->device, "cuda:0"));
    assert_int_equal(model_window_count(core.registry->models[2]), 2);
    struct sample bad = on_device("m", "\xff");
    must_refuse(&core, &bad, ERR_NAME);
    bad.device = (struct str){"a\0b", 3};
    must_refuse(&core, &bad, ERR_NAME);
    char text[300];
    memset(text, 'd', sizeof text);
    bad.device = (struct str){text, RECORD_NAME_MAX};
    must_record(&core, &bad);
    bad.device = (struct str){text, RECORD_NAME_MAX + 1};
    must_refuse(&core, &bad, ERR_NAME);
    assert_int_equal(models(), 4);
    core_close(&core);
}

/* Two models with the same name and the same labels would be one series twice. */
static void test_registry_an_empty_device_is_none(void **state)
{
    (void)state;
    open_default();
    record("m", 1);
    struct sample empty = on_device("m", "");
    must_record(&core, &empty);
    assert_int_equal(models(), 1);
    assert_int_equal(total_of("m"), 2);
    core_close(&core);
}

static void test_registry_no_name_reaches_a_composed_key(void **state)
{
    (void)state;
    struct registry_options options = core_options();
    options.label_keys[0] = STR_LITERAL("a");
    options.label_keys[1] = STR_LITERAL("b");
    options.label_key_count = 2;
    core_open(&core, &options);
    struct sample sample = on_device("m", "cpu");
    must_record(&core, &sample);
    must_name("m\0cpu", 5, ERR_NAME);
    must_name("m\0cpu\0\0", 7, ERR_NAME); /* the key of the model above */
    struct sample smuggled = on_device("m\0", "cpu");
    smuggled.model_name.len = 2;
    must_refuse(&core, &smuggled, ERR_NAME);
    smuggled = sample_of("m", 1);
    smuggled.label_count = 1;
    smuggled.labels[0] = (struct label){STR_LITERAL("a"), {"x\0y", 3}};
    must_refuse(&core, &smuggled, ERR_NAME);
    /* What stands where matters. */
    smuggled.labels[0] = (struct label){STR_LITERAL("a"), STR_LITERAL("cpu")};
    must_record(&core, &smuggled);
    smuggled.labels[0].key = STR_LITERAL("b");
    must_record(&core, &smuggled);
    assert_int_equal(models(), 3);
    core_close(&core);
}

static void test_registry_keeps_the_labels_it_is_told_to(void **state)
{
    (void)state;
    struct registry_options options = core_options();
    options.label_keys[0] = STR_LITERAL("tenant");
    options.label_keys[1] = STR_LITERAL("region");
    options.label_key_count = 2;
    core_open(&core, &options);
    struct sample sample = sample_of("m", 1);
    must_record(&core, &sample); /* no labels */
    sample.label_count = 2;
    sample.labels[0] = (struct label){STR_LITERAL("request"), STR_LITERAL("17")};
    sample.labels[1] = (struct label){STR_LITERAL("tenant"), STR_LITERAL("")};
    must_record(&core, &sample); /* none that is kept and says something */
    assert_int_equal(models(), 1);
    sample.labels[1].value = STR_LITERAL("a");
    must_record(&core, &sample);
    sample.labels[0].value = STR_LITERAL("18");
    must_record(&core, &sample); /* one that is not kept makes no model */
    assert_int_equal(models(), 2);
    const struct model_id *id = core.registry->models[1]->id;
    assert_int_equal(id->label_count, 1);
    assert_true(str_is(id->labels[0].key, "tenant") && str_is(id->labels[0].value, "a"));
    assert_true(str_is(id->name, "m"));
    sample.labels[0] = (struct label){STR_LITERAL("region"), STR_LITERAL("eu")};
    must_record(&core, &sample);
    struct label swapped = sample.labels[0];
    sample.labels[0] = sample.labels[1];
    sample.labels[1] = swapped;
    must_record(&core, &sample); /* their order is nothing */
    assert_int_equal(models(), 3);
    assert_int_equal(model_window_count(core.registry->models[2]), 2);
    sample.labels[1] = (struct label){STR_LITERAL("tenant"), STR_LITERAL("b")};
    must_record(&core, &sample); /* given twice: the first counts */
    assert_int_equal(models(), 3);
    core_close(&core);
}

static void test_registry_labels_are_checked_when_kept(void **state)
{
    (void)state;
    struct registry_options options = core_options();
    options.label_keys[0] = STR_LITERAL("tenant");
    options.label_key_count = 1;
    core_open(&core, &options);
    char text[300];
    memset(text, 'v', sizeof text);
    const struct {
        struct str value;
        int err;
    } table[] = {
        {{text, RECORD_NAME_MAX}, 0},
        {{text, RECORD_NAME_MAX + 1}, ERR_NAME},
        {{"\xff", 1}, ERR_NAME},
        {{"a\0", 2}, ERR_NAME},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct sample sample = sample_of("m", 1);
        sample.label_count = 1;
        sample.labels[0] = (struct label){STR_LITERAL("tenant"), table[i].value};
        must_refuse(&core, &sample, table[i].err);
        must_refuse(&core, &sample, table[i].err);
        /* What is not kept is not looked at, be the model new or known. */
        char name[24];
        (void)snprintf(name, sizeof name, "n%zu", i);
        sample.model_name = str_of(name);
        sample.labels[0].key = STR_LITERAL("other");
        must_record(&core, &sample);
        must_record(&core, &sample);
    }
    core_close(&core);
}

static void test_registry_most_labels_and_longest_texts_fit(void **state)
{
    (void)state;
    static char texts[REGISTRY_LABEL_KEYS_MAX][RECORD_NAME_MAX];
    static char keys[REGISTRY_LABEL_KEYS_MAX][4];
    struct registry_options options = core_options();
    struct sample sample = sample_of("m", 1);
    for (unsigned i = 0; i < REGISTRY_LABEL_KEYS_MAX; i++) {
        memset(texts[i], 'a' + (char)i, RECORD_NAME_MAX);
        (void)snprintf(keys[i], sizeof keys[i], "k%u", i);
        options.label_keys[i] = str_of(keys[i]);
        sample.labels[i] = (struct label){str_of(keys[i]), {texts[i], RECORD_NAME_MAX}};
    }
    options.label_key_count = REGISTRY_LABEL_KEYS_MAX;
    sample.label_count = REGISTRY_LABEL_KEYS_MAX;
    sample.model_name = (struct str){texts[0], RECORD_NAME_MAX};
    sample.device = (struct str){texts[1], RECORD_NAME_MAX};
    sample.has = PART(DEVICE);
    core_open(&core, &options);
    must_record(&core, &sample);
    must_record(&core, &sample);
    assert_int_equal(models(), 1);
    const struct model_id *id = core.registry->models[0]->id;
    assert_int_equal(id->label_count, REGISTRY_LABEL_KEYS_MAX);
    for (unsigned i = 0; i < REGISTRY_LABEL_KEYS_MAX; i++) {
        assert_true(str_equal(id->labels[i].value, sample.labels[i].value));
    }
    assert_true(registry_model_bytes(core.registry, 0) > RECORD_NAME_MAX * 18);
    core_close(&core);
}

/* --- the ceiling on models --------------------------------------------------------------------- */

static void test_registry_past_the_ceiling_is_the_overflow_model(void **state)
{
    (void)state;
    struct registry_options options = core_options();
    options.max_models = 3;
    core_open(&core, &options);
    record("a", 1);
    record("b", 1);
    record("c", 1);
    assert_int_equal(models(), 3);
    assert_int_equal(core.registry->overflowed, 0);
    record("d", 1);
    record("e", 1);
    record("d", 1);
    assert_int_equal(models(), 4);
    assert_int_equal(core.registry->overflowed, 3);
    record("a", 1); /* those known stay */
    assert_int_equal(total_of("a"), 2);
    assert_int_equal(total_of(REGISTRY_OVERFLOW_NAME), 3);
    assert_true(core.registry->models[3]->id->overflow);
    must_name("\xff", 1, ERR_NAME); /* what is no name is no overflow */
    must_name("", 0, ERR_NAME);
    struct sample composed = on_device("a", "cuda:0");
    must_record(&core, &composed);
    assert_int_equal(core.registry->overflowed, 4);
    assert_int_equal(models(), 4);
    struct sample sampled = sample_of("f", 1);
    sampled.has = 1U << SAMPLE_WEIGHT;
    sampled.weight = 10;
    must_record(&core, &sampled);
    assert_int_equal(core.registry->overflowed, 14);
    core_close(&core);
}

/* Its own models at the ceiling and one over; others are not concerned. */
static void test_registry_a_maker_has_a_ceiling_of_its_own(void **state)
{
    (void)state;
    struct registry_options options = core_options();
    options.max_models_per_maker = 2;
    core_open(&core, &options);
    struct maker *maker = maker_new();
    core.registry->maker = maker;
    record("a", 1);
    record("b", 1);
    assert_int_equal(core.registry->overflowed, 0);
    record("c", 1);
    record("a", 1);
    assert_int_equal(core.registry->overflowed, 1);
    assert_int_equal(maker->models, 2);
    core.registry->maker = NULL;
    record("c", 1);
    core.registry->maker = maker;
    record("c", 1); /* that somebody else made */
    assert_int_equal(total_of("c"), 2);
    assert_int_equal(core.registry->overflowed, 1);
    core.registry->maker = NULL;
    maker_end(maker);
    core_close(&core);
}

/* With a name that was just remembered, too. */
static void test_registry_sample_of_weight_counts_as_so_many(void **state)
{
    (void)state;
    struct registry_options options = core_options();
    core_open(&core, &options);
    record("a", 1);
    record("a", 1);
    struct sample sampled = sample_of("a", 1);
    sampled.has = 1U << SAMPLE_WEIGHT;
    sampled.weight = 10;
    must_record(&core, &sampled);
    must_record(&core, &sampled);
    record("a", 1);
    assert_int_equal(total_of("a"), 23);
    core_close(&core);
}

static void test_registry_ceiling_of_one(void **state)
{
    (void)state;
    struct registry_options options = core_options();
    options.max_models = 1;
    core_open(&core, &options);
    record("a", 1);
    record("b", 1);
    assert_int_equal(models(), 2);
    assert_int_equal(total_of(REGISTRY_OVERFLOW_NAME), 1);
    core_close(&core);
}

/* The short way to a model by a name that came lately must not hide what else tells models apart. */
static void test_registry_long_names_past_the_ceiling(void **state)
{
    (void)state;
    struct registry_options options = core_options();
    options.max_models = 1;
    options.label_keys[0] = STR_LITERAL("tenant");
    options.label_key_count = 1;
    core_open(&core, &options);
    for (int i = 0; i < 3; i++) {
        record("a model with a long name", 1);
        record("another model with a long name", 1);
        struct sample sample = on_device("a model with a long name", "cuda:0");
        must_record(&core, &sample);
        sample = sample_of("a model with a long name", 1);
        sample.label_count = 1;
        sample.labels[0] = (struct label){STR_LITERAL("tenant"), STR_LITERAL("a")};
        must_record(&core, &sample);
        sample.labels[0].key = STR_LITERAL("not kept");
        must_record(&core, &sample);
    }
    assert_int_equal(models(), 2);
    assert_int_equal(total_of("a model with a long name"), 6);
    assert_int_equal(core.registry->overflowed, 9);
    assert_int_equal(total_of(REGISTRY_OVERFLOW_NAME), 9);
    core_close(&core);
}

/* A client may use the name: that is a model like any other, which only the mark tells apart. */
static void test_registry_overflow_name_is_nobodys(void **state)
{
    (void)state;
    struct registry_options options = core_options();
    options.max_models = 1;
    core_open(&core, &options);
    record(REGISTRY_OVERFLOW_NAME, 1);
    record("a", 1);
    record("b", 1);
    record(REGISTRY_OVERFLOW_NAME, 1);
    assert_int_equal(models(), 2);
    assert_int_equal(core.registry->overflowed, 2);
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(core.registry->models[i]->id->overflow, i == 1);
        assert_int_equal(model_window_count(core.registry->models[i]), 2);
    }
    core_close(&core);
}

static void test_registry_holds_many_models(void **state)
{
    (void)state;
    struct registry_options options = core_options();
    options.max_models = 5000;
    core_open(&core, &options);
    char name[24];
    for (int round = 0; round < 2; round++) {
        for (unsigned i = 0; i < options.max_models; i++) {
            (void)snprintf(name, sizeof name, "model-%u", i);
            record(name, i);
        }
        assert_int_equal(models(), options.max_models);
    }
    for (uint32_t i = 0; i < models(); i++) {
        assert_int_equal(model_window_count(core.registry->models[i]), 2);
    }
    record("one more", 1);
    assert_int_equal(core.registry->overflowed, 1);
    core_close(&core);
}

static void test_registry_ceiling_goes_up_and_down(void **state)
{
    (void)state;
    struct registry_options options = core_options();
    options.max_models = 2;
    core_open(&core, &options);
    char name[24];
    record("a", 1);
    record("b", 1);
    record("c", 1);
    assert_int_equal(models(), 3); /* with the overflow model */
    mem_fail_after(1);
    assert_int_equal(registry_set_max_models(core.registry, 5000), ERR_NOMEM);
    mem_fail_after(0);
    record("c", 1);
    assert_int_equal(core.registry->overflowed, 2);
    assert_int_equal(registry_set_max_models(core.registry, 5000), 0);
    for (int round = 0; round < 2; round++) {
        for (unsigned i = 0; i < 4998; i++) {
            (void)snprintf(name, sizeof name, "model-%u", i);
            record(name, i);
        }
    }
    record("a", 1);
    record("one more", 1);
    assert_int_equal(core.registry->overflowed, 3);
    assert_int_equal(total_of("a"), 2);
    assert_int_equal(total_of("model-4997"), 2);
    assert_int_equal(registry_set_max_models(core.registry, 1), 0);
    record("b", 1); /* who is there stays */
    record("another", 1);
    assert_int_equal(core.registry->overflowed, 4);
    assert_int_equal(total_of("b"), 2);
    core_close(&core);
}

/* --- string-table references ------------------------------------------------------------------- */

static void record_ref(const char *name, uint32_t ref)
{
    struct sample sample = sample_of(name, 1);
    sample.model_ref = ref;
    must_record(&core, &sample);
}

static void test_registry_refs_mean_what_their_batch_says(void **state)
{
    (void)state;
    open_default();
    registry_begin_batch(core.registry);
    record_ref("a", 1);
    record_ref("b", 2);
    record_ref("a", 1);
    registry_begin_batch(core.registry);
    record_ref("b", 1); /* another table: the same number, another name */
    record_ref("a", 2);
    record_ref("c", RECALL_REFS); /* the last that is remembered */
    record_ref("c", RECALL_REFS);
    record_ref("d", RECALL_REFS + 1);
    record_ref("e", RECALL_REFS + 2);
    record_ref("f", UINT32_MAX);
    record_ref("a", 0);
    assert_int_equal(total_of("a"), 4);
    assert_int_equal(total_of("b"), 2);
    assert_int_equal(total_of("c"), 2);
    assert_int_equal(total_of("d") + total_of("e") + total_of("f"), 3);
    assert_int_equal(models(), 6);
    core_close(&core);
}

static void test_registry_refs_do_not_hide_devices(void **state)
{
    (void)state;
    open_default();
    registry_begin_batch(core.registry);
    record_ref("a", 1);
    struct sample sample = on_device("a", "cuda:0");
    sample.model_ref = 1;
    must_record(&core, &sample);
    record_ref("a", 1);
    assert_int_equal(models(), 2);
    assert_int_equal(model_window_count(core.registry->models[0]), 2);
    core_close(&core);
}

static void test_registry_refs_of_bad_names_are_refused_each_time(void **state)
{
    (void)state;
    struct registry_options options = core_options();
    options.max_models = 1;
    core_open(&core, &options);
    registry_begin_batch(core.registry);
    struct sample sample = sample_of("", 1);
    sample.model_ref = 1;
    must_refuse(&core, &sample, ERR_NAME);
    must_refuse(&core, &sample, ERR_NAME);
    record_ref("a", 2);
    record_ref("b", 3); /* past the ceiling, by reference: every one is counted */
    record_ref("b", 3);
    assert_int_equal(core.registry->overflowed, 2);
    assert_int_equal(total_of(REGISTRY_OVERFLOW_NAME), 2);
    core_close(&core);
}

/* --- the window -------------------------------------------------------------------------------- */

static void test_registry_window_moves_by_slots(void **state)
{
    (void)state;
    open_default();
    for (uint64_t i = 0; i < REGISTRY_SUB_WINDOWS; i++) {
        record("m", 1);
        assert_int_equal(count_of("m", PROFILE_WINDOW), i + 1);
        core_move(&core, CORE_SLOT_S);
    }
    for (uint64_t i = 0; i < 20; i++) { /* one leaves, one comes */
        assert_int_equal(count_of("m", PROFILE_WINDOW), REGISTRY_SUB_WINDOWS - 1);
        record("m", 1);
        assert_int_equal(count_of("m", PROFILE_WINDOW), REGISTRY_SUB_WINDOWS);
        core_move(&core, CORE_SLOT_S);
    }
    assert_int_equal(count_of("m", PROFILE_ALL), REGISTRY_SUB_WINDOWS + 20);
    assert_int_equal(total_of("m"), REGISTRY_SUB_WINDOWS + 20);
    core_close(&core);
}

static void test_registry_window_ends_without_new_samples(void **state)
{
    (void)state;
    open_default();
    record("m", 1);
    core_move(&core, CORE_SLOT_S);
    record("m", 2);
    for (int slot = 1; slot < REGISTRY_SUB_WINDOWS; slot++) {
        assert_int_equal(count_of("m", PROFILE_WINDOW), 2);
        core_move(&core, slot == 1 ? (REGISTRY_SUB_WINDOWS - 2) * CORE_SLOT_S : 0);
    }
    core_move(&core, CORE_SLOT_S);
    assert_int_equal(count_of("m", PROFILE_WINDOW), 1);
    core_move(&core, CORE_SLOT_S);
    assert_int_equal(count_of("m", PROFILE_WINDOW), 0);
    /* It falls back to all there is, and says so. */
    struct snapshot *snapshot = must_take(&core);
    struct profile profile = must_profile(&core, snapshot, "m", PROFILE_WINDOW);
    assert_int_equal(profile.span, PROFILE_ALL);
    assert_int_equal(profile.count, 2);
    double quantiles[QUANTILE_COUNT];
    assert_false(
        profile_window_quantiles(snapshot, must_find(snapshot, "m"), core.scratch, quantiles));
    assert_true(isnan(quantiles[0]) && isnan(quantiles[QUANTILE_COUNT - 1]));
    core_drop(&core, snapshot);
    core_move(&core, 1000000); /* much later */
    record("m", 3);
    assert_int_equal(count_of("m", PROFILE_WINDOW), 1);
    assert_int_equal(total_of("m"), 3);
    core_close(&core);
}

static void test_registry_time_going_back_is_ignored(void **state)
{
    (void)state;
    open_default();
    core_move(&core, 10 * CORE_SLOT_S);
    uint64_t slot = core.registry->slot;
    record("m", 1);
    core_move(&core, -9 * CORE_SLOT_S);
    assert_int_equal(core.registry->slot, slot);
    record("m", 1);
    assert_int_equal(count_of("m", PROFILE_WINDOW), 2);
    core_move(&core, 9 * CORE_SLOT_S);
    assert_int_equal(core.registry->slot, slot);
    core_move(&core, CORE_SLOT_S);
    assert_int_equal(core.registry->slot, slot + 1);
    core_close(&core);
}

/* Random steps of time against a list of all that was recorded. */
static void test_registry_window_holds_what_it_should(void **state)
{
    (void)state;
    struct random random = random_start("window");
    enum { RECORDS = 3000 };
    static double figures[RECORDS];
    static uint64_t slots[RECORDS];
    open_default();
    for (size_t i = 0; i < RECORDS; i++) {
        figures[i] = random_shape(&random, SHAPE_LOGNORMAL);
        slots[i] = core.registry->slot;
        record("m", figures[i]);
        if (random_below(&random, 20) == 0) {
            core_move(&core,
                      (int64_t)random_below(&random, random_below(&random, 5) == 0 ? 400 : 60));
        }
        if (random_below(&random, 10) == 0) {
            size_t first = 0;
            while (slots[first] + REGISTRY_SUB_WINDOWS <= core.registry->slot && first < i) {
                first++;
            }
            if (slots[first] + REGISTRY_SUB_WINDOWS <= core.registry->slot) {
                assert_int_equal(count_of("m", PROFILE_WINDOW), 0);
                continue;
            }
            struct facts facts = facts_of(figures + first, i + 1 - first);
            struct facts all = facts_of(figures, i + 1);
            struct snapshot *snapshot = must_take(&core);
            struct profile profile = must_profile(&core, snapshot, "m", PROFILE_WINDOW);
            must_match_facts(&profile, &facts);
            double quantiles[QUANTILE_COUNT];
            assert_true(
                profile_window_quantiles(snapshot, snapshot->models[0], core.scratch, quantiles));
            assert_memory_equal(quantiles, profile.quantile_ms, sizeof quantiles);
            profile = must_profile(&core, snapshot, "m", PROFILE_ALL);
            must_match_facts(&profile, &all);
            core_drop(&core, snapshot);
        }
    }
    core_close(&core);
}

/* --- the cap on samples ------------------------------------------------------------------------ */

static void must_cap(struct random *random, uint64_t cap, bool with_time)
{
    struct registry_options options = core_options();
    options.max_samples = cap;
    core_open(&core, &options);
    size_t records = (size_t)(cap * 3 + 40);
    double *figures = malloc(records * sizeof *figures);
    uint64_t *slots = malloc(records * sizeof *slots);
    assert_true(figures != NULL && slots != NULL);
    uint64_t most = cap < REGISTRY_CAP_SINGLE_BELOW ? cap : cap + cap / 8;
    for (size_t i = 0; i < records; i++) {
        if (with_time && random_below(random, 1 + cap / 7) == 0) {
            core_move(&core, (int64_t)random_below(random, 2 * CORE_SLOT_S));
        }
        figures[i] = random_shape(random, SHAPE_PARETO);
        slots[i] = core.registry->slot;
        record("m", figures[i]);
        if (i > 100 && random_below(random, 1 + cap / 10) != 0 && i + 1 != records) {
            continue;
        }
        struct snapshot *snapshot = must_take(&core);
        struct profile profile = must_profile(&core, snapshot, "m", PROFILE_WINDOW);
        assert_int_equal(profile.span, PROFILE_WINDOW);
        uint64_t young = 0; /* samples that time has left in the window */
        while (young <= i && slots[i - young] + REGISTRY_SUB_WINDOWS > snapshot->slot) {
            young++;
        }
        assert_in_range(profile.count, young < cap ? young : cap, young < most ? young : most);
        struct facts facts = facts_of(figures + i + 1 - profile.count, profile.count);
        must_match_facts(&profile, &facts);
        profile = must_profile(&core, snapshot, "m", PROFILE_ALL);
        assert_int_equal(profile.count, i + 1);
        core_drop(&core, snapshot);
    }
    free(slots);
    free(figures);
    core_close(&core);
}

static void test_registry_cap_keeps_the_newest(void **state)
{
    (void)state;
    struct random random = random_start("cap");
    const uint64_t caps[] = {1, 2, 10, 62, 63, 64, 65, 71, 72, 100, 1000};
    for (size_t i = 0; i < sizeof caps / sizeof caps[0]; i++) {
        must_cap(&random, caps[i], false);
        must_cap(&random, caps[i], true);
        must_cap(&random, caps[i], true);
    }
}

/* A slot may begin at any sample: the tallies a model can hold must be enough all the same. */
static void test_registry_cap_survives_a_new_slot_at_any_sample(void **state)
{
    (void)state;
    const uint64_t caps[] = {1, 63, 64, 71};
    for (size_t i = 0; i < sizeof caps / sizeof caps[0]; i++) {
        for (uint64_t every = 1; every <= caps[i] + 1; every++) {
            struct registry_options options = core_options();
            options.max_samples = caps[i];
            core_open(&core, &options);
            uint64_t most = caps[i] < REGISTRY_CAP_SINGLE_BELOW ? caps[i] : caps[i] + caps[i] / 8;
            for (uint64_t k = 1; k <= 4 * caps[i]; k++) {
                record("m", (double)k);
                const struct model *model = core.registry->models[0];
                uint64_t young = every * (REGISTRY_SUB_WINDOWS - 1) + (k - 1) % every + 1;
                young = young < k ? young : k;
                assert_in_range(model_window_count(model), young < caps[i] ? young : caps[i], most);
                assert_true(model->closed_count <= core.registry->closed_max);
                if (k % every == 0) {
                    core_move(&core, CORE_SLOT_S);
                }
            }
            assert_int_equal(total_of("m"), 4 * caps[i]);
            core_close(&core);
        }
    }
}

/* --- reset ------------------------------------------------------------------------------------- */

static void test_registry_reset_forgets_but_metrics_do_not(void **state)
{
    (void)state;
    open_default();
    must_reset(&core, NULL, 0);
    must_reset(&core, "m", 0);
    struct sample sample = sample_of("m", 5);
    sample.has = PART(TRACE_ID) | PART(CPU_DURING);
    sample.cpu_percent_during = 42;
    must_record(&core, &sample);
    record("m", 7);
    core_move(&core, CORE_SLOT_S);
    record("m", 9);
    record("other", 1);
    struct snapshot *before = must_take(&core);
    struct sums totals = totals_of(must_find(before, "m"));
    core_drop(&core, before);
    must_reset(&core, "m", 1);
    struct snapshot *after = must_take(&core);
    const struct model *model = must_find(after, "m");
    struct profile profile;
    assert_int_equal(profile_compute(after, model, PROFILE_WINDOW, core.scratch, &profile), 0);
    assert_int_equal(profile_compute(after, model, PROFILE_ALL, core.scratch, &profile), 0);
    assert_null(model->exemplars);
    assert_true(model_last_cpu_percent(model) == 42); /* the gauge of /metrics */
    struct sums still = totals_of(model);
    assert_memory_equal(&still.latency_bucket, &totals.latency_bucket, sizeof still.latency_bucket);
    assert_int_equal(still.count, 3);
    assert_true(still.latency_sum == totals.latency_sum);
    assert_int_equal(totals_of(must_find(after, "other")).count, 1);
    core_drop(&core, after);
    assert_int_equal(count_of("other", PROFILE_WINDOW), 1);
    /* A second time there is nothing to forget. */
    must_reset(&core, "m", 0);
    must_reset(&core, "nobody", 0);
    record("m", 11);
    assert_int_equal(count_of("m", PROFILE_WINDOW), 1);
    assert_int_equal(count_of("m", PROFILE_ALL), 1);
    assert_int_equal(total_of("m"), 4);
    must_reset(&core, NULL, 2);
    must_reset(&core, NULL, 0);
    assert_int_equal(count_of("m", PROFILE_ALL), 0);
    assert_int_equal(total_of("m"), 4);
    core_close(&core);
}

static void test_registry_models_know_when_they_began(void **state)
{
    (void)state;
    open_default();
    uint64_t began = core.wall_ns;
    record("m", 5);
    core_move(&core, CORE_SLOT_S);
    record("m", 5);
    record("later", 5);
    must_reset(&core, NULL, 2);
    record("m", 5);
    struct snapshot *snapshot = must_take(&core);
    assert_int_equal(must_find(snapshot, "m")->id->created_wall_ns, began);
    assert_int_equal(must_find(snapshot, "later")->id->created_wall_ns, core.wall_ns);
    core_drop(&core, snapshot);
    core_close(&core);
}

static void test_registry_reset_takes_all_label_sets_of_a_name(void **state)
{
    (void)state;
    open_default();
    record("m", 1);
    struct sample sample = on_device("m", "cuda:0");
    must_record(&core, &sample);
    record("mm", 1);
    must_reset(&core, "m", 2);
    must_reset(&core, "mm", 1);
    core_close(&core);
}

static void test_registry_reset_of_what_left_the_window(void **state)
{
    (void)state;
    open_default();
    record("m", 1);
    core_move(&core, 20 * CORE_SLOT_S);
    record("m", 2); /* the first goes to what is since the reset */
    core_move(&core, 20 * CORE_SLOT_S);
    must_reset(&core, "m", 1);
    assert_int_equal(count_of("m", PROFILE_ALL), 0);
    assert_int_equal(total_of("m"), 2);
    core_close(&core);
}

/* /metrics never falls, whatever is done in whatever order. */
static void test_registry_totals_never_fall(void **state)
{
    (void)state;
    struct random random = random_start("totals");
    const uint64_t caps[] = {0, 3, 100};
    for (size_t i = 0; i < sizeof caps / sizeof caps[0]; i++) {
        struct registry_options options = core_options();
        options.max_samples = caps[i];
        core_open(&core, &options);
        uint64_t sent = 0;
        exact_u128 sum = 0;
        for (int step = 0; step < 4000; step++) {
            double ms = random_shape(&random, SHAPE_BIMODAL);
            switch (random_below(&random, 40)) {
            case 0:
                core_move(&core, (int64_t)random_below(&random, 200));
                break;
            case 1:
                assert_true(registry_reset(core.registry, NULL) >= 0);
                break;
            default:
                record("m", ms);
                sent++;
                sum += exact_steps(ms, EXACT_STEPS_PER_MS);
            }
            if (random_below(&random, 20) == 0 && sent > 0) {
                struct snapshot *snapshot = must_take(&core);
                struct sums sums = totals_of(snapshot->models[0]);
                assert_int_equal(sums.count, sent);
                assert_true(sums.latency_sum == sum);
                core_drop(&core, snapshot);
            }
        }
        core_close(&core);
    }
}

/* --- exemplars --------------------------------------------------------------------------------- */

static void test_registry_keeps_the_last_exemplar_of_each_bucket(void **state)
{
    (void)state;
    open_default();
    struct sample sample = sample_of("m", 3);
    must_record(&core, &sample);
    assert_null(core.registry->models[0]->exemplars);
    sample.has = PART(TRACE_ID);
    memset(sample.trace_id, 1, sizeof sample.trace_id);
    must_record(&core, &sample);
    sample.execution_time_ms = 4;
    memset(sample.trace_id, 2, sizeof sample.trace_id);
    sample.has = PART(TRACE_ID) | PART(SPAN_ID) | PART(TIMESTAMP);
    sample.timestamp_wall_ns = 123;
    must_record(&core, &sample);
    sample.execution_time_ms = 5000;
    sample.has = PART(TRACE_ID);
    must_record(&core, &sample);
    const struct exemplars *exemplars = core.registry->models[0]->exemplars;
    assert_true(exemplars->bucket[3].set && exemplars->bucket[3].has_span_id);
    assert_true(exemplars->bucket[3].value_ms == 4);
    assert_int_equal(exemplars->bucket[3].wall_ns, 123);
    assert_int_equal(exemplars->bucket[3].trace_id[0], 2);
    assert_true(exemplars->bucket[9].set && !exemplars->bucket[9].has_span_id);
    assert_int_equal(exemplars->bucket[9].wall_ns, core.wall_ns);
    assert_false(exemplars->bucket[0].set);
    core_close(&core);
}

/* --- snapshots --------------------------------------------------------------------------------- */

static struct sample random_sample(struct random *random, const char *name)
{
    struct sample sample = sample_of(name, random_shape(random, SHAPE_PARETO));
    sample.has = (uint32_t)random_next(random) & ((1u << SAMPLE_PART_COUNT) - 1) & ~PART(DEVICE);
    sample.weight = 1 + random_below(random, 5);
    sample.error = random_below(random, 10) == 0;
    sample.cpu_percent_during = 100 * random_unit(random);
    sample.memory_mb_after = 1000 * random_unit(random);
    sample.queue_ms = 10 * random_unit(random);
    sample.batch_size = (double)random_below(random, 2000);
    sample.user_ms = sample.execution_time_ms * random_unit(random);
    sample.system_ms = random_unit(random);
    sample.runqueue_ms = random_unit(random);
    sample.minor_faults = (double)random_below(random, 100);
    memset(sample.trace_id, (int)random_below(random, 256), sizeof sample.trace_id);
    return sample;
}

/* Long and short: those of 8 bytes or more have a short way to their model. */
static const char *const names[] = {"a",           "b", "a longer name",  "d",
                                    "another one", "f", "the last of all"};
enum { NAMES = sizeof names / sizeof names[0] };

/* Anything that changes a registry, once. Returns how many inferences it accepted. */
static uint64_t stir(struct random *random)
{
    uint64_t what = random_below(random, 300);
    if (what < 6) {
        core_move(&core, (int64_t)random_below(random, 2 * CORE_SLOT_S));
        return 0;
    }
    if (what < 8) {
        struct str name = str_of(names[random_below(random, NAMES)]);
        assert_true(registry_reset(core.registry, what == 7 ? NULL : &name) >= 0);
        return 0;
    }
    if (what < 20) {
        (void)limbo_sweep(&core.registry->limbo,
                          random_below(random, 50)); /* what is left is left */
        return 0;
    }
    if (what < 30 && models() > 0) {
        struct opinion opinion = opinion_of(BOTTLENECK_IO, RULE_EVIDENCE);
        opinion.rounds = random_below(random, 1000);
        must_set_opinion(&core, (uint32_t)random_below(random, models()),
                         what < 22 ? NULL : &opinion);
        return 0;
    }
    struct sample sample = random_sample(random, names[random_below(random, NAMES)]);
    if (what == 30) { /* every chunk of a histogram */
        sample.execution_time_ms = exp2(random_unit(random) * 60 - 25);
    }
    must_record(&core, &sample);
    return record_weight(&sample);
}

static void must_stay(const struct snapshot *snapshot, const char *before)
{
    char *after = describe_snapshot(snapshot, core.scratch);
    assert_non_null(after);
    if (strcmp(before, after) != 0) {
        size_t at = 0;
        while (before[at] == after[at]) {
            at++;
        }
        at = at < 80 ? 0 : at - 80;
        fail_msg("the snapshot changed:\n%.200s\n----\n%.200s", before + at, after + at);
    }
    free(after);
}

static void test_registry_snapshots_do_not_change(void **state)
{
    (void)state;
    struct random random = random_start("snapshots");
    const uint64_t caps[] = {0, 1, 5, 64, 200};
    for (size_t i = 0; i < sizeof caps / sizeof caps[0]; i++) {
        struct registry_options options = core_options();
        options.max_samples = caps[i];
        options.max_models = NAMES - 2;
        core_open(&core, &options);
        struct {
            struct snapshot *snapshot;
            char *text;
        } alive[LIMBO_SNAPSHOTS_MAX] = {{NULL, NULL}};
        uint64_t accepted = 0;
        for (int round = 0; round < 150; round++) {
            size_t at = random_below(&random, LIMBO_SNAPSHOTS_MAX);
            if (alive[at].snapshot == NULL) {
                alive[at].snapshot = must_take(&core);
                alive[at].text = describe_snapshot(alive[at].snapshot, core.scratch);
                assert_int_equal(count_everything(alive[at].snapshot), accepted);
            } else {
                must_stay(alive[at].snapshot, alive[at].text);
                snapshot_release(alive[at].snapshot, core.registry);
                free(alive[at].text);
                alive[at].snapshot = NULL;
            }
            for (uint64_t steps = random_below(&random, 100); steps > 0; steps--) {
                accepted += stir(&random);
            }
        }
        for (size_t k = 0; k < LIMBO_SNAPSHOTS_MAX; k++) {
            if (alive[k].snapshot != NULL) {
                must_stay(alive[k].snapshot, alive[k].text);
                snapshot_release(alive[k].snapshot, core.registry);
                free(alive[k].text);
            }
        }
        assert_false(limbo_sweep(&core.registry->limbo, SIZE_MAX));
        assert_int_equal(core.registry->limbo.waiting, 0);
        core_close(&core);
    }
}

static void test_registry_snapshots_have_a_ceiling(void **state)
{
    (void)state;
    open_default();
    record("m", 1);
    struct snapshot *alive[LIMBO_SNAPSHOTS_MAX];
    for (size_t i = 0; i < LIMBO_SNAPSHOTS_MAX; i++) {
        alive[i] = must_take(&core);
    }
    size_t live = mem_count_live();
    struct snapshot *one_more = NULL;
    assert_int_equal(
        snapshot_take(&core.intake, &core.thresholds, core.mono_ns, core.wall_ns, &one_more),
        ERR_LIMIT);
    assert_null(one_more);
    assert_int_equal(mem_count_live(), live);
    record("m", 1);
    for (size_t i = 0; i < LIMBO_SNAPSHOTS_MAX; i++) {
        assert_int_equal(count_everything(alive[i]), 1);
        core_drop(&core, alive[i]);
    }
    core_close(&core);
}

/* While a snapshot is held, what comes and goes after it must not pile up: nobody can see it. */
static void test_registry_held_snapshot_does_not_hold_what_came_later(void **state)
{
    (void)state;
    struct registry_options options = core_options();
    options.max_samples = 1; /* each sample makes a tally and ends one */
    core_open(&core, &options);
    record("m", 1);
    struct snapshot *snapshot = must_take(&core);
    for (int i = 0; i < 100; i++) {
        record("m", 1);
    }
    size_t waiting = core.registry->limbo.waiting;
    for (int i = 0; i < 10000; i++) {
        record("m", 1);
    }
    assert_int_equal(core.registry->limbo.waiting, waiting);
    core_drop(&core, snapshot);
    core_close(&core);
}

/* --- opinions ---------------------------------------------------------------------------------- */

static void must_hold(uint32_t number, const struct opinion *opinion)
{
    const struct model_opinion *held = core.registry->models[number]->opinion;
    assert_true((held == NULL) == (opinion == NULL));
    if (held != NULL) {
        assert_int_equal(held->opinion.bottleneck, opinion->bottleneck);
        assert_string_equal(held->opinion.reason, opinion->reason);
    }
}

static void test_registry_opinion_is_replaced_and_forgotten(void **state)
{
    (void)state;
    open_default();
    record("m", 5);
    record("other", 5);
    uint64_t stamp = model_stamp(core.registry->models[0]);
    must_set_opinion(&core, 0, NULL); /* there was none: nothing changes */
    assert_int_equal(model_stamp(core.registry->models[0]), stamp);
    struct opinion opinion = opinion_of(BOTTLENECK_IO, RULE_EVIDENCE);
    size_t bytes = registry_model_bytes(core.registry, 0);
    must_set_opinion(&core, 0, &opinion);
    must_hold(0, &opinion);
    must_hold(1, NULL);
    assert_int_equal(registry_model_bytes(core.registry, 0), bytes + sizeof(struct model_opinion));
    assert_true(model_stamp(core.registry->models[0]) > stamp);
    /* The same again is news: figures may differ where words do not. */
    stamp = model_stamp(core.registry->models[0]);
    must_set_opinion(&core, 0, &opinion);
    assert_true(model_stamp(core.registry->models[0]) > stamp);
    must_set_opinion(&core, 0, NULL);
    must_hold(0, NULL);
    must_set_opinion(&core, 0, &opinion);
    must_set_opinion(&core, 1, &opinion);
    assert_int_equal(core.registry->models[0]->resets, 0);
    must_reset(&core, "m", 1);
    must_hold(0, NULL);
    must_hold(1, &opinion);
    assert_int_equal(core.registry->models[0]->resets, 1);
    assert_int_equal(core.registry->models[1]->resets, 0);
    core_close(&core);
}

/* A way that was remembered leads to the model's own tally, whoever copied the model. */
static void test_registry_opinion_between_two_samples_loses_none(void **state)
{
    (void)state;
    open_default();
    struct opinion opinion = opinion_of(BOTTLENECK_IO, RULE_EVIDENCE);
    record("m", 5);
    for (uint64_t i = 2; i < 20; i += 2) {
        struct snapshot *snapshot = must_take(&core);
        must_set_opinion(&core, 0, &opinion);
        record("m", 5);
        must_set_opinion(&core, 0, NULL);
        record("m", 5);
        assert_int_equal(count_everything(snapshot), i - 1);
        core_drop(&core, snapshot);
        assert_int_equal(total_of("m"), i + 1);
    }
    core_close(&core);
}

/* Samples with evidence are counted like all, and tell whose they are. */
static void test_registry_evidence_tells_the_model(void **state)
{
    (void)state;
    struct registry_options options = core_options();
    options.max_models = 2;
    core_open(&core, &options);
    static const struct {
        const char *name;
        uint32_t number;
    } rows[] = {{"a", 0}, {"b", 1}, {"a", 0}, {"c", 2}, {"d", 2}, {"b", 1}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct sample sample = sample_of(rows[i].name, 1);
        uint32_t number = 99;
        sample.has = PART(USER) | PART(SYSTEM);
        assert_int_equal(registry_record_evidence(core.registry, &sample, &number), 0);
        assert_int_equal(number, rows[i].number);
    }
    assert_int_equal(core.registry->overflow, 1 + 2);
    assert_int_equal(core.registry->overflowed, 2);
    uint32_t number = 99;
    struct sample sample = sample_of("", 1);
    assert_int_equal(registry_record_evidence(core.registry, &sample, &number), ERR_NAME);
    assert_int_equal(number, 99);
    core_close(&core);
}

/* --- without memory ---------------------------------------------------------------------------- */

/* Any allocation fails now and then: a sample counts or it does not, and snapshots stay. */
static void test_registry_without_memory_loses_only_the_sample(void **state)
{
    (void)state;
    struct random random = random_start("no memory");
    const uint64_t caps[] = {0, 1, 5, 64};
    for (size_t i = 0; i < sizeof caps / sizeof caps[0]; i++) {
        struct registry_options options = core_options();
        options.max_samples = caps[i];
        options.max_models = NAMES - 2;
        core_open(&core, &options);
        struct snapshot *snapshot = NULL;
        char *text = NULL;
        uint64_t accepted = 0;
        uint64_t overflowed = 0;
        for (int step = 0; step < 6000; step++) {
            struct sample sample = random_sample(&random, names[random_below(&random, NAMES)]);
            if (random_below(&random, 30) == 0) {
                core_move(&core, (int64_t)random_below(&random, CORE_SLOT_S));
            }
            mem_fail_after(random_below(&random, 8));
            uint64_t what = random_below(&random, 100);
            if (what == 0) {
                int reset = registry_reset(core.registry, NULL);
                assert_true(reset >= 0 || reset == ERR_NOMEM);
            } else if (what == 1) {
                struct snapshot *taken = NULL;
                int err = snapshot_take(&core.intake, &core.thresholds, core.mono_ns, core.wall_ns,
                                        &taken);
                mem_fail_after(0);
                assert_true((err == 0) == (taken != NULL));
                if (taken != NULL) {
                    if (snapshot != NULL) {
                        must_stay(snapshot, text);
                        core_drop(&core, snapshot);
                        free(text);
                    }
                    snapshot = taken;
                    assert_int_equal(count_everything(snapshot), accepted);
                    text = describe_snapshot(snapshot, core.scratch);
                }
            } else {
                int err = registry_record(core.registry, &sample);
                assert_true(err == 0 || err == ERR_NOMEM);
                accepted += err == 0 ? record_weight(&sample) : 0;
            }
            mem_fail_after(0);
        }
        if (snapshot != NULL) {
            must_stay(snapshot, text);
            core_drop(&core, snapshot);
            free(text);
        }
        snapshot = must_take(&core);
        assert_int_equal(count_everything(snapshot), accepted);
        overflowed = totals_of(must_find(snapshot, REGISTRY_OVERFLOW_NAME)).count;
        assert_int_equal(core.registry->overflowed, overflowed);
        core_drop(&core, snapshot);
        core_close(&core);
    }
}

/* The n-th allocation of one call fails, for every n; then the call succeeds. */
static void test_registry_each_allocation_may_fail(void **state)
{
    (void)state;
    struct random random = random_start("each");
    enum {
        NEW_MODEL,
        KNOWN,
        SHARED,
        NEW_SLOT,
        RESET,
        RESET_AGAIN,
        FREEZE,
        OPINION,
        NO_OPINION,
        SITUATIONS
    };
    const struct opinion old = opinion_of(BOTTLENECK_IO, RULE_EVIDENCE);
    const struct opinion fresh = opinion_of(BOTTLENECK_COMPUTE, RULE_EVIDENCE);
    for (int situation = 0; situation < SITUATIONS; situation++) {
        bool failed = true;
        for (size_t n = 1; failed; n++) {
            open_default();
            struct sample sample = random_sample(&random, "m");
            sample.has |= PART(QUEUE) | PART(TRACE_ID);
            struct snapshot *snapshot = NULL;
            struct snapshot *second = NULL;
            char *text = NULL;
            uint64_t accepted = 0;
            if (situation != NEW_MODEL) {
                for (int i = 0; i < 50; i++) {
                    must_record(&core, &sample);
                    core_move(&core, i % 10 == 0 ? CORE_SLOT_S : 0);
                    accepted += record_weight(&sample);
                }
            }
            if (situation == OPINION || situation == NO_OPINION) {
                must_set_opinion(&core, 0, &old);
            }
            if (situation == RESET_AGAIN) {
                must_reset(&core, NULL, 1);
                must_record(&core, &sample);
                accepted += record_weight(&sample);
            }
            if (situation >= SHARED) {
                snapshot = must_take(&core);
                text = describe_snapshot(snapshot, core.scratch);
            }
            if (situation == NEW_SLOT) {
                core_move(&core, 4 * CORE_SLOT_S);
            }
            int err = 0;
            int done = 0;
            uint64_t stamp = models() == 0 ? 0 : model_stamp(core.registry->models[0]);
            uint64_t window = models() == 0 ? 0 : model_window_count(core.registry->models[0]);
            mem_fail_after(n);
            switch (situation) {
            case RESET:
            case RESET_AGAIN:
                done = registry_reset(core.registry, NULL);
                err = done < 0 ? done : 0;
                break;
            case FREEZE:
                err = snapshot_take(&core.intake, &core.thresholds, core.mono_ns, core.wall_ns,
                                    &second);
                break;
            case OPINION:
            case NO_OPINION:
                err = registry_set_opinion(core.registry, 0, situation == OPINION ? &fresh : NULL);
                must_hold(0, err != 0 ? &old : situation == OPINION ? &fresh : NULL);
                break;
            default:
                err = registry_record(core.registry, &sample);
                accepted += err == 0 ? record_weight(&sample) : 0;
            }
            failed = mem_has_failed();
            mem_fail_after(0);
            if (failed && err == 0) {
                /* All that may be lost without a word is an exemplar, and that is counted. */
                assert_int_equal(core.registry->lost_exemplars, 1);
            }
            if (!failed) {
                assert_int_equal(err, 0);
            }
            if (err != 0) {
                assert_int_equal(err, ERR_NOMEM);
                assert_int_equal(core.registry->lost_exemplars, 0);
            }
            if (models() > 0 && model_window_count(core.registry->models[0]) != window) {
                assert_true(model_stamp(core.registry->models[0]) >
                            stamp); /* readers keep what they had */
            }
            if (snapshot != NULL) {
                must_stay(snapshot, text);
                core_drop(&core, snapshot);
                free(text);
            }
            if (second != NULL) {
                core_drop(&core, second);
            }
            snapshot = must_take(&core);
            assert_int_equal(count_everything(snapshot), accepted);
            core_drop(&core, snapshot);
            if (situation == RESET || situation == RESET_AGAIN) {
                must_reset(&core, NULL, err == 0 ? 0 : 1); /* it can be finished */
                assert_int_equal(count_of("m", PROFILE_ALL), 0);
                assert_int_equal(total_of("m"), accepted);
            }
            must_record(&core, &sample);
            assert_int_equal(total_of("m"), accepted + record_weight(&sample));
            core_close(&core);
        }
    }
}

/* A refused sample leaves no trace, not even an exemplar. */
static void test_registry_without_memory_keeps_no_exemplar(void **state)
{
    (void)state;
    open_default();
    struct sample sample = sample_of("m", 3);
    sample.has = PART(TRACE_ID);
    must_record(&core, &sample);
    sample.execution_time_ms = 900; /* needs another chunk of the histogram */
    bool failed = true;
    for (size_t n = 1; failed; n++) {
        mem_fail_after(n);
        int err = registry_record(core.registry, &sample);
        failed = mem_has_failed();
        mem_fail_after(0);
        assert_true(core.registry->models[0]->exemplars->bucket[8].set == (err == 0));
    }
    core_close(&core);
}

static void test_registry_init_without_memory(void **state)
{
    (void)state;
    struct registry *registry = calloc(1, sizeof *registry);
    assert_non_null(registry);
    struct registry_options options = core_options();
    mem_fail_after(1);
    assert_int_equal(registry_init(registry, &options), ERR_NOMEM);
    mem_fail_after(0);
    registry_fini(registry);
    free(registry);
}

/* --- many at once ------------------------------------------------------------------------------ */

static int record_one(struct registry *registry, const struct brief *brief)
{
    struct sample sample = record_sample(brief);
    return registry_record(registry, &sample);
}

static struct brief random_brief(struct random *random)
{
    static const char *const pool[] = {
        "m",    "model-a", "model-ab", "a name of more than 32 bytes, which nobody remembers",
        "\xff", "",        "model-b",  "model-c"};
    uint32_t at = (uint32_t)random_below(random, sizeof pool / sizeof pool[0]);
    double ms = random_below(random, 50) == 0 ? 0 : random_shape(random, SHAPE_PARETO);
    return (struct brief){.model_name = str_of(pool[at]),
                          .model_ref = random_below(random, 2) == 0 ? 0 : at + 1,
                          .has = (uint32_t)random_next(random) &
                                 (1u << SAMPLE_CPU_DURING | 1u << SAMPLE_MEMORY_AFTER),
                          .execution_time_ms = random_below(random, 500) == 0 ? RECORD_MS_MAX : ms,
                          .cpu_percent_during = 100 * random_unit(random),
                          .memory_mb_after = 512 * random_unit(random)};
}

/* The same story each time: names that come as text and by reference, known and new, good and bad,
 * past the ceiling, beside freezes, resets and new slots. What readers and senders see, as text. */
static char *tell_story(bool together)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    struct random random = random_start("briefs");
    struct registry_options options = core_options();
    struct core told;
    options.max_models = 5;
    core_open(&told, &options);
    for (unsigned round = 0; round < 3000; round++) {
        struct brief briefs[RECORD_BRIEFS_MAX];
        int errs[RECORD_BRIEFS_MAX];
        unsigned count = (unsigned)random_below(&random, RECORD_BRIEFS_MAX + 1);
        registry_begin_batch(told.registry);
        for (unsigned i = 0; i < count; i++) {
            briefs[i] = random_brief(&random);
            errs[i] = together ? 0 : record_one(told.registry, &briefs[i]);
        }
        if (together) {
            registry_record_briefs(told.registry, briefs, count, errs);
        }
        for (unsigned i = 0; i < count; i++) {
            (void)fprintf(out, "%d ", errs[i]);
        }
        if (random_below(&random, 10) == 0) {
            core_move(&told, (int64_t)random_below(&random, 2 * CORE_SLOT_S));
        }
        if (random_below(&random, 20) == 0) {
            (void)fprintf(out, "reset %d ", registry_reset(told.registry, NULL));
        }
        if (random_below(&random, 10) == 0) {
            struct snapshot *snapshot = must_take(&told);
            char *seen = describe_snapshot(snapshot, told.scratch);
            (void)fprintf(out, "%s", seen);
            free(seen);
            core_drop(&told, snapshot);
        }
    }
    core_close(&told);
    assert_int_equal(fclose(out), 0);
    return text;
}

static void test_registry_briefs_are_samples_one_after_the_other(void **state)
{
    (void)state;
    char *singly = tell_story(false);
    char *together = tell_story(true);
    assert_string_equal(singly, together);
    assert_true(strlen(singly) > 10000);
    free(singly);
    free(together);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_registry_names_are_checked),
        cmocka_unit_test(test_registry_a_name_is_all_its_bytes),
        cmocka_unit_test(test_registry_names_differ_in_any_byte),
        cmocka_unit_test(test_registry_devices_are_told_apart),
        cmocka_unit_test(test_registry_an_empty_device_is_none),
        cmocka_unit_test(test_registry_no_name_reaches_a_composed_key),
        cmocka_unit_test(test_registry_keeps_the_labels_it_is_told_to),
        cmocka_unit_test(test_registry_labels_are_checked_when_kept),
        cmocka_unit_test(test_registry_most_labels_and_longest_texts_fit),
        cmocka_unit_test(test_registry_past_the_ceiling_is_the_overflow_model),
        cmocka_unit_test(test_registry_a_maker_has_a_ceiling_of_its_own),
        cmocka_unit_test(test_registry_sample_of_weight_counts_as_so_many),
        cmocka_unit_test(test_registry_ceiling_of_one),
        cmocka_unit_test(test_registry_long_names_past_the_ceiling),
        cmocka_unit_test(test_registry_overflow_name_is_nobodys),
        cmocka_unit_test(test_registry_holds_many_models),
        cmocka_unit_test(test_registry_ceiling_goes_up_and_down),
        cmocka_unit_test(test_registry_refs_mean_what_their_batch_says),
        cmocka_unit_test(test_registry_refs_do_not_hide_devices),
        cmocka_unit_test(test_registry_refs_of_bad_names_are_refused_each_time),
        cmocka_unit_test(test_registry_window_moves_by_slots),
        cmocka_unit_test(test_registry_window_ends_without_new_samples),
        cmocka_unit_test(test_registry_time_going_back_is_ignored),
        cmocka_unit_test(test_registry_window_holds_what_it_should),
        cmocka_unit_test(test_registry_cap_keeps_the_newest),
        cmocka_unit_test(test_registry_cap_survives_a_new_slot_at_any_sample),
        cmocka_unit_test(test_registry_reset_forgets_but_metrics_do_not),
        cmocka_unit_test(test_registry_models_know_when_they_began),
        cmocka_unit_test(test_registry_reset_takes_all_label_sets_of_a_name),
        cmocka_unit_test(test_registry_reset_of_what_left_the_window),
        cmocka_unit_test(test_registry_totals_never_fall),
        cmocka_unit_test(test_registry_keeps_the_last_exemplar_of_each_bucket),
        cmocka_unit_test(test_registry_snapshots_do_not_change),
        cmocka_unit_test(test_registry_snapshots_have_a_ceiling),
        cmocka_unit_test(test_registry_held_snapshot_does_not_hold_what_came_later),
        cmocka_unit_test(test_registry_opinion_is_replaced_and_forgotten),
        cmocka_unit_test(test_registry_opinion_between_two_samples_loses_none),
        cmocka_unit_test(test_registry_evidence_tells_the_model),
        cmocka_unit_test(test_registry_without_memory_loses_only_the_sample),
        cmocka_unit_test(test_registry_each_allocation_may_fail),
        cmocka_unit_test(test_registry_without_memory_keeps_no_exemplar),
        cmocka_unit_test(test_registry_init_without_memory),
        cmocka_unit_test(test_registry_briefs_are_samples_one_after_the_other),
    };
    return cmocka_run_group_tests_name("registry", tests, core_tables, NULL);
}
