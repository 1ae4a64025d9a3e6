#include "cli_golden.h"

#include "base/err.h"
#include "cli/finding.h"
#include "mem_fault.h"

static struct findings findings;

static void must_render(size_t columns, const char *wanted)
{
    struct buf styled;
    struct buf shown;
    struct terminal terminal = {.utf8 = true};
    buf_init(&styled, CLI_BYTES_MAX);
    buf_init(&shown, CLI_BYTES_MAX);
    findings_render(&findings, columns, &styled);
    assert_int_equal(styled.err, 0);
    terminal_render(&terminal, (struct str){styled.data, styled.len}, &shown);
    buf_char(&shown, '\0');
    assert_string_equal(shown.data, wanted);
    buf_fini(&styled);
    buf_fini(&shown);
}

static void add_three(void)
{
    finding_say(finding_add(&findings, "place"), "/run/dwell, named by --dir");
    struct finding *finding = finding_add(&findings, "ingest.sock");
    finding_say(finding, "nobody listens: it is left of a daemon");
    finding_mend(finding, FINDING_FAIL, "Start dwelld: it replaces what nobody listens on");
    finding = finding_add(&findings, "memory");
    finding_say(finding, "the cgroup does not tell");
    finding->state = FINDING_UNKNOWN;
}

static void test_cli_findings_are_rows_and_a_sum(void **state)
{
    (void)state;
    findings_init(&findings, true);
    assert_true(findings_are_well(&findings));
    add_three();
    assert_false(findings_are_well(&findings));
    must_render(TEXT_COLUMNS_MAX,
                "STATE    CHECK         FOUND\n"
                "ok       place         /run/dwell, named by --dir\n"
                "fail     ingest.sock   nobody listens: it is left of a daemon\n"
                "                       → Start dwelld: it replaces what nobody listens on\n"
                "unknown  memory        the cgroup does not tell\n"
                "\n"
                "1 thing to mend. 1 could not be looked at.\n");
    findings_fini(&findings);
}

static void test_cli_findings_wrap(void **state)
{
    (void)state;
    findings_init(&findings, true);
    add_three();
    must_render(43, "STATE    CHECK         FOUND\n"
                    "ok       place         /run/dwell, named by\n"
                    "                       --dir\n"
                    "fail     ingest.sock   nobody listens: it\n"
                    "                       is left of a daemon\n"
                    "                       → Start dwelld: it\n"
                    "                         replaces what\n"
                    "                         nobody listens on\n"
                    "unknown  memory        the cgroup does not\n"
                    "                       tell\n"
                    "\n"
                    "1 thing to mend. 1 could not be looked at.\n");
    must_render(24, "STATE    CHECK\n"
                    "ok       place\n"
                    "  /run/dwell, named by\n"
                    "  --dir\n"
                    "fail     ingest.sock\n"
                    "  nobody listens: it is\n"
                    "  left of a daemon\n"
                    "  → Start dwelld: it\n"
                    "    replaces what nobody\n"
                    "    listens on\n"
                    "unknown  memory\n"
                    "  the cgroup does not\n"
                    "  tell\n"
                    "\n"
                    "1 thing to mend. 1 could not be looked at.\n");
    findings_fini(&findings);
}

static void test_cli_findings_show_foreign_text_as_it_may_be_shown(void **state)
{
    (void)state;
    for (int utf8 = 0; utf8 <= 1; utf8++) {
        findings_init(&findings, utf8 == 1);
        struct finding *finding = finding_add(&findings, "place");
        finding_say(finding, "%s", "a\n\x1b[2J\xff é");
        finding_mend(finding, FINDING_WARN, "rm %s", "\\n\x01");
        struct str found = {finding->found.data, finding->found.len};
        struct str mend = {finding->mend.data, finding->mend.len};
        assert_true(str_is(found, utf8 == 1 ? "a\\n\\x1b[2J\\xff é" : "a\\n\\x1b[2J\\xff \\u00e9"));
        assert_true(str_is(mend, "rm \\\\n\\x01"));
        findings_fini(&findings);
    }
}

static void test_cli_findings_as_json(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, CLI_BYTES_MAX);
    findings_init(&findings, true);
    add_three();
    findings_render_json(&findings, &out);
    json_t *got = json_loadb(out.data, out.len, 0, NULL);
    json_t *wanted = json_pack(
        "{s:b, s:[{s:s, s:s, s:s, s:n}, {s:s, s:s, s:s, s:s}, {s:s, s:s, s:s, s:n}]}", "well", 0,
        "checks", "name", "place", "state", "ok", "found", "/run/dwell, named by --dir", "mend",
        "name", "ingest.sock", "state", "fail", "found", "nobody listens: it is left of a daemon",
        "mend", "Start dwelld: it replaces what nobody listens on", "name", "memory", "state",
        "unknown", "found", "the cgroup does not tell", "mend");
    assert_non_null(wanted);
    assert_true(json_equal(got, wanted));
    json_decref(got);
    json_decref(wanted);
    buf_fini(&out);
    findings_fini(&findings);
}

static void test_cli_findings_have_a_ceiling(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, CLI_BYTES_MAX);
    findings_init(&findings, true);
    for (int i = 0; i < FINDINGS_MAX; i++) {
        finding_say(finding_add(&findings, "row"), "%d", i);
    }
    assert_false(findings.is_cut);
    finding_mend(finding_add(&findings, "row"), FINDING_FAIL, "left out");
    finding_mend(finding_add(&findings, "row"), FINDING_FAIL, "left out");
    assert_int_equal(findings.count, FINDINGS_MAX);
    findings_render(&findings, TEXT_COLUMNS_MAX, &out);
    buf_char(&out, '\0');
    assert_non_null(strstr(out.data, "More was found than is shown."));
    assert_null(strstr(out.data, "left out"));
    buf_fini(&out);
    findings_fini(&findings);
}

/* Whatever a daemon has for a name: the row is cut, and the rest is there. */
static void test_cli_findings_cut_what_is_too_long(void **state)
{
    (void)state;
    static char text[FINDING_TEXT_MAX + 100];
    struct buf out;
    memset(text, 'x', sizeof text - 1);
    buf_init(&out, CLI_BYTES_MAX);
    findings_init(&findings, true);
    struct finding *finding = finding_add(&findings, "clients");
    for (int i = 0; i < 2; i++) {
        finding_say(finding, "%.*s ", FINDING_TEXT_MAX / 2 + 1, text);
    }
    finding_say(finding_add(&findings, "version"), "%s", text);
    finding_say(finding_add(&findings, "records"), "none");
    findings_render(&findings, TEXT_COLUMNS_MAX, &out);
    assert_int_equal(out.err, 0);
    buf_char(&out, '\0');
    const char *first = strstr(out.data, "x …\n"); /* of the clients, and of the version */
    assert_non_null(first);
    assert_non_null(strstr(first + 1, "x …\n"));
    assert_non_null(strstr(out.data, "records       none\n"));
    assert_true(out.len < 3 * FINDING_TEXT_MAX);
    buf_clear(&out);
    findings_render_json(&findings, &out);
    assert_int_equal(out.err, 0);
    buf_fini(&out);
    findings_fini(&findings);
}

static void test_cli_findings_tell_that_memory_is_out(void **state)
{
    (void)state;
    bool failed = true;
    for (size_t n = 1; failed; n++) {
        struct buf out;
        buf_init(&out, CLI_BYTES_MAX);
        mem_fail_after(n);
        findings_init(&findings, true);
        add_three();
        findings_render(&findings, TEXT_COLUMNS_MAX, &out);
        failed = mem_has_failed();
        mem_fail_after(0);
        assert_int_equal(out.err == ERR_NOMEM, failed);
        buf_fini(&out);
        findings_fini(&findings);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cli_findings_are_rows_and_a_sum),
        cmocka_unit_test(test_cli_findings_wrap),
        cmocka_unit_test(test_cli_findings_show_foreign_text_as_it_may_be_shown),
        cmocka_unit_test(test_cli_findings_as_json),
        cmocka_unit_test(test_cli_findings_have_a_ceiling),
        cmocka_unit_test(test_cli_findings_cut_what_is_too_long),
        cmocka_unit_test(test_cli_findings_tell_that_memory_is_out),
    };
    must_use_locale("C.UTF-8");
    return cmocka_run_group_tests_name("cli_finding", tests, NULL, NULL);
}
