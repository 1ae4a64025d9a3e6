/* From configurations to files and ports. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "main/sandbox.h"
#include "mem_fault.h"

enum { TEXT_MAX = 1 << 14, PATH_BYTES = 128, SETS_MAX = 8 };

static struct conf conf;
static struct main_sandbox_needs needs;
static char *environment_none[] = {NULL};
static char **environment = environment_none;

/* Sets end with NULL. */
static void configure(const char *const *sets)
{
    struct conf_sources sources = {.sets = sets};
    struct buf errors;
    struct buf warnings;
    buf_init(&errors, TEXT_MAX);
    buf_init(&warnings, TEXT_MAX);
    while (sets[sources.set_count] != NULL) {
        sources.set_count++;
    }
    conf_fini(&conf);
    assert_int_equal(conf_load(&conf, &sources, &errors, &warnings), 0);
    buf_fini(&errors);
    buf_fini(&warnings);
}

/* What a configuration needs; `file_name` may be NULL. */
static void find(const char *file_name, const char *const *sets)
{
    main_sandbox_needs_fini(&needs);
    configure(sets);
    assert_int_equal(main_sandbox_needs_init(&needs, &conf, file_name, "/run/dwell", environment),
                     0);
}

#define FIND(file_name, ...) find(file_name, (const char *const[]){__VA_ARGS__, NULL})

static const struct sandbox_place *place(const char *path)
{
    for (size_t i = 0; i < needs.place_count; i++) {
        if (strcmp(needs.places[i].path, path) == 0) {
            return &needs.places[i];
        }
    }
    return NULL;
}

static void must_read(const char *path)
{
    const struct sandbox_place *found = place(path);
    if (found == NULL || found->may_write) {
        fail_msg("%s is %s", path, found == NULL ? "missing" : "written to");
    }
}

static void must_write(const char *path)
{
    const struct sandbox_place *found = place(path);
    if (found == NULL || !found->may_write) {
        fail_msg("%s is %s", path, found == NULL ? "missing" : "only read");
    }
}

static int tear_down(void **state)
{
    (void)state;
    main_sandbox_needs_fini(&needs);
    conf_fini(&conf);
    environment = environment_none;
    return 0;
}

static void test_main_sandbox_of_defaults_writes_to_the_sockets_alone(void **state)
{
    (void)state;
    FIND(NULL, "log.level=info");
    must_read("/etc");
    must_read("/proc");
    must_read("/usr");
    must_write("/run/dwell");
    unsigned written = 0;
    for (size_t i = 0; i < needs.place_count; i++) {
        written += needs.places[i].may_write;
    }
    assert_int_equal(written, 1);
    assert_null(place("/"));
    assert_null(place("/tmp"));
    assert_int_equal(needs.ports.count, 0);
    assert_false(needs.ports.all);
}

static void test_main_sandbox_reads_where_files_lie(void **state)
{
    (void)state;
    FIND("/srv/conf/dwelld.json", "metrics.families_file=/srv/families/f.json",
         "otlp.headers_file=/srv/headers/h", "otlp.certificate=/srv/ca/ca.pem",
         "otlp.client_certificate=/srv/certificate/c.pem", "otlp.client_key=/srv/key/k.pem");
    must_read("/srv/conf");
    must_read("/srv/families");
    must_read("/srv/headers");
    must_read("/srv/ca");
    must_read("/srv/certificate");
    must_read("/srv/key");
    FIND("dwelld.json", "otlp.traces_certificate=/srv/traces/ca.pem",
         "otlp.metrics_client_key=/k.pem", "otlp.module_directory=/srv/lib");
    must_read(".");
    must_read("/srv/traces");
    must_read("/");
    must_read("/srv/lib");
}

static void test_main_sandbox_writes_where_it_keeps_something(void **state)
{
    (void)state;
    FIND(NULL, "otlp.spool_directory=/var/spool/dwell", "journal.directory=/var/lib/dwell/journal",
         "state.file=/var/lib/state");
    must_write("/var/spool/dwell");
    must_write("/var/lib/dwell/journal");
    must_write("/var/lib");
    assert_null(place("/var/spool"));
    /* A directory that may be made later is the nearest one that is there, until then. */
    FIND(NULL, "state.file=/var/lib/no-such-place/nor-this/state");
    must_write("/var/lib");
    assert_null(place("/"));
    FIND(NULL, "state.file=no-such-place/state");
    must_write(".");
}

/* As Kubernetes mounts a configuration. */
static void test_main_sandbox_follows_links(void **state)
{
    (void)state;
    char root[] = "/tmp/dwell-test-XXXXXX";
    char link[PATH_BYTES];
    assert_non_null(mkdtemp(root));
    (void)snprintf(link, sizeof link, "%s/dwelld.json", root);
    assert_int_equal(symlink("/etc/passwd", link), 0);
    FIND(link, "log.level=info");
    must_read(root);
    unsigned etc = 0;
    for (size_t i = 0; i < needs.place_count; i++) {
        etc += strcmp(needs.places[i].path, "/etc") == 0;
    }
    assert_true(etc >= 2);
    assert_int_equal(unlink(link), 0);
    assert_int_equal(rmdir(root), 0);
}

/* --- ports ------------------------------------------------------------------------------------- */

static void must_connect(uint16_t first, uint16_t second, size_t count)
{
    assert_int_equal(needs.ports.count, count);
    assert_ptr_equal(needs.ports.ports, needs.port_numbers);
    assert_int_equal(needs.port_numbers[0], first);
    assert_int_equal(needs.port_numbers[1], second);
    assert_int_equal(needs.port_numbers[count - 1], 53);
}

static void test_main_sandbox_connects_to_endpoints(void **state)
{
    (void)state;
    FIND(NULL, "otlp.endpoint=http://collector");
    must_connect(4317, 4317, 3);
    FIND(NULL, "otlp.endpoint=http://collector:14317", "otlp.metrics=false");
    must_connect(14317, 53, 2);
    FIND(NULL, "otlp.traces_endpoint=https://[::1]:65535", "otlp.metrics_endpoint=collector:1");
    must_connect(65535, 1, 3);
    FIND(NULL, "otlp.endpoint=unix:/run/collector.sock");
    assert_int_equal(needs.ports.count, 0);
    FIND(NULL, "otlp.endpoint=http://collector", "otlp.traces=false", "otlp.metrics=false");
    assert_int_equal(needs.ports.count, 0);
}

static void test_main_sandbox_leaves_ports_to_a_proxy(void **state)
{
    (void)state;
    char *with_proxy[] = {(char[]){"https_proxy=http://proxy:3128"}, NULL};
    environment = with_proxy;
    FIND(NULL, "otlp.endpoint=http://collector");
    assert_true(needs.ports.all);
    FIND(NULL, "log.level=info");
    assert_false(needs.ports.all);
}

/* --- ceilings ---------------------------------------------------------------------------------- */

static void test_main_sandbox_has_room_for_every_option(void **state)
{
    (void)state;
    FIND("/etc/passwd", "metrics.families_file=/etc/group", "otlp.headers_file=/etc/hosts",
         "otlp.certificate=/etc/passwd", "otlp.client_certificate=/etc/passwd",
         "otlp.client_key=/etc/passwd", "otlp.spool_directory=/x", "state.file=/etc/passwd");
    assert_true(needs.place_count + 12 < MAIN_SANDBOX_PLACES_MAX); /* two of each of a signal's */
}

static void test_main_sandbox_without_memory(void **state)
{
    (void)state;
    configure((const char *const[]){"state.file=/var/lib/dwell/state", NULL});
    main_sandbox_needs_fini(&needs);
    size_t before = mem_count_live();
    int err = ERR_NOMEM;
    for (size_t n = 1; err != 0; n++) {
        mem_fail_after(n);
        err = main_sandbox_needs_init(&needs, &conf, "/srv/dwelld.json", "/run/dwell", environment);
        assert_true(err == ERR_NOMEM || !mem_has_failed());
        main_sandbox_needs_fini(&needs);
        assert_int_equal(mem_count_live(), before);
        mem_fail_after(0);
    }
}

#define TEST(name) cmocka_unit_test_teardown(name, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_main_sandbox_of_defaults_writes_to_the_sockets_alone),
        TEST(test_main_sandbox_reads_where_files_lie),
        TEST(test_main_sandbox_writes_where_it_keeps_something),
        TEST(test_main_sandbox_follows_links),
        TEST(test_main_sandbox_connects_to_endpoints),
        TEST(test_main_sandbox_leaves_ports_to_a_proxy),
        TEST(test_main_sandbox_has_room_for_every_option),
        TEST(test_main_sandbox_without_memory),
    };
    return cmocka_run_group_tests_name("main_sandbox", tests, NULL, NULL);
}
