/* What doctor says of places and daemons that tests make up: each fact by itself. */
#include "cli_golden.h"

#include <errno.h>
#include <sys/stat.h>

#include "base/err.h"
#include "cli/doctor_export.h"
#include "cli/doctor_place.h"
#include "cli/doctor_reason.h"
#include "cli/doctor_status.h"
#include "cli/doctor_store.h"
#include "cli/doctor_trial.h"

#define WALL_SECONDS 1769860800.5 /* of tests/data/cli/doctor.json */

static struct findings findings;

static bool is_row(const struct finding *row, const char *name, enum finding_state state,
                   const char *found, const char *mend)
{
    return strcmp(row->name, name) == 0 && row->state == state &&
           str_is((struct str){row->found.data, row->found.len}, found) &&
           str_is((struct str){row->mend.data, row->mend.len}, mend);
}

static void print_rows(void)
{
    for (size_t i = 0; i < findings.count; i++) {
        const struct finding *row = &findings.rows[i];
        print_message("%s %d: %.*s | %.*s\n", row->name, (int)row->state, (int)row->found.len,
                      row->found.len > 0 ? row->found.data : "", (int)row->mend.len,
                      row->mend.len > 0 ? row->mend.data : "");
    }
}

/* One of the rows is this. */
static void must_find(const char *name, enum finding_state state, const char *found,
                      const char *mend)
{
    for (size_t i = 0; i < findings.count; i++) {
        if (is_row(&findings.rows[i], name, state, found, mend)) {
            return;
        }
    }
    print_rows();
    fail_msg("no row is %s %d: %s | %s", name, (int)state, found, mend);
}

static void must_not_find(const char *name)
{
    for (size_t i = 0; i < findings.count; i++) {
        assert_string_not_equal(findings.rows[i].name, name);
    }
}

/* Every row that is not well says what to do, and no other does. */
static void must_all_be_mended(void)
{
    for (size_t i = 0; i < findings.count; i++) {
        const struct finding *row = &findings.rows[i];
        bool is_wrong = row->state == FINDING_WARN || row->state == FINDING_FAIL;
        assert_true(row->found.len > 0);
        assert_int_equal(row->mend.len > 0, is_wrong);
        assert_true(row->mend.len == 0 || row->mend.data[row->mend.len - 1] != '.');
    }
}

/* --- places ------------------------------------------------------------------------------------ */

/* A daemon of user 7 and group 8, looked at by user 1000 who is in its group. */
static struct doctor_place good_place(void)
{
    struct doctor_place place = {.world = {.uid = 1000},
                                 .gids = {1000, 8},
                                 .gid_count = 2,
                                 .choice = DOCTOR_BY_LOOKING,
                                 .path = "/run/dwell",
                                 .directory = {.mode = S_IFDIR | 0750, .uid = 7, .gid = 8}};
    for (unsigned i = 0; i < DOCTOR_SOCKETS; i++) {
        place.sockets[i] =
            (struct doctor_contact){.file = {.mode = S_IFSOCK | 0660, .uid = 7, .gid = 8}};
    }
    place.sockets[DOCTOR_INGEST].pid = 99;
    place.sockets[DOCTOR_ADMIN].file.mode = S_IFSOCK | 0600;
    place.sockets[DOCTOR_ADMIN].reason = EACCES;
    return place;
}

static void judge_place(const struct doctor_place *place)
{
    findings_fini(&findings);
    findings_init(&findings, true);
    doctor_place_judge(place, &findings);
    must_all_be_mended();
}

static void test_cli_doctor_of_a_good_place(void **state)
{
    (void)state;
    struct doctor_place place = good_place();
    judge_place(&place);
    assert_true(findings_are_well(&findings));
    assert_int_equal(findings.count, 7);
    must_find("environment", FINDING_OK, "DWELL_DIR is not set, DWELL_DISABLED is not 1", "");
    must_find("place", FINDING_OK,
              "/run/dwell, of /run/dwell or /tmp/dwell-1000 the first that has an ingest.sock", "");
    must_find("directory", FINDING_OK, "mode 0750, of user 7 and group 8", "");
    must_find("ingest.sock", FINDING_OK, "process 99 listens, mode 0660, of user 7 and group 8",
              "");
    must_find("ingest.dgram", FINDING_OK, "somebody listens, mode 0660, of user 7 and group 8", "");
    must_find("admin.sock", FINDING_OK, "for user 7 alone, who runs the daemon", "");
    assert_true(doctor_place_answers(&place, DOCTOR_QUERY));
    assert_false(doctor_place_answers(&place, DOCTOR_ADMIN));
}

static void test_cli_doctor_of_a_socket(void **state)
{
    (void)state;
    static const struct {
        int file_reason;
        uint32_t mode;
        int reason;
        const char *found;
        const char *mend;
    } rows[] = {
        {ENOENT, 0, ENOENT, "it is not there, although others are: somebody has removed it",
         "Restart dwelld: it makes it again"},
        {0, S_IFREG | 0644, ECONNREFUSED, "it is no socket",
         "Remove it and restart dwelld: rm /run/dwell/query.sock"},
        {0, S_IFSOCK | 0660, ECONNREFUSED, "nobody listens: it is left of a daemon that was killed",
         "Start dwelld: it replaces what nobody listens on"},
        {0, S_IFSOCK | 0600, EACCES, "user 1000 may not open it: mode 0600, of user 7 and group 8",
         "Give the group the right: set ingest.mode to \"0660\" and restart dwelld"},
        {0, S_IFSOCK | 0660, EAGAIN, "nobody takes what waits there: its queue is full",
         "See what holds the daemon up (its log, top); if nothing does, restart it"},
        {0, S_IFSOCK | 0660, EPROTOTYPE, "Protocol wrong type for socket", "Restart dwelld"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct doctor_place place = good_place();
        struct doctor_contact *one = &place.sockets[DOCTOR_QUERY];
        one->file.reason = rows[i].file_reason;
        one->file.mode = rows[i].mode;
        one->reason = rows[i].reason;
        judge_place(&place);
        must_find("query.sock", FINDING_FAIL, rows[i].found, rows[i].mend);
        assert_false(doctor_place_answers(&place, DOCTOR_QUERY));
    }
}

static void test_cli_doctor_says_who_may(void **state)
{
    (void)state;
    struct doctor_place place = good_place();
    place.sockets[DOCTOR_INGEST].reason = EACCES;
    place.world.uid = 7;
    judge_place(&place);
    must_find("ingest.sock", FINDING_FAIL,
              "user 7 may not open it: mode 0660, of user 7 and group 8",
              "Give its owner the right: set ingest.mode to \"0660\" and restart dwelld");
    place.world.uid = 1000;
    place.gid_count = 1;
    judge_place(&place);
    must_find(
        "ingest.sock", FINDING_FAIL, "user 1000 may not open it: mode 0660, of user 7 and group 8",
        "Set ingest.group to a group of user 1000's, remove /run/dwell and restart dwelld; or "
        "run what sends as user 7");
}

static void test_cli_doctor_of_a_directory(void **state)
{
    (void)state;
    struct doctor_place place = good_place();
    place.directory.reason = ENOENT;
    judge_place(&place);
    must_find("directory", FINDING_FAIL, "it is not there",
              "Start it there: dwelld --set ingest.directory=/run/dwell");
    must_not_find("ingest.sock");

    place.directory.reason = EACCES;
    judge_place(&place);
    must_find("directory", FINDING_FAIL, "user 1000 cannot look at it: Permission denied",
              "Let user 1000 enter what is above it: namei -l /run/dwell shows where it ends");

    place = good_place();
    place.directory.mode = S_IFREG | 0644;
    judge_place(&place);
    must_find("directory", FINDING_FAIL, "it is no directory",
              "Name another one, or remove it: rm /run/dwell");

    place = good_place();
    place.directory.mode = S_IFDIR | 0755;
    judge_place(&place);
    must_find(
        "directory", FINDING_WARN,
        "mode 0755, of user 7 and group 8: others may get into it, and dwelld will not start in "
        "it again",
        "chmod 0750 /run/dwell");

    place = good_place();
    place.gid_count = 1;
    for (unsigned i = 0; i < DOCTOR_SOCKETS; i++) {
        place.sockets[i].reason = place.sockets[i].file.reason = EACCES;
    }
    judge_place(&place);
    must_find(
        "directory", FINDING_FAIL, "user 1000 may not enter it: mode 0750, of user 7 and group 8",
        "Set ingest.group to a group of user 1000's, remove /run/dwell and restart dwelld; or "
        "run what sends as user 7");
    must_not_find("ingest.sock");
}

static void test_cli_doctor_says_where_a_daemon_is_instead(void **state)
{
    (void)state;
    static const struct {
        enum doctor_choice choice;
        const char *other;
        const char *mend;
    } rows[] = {
        {DOCTOR_BY_OPTION, "", "Start it there: dwelld --set ingest.directory=/run/dwell"},
        {DOCTOR_BY_OPTION, "/tmp/dwell-1000",
         "There is one in /tmp/dwell-1000: --dir /tmp/dwell-1000"},
        {DOCTOR_BY_VARIABLE, "/tmp/dwell-1000",
         "There is one in /tmp/dwell-1000: unset DWELL_DIR, or set it to that"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct doctor_place place = good_place();
        place.choice = rows[i].choice;
        (void)snprintf(place.other, sizeof place.other, "%s", rows[i].other);
        for (unsigned s = 0; s < DOCTOR_SOCKETS; s++) {
            place.sockets[s].reason = place.sockets[s].file.reason = ENOENT;
        }
        judge_place(&place);
        must_find("sockets", FINDING_FAIL, "there are none in it", rows[i].mend);
        must_not_find("ingest.sock");
    }
}

static void test_cli_doctor_of_an_environment(void **state)
{
    (void)state;
    struct doctor_place place = good_place();
    place.world.dwell_dir = "/run/\x1b";
    place.choice = DOCTOR_BY_VARIABLE;
    judge_place(&place);
    must_find("environment", FINDING_OK, "DWELL_DIR is /run/\\x1b, DWELL_DISABLED is not 1", "");
    place.is_disabled = true;
    judge_place(&place);
    must_find("environment", FINDING_WARN,
              "DWELL_DISABLED is 1: what is started from here sends nothing",
              "Take it away: unset DWELL_DISABLED");
    place = (struct doctor_place){.choice = DOCTOR_BY_NOTHING,
                                  .world = {.uid = 5, .runtime_dir = "/run/user/5"}};
    judge_place(&place);
    must_find("place", FINDING_FAIL,
              "there is no ingest.sock in /run/user/5/dwell, /run/dwell or /tmp/dwell-5",
              "Start dwelld, or say where it is: --dir DIR, or DWELL_DIR for all clients");
    assert_int_equal(findings.count, 2);
}

/* --- answers ----------------------------------------------------------------------------------- */

static void must_judge_answer(const char *hash, const char *answer, enum finding_state state,
                              const char *found, const char *mend)
{
    struct doctor_trial trial = {.path = "/run/dwell/ingest.sock", .hash = hash, .timeout = 1};
    findings_fini(&findings);
    findings_init(&findings, true);
    doctor_trial_judge(&trial, str_of(answer), 1.5, &findings);
    must_find("ingest", state, found, mend);
    must_all_be_mended();
}

static void test_cli_doctor_of_an_answer(void **state)
{
    (void)state;
    static const char held_up[] =
        "See what holds the daemon up (its log, top); if nothing does, restart it";
    must_judge_answer(NULL, "{\"flushed\": 0}\n", FINDING_OK, "a flush was answered in 1.50 ms",
                      "");
    must_judge_answer("h", "{\"flushed\": 1}\n", FINDING_OK,
                      "a sample of the model dwell-doctor was counted in 1.50 ms", "");
    must_judge_answer("h", "{\"flushed\": 0}\n", FINDING_FAIL, "a sample was taken and not counted",
                      "See the daemon's log for what it rejects");
    must_judge_answer(
        "h", "{\"error\": \"no\\n\", \"reason\": \"hash_mismatch\"}\n{\"flushed\": 0}\n",
        FINDING_FAIL, "refused: no\\n (hash_mismatch)", doctor_reason_mend("hash_mismatch"));
    must_judge_answer(NULL, "{\"error\": \"x\", \"reason\": \"new_one\"}", FINDING_FAIL,
                      "refused: x (new_one)", doctor_reason_mend("new_one"));
    must_judge_answer(NULL, "", FINDING_FAIL, "no answer in 1.50 ms", held_up);
    must_judge_answer(NULL, "HTTP/1.1 400\r\n\r\n", FINDING_FAIL,
                      "the answer is none that a dwelld gives", "See who listens there: ss -xlp");
}

/* Each reason of the daemon's has a mend of its own. */
static void test_cli_doctor_knows_every_reason(void **state)
{
    (void)state;
#define X(code, label, sentence) label,
    static const char *const reasons[] = {ERR_TABLE(X)};
#undef X
    size_t count = sizeof reasons / sizeof reasons[0];
    for (size_t i = 0; i < count; i++) {
        const char *mend = doctor_reason_mend(reasons[i]);
        assert_string_not_equal(mend, doctor_reason_mend(""));
        for (size_t k = 0; k < i; k++) {
            assert_string_not_equal(mend, doctor_reason_mend(reasons[k]));
        }
    }
}

/* --- the status -------------------------------------------------------------------------------- */

/* Judges the status of tests/data/cli/doctor.json, which is well, with one member of another value. */
static void judge_with(const char *path, json_t *value)
{
    json_t *root = must_load("doctor");
    json_t *at = root;
    const char *dot;
    while ((dot = strchr(path, '/')) != NULL) {
        char key[64];
        (void)snprintf(key, sizeof key, "%.*s", (int)(dot - path), path);
        at = json_object_get(at, key);
        assert_non_null(at);
        path = dot + 1;
    }
    assert_int_equal(json_object_set_new(at, path, value), 0);
    findings_fini(&findings);
    findings_init(&findings, true);
    doctor_status_judge(root, WALL_SECONDS, &findings);
    doctor_export_judge(root, &findings);
    doctor_store_judge(root, &findings);
    must_all_be_mended();
    json_decref(root);
}

static void test_cli_doctor_of_a_good_status(void **state)
{
    (void)state;
    judge_with("version", json_string(DWELL_VERSION));
    print_rows();
    assert_true(findings_are_well(&findings));
    must_find("version", FINDING_OK, "dwelld " DWELL_VERSION ", as this tool, up 2 h 46 min", "");
    must_find("clients", FINDING_OK, "shop/3", "");
    must_find("records", FINDING_OK, "1,034 accepted, none rejected", "");
    must_find(
        "account", FINDING_OK,
        "1,000 sent = 1,000 accepted + 0 rejected + 0 dropped + 0 lost; 34 of clients that do "
        "not number them",
        "");
    must_find("models", FINDING_OK, "4 of at most 1,000", "");
    must_find("descriptors", FINDING_OK, "24 open, 524,288 may be", "");
    must_find("loop", FINDING_OK, "0 of 100,000 turns took over 100 ms, the longest 2.10 ms", "");
    must_find("clock", FINDING_OK, "within 2 s of ours", "");
    must_find("evidence", FINDING_OK, "all that was asked for could be read", "");
    must_find("export", FINDING_OK, "off: there is no otlp.endpoint", "");
}

/* An older daemon tells less, and a strange one nonsense. */
static void test_cli_doctor_of_a_status_that_says_nothing(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{}", "[]",
        "{\"clients\":[1,{}],\"limits\":3,\"counters\":[],\"records\":{\"rejected\":5}}"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        json_t *root = json_loads(texts[i], 0, NULL);
        findings_fini(&findings);
        findings_init(&findings, true);
        doctor_status_judge(root, WALL_SECONDS, &findings);
        doctor_export_judge(root, &findings);
        doctor_store_judge(root, &findings);
        must_all_be_mended();
        must_not_find("models");
        must_not_find("state");
        must_not_find("journal");
        json_decref(root);
    }
}

static void test_cli_doctor_of_versions(void **state)
{
    (void)state;
    judge_with("version", json_string("0.0.1\n"));
    must_find("version", FINDING_WARN, "dwelld 0.0.1\\n, and this tool is " DWELL_VERSION,
              "Upgrade the older of the two, and restart dwelld");
    judge_with("clients", json_pack("[{s:s},{s:s}]", "client", "libdwell/0.0.1", "client", "x/9"));
    must_find(
        "clients", FINDING_WARN, "libdwell/0.0.1, x/9",
        "Upgrade the clients, or the daemon, to one version: an older side leaves out what it "
        "does not know");
}

static void test_cli_doctor_of_an_account(void **state)
{
    (void)state;
    judge_with("ledger/lost", json_integer(1));
    must_find("account", FINDING_FAIL,
              "1,000 sent = 1,000 accepted + 0 rejected + 0 dropped + 1 lost, and -1 more",
              "Report it, with what dwell status --json prints: it should come out even");
}

/* What a daemon has since that tells when. */
static json_t *counted(double rejected, double lost, double keys, double steps)
{
    return json_pack("{s:{s:f}, s:f, s:{s:f, s:f}}", "rejected", "bad_syntax", rejected, "lost",
                     lost, "counters", "unknown_keys_total", keys, "clock_steps_total", steps);
}

static void judge_since(json_t *since)
{
    json_t *root = must_load("doctor");
    json_object_set_new(json_object_get(json_object_get(root, "records"), "rejected"), "bad_syntax",
                        json_integer(1));
    json_object_set_new(json_object_get(root, "ledger"), "lost", json_integer(5));
    json_object_set_new(json_object_get(root, "ledger"), "sent", json_integer(1005));
    json_object_set_new(json_object_get(root, "counters"), "unknown_keys_total", json_integer(2));
    json_object_set_new(json_object_get(root, "counters"), "overflow_records_total",
                        json_integer(7));
    json_object_set_new(json_object_get(root, "clock"), "steps", json_integer(2));
    if (since != NULL) {
        assert_int_equal(json_object_set_new(root, "seconds_since", since), 0);
    }
    findings_fini(&findings);
    findings_init(&findings, true);
    doctor_status_judge(root, WALL_SECONDS, &findings);
    must_all_be_mended();
    json_decref(root);
}

static void test_cli_doctor_warns_of_what_was_lately(void **state)
{
    (void)state;
    static const char keys[] = "Correct the names of keys by proto/WIRE.md, or upgrade dwelld "
                               "where the client is newer";
    judge_since(NULL); /* an older daemon does not tell */
    must_find("keys", FINDING_WARN, "2 unknown keys were ignored; the log names them", keys);
    assert_int_equal(findings_count(&findings, FINDING_WARN), 5);
    judge_since(counted(299.9, 299.9, 299.9, 299.9));
    must_find("keys", FINDING_WARN, "2 unknown keys were ignored; the log names them", keys);
    assert_int_equal(findings_count(&findings, FINDING_WARN), 4); /* nothing past a ceiling */
    judge_since(counted(300, 8000, 400, 500));
    must_find("rejected", FINDING_OK, "1 of 1,035 records: bad_syntax; the last 5 min ago", "");
    must_find("lost", FINDING_OK,
              "5 of 1,005 records that clients numbered: they left their client and never came "
              "here; the last 2 h 13 min ago",
              "");
    must_find("keys", FINDING_OK,
              "2 unknown keys were ignored; the log names them; the last 6 min ago", "");
    must_find("series", FINDING_OK,
              "12 of at most 100,000; 7 records of more are counted in overflow series; none since "
              "the start",
              "");
    must_find("clock", FINDING_OK,
              "within 2 s of ours; it was set 2 times, by +0.0 s the last time; the last 8 min ago",
              "");
    assert_int_equal(findings_count(&findings, FINDING_WARN), 0);
}

static void test_cli_doctor_of_ceilings(void **state)
{
    (void)state;
    judge_with("counters/models", json_integer(899));
    must_find("models", FINDING_OK, "899 of at most 1,000", "");
    judge_with("counters/models", json_integer(900));
    must_find("models", FINDING_WARN, "900 of at most 1,000",
              "Name models by what they are and not by request, or raise profiling.max_models");
    judge_with("counters/overflow_records_total", json_integer(7));
    must_find(
        "series", FINDING_WARN,
        "12 of at most 100,000; 7 records of more are counted in overflow series",
        "Take away labels whose values never end, such as ids, or raise metrics.max_series and "
        "metrics.max_series_per_family");
    judge_with("counters/connections_refused_total", json_integer(7));
    must_find("connections", FINDING_WARN, "3 of at most 1,024; 7 connections were refused",
              "Look into the log for who and why, and raise ingest.max_connections if it was too "
              "many");
}

static void test_cli_doctor_of_descriptors(void **state)
{
    (void)state;
    judge_with("process/descriptors",
               json_pack("{s:i, s:i, s:i}", "open", 90, "limit", 100, "wanted", 100));
    must_find("descriptors", FINDING_OK, "90 open, 100 may be", "");
    judge_with("process/descriptors",
               json_pack("{s:i, s:i, s:i}", "open", 91, "limit", 100, "wanted", 100));
    must_find("descriptors", FINDING_WARN, "91 open, 100 may be",
              "Allow more and restart dwelld: LimitNOFILE=, or ulimit -n");
    judge_with("process/descriptors",
               json_pack("{s:n, s:i, s:i}", "open", "limit", 100, "wanted", 101));
    must_find("descriptors", FINDING_WARN, "100 may be, and all connections would take 101",
              "Allow 101 and restart dwelld: LimitNOFILE=, or ulimit -n; until then "
              "ingest.max_connections is taken as less");
}

static void test_cli_doctor_of_a_loop(void **state)
{
    (void)state;
    static const char mend[] = "Give the daemon more CPU (CPUQuota=, nice), or send less at once: "
                               "dwell top shows who sends";
    judge_with("loop/late_turns", json_integer(100));
    must_find("loop", FINDING_OK, "100 of 100,000 turns took over 100 ms, the longest 2.10 ms", "");
    judge_with("loop/late_turns", json_integer(101));
    must_find("loop", FINDING_WARN, "101 of 100,000 turns took over 100 ms, the longest 2.10 ms",
              mend);
    judge_with("loop",
               json_pack("{s:i, s:i, s:f}", "turns", 20, "late_turns", 9, "max_seconds", 1.5));
    must_find("loop", FINDING_OK, "9 of 20 turns took over 100 ms, the longest 1.50 s", "");
    judge_with("loop",
               json_pack("{s:i, s:i, s:f}", "turns", 20, "late_turns", 10, "max_seconds", 1.5));
    must_find("loop", FINDING_WARN, "10 of 20 turns took over 100 ms, the longest 1.50 s", mend);
}

static void test_cli_doctor_of_a_clock(void **state)
{
    (void)state;
    static const char mend[] = "Let both machines keep time: timedatectl set-ntp true";
    judge_with("clock/wall_seconds", json_real(WALL_SECONDS + 2));
    must_find("clock", FINDING_OK, "within 2 s of ours", "");
    judge_with("clock/wall_seconds", json_real(WALL_SECONDS + 2.5));
    must_find("clock", FINDING_FAIL, "it is 2.5 s ahead of ours", mend);
    judge_with("clock/wall_seconds", json_real(WALL_SECONDS - 86400));
    must_find("clock", FINDING_FAIL, "it is 86400.0 s behind ours", mend);
    judge_with("clock", json_pack("{s:f, s:i, s:f}", "wall_seconds", WALL_SECONDS, "steps", 1,
                                  "step_seconds", 3600.0));
    must_find("clock", FINDING_OK,
              "within 2 s of ours; it was set 1 time, by +3600.0 s the last time", "");
    judge_with("clock", json_pack("{s:f, s:i, s:f}", "wall_seconds", WALL_SECONDS, "steps", 2,
                                  "step_seconds", -1.5));
    must_find("clock", FINDING_WARN,
              "within 2 s of ours; it was set 2 times, by -1.5 s the last time",
              "Let one service keep the time, by small steps: timedatectl set-ntp true");
}

static void test_cli_doctor_of_evidence(void **state)
{
    (void)state;
    judge_with("evidence/missing", json_pack("[s,s]", "throttling", "pressure"));
    must_find("evidence", FINDING_OK,
              "of some process not to be had: throttling, pressure; verdicts go without", "");
    judge_with("evidence/missing", json_pack("[s,s]", "io", "pressure"));
    must_find("evidence", FINDING_WARN,
              "of some process not to be had: io, pressure; verdicts go without",
              "Run dwelld as the service's own user (dwelld@.service) and where it sees its "
              "processes (shareProcessNamespace), or set profiling.probe to \"off\"");
    judge_with("counters/probe_refused_samples_total", json_integer(1234));
    must_find("left out", FINDING_WARN, "1,234 samples whose thread found no place to be watched",
              "Raise profiling.max_watched_threads");
}

/* --- exports ----------------------------------------------------------------------------------- */

static json_t *signal_of(int loaded, int failing, int dropped, int spool_bytes, int spool_works)
{
    return json_pack("{s:{s:s, s:i, s:i, s:i, s:i, s:{s:i, s:i}, s:i, s:i, s:i}}", "traces",
                     "endpoint", "http://c:4317", "loaded", loaded, "accepted", 1000, "exported",
                     990, "failing_seconds", failing, "dropped", "queue_full", dropped,
                     "not_sampled", 500, "spool_bytes", spool_bytes, "spool_limit_bytes", 1 << 20,
                     "spool_works", spool_works);
}

static void test_cli_doctor_of_an_export(void **state)
{
    (void)state;
    judge_with("export", signal_of(1, 0, 0, 0, 1));
    must_find("export", FINDING_OK, "traces: 990 of 1,000 went out to http://c:4317", "");
    must_find("spool", FINDING_OK, "traces: 0 B of at most 1.00 MB", "");
    assert_int_equal(findings_count(&findings, FINDING_WARN), 0);
    judge_with("export", signal_of(0, 0, 0, 0, 1));
    must_find(
        "export", FINDING_FAIL,
        "traces: 990 of 1,000 went out to http://c:4317: the module is missing, or cannot use "
        "the address",
        "Install dwell_otlp.so and dwell_otlp_insecure.so beside dwelld, or set "
        "otlp.module_directory; the log says what is wrong");
    judge_with("export", signal_of(1, 200, 0, 0, 1));
    must_find("export", FINDING_WARN,
              "traces: 990 of 1,000 went out to http://c:4317; every call has failed for 3 min",
              "Bring the collector back, or correct otlp.endpoint: the log has its last answer");
    judge_with("export", signal_of(1, 0, 7, 0, 1));
    must_find("export drops", FINDING_WARN, "traces: 7 of 1,000, queue_full",
              "Give what waits a place on a disk (otlp.spool_directory), or raise "
              "otlp.max_queue_spans and otlp.max_queue_bytes");
}

static void test_cli_doctor_of_a_spool(void **state)
{
    (void)state;
    judge_with("export", signal_of(1, 0, 0, 838860, 1));
    must_find("spool", FINDING_OK, "traces: 819 kB of at most 1.00 MB", "");
    judge_with("export", signal_of(1, 0, 0, 838861, 1));
    must_find(
        "spool", FINDING_WARN, "traces: 819 kB of at most 1.00 MB",
        "Bring the collector back, or raise otlp.spool_max_bytes before the oldest is given up");
    judge_with("export", signal_of(1, 0, 0, 1, 0));
    must_find("spool", FINDING_FAIL,
              "traces: 1.00 B of at most 1.00 MB, and it cannot be written to",
              "See the log for what failed: make the parent of otlp.spool_directory, give the "
              "directory to the daemon's user with mode 0700, or free its disk; where the log says "
              "that there is no spool, restart dwelld then");
}

/* --- what outlives the daemon ------------------------------------------------------------------ */

/* Of a daemon that keeps both; numbers are what the counters say. */
static void judge_store(int saves, int failures, int damaged, int left_out, int bytes, int stopped,
                        int lost)
{
    json_t *root = json_pack(
        "{s:{s:s, s:s}, s:{s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i}, s:{s:i}}", "files", "state",
        "/s", "journal", "/j", "counters", "state_saves_total", saves, "state_save_failures_total",
        failures, "state_damaged_files_total", damaged, "state_left_out_total", left_out,
        "state_bytes", 2048, "journal_bytes", bytes, "journal_stopped", stopped,
        "journal_damaged_total", lost, "limits", "journal.max_bytes", 1 << 20);
    assert_non_null(root);
    findings_fini(&findings);
    findings_init(&findings, true);
    doctor_store_judge(root, &findings);
    must_all_be_mended();
    assert_int_equal(findings.count, 2);
    json_decref(root);
}

static void test_cli_doctor_of_a_state(void **state)
{
    (void)state;
    judge_store(0, 0, 0, 0, 0, 0, 0);
    must_find("state", FINDING_OK, "nothing saved to /s so far", "");
    judge_store(1, 0, 0, 0, 0, 0, 0);
    must_find("state", FINDING_OK, "1 save to /s, the last of 2.00 kB", "");
    judge_store(3, 2, 0, 0, 0, 0, 0);
    must_find("state", FINDING_WARN, "3 saves to /s, the last of 2.00 kB; 2 saves failed",
              "See the log for what failed: make the directory of state.file, let the daemon's "
              "user write in it, or free its disk");
    judge_store(0, 0, 1, 1, 0, 0, 0);
    must_find("state", FINDING_WARN,
              "nothing saved to /s so far; 1 file of an earlier life could not be read; it is "
              "beside it as FILE.damaged, and counts began anew; 1 piece of an earlier life did "
              "not fit in",
              "Look at the disk of state.file, and at the log of the last start, which says what "
              "was wrong");
    judge_store(0, 0, 0, 9, 0, 0, 0);
    must_find("state", FINDING_WARN,
              "nothing saved to /s so far; 9 pieces of an earlier life did not fit in",
              "Give the daemon the options that it had: the log of the last start says what did "
              "not fit");
}

static void test_cli_doctor_of_a_state_that_failed_once(void **state)
{
    (void)state;
    static const struct {
        double failed, saved; /* seconds since */
        enum finding_state found;
    } rows[] = {{2, 5, FINDING_WARN},
                {10, 5, FINDING_WARN},
                {300, 5, FINDING_OK},
                {300, 300, FINDING_OK},
                {300, 301, FINDING_WARN}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        json_t *root =
            json_pack("{s:{s:s}, s:{s:i, s:i, s:i}, s:{s:{s:f, s:f}}}", "files", "state", "/s",
                      "counters", "state_saves_total", 3, "state_save_failures_total", 1,
                      "state_bytes", 2048, "seconds_since", "counters", "state_save_failures_total",
                      rows[i].failed, "state_saves_total", rows[i].saved);
        assert_non_null(root);
        findings_fini(&findings);
        findings_init(&findings, true);
        doctor_store_judge(root, &findings);
        assert_int_equal(findings_count(&findings, rows[i].found), 1);
        json_decref(root);
    }
}

static void test_cli_doctor_of_a_journal(void **state)
{
    (void)state;
    judge_store(0, 0, 0, 0, 943718, 0, 0);
    must_find("journal", FINDING_OK, "922 kB of at most 1.00 MB in /j", "");
    judge_store(0, 0, 0, 0, 943719, 0, 0);
    must_find("journal", FINDING_WARN, "922 kB of at most 1.00 MB in /j",
              "Set state.file, whose saves make room in it, or raise journal.max_bytes, before "
              "acknowledgements stop");
    judge_store(0, 0, 0, 0, 5, 1, 0);
    must_find("journal", FINDING_FAIL,
              "5.00 B of at most 1.00 MB in /j, and nothing is acknowledged",
              "Free its disk, or set state.file, whose saves make room in it, or raise "
              "journal.max_bytes; the log says what failed");
    judge_store(0, 0, 0, 0, 5, 0, 2);
    must_find("journal", FINDING_WARN,
              "5.00 B of at most 1.00 MB in /j; 2 pieces of an earlier life did not come back",
              "Look at the disk of journal.directory, and at the log of the last start, which says "
              "what was wrong");
}

static int forget(void **state)
{
    (void)state;
    findings_fini(&findings);
    findings_init(&findings, true);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cli_doctor_of_a_good_place),
        cmocka_unit_test(test_cli_doctor_of_a_socket),
        cmocka_unit_test(test_cli_doctor_says_who_may),
        cmocka_unit_test(test_cli_doctor_of_a_directory),
        cmocka_unit_test(test_cli_doctor_says_where_a_daemon_is_instead),
        cmocka_unit_test(test_cli_doctor_of_an_environment),
        cmocka_unit_test(test_cli_doctor_of_an_answer),
        cmocka_unit_test(test_cli_doctor_knows_every_reason),
        cmocka_unit_test(test_cli_doctor_of_a_good_status),
        cmocka_unit_test(test_cli_doctor_of_a_status_that_says_nothing),
        cmocka_unit_test(test_cli_doctor_of_versions),
        cmocka_unit_test(test_cli_doctor_of_an_account),
        cmocka_unit_test(test_cli_doctor_warns_of_what_was_lately),
        cmocka_unit_test(test_cli_doctor_of_ceilings),
        cmocka_unit_test(test_cli_doctor_of_descriptors),
        cmocka_unit_test(test_cli_doctor_of_a_loop),
        cmocka_unit_test(test_cli_doctor_of_a_clock),
        cmocka_unit_test(test_cli_doctor_of_evidence),
        cmocka_unit_test(test_cli_doctor_of_an_export),
        cmocka_unit_test(test_cli_doctor_of_a_state),
        cmocka_unit_test(test_cli_doctor_of_a_state_that_failed_once),
        cmocka_unit_test(test_cli_doctor_of_a_journal),
        cmocka_unit_test(test_cli_doctor_of_a_spool),
    };
    must_use_locale("C.UTF-8");
    return cmocka_run_group_tests_name("cli_doctor", tests, forget, forget);
}
