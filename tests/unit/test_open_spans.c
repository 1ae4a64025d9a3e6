#include "random_span.h"

#include <stdlib.h>

#include "base/err.h"
#include "core/open_spans.h"
#include "mem_fault.h"

enum { CUTS_MAX = 4096 };

/* What was cut off, in order. */
static struct cut {
    uint64_t number;
    enum span_cut why;
} cuts[CUTS_MAX];
static unsigned cut_count;
static struct open_spans spans;

static uint64_t number_of(const struct span *span)
{
    uint64_t number;
    memcpy(&number, span->span_id, sizeof number);
    return number;
}

static void note_cut(void *ctx, const struct span *first, enum span_cut why)
{
    assert_ptr_equal(ctx, &cut_count);
    assert_true(cut_count < CUTS_MAX);
    assert_null(open_spans_find(&spans, first)); /* it is out of the lists when it is told */
    cuts[cut_count++] = (struct cut){number_of(first), why};
}

static void open_up(uint32_t max_count, size_t max_bytes)
{
    struct open_spans_options options = {.max_count = max_count,
                                         .max_bytes = max_bytes,
                                         .hash_seed = 42,
                                         .ctx = &cut_count,
                                         .cut_off = note_cut};
    open_spans_init(&spans, &options);
    cut_count = 0;
}

static struct span half(uint64_t number)
{
    struct span span = plain_span(1, number, 1000, 0);
    span.part = SPAN_START;
    return span;
}

static void must_begin(uint64_t number, struct span_owner *owner)
{
    struct span span = half(number);
    assert_int_equal(open_spans_begin(&spans, &span, owner), 0);
}

static bool is_open(uint64_t number)
{
    struct span span = half(number);
    const struct span *found = open_spans_find(&spans, &span);
    assert_true(found == NULL || number_of(found) == number);
    return found != NULL;
}

static void take(uint64_t number)
{
    struct span span = half(number);
    open_spans_take(&spans, &span);
}

/* Numbers that were cut off since the last time, "3 1 2" with a letter for why. */
static void must_have_cut(enum span_cut why, unsigned count, const uint64_t *numbers)
{
    assert_int_equal(cut_count, count);
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(cuts[i].number, numbers[i]);
        assert_int_equal(cuts[i].why, why);
    }
    cut_count = 0;
}

#define must_cut(why, ...)                                                                         \
    must_have_cut(why, sizeof((uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t),                       \
                  (uint64_t[]){__VA_ARGS__})
#define must_cut_none() must_have_cut(SPAN_CUT_STOP, 0, NULL)

static void test_open_spans_begin_find_take(void **state)
{
    (void)state;
    open_up(8, SIZE_MAX);
    assert_false(is_open(1));
    must_begin(1, NULL);
    assert_true(is_open(1));
    assert_false(is_open(2));
    must_begin(2, NULL);
    assert_int_equal(spans.count, 2);
    take(1);
    assert_false(is_open(1));
    assert_true(is_open(2));
    must_begin(1, NULL); /* may begin again once it has ended */
    take(2);
    take(1);
    assert_int_equal(spans.count, 0);
    assert_int_equal(spans.bytes, 0);
    must_cut_none();
    open_spans_fini(&spans);
}

/* The same span id in another trace is another span, and so is the same trace with another id. */
static void test_open_spans_tells_apart_by_both_ids(void **state)
{
    (void)state;
    open_up(8, SIZE_MAX);
    struct span facts[] = {half(1), half(1), half(1), half(2)};
    facts[1].trace_id[15] = 1;
    facts[2].trace_id[0] = 7;
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(open_spans_begin(&spans, &facts[i], NULL), 0);
    }
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(open_spans_begin(&spans, &facts[i], NULL), ERR_DUPLICATE_KEY);
        must_equal_span(open_spans_find(&spans, &facts[i]), &facts[i]);
    }
    assert_int_equal(spans.count, 4);
    open_spans_fini(&spans);
}

static void test_open_spans_refuses_duplicates_and_keeps_the_first(void **state)
{
    (void)state;
    struct span_owner owner = {0};
    struct span_owner other = {0};
    open_up(2, SIZE_MAX);
    struct span span = half(1);
    assert_int_equal(open_spans_begin(&spans, &span, &owner), 0);
    must_begin(2, NULL);
    span.name = STR_LITERAL("another");
    size_t bytes = spans.bytes;
    assert_int_equal(open_spans_begin(&spans, &span, &other), ERR_DUPLICATE_KEY);
    must_cut_none(); /* although it is full */
    assert_int_equal(spans.bytes, bytes);
    assert_true(str_is(open_spans_find(&spans, &span)->name, "s"));
    open_spans_end_owner(&spans, &other);
    must_cut_none();
    open_spans_end_owner(&spans, &owner);
    must_cut(SPAN_CUT_OWNER, 1);
    open_spans_fini(&spans);
}

/* --- owners ------------------------------------------------------------------------------------ */

static void test_open_spans_end_with_their_owner(void **state)
{
    (void)state;
    struct span_owner one = {0};
    struct span_owner two = {0};
    open_up(16, SIZE_MAX);
    must_begin(1, &one);
    must_begin(2, &two);
    must_begin(3, NULL);
    must_begin(4, &one);
    must_begin(5, &two);
    must_begin(6, &one);
    take(4); /* from the middle of its owner's */
    open_spans_end_owner(&spans, &one);
    must_cut(SPAN_CUT_OWNER, 1, 6); /* in the order that they began */
    assert_true(is_open(2) && is_open(3) && is_open(5));
    open_spans_end_owner(&spans, &one); /* nothing is left */
    must_cut_none();
    must_begin(1, &one); /* an owner may go on */
    take(1);
    open_spans_end_owner(&spans, &one);
    must_cut_none();
    open_spans_end_owner(&spans, &two);
    must_cut(SPAN_CUT_OWNER, 2, 5);
    assert_true(is_open(3));
    assert_int_equal(spans.count, 1);
    open_spans_fini(&spans);
}

static void test_open_spans_take_any_of_an_owner(void **state)
{
    (void)state;
    /* The first, one in the middle, the last; what is left, in order. */
    for (uint64_t taken = 1; taken <= 3; taken++) {
        struct span_owner owner = {0};
        open_up(4, SIZE_MAX);
        must_begin(1, &owner);
        must_begin(2, &owner);
        must_begin(3, &owner);
        take(taken);
        must_begin(4, &owner);
        open_spans_end_owner(&spans, &owner);
        must_cut(SPAN_CUT_OWNER, taken == 1 ? 2 : 1, taken == 3 ? 2 : 3, 4);
        open_spans_fini(&spans);
    }
}

static void test_open_spans_of_nobody_end_by_ceiling_only(void **state)
{
    (void)state;
    struct span_owner owner = {0};
    open_up(2, SIZE_MAX);
    must_begin(1, NULL);
    must_begin(2, &owner);
    open_spans_end_owner(&spans, &owner);
    must_cut(SPAN_CUT_OWNER, 2);
    must_begin(3, NULL);
    must_begin(4, NULL);
    must_cut(SPAN_CUT_CEILING, 1);
    open_spans_fini(&spans);
}

/* --- ceilings ---------------------------------------------------------------------------------- */

static void test_open_spans_past_the_count_the_oldest_goes(void **state)
{
    (void)state;
    for (uint32_t max = 1; max <= 5; max++) {
        struct span_owner owner = {0};
        open_up(max, SIZE_MAX);
        for (uint64_t i = 0; i < max; i++) {
            must_begin(i, i % 2 == 0 ? &owner : NULL);
        }
        must_cut_none();
        must_begin(max, &owner);
        must_cut(SPAN_CUT_CEILING, 0);
        assert_int_equal(spans.count, max);
        must_begin(max + 1, &owner);
        must_cut(SPAN_CUT_CEILING, 1);
        assert_true(is_open(max) || max == 1);
        assert_true(is_open(max + 1));
        open_spans_end_all(&spans);
        assert_int_equal(cut_count, max);
        assert_int_equal(spans.count, 0);
        open_spans_fini(&spans);
    }
}

/* The age of a span is that of its beginning: one that is taken and begins anew is young. */
static void test_open_spans_age(void **state)
{
    (void)state;
    open_up(3, SIZE_MAX);
    must_begin(1, NULL);
    must_begin(2, NULL);
    must_begin(3, NULL);
    take(1);
    must_begin(1, NULL);
    take(3); /* the youngest but one */
    must_begin(4, NULL);
    must_cut_none();
    must_begin(5, NULL);
    must_cut(SPAN_CUT_CEILING, 2);
    must_begin(6, NULL);
    must_cut(SPAN_CUT_CEILING, 1);
    open_spans_end_all(&spans);
    must_cut(SPAN_CUT_STOP, 4, 5, 6);
    open_spans_fini(&spans);
}

/* Bytes of one open span as it is counted. */
static size_t bytes_of(const struct span *span)
{
    open_up(1, SIZE_MAX);
    assert_int_equal(open_spans_begin(&spans, span, NULL), 0);
    size_t bytes = spans.bytes;
    open_spans_fini(&spans);
    return bytes;
}

static void test_open_spans_past_the_bytes_the_oldest_go(void **state)
{
    (void)state;
    static char text[1000];
    struct span plain = half(9);
    struct span large = half(9);
    large.status_message = (struct str){text, sizeof text};
    size_t each = bytes_of(&plain);
    assert_int_equal(bytes_of(&large), each + sizeof text);
    struct {
        size_t max_bytes;
        unsigned cut;
    } facts[] = {
        {3 * each + each + sizeof text, 0},
        {3 * each + each + sizeof text - 1, 1},
        {3 * each + sizeof text, 1},
        {3 * each + sizeof text - 1, 2},
        {each + sizeof text, 3},
    };
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        open_up(100, facts[i].max_bytes);
        must_begin(1, NULL);
        must_begin(2, NULL);
        must_begin(3, NULL);
        assert_int_equal(open_spans_begin(&spans, &large, NULL), 0);
        must_have_cut(SPAN_CUT_CEILING, facts[i].cut, (uint64_t[]){1, 2, 3});
        assert_true(spans.bytes <= facts[i].max_bytes);
        assert_true(is_open(9));
        open_spans_fini(&spans);
    }
}

static void test_open_spans_one_alone_above_the_ceiling_is_refused(void **state)
{
    (void)state;
    struct span plain = half(1);
    size_t each = bytes_of(&plain);
    open_up(100, each);
    must_begin(1, NULL);
    struct span large = half(2);
    large.status_message = STR_LITERAL("!");
    assert_int_equal(open_spans_begin(&spans, &large, NULL), ERR_LIMIT);
    must_cut_none(); /* nobody has to go for one that cannot stay */
    assert_true(is_open(1));
    must_begin(3, NULL);
    must_cut(SPAN_CUT_CEILING, 1);
    open_spans_fini(&spans);
}

/* A ceiling of bytes is no reason to cut everybody off at once. */
static void test_open_spans_cuts_off_a_bounded_number_at_once(void **state)
{
    (void)state;
    static char text[1 << 20];
    struct span plain = half(1);
    size_t each = bytes_of(&plain);
    struct span large = half(5000);
    large.status_message = (struct str){text, (OPEN_SPANS_CUT_MAX + 1) * each};
    assert_true(large.status_message.len <= sizeof text);
    open_up(100000, (OPEN_SPANS_CUT_MAX + 2) * each);
    for (uint64_t i = 0; i < OPEN_SPANS_CUT_MAX + 2; i++) {
        must_begin(i, NULL);
    }
    assert_int_equal(open_spans_begin(&spans, &large, NULL), ERR_LIMIT);
    assert_int_equal(cut_count, OPEN_SPANS_CUT_MAX);
    assert_int_equal(spans.count, 2);
    assert_int_equal(open_spans_begin(&spans, &large, NULL), 0);
    assert_int_equal(cut_count, OPEN_SPANS_CUT_MAX + 2);
    open_spans_fini(&spans);
    cut_count = 0;
}

/* An owner with many: the rest goes on with open_spans_tick, whether the owner is still there or not. */
static void test_open_spans_ends_a_bounded_number_at_once(void **state)
{
    (void)state;
    struct span_owner *owner = calloc(1, sizeof *owner);
    struct span_owner other = {0};
    assert_non_null(owner);
    open_up(100000, SIZE_MAX);
    for (uint64_t i = 0; i < OPEN_SPANS_CUT_MAX + 3; i++) {
        must_begin(i, owner);
        must_begin(10000 + i, &other);
    }
    open_spans_end_owner(&spans, owner);
    assert_int_equal(cut_count, OPEN_SPANS_CUT_MAX);
    free(owner);
    take(OPEN_SPANS_CUT_MAX + 1); /* the end of one came after all */
    open_spans_end_owner(&spans, &other);
    assert_int_equal(cut_count, 2 * OPEN_SPANS_CUT_MAX);
    assert_true(is_open(OPEN_SPANS_CUT_MAX));
    open_spans_tick(&spans);
    assert_int_equal(cut_count, 2 * OPEN_SPANS_CUT_MAX + 5);
    assert_int_equal(cuts[2 * OPEN_SPANS_CUT_MAX].number, OPEN_SPANS_CUT_MAX);
    assert_int_equal(cuts[2 * OPEN_SPANS_CUT_MAX + 1].number, OPEN_SPANS_CUT_MAX + 2);
    assert_int_equal(cuts[2 * OPEN_SPANS_CUT_MAX + 2].number, 10000 + OPEN_SPANS_CUT_MAX);
    assert_int_equal(spans.count, 0);
    open_spans_tick(&spans);
    assert_int_equal(cut_count, 2 * OPEN_SPANS_CUT_MAX + 5);
    open_spans_fini(&spans);
    cut_count = 0;
}

static void test_open_spans_fini_when_ends_are_due(void **state)
{
    (void)state;
    struct span_owner owner = {0};
    open_up(100000, SIZE_MAX);
    for (uint64_t i = 0; i < 2 * OPEN_SPANS_CUT_MAX; i++) {
        must_begin(i, &owner);
    }
    open_spans_end_owner(&spans, &owner);
    open_spans_fini(&spans);
    assert_int_equal(cut_count, OPEN_SPANS_CUT_MAX);
    cut_count = 0;
}

/* --- the table --------------------------------------------------------------------------------- */

static void test_open_spans_buckets_are_as_many_as_spans(void **state)
{
    (void)state;
    static const struct {
        uint32_t max_count, mask;
    } facts[] = {{1, 1}, {2, 1},         {3, 3},         {4, 3},
                 {5, 7}, {16384, 16383}, {16385, 32767}, {UINT32_MAX, UINT32_MAX}};
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        open_up(facts[i].max_count, SIZE_MAX);
        assert_int_equal(spans.bucket_mask, facts[i].mask);
        assert_null(spans.buckets);
        open_spans_fini(&spans);
    }
}

/* Many spans in two to four buckets, taken in every order of three. */
static void test_open_spans_chains(void **state)
{
    (void)state;
    static const uint64_t orders[][3] = {{1, 2, 3}, {1, 3, 2}, {2, 1, 3},
                                         {2, 3, 1}, {3, 1, 2}, {3, 2, 1}};
    for (unsigned order = 0; order < 6; order++) {
        for (uint64_t base = 0; base < 64; base += 4) { /* hashes of all kinds */
            open_up(3, SIZE_MAX);
            must_begin(base + 1, NULL);
            must_begin(base + 2, NULL);
            must_begin(base + 3, NULL);
            for (unsigned i = 0; i < 3; i++) {
                take(base + orders[order][i]);
                for (unsigned j = 0; j < 3; j++) {
                    assert_int_equal(is_open(base + orders[order][j]), j > i);
                }
            }
            open_spans_fini(&spans);
        }
    }
}

static void test_open_spans_memory_may_fail_at_every_step(void **state)
{
    (void)state;
    struct span_owner owner = {0};
    struct span span = half(1);
    open_up(1, SIZE_MAX);
    for (size_t n = 1; n <= 3; n++) { /* buckets, copy, entry */
        mem_fail_after(n);
        assert_int_equal(open_spans_begin(&spans, &span, &owner), ERR_NOMEM);
        assert_true(mem_has_failed());
        assert_int_equal(spans.count, 0);
        assert_false(is_open(1));
        open_spans_fini(&spans);
        assert_int_equal(mem_count_live(), live_before);
        open_up(1, SIZE_MAX);
    }
    must_begin(1, &owner);
    for (size_t n = 1; n <= 2; n++) { /* a full table loses nobody for one that finds no memory */
        struct span next = half(2);
        mem_fail_after(n);
        assert_int_equal(open_spans_begin(&spans, &next, &owner), ERR_NOMEM);
        assert_true(is_open(1));
        must_cut_none();
    }
    mem_fail_after(1);
    assert_int_equal(open_spans_begin(&spans, &span, &owner), ERR_DUPLICATE_KEY);
    mem_fail_after(0);
    open_spans_fini(&spans);
}

/* --- ends -------------------------------------------------------------------------------------- */

static void test_open_spans_end_all_oldest_first(void **state)
{
    (void)state;
    struct span_owner owner = {0};
    open_up(8, SIZE_MAX);
    open_spans_end_all(&spans); /* none, and no table */
    must_cut_none();
    must_begin(5, &owner);
    must_begin(3, NULL);
    must_begin(4, &owner);
    open_spans_end_all(&spans);
    must_cut(SPAN_CUT_STOP, 5, 3, 4);
    open_spans_end_owner(&spans, &owner);
    must_cut_none();
    open_spans_fini(&spans);
}

static void test_open_spans_keeps_copies(void **state)
{
    (void)state;
    static struct random_span original;
    static struct random_span same;
    struct random random = random_start("open_spans");
    struct random again = random;
    random_span_make(&random, 8, &original);
    random_span_make(&again, 8, &same);
    open_up(8, SIZE_MAX);
    assert_int_equal(open_spans_begin(&spans, &original.span, NULL), 0);
    random_span_scribble(&original);
    must_equal_span(open_spans_find(&spans, &same.span), &same.span);
    open_spans_fini(&spans);
}

/* Against a plain list of what is open: numbers, owners and ages. */
static void test_open_spans_agrees_with_a_list(void **state)
{
    (void)state;
    enum { MAX = 7, NUMBERS = 12, OWNERS = 3, STEPS = 20000 };
    struct random random = random_start("open_spans_list");
    struct span_owner owners[OWNERS] = {{0}};
    struct {
        uint64_t number;
        unsigned owner;
    } list[MAX];
    unsigned count = 0;
    open_up(MAX, SIZE_MAX);
    for (unsigned step = 0; step < STEPS; step++) {
        uint64_t number = random_below(&random, NUMBERS);
        unsigned owner = (unsigned)random_below(&random, OWNERS);
        unsigned at = 0;
        cut_count = 0;
        while (at < count && list[at].number != number) {
            at++;
        }
        assert_int_equal(is_open(number), at < count);
        unsigned what = (unsigned)random_below(&random, 8);
        if (what == 0) {
            unsigned cut = 0;
            unsigned left = 0;
            open_spans_end_owner(&spans, &owners[owner]);
            for (unsigned i = 0; i < count; i++) {
                if (list[i].owner == owner) {
                    assert_int_equal(cuts[cut++].number, list[i].number);
                } else {
                    list[left++] = list[i];
                }
            }
            count = left;
            assert_int_equal(cut_count, cut);
        } else if (at < count) {
            if (what < 4) {
                take(number);
                count--;
                memmove(&list[at], &list[at + 1], (count - at) * sizeof list[0]);
            } else {
                struct span span = half(number);
                assert_int_equal(open_spans_begin(&spans, &span, NULL), ERR_DUPLICATE_KEY);
            }
        } else {
            must_begin(number, owner == 0 ? NULL : &owners[owner]);
            if (count == MAX) {
                must_cut(SPAN_CUT_CEILING, list[0].number);
                count--;
                memmove(&list[0], &list[1], count * sizeof list[0]);
            }
            list[count].number = number;
            list[count++].owner = owner == 0 ? OWNERS : owner;
        }
        assert_int_equal(spans.count, count);
    }
    open_spans_fini(&spans);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_open_spans_begin_find_take),
        cmocka_unit_test(test_open_spans_tells_apart_by_both_ids),
        cmocka_unit_test(test_open_spans_refuses_duplicates_and_keeps_the_first),
        cmocka_unit_test(test_open_spans_end_with_their_owner),
        cmocka_unit_test(test_open_spans_take_any_of_an_owner),
        cmocka_unit_test(test_open_spans_of_nobody_end_by_ceiling_only),
        cmocka_unit_test(test_open_spans_past_the_count_the_oldest_goes),
        cmocka_unit_test(test_open_spans_age),
        cmocka_unit_test(test_open_spans_past_the_bytes_the_oldest_go),
        cmocka_unit_test(test_open_spans_one_alone_above_the_ceiling_is_refused),
        cmocka_unit_test(test_open_spans_cuts_off_a_bounded_number_at_once),
        cmocka_unit_test(test_open_spans_ends_a_bounded_number_at_once),
        cmocka_unit_test(test_open_spans_fini_when_ends_are_due),
        cmocka_unit_test(test_open_spans_buckets_are_as_many_as_spans),
        cmocka_unit_test(test_open_spans_chains),
        cmocka_unit_test(test_open_spans_memory_may_fail_at_every_step),
        cmocka_unit_test(test_open_spans_end_all_oldest_first),
        cmocka_unit_test(test_open_spans_keeps_copies),
        cmocka_unit_test(test_open_spans_agrees_with_a_list),
    };
    return cmocka_run_group_tests_name("open_spans", tests, note_memory, must_be_clean);
}
