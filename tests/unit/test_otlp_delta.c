#include "core_helpers.h"

#include "base/err.h"
#include "base/mem.h"
#include "mem_fault.h"
#include "render/otlp_delta.h"

static struct otlp_series series_of(uint32_t set, uint32_t place, uint64_t serial)
{
    return (struct otlp_series){set, place, serial};
}

static struct otlp_state *some_state(void)
{
    struct otlp_state *state = mem_zalloc(1, sizeof *state);
    assert_non_null(state);
    return state;
}

static void must_change(struct otlp_delta *delta, struct otlp_series series, double number,
                        struct otlp_changes *changes)
{
    struct otlp_cell cell = {
        .serial = series.serial, .wall_ns = 9, .number = number, .state = some_state()};
    assert_int_equal(otlp_delta_change(delta, &series, &cell, changes), 0);
}

static void must_be_told(const struct otlp_delta *delta, struct otlp_series series, double number)
{
    const struct otlp_cell *cell = otlp_delta_find(delta, &series);
    assert_non_null(cell);
    assert_true(cell->number == number && cell->wall_ns == 9 && cell->state != NULL);
}

static void must_not_be_told(const struct otlp_delta *delta, struct otlp_series series)
{
    assert_null(otlp_delta_find(delta, &series));
}

static void test_otlp_delta_is_told_once_committed(void **state)
{
    (void)state;
    struct otlp_delta delta = {0};
    struct otlp_changes changes = {0};
    struct otlp_series series = series_of(3, 100, 7);
    must_not_be_told(&delta, series);
    must_change(&delta, series, 1, &changes);
    must_not_be_told(&delta, series);
    otlp_delta_commit(&delta, &changes);
    must_be_told(&delta, series, 1);
    must_change(&delta, series, 2, &changes);
    otlp_delta_abort(&changes);
    must_be_told(&delta, series, 1);
    must_change(&delta, series, 3, &changes);
    otlp_delta_commit(&delta, &changes);
    must_be_told(&delta, series, 3);
    /* Its neighbours were not. */
    must_not_be_told(&delta, series_of(3, 99, 7));
    must_not_be_told(&delta, series_of(2, 100, 7));
    must_not_be_told(&delta, series_of(3, 1000000, 7));
    must_not_be_told(&delta, series_of(1000000, 0, 7));
    otlp_delta_fini(&delta);
}

static void test_otlp_delta_who_takes_a_place_begins_anew(void **state)
{
    (void)state;
    struct otlp_delta delta = {0};
    struct otlp_changes changes = {0};
    must_change(&delta, series_of(0, 5, 1), 1, &changes);
    otlp_delta_commit(&delta, &changes);
    must_not_be_told(&delta, series_of(0, 5, 2));
    must_change(&delta, series_of(0, 5, 2), 2, &changes);
    otlp_delta_commit(&delta, &changes);
    must_be_told(&delta, series_of(0, 5, 2), 2);
    must_not_be_told(&delta, series_of(0, 5, 1));
    otlp_delta_fini(&delta);
}

static void test_otlp_delta_cut_changes_are_none(void **state)
{
    (void)state;
    struct otlp_delta delta = {0};
    struct otlp_changes changes = {0};
    for (uint32_t i = 0; i < 200; i++) {
        must_change(&delta, series_of(0, i, 1), i, &changes);
    }
    otlp_changes_cut(&changes, 150);
    otlp_delta_commit(&delta, &changes);
    must_be_told(&delta, series_of(0, 149, 1), 149);
    must_not_be_told(&delta, series_of(0, 150, 1));
    otlp_delta_fini(&delta);
}

/* Whatever the place count falls to, what is within is kept, and memory follows. */
static void test_otlp_delta_gives_places_back(void **state)
{
    (void)state;
    static const uint32_t counts[] = {1000, 999, 640, 64, 1, 0};
    struct otlp_delta delta = {0};
    struct otlp_changes changes = {0};
    for (uint32_t i = 0; i < 1000; i++) {
        must_change(&delta, series_of(1, i, 1 + i), i, &changes);
    }
    otlp_delta_commit(&delta, &changes);
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        otlp_delta_trim(&delta, 1, counts[i]);
        for (uint32_t place = 0; place < 1000; place++) {
            if (place < counts[i]) {
                must_be_told(&delta, series_of(1, place, 1 + place), place);
            } else {
                must_not_be_told(&delta, series_of(1, place, 1 + place));
            }
        }
        assert_true(delta.sets[1].room <= 4 * (counts[i] < 64 ? 64 : counts[i]));
    }
    assert_int_equal(delta.sets[1].room, 0);
    otlp_delta_trim(&delta, 1, 0);
    otlp_delta_trim(&delta, 500, 0); /* a set that there never was */
    must_change(&delta, series_of(1, 10, 1), 1, &changes);
    otlp_delta_commit(&delta, &changes);
    must_be_told(&delta, series_of(1, 10, 1), 1);
    otlp_delta_fini(&delta);
}

static void test_otlp_delta_without_memory_changes_nothing(void **state)
{
    (void)state;
    bool failed = true;
    for (size_t n = 1; failed; n++) {
        struct otlp_delta delta = {0};
        struct otlp_changes changes = {0};
        struct otlp_series series = series_of(100, 100, 1);
        struct otlp_cell cell = {.serial = 1, .number = 5, .state = some_state()};
        mem_fail_after(n);
        int err = otlp_delta_change(&delta, &series, &cell, &changes);
        failed = mem_has_failed();
        mem_fail_after(0);
        assert_int_equal(err, failed ? ERR_NOMEM : 0);
        assert_int_equal(changes.count, failed ? 0 : 1);
        otlp_delta_commit(&delta, &changes);
        otlp_delta_fini(&delta);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_otlp_delta_is_told_once_committed),
        cmocka_unit_test(test_otlp_delta_who_takes_a_place_begins_anew),
        cmocka_unit_test(test_otlp_delta_cut_changes_are_none),
        cmocka_unit_test(test_otlp_delta_gives_places_back),
        cmocka_unit_test(test_otlp_delta_without_memory_changes_nothing),
    };
    return cmocka_run_group_tests_name("otlp_delta", tests, note_memory, must_be_clean);
}
