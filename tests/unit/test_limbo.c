#include "core_helpers.h"

#include "base/err.h"
#include "base/mem.h"
#include "mem_fault.h"

static size_t blocks_alive(void)
{
    return mem_count_live() - live_before;
}

/* A block that does not tell when it was made. */
static struct block *new_block(void)
{
    struct block *block = mem_zalloc(1, sizeof *block);
    assert_non_null(block);
    return block;
}

static uint64_t must_freeze(struct limbo *limbo)
{
    uint64_t epoch = 0;
    assert_int_equal(limbo_freeze(limbo, &epoch), 0);
    return epoch;
}

/* --- epochs ------------------------------------------------------------------------------------ */

static void test_limbo_freezing_begins_an_epoch(void **state)
{
    (void)state;
    struct limbo limbo;
    limbo_init(&limbo);
    assert_int_equal(limbo.epoch, 1);
    assert_int_equal(limbo.shared_epoch, 0);
    assert_int_equal(must_freeze(&limbo), 1);
    assert_int_equal(limbo.epoch, 2);
    assert_int_equal(limbo.shared_epoch, 1);
    limbo_release(&limbo, 1);
    assert_int_equal(limbo.epoch, 2);
    assert_int_equal(limbo.shared_epoch, 0);
    limbo_fini(&limbo);
}

static void test_limbo_shared_epoch_is_the_newest_alive(void **state)
{
    (void)state;
    struct limbo limbo;
    limbo_init(&limbo);
    uint64_t first = must_freeze(&limbo);
    uint64_t second = must_freeze(&limbo);
    uint64_t third = must_freeze(&limbo);
    assert_int_equal(limbo.shared_epoch, third);
    limbo_release(&limbo, second);
    assert_int_equal(limbo.shared_epoch, third);
    limbo_release(&limbo, third);
    assert_int_equal(limbo.shared_epoch, first);
    limbo_release(&limbo, first);
    assert_int_equal(limbo.shared_epoch, 0);
    limbo_fini(&limbo);
}

static void test_limbo_snapshots_have_a_ceiling(void **state)
{
    (void)state;
    struct limbo limbo;
    limbo_init(&limbo);
    uint64_t epochs[LIMBO_SNAPSHOTS_MAX];
    for (size_t i = 0; i < LIMBO_SNAPSHOTS_MAX; i++) {
        epochs[i] = must_freeze(&limbo);
    }
    uint64_t epoch = 99;
    uint64_t before = limbo.epoch;
    assert_int_equal(limbo_freeze(&limbo, &epoch), ERR_LIMIT);
    assert_int_equal(epoch, 99);
    assert_int_equal(limbo.epoch, before);
    limbo_release(&limbo, epochs[3]);
    epochs[3] = must_freeze(&limbo);
    assert_int_equal(limbo_freeze(&limbo, &epoch), ERR_LIMIT);
    for (size_t i = 0; i < LIMBO_SNAPSHOTS_MAX; i++) {
        limbo_release(&limbo, epochs[i]);
    }
    assert_int_equal(limbo.shared_epoch, 0);
    limbo_fini(&limbo);
}

/* --- when blocks are freed --------------------------------------------------------------------- */

static void test_limbo_frees_at_once_without_snapshots(void **state)
{
    (void)state;
    struct limbo limbo;
    limbo_init(&limbo);
    limbo_retire(&limbo, new_block());
    limbo_retire(&limbo, NULL);
    assert_int_equal(blocks_alive(), 0);
    assert_int_equal(limbo.waiting, 0);
    limbo_release(&limbo, must_freeze(&limbo));
    limbo_retire(&limbo, new_block());
    assert_int_equal(blocks_alive(), 0);
    limbo_fini(&limbo);
}

static void test_limbo_block_waits_for_every_older_snapshot(void **state)
{
    (void)state;
    struct limbo limbo;
    limbo_init(&limbo);
    uint64_t first = must_freeze(&limbo);
    limbo_retire(&limbo, new_block()); /* seen by the first */
    uint64_t second = must_freeze(&limbo);
    limbo_retire(&limbo, new_block()); /* seen by both, or the second alone */
    uint64_t third = must_freeze(&limbo);
    limbo_retire(&limbo, new_block());
    assert_int_equal(limbo.waiting, 3);
    limbo_release(&limbo, second);
    assert_false(limbo_sweep(&limbo, 10));
    assert_int_equal(blocks_alive(), 3);
    limbo_release(&limbo, first);
    assert_false(limbo_sweep(&limbo, 10));
    assert_int_equal(blocks_alive(), 1); /* the third may see the last only */
    limbo_release(&limbo, third);
    assert_false(limbo_sweep(&limbo, 10));
    assert_int_equal(blocks_alive(), 0);
    assert_int_equal(limbo.waiting, 0);
    limbo_fini(&limbo);
}

static void test_limbo_newer_snapshots_do_not_hold_old_blocks(void **state)
{
    (void)state;
    struct limbo limbo;
    limbo_init(&limbo);
    uint64_t first = must_freeze(&limbo);
    limbo_retire(&limbo, new_block());
    uint64_t second = must_freeze(&limbo); /* begins after the block went */
    limbo_release(&limbo, first);
    assert_false(limbo_sweep(&limbo, 10));
    assert_int_equal(blocks_alive(), 0);
    limbo_release(&limbo, second);
    limbo_fini(&limbo);
}

static void test_limbo_block_younger_than_all_snapshots_goes_at_once(void **state)
{
    (void)state;
    struct limbo limbo;
    limbo_init(&limbo);
    struct block *older = new_block();
    older->epoch = limbo.epoch;
    uint64_t first = must_freeze(&limbo);
    struct block *between = new_block();
    between->epoch = limbo.epoch;
    struct block *also_between = new_block();
    also_between->epoch = limbo.epoch;
    uint64_t second = must_freeze(&limbo);
    struct block *younger = new_block();
    younger->epoch = limbo.epoch;
    limbo_retire(&limbo, younger);
    assert_int_equal(blocks_alive(), 3);
    limbo_retire(&limbo, between); /* the second sees it */
    assert_int_equal(blocks_alive(), 3);
    limbo_release(&limbo, second);
    limbo_retire(&limbo, also_between); /* nobody does any more */
    assert_int_equal(blocks_alive(), 2);
    limbo_retire(&limbo, older);
    assert_int_equal(blocks_alive(), 2);
    limbo_release(&limbo, first);
    limbo_fini(&limbo);
    assert_int_equal(blocks_alive(), 0);
}

static void test_limbo_sweeps_in_portions(void **state)
{
    (void)state;
    struct limbo limbo;
    limbo_init(&limbo);
    uint64_t epoch = must_freeze(&limbo);
    for (int i = 0; i < 10; i++) {
        limbo_retire(&limbo, new_block());
    }
    assert_false(limbo_sweep(&limbo, 4)); /* none may go yet */
    assert_int_equal(blocks_alive(), 10);
    limbo_release(&limbo, epoch);
    assert_int_equal(blocks_alive(), 10);
    assert_true(limbo_sweep(&limbo, 0));
    assert_true(limbo_sweep(&limbo, 4));
    assert_int_equal(blocks_alive(), 6);
    assert_true(limbo_sweep(&limbo, 4));
    assert_false(limbo_sweep(&limbo, 4));
    assert_int_equal(blocks_alive(), 0);
    assert_false(limbo_sweep(&limbo, 4));
    assert_false(limbo_sweep(&limbo, 0));
    limbo_retire(&limbo, new_block()); /* the emptied list is usable */
    epoch = must_freeze(&limbo);
    limbo_retire(&limbo, new_block());
    assert_int_equal(blocks_alive(), 1);
    limbo_release(&limbo, epoch);
    assert_true(limbo_sweep(&limbo, 0));
    assert_false(limbo_sweep(&limbo, 1));
    assert_int_equal(blocks_alive(), 0);
    limbo_fini(&limbo);
}

static void test_limbo_fini_frees_what_waits(void **state)
{
    (void)state;
    struct limbo limbo;
    limbo_init(&limbo);
    uint64_t epoch = must_freeze(&limbo);
    for (int i = 0; i < 10; i++) {
        limbo_retire(&limbo, new_block());
    }
    limbo_release(&limbo, epoch);
    limbo_fini(&limbo);
    assert_int_equal(blocks_alive(), 0);
}

/* A block must be there as long as a snapshot that was taken while the block was in use. */
static void test_limbo_never_frees_what_a_snapshot_sees(void **state)
{
    (void)state;
    enum { USED = 8, SEEN = LIMBO_SNAPSHOTS_MAX };
    struct seen {
        struct block block;
        uint64_t number;
    };
    struct random random = random_start("limbo");
    struct limbo limbo;
    limbo_init(&limbo);
    struct seen *used[USED];
    struct {
        uint64_t epoch; /* 0: none */
        struct seen *block[USED];
        uint64_t number[USED];
    } snapshots[SEEN] = {{0}};
    uint64_t next = 0;
    for (size_t i = 0; i < USED; i++) {
        used[i] = mem_zalloc(1, sizeof *used[i]);
        used[i]->number = next++;
    }
    for (int step = 0; step < 100000; step++) {
        size_t at = random_below(&random, SEEN);
        switch (random_below(&random, 4)) {
        case 0:
            if (snapshots[at].epoch == 0) {
                snapshots[at].epoch = must_freeze(&limbo);
                for (size_t i = 0; i < USED; i++) {
                    snapshots[at].block[i] = used[i];
                    snapshots[at].number[i] = used[i]->number;
                }
            }
            break;
        case 1:
            if (snapshots[at].epoch != 0) {
                for (size_t i = 0; i < USED; i++) { /* freed memory would show, to sanitizers too */
                    assert_int_equal(snapshots[at].block[i]->number, snapshots[at].number[i]);
                }
                limbo_release(&limbo, snapshots[at].epoch);
                snapshots[at].epoch = 0;
            }
            break;
        case 2:
            (void)limbo_sweep(&limbo, random_below(&random, 4)); /* what is left is left */
            break;
        default:
            at = random_below(&random, USED);
            limbo_retire(&limbo, &used[at]->block);
            used[at] = mem_zalloc(1, sizeof *used[at]);
            used[at]->block.epoch = limbo.epoch;
            used[at]->number = next++;
        }
    }
    for (size_t i = 0; i < SEEN; i++) {
        if (snapshots[i].epoch != 0) {
            limbo_release(&limbo, snapshots[i].epoch);
        }
    }
    for (size_t i = 0; i < USED; i++) {
        limbo_retire(&limbo, &used[i]->block);
    }
    assert_false(limbo_sweep(&limbo, SIZE_MAX));
    assert_int_equal(blocks_alive(), 0);
    limbo_fini(&limbo);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, note_memory, must_be_clean)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_limbo_freezing_begins_an_epoch),
        TEST(test_limbo_shared_epoch_is_the_newest_alive),
        TEST(test_limbo_snapshots_have_a_ceiling),
        TEST(test_limbo_frees_at_once_without_snapshots),
        TEST(test_limbo_block_waits_for_every_older_snapshot),
        TEST(test_limbo_newer_snapshots_do_not_hold_old_blocks),
        TEST(test_limbo_block_younger_than_all_snapshots_goes_at_once),
        TEST(test_limbo_sweeps_in_portions),
        TEST(test_limbo_fini_frees_what_waits),
        TEST(test_limbo_never_frees_what_a_snapshot_sees),
    };
    return cmocka_run_group_tests_name("limbo", tests, core_tables, NULL);
}
