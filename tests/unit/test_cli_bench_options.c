/* What dwell bench is told: each limit, what goes together, and the names that models get. */
#include "cli/command.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <sysexits.h>

#include "cli/bench_options.h"
#include "dwell_bench.h"

enum { WORDS_MAX = 16 };

/* argv of a line whose words are divided by one blank. `text` is taken apart. */
static int split(char *text, char *argv[WORDS_MAX])
{
    int argc = 0;
    for (char *word = strtok_r(text, " ", &text); word != NULL; word = strtok_r(NULL, " ", &text)) {
        assert_true(argc + 1 < WORDS_MAX);
        argv[argc++] = word;
    }
    argv[argc] = NULL;
    return argc;
}

/* Parses and checks. The arguments point into `line`, the caller's to free. */
static int parse(char *line, struct arguments *arguments, struct buf *problem)
{
    char *argv[WORDS_MAX];
    int argc = split(line, argv);
    int status = command_parse(arguments, argc, argv, problem);
    return status != 0 ? status : bench_check(&arguments->bench, arguments->operand_count, problem);
}

static void must_take(const char *line, struct arguments *arguments)
{
    struct buf problem;
    char *copy = strdup(line);
    buf_init(&problem, 1024);
    if (parse(copy, arguments, &problem) != 0) {
        fail_msg("%s: %.*s", line, (int)problem.len, problem.data);
    }
    buf_fini(&problem);
    free(copy); /* numbers are looked at alone */
}

static void must_refuse(const char *line, const char *sentence)
{
    struct arguments arguments;
    struct buf problem;
    char *copy = strdup(line);
    buf_init(&problem, 1024);
    assert_int_equal(parse(copy, &arguments, &problem), EX_USAGE);
    buf_char(&problem, '\0');
    assert_string_equal(problem.data, sentence);
    buf_fini(&problem);
    free(copy);
}

static void test_cli_bench_options_have_the_promised_defaults(void **state)
{
    (void)state;
    struct arguments arguments;
    must_take("dwell bench -- ./model", &arguments);
    assert_int_equal(arguments.bench.samples, 200);
    assert_int_equal(arguments.bench.concurrency, 4);
    assert_int_equal(arguments.bench.warmup, 20);
    assert_true(arguments.bench.answer_timeout == 10);
    assert_true(arguments.bench.start_timeout == 120);
    assert_false(arguments.json || arguments.bench.quiet);
    assert_int_equal(arguments.operand_count, 1);
}

static void test_cli_bench_options_have_limits(void **state)
{
    (void)state;
    struct arguments arguments;
    must_take("dwell bench --samples 1 --concurrency 1 --warmup 0 -- m", &arguments);
    assert_int_equal(arguments.bench.warmup, 0);
    must_take("dwell bench --samples 1000000 --concurrency 256 --warmup 1000000 -- m", &arguments);
    assert_int_equal(arguments.bench.samples, DWELL_BENCH_SAMPLES_MAX);
    assert_int_equal(arguments.bench.concurrency, DWELL_BENCH_WORKERS_MAX);
    must_refuse("dwell bench --samples 0 -- m",
                "--samples: expects a whole number from 1 to 1000000, got 0");
    must_refuse("dwell bench --samples 1000001 -- m",
                "--samples: expects a whole number from 1 to 1000000, got 1000001");
    must_refuse("dwell bench --samples 1.5 -- m",
                "--samples: expects a whole number from 1 to 1000000, got 1.5");
    must_refuse("dwell bench --samples -1 -- m",
                "--samples: expects a whole number from 1 to 1000000, got -1");
    must_refuse("dwell bench --concurrency 0 -- m",
                "--concurrency: expects a whole number from 1 to 256, got 0");
    must_refuse("dwell bench --concurrency 257 -- m",
                "--concurrency: expects a whole number from 1 to 256, got 257");
    must_refuse("dwell bench --warmup 1000001 -- m",
                "--warmup: expects a whole number from 0 to 1000000, got 1000001");
    must_refuse("dwell bench --timeout 0 -- m",
                "--timeout: expects a number of seconds from 0.001 to 3600, got 0");
}

static void test_cli_bench_options_must_go_together(void **state)
{
    (void)state;
    struct arguments arguments;
    must_take("dwell bench --url http://h/ --data @f --content-type text/plain --pid 1",
              &arguments);
    must_take("dwell bench --url http://h/ --input f", &arguments);
    must_take("dwell bench --dir /x --json -- m", &arguments);
    must_take("dwell --json bench -- m", &arguments);
    assert_true(arguments.json);
    must_refuse("dwell bench", "expects -- and a command, or --url");
    must_refuse("dwell bench --url http://h/ -- m",
                "--url and a command name two models; give one of them");
    must_refuse("dwell bench --data x -- m",
                "--data and --content-type go with --url; a command gets --input");
    must_refuse("dwell bench --url http://h/ --data x --input f",
                "--data and --input are two contents of requests; give one of them");
    must_refuse("dwell bench --pid 1 -- m",
                "--pid goes with --url; the workers of a command are known");
    must_refuse("dwell bench --start-daemon --no-daemon -- m",
                "--start-daemon and --no-daemon exclude each other");
}

static void test_cli_bench_options_of_the_command_are_its_own(void **state)
{
    (void)state;
    struct arguments arguments;
    must_take("dwell bench --samples 5 -- model --samples 0 -q --json -- x", &arguments);
    assert_int_equal(arguments.bench.samples, 5);
    assert_false(arguments.json);
    assert_int_equal(arguments.operand_count, 7);
}

static void test_cli_bench_options_name_has_a_limit(void **state)
{
    (void)state;
    char name[BENCH_NAME_MAX + 2];
    struct buf problem;
    struct bench_arguments arguments = {.model = name};
    buf_init(&problem, 1024);
    memset(name, 'n', sizeof name);
    name[BENCH_NAME_MAX] = '\0';
    assert_int_equal(bench_check(&arguments, 1, &problem), 0);
    name[BENCH_NAME_MAX] = 'n';
    name[BENCH_NAME_MAX + 1] = '\0';
    assert_int_equal(bench_check(&arguments, 1, &problem), EX_USAGE);
    arguments.model = "\xff";
    assert_int_equal(bench_check(&arguments, 1, &problem), EX_USAGE);
    buf_fini(&problem);
}

static void must_name(const char *url, const char *line, const char *name)
{
    char *argv[WORDS_MAX] = {0};
    char *copy = strdup(line);
    struct bench_arguments arguments = {.url = url};
    struct buf out;
    int words = split(copy, argv);
    buf_init(&out, 1024);
    bench_name(&arguments, words, argv, &out);
    buf_char(&out, '\0');
    assert_string_equal(out.data, name);
    buf_fini(&out);
    free(copy);
}

static void test_cli_bench_options_models_are_named_after_what_runs(void **state)
{
    (void)state;
    must_name(NULL, "./my_model", "my_model");
    must_name(NULL, "/opt/models/resnet --batch 8", "resnet");
    must_name(NULL, "python3 tests/demo/digits.py forest", "digits.py");
    must_name(NULL, "/usr/bin/python3.11 -u -B digits.py", "digits.py");
    must_name(NULL, "python3", "python3");
    must_name(NULL, "python3 -m my.model x", "my.model");
    must_name(NULL, "sh -c cat", "sh");
    must_name(NULL, "/bin/perl -n -e print", "perl");
    must_name(NULL, "node server/model.js", "model.js");
    must_name(NULL, "pythonic model", "pythonic");
    must_name(NULL, "x/", "x/");
    must_name("http://h:8000/v1/infer", "", "h:8000/v1/infer");
    must_name("https://user:secret@h/v1?key=secret#f", "", "h/v1");
    must_name("h:1", "", "h:1");
    must_name("http://", "", "bench");
    must_name(NULL, "\xff\xff", "bench");
    must_name(NULL, "ab\xff", "ab");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cli_bench_options_have_the_promised_defaults),
        cmocka_unit_test(test_cli_bench_options_have_limits),
        cmocka_unit_test(test_cli_bench_options_must_go_together),
        cmocka_unit_test(test_cli_bench_options_of_the_command_are_its_own),
        cmocka_unit_test(test_cli_bench_options_name_has_a_limit),
        cmocka_unit_test(test_cli_bench_options_models_are_named_after_what_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
