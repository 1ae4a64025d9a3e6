#include "random_span.h"

#include <math.h>
#include <stdlib.h>

#include "core/sampler.h"
#include "mem_fault.h"

enum { KEPT_MAX = 1 << 16 };

#define WAIT_NS UINT64_C(1000)
#define SLOW_NS UINT64_C(500)

static struct sampler sampler;
static uint64_t kept[KEPT_MAX]; /* numbers, in order */
static unsigned kept_count;
static const struct span *wanted; /* the next one that is kept must equal it; NULL: any may */

/* What whoever keeps an account has been told. */
static struct {
    uint64_t held, dropped[SAMPLER_DROP_COUNT];
} account;

static void note_held(void *ctx)
{
    assert_ptr_equal(ctx, &kept_count);
    account.held++;
}

static void note_dropped(void *ctx, enum sampler_drop why, uint32_t spans, bool were_held)
{
    assert_ptr_equal(ctx, &kept_count);
    assert_true(spans > 0);
    account.dropped[why] += spans;
    account.held -= were_held ? spans : 0;
}

static void note_kept(void *ctx, const struct span *span, bool was_held)
{
    assert_ptr_equal(ctx, &kept_count);
    account.held -= was_held;
    assert_true(kept_count < KEPT_MAX);
    if (wanted != NULL) {
        must_equal_span(span, wanted);
        wanted = NULL;
    }
    memcpy(&kept[kept_count++], span->span_id, sizeof kept[0]);
}

static struct sampler_options options_of(double rate)
{
    return (struct sampler_options){
        .rate = rate,
        .keep_wait_ns = WAIT_NS,
        .max_held = 100,
        .max_held_bytes = SIZE_MAX,
        .hash_seed = 42,
        .sink = {.ctx = &kept_count, .keep = note_kept, .hold = note_held, .drop = note_dropped}};
}

static void open_sampler(const struct sampler_options *options)
{
    sampler_init(&sampler, options);
    memset(&account, 0, sizeof account);
    kept_count = 0;
}

/* One that chooses nothing, and looks out for errors and slow ones. */
static struct sampler_options looking_out(void)
{
    struct sampler_options options = options_of(0);
    options.keep_errors = true;
    options.keep_slow_ns = SLOW_NS;
    return options;
}

static void open_looking_out(void)
{
    struct sampler_options options = looking_out();
    open_sampler(&options);
}

static void close_sampler(void)
{
    sampler_fini(&sampler);
    assert_int_equal(sampler.held, 0);
    assert_int_equal(sampler.bytes, 0);
    assert_int_equal(sampler.trace_count, 0);
}

/* Spans of a trace, by number: plain ones, and those worth keeping. */
static struct span plain(uint64_t trace, uint64_t number)
{
    return plain_span(trace, number, 1000, 1000 + SLOW_NS - 1);
}

static struct span slow(uint64_t trace, uint64_t number)
{
    return plain_span(trace, number, 1000, 1000 + SLOW_NS);
}

static struct span bad(uint64_t trace, uint64_t number)
{
    struct span span = plain(trace, number);
    span.status = SPAN_ERROR;
    return span;
}

static void give(struct span span, uint64_t mono_ns)
{
    sampler_take(&sampler, &span, mono_ns);
}

static void must_have_kept(unsigned count, const uint64_t *numbers)
{
    assert_int_equal(kept_count, count);
    assert_memory_equal(kept, numbers, count * sizeof *numbers);
    kept_count = 0;
}

#define must_keep(...)                                                                             \
    must_have_kept(sizeof((uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t), (uint64_t[]){__VA_ARGS__})
#define must_keep_none() assert_int_equal(kept_count, 0)

static void must_have_dropped(uint64_t not_sampled, uint64_t full, uint64_t no_memory)
{
    assert_int_equal(sampler.dropped[SAMPLER_NOT_SAMPLED], not_sampled);
    assert_int_equal(sampler.dropped[SAMPLER_HOLD_FULL], full);
    assert_int_equal(sampler.dropped[SAMPLER_NO_MEMORY], no_memory);
}

/* --- changes ----------------------------------------------------------------------------------- */

static void test_sampler_changes_for_the_next_span(void **state)
{
    (void)state;
    struct sampler_options options = options_of(0);
    open_sampler(&options);
    give(bad(1, 1), 0);
    must_keep_none();
    options = looking_out();
    options.max_held = 1; /* not among what may change */
    sampler_change(&sampler, &options);
    give(plain(2, 2), 0);
    give(plain(3, 3), 0);
    give(bad(2, 4), 0);
    must_keep(2, 4);
    options.rate = 1;
    sampler_change(&sampler, &options);
    give(plain(4, 5), 0);
    must_keep(5);
    options = options_of(0);
    options.keep_wait_ns = 1;
    sampler_change(&sampler, &options);
    give(bad(5, 6), 0);
    must_keep_none();
    (void)sampler_expire(&sampler, 1);
    assert_int_equal(sampler.trace_count, 0);
    must_have_dropped(3, 0, 0);
    close_sampler();
}

/* --- the rate ---------------------------------------------------------------------------------- */

static bool chooses(double rate, uint64_t low)
{
    struct sampler_options options = options_of(rate);
    uint8_t trace_id[RECORD_TRACE_ID_BYTES];
    memset(trace_id, 0xFF, sizeof trace_id); /* the high half does not matter */
    for (unsigned i = 0; i < 8; i++) {
        trace_id[15 - i] = (uint8_t)(low >> 8 * i);
    }
    sampler_init(&sampler, &options);
    return sampler_chooses(&sampler, trace_id);
}

/* Bounds by Python: round(rate * 2**64), exact. */
static void test_sampler_chooses_below_the_bound(void **state)
{
    (void)state;
    static const struct {
        double rate;
        uint64_t bound;
    } facts[] = {
        {1e-9, UINT64_C(18446744074)},
        {0.1, UINT64_C(0x1999999999999A00)},
        {0.25, UINT64_C(0x4000000000000000)},
        {1.0 / 3, UINT64_C(0x5555555555555400)},
        {0.5, UINT64_C(0x8000000000000000)},
        {0.999999, UINT64_C(0xFFFFEF39085F4800)},
        {0x1.fffffffffffffp-1, UINT64_C(0xFFFFFFFFFFFFF800)}, /* the largest below 1 */
        {0x1p-64, 1},
        {0x1.8p-64, 2}, /* 1.5 and 2.5 both to the even one */
        {0x1.4p-63, 2},
        {0x1.cp-63, 4},
    };
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        print_message("%.17g\n", facts[i].rate);
        assert_true(chooses(facts[i].rate, 0));
        assert_true(chooses(facts[i].rate, facts[i].bound - 1));
        assert_false(chooses(facts[i].rate, facts[i].bound));
        assert_false(chooses(facts[i].rate, UINT64_MAX));
    }
}

static void test_sampler_chooses_none_or_all_at_the_ends(void **state)
{
    (void)state;
    static const double none[] = {0, 0x1p-65 /* half: to the even 0 */, 0x1p-1074};
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        assert_false(chooses(none[i], 0));
        assert_false(chooses(none[i], UINT64_MAX));
    }
    assert_true(chooses(1, 0));
    assert_true(chooses(1, UINT64_MAX));
}

static void test_sampler_chooses_a_share(void **state)
{
    (void)state;
    enum { TRACES = 100000 };
    struct random random = random_start("sampler");
    struct sampler_options options = options_of(0.1);
    unsigned chosen = 0;
    sampler_init(&sampler, &options);
    for (unsigned i = 0; i < TRACES; i++) {
        uint64_t id[2] = {random_next(&random), random_next(&random)};
        chosen += sampler_chooses(&sampler, (const uint8_t *)id);
    }
    /* Five standard deviations of a binomial share. */
    assert_true(fabs(chosen - 0.1 * TRACES) < 5 * sqrt(TRACES * 0.1 * 0.9));
}

/* --- flags ------------------------------------------------------------------------------------- */

static void test_sampler_what_somebody_decided_holds(void **state)
{
    (void)state;
    static const struct {
        double rate;
        bool has_flags;
        uint32_t flags;
        bool error, kept;
    } facts[] = {
        {0, false, 0, false, false}, {0, true, 1, false, true},      {0, true, 0x101, false, true},
        {0, true, 0, false, false},  {0, true, 0x100, false, false}, /* other bits decide nothing */
        {0, true, 0, true, false}, /* not even an error is kept against it */
        {0, false, 0, true, true},   {1, false, 0, false, true},     {1, true, 0, false, false},
        {1, true, 1, false, true},   {1, false, 1, false, true},
    };
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        struct sampler_options options = options_of(facts[i].rate);
        options.keep_errors = true;
        open_sampler(&options);
        struct span span = plain(1, 1);
        span.has_flags = facts[i].has_flags;
        span.flags = facts[i].flags;
        span.status = facts[i].error ? SPAN_ERROR : SPAN_OK;
        give(span, 0);
        assert_int_equal(kept_count, facts[i].kept);
        sampler_give_up(&sampler);
        must_have_dropped(!facts[i].kept, 0, 0);
        close_sampler();
    }
}

static void test_sampler_with_nothing_to_look_out_for_holds_nothing(void **state)
{
    (void)state;
    struct sampler_options options = options_of(0);
    open_sampler(&options);
    give(bad(1, 1), 0);
    give(slow(1, 2), 0);
    must_keep_none();
    must_have_dropped(2, 0, 0);
    assert_int_equal(sampler.held, 0);
    assert_null(sampler.buckets);
    close_sampler();
}

/* --- holding ----------------------------------------------------------------------------------- */

static void test_sampler_keeps_the_whole_trace_in_order(void **state)
{
    (void)state;
    static const struct {
        bool error, late;
        bool keep_errors, keep_slow, kept;
    } facts[] = {
        {true, false, true, true, true},   {false, true, true, true, true},
        {true, false, true, false, true},  {true, false, false, true, false},
        {false, true, false, true, true},  {false, true, true, false, false},
        {true, true, true, false, true},   {true, true, false, true, true},
        {false, false, true, true, false},
    };
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        struct sampler_options options = looking_out();
        options.keep_errors = facts[i].keep_errors;
        options.keep_slow_ns = facts[i].keep_slow ? SLOW_NS : 0;
        open_sampler(&options);
        give(plain(1, 1), 0);
        give(plain(2, 50), 0);
        give(plain(1, 2), 1);
        must_keep_none();
        assert_int_equal(sampler.held, 3);
        struct span third = facts[i].late ? slow(1, 3) : plain(1, 3);
        third.status = facts[i].error ? SPAN_ERROR : SPAN_OK;
        give(third, 2);
        give(plain(1, 4), 3); /* what comes after is of the same trace */
        if (facts[i].kept) {
            must_keep(1, 2, 3, 4);
            assert_int_equal(sampler.held, 1);
        } else {
            must_keep_none();
            assert_int_equal(sampler.held, 5);
        }
        close_sampler();
    }
}

static void test_sampler_a_trace_that_begins_with_an_error(void **state)
{
    (void)state;
    open_looking_out();
    give(bad(1, 1), 0);
    give(plain(1, 2), 0);
    give(bad(1, 3), 0);
    must_keep(1, 2, 3);
    assert_int_equal(sampler.trace_count, 1);
    assert_int_equal(sampler.held, 0);
    close_sampler();
}

static void test_sampler_tells_traces_apart_by_all_of_the_id(void **state)
{
    (void)state;
    open_looking_out();
    struct span one = plain(1, 1);
    struct span other = bad(1, 2);
    other.trace_id[15] = 1;
    give(one, 0);
    give(other, 0);
    must_keep(2);
    assert_int_equal(sampler.held, 1);
    close_sampler();
}

static void test_sampler_keeps_copies(void **state)
{
    (void)state;
    static struct random_span original;
    static struct random_span same;
    struct random random = random_start("sampler_copies");
    struct random again = random;
    random_span_make(&random, 8, &original);
    random_span_make(&again, 8, &same);
    original.span.has_flags = same.span.has_flags = false;
    original.span.status = same.span.status = SPAN_OK;
    struct sampler_options options = looking_out();
    options.keep_slow_ns = 0;
    open_sampler(&options);
    give(original.span, 0);
    random_span_scribble(&original);
    struct span last = same.span;
    last.status = SPAN_ERROR;
    wanted = &same.span;
    give(last, 0);
    assert_int_equal(kept_count, 2);
    assert_null(wanted);
    close_sampler();
}

/* --- time -------------------------------------------------------------------------------------- */

static void test_sampler_gives_up_when_the_wait_is_over(void **state)
{
    (void)state;
    open_looking_out();
    give(plain(1, 1), 100);
    give(plain(2, 2), 101);
    give(plain(1, 3), 102); /* the first of a trace begins its time */
    assert_false(sampler_expire(&sampler, 100 + WAIT_NS - 1));
    assert_int_equal(sampler.held, 3);
    assert_false(sampler_expire(&sampler, 100 + WAIT_NS));
    assert_int_equal(sampler.held, 1);
    must_have_dropped(2, 0, 0);
    assert_false(sampler_expire(&sampler, 101 + WAIT_NS));
    must_have_dropped(3, 0, 0);
    assert_int_equal(sampler.trace_count, 0);
    give(bad(1, 4), 2000); /* too late for those before */
    must_keep(4);
    close_sampler();
}

static void test_sampler_a_kept_trace_is_known_for_the_wait(void **state)
{
    (void)state;
    open_looking_out();
    give(plain(1, 1), 0);
    give(plain(2, 2), 10);
    give(bad(1, 3), 900); /* its time runs anew, behind the other's */
    must_keep(1, 3);
    (void)sampler_expire(&sampler, 10 + WAIT_NS);
    must_have_dropped(1, 0, 0);
    give(plain(1, 4), 900 + WAIT_NS - 1);
    must_keep(4);
    (void)sampler_expire(&sampler, 900 + WAIT_NS - 1);
    assert_int_equal(sampler.trace_count, 1);
    (void)sampler_expire(&sampler, 900 + WAIT_NS);
    assert_int_equal(sampler.trace_count, 0);
    must_have_dropped(1, 0, 0); /* it held nothing */
    give(plain(1, 5), 900 + WAIT_NS);
    must_keep_none();
    close_sampler();
}

static void test_sampler_gives_up_a_bounded_number_at_once(void **state)
{
    (void)state;
    struct sampler_options options = looking_out();
    options.max_held = 10 * SAMPLER_GIVE_UP_MAX;
    open_sampler(&options);
    for (uint64_t i = 0; i < 3 * SAMPLER_GIVE_UP_MAX; i++) {
        give(plain(i, i), 0);
    }
    unsigned calls = 0;
    uint32_t before = sampler.held;
    while (sampler_expire(&sampler, WAIT_NS)) {
        assert_true(before - sampler.held > 0);
        assert_true(before - sampler.held <= SAMPLER_GIVE_UP_MAX);
        before = sampler.held;
        calls++;
    }
    assert_int_equal(sampler.held, 0);
    assert_true(calls >= 3);
    must_have_dropped(3 * SAMPLER_GIVE_UP_MAX, 0, 0);
    close_sampler();
}

/* --- ceilings ---------------------------------------------------------------------------------- */

static void test_sampler_past_the_count_the_oldest_trace_goes(void **state)
{
    (void)state;
    struct sampler_options options = looking_out();
    options.max_held = 4;
    open_sampler(&options);
    give(plain(1, 1), 0);
    give(plain(2, 2), 0);
    give(plain(1, 3), 0);
    give(plain(3, 4), 0);
    must_have_dropped(0, 0, 0);
    give(plain(2, 5), 0);
    must_have_dropped(0, 2, 0); /* both of trace 1 */
    assert_int_equal(sampler.held, 3);
    give(bad(1, 6), 0);
    must_keep(6);
    give(bad(2, 7), 0);
    must_keep(2, 5, 7);
    close_sampler();
}

/* The trace that a span belongs to may be the oldest one that goes for it. */
static void test_sampler_a_trace_may_push_itself_out(void **state)
{
    (void)state;
    for (uint32_t max = 1; max <= 3; max++) {
        struct sampler_options options = looking_out();
        options.max_held = max;
        open_sampler(&options);
        for (uint64_t i = 0; i <= max; i++) {
            give(plain(1, i), 0);
        }
        must_have_dropped(0, max, 0);
        assert_int_equal(sampler.held, 1);
        give(bad(1, 9), 0);
        must_keep(max, 9);
        close_sampler();
    }
}

static void test_sampler_traces_that_are_kept_count_too(void **state)
{
    (void)state;
    struct sampler_options options = looking_out();
    options.max_held = 2;
    open_sampler(&options);
    give(bad(1, 1), 0);
    give(bad(2, 2), 0);
    give(bad(3, 3), 0); /* 1 is not known any more */
    must_keep(1, 2, 3);
    assert_int_equal(sampler.trace_count, 2);
    give(plain(2, 4), 0);
    give(plain(3, 5), 0);
    must_keep(4, 5);
    give(plain(1, 6), 0); /* pushes out 2, which held nothing */
    must_keep_none();
    must_have_dropped(0, 0, 0);
    give(plain(1, 7), 0); /* is no further trace */
    give(plain(3, 8), 0);
    must_keep(8);
    close_sampler();
}

static void test_sampler_may_hold_none(void **state)
{
    (void)state;
    struct sampler_options options = looking_out();
    options.max_held = 0;
    open_sampler(&options);
    give(plain(1, 1), 0);
    must_have_dropped(0, 1, 0);
    give(bad(1, 2), 0); /* kept for itself */
    must_keep(2);
    give(plain(1, 3), 0);
    must_have_dropped(0, 2, 0);
    close_sampler();
}

/* Bytes of so many plain spans in one trace. */
static size_t bytes_of(unsigned count)
{
    open_looking_out();
    for (unsigned i = 0; i < count; i++) {
        give(plain(1, i), 0);
    }
    size_t bytes = sampler.bytes;
    sampler_fini(&sampler);
    return bytes;
}

static void test_sampler_past_the_bytes_the_oldest_go(void **state)
{
    (void)state;
    size_t each = bytes_of(1); /* with its trace */
    static const struct {
        int bytes_more;
        unsigned dropped;
    } facts[] = {{0, 0}, {-1, 1}};
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        struct sampler_options options = looking_out();
        options.max_held_bytes = 3 * each + (size_t)facts[i].bytes_more;
        open_sampler(&options);
        give(plain(1, 1), 0);
        give(plain(2, 2), 0);
        give(plain(3, 3), 0);
        must_have_dropped(0, facts[i].dropped, 0);
        assert_true(sampler.bytes <= options.max_held_bytes);
        close_sampler();
    }
}

static void test_sampler_one_alone_above_the_bytes(void **state)
{
    (void)state;
    struct sampler_options options = looking_out();
    options.max_held_bytes = bytes_of(1);
    open_sampler(&options);
    give(plain(1, 1), 0);
    struct span large = plain(2, 2);
    large.status_message = STR_LITERAL("!");
    give(large, 0); /* nobody has to go for it */
    must_have_dropped(0, 1, 0);
    assert_int_equal(sampler.held, 1);
    give(plain(3, 3), 0);
    must_have_dropped(0, 2, 0);
    give(bad(3, 4), 0);
    must_keep(3, 4);
    close_sampler();
}

static void test_sampler_a_large_one_does_not_push_out_all_at_once(void **state)
{
    (void)state;
    static char text[1 << 20];
    size_t each = bytes_of(1);
    struct sampler_options options = looking_out();
    options.max_held = 100000;
    options.max_held_bytes = 3 * SAMPLER_GIVE_UP_MAX * each;
    open_sampler(&options);
    for (uint64_t i = 0; i < 3 * SAMPLER_GIVE_UP_MAX; i++) {
        give(plain(i, i), 0);
    }
    must_have_dropped(0, 0, 0);
    struct span large = plain(100000, 1);
    large.status_message = (struct str){text, options.max_held_bytes - each};
    assert_true(large.status_message.len <= sizeof text);
    uint32_t before = sampler.held;
    give(large, 0);
    assert_true(before - sampler.held <= SAMPLER_GIVE_UP_MAX);
    for (unsigned i = 0; i < 10; i++) {
        give(large, 0);
    }
    assert_true(sampler.held > 0 && sampler.held < 10);
    assert_true(sampler.bytes <= options.max_held_bytes);
    close_sampler();
}

static void test_sampler_holds_so_many_of_one_trace(void **state)
{
    (void)state;
    struct sampler_options options = looking_out();
    options.max_held = 100000;
    open_sampler(&options);
    for (uint64_t i = 0; i < SAMPLER_TRACE_MAX; i++) {
        give(plain(1, i), 0);
    }
    must_have_dropped(0, 0, 0);
    assert_int_equal(sampler.held, SAMPLER_TRACE_MAX);
    give(plain(1, SAMPLER_TRACE_MAX), 0);
    must_have_dropped(0, 1, 0); /* its oldest */
    assert_int_equal(sampler.held, SAMPLER_TRACE_MAX);
    give(bad(1, SAMPLER_TRACE_MAX + 1), 0);
    assert_int_equal(kept_count, SAMPLER_TRACE_MAX + 1);
    for (unsigned i = 0; i < kept_count; i++) {
        assert_int_equal(kept[i], i + 1);
    }
    assert_int_equal(sampler.held, 0);
    close_sampler();
}

static void test_sampler_buckets_are_as_many_as_traces(void **state)
{
    (void)state;
    static const struct {
        uint32_t max_held, mask;
    } facts[] = {{0, 1}, {1, 1}, {2, 3}, {3, 3}, {4, 7}, {UINT32_MAX, UINT32_MAX}};
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        struct sampler_options options = looking_out();
        options.max_held = facts[i].max_held;
        sampler_init(&sampler, &options);
        assert_int_equal(sampler.bucket_mask, facts[i].mask);
        sampler_fini(&sampler);
    }
}

/* --- memory ------------------------------------------------------------------------------------ */

static void test_sampler_without_memory_gives_the_span_up(void **state)
{
    (void)state;
    for (size_t n = 1; n <= 3; n++) { /* copy, table, trace */
        open_looking_out();
        mem_fail_after(n);
        give(plain(1, 1), 0);
        assert_true(mem_has_failed());
        must_have_dropped(0, 0, 1);
        assert_int_equal(sampler.held, 0);
        assert_int_equal(sampler.bytes, 0);
        give(plain(1, 2), 0);
        give(bad(1, 3), 0);
        must_keep(2, 3);
        close_sampler();
    }
}

static void test_sampler_without_memory_an_error_is_kept_still(void **state)
{
    (void)state;
    for (size_t n = 1; n <= 2; n++) { /* table, trace */
        open_looking_out();
        mem_fail_after(n);
        give(bad(1, 1), 0);
        assert_true(mem_has_failed());
        must_keep(1);
        must_have_dropped(0, 0, 0);
        give(plain(1, 2), 0); /* but nobody knows it any more */
        must_keep_none();
        close_sampler();
    }
}

/* --- all together ------------------------------------------------------------------------------ */

static uint64_t dropped_count(void)
{
    return sampler.dropped[SAMPLER_NOT_SAMPLED] + sampler.dropped[SAMPLER_HOLD_FULL] +
           sampler.dropped[SAMPLER_NO_MEMORY];
}

static void test_sampler_balances(void **state)
{
    (void)state;
    enum { STEPS = 30000 };
    struct random random = random_start("sampler_balance");
    for (unsigned run = 0; run < 6; run++) {
        struct sampler_options options = looking_out();
        size_t each = bytes_of(1);
        options.rate = run % 2 == 0 ? 0 : 0.2;
        options.max_held = run < 3 ? 7 : 50;
        options.max_held_bytes = run % 3 == 0 ? 9 * each : SIZE_MAX;
        open_sampler(&options);
        uint64_t now = 0;
        for (uint64_t taken = 1; taken <= STEPS; taken++) {
            struct span span = plain(random_below(&random, 30), taken);
            span.trace_id[8] = (uint8_t)(span.trace_id[0] * 9); /* some below the bound */
            unsigned what = (unsigned)random_below(&random, 40);
            span.status = what == 0 ? SPAN_ERROR : SPAN_UNSET;
            span.end_wall_ns += what == 1 ? SLOW_NS : 0;
            span.has_flags = what == 2 || what == 3;
            span.flags = what == 2;
            mem_fail_after(what == 4 ? 1 + random_below(&random, 2) : 0);
            give(span, now);
            mem_fail_after(0);
            now += random_below(&random, WAIT_NS / 10);
            if (what > 30) {
                (void)sampler_expire(&sampler, now);
            }
            assert_int_equal(taken, kept_count + sampler.held + dropped_count());
            assert_int_equal(account.held, sampler.held);
            assert_memory_equal(account.dropped, sampler.dropped, sizeof account.dropped);
            assert_true(sampler.held <= options.max_held);
            assert_true(sampler.trace_count <= options.max_held);
            assert_true(sampler.bytes <= options.max_held_bytes);
        }
        sampler_give_up(&sampler);
        assert_int_equal(sampler.held, 0);
        assert_int_equal(STEPS, kept_count + dropped_count());
        assert_int_equal(account.held, 0);
        close_sampler();
    }
    kept_count = 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sampler_changes_for_the_next_span),
        cmocka_unit_test(test_sampler_chooses_below_the_bound),
        cmocka_unit_test(test_sampler_chooses_none_or_all_at_the_ends),
        cmocka_unit_test(test_sampler_chooses_a_share),
        cmocka_unit_test(test_sampler_what_somebody_decided_holds),
        cmocka_unit_test(test_sampler_with_nothing_to_look_out_for_holds_nothing),
        cmocka_unit_test(test_sampler_keeps_the_whole_trace_in_order),
        cmocka_unit_test(test_sampler_a_trace_that_begins_with_an_error),
        cmocka_unit_test(test_sampler_tells_traces_apart_by_all_of_the_id),
        cmocka_unit_test(test_sampler_keeps_copies),
        cmocka_unit_test(test_sampler_gives_up_when_the_wait_is_over),
        cmocka_unit_test(test_sampler_a_kept_trace_is_known_for_the_wait),
        cmocka_unit_test(test_sampler_gives_up_a_bounded_number_at_once),
        cmocka_unit_test(test_sampler_past_the_count_the_oldest_trace_goes),
        cmocka_unit_test(test_sampler_a_trace_may_push_itself_out),
        cmocka_unit_test(test_sampler_traces_that_are_kept_count_too),
        cmocka_unit_test(test_sampler_may_hold_none),
        cmocka_unit_test(test_sampler_past_the_bytes_the_oldest_go),
        cmocka_unit_test(test_sampler_one_alone_above_the_bytes),
        cmocka_unit_test(test_sampler_a_large_one_does_not_push_out_all_at_once),
        cmocka_unit_test(test_sampler_holds_so_many_of_one_trace),
        cmocka_unit_test(test_sampler_buckets_are_as_many_as_traces),
        cmocka_unit_test(test_sampler_without_memory_gives_the_span_up),
        cmocka_unit_test(test_sampler_without_memory_an_error_is_kept_still),
        cmocka_unit_test(test_sampler_balances),
    };
    return cmocka_run_group_tests_name("sampler", tests, note_memory, must_be_clean);
}
