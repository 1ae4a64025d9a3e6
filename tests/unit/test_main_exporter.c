/* From the configuration to a target and a module, with files as they may be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "io/system.h"
#include "io/export/transport_load.h"
#include "main/exporter.h"

enum { TEXT_MAX = 1 << 16, PATH_BYTES = 256 };

static char directory[] = "/tmp/dwell-test-XXXXXX";
static struct conf conf;
static struct export_target target;
static struct buf problem;

static int set_up(void **state)
{
    (void)state;
    memcpy(strrchr(directory, '-'), "-XXXXXX", 7);
    buf_init(&problem, TEXT_MAX);
    return mkdtemp(directory) == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
    (void)state;
    conf_fini(&conf);
    buf_fini(&problem);
    return rmdir(directory); /* fails when a test has left something */
}

static const char *path_of(const char *name)
{
    static char path[PATH_BYTES];
    (void)snprintf(path, sizeof path, "%s/%s", directory, name);
    return path;
}

static void write_file(const char *name, const char *text, size_t len)
{
    FILE *file = fopen(path_of(name), "we");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
}

static void remove_file(const char *name)
{
    assert_int_equal(unlink(path_of(name)), 0);
}

/* Sets end with NULL. "%" stands for the directory. */
static void configure(const char *const *sets)
{
    char texts[8][PATH_BYTES * 2];
    const char *all[8];
    struct conf_sources sources = {.sets = all};
    struct buf errors;
    struct buf warnings;
    buf_init(&errors, TEXT_MAX);
    buf_init(&warnings, TEXT_MAX);
    conf_fini(&conf);
    for (; sets[sources.set_count] != NULL; sources.set_count++) {
        const char *set = sets[sources.set_count];
        const char *mark = strchr(set, '%');
        all[sources.set_count] = set;
        if (mark != NULL) {
            (void)snprintf(texts[sources.set_count], sizeof texts[0], "%.*s%s%s", (int)(mark - set),
                           set, directory, mark + 1);
            all[sources.set_count] = texts[sources.set_count];
        }
    }
    assert_int_equal(conf_load(&conf, &sources, &errors, &warnings), 0);
    buf_fini(&errors);
    buf_fini(&warnings);
}

#define CONFIGURE(...) configure((const char *const[]){__VA_ARGS__, NULL})

static void make_target(int err)
{
    buf_clear(&problem);
    assert_int_equal(export_target_init(&target, &conf, &conf.otlp.of_traces, &problem), err);
}

static void must_complain(int err, const char *wanted)
{
    char text[TEXT_MAX];
    make_target(err);
    (void)snprintf(text, sizeof text, "%.*s", (int)problem.len, problem.data);
    if (strstr(text, wanted) == NULL) {
        fail_msg("\"%s\" is not in \"%s\"", wanted, text);
    }
    assert_null(strstr(text, "s3cr3t"));
    export_target_fini(&target);
}

static void test_main_exporter_wants_a_signal_with_an_endpoint(void **state)
{
    (void)state;
    static const struct {
        const char *first, *second;
        bool wants;
    } rows[] = {
        {"otlp.traces=true", "otlp.batch=true", false},
        {"otlp.traces=true", "otlp.endpoint=http://x", true},
        {"otlp.traces=false", "otlp.endpoint=http://x", false},
        {"otlp.traces=true", "otlp.traces_endpoint=http://x", true},
        {"otlp.traces=true", "otlp.metrics_endpoint=http://x", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        CONFIGURE(rows[i].first, rows[i].second);
        assert_int_equal(main_exporter_wants(&conf, conf.otlp.traces, &conf.otlp.of_traces),
                         rows[i].wants);
    }
}

static void test_main_exporter_knows_who_wants_tls(void **state)
{
    (void)state;
    static const struct {
        const char *endpoint, *insecure, *of_traces, *address;
        bool tls;
    } rows[] = {
        {"http://h", "false", "inherit", "h:4317", false},
        {"http://h:1", "false", "false", "h:1", false}, /* the scheme decides */
        {"https://h:1", "true", "true", "h:1", true},
        {"h:1", "false", "inherit", "h:1", true},
        {"h:1", "true", "inherit", "h:1", false},
        {"h:1", "true", "false", "h:1", true},
        {"h:1", "false", "true", "h:1", false},
        {"unix:///x", "false", "inherit", "unix:///x", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char sets[3][PATH_BYTES];
        (void)snprintf(sets[0], PATH_BYTES, "otlp.endpoint=%s", rows[i].endpoint);
        (void)snprintf(sets[1], PATH_BYTES, "otlp.insecure=%s", rows[i].insecure);
        (void)snprintf(sets[2], PATH_BYTES, "otlp.traces_insecure=%s", rows[i].of_traces);
        CONFIGURE(sets[0], sets[1], sets[2]);
        make_target(0);
        assert_string_equal(target.transport.address, rows[i].address);
        assert_int_equal(target.transport.tls, rows[i].tls);
        export_target_fini(&target);
    }
}

static void test_main_exporter_lets_a_signal_have_its_own(void **state)
{
    (void)state;
    CONFIGURE("otlp.endpoint=http://all:1", "otlp.headers={\"a\": \"1\", \"b\": \"2\"}",
              "otlp.compression=gzip", "otlp.timeout_ms=5");
    make_target(0);
    assert_string_equal(target.transport.address, "all:1");
    assert_int_equal(target.transport.header_count, 2);
    assert_string_equal(target.transport.headers[1].value, "2");
    assert_true(target.transport.gzip);
    assert_int_equal(target.timeout_ms, 5);
    export_target_fini(&target);
    CONFIGURE("otlp.endpoint=http://all:1", "otlp.traces_endpoint=http://own:2",
              "otlp.headers={\"a\": \"1\", \"b\": \"2\"}", "otlp.traces_headers={\"c\": \"3\"}",
              "otlp.compression=gzip", "otlp.traces_compression=none", "otlp.traces_timeout_ms=6");
    make_target(0);
    assert_string_equal(target.transport.address, "own:2");
    assert_int_equal(target.transport.header_count, 1);
    assert_string_equal(target.transport.headers[0].name, "c");
    assert_false(target.transport.gzip);
    assert_int_equal(target.timeout_ms, 6);
    export_target_fini(&target);
}

static void test_main_exporter_reads_headers_from_a_file(void **state)
{
    (void)state;
    static const char text[] = "# keys\n\n  authorization = Bearer a=b \r\nempty=\n\tx\t=\ty";
    write_file("headers", text, sizeof text - 1);
    CONFIGURE("otlp.endpoint=http://h", "otlp.headers={\"a\": \"1\"}",
              "otlp.headers_file=%/headers");
    make_target(0);
    static const char *const wanted[] = {"a", "1", "authorization", "Bearer a=b", "empty", "",
                                         "x", "y"};
    assert_int_equal(target.transport.header_count, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_string_equal(target.transport.headers[i].name, wanted[2 * i]);
        assert_string_equal(target.transport.headers[i].value, wanted[2 * i + 1]);
    }
    export_target_fini(&target);
    remove_file("headers");
}

static void test_main_exporter_tells_no_secret_of_a_bad_file(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t len;
        const char *complaint;
    } rows[] = {
        {"a=b\ns3cr3t\n", 11, "line 2: expects key=value"},
        {"=s3cr3t\n", 8, "line 1: expects key=value"},
        {"a=s3cr3t\0x\n", 11, "line 1: expects key=value"},
    };
    CONFIGURE("otlp.endpoint=http://h", "otlp.headers_file=%/headers");
    must_complain(ERR_SYSTEM, "headers: No such file");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        write_file("headers", rows[i].text, rows[i].len);
        must_complain(ERR_SYNTAX, rows[i].complaint);
    }
    write_file("headers", "", 0);
    make_target(0);
    assert_int_equal(target.transport.header_count, 0);
    export_target_fini(&target);
    remove_file("headers");
}

static void test_main_exporter_takes_so_many_headers(void **state)
{
    (void)state;
    struct buf text;
    buf_init(&text, TEXT_MAX);
    for (int i = 0; i < TRANSPORT_HEADERS_MAX; i++) {
        buf_puts(&text, "a=b\n");
    }
    write_file("headers", text.data, text.len);
    CONFIGURE("otlp.endpoint=http://h", "otlp.headers_file=%/headers");
    make_target(0);
    assert_int_equal(target.transport.header_count, TRANSPORT_HEADERS_MAX);
    export_target_fini(&target);
    buf_puts(&text, "a=b");
    write_file("headers", text.data, text.len);
    must_complain(ERR_SYNTAX, "line 129: expects key=value, 128 of them at most");
    buf_fini(&text);
    remove_file("headers");
}

static void test_main_exporter_reads_certificates(void **state)
{
    (void)state;
    write_file("ca", "CA", 2);
    write_file("c", "C", 1);
    write_file("k", "KEY", 3);
    CONFIGURE("otlp.endpoint=https://h", "otlp.certificate=/nowhere",
              "otlp.traces_certificate=%/ca", "otlp.client_certificate=%/c", "otlp.client_key=%/k");
    make_target(0);
    assert_true(str_is(target.transport.authorities, "CA"));
    assert_true(str_is(target.transport.client_certificate, "C"));
    assert_true(str_is(target.transport.client_key, "KEY"));
    export_target_fini(&target);
    CONFIGURE("otlp.endpoint=http://h", "otlp.certificate=/nowhere"); /* not needed */
    make_target(0);
    assert_int_equal(target.transport.authorities.len, 0);
    export_target_fini(&target);
    CONFIGURE("otlp.endpoint=https://h", "otlp.certificate=%/nowhere");
    must_complain(ERR_SYSTEM, "otlp.certificate: ");
    CONFIGURE("otlp.endpoint=https://h", "otlp.client_certificate=%/c");
    must_complain(ERR_SYNTAX, "one is of no use without the other");
    CONFIGURE("otlp.endpoint=https://h", "otlp.client_key=%/k");
    must_complain(ERR_SYNTAX, "one is of no use without the other");
    remove_file("ca");
    remove_file("c");
    remove_file("k");
}

/* --- the module -------------------------------------------------------------------------------- */

static void must_not_load(bool tls, const char *wanted)
{
    buf_clear(&problem);
    assert_null(transport_load(directory, tls, &problem));
    buf_char(&problem, '\0');
    if (strstr(problem.data, wanted) == NULL) {
        fail_msg("\"%s\" is not in \"%s\"", wanted, problem.data);
    }
}

static void test_main_exporter_says_what_a_module_lacks(void **state)
{
    (void)state;
    must_not_load(true, "dwell_otlp.so cannot be opened from /tmp/");
    must_not_load(true, "libgrpc29");
    must_not_load(false, "neither dwell_otlp_insecure.so nor dwell_otlp.so");
    write_file("dwell_otlp.so", "garbage", 7);
    must_not_load(true, "dwell_otlp.so: file too short");
    remove_file("dwell_otlp.so");
    char *library = realpath(TEST_BUILD "/libdwell.so", NULL);
    assert_non_null(library);
    assert_int_equal(symlink(library, path_of("dwell_otlp.so")), 0);
    free(library);
    must_not_load(true, "dwell_otlp.so is of another version of dwelld");
    remove_file("dwell_otlp.so");
}

static void test_main_exporter_goes_on_without_a_module(void **state)
{
    (void)state;
    static const char *const endpoints[] = {"otlp.endpoint=http://localhost:1",
                                            "otlp.endpoint=https://localhost:1"};
    struct otlp_resource_options resource = {.service_name = STR_LITERAL("s")};
    struct clock clock = system_clock();
    struct exporter *exporter;
    struct export_view view;
    for (size_t i = 0; i < 2; i++) {
        CONFIGURE(endpoints[i], "otlp.module_directory=%");
        assert_int_equal(main_exporter_start(&conf, &resource, &clock, &exporter), 0);
        assert_non_null(exporter);
        exporter_add_span(exporter, (struct str){NULL, 0}, (struct str){NULL, 0});
        exporter_view(exporter, &view);
        assert_int_equal(view.loaded, 0);
        assert_int_equal(view.dropped[EXPORT_DROP_NO_EXPORTER], 1);
        exporter_close(exporter);
    }
    CONFIGURE("otlp.endpoint=https://localhost:1", "otlp.certificate=%/nowhere");
    assert_int_equal(main_exporter_start(&conf, &resource, &clock, &exporter), 0);
    exporter_view(exporter, &view);
    assert_int_equal(view.loaded, 0);
    exporter_close(exporter);
    CONFIGURE("otlp.traces=true");
    assert_int_equal(main_exporter_start(&conf, &resource, &clock, &exporter), 0);
    assert_null(exporter);
}

static void test_main_exporter_does_the_same_for_metrics(void **state)
{
    (void)state;
    static const struct {
        const char *first, *second;
        bool is_there;
    } rows[] = {
        {"otlp.endpoint=http://localhost:1", "otlp.metrics=true", true},
        {"otlp.endpoint=http://localhost:1", "otlp.metrics=false", false},
        {"otlp.metrics_endpoint=http://localhost:1", "otlp.metrics=true", true},
        {"otlp.traces_endpoint=http://localhost:1", "otlp.metrics=true", false},
    };
    struct otlp_resource_options resource = {.service_name = STR_LITERAL("s")};
    struct clock clock = system_clock();
    struct registry registry = {.options = {.label_key_count = 0}};
    struct handover handover;
    struct thresholds thresholds = {0};
    uv_loop_t loop;
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(handover_start(&handover, &loop, NULL, &thresholds, &clock), 0);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct self self = {0};
        struct main_metrics daemon = {&resource, &registry, &handover, &self, 1, false};
        struct metric_exporter *exporter;
        struct self_view view;
        CONFIGURE(rows[i].first, rows[i].second, "otlp.module_directory=%");
        assert_int_equal(main_metric_exporter_start(&conf, &daemon, &clock, &exporter), 0);
        assert_int_equal(exporter != NULL, rows[i].is_there);
        self_view(&self, &view);
        assert_int_equal(view.process.export_count, rows[i].is_there);
        if (exporter != NULL) {
            assert_string_equal(view.exports[0].signal, "metrics");
            assert_int_equal(view.exports[0].loaded, 0);
        }
        metric_exporter_close(exporter);
    }
    uv_close((uv_handle_t *)&handover.async, NULL);
    uv_close((uv_handle_t *)&handover.sweeper, NULL);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_main_exporter_wants_a_signal_with_an_endpoint),
        TEST(test_main_exporter_knows_who_wants_tls),
        TEST(test_main_exporter_lets_a_signal_have_its_own),
        TEST(test_main_exporter_reads_headers_from_a_file),
        TEST(test_main_exporter_tells_no_secret_of_a_bad_file),
        TEST(test_main_exporter_takes_so_many_headers),
        TEST(test_main_exporter_reads_certificates),
        TEST(test_main_exporter_says_what_a_module_lacks),
        TEST(test_main_exporter_goes_on_without_a_module),
        TEST(test_main_exporter_does_the_same_for_metrics),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
