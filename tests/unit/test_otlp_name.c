#include "core_helpers.h"

#include <stdio.h>

#include "collector_name.h"
#include "render/form.h"
#include "render/otlp_name.h"

enum { TEXT_MAX = 4096 };

static const char prefix[] = "acgs2.acgs2-agent-bus.";

static void must_be_text(struct buf *got, const char *wanted)
{
    assert_int_equal(got->err, 0);
    buf_char(got, '\0');
    assert_string_equal(got->data, wanted);
    buf_fini(got);
}

static void must_be_called(const struct family_shape *shape, const char *name, const char *unit)
{
    struct buf out;
    struct str got = otlp_name_unit(shape);
    buf_init(&out, TEXT_MAX);
    otlp_name_render(shape, str_of(prefix), &out);
    must_be_text(&out, name);
    assert_int_equal(got.len, strlen(unit));
    assert_memory_equal(got.ptr, unit, got.len);
}

static const char *suffix_of(enum family_type type)
{
    return type == FAMILY_COUNTER ? "_total" : type == FAMILY_INFO ? "_info" : "";
}

/* The Collector gives back what /metrics has. */
static void must_come_back(const struct family_shape *shape, const char *name, const char *unit)
{
    static const enum collector_type types[] = {COLLECTOR_COUNTER, COLLECTOR_GAUGE, COLLECTOR_OTHER,
                                                COLLECTOR_GAUGE};
    char got[COLLECTOR_NAME_MAX];
    char wanted[COLLECTOR_NAME_MAX];
    collector_name(name, unit, types[shape->type], got);
    (void)snprintf(wanted, sizeof wanted, "%.*s%s", (int)shape->name.len, shape->name.ptr,
                   suffix_of(shape->type));
    assert_string_equal(got, wanted);
}

static const struct fact {
    const char *family;
    enum family_type type;
    const char *name;
    const char *unit;
} facts[] = {
    {"http_request_duration_seconds", FAMILY_HISTOGRAM, "http_request_duration", "s"},
    {"http_requests", FAMILY_COUNTER, "http_requests", "1"},
    {"http_requests_in_progress", FAMILY_GAUGE, "http_requests_in_progress", ""},
    {"cache_size_bytes", FAMILY_GAUGE, "cache_size", "By"},
    {"acgs2_service", FAMILY_INFO, "acgs2_service_info", ""},
    {"acgs2_model_cpu_percent", FAMILY_GAUGE, "acgs2_model_cpu", "%"},
    {"acgs2_model_time_seconds", FAMILY_COUNTER, "acgs2_model_time", "s"},
    {"acgs2_model_batch_size", FAMILY_HISTOGRAM, "acgs2_model_batch_size", "1"},
    {"acgs2_model_bottleneck_confidence_ratio", FAMILY_GAUGE, "acgs2_model_bottleneck_confidence",
     "1"},
    {"dwelld_received_bytes", FAMILY_COUNTER, "dwelld_received", "By"},
    {"oven_celsius", FAMILY_GAUGE, "oven", "Cel"},
    {"fan_hertz", FAMILY_GAUGE, "fan", "Hz"},
    {"rail_volts", FAMILY_GAUGE, "rail", "V"},
    {"rail_amperes", FAMILY_GAUGE, "rail", "A"},
    {"rail_joules", FAMILY_COUNTER, "rail", "J"},
    {"rail_watts", FAMILY_GAUGE, "rail", "W"},
    {"load_grams", FAMILY_GAUGE, "load", "g"},
    {"way_meters", FAMILY_COUNTER, "way", "m"},
    /* A ratio that is no gauge, and a word that is there already. */
    {"hit_ratio", FAMILY_HISTOGRAM, "hit_ratio", "1"},
    {"hit_ratio", FAMILY_COUNTER, "hit_ratio", "1"},
    {"ratio_of_ratio", FAMILY_GAUGE, "ratio_of_ratio", ""},
    {"bytes_per_bytes", FAMILY_GAUGE, "bytes_per_bytes", "By"},
    {"bytes_per_bytes", FAMILY_COUNTER, "bytes_per_bytes", "By"},
    {"megabytes_of_bytes", FAMILY_GAUGE, "megabytes_of", "By"},
    /* No word of its own in front of the unit. */
    {"seconds", FAMILY_GAUGE, "seconds", ""},
    {"kiloseconds", FAMILY_GAUGE, "kiloseconds", ""},
    {"x_seconds_info", FAMILY_GAUGE, "x_seconds_info", ""},
    {"x_seconds", FAMILY_INFO, "x_seconds_info", ""},
    {"jobs_total", FAMILY_GAUGE, "jobs_total", ""},
    {"_2xx_seconds", FAMILY_COUNTER, "_2xx", "s"},
    {"a:b_seconds", FAMILY_GAUGE, "a:b", "s"},
    {"x", FAMILY_GAUGE, "x", ""},
};

static void test_otlp_name_of_declared_families_comes_back(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        const struct fact *fact = &facts[i];
        struct family_shape shape = {.name = str_of(fact->family),
                                     .source = str_of(fact->family),
                                     .type = fact->type,
                                     .declared = true};
        must_be_called(&shape, fact->name, fact->unit);
        must_come_back(&shape, fact->name, fact->unit);
    }
}

static void test_otlp_name_of_our_own_has_no_prefix(void **state)
{
    (void)state;
    struct family_shape shape =
        form_shape(FAMILY_HISTOGRAM, STR_LITERAL("acgs2_model_inference_latency_seconds"), "help");
    must_be_called(&shape, "acgs2_model_inference_latency", "s");
}

static void test_otlp_name_of_free_families_is_the_clients(void **state)
{
    (void)state;
    static const struct {
        const char *source;
        const char *family;
        enum family_type type;
        const char *name;
        const char *unit;
    } free_facts[] = {
        {"jobs.done", "jobs_done", FAMILY_COUNTER, "jobs.done", "1"},
        {"pool.size", "pool_size", FAMILY_GAUGE, "pool.size", ""},
        {"http.time_seconds", "http_time_seconds", FAMILY_HISTOGRAM, "http.time", "s"},
        {"http.time.seconds", "http_time_seconds", FAMILY_HISTOGRAM, "http.time", "s"},
        {"disk used-bytes", "disk_used_bytes", FAMILY_GAUGE, "disk_used", "By"},
        {"a/b.c-d", "a_b_c_d", FAMILY_GAUGE, "a/b.c-d", ""},
        {"2xx rate", "_2xx_rate", FAMILY_GAUGE, "2xx_rate", ""},
        {"模型", "__", FAMILY_GAUGE, "__", ""},
        {"模型_seconds", "___seconds", FAMILY_GAUGE, "__", "s"},
        {"build", "build", FAMILY_INFO, "build_info", ""},
        {"x:y", "x:y", FAMILY_GAUGE, "x_y", ""},
    };
    for (size_t i = 0; i < sizeof free_facts / sizeof free_facts[0]; i++) {
        char name[256];
        struct family_shape shape = {.name = str_of(free_facts[i].family),
                                     .source = str_of(free_facts[i].source),
                                     .type = free_facts[i].type};
        (void)snprintf(name, sizeof name, "%s%s", prefix, free_facts[i].name);
        must_be_called(&shape, name, free_facts[i].unit);
    }
}

static void test_otlp_name_prefix_is_namespace_and_service(void **state)
{
    (void)state;
    static const struct {
        const char *name_space;
        const char *service;
        const char *wanted;
    } prefixes[] = {
        {"acgs2", "acgs2-agent-bus", "acgs2.acgs2-agent-bus."},
        {"", "billing", "billing."},
        {"x_y", "a service/模 \"1\"", "x_y.a_service/___1_."},
    };
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
        struct buf out;
        buf_init(&out, TEXT_MAX);
        otlp_name_prefix(str_of(prefixes[i].name_space), str_of(prefixes[i].service), &out);
        must_be_text(&out, prefixes[i].wanted);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_otlp_name_of_declared_families_comes_back),
        cmocka_unit_test(test_otlp_name_of_our_own_has_no_prefix),
        cmocka_unit_test(test_otlp_name_of_free_families_is_the_clients),
        cmocka_unit_test(test_otlp_name_prefix_is_namespace_and_service),
    };
    return cmocka_run_group_tests_name("otlp_name", tests, note_memory, must_be_clean);
}
