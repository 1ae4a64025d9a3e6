/*
 * core/index against an array that knows everything: series come and go, leaves split, hashes clash.
 */
#include "base/err.h"
#include "base/mem.h"
#include "core/index.h"
#include "core_helpers.h"
#include "mem_fault.h"

enum { SERIES = 20000 };

static struct series_id *new_series(uint64_t hash, uint32_t family, uint32_t number)
{
    struct series_id *id = mem_zalloc(1, sizeof *id + sizeof number);
    assert_non_null(id);
    id->hash = hash;
    id->family = family;
    id->len = sizeof number;
    memcpy(id->pairs, &number, sizeof number);
    return id;
}

static struct series_id *find(const struct series_index *index, const struct series_id *id)
{
    return index_find(index, id->hash, id->family, (struct str){id->pairs, id->len});
}

static void must_add(struct series_index *index, struct series_id *id)
{
    assert_int_equal(index_reserve(index, id->hash), 0);
    index_add(index, id);
    assert_ptr_equal(find(index, id), id);
}

static void test_index_finds_what_is_there_and_nothing_else(void **state)
{
    (void)state;
    static struct series_id *ids[SERIES];
    static bool there[SERIES];
    struct random random = random_start("index");
    struct series_index index;
    uint32_t count = 0;
    assert_int_equal(index_init(&index), 0);
    for (uint32_t i = 0; i < SERIES; i++) {
        ids[i] = new_series(random_next(&random), i % 3, i);
        there[i] = false;
    }
    for (unsigned turn = 0; turn < 10 * SERIES; turn++) {
        uint32_t i = (uint32_t)random_below(&random, turn < 5 * SERIES ? SERIES : SERIES / 10);
        assert_ptr_equal(find(&index, ids[i]), there[i] ? ids[i] : NULL);
        if (there[i]) {
            index_remove(&index, ids[i]);
            count--;
        } else {
            must_add(&index, ids[i]);
            count++;
        }
        there[i] = !there[i];
        assert_int_equal(index.count, count);
    }
    for (uint32_t i = 0; i < SERIES; i++) {
        assert_ptr_equal(find(&index, ids[i]), there[i] ? ids[i] : NULL);
        mem_free(ids[i]);
    }
    index_fini(&index);
}

/* One hash for all: the family and the labels tell them apart, as many as a leaf takes. */
static void test_index_tells_equal_hashes_apart_up_to_its_ceiling(void **state)
{
    (void)state;
    struct series_id *ids[INDEX_FULL];
    struct series_index index;
    const uint64_t hash = UINT64_C(0xFFFFFFFFFFFFFF7F); /* begins to probe at the last cell */
    assert_int_equal(index_init(&index), 0);
    for (uint32_t i = 0; i < INDEX_FULL; i++) {
        ids[i] = new_series(hash, i % 2, i / 2);
        must_add(&index, ids[i]);
    }
    for (uint32_t i = 0; i < INDEX_FULL; i++) {
        assert_ptr_equal(find(&index, ids[i]), ids[i]);
    }
    assert_int_equal(index_reserve(&index, hash), ERR_LIMIT);
    assert_int_equal(index_reserve(&index, ~hash), 0);
    index_remove(&index, ids[0]);
    assert_int_equal(index_reserve(&index, hash), 0);
    assert_null(find(&index, ids[0]));
    assert_ptr_equal(find(&index, ids[INDEX_FULL - 1]), ids[INDEX_FULL - 1]);
    for (uint32_t i = 0; i < INDEX_FULL; i++) {
        mem_free(ids[i]);
    }
    index_fini(&index);
}

static void test_index_needs_little_memory_for_few(void **state)
{
    (void)state;
    struct series_index index;
    size_t before = mem_count_live();
    assert_int_equal(index_init(&index), 0);
    assert_int_equal(mem_count_live() - before, 2); /* a directory and a leaf */
    index_fini(&index);
    assert_int_equal(mem_count_live(), before);
}

static void test_index_without_memory_is_as_it_was(void **state)
{
    (void)state;
    struct random random = random_start("faults");
    struct series_index index;
    static struct series_id *ids[1000];
    mem_fail_after(1);
    assert_int_equal(index_init(&index), ERR_NOMEM);
    mem_fail_after(2);
    assert_int_equal(index_init(&index), ERR_NOMEM);
    mem_fail_after(0);
    assert_int_equal(index_init(&index), 0);
    for (uint32_t i = 0; i < 1000; i++) {
        ids[i] = new_series(random_next(&random), 0, i);
        int err = ERR_NOMEM;
        for (size_t n = 1; err != 0; n++) {
            mem_fail_after(n);
            err = index_reserve(&index, ids[i]->hash);
            mem_fail_after(0);
            assert_true(err == 0 || err == ERR_NOMEM);
            assert_true(i == 0 || find(&index, ids[i - 1]) == ids[i - 1]);
        }
        index_add(&index, ids[i]);
    }
    for (uint32_t i = 0; i < 1000; i++) {
        assert_ptr_equal(find(&index, ids[i]), ids[i]);
        mem_free(ids[i]);
    }
    index_fini(&index);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, note_memory, must_be_clean)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_index_finds_what_is_there_and_nothing_else),
        TEST(test_index_tells_equal_hashes_apart_up_to_its_ceiling),
        TEST(test_index_needs_little_memory_for_few),
        TEST(test_index_without_memory_is_as_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
