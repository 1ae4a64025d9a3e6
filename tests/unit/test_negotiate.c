#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "render/negotiate.h"

static void must_choose(const char *accept, enum exposition_format format)
{
    struct negotiated got = negotiate(accept, NULL);
    if (got.format != format) {
        fail_msg("\"%s\" gave %s", accept == NULL ? "" : accept,
                 exposition_content_types[got.format]);
    }
    assert_false(got.gzip);
}

#define must_be_text(accept)        must_choose(accept, EXPOSITION_TEXT)
#define must_be_openmetrics(accept) must_choose(accept, EXPOSITION_OPENMETRICS)
#define must_be_protobuf(accept)    must_choose(accept, EXPOSITION_PROTOBUF)

#define PROTOBUF                                                                                   \
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"

static void must_zip(const char *accept_encoding, bool gzip)
{
    if (negotiate(NULL, accept_encoding).gzip != gzip) {
        fail_msg("\"%s\" gave the wrong answer", accept_encoding == NULL ? "" : accept_encoding);
    }
}

static void test_negotiate_content_types_are_exact(void **state)
{
    (void)state;
    assert_string_equal(exposition_content_types[EXPOSITION_TEXT],
                        "text/plain; version=0.0.4; charset=utf-8");
    assert_string_equal(
        exposition_content_types[EXPOSITION_OPENMETRICS],
        "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores");
    assert_string_equal(exposition_content_types[EXPOSITION_PROTOBUF],
                        "application/vnd.google.protobuf; "
                        "proto=io.prometheus.client.MetricFamily; encoding=delimited");
}

static void test_negotiate_knows_real_scrapers(void **state)
{
    (void)state;
    /* Prometheus 2.42 */
    must_be_openmetrics("application/openmetrics-text;version=1.0.0,"
                        "application/openmetrics-text;version=0.0.1;q=0.75,"
                        "text/plain;version=0.0.4;q=0.5,*/*;q=0.1");
    /* the same with native histograms */
    must_be_protobuf(PROTOBUF ",application/openmetrics-text;version=1.0.0;q=0.8,"
                              "application/openmetrics-text;version=0.0.1;q=0.75,"
                              "text/plain;version=0.0.4;q=0.5,*/*;q=0.1");
    /* Prometheus 3 */
    must_be_openmetrics("application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
                        "application/openmetrics-text;version=0.0.1;q=0.5,"
                        "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
                        "text/plain;version=0.0.4;q=0.3,*/*;q=0.2");
    /* the same with native histograms */
    must_be_protobuf(PROTOBUF
                     ";q=0.6,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
                     "application/openmetrics-text;version=0.0.1;q=0.4,"
                     "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,"
                     "text/plain;version=0.0.4;q=0.2,*/*;q=0.1");
    /* Prometheus 2.49 to 2.55 with native histograms: no versions of escaping yet */
    must_be_protobuf(PROTOBUF ";q=0.5,application/openmetrics-text;version=1.0.0;q=0.4,"
                              "application/openmetrics-text;version=0.0.1;q=0.3,"
                              "text/plain;version=0.0.4;q=0.2,*/*;q=0.1");
    /* Prometheus 3 told to scrape text */
    must_be_text("text/plain;version=1.0.0;escaping=allow-utf-8;q=0.6,"
                 "text/plain;version=0.0.4;q=0.5,*/*;q=0.4");
    /* Prometheus before 2.31 */
    must_be_text("application/openmetrics-text; version=0.0.1,"
                 "text/plain;version=0.0.4;q=0.5,*/*;q=0.1");
    /* curl, a browser */
    must_be_text("*/*");
    must_be_text("text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8");
}

static void test_negotiate_gives_protobuf_to_those_who_name_it(void **state)
{
    (void)state;
    must_be_protobuf(PROTOBUF);
    must_be_protobuf("application/vnd.google.protobuf");
    must_be_protobuf("application/vnd.google.protobuf; Encoding=\"delimited\"; escaping=x");
    must_be_protobuf("text/plain;q=0.9," PROTOBUF ",application/openmetrics-text;q=0.9");
    must_be_protobuf("*/*," PROTOBUF);
    must_be_protobuf("application/openmetrics-text," PROTOBUF);
    must_be_text("text/plain," PROTOBUF ";q=0.9");
    must_be_openmetrics(PROTOBUF ";q=0.4,application/openmetrics-text;q=0.5");
    must_be_text(PROTOBUF ";q=0,*/*;q=0.1");
    must_be_text(PROTOBUF ";q=0");
}

static void test_negotiate_knows_one_message_in_one_encoding(void **state)
{
    (void)state;
    must_be_text("application/vnd.google.protobuf;proto=io.prometheus.client.Metric");
    must_be_text("application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;"
                 "encoding=text");
    must_be_text("application/vnd.google.protobuf;encoding=compact-text");
    must_be_text("application/vnd.google.protobuf2");
    must_be_text("application/protobuf");
    must_be_openmetrics("application/vnd.google.protobuf;encoding=text,"
                        "application/openmetrics-text;q=0.1");
}

static void test_negotiate_gives_no_protobuf_for_an_asterisk(void **state)
{
    (void)state;
    must_be_text("*/*");
    must_be_openmetrics("application/*");
    must_be_text("text/plain;q=0.1,application/openmetrics-text;q=0.1,*/*");
    must_be_text("text/plain;q=0.1,application/openmetrics-text;q=0.1,application/*;q=0.9");
}

static void test_negotiate_falls_back_to_text(void **state)
{
    (void)state;
    must_be_text(NULL);
    must_be_text("");
    must_be_text(" ,;, ;q=,,");
    must_be_text("application/json");
    must_be_text("text/plain;q=0");
    must_be_text("*/*;q=0");
    must_be_text("application/openmetrics-text;q=0");
    must_be_text("application/openmetrics-text;version=2.0.0");
    must_be_text("application/openmetrics-textual");
    must_be_text("openmetrics-text");
    must_be_text("\"application/openmetrics-text\"");
    must_be_text("application/openmetrics-text;version=\"1.0.0");
}

static void test_negotiate_prefers_the_higher_q(void **state)
{
    (void)state;
    must_be_openmetrics("text/plain;q=0.9,application/openmetrics-text");
    must_be_text("text/plain,application/openmetrics-text;q=0.9");
    must_be_openmetrics("text/plain;q=0.998,application/openmetrics-text;q=0.999");
    must_be_text("text/plain;q=0.9999,application/openmetrics-text;q=0.9991");
    must_be_openmetrics("text/plain;version=0.0.4;q=0,*/*;q=0.1");
    must_be_text("application/openmetrics-text;q=0,*/*");
}

static void test_negotiate_prefers_the_closer_range_then_the_first(void **state)
{
    (void)state;
    must_be_openmetrics("text/*,application/openmetrics-text;version=1.0.0");
    must_be_text("application/*,text/plain");
    must_be_openmetrics("*/*,application/*");
    must_be_text("text/plain,application/openmetrics-text");
    must_be_openmetrics("application/openmetrics-text,text/plain");
    must_be_text("text/*;q=0.5,application/*;q=0.4,application/*");
}

static void test_negotiate_lets_the_closest_range_speak_for_a_format(void **state)
{
    (void)state;
    must_be_text("application/openmetrics-text;version=1.0.0;q=0.1,application/*,text/plain;q=0.5");
    must_be_openmetrics("text/plain;version=0.0.4;q=0.1,text/plain,application/*;q=0.5");
}

static void test_negotiate_reads_what_the_grammar_permits(void **state)
{
    (void)state;
    must_be_openmetrics("APPLICATION/OpenMetrics-Text ; Version=1.0.0 ; Q=1.000");
    must_be_openmetrics("\tapplication/openmetrics-text;charset=\"a,b;q=0\";version=\"1.0.0\" ");
    must_be_openmetrics("text/plain;x=\"\\\",\";q=0.2,application/openmetrics-text;q=0.3");
    must_be_openmetrics("text/plain;q=0.,application/openmetrics-text;q=1.");
}

static void test_negotiate_passes_over_what_it_cannot_read(void **state)
{
    (void)state;
    must_be_text("application/openmetrics-text;q=2,text/plain;q=0.1");
    must_be_text("application/openmetrics-text;q=1.001,text/plain;q=0.1");
    must_be_text("application/openmetrics-text;q=-1,text/plain;q=0.1");
    must_be_text("application/openmetrics-text;q=high,text/plain;q=0.1");
    must_be_text("application/openmetrics-text;q=,text/plain;q=0.1");
    must_be_text("application/openmetrics-text;q=00.5,text/plain;q=0.1");
    must_be_text("application/openmetrics-text;q=0.5x,text/plain;q=0.1");
}

static void test_negotiate_zips_when_asked(void **state)
{
    (void)state;
    must_zip("gzip", true);
    must_zip("GZIP", true);
    must_zip("x-gzip", true);
    must_zip("deflate, gzip;q=1.0, *;q=0.5", true);
    must_zip("br;q=1.0, gzip;q=0.8", true);
    must_zip("gzip;q=0.001", true);
    must_zip("*", true);
    must_zip("gzip, identity", true);
}

static void test_negotiate_does_not_zip_otherwise(void **state)
{
    (void)state;
    must_zip(NULL, false);
    must_zip("", false);
    must_zip("identity", false);
    must_zip("br, deflate", false);
    must_zip("gzip;q=0", false);
    must_zip("gzip;q=0.000, *", false);
    must_zip("gzip;q=nonsense", false);
    must_zip("*;q=0", false);
    must_zip("gzip;q=0.5, identity", false);
    must_zip("gzipped", false);
}

static void must_accept_json(const char *accept, bool wanted)
{
    if (negotiate_accepts(accept, "application/json", "application/*") != wanted) {
        fail_msg("\"%s\" gave the wrong answer", accept == NULL ? "" : accept);
    }
}

static void test_negotiate_one_type_or_none(void **state)
{
    (void)state;
    must_accept_json(NULL, true);
    must_accept_json("", true);
    must_accept_json("*/*", true);
    must_accept_json("application/json", true);
    must_accept_json("Application/JSON; charset=utf-8", true);
    must_accept_json("application/*;q=0.1", true);
    must_accept_json("text/html, */*;q=0.8", true);
    must_accept_json("text/html", false);
    must_accept_json("text/plain;version=0.0.4", false);
    must_accept_json("application/json;q=0, */*", false);
    must_accept_json("*/*;q=0", false);
    must_accept_json("application/json;q=2", false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_negotiate_one_type_or_none),
        cmocka_unit_test(test_negotiate_content_types_are_exact),
        cmocka_unit_test(test_negotiate_knows_real_scrapers),
        cmocka_unit_test(test_negotiate_gives_protobuf_to_those_who_name_it),
        cmocka_unit_test(test_negotiate_knows_one_message_in_one_encoding),
        cmocka_unit_test(test_negotiate_gives_no_protobuf_for_an_asterisk),
        cmocka_unit_test(test_negotiate_falls_back_to_text),
        cmocka_unit_test(test_negotiate_prefers_the_higher_q),
        cmocka_unit_test(test_negotiate_prefers_the_closer_range_then_the_first),
        cmocka_unit_test(test_negotiate_lets_the_closest_range_speak_for_a_format),
        cmocka_unit_test(test_negotiate_reads_what_the_grammar_permits),
        cmocka_unit_test(test_negotiate_passes_over_what_it_cannot_read),
        cmocka_unit_test(test_negotiate_zips_when_asked),
        cmocka_unit_test(test_negotiate_does_not_zip_otherwise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
