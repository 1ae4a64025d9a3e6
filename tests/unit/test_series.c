#include "core_helpers.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "core/part.h"
#include "core/series.h"
#include "mem_fault.h"

static struct limbo limbo;
static struct series_set set;
static struct family family;
static uint64_t serial;

static int open_limbo(void **state)
{
    (void)note_memory(state);
    mem_always_move(true);
    limbo_init(&limbo);
    return 0;
}

static int close_limbo(void **state)
{
    series_fini(&set, &limbo);
    limbo_fini(&limbo);
    mem_always_move(false);
    return must_be_clean(state);
}

static void start(enum family_type type, uint64_t expire_seconds)
{
    static const double bounds[] = {1};
    family = (struct family){.shape = {.type = type,
                                       .bounds = bounds,
                                       .bound_count = type == FAMILY_HISTOGRAM,
                                       .native = true,
                                       .expire_seconds = expire_seconds}};
    series_init(&set, &family);
}

static struct series_id *new_id(const char *pairs, size_t len)
{
    struct series_id *id = mem_alloc(sizeof *id + len);
    assert_non_null(id);
    *id = (struct series_id){.serial = ++serial, .len = (uint32_t)len};
    memcpy(id->pairs, pairs, len);
    return id;
}

static uint32_t must_add_series(void)
{
    struct series_id *id = new_id("a\0001", 4);
    assert_int_equal(series_add(&set, id, &limbo), 0);
    return id->place;
}

static struct series_page *must_own(uint32_t place)
{
    struct series_page *page = series_own(&set, place, &limbo);
    assert_non_null(page);
    return page;
}

static uint64_t must_freeze(void)
{
    uint64_t epoch;
    assert_int_equal(limbo_freeze(&limbo, &epoch), 0);
    return epoch;
}

static void release(uint64_t epoch)
{
    limbo_release(&limbo, epoch);
    while (limbo_sweep(&limbo, 8)) {
    }
}

static void test_series_take_places_in_order(void **state)
{
    (void)state;
    start(FAMILY_COUNTER, 0);
    for (uint32_t i = 0; i < 3 * SERIES_PER_PAGE + 1; i++) {
        assert_int_equal(must_add_series(), i);
        assert_true(series_is_shown(set.pages[i / SERIES_PER_PAGE], i));
        assert_int_equal(series_who(&set, i)->place, i);
    }
    assert_int_equal(set.page_count, 4);
    assert_int_equal(set.count, 3 * SERIES_PER_PAGE + 1);
}

static void test_series_places_that_ended_are_taken_again(void **state)
{
    (void)state;
    start(FAMILY_GAUGE, 0);
    for (uint32_t i = 0; i < 130; i++) {
        (void)must_add_series();
        must_own(i)->value[i % SERIES_PER_PAGE].number = 7;
    }
    assert_int_equal(series_remove(&set, 70, &limbo), 0);
    assert_int_equal(series_remove(&set, 3, &limbo), 0);
    assert_false(series_is_shown(set.pages[0], 3));
    assert_null(series_who(&set, 3));
    assert_int_equal(set.count, 128);
    assert_int_equal(must_add_series(), 3);
    assert_true(set.pages[0]->value[3].number == 0);
    assert_int_equal(must_add_series(), 70);
    assert_int_equal(must_add_series(), 130);
    assert_int_equal(set.count, 131);
}

static void test_series_leave_no_empty_pages_at_the_end(void **state)
{
    (void)state;
    start(FAMILY_GAUGE, 0);
    for (uint32_t i = 0; i < 3 * SERIES_PER_PAGE; i++) {
        assert_int_equal(must_add_series(), i);
    }
    for (uint32_t i = SERIES_PER_PAGE; i < 2 * SERIES_PER_PAGE; i++) {
        assert_int_equal(series_remove(&set, i, &limbo), 0);
    }
    assert_int_equal(set.page_count, 3); /* one in the middle stays */
    for (uint32_t i = 2 * SERIES_PER_PAGE; i < 3 * SERIES_PER_PAGE; i++) {
        assert_int_equal(set.page_count, 3);
        assert_int_equal(series_remove(&set, i, &limbo), 0);
    }
    assert_int_equal(set.page_count, 1);
    assert_int_equal(must_add_series(), SERIES_PER_PAGE);
    for (uint32_t i = 0; i <= SERIES_PER_PAGE; i++) {
        assert_int_equal(series_remove(&set, i, &limbo), 0);
    }
    assert_int_equal(set.page_count, 0);
    assert_int_equal(must_add_series(), 0);
}

static void test_series_show_and_hide_one_alone(void **state)
{
    (void)state;
    start(FAMILY_COUNTER, 0);
    for (uint32_t i = 0; i < SERIES_PER_PAGE; i++) {
        (void)must_add_series();
    }
    for (uint32_t i = 0; i < SERIES_PER_PAGE; i++) {
        struct series_page *page = must_own(i);
        series_show(page, i, false);
        assert_int_equal(page->shown, ~(UINT64_C(1) << i));
        series_show(page, i, true);
    }
}

static void test_series_have_what_their_family_needs(void **state)
{
    (void)state;
    static const struct {
        enum family_type type;
        uint64_t expire_seconds;
        bool touched, hidden, parts;
    } table[] = {
        {FAMILY_COUNTER, 0, false, false, false}, {FAMILY_COUNTER, 5, true, true, false},
        {FAMILY_HISTOGRAM, 5, true, true, false}, {FAMILY_GAUGE, 0, false, true, true},
        {FAMILY_INFO, 0, false, true, true},      {FAMILY_GAUGE, 5, true, true, true},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        start(table[i].type, table[i].expire_seconds);
        (void)must_add_series();
        assert_int_equal(set.touched != NULL, table[i].touched);
        assert_int_equal(set.hidden != NULL, table[i].hidden);
        assert_int_equal(set.parts != NULL, table[i].parts);
        assert_true(series_bytes(&set) > sizeof *set.pages[0]);
        series_fini(&set, &limbo);
    }
}

static void test_series_pairs_are_told_in_turn(void **state)
{
    (void)state;
    static const char pairs[] = "a\0\0bc\0de";
    struct series_id *id = new_id(pairs, sizeof pairs);
    struct str name;
    struct str value;
    const char *at = series_next_pair(id, NULL, &name, &value);
    assert_true(str_is(name, "a") && str_is(value, ""));
    at = series_next_pair(id, at, &name, &value);
    assert_true(str_is(name, "bc") && str_is(value, "de"));
    assert_null(series_next_pair(id, at, &name, &value));
    mem_free(id);
    id = new_id("", 0);
    assert_null(series_next_pair(id, NULL, &name, &value));
    mem_free(id);
}

/* --- copy on write ----------------------------------------------------------------------------- */

/* All that a reader of a page can reach, byte by byte, but the words that are the loop's. */
struct seen {
    struct series_page page;
    char *blocks; /* ids, buckets, exemplars */
    size_t len;
};

static void see_block(struct seen *seen, const struct block *block, size_t size)
{
    size -= sizeof *block;
    seen->blocks = realloc(seen->blocks, seen->len + size);
    assert_non_null(seen->blocks);
    memcpy(seen->blocks + seen->len, block + 1, size);
    seen->len += size;
}

static struct seen see(const struct series_page *page, enum family_type type)
{
    struct seen seen = {.page = *page};
    seen.page.block = (struct block){0};
    for (uint32_t slot = 0; slot < SERIES_PER_PAGE; slot++) {
        const struct series_id *id = page->who[slot];
        if (id == NULL) {
            continue;
        }
        see_block(&seen, &id->block, sizeof *id + id->len);
        if (type == FAMILY_HISTOGRAM) {
            const struct buckets *buckets = page->value[slot].buckets;
            see_block(&seen, &buckets->block,
                      sizeof *buckets + ((size_t)buckets->bound_count + 1 + buckets->positive.room +
                                         buckets->negative.room) *
                                            sizeof buckets->counts[0]);
        }
    }
    if (page->exemplars != NULL) {
        see_block(&seen, &page->exemplars->block,
                  sizeof *page->exemplars + SERIES_PER_PAGE * sizeof page->exemplars->marks[0]);
    }
    return seen;
}

static void must_see_the_same(const struct series_page *page, enum family_type type,
                              struct seen *before)
{
    struct seen after = see(page, type);
    assert_memory_equal(&after.page, &before->page, sizeof after.page);
    assert_int_equal(after.len, before->len);
    assert_memory_equal(after.blocks, before->blocks, after.len);
    free(after.blocks);
    free(before->blocks);
}

static void change_series(uint32_t place, struct random *random)
{
    struct series_page *page = must_own(place);
    uint32_t slot = place % SERIES_PER_PAGE;
    if (page->who[slot] == NULL) {
        return;
    }
    if (random_below(random, 8) == 0) {
        assert_int_equal(series_remove(&set, place, &limbo), 0);
        return;
    }
    series_show(page, place, random_below(random, 2) == 0);
    if (family.shape.type == FAMILY_HISTOGRAM) {
        double value = (double)random_below(random, 1000000) - 500000;
        assert_int_equal(
            buckets_add(&page->value[slot].buckets, family.shape.bounds, value, 1, &limbo), 0);
        return;
    }
    page->value[slot].number++;
    if (family.shape.type == FAMILY_COUNTER) {
        struct exemplar_set *exemplars = series_own_exemplars(page, &limbo);
        assert_non_null(exemplars);
        exemplars->marks[slot] = (struct exemplar_mark){.set = true, .value = 1};
    }
}

/* Snapshots at any time, held for any time, while anything happens to the series. */
static void must_keep_snapshots(enum family_type type)
{
    enum { PAGES = 2, HELD = 4 };
    struct random random = random_start("snapshots");
    struct {
        uint64_t epoch;
        const struct series_page *pages[PAGES];
        struct seen seen[PAGES];
    } held[HELD] = {{0}};
    start(type, 0);
    for (uint32_t i = 0; i < PAGES * SERIES_PER_PAGE; i++) {
        (void)must_add_series();
    }
    for (int step = 0; step < 4000; step++) {
        size_t which = random_below(&random, HELD);
        uint64_t what = random_below(&random, 20);
        if (what == 0 && held[which].epoch == 0) {
            for (int i = 0; i < PAGES; i++) {
                held[which].pages[i] = set.pages[i];
                held[which].seen[i] = see(set.pages[i], type);
            }
            held[which].epoch = must_freeze();
        } else if (what == 1 && held[which].epoch != 0) {
            for (int i = 0; i < PAGES; i++) {
                must_see_the_same(held[which].pages[i], type, &held[which].seen[i]);
            }
            release(held[which].epoch);
            held[which].epoch = 0;
        } else if (set.count + 20 < PAGES * SERIES_PER_PAGE || what == 2) {
            if (set.count < PAGES * SERIES_PER_PAGE) {
                (void)must_add_series();
            }
        } else {
            change_series((uint32_t)random_below(&random, PAGES * SERIES_PER_PAGE), &random);
        }
    }
    for (size_t i = 0; i < HELD; i++) {
        for (int page = 0; held[i].epoch != 0 && page < PAGES; page++) {
            must_see_the_same(held[i].pages[page], type, &held[i].seen[page]);
        }
        if (held[i].epoch != 0) {
            release(held[i].epoch);
        }
    }
    series_fini(&set, &limbo);
}

static void test_series_in_a_snapshot_do_not_change(void **state)
{
    (void)state;
    must_keep_snapshots(FAMILY_COUNTER);
    must_keep_snapshots(FAMILY_HISTOGRAM);
    must_keep_snapshots(FAMILY_GAUGE);
}

static void test_series_pages_are_copied_once_an_epoch(void **state)
{
    (void)state;
    start(FAMILY_COUNTER, 0);
    (void)must_add_series();
    (void)must_add_series();
    uint64_t epoch = must_freeze();
    size_t before = mem_count_allocations();
    struct series_page *page = must_own(0);
    assert_int_equal(page->stamp, limbo.epoch);
    assert_ptr_equal(must_own(1), page);
    assert_int_equal(mem_count_allocations(), before + 1);
    release(epoch);
    assert_ptr_equal(must_own(0), page);
    assert_int_equal(mem_count_allocations(), before + 1);
}

/* --- want of memory ---------------------------------------------------------------------------- */

static void must_add_or_not(enum family_type type)
{
    start(type, 5);
    uint64_t epoch = must_freeze();
    for (uint32_t i = 0; i < 2 * SERIES_PER_PAGE + 1; i++) {
        bool failed = true;
        struct series_id *id = new_id("a\0001", 4);
        for (size_t n = 1; failed; n++) {
            mem_fail_after(n);
            int err = series_add(&set, id, &limbo);
            failed = mem_has_failed();
            mem_fail_after(0);
            assert_int_equal(err, failed ? ERR_NOMEM : 0);
            assert_int_equal(set.count, i + (failed ? 0 : 1));
        }
        if (i % 9 == 0) {
            release(epoch);
            epoch = must_freeze();
        }
    }
    release(epoch);
    series_fini(&set, &limbo);
}

static void test_series_are_added_or_not(void **state)
{
    (void)state;
    for (int type = 0; type < FAMILY_TYPE_COUNT; type++) {
        must_add_or_not((enum family_type)type);
    }
}

static void test_series_are_removed_or_not(void **state)
{
    (void)state;
    start(FAMILY_COUNTER, 0);
    (void)must_add_series();
    (void)must_add_series(); /* so that the page stays */
    struct exemplar_set *exemplars = series_own_exemplars(must_own(0), &limbo);
    assert_non_null(exemplars);
    exemplars->marks[0].set = true;
    uint64_t epoch = must_freeze();
    bool failed = true;
    for (size_t n = 1; failed; n++) {
        mem_fail_after(n);
        int err = series_remove(&set, 0, &limbo);
        failed = mem_has_failed();
        mem_fail_after(0);
        assert_int_equal(err, failed ? ERR_NOMEM : 0);
        assert_int_equal(series_who(&set, 0) != NULL, failed);
        assert_int_equal(series_is_shown(set.pages[0], 0), failed);
        assert_int_equal(set.count, failed ? 2 : 1);
    }
    release(epoch);
    assert_int_equal(must_add_series(), 0);
    assert_false(set.pages[0]->exemplars->marks[0].set);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_limbo, close_limbo)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_series_take_places_in_order),
        TEST(test_series_places_that_ended_are_taken_again),
        TEST(test_series_leave_no_empty_pages_at_the_end),
        TEST(test_series_show_and_hide_one_alone),
        TEST(test_series_have_what_their_family_needs),
        TEST(test_series_pairs_are_told_in_turn),
        TEST(test_series_in_a_snapshot_do_not_change),
        TEST(test_series_pages_are_copied_once_an_epoch),
        TEST(test_series_are_added_or_not),
        TEST(test_series_are_removed_or_not),
    };
    return cmocka_run_group_tests_name("series", tests, NULL, NULL);
}
