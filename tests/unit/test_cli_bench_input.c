/* What workers are asked: lines of files at their limits, whole files, numbers; and memory that is gone. */
#include "cli/bench_input.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

#include "mem_fault.h"

static void must_take(struct input *input, struct str text)
{
    struct buf problem;
    buf_init(&problem, 1024);
    input_init(input);
    assert_int_equal(input_take(input, text, &problem), 0);
    assert_int_equal(problem.len, 0);
    buf_fini(&problem);
}

static void must_refuse(struct str text, int status, const char *sentence)
{
    struct input input;
    struct buf problem;
    buf_init(&problem, 1024);
    input_init(&input);
    assert_int_equal(input_take(&input, text, &problem), status);
    buf_char(&problem, '\0');
    assert_string_equal(problem.data, sentence);
    buf_fini(&problem);
    input_fini(&input);
}

static void must_ask(const struct input *input, uint64_t number, const char *line)
{
    char room[INPUT_NUMBER_BYTES];
    struct str asked = input_line(input, number, room);
    assert_int_equal(asked.len, strlen(line));
    assert_memory_equal(asked.ptr, line, asked.len);
}

static void test_cli_bench_input_without_a_file_is_the_number(void **state)
{
    (void)state;
    struct input input;
    input_init(&input);
    must_ask(&input, 0, "0\n");
    must_ask(&input, 17, "17\n");
    must_ask(&input, UINT64_MAX, "18446744073709551615\n");
    input_fini(&input);
}

static void test_cli_bench_input_lines_go_round(void **state)
{
    (void)state;
    struct input input;
    must_take(&input, STR_LITERAL("one\n\nthree"));
    assert_int_equal(input.count, 3);
    must_ask(&input, 0, "one\n");
    must_ask(&input, 1, "\n");
    must_ask(&input, 2, "three\n");
    must_ask(&input, 3, "one\n");
    must_ask(&input, 3000000001, "\n");
    input_fini(&input);
    must_take(&input, STR_LITERAL("\n"));
    assert_int_equal(input.count, 1);
    must_ask(&input, 5, "\n");
    input_fini(&input);
}

static void test_cli_bench_input_whole_is_as_it_is(void **state)
{
    (void)state;
    static const struct str facts[] = {{"a\nb", 3}, {"", 0}, {"\n", 1}, {"a\0b", 3}};
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        char room[INPUT_NUMBER_BYTES];
        struct input input;
        struct buf problem;
        buf_init(&problem, 1024);
        input_init(&input);
        assert_int_equal(input_take_whole(&input, facts[i], &problem), 0);
        assert_true(str_equal(input_line(&input, 7, room), facts[i]));
        input_fini(&input);
        buf_fini(&problem);
    }
}

/* A text of `len` bytes without a newline. */
static char *long_text(size_t len)
{
    char *text = malloc(len);
    assert_non_null(text);
    memset(text, 'x', len);
    return text;
}

static void test_cli_bench_input_has_its_ceilings(void **state)
{
    (void)state;
    struct input input;
    char *text = long_text(INPUT_BYTES_MAX + 1);
    must_take(&input, (struct str){text, INPUT_LINE_MAX - 1});
    input_fini(&input);
    must_refuse((struct str){text, INPUT_LINE_MAX}, EX_DATAERR,
                "line 1 has more than 1048575 bytes");
    must_refuse((struct str){text, INPUT_BYTES_MAX + 1}, EX_DATAERR, "it has more than 64 MB");
    must_refuse(STR_LITERAL(""), EX_DATAERR, "it is empty");
    for (size_t i = INPUT_LINE_MAX - 1; i < INPUT_BYTES_MAX; i += INPUT_LINE_MAX) {
        text[i] = '\n';
    }
    must_take(&input, (struct str){text, INPUT_BYTES_MAX});
    assert_int_equal(input.count, INPUT_BYTES_MAX / INPUT_LINE_MAX);
    input_fini(&input);
    memset(text, '\n', INPUT_LINES_MAX + 1);
    must_take(&input, (struct str){text, INPUT_LINES_MAX});
    assert_int_equal(input.count, INPUT_LINES_MAX);
    input_fini(&input);
    must_refuse((struct str){text, INPUT_LINES_MAX + 1}, EX_DATAERR,
                "it has more than 1048576 lines");
    free(text);
}

static void test_cli_bench_input_is_read_from_files(void **state)
{
    (void)state;
    char path[] = "/tmp/dwell-test-XXXXXX";
    int fd = mkstemp(path);
    struct input input;
    struct buf problem;
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "a\nb\n", 4), 4);
    assert_int_equal(close(fd), 0);
    buf_init(&problem, 1024);
    input_init(&input);
    assert_int_equal(input_read(&input, path, &problem), 0);
    assert_int_equal(input.count, 2);
    must_ask(&input, 1, "b\n");
    input_fini(&input);
    input_init(&input);
    assert_int_equal(input_read_whole(&input, path, &problem), 0);
    must_ask(&input, 1, "a\nb\n");
    input_fini(&input);
    assert_int_equal(unlink(path), 0);
    input_init(&input);
    assert_int_equal(input_read(&input, path, &problem), EX_NOINPUT);
    input_fini(&input);
    buf_clear(&problem);
    input_init(&input);
    assert_int_equal(input_read(&input, "/tmp", &problem), EX_NOINPUT); /* a directory */
    input_fini(&input);
    buf_fini(&problem);
}

static void test_cli_bench_input_survives_a_lack_of_memory(void **state)
{
    (void)state;
    bool failed = true;
    for (size_t n = 1; failed; n++) {
        struct input input;
        struct buf problem;
        buf_init(&problem, 1024);
        input_init(&input);
        size_t live = mem_count_live();
        mem_fail_after(n);
        int status = input_take(&input, STR_LITERAL("a\nb\n"), &problem);
        failed = mem_has_failed();
        mem_fail_after(0);
        assert_int_equal(status, failed ? EX_OSERR : 0);
        input_fini(&input);
        buf_fini(&problem);
        assert_int_equal(mem_count_live(), live);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cli_bench_input_without_a_file_is_the_number),
        cmocka_unit_test(test_cli_bench_input_lines_go_round),
        cmocka_unit_test(test_cli_bench_input_whole_is_as_it_is),
        cmocka_unit_test(test_cli_bench_input_has_its_ceilings),
        cmocka_unit_test(test_cli_bench_input_is_read_from_files),
        cmocka_unit_test(test_cli_bench_input_survives_a_lack_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
