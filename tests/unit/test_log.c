/* Log lines as they reach the descriptor: their form, that nobody can forge one, and limits. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#include "base/log.h"
#include "mem_fault.h"

static uint64_t mono;
static uint64_t wall;

static uint64_t read_mono(void *ctx)
{
    (void)ctx;
    return mono;
}

static uint64_t read_wall(void *ctx)
{
    (void)ctx;
    return wall;
}

static int file = -1;

static void start_with(const struct log_options *more)
{
    assert_int_equal(ftruncate(file, 0), 0);
    assert_int_equal(lseek(file, 0, SEEK_SET), 0);
    mono = 0;
    wall = 1769860800123456789; /* 2026-01-31T12:00:00.123Z */
    struct log_options options = *more;
    options.fd = file;
    options.hash = "cdd01ef066bc6cf2";
    options.clock = (struct clock){.mono_ns = read_mono, .wall_ns = read_wall};
    log_init(&options);
}

static void start(enum log_level level, enum log_format format)
{
    start_with(&(struct log_options){.level = level, .format = format});
}

/* Everything written since the last call. */
static char *written(void)
{
    static char text[1 << 20];
    ssize_t len = pread(file, text, sizeof text - 1, 0);
    assert_true(len >= 0);
    text[len] = '\0';
    assert_int_equal(ftruncate(file, 0), 0);
    assert_int_equal(lseek(file, 0, SEEK_SET), 0);
    return text;
}

static void must_have_written(const char *expected)
{
    assert_string_equal(written(), expected);
}

#define HEAD "[cdd01ef066bc6cf2] 2026-01-31T12:00:00.123Z "

static void must_show(const char *message, const char *shown)
{
    log_info("%s", message);
    char expected[1024];
    (void)snprintf(expected, sizeof expected, HEAD "info %s\n", shown);
    must_have_written(expected);
}

static void test_log_writes_nothing_before_it_is_set_up(void **state)
{
    (void)state;
    assert_false(log_enabled(LOG_LEVEL_ERROR));
    log_error("nobody hears this");
}

static void test_log_lines_have_hash_time_level_and_message(void **state)
{
    (void)state;
    start(LOG_LEVEL_DEBUG, LOG_FORMAT_TEXT);
    log_error("a %d", 1);
    log_warning("b");
    log_info("listening on %s", "127.0.0.1:9847");
    log_debug("%s", "");
    must_have_written(HEAD "error a 1\n" HEAD "warning b\n" HEAD
                           "info listening on 127.0.0.1:9847\n" HEAD "debug \n");
}

static void test_log_writes_json_that_a_library_reads(void **state)
{
    (void)state;
    start(LOG_LEVEL_INFO, LOG_FORMAT_JSON);
    log_info("a \"quoted\" \\ name\n\x1b\xff é");
    char *line = written();
    assert_memory_equal(line, "{\"constitutional_hash\":\"cdd01ef066bc6cf2\"", 41);
    assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
    json_t *json = json_loads(line, 0, NULL);
    assert_non_null(json);
    assert_string_equal(json_string_value(json_object_get(json, "level")), "info");
    assert_string_equal(json_string_value(json_object_get(json, "time")),
                        "2026-01-31T12:00:00.123Z");
    /* The same text as in the other format. */
    assert_string_equal(json_string_value(json_object_get(json, "message")),
                        "a \"quoted\" \\\\ name\\n\\x1b\\xff é");
    json_decref(json);
}

static void test_log_leaves_out_levels_below_the_chosen_one(void **state)
{
    (void)state;
    start(LOG_LEVEL_WARNING, LOG_FORMAT_TEXT);
    log_info("no");
    log_debug("no");
    must_have_written("");
    assert_true(log_enabled(LOG_LEVEL_WARNING));
    assert_false(log_enabled(LOG_LEVEL_INFO));
    log_set(LOG_LEVEL_DEBUG, LOG_FORMAT_TEXT);
    log_debug("yes");
    must_have_written(HEAD "debug yes\n");
    log_set(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
    log_warning("no");
    must_have_written("");
}

static const struct log_about about = {"bad_syntax", 4711, 1000};

static void complain_of(const struct log_about *what, const char *message)
{
    struct log_limit limit;
    log_limit_init(&limit, LOG_LEVEL_WARNING, "things", 1, NS_PER_SECOND);
    log_limited_about(&limit, what, "%s", message);
}

static void test_log_says_what_a_record_is_about_where_there_are_fields(void **state)
{
    (void)state;
    start(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
    complain_of(&about, "no JSON");
    must_have_written(HEAD "warning no JSON\n");
    start(LOG_LEVEL_INFO, LOG_FORMAT_LOGFMT);
    complain_of(&about, "no JSON");
    complain_of(NULL, "a=\"b\" \\ c\nmsg=\"d\"");
    must_have_written("time=2026-01-31T12:00:00.123Z level=warning "
                      "constitutional_hash=cdd01ef066bc6cf2 reason=bad_syntax peer_pid=4711 "
                      "peer_uid=1000 msg=\"no JSON\"\n"
                      "time=2026-01-31T12:00:00.123Z level=warning "
                      "constitutional_hash=cdd01ef066bc6cf2 "
                      "msg=\"a=\\\"b\\\" \\\\\\\\ c\\\\nmsg=\\\"d\\\"\"\n");
    start(LOG_LEVEL_INFO, LOG_FORMAT_JSON);
    complain_of(&about, "no JSON");
    must_have_written("{\"constitutional_hash\":\"cdd01ef066bc6cf2\","
                      "\"time\":\"2026-01-31T12:00:00.123Z\",\"level\":\"warning\","
                      "\"reason\":\"bad_syntax\",\"peer_pid\":4711,\"peer_uid\":1000,"
                      "\"message\":\"no JSON\"}\n");
}

/* --- the journal --- */

static int journal[2]; /* what the log writes to, and where it comes out */

static void open_journal(void)
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, journal), 0);
}

static void close_journal(void)
{
    assert_int_equal(close(journal[0]), 0);
    assert_int_equal(close(journal[1]), 0);
}

static void start_journal(enum log_format format)
{
    start_with(&(struct log_options){.level = LOG_LEVEL_DEBUG,
                                     .format = format,
                                     .has_journal = true,
                                     .journal_fd = journal[0],
                                     .is_journal = true});
}

/* The next record, with a line for each field, CODE_LINE's number left out. */
static void must_have_sent(const char *expected)
{
    char text[LOG_LINE_MAX + 1];
    ssize_t len = recv(journal[1], text, sizeof text - 1, 0);
    assert_true(len > 0);
    text[len] = '\0';
    char *number = strstr(text, "CODE_LINE=");
    assert_non_null(number);
    number += strlen("CODE_LINE=");
    size_t digits = strspn(number, "0123456789");
    assert_true(digits > 0 && number[digits] == '\n');
    memmove(number, number + digits, strlen(number + digits) + 1);
    assert_string_equal(text, expected);
}

#define CODE(function)                                                                             \
    "SYSLOG_IDENTIFIER=dwelld\nCODE_FILE=" __FILE__ "\nCODE_LINE=\nCODE_FUNC=" function            \
    "\nDWELL_CONSTITUTIONAL_HASH=cdd01ef066bc6cf2\n"

static void test_log_tells_the_journal_fields(void **state)
{
    (void)state;
    open_journal();
    start_journal(LOG_FORMAT_JOURNALD);
    log_error("a");
    must_have_sent(
        "PRIORITY=3\n" CODE("test_log_tells_the_journal_fields") "MESSAGE=[cdd01ef066bc6cf2] a\n");
    complain_of(&about, "b\nPRIORITY=0\n\x1b é");
    must_have_sent("PRIORITY=4\n" CODE(
        "complain_of") "DWELL_REASON=bad_syntax\nDWELL_PEER_PID=4711\nDWELL_PEER_UID=1000\n"
                       "MESSAGE=[cdd01ef066bc6cf2] b\\nPRIORITY=0\\n\\x1b é\n");
    log_info("c");
    must_have_sent(
        "PRIORITY=6\n" CODE("test_log_tells_the_journal_fields") "MESSAGE=[cdd01ef066bc6cf2] c\n");
    log_debug("%s", "");
    must_have_sent(
        "PRIORITY=7\n" CODE("test_log_tells_the_journal_fields") "MESSAGE=[cdd01ef066bc6cf2] \n");
    must_have_written("");
    close_journal();
}

static void test_log_does_not_wait_for_the_journal(void **state)
{
    (void)state;
    open_journal();
    start_journal(LOG_FORMAT_JOURNALD);
    char *said;
    do {
        log_info("fills it");
        said = written();
    } while (said[0] == '\0');
    assert_string_equal(said, "<6>[cdd01ef066bc6cf2] fills it\n");
    static char record[LOG_LINE_MAX];
    while (recv(journal[1], record, sizeof record, 0) > 0) {
    }
    log_info("there is room again");
    must_have_written("");
    assert_int_equal(close(journal[1]), 0);
    errno = EDOM;
    log_warning("nobody reads it");
    assert_int_equal(errno, EDOM);
    must_have_written("<4>[cdd01ef066bc6cf2] nobody reads it\n");
    assert_int_equal(close(journal[0]), 0);
}

static void test_log_chooses_by_where_it_goes(void **state)
{
    (void)state;
    open_journal();
    start_journal(LOG_FORMAT_AUTO);
    log_info("a");
    must_have_written("");
    log_set(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
    log_info("b");
    must_have_written(HEAD "info b\n");
    log_set(LOG_LEVEL_INFO, LOG_FORMAT_AUTO);
    log_info("c");
    must_have_written("");
    close_journal();
    start_with(&(struct log_options){.level = LOG_LEVEL_INFO,
                                     .format = LOG_FORMAT_AUTO,
                                     .has_journal = true,
                                     .journal_fd = -1,
                                     .is_journal = true});
    log_info("no socket leads there");
    must_have_written("<6>[cdd01ef066bc6cf2] no socket leads there\n");
    start(LOG_LEVEL_INFO, LOG_FORMAT_AUTO);
    log_info("a terminal or a file");
    must_have_written(HEAD "info a terminal or a file\n");
}

/* In no format is there more than one line to a record, whatever it says. */
static void test_log_records_cannot_be_forged_in_any_format(void **state)
{
    (void)state;
    for (int format = 0; format < LOG_FORMAT_COUNT; format++) {
        for (int byte = 1; byte < 256; byte++) {
            char message[] = {'a', (char)byte, '"', '}', '\n', '<', '0', '>', '\0'};
            start(LOG_LEVEL_INFO, (enum log_format)format);
            log_info("%s", message);
            const char *line = written();
            assert_ptr_equal(strpbrk(line, "\n\r"), line + strlen(line) - 1);
        }
    }
}

static void test_log_lines_cannot_be_forged(void **state)
{
    (void)state;
    start(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
    must_show("plain, with ünïcode ✓ 模型 😀", "plain, with ünïcode ✓ 模型 😀");
    must_show("a\n" HEAD "error forged", "a\\n" HEAD "error forged");
    must_show("\r\t\b\x7f\x01", "\\r\\t\\x08\\x7f\\x01");
    must_show("\x1b[2J", "\\x1b[2J");
    must_show("back\\slash \\n", "back\\\\slash \\\\n");
    must_show("\xc2\x85|\xc2\x9b|\xc2\xa0", "\\u0085|\\u009b|\xc2\xa0");
    must_show("\xe2\x80\xa8|\xe2\x80\xa9|\xe2\x80\xae|\xe2\x81\xa6",
              "\\u2028|\\u2029|\\u202e|\\u2066");
    must_show("\xe2\x80\x8e|\xd8\x9c|\xef\xbb\xbf", "\\u200e|\\u061c|\\ufeff");
    must_show("\xff|\xc0\x80|\xe2\x82", "\\xff|\\xc0\\x80|\\xe2\\x82");
    must_show("\xed\xa0\x80|\xf4\x90\x80\x80", "\\xed\\xa0\\x80|\\xf4\\x90\\x80\\x80");
    must_show("\xc3", "\\xc3");
}

static void test_log_escapes_for_others(void **state)
{
    (void)state;
    struct buf buf;
    buf_init(&buf, 100);
    log_escape(&buf, STR_LITERAL("a\0b\n"));
    log_escape(&buf, (struct str){NULL, 0});
    assert_int_equal(buf.len, 8);
    assert_memory_equal(buf.data, "a\\x00b\\n", 8);
    buf_fini(&buf);
}

static void test_log_hash_cannot_leave_its_brackets(void **state)
{
    (void)state;
    start(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
    char hash[LOG_HASH_MAX + 10];
    memset(hash, 'h', sizeof hash);
    hash[sizeof hash - 1] = '\0';
    memcpy(hash, "a]\n\"\\\xff b", 8);
    log_init(&(struct log_options){
        .fd = file,
        .level = LOG_LEVEL_INFO,
        .hash = hash,
        .clock = {.mono_ns = read_mono, .wall_ns = read_wall},
    });
    log_info("x");
    char *line = written();
    assert_memory_equal(line, "[a??????b", 9);
    assert_ptr_equal(strchr(line, ']'), line + 1 + LOG_HASH_MAX);
}

static void test_log_cuts_what_does_not_fit(void **state)
{
    (void)state;
    static char message[2 * LOG_LINE_MAX];
    static const char *const tails[] = {[LOG_FORMAT_TEXT] = "…\n",
                                        [LOG_FORMAT_JSON] = "…\"}\n",
                                        [LOG_FORMAT_LOGFMT] = "…\"\n",
                                        [LOG_FORMAT_JOURNALD] = "…\n"};
    for (int format = 0; format < LOG_FORMAT_AUTO; format++) {
        bool quotes = format == LOG_FORMAT_JSON || format == LOG_FORMAT_LOGFMT;
        for (size_t len = LOG_LINE_MAX - 250; len < LOG_LINE_MAX + 20; len++) {
            start(LOG_LEVEL_INFO, (enum log_format)format);
            memset(message, len % 3 == 0 ? '"' : 'x', len);
            message[len] = '\0';
            log_info("%s", message);
            char *line = written();
            size_t line_len = strlen(line);
            assert_in_range(line_len, 1, LOG_LINE_MAX);
            assert_int_equal(line[line_len - 1], '\n');
            const char *tail = tails[format];
            bool cut = strstr(line, "…") != NULL;
            if (cut) {
                assert_string_equal(line + line_len - strlen(tail), tail);
            } else {
                assert_non_null(strstr(line, message[0] == '"' && quotes ? "\\\"" : message));
            }
            if (len >= LOG_LINE_MAX) {
                assert_true(cut);
            }
        }
    }
    start(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
    memset(message, '\n', sizeof message - 1);
    log_info("%s", message);
    assert_in_range(strlen(written()), LOG_LINE_MAX - 12, LOG_LINE_MAX);
}

static void test_log_dates_agree_with_the_c_library(void **state)
{
    (void)state;
    unsigned seed = (unsigned)time(NULL);
    print_message("seed %u\n", seed);
    srandom(seed);
    start(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
    static const uint64_t known[] = {0,          951782399,  951782400,  951868800, 1078012800,
                                     1709164800, 4107542400, 1735689599, 1735689600};
    for (size_t i = 0; i < 2000; i++) {
        uint64_t second = i < sizeof known / sizeof known[0]
                              ? known[i]
                              : (uint64_t)random() * 8 % UINT64_C(18446744073);
        wall = second * NS_PER_SECOND + 7 * NS_PER_MS;
        time_t when = (time_t)second;
        struct tm parts;
        assert_non_null(gmtime_r(&when, &parts));
        char expected[80];
        size_t len = strftime(expected, sizeof expected,
                              "[cdd01ef066bc6cf2] %Y-%m-%dT%H:%M:%S.007Z info x\n", &parts);
        assert_true(len > 0);
        log_info("x");
        must_have_written(expected);
    }
}

static void test_log_keeps_errno_and_allocates_nothing(void **state)
{
    (void)state;
    start(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
    size_t allocations = mem_count_allocations();
    errno = EDOM;
    log_info("x");
    assert_int_equal(errno, EDOM);
    log_init(&(struct log_options){
        .fd = -1,
        .level = LOG_LEVEL_INFO,
        .hash = "h",
        .clock = {.mono_ns = read_mono, .wall_ns = read_wall},
    });
    log_info("nowhere to go");
    assert_int_equal(errno, EDOM);
    assert_int_equal(mem_count_allocations(), allocations);
}

static bool has_room = true;

static bool write_where_there_is_room(int fd, const char *line, size_t len)
{
    return has_room && write(fd, line, len) == (ssize_t)len;
}

static void test_log_tells_how_many_lines_are_lost(void **state)
{
    (void)state;
    start(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
    log_init(&(struct log_options){
        .fd = file,
        .output = write_where_there_is_room,
        .level = LOG_LEVEL_INFO,
        .hash = "cdd01ef066bc6cf2",
        .clock = {.mono_ns = read_mono, .wall_ns = read_wall},
    });
    log_info("before");
    has_room = false;
    for (int i = 0; i < 3; i++) {
        log_info("lost");
    }
    log_debug("not wanted, and so not lost");
    assert_int_equal(log_lost(), 3);
    must_have_written(HEAD "info before\n");
    has_room = true;
    log_info("after");
    must_have_written(HEAD
                      "warning 3 lines of this log are lost: nobody read it, or it could not be "
                      "written\n" HEAD "info after\n");
    log_info("and on");
    must_have_written(HEAD "info and on\n");
    assert_int_equal(log_lost(), 3);
}

static void *write_many(void *ctx)
{
    for (int i = 0; i < 500; i++) {
        log_info("%s %d", (const char *)ctx, i);
    }
    return NULL;
}

static void test_log_lines_of_threads_stay_whole(void **state)
{
    (void)state;
    start(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
    pthread_t threads[3];
    static char names[][8] = {"aaaaaaa", "bbbbbbb", "ccccccc"};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, write_many, names[i]), 0);
    }
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    size_t lines = 0;
    char *rest = NULL;
    for (char *line = strtok_r(written(), "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        assert_memory_equal(line, HEAD "info ", strlen(HEAD "info "));
        assert_in_range(strlen(line), strlen(HEAD "info aaaaaaa 0"),
                        strlen(HEAD "info aaaaaaa 499"));
        lines++;
    }
    assert_int_equal(lines, 1500);
}

/* --- limits --- */

static void test_log_limit_lets_lines_through_up_to_its_number(void **state)
{
    (void)state;
    start(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
    struct log_limit limit;
    log_limit_init(&limit, LOG_LEVEL_WARNING, "rejected records", 2, 10 * NS_PER_SECOND);
    for (int i = 1; i <= 5; i++) {
        log_limited(&limit, "rejected %d", i);
    }
    must_have_written(HEAD "warning rejected 1\n" HEAD "warning rejected 2\n");
}

static void test_log_limit_says_how_many_when_the_period_is_over(void **state)
{
    (void)state;
    start(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
    struct log_limit limit;
    log_limit_init(&limit, LOG_LEVEL_WARNING, "rejected records", 1, 10 * NS_PER_SECOND);
    mono = 5 * NS_PER_SECOND;
    log_limited(&limit, "first");
    log_limited(&limit, "second");
    log_limited(&limit, "third");
    mono = 15 * NS_PER_SECOND - 1;
    log_limit_tick(&limit);
    must_have_written(HEAD "warning first\n");
    mono = 15 * NS_PER_SECOND;
    log_limited(&limit, "fourth");
    must_have_written(HEAD "warning rejected records: 2 more in the last 10.0 s\n" HEAD
                           "warning fourth\n");
    log_limited(&limit, "fifth");
    mono = 30 * NS_PER_SECOND;
    log_limit_tick(&limit);
    must_have_written(HEAD "warning rejected records: 1 more in the last 15.0 s\n");
    log_limit_tick(&limit);
    must_have_written("");
}

static void test_log_limit_says_how_many_when_the_condition_ends(void **state)
{
    (void)state;
    start(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
    struct log_limit limit;
    log_limit_init(&limit, LOG_LEVEL_INFO, "refused connections", 1, 10 * NS_PER_SECOND);
    log_limit_end(&limit);
    must_have_written("");
    log_limited(&limit, "first");
    log_limit_end(&limit);
    must_have_written(HEAD "info first\n");
    log_limited(&limit, "second");
    log_limited(&limit, "third");
    mono = NS_PER_SECOND / 2;
    log_limit_end(&limit);
    must_have_written(HEAD "info second\n" HEAD
                           "info refused connections: 1 more in the last 0.5 s\n");
    log_limited(&limit, "anew");
    must_have_written(HEAD "info anew\n");
}

static void test_log_limit_of_a_silent_level_counts_nothing(void **state)
{
    (void)state;
    start(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
    struct log_limit limit;
    log_limit_init(&limit, LOG_LEVEL_WARNING, "things", 0, NS_PER_SECOND);
    log_limited(&limit, "x");
    log_set(LOG_LEVEL_WARNING, LOG_FORMAT_TEXT);
    log_limit_end(&limit);
    must_have_written("");
    log_limited(&limit, "x"); /* no line of a limit of none, but the count */
    log_limit_end(&limit);
    must_have_written(HEAD "warning things: 1 more in the last 0.0 s\n");
}

static int open_file(void **state)
{
    (void)state;
    file = memfd_create("log", MFD_CLOEXEC);
    return file < 0 || fcntl(file, F_SETFL, O_APPEND) != 0;
}

static int close_file(void **state)
{
    (void)state;
    return close(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log_writes_nothing_before_it_is_set_up),
        cmocka_unit_test(test_log_lines_have_hash_time_level_and_message),
        cmocka_unit_test(test_log_writes_json_that_a_library_reads),
        cmocka_unit_test(test_log_leaves_out_levels_below_the_chosen_one),
        cmocka_unit_test(test_log_says_what_a_record_is_about_where_there_are_fields),
        cmocka_unit_test(test_log_tells_the_journal_fields),
        cmocka_unit_test(test_log_does_not_wait_for_the_journal),
        cmocka_unit_test(test_log_chooses_by_where_it_goes),
        cmocka_unit_test(test_log_records_cannot_be_forged_in_any_format),
        cmocka_unit_test(test_log_lines_cannot_be_forged),
        cmocka_unit_test(test_log_escapes_for_others),
        cmocka_unit_test(test_log_hash_cannot_leave_its_brackets),
        cmocka_unit_test(test_log_cuts_what_does_not_fit),
        cmocka_unit_test(test_log_dates_agree_with_the_c_library),
        cmocka_unit_test(test_log_keeps_errno_and_allocates_nothing),
        cmocka_unit_test(test_log_tells_how_many_lines_are_lost),
        cmocka_unit_test(test_log_lines_of_threads_stay_whole),
        cmocka_unit_test(test_log_limit_lets_lines_through_up_to_its_number),
        cmocka_unit_test(test_log_limit_says_how_many_when_the_period_is_over),
        cmocka_unit_test(test_log_limit_says_how_many_when_the_condition_ends),
        cmocka_unit_test(test_log_limit_of_a_silent_level_counts_nothing),
    };
    return cmocka_run_group_tests(tests, open_file, close_file);
}
