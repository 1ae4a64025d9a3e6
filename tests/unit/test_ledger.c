#include "core_helpers.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/saved.h"
#include "mem_fault.h"

static struct ledger ledger;

static int open_ledger(void **state)
{
    (void)note_memory(state); /* always 0 */
    return ledger_init(&ledger, 42);
}

static int close_ledger(void **state)
{
    ledger_fini(&ledger);
    return must_be_clean(state);
}

struct id {
    uint8_t bytes[RECORD_CLIENT_ID_BYTES];
};

static struct id id_of(uint64_t number)
{
    struct id id = {{0}};
    memcpy(id.bytes, &number, sizeof number);
    return id;
}

static struct mark at(uint64_t sequence)
{
    return (struct mark){.has_sequence = true, .sequence = sequence};
}

static struct mark at_with(uint64_t sequence, uint64_t dropped)
{
    return (struct mark){
        .has_sequence = true, .sequence = sequence, .has_dropped = true, .dropped = dropped};
}

static const struct mark nowhere = {.has_sequence = false};

static int meet(uint64_t number, const struct mark *mark)
{
    struct id id = id_of(number);
    return ledger_client(&ledger, id.bytes, 0, mark);
}

static uint64_t sum_rejected(const struct ledger_terms *terms)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < ERR_ROW_COUNT; i++) {
        sum += terms->rejected[i];
    }
    return sum;
}

static void must_balance(const struct ledger_terms *terms)
{
    assert_int_equal(terms->sent,
                     terms->accepted + sum_rejected(terms) + terms->dropped + terms->lost);
}

static void must_all_balance(void)
{
    must_balance(&ledger.view.all);
    struct ledger_terms sum = {0};
    for (uint32_t i = 0; i < ledger.view.library_count; i++) {
        const struct ledger_terms *terms = &ledger.view.libraries[i].terms;
        must_balance(terms);
        sum.sent += terms->sent;
        sum.accepted += terms->accepted;
        sum.dropped += terms->dropped;
        sum.lost += terms->lost;
    }
    assert_int_equal(sum.sent, ledger.view.all.sent);
    assert_int_equal(sum.accepted, ledger.view.all.accepted);
    assert_int_equal(sum.dropped, ledger.view.all.dropped);
    assert_int_equal(sum.lost, ledger.view.all.lost);
}

static void must_be(uint64_t sent, uint64_t accepted, uint64_t rejected, uint64_t dropped,
                    uint64_t lost)
{
    const struct ledger_terms *all = &ledger.view.all;
    assert_int_equal(all->sent, sent);
    assert_int_equal(all->accepted, accepted);
    assert_int_equal(sum_rejected(all), rejected);
    assert_int_equal(all->dropped, dropped);
    assert_int_equal(all->lost, lost);
    must_all_balance();
}

/* --- gaps -------------------------------------------------------------------------------------- */

static void test_ledger_counts_what_comes(void **state)
{
    (void)state;
    (void)ledger_library(&ledger, STR_LITERAL("lib"));
    must_be(0, 0, 0, 0, 0);
    struct mark mark = at(0);
    int place = meet(1, &mark);
    ledger_count(&ledger, place, 10);
    ledger_reject(&ledger, place, ERR_RANGE);
    ledger_reject(&ledger, place, ERR_NAME);
    assert_int_equal(ledger_next(&ledger, place), 12);
    must_be(12, 10, 2, 0, 0);
    assert_int_equal(ledger.view.all.rejected[err_row(ERR_RANGE)], 1);
    ledger_count(&ledger, LEDGER_NOBODY, 5);
    ledger_reject(&ledger, LEDGER_NOBODY, ERR_RANGE);
    assert_int_equal(ledger.view.unledgered, 6);
    must_be(12, 10, 2, 0, 0);
}

static void test_ledger_a_gap_is_dropped_or_lost(void **state)
{
    (void)state;
    (void)ledger_library(&ledger, STR_LITERAL("lib"));
    const struct {
        struct mark mark;
        uint64_t dropped, lost; /* in all, after it */
    } table[] = {
        {at(0), 0, 0},
        {at(3), 0, 3},             /* nobody owned up */
        {at_with(3, 2), 0, 3},     /* too late: what is told is not taken back */
        {at_with(8, 2), 2, 6},     /* but it counts for the next gap */
        {at_with(8, 2), 2, 6},     /* the same again: nothing new */
        {at_with(18, 12), 12, 6},  /* the whole gap */
        {at_with(20, 13), 13, 7},  /* a part of it */
        {at_with(25, 113), 18, 7}, /* more drops than the gap holds */
        {at_with(120, 113), 113, 7},
        {at_with(130, 0), 113, 17}, /* a count that falls back tells nothing */
        {nowhere, 113, 17},
    };
    struct mark begin = at(0);
    int place = meet(1, &begin);
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        assert_true(ledger_advance(&ledger, place, &table[i].mark));
        must_be(table[i].dropped + table[i].lost, 0, 0, table[i].dropped, table[i].lost);
    }
}

static void test_ledger_numbers_that_go_back_change_nothing(void **state)
{
    (void)state;
    (void)ledger_library(&ledger, STR_LITERAL("lib"));
    struct mark mark = at(0);
    int place = meet(1, &mark);
    ledger_count(&ledger, place, 10);
    mark = at_with(9, 5);
    assert_false(ledger_advance(&ledger, place, &mark));
    must_be(10, 10, 0, 0, 0);
    assert_int_equal(ledger_next(&ledger, place), 10);
    mark = at(10);
    assert_true(ledger_advance(&ledger, place, &mark));
    must_be(10, 10, 0, 0, 0);
}

static void test_ledger_a_client_met_midway_counts_from_there(void **state)
{
    (void)state;
    (void)ledger_library(&ledger, STR_LITERAL("lib"));
    struct mark mark = at_with(1000, 7);
    int place = meet(1, &mark);
    must_be(7, 0, 0, 7, 0); /* only its own drops are known */
    assert_true(ledger_advance(&ledger, place, &mark));
    must_be(7, 0, 0, 7, 0);
    ledger_count(&ledger, place, 3);
    mark = at_with(1005, 8);
    assert_true(ledger_advance(&ledger, place, &mark));
    must_be(12, 3, 0, 8, 1);
    mark = at_with(5, 50); /* more drops than numbers: never believed beyond them */
    (void)meet(2, &mark);
    must_be(17, 3, 0, 13, 1);
    (void)meet(3, &nowhere);
    must_be(17, 3, 0, 13, 1);
}

/* No peer can make the terms wrap around, or hide what others lost. */
static void test_ledger_absurd_numbers_are_a_new_beginning(void **state)
{
    (void)state;
    (void)ledger_library(&ledger, STR_LITERAL("lib"));
    struct mark mark = at(0);
    int place = meet(1, &mark);
    ledger_count(&ledger, place, 10);
    mark = at(10 + LEDGER_GAP_MAX);
    assert_true(ledger_advance(&ledger, place, &mark));
    must_be(10 + LEDGER_GAP_MAX, 10, 0, 0, LEDGER_GAP_MAX);
    for (int i = 0; i < 5; i++) {
        uint64_t sent = ledger.view.all.sent;
        mark = at_with(ledger_next(&ledger, place) + LEDGER_GAP_MAX + 1, UINT64_MAX);
        assert_true(ledger_advance(&ledger, place, &mark));
        assert_int_equal(ledger.view.all.sent, sent);
        mark = at(UINT64_MAX);
        assert_true(ledger_advance(&ledger, place, &mark));
        ledger_count(&ledger, place, 1);
        assert_int_equal(ledger.view.all.sent, sent + 1);
        assert_int_equal(ledger_next(&ledger, place), 0); /* wraps, harmlessly */
    }
    for (uint64_t i = 0; i < 5; i++) {
        uint64_t sent = ledger.view.all.sent;
        mark = at_with(UINT64_MAX - i, UINT64_MAX - i);
        (void)meet(100 + i, &mark);
        assert_int_equal(ledger.view.all.sent, sent);
    }
    must_all_balance();
    assert_true(ledger.view.all.sent < UINT64_C(1) << 53);
}

/* A client that leaps as far as it is believed, again and again: the terms stay what a state file bears,
 * and what others send still counts. */
static void test_ledger_leaps_end_where_a_state_file_does(void **state)
{
    (void)state;
    (void)ledger_library(&ledger, STR_LITERAL("lib"));
    const uint64_t leaps = SAVED_LEAPS_MAX / LEDGER_GAP_MAX;
    for (uint64_t i = 0; i <= leaps + 4; i++) {
        struct mark mark = at_with(i * LEDGER_GAP_MAX, i % 2 * LEDGER_GAP_MAX);
        assert_true(ledger_advance(&ledger, meet(1, &mark), &mark));
        assert_true(ledger.view.all.sent <= SAVED_LEAPS_MAX);
    }
    for (uint64_t i = 0; i < 4; i++) {
        struct mark mark = at_with(LEDGER_GAP_MAX, LEDGER_GAP_MAX);
        (void)meet(100 + i, &mark); /* whose drops are told when it is met */
    }
    assert_int_equal(ledger.view.all.sent, SAVED_LEAPS_MAX);
    struct mark mark = at(0);
    ledger_count(&ledger, meet(2, &mark), 10);
    assert_int_equal(ledger.view.all.accepted, 10);
    assert_int_equal(ledger.view.all.sent, SAVED_LEAPS_MAX + 10);
    must_all_balance();
}

/* --- who is remembered ------------------------------------------------------------------------- */

static void test_ledger_remembers_the_most_recent_clients(void **state)
{
    (void)state;
    (void)ledger_library(&ledger, STR_LITERAL("lib"));
    for (uint64_t i = 0; i < LEDGER_CLIENTS_MAX; i++) {
        struct mark mark = at(i);
        int place = meet(i, &mark);
        assert_int_equal(ledger_next(&ledger, place), i);
    }
    struct mark other = at(999999);
    for (uint64_t i = 0; i < LEDGER_CLIENTS_MAX; i++) { /* all are there */
        assert_int_equal(ledger_next(&ledger, meet(i, &other)), i);
    }
    (void)meet(0, &other); /* 0 has spoken last, 1 is the longest silent */
    struct mark mark = at(5000);
    assert_int_equal(ledger_next(&ledger, meet(5000, &mark)), 5000);
    assert_int_equal(ledger_next(&ledger, meet(0, &other)), 0);
    assert_int_equal(ledger_next(&ledger, meet(2, &other)), 2);
    assert_int_equal(ledger_next(&ledger, meet(1, &other)), 999999); /* met anew; 3 went for it */
    assert_int_equal(ledger_next(&ledger, meet(4, &other)), 4);
    assert_int_equal(ledger_next(&ledger, meet(3, &other)), 999999);
    must_be(0, 0, 0, 0, 0);
}

/* The table against a plain list in order of use. */
static void test_ledger_forgets_in_order_of_last_use(void **state)
{
    (void)state;
    (void)ledger_library(&ledger, STR_LITERAL("lib"));
    struct random random = random_start("forget");
    enum { IDS = LEDGER_CLIENTS_MAX + 400, STEPS = 60000 };
    static uint64_t used[IDS]; /* step of the last use, 0: unknown */
    static uint64_t stands[IDS];
    memset(used, 0, sizeof used);
    uint64_t known = 0;
    for (uint64_t step = 1; step <= STEPS; step++) {
        uint64_t client = random_below(&random, IDS);
        struct mark mark = at(step);
        if (used[client] == 0) {
            stands[client] = step;
            if (known == LEDGER_CLIENTS_MAX) {
                uint64_t oldest = IDS;
                for (uint64_t i = 0; i < IDS; i++) {
                    if (used[i] != 0 && (oldest == IDS || used[i] < used[oldest])) {
                        oldest = i;
                    }
                }
                used[oldest] = 0;
            } else {
                known++;
            }
        }
        used[client] = step;
        assert_int_equal(ledger_next(&ledger, meet(client, &mark)), stands[client]);
    }
}

static void test_ledger_forgets_who_asks_last(void **state)
{
    (void)state;
    enum { ASKING = 3, OTHERS = 2 * LEDGER_CLIENTS_MAX };
    for (uint64_t i = 0; i < ASKING; i++) {
        struct mark mark = at(100 + i);
        ledger_ask(&ledger, meet(i, &mark));
    }
    for (uint64_t i = 0; i < OTHERS; i++) {
        struct mark mark = at(7);
        (void)meet(1000 + i, &mark);
    }
    struct mark mark = at(7);
    for (uint64_t i = 0; i < ASKING; i++) {
        assert_int_equal(ledger_next(&ledger, meet(i, &mark)), 100 + i);
    }
    /* When all ask, who was silent longest is forgotten. */
    for (uint64_t i = 0; i < LEDGER_CLIENTS_MAX; i++) {
        ledger_ask(&ledger, meet(20000 + i, &mark));
    }
    mark = at(8);
    assert_int_equal(ledger_next(&ledger, meet(20001, &mark)), 7);
    assert_int_equal(ledger_next(&ledger, meet(0, &mark)), 8);
}

static void test_ledger_restores_clients(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        struct ledger_standing standing = {
            .next = 15 + i, .credited = i, .asks = i == 2, .library = STR_LITERAL("lib")};
        struct id id = id_of(i);
        memcpy(standing.id, id.bytes, sizeof standing.id);
        ledger_restore(&ledger, &standing);
        standing.next = 99; /* again: it is known, and stays where it stands */
        ledger_restore(&ledger, &standing);
    }
    assert_int_equal(ledger.used, 3);
    assert_int_equal(ledger.view.all.sent, 0); /* the terms are somebody else's */
    uint8_t library = ledger_library(&ledger, STR_LITERAL("lib"));
    for (unsigned i = 0; i < 3; i++) {
        struct mark mark = at_with(15 + i, i);
        struct id id = id_of(i);
        int place = ledger_client(&ledger, id.bytes, library, &mark);
        assert_int_equal(ledger_next(&ledger, place), 15 + i);
        assert_int_equal(ledger_credited(&ledger, place), i);
        assert_int_equal(ledger.clients[place].asks, i == 2);
        assert_int_equal(ledger.clients[place].library, library);
    }
    assert_int_equal(ledger.used, 3);
    assert_int_equal(ledger.view.all.lost, 0);
    assert_int_equal(ledger.view.all.dropped, 0);
}

/* --- libraries --------------------------------------------------------------------------------- */

static void must_be_named(const char *name, const char *kept)
{
    uint8_t library = ledger_library(&ledger, str_of(name));
    assert_string_equal(ledger.view.libraries[library].name, kept);
    assert_int_equal(ledger_library(&ledger, str_of(name)), library);
}

static void test_ledger_library_names_are_made_harmless(void **state)
{
    (void)state;
    must_be_named("libdwell/1.0", "libdwell/1.0");
    must_be_named("", "unknown");
    must_be_named("unknown", "unknown");
    must_be_named("a\nb\x7f\xff\x01", "a?b???");
    char longest[LEDGER_LIBRARY_BYTES + 2];
    memset(longest, 'x', sizeof longest);
    longest[LEDGER_LIBRARY_BYTES - 1] = '\0';
    must_be_named(longest, longest);
    char longer[LEDGER_LIBRARY_BYTES + 2];
    memset(longer, 'x', sizeof longer);
    longer[LEDGER_LIBRARY_BYTES + 1] = '\0';
    must_be_named(longer, longest);
    assert_int_equal(ledger_library(&ledger, (struct str){"a\0b", 3}),
                     ledger_library(&ledger, STR_LITERAL("a?b")));
    assert_int_equal(ledger.view.library_count, 5);
}

static void must_have_distinct_libraries(void)
{
    for (uint32_t i = 0; i < ledger.view.library_count; i++) {
        for (uint32_t k = 0; k < i; k++) {
            assert_string_not_equal(ledger.view.libraries[i].name, ledger.view.libraries[k].name);
        }
    }
}

static void test_ledger_libraries_have_a_ceiling(void **state)
{
    (void)state;
    char name[32];
    for (unsigned i = 0; i < LEDGER_LIBRARIES_MAX - 1; i++) {
        (void)snprintf(name, sizeof name, "library-%u", i);
        assert_int_equal(ledger_library(&ledger, str_of(name)), i);
    }
    must_be_named("one more", "other");
    must_be_named("and another", "other");
    must_be_named("library-3", "library-3");
    assert_int_equal(ledger.view.library_count, LEDGER_LIBRARIES_MAX);
    must_have_distinct_libraries();
}

static void test_ledger_a_library_called_other_is_the_other_one(void **state)
{
    (void)state;
    must_be_named("other", "other");
    char name[32];
    for (unsigned i = 0; i < 2 * LEDGER_LIBRARIES_MAX; i++) {
        (void)snprintf(name, sizeof name, "library-%u", i);
        (void)ledger_library(&ledger, str_of(name));
    }
    must_be_named("one more", "other");
    must_be_named("other", "other");
    must_have_distinct_libraries(); /* else one series would be shown twice */
}

static void test_ledger_terms_go_to_the_library_of_the_moment(void **state)
{
    (void)state;
    uint8_t first = ledger_library(&ledger, STR_LITERAL("first"));
    uint8_t second = ledger_library(&ledger, STR_LITERAL("second"));
    struct mark mark = at(0);
    struct id id = id_of(1);
    int place = ledger_client(&ledger, id.bytes, first, &mark);
    ledger_count(&ledger, place, 3);
    ledger_set_library(&ledger, place, second);
    ledger_reject(&ledger, place, ERR_RANGE);
    mark = at_with(10, 2);
    assert_true(ledger_advance(&ledger, place, &mark));
    assert_int_equal(ledger.view.libraries[first].terms.sent, 3);
    assert_int_equal(ledger.view.libraries[second].terms.sent, 7);
    assert_int_equal(ledger.view.libraries[second].terms.dropped, 2);
    assert_int_equal(ledger.view.libraries[second].terms.lost, 4);
    must_be(10, 3, 1, 2, 4);
    assert_int_equal(ledger_client(&ledger, id.bytes, first, &mark), place); /* known: not moved */
    ledger_count(&ledger, place, 1);
    assert_int_equal(ledger.view.libraries[second].terms.sent, 8);
}

static void test_ledger_init_without_memory(void **state)
{
    (void)state;
    for (size_t n = 1; n <= 2; n++) {
        struct ledger poor;
        size_t live = mem_count_live();
        mem_fail_after(n);
        assert_int_equal(ledger_init(&poor, 1), ERR_NOMEM);
        mem_fail_after(0);
        assert_int_equal(mem_count_live(), live);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_ledger, close_ledger)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_ledger_counts_what_comes),
        TEST(test_ledger_a_gap_is_dropped_or_lost),
        TEST(test_ledger_numbers_that_go_back_change_nothing),
        TEST(test_ledger_a_client_met_midway_counts_from_there),
        TEST(test_ledger_leaps_end_where_a_state_file_does),
        TEST(test_ledger_absurd_numbers_are_a_new_beginning),
        TEST(test_ledger_remembers_the_most_recent_clients),
        TEST(test_ledger_forgets_in_order_of_last_use),
        TEST(test_ledger_forgets_who_asks_last),
        TEST(test_ledger_restores_clients),
        TEST(test_ledger_library_names_are_made_harmless),
        TEST(test_ledger_libraries_have_a_ceiling),
        TEST(test_ledger_a_library_called_other_is_the_other_one),
        TEST(test_ledger_terms_go_to_the_library_of_the_moment),
        TEST(test_ledger_init_without_memory),
    };
    return cmocka_run_group_tests_name("ledger", tests, core_tables, NULL);
}
