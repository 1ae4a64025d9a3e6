#include "cli_golden.h"

#include <sysexits.h>

#include "cli/command.h"
#include "cli/tool.h"

enum { ARGC_MAX = 16 };

/* Commands are parsed here, not run: these are in no other file of this test. */

static int parse(struct arguments *arguments, char **argv, const char *line, struct buf *problem)
{
    static char words[512];
    int argc = 0;
    (void)snprintf(words, sizeof words, "dwell %s", line);
    for (char *at = words; *at != '\0'; at++) {
        if (at == words || at[-1] == '\0') {
            assert_true(argc < ARGC_MAX);
            argv[argc++] = at;
        }
        if (*at == ' ') {
            *at = '\0';
        } else if (*at == '_') {
            *at = '\0'; /* an empty argument */
        }
    }
    argv[argc] = NULL;
    return command_parse(arguments, argc, argv, problem);
}

/* Parses the words of a line. */
static struct arguments must_parse(const char *line)
{
    static char *argv[ARGC_MAX + 1];
    struct arguments arguments;
    struct buf problem;
    buf_init(&problem, CLI_BYTES_MAX);
    int status = parse(&arguments, argv, line, &problem);
    buf_char(&problem, '\0');
    assert_string_equal(problem.data, "");
    assert_int_equal(status, 0);
    buf_fini(&problem);
    return arguments;
}

static void must_refuse(const char *line, const char *said)
{
    char *argv[ARGC_MAX + 1];
    struct arguments arguments;
    struct buf problem;
    buf_init(&problem, CLI_BYTES_MAX);
    assert_int_equal(parse(&arguments, argv, line, &problem), EX_USAGE);
    buf_char(&problem, '\0');
    assert_string_equal(problem.data, said);
    buf_fini(&problem);
}

static void test_cli_command_options_have_long_and_short_forms(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "models --json --dir /d", "models --json --dir=/d", "models -j -d /d",       "models -jd/d",
        "--json models -d /d",    "-jd /d models",          "--dir /d --json models"};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        struct arguments arguments = must_parse(lines[i]);
        assert_string_equal(arguments.command->name, "models");
        assert_string_equal(arguments.dir, "/d");
        assert_true(arguments.json);
        assert_false(arguments.all);
    }
}

static void test_cli_command_has_defaults(void **state)
{
    (void)state;
    struct arguments arguments = must_parse("top");
    assert_true(arguments.timeout == 10 && arguments.interval == 1);
    assert_int_equal(arguments.sort, -1);
    assert_int_equal(arguments.color, COLOR_AUTO);
    assert_null(arguments.dir);
    assert_null(arguments.url);
    assert_null(arguments.filter);
    assert_false(arguments.json || arguments.once || arguments.help || arguments.version);
}

static void test_cli_command_values_are_read(void **state)
{
    (void)state;
    struct arguments arguments =
        must_parse("top --sort cpu --interval 0.1 --color=never --filter x --timeout 3600 -1");
    assert_int_equal(arguments.sort, SORT_CPU);
    assert_int_equal(arguments.color, COLOR_NEVER);
    assert_true(arguments.interval == 0.1 && arguments.timeout == 3600);
    assert_string_equal(arguments.filter, "x");
    assert_true(arguments.once);
    assert_int_equal(must_parse("models --sort name").sort, SORT_NAME);
    assert_int_equal(must_parse("models --sort verdict").sort, SORT_VERDICT);
}

static void test_cli_command_operands_keep_their_order(void **state)
{
    (void)state;
    struct arguments arguments = must_parse("send m 1 --json 2 k=v -- --dir");
    assert_int_equal(arguments.operand_count, 5);
    assert_string_equal(arguments.operands[0], "m");
    assert_string_equal(arguments.operands[2], "2");
    assert_string_equal(arguments.operands[4], "--dir");
    assert_string_equal(must_parse("explain -- -x").operands[0], "-x");
    assert_string_equal(must_parse("explain -").operands[0], "-");
    assert_string_equal(must_parse("send m -5").operands[1], "-5");
    assert_string_equal(must_parse("send m -0.5 --json").operands[1], "-0.5");
    assert_int_equal(must_parse("reset").operand_count, 0);
    assert_int_equal(must_parse("check-config f").operand_count, 1);
}

static void test_cli_command_help_needs_nothing_else(void **state)
{
    (void)state;
    assert_true(must_parse("--help").help);
    assert_null(must_parse("-h").command);
    assert_string_equal(must_parse("explain --help").command->name, "explain");
    assert_true(must_parse("--version").version);
    assert_true(must_parse("status -V").version);
    assert_true(must_parse("explain --version").version);
    assert_true(must_parse("help").help);
    assert_null(must_parse("help").command);
    assert_true(must_parse("help top").help);
    assert_string_equal(must_parse("help top").command->name, "top");
    assert_string_equal(must_parse("help --help").command->name, "help");
    assert_true(must_parse("--print-commands").print_table);
}

static void test_cli_command_says_what_is_wrong(void **state)
{
    (void)state;
    must_refuse("", "expects a command");
    must_refuse("tpo", "there is no command tpo (did you mean top?)");
    must_refuse("frobnicate", "there is no command frobnicate");
    must_refuse("top --onec", "there is no option --onec (did you mean --once?)");
    must_refuse("top -x", "there is no option -x");
    must_refuse("top -5", "there is no option -5");
    must_refuse("send m -5x", "there is no option -5");
    must_refuse("help tpo", "there is no command tpo (did you mean top?)");
    must_refuse("help top status", "help: expects [COMMAND], got 2 arguments");
    must_refuse("status --once", "there is no option --once");
    must_refuse("send --print-commands", "there is no option --print-commands");
    must_refuse("top --print-commands", "there is no option --print-commands");
    must_refuse("top --once=1", "--once takes no value");
    must_refuse("top --dir", "--dir: expects DIR, got nothing");
    must_refuse("top --dir=", "--dir: expects DIR, got nothing");
    must_refuse("top -d", "--dir: expects DIR, got nothing");
    must_refuse("top --sort size", "--sort: expects name|rate|p99|cpu|verdict, got size");
    must_refuse("top --sort rat", "--sort: expects name|rate|p99|cpu|verdict, got rat");
    must_refuse("top --interval 0.09",
                "--interval: expects a number of seconds from 0.1 to 3600, got 0.09");
    must_refuse("top --interval 3600.1",
                "--interval: expects a number of seconds from 0.1 to 3600, got 3600.1");
    must_refuse("top --interval 1s",
                "--interval: expects a number of seconds from 0.1 to 3600, got 1s");
    must_refuse("top --timeout 0",
                "--timeout: expects a number of seconds from 0.001 to 3600, got 0");
    must_refuse("explain", "explain: expects MODEL, got 0 arguments");
    must_refuse("explain a b", "explain: expects MODEL, got 2 arguments");
    must_refuse("explain _", "explain: expects MODEL, got an empty argument");
    must_refuse("status x", "status: expects no argument, got 1 argument");
    must_refuse("reset a b", "reset: expects [MODEL], got 2 arguments");
    must_refuse("status --dir d --url u", "--dir and --url name two daemons; give one of them");
    assert_true(must_parse("--json check-config").json);
    must_refuse("check-config --dir x", "there is no option --dir");
    must_refuse("--dir x check-config", "there is no option --dir");
    must_refuse("a\x1b[2J", "there is no command a\\x1b[2J");
}

/* Options of one command have names and letters of their own, and its help names all of them. */
static void test_cli_command_help_tells_every_option(void **state)
{
    (void)state;
    for (size_t i = 0; i < command_count; i++) {
        static const size_t widths[] = {20, 80, 200};
        for (size_t w = 0; w < sizeof widths / sizeof widths[0]; w++) {
            struct buf out;
            buf_init(&out, CLI_BYTES_MAX);
            command_help(&commands[i], widths[w], &out);
            assert_int_equal(out.err, 0);
            if (widths[w] >= 80) {
                must_fit(&out, 80);
            }
            buf_char(&out, '\0');
            for (size_t n = 0; n < commands[i].option_count; n++) {
                char named[64];
                (void)snprintf(named, sizeof named, "--%s", commands[i].options[n].name);
                assert_non_null(strstr(out.data, named));
            }
            assert_non_null(strstr(out.data, "--help"));
            buf_fini(&out);
        }
    }
}

/* What the sockets alone can do lists no --url; it is taken so that the command can say why not. */
static void test_cli_command_help_lists_nothing_that_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *name, *part;
        bool listed;
    } rows[] = {{"send", "--url", false},        {"reset", "--url", false},
                {"explain", "--url", true},      {"send", "--dir", true},
                {"status", "--version", false},  {"check-config", "daemon's answer", false},
                {"check-config", "--json", true}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char line[64];
        struct buf out;
        (void)snprintf(line, sizeof line, "help %s", rows[i].name);
        buf_init(&out, CLI_BYTES_MAX);
        command_help(must_parse(line).command, 200, &out);
        buf_char(&out, '\0');
        assert_int_equal(strstr(out.data, rows[i].part) != NULL, rows[i].listed);
        buf_fini(&out);
    }
    assert_string_equal(must_parse("send --url u").url, "u");
}

static void test_cli_command_table_is_json(void **state)
{
    (void)state;
    struct buf out;
    json_error_t error;
    buf_init(&out, CLI_BYTES_MAX);
    command_table(&out);
    json_t *root = json_loadb(out.data, out.len, 0, &error);
    assert_int_equal(json_array_size(json_object_get(root, "commands")), command_count);
    for (size_t i = 0; i < command_count; i++) {
        const json_t *row = json_array_get(json_object_get(root, "commands"), i);
        const json_t *options = json_object_get(row, "options");
        assert_string_equal(json_string_value(json_object_get(row, "name")), commands[i].name);
        for (size_t n = 0; n < json_array_size(options); n++) {
            for (size_t m = 0; m < n; m++) {
                const json_t *a = json_array_get(options, n);
                const json_t *b = json_array_get(options, m);
                const char *letter = json_string_value(json_object_get(a, "letter"));
                assert_false(json_equal(json_object_get(a, "name"), json_object_get(b, "name")));
                assert_true(letter[0] == '\0' || !json_equal(json_object_get(a, "letter"),
                                                             json_object_get(b, "letter")));
            }
        }
    }
    json_decref(root);
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cli_command_options_have_long_and_short_forms),
        cmocka_unit_test(test_cli_command_has_defaults),
        cmocka_unit_test(test_cli_command_values_are_read),
        cmocka_unit_test(test_cli_command_operands_keep_their_order),
        cmocka_unit_test(test_cli_command_help_needs_nothing_else),
        cmocka_unit_test(test_cli_command_says_what_is_wrong),
        cmocka_unit_test(test_cli_command_help_tells_every_option),
        cmocka_unit_test(test_cli_command_help_lists_nothing_that_is_refused),
        cmocka_unit_test(test_cli_command_table_is_json),
    };
    return cmocka_run_group_tests_name("cli_command", tests, NULL, NULL);
}
