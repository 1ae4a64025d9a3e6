#include "core_helpers.h"

#include <stdio.h>

#include "base/err.h"
#include "core/ways.h"
#include "mem_fault.h"

static struct ways ways;

static int open_ways(void **state)
{
    (void)note_memory(state);
    assert_int_equal(ways_init(&ways, 11), 0);
    return 0;
}

static int close_ways(void **state)
{
    ways_fini(&ways);
    return must_be_clean(state);
}

static struct spelling spelling_of(uint8_t format, const char *head, const char *tail)
{
    return (struct spelling){format, str_of(head), str_of(tail)};
}

static void keep(const struct spelling *spelling, uint32_t place)
{
    struct way way = {.family = 3, .place = place, .op = METRIC_OBSERVE, .scale = 1e-3};
    ways_keep(&ways, spelling, &way);
}

static void must_lead(const struct spelling *spelling, uint32_t place)
{
    const struct way *way = ways_find(&ways, spelling);
    assert_non_null(way);
    assert_int_equal(way->place, place);
    assert_int_equal(way->family, 3);
    assert_int_equal(way->op, METRIC_OBSERVE);
    assert_true(way->scale == 1e-3);
}

static void must_be_unknown(const struct spelling *spelling)
{
    assert_null(ways_find(&ways, spelling));
}

static void test_ways_lead_where_they_led(void **state)
{
    (void)state;
    struct spelling one = spelling_of(SPELLING_STATSD, "a.b:", "|ms");
    must_be_unknown(&one);
    keep(&one, 7);
    must_lead(&one, 7);
    keep(&one, 8); /* the last one counts */
    must_lead(&one, 8);
}

/* Where the value stands is part of the spelling, and so is the format. */
static void test_ways_tell_spellings_apart(void **state)
{
    (void)state;
    struct spelling one = spelling_of(SPELLING_STATSD, "ab", "cd");
    keep(&one, 1);
    const struct spelling others[] = {
        spelling_of(SPELLING_STATSD, "abc", "d"), spelling_of(SPELLING_STATSD, "a", "bcd"),
        spelling_of(SPELLING_STATSD, "", "abcd"), spelling_of(SPELLING_STATSD, "abcd", ""),
        spelling_of(SPELLING_STATSD, "cd", "ab"), spelling_of(SPELLING_BATCH, "ab", "cd"),
        spelling_of(SPELLING_NONE, "ab", "cd"),   spelling_of(SPELLING_STATSD, "ab", "ce"),
    };
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        must_be_unknown(&others[i]);
    }
    must_lead(&one, 1);
}

static void test_ways_may_be_empty_on_a_side(void **state)
{
    (void)state;
    struct spelling head = spelling_of(SPELLING_BATCH, "a", "");
    struct spelling tail = {SPELLING_BATCH, {NULL, 0}, STR_LITERAL("b")};
    keep(&head, 1);
    keep(&tail, 2);
    must_lead(&head, 1);
    must_lead(&tail, 2);
}

static void test_ways_of_no_format_are_not_kept(void **state)
{
    (void)state;
    struct spelling none = spelling_of(SPELLING_NONE, "a", "b");
    keep(&none, 1);
    must_be_unknown(&none);
}

static void test_ways_have_a_longest_spelling(void **state)
{
    (void)state;
    char bytes[WAY_BYTES + 1];
    memset(bytes, 'x', sizeof bytes);
    for (size_t head = 0; head <= WAY_BYTES; head++) {
        struct spelling fits = {SPELLING_BATCH, {bytes, head}, {bytes, WAY_BYTES - head}};
        struct spelling does_not = {SPELLING_BATCH, {bytes, head}, {bytes, WAY_BYTES - head + 1}};
        keep(&fits, (uint32_t)head);
        must_lead(&fits, (uint32_t)head);
        keep(&does_not, 1);
        must_be_unknown(&does_not);
    }
    /* Lengths whose sum is past what a size can be. */
    struct spelling vast = {SPELLING_BATCH, {bytes, SIZE_MAX}, {bytes, 2}};
    must_be_unknown(&vast);
    vast = (struct spelling){SPELLING_BATCH, {bytes, 2}, {bytes, SIZE_MAX}};
    must_be_unknown(&vast);
}

static void test_ways_are_forgotten_together(void **state)
{
    (void)state;
    struct spelling one = spelling_of(SPELLING_BATCH, "a", "b");
    struct spelling two = spelling_of(SPELLING_BATCH, "c", "d");
    keep(&one, 1);
    keep(&two, 2);
    ways_forget(&ways);
    must_be_unknown(&one);
    must_be_unknown(&two);
    keep(&two, 5);
    must_be_unknown(&one);
    must_lead(&two, 5);
}

/* Series end by the thousand a second, for years. */
static void test_ways_that_were_forgotten_never_come_back(void **state)
{
    (void)state;
    struct spelling one = spelling_of(SPELLING_BATCH, "a", "b");
    keep(&one, 1);
    ways.generation += UINT32_MAX;
    ways_forget(&ways);
    must_be_unknown(&one);
}

/* More than there are places for: whoever is found leads where it should. */
static void test_ways_that_clash_push_each_other_out(void **state)
{
    (void)state;
    enum { MANY = 3 * WAYS };
    unsigned found = 0;
    char name[16];
    for (uint32_t i = 0; i < MANY; i++) {
        (void)snprintf(name, sizeof name, "n%u", i);
        struct spelling spelling = spelling_of(SPELLING_STATSD, name, "|c");
        keep(&spelling, i);
        must_lead(&spelling, i);
    }
    for (uint32_t i = 0; i < MANY; i++) {
        (void)snprintf(name, sizeof name, "n%u", i);
        struct spelling spelling = spelling_of(SPELLING_STATSD, name, "|c");
        const struct way *way = ways_find(&ways, &spelling);
        assert_true(way == NULL || way->place == i);
        found += way != NULL;
    }
    assert_in_range(found, WAYS / 2, WAYS);
}

/* So few that a clash of all the places of one is rare: once in hundreds of millions. */
static void test_ways_of_a_hundred_spellings_stay(void **state)
{
    (void)state;
    char name[24];
    for (unsigned seed = 0; seed < 100; seed++) {
        ways_forget(&ways);
        ways.seed = seed * UINT64_C(0x9E3779B97F4A7C15);
        for (uint32_t round = 0; round < 2; round++) {
            for (uint32_t i = 0; i < 100; i++) {
                (void)snprintf(name, sizeof name, "service.timer.%u", i);
                struct spelling spelling = spelling_of(SPELLING_STATSD, name, "|ms");
                if (round == 0) {
                    keep(&spelling, i);
                } else {
                    must_lead(&spelling, i);
                }
            }
        }
    }
}

static void test_ways_without_memory(void **state)
{
    (void)state;
    struct ways none;
    mem_fail_after(1);
    assert_int_equal(ways_init(&none, 1), ERR_NOMEM);
    mem_fail_after(0);
    ways_fini(&none);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_ways, close_ways)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_ways_lead_where_they_led),
        TEST(test_ways_tell_spellings_apart),
        TEST(test_ways_may_be_empty_on_a_side),
        TEST(test_ways_of_no_format_are_not_kept),
        TEST(test_ways_have_a_longest_spelling),
        TEST(test_ways_are_forgotten_together),
        TEST(test_ways_that_were_forgotten_never_come_back),
        TEST(test_ways_that_clash_push_each_other_out),
        TEST(test_ways_of_a_hundred_spellings_stay),
        TEST(test_ways_without_memory),
    };
    return cmocka_run_group_tests_name("ways", tests, NULL, NULL);
}
