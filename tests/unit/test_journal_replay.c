/* What comes back from a journal, into a core: the segment is written by hand, as a daemon left it. */
#include "core_helpers.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "io/journal_replay.h"
#include "io/state_machine.h"

enum { PATH_BYTES = 256, SEGMENT_MAX = 1 << 20, JOURNAL_MAX = 4 << 20, ENTRY_MAX = 1024 };

static struct world {
    struct core core;
    char path[PATH_BYTES];
    struct buf segment;
    uint64_t mono_ns, wall_ns;
} world;

static uint64_t mono_ns(void *ctx)
{
    (void)ctx;
    return world.mono_ns;
}

static uint64_t wall_ns(void *ctx)
{
    (void)ctx;
    return world.wall_ns;
}

static int set_up(void **state)
{
    (void)state;
    struct registry_options options = core_options();
    char header[JOURNAL_HEADER_BYTES];
    const char *parent = getenv("TMPDIR");
    core_open(&world.core, &options);
    world.mono_ns = world.core.mono_ns;
    world.wall_ns = world.core.wall_ns;
    buf_init(&world.segment, SEGMENT_MAX);
    journal_header_write(0, header);
    buf_append(&world.segment, header, sizeof header);
    (void)snprintf(world.path, sizeof world.path, "%s/replay-XXXXXX",
                   parent == NULL ? "/tmp" : parent);
    return mkdtemp(world.path) == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
    (void)state;
    char command[2 * PATH_BYTES];
    buf_fini(&world.segment);
    core_close(&world.core);
    (void)snprintf(command, sizeof command, "rm -rf '%s'", world.path);
    return system(command) == 0 ? 0 : -1;
}

/* --- the journal -------------------------------------------------------------------------------- */

/* A client that sent these lines at once, and named no process. */
static struct journal_entry lines_of(uint8_t client, uint64_t sequence, const char *text)
{
    struct journal_entry entry = {
        .kind = JOURNAL_LINES, .wall_ns = world.wall_ns, .bytes = str_of(text)};
    entry.who.client_id[0] = client;
    entry.who.mark = (struct mark){.has_sequence = true, .sequence = sequence};
    return entry;
}

static void add(const struct journal_entry *entry)
{
    journal_entry_write(entry, &world.segment);
    assert_int_equal(world.segment.err, 0);
}

static void add_lines(uint8_t client, uint64_t sequence, const char *text)
{
    struct journal_entry entry = lines_of(client, sequence, text);
    add(&entry);
}

static void write_segment(void)
{
    char name[2 * PATH_BYTES];
    (void)snprintf(name, sizeof name, "%s/%020d.journal", world.path, 0);
    int fd = open(name, O_WRONLY | O_CREAT | O_EXCL, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, world.segment.data, world.segment.len), world.segment.len);
    assert_int_equal(close(fd), 0);
}

static void must_replay(uint64_t records)
{
    struct journal journal;
    struct journal_options options = {
        .path = world.path, .max_bytes = JOURNAL_MAX, .max_entry_bytes = ENTRY_MAX};
    struct clock clock = {.mono_ns = mono_ns, .wall_ns = wall_ns};
    struct buf problem;
    uint64_t entries;
    buf_init(&problem, PATH_BYTES);
    write_segment();
    assert_int_equal(journal_open(&journal, &options, &problem), 0);
    assert_int_equal(journal_replay(&journal, 0, &world.core.intake, &clock, &entries), 0);
    assert_int_equal(world.core.counters.value[COUNTER_JOURNAL_REPLAYED], records);
    journal_close(&journal);
    buf_fini(&problem);
}

/* --- spans in halves ---------------------------------------------------------------------------- */

#define IDS(span)                                                                                  \
    "\"trace_id\":\"000102030405060708090a0b0c0d0e0f\",\"span_id\":\"000000000000000" span "\""
#define START(span)                                                                                \
    "{\"type\":\"span_start\",\"name\":\"s\",\"start_time_unix_nano\":1000," IDS(span) "}\n"
#define END(span)                                                                                  \
    "{\"type\":\"span_end\",\"name\":\"s\",\"end_time_unix_nano\":3000," IDS(span) "}\n"
#define WHOLE_END(span)                                                                            \
    "{\"type\":\"span_end\",\"name\":\"s\",\"start_time_unix_nano\":1000,"                         \
    "\"end_time_unix_nano\":3000," IDS(span) "}\n"

static void must_have_spans(uint64_t completed, uint64_t cut_off)
{
    assert_int_equal(world.core.spans->completed, completed);
    assert_int_equal(world.core.spans->cut_off, cut_off);
    assert_int_equal(world.core.spans->open.count, 0);
    for (int row = 0; row < ERR_ROW_COUNT; row++) {
        assert_int_equal(world.core.intake.rejected[row], 0);
    }
}

static void test_journal_replay_joins_the_halves_of_spans(void **state)
{
    (void)state;
    add_lines(1, 0, START("1") START("2"));
    add_lines(2, 0, START("3"));
    add_lines(1, 2, END("1"));
    add_lines(1, 3, WHOLE_END("2"));
    add_lines(2, 1, END("3"));
    must_replay(6);
    must_have_spans(3, 0);
    assert_int_equal(world.core.intake.accepted, 6);
}

static void test_journal_replay_joins_them_for_a_process_that_is_gone(void **state)
{
    (void)state;
    struct journal_entry start = lines_of(1, 0, START("1"));
    struct journal_entry end = lines_of(1, 1, END("1"));
    start.who.said_pid = end.who.said_pid = 77;
    add(&start);
    add(&end);
    must_replay(2);
    must_have_spans(1, 0);
    assert_int_equal(world.core.processes.count, 0);
}

static void test_journal_replay_ends_what_stays_open(void **state)
{
    (void)state;
    add_lines(1, 0, START("1") START("2"));
    add_lines(1, 2, END("1"));
    must_replay(3);
    must_have_spans(2, 1);
}

/* Another client spoke on its connection meanwhile. */
static void test_journal_replay_joins_them_for_clients_in_turn(void **state)
{
    (void)state;
    add_lines(1, 0,
              START("1") "{\"type\":\"hello\",\"client_id\":\"02000000000000000000000000000000\","
                         "\"sequence\":0}\n");
    add_lines(1, 1, END("1"));
    must_replay(2);
    must_have_spans(1, 0);
}

static uint64_t kept_end_ns;

static void keep(void *ctx, const struct span *span, bool was_held)
{
    (void)ctx;
    (void)was_held;
    kept_end_ns = span->end_wall_ns;
}

/* However long the daemon was away: nobody ran meanwhile. */
static void test_journal_replay_ends_it_as_of_the_last_entry(void **state)
{
    (void)state;
    struct journal_entry start = lines_of(1, 0, START("1"));
    start.who.said_pid = 77;
    start.wall_ns = 5000 * NS_PER_SECOND;
    world.wall_ns = start.wall_ns + 7200 * NS_PER_SECOND;
    world.mono_ns = 8000 * NS_PER_SECOND;
    spans_export_to(world.core.spans, &(struct sampler_sink){.keep = keep});
    add(&start);
    must_replay(1);
    must_have_spans(1, 1);
    assert_int_equal(kept_end_ns, start.wall_ns);
}

/* More clients than are known at a time: whoever is forgotten ends. */
static void test_journal_replay_holds_no_more_clients_than_the_ledger(void **state)
{
    (void)state;
    for (unsigned i = 0; i <= LEDGER_CLIENTS_MAX; i++) {
        char text[] = "{\"model_name\":\"m\",\"execution_time_ms\":1}\n";
        struct journal_entry entry = lines_of((uint8_t)i, 0, i == 0 ? START("1") : text);
        entry.who.client_id[1] = (uint8_t)(i >> 8);
        entry.who.client_id[2] = 1;
        add(&entry);
    }
    must_replay(LEDGER_CLIENTS_MAX + 1);
    must_have_spans(1, 1);
}

/* --- ceilings ------------------------------------------------------------------------------------ */

enum { LARGE = 4 * ENTRY_MAX }; /* more than the present options take at once */

static void must_have_samples(uint64_t count)
{
    assert_int_equal(world.core.intake.accepted, count);
    assert_int_equal(world.core.counters.value[COUNTER_JOURNAL_DAMAGED], 0);
    assert_int_equal(world.core.intake.rejected[err_row(ERR_TOO_LONG)], 0);
}

static void test_journal_replay_takes_lines_that_are_too_long_today(void **state)
{
    (void)state;
    static char text[LARGE + 3];
    const char line[] = "{\"model_name\":\"m\",\"execution_time_ms\":1}";
    memset(text, ' ', LARGE); /* between the value and the end of its object */
    memcpy(text, line, sizeof line - 2);
    memcpy(text + LARGE, "}\n", sizeof "}\n");
    add_lines(1, 0, text);
    must_replay(1);
    must_have_samples(1);
}

/* A batch of one client with as many samples as need more room than there is. */
static void test_journal_replay_takes_frames_that_are_too_long_today(void **state)
{
    (void)state;
    enum { SAMPLES = LARGE / 14 };
    static const char sample[] = "\x42\x0c\x0a\x01m\x19\0\0\0\0\0\0\xf0\x3f"; /* "m", 1 ms */
    struct journal_entry entry = lines_of(1, 0, "");
    struct buf bytes;
    buf_init(&bytes, 2 * LARGE);
    size_t len = 2 + sizeof entry.who.client_id + 2 + SAMPLES * (sizeof sample - 1);
    const char length[] = {(char)(len & 0xff), (char)(len >> 8), 0, 0};
    buf_append(&bytes, length, sizeof length);
    buf_append(&bytes, "\x0a\x10", 2);
    buf_append(&bytes, (const char *)entry.who.client_id, sizeof entry.who.client_id);
    buf_append(&bytes, "\x10\0", 2); /* its first number is 0 */
    for (int i = 0; i < SAMPLES; i++) {
        buf_append(&bytes, sample, sizeof sample - 1);
    }
    entry.kind = JOURNAL_FRAMES;
    entry.bytes = (struct str){bytes.data, bytes.len};
    add(&entry);
    buf_fini(&bytes);
    must_replay(SAMPLES);
    must_have_samples(SAMPLES);
}

/* No daemon writes such an entry: a frame that does not end. */
static void test_journal_replay_tells_what_does_not_come_back(void **state)
{
    (void)state;
    struct journal_entry entry = lines_of(1, 0, "");
    entry.kind = JOURNAL_FRAMES;
    entry.bytes = (struct str){"\xff\xff\0\0\x0a", 5};
    add(&entry);
    add_lines(2, 0, "{\"model_name\":\"m\",\"execution_time_ms\":1}\n");
    must_replay(1);
    assert_int_equal(world.core.counters.value[COUNTER_JOURNAL_DAMAGED], 1);
}

static void test_journal_replay_counts_segments_that_are_set_aside(void **state)
{
    (void)state;
    buf_clear(&world.segment);
    buf_puts(&world.segment, "what somebody else has written, of some length");
    must_replay(0);
    assert_int_equal(world.core.counters.value[COUNTER_JOURNAL_DAMAGED], 1);
}

/* --- processes ------------------------------------------------------------------------------------ */

static struct watched {
    int64_t pids[4];
    unsigned count;
} watched;

static bool watch(void *ctx, struct process *process)
{
    (void)ctx;
    assert_true(watched.count < sizeof watched.pids / sizeof watched.pids[0]);
    watched.pids[watched.count++] = process->kernel_pid;
    return false; /* then it ends with its last connection */
}

/* Numbers of processes are used again: this test had not begun a day ago. */
static void test_journal_replay_takes_nobody_for_a_process_that_is_gone(void **state)
{
    (void)state;
    const struct {
        int64_t kernel_pid;
        uint64_t ago_ns;
        int64_t expected;
    } facts[] = {{1, 0, 1}, {1, 1000, 1}, {getpid(), 86400 * NS_PER_SECOND, 0}};
    struct saved_moment now;
    state_machine_now(&now);
    world.wall_ns = now.wall_ns;
    watched.count = 0;
    world.core.processes.watch = watch;
    for (unsigned i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        struct journal_entry entry =
            lines_of((uint8_t)i, 0, "{\"type\":\"gauge\",\"name\":\"g\",\"value\":1}\n");
        entry.who.said_pid = 100 + i;
        entry.who.kernel_pid = facts[i].kernel_pid;
        entry.wall_ns -= facts[i].ago_ns;
        add(&entry);
    }
    must_replay(3);
    assert_int_equal(watched.count, 3);
    for (unsigned i = 0; i < watched.count; i++) {
        assert_int_equal(watched.pids[i], facts[i].expected);
    }
}

/* --- time ---------------------------------------------------------------------------------------- */

/* Windows never go back; the wall's clock does. */
static void test_journal_replay_counts_in_the_window_of_the_start(void **state)
{
    (void)state;
    struct journal_entry entry = lines_of(1, 0, "{\"model_name\":\"m\",\"execution_time_ms\":1}\n");
    entry.wall_ns -= 100 * CORE_SLOT_S * NS_PER_SECOND;
    add(&entry);
    must_replay(1);
    assert_int_equal(world.core.registry->wall_ns, world.wall_ns);
    struct snapshot *snapshot = must_take(&world.core);
    struct profile profile = must_profile(&world.core, snapshot, "m", PROFILE_WINDOW);
    assert_int_equal(profile.span, PROFILE_WINDOW);
    assert_int_equal(profile.count, 1);
    core_drop(&world.core, snapshot);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_journal_replay_joins_the_halves_of_spans, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_journal_replay_joins_them_for_a_process_that_is_gone,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_journal_replay_ends_what_stays_open, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_journal_replay_joins_them_for_clients_in_turn, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_journal_replay_ends_it_as_of_the_last_entry, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_journal_replay_holds_no_more_clients_than_the_ledger,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_journal_replay_takes_lines_that_are_too_long_today,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_journal_replay_takes_frames_that_are_too_long_today,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_journal_replay_tells_what_does_not_come_back, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_journal_replay_counts_segments_that_are_set_aside,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_journal_replay_takes_nobody_for_a_process_that_is_gone,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_journal_replay_counts_in_the_window_of_the_start,
                                        set_up, tear_down),
    };
    return cmocka_run_group_tests_name("journal_replay", tests, core_tables, NULL);
}
