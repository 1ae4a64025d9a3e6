#include "cli/command.h"

#include <errno.h>
#include <stddef.h>
#include <sysexits.h>

#include "base/near.h"
#include "base/num.h"
#include "cli/tool.h"
#include "dwell_bench.h"

enum {
    NAME_COLUMNS_MAX = 24, /* of what stands left of a sentence in --help */
};

#define AT(member) offsetof(struct arguments, member)

/* --- the rows ---------------------------------------------------------------------------------- */

static const struct option common_options[] = {
    {"help", 'h', OPTION_FLAG, NULL, NULL, 0, 0, AT(help), "Print how to use it, and exit."},
    {"color", 0, OPTION_CHOICE, "WHEN", "auto|always|never", 0, 0, AT(color),
     "Whether to use colours: auto, always or never. auto: on a terminal, unless NO_COLOR is set."},
};

static const struct option dir_option = {
    "dir",
    'd',
    OPTION_DIRECTORY,
    "DIR",
    NULL,
    0,
    0,
    AT(dir),
    "Directory of the daemon's sockets. Otherwise $DWELL_DIR, or the first of "
    "$XDG_RUNTIME_DIR/dwell, /run/dwell and /tmp/dwell-UID that has an ingest.sock."};
static const struct option url_option = {
    "url",
    'u',
    OPTION_TEXT,
    "URL",
    NULL,
    0,
    0,
    AT(url),
    "Ask a daemon by its http.listen, as in http://host:9847, and not by a socket."};
static const struct option timeout_option = {
    "timeout", 0,           OPTION_SECONDS,
    "SECONDS", NULL,        0.001,
    3600,      AT(timeout), "How long to wait for an answer; 10 unless given."};

static const struct option json_option = {
    "json", 'j', OPTION_FLAG, NULL, NULL, 0, 0, AT(json), "Print the daemon's answer as it is."};

/* Of the tool itself. */
static const struct option version_option = {
    "version", 'V', OPTION_FLAG, NULL, NULL, 0, 0, AT(version), "Print the version, and exit."};
static const struct option table_option = {"print-commands", 0, OPTION_FLAG, NULL, NULL, 0, 0,
                                           AT(print_table),  ""};

static const struct option models_options[] = {
    {"all", 'a', OPTION_FLAG, NULL, NULL, 0, 0, AT(all),
     "Since the start or the last reset, not only the window."},
    {"names", 'n', OPTION_FLAG, NULL, NULL, 0, 0, AT(names), "Only the names, each on a line."},
    {"sort", 's', OPTION_CHOICE, "KEY", "name|rate|p99|cpu|verdict", 0, 0, AT(sort),
     "What comes first: name (the default), or the highest rate, p99 or cpu, or by verdict."},
};

static const struct option top_options[] = {
    {"once", '1', OPTION_FLAG, NULL, NULL, 0, 0, AT(once),
     "Print one picture as text, and exit. Its rates are those of the window."},
    {"interval", 'i', OPTION_SECONDS, "SECONDS", NULL, 0.1, 3600, AT(interval),
     "Time between two pictures; 1 unless given."},
    {"sort", 's', OPTION_CHOICE, "KEY", "name|rate|p99|cpu|verdict", 0, 0, AT(sort),
     "What comes first: the highest rate (the default), p99 or cpu, or by name or verdict."},
    {"filter", 'f', OPTION_TEXT, "TEXT", NULL, 0, 0, AT(filter),
     "Only models in whose name this occurs; capital letters are small ones."},
};

static const struct option explain_options[] = {
    {"all", 'a', OPTION_FLAG, NULL, NULL, 0, 0, AT(all),
     "Since the start or the last reset, not only the window."},
};

static const struct option send_options[] = {
    {"hash", 0, OPTION_TEXT, "HASH", NULL, 0, 0, AT(hash),
     "The constitutional hash to name. Otherwise $CONSTITUTIONAL_HASH, or the daemon's default."},
};

static const struct option doctor_options[] = {
    {"send", 0, OPTION_FLAG, NULL, NULL, 0, 0, AT(send),
     "Send a sample, too, of a model dwell-doctor, which stays until the daemon ends."},
    {"json", 'j', OPTION_FLAG, NULL, NULL, 0, 0, AT(json), "Print the checks as JSON."},
};

static const struct option bench_options[] = {
    {"samples", 0, OPTION_WHOLE, "N", NULL, 1, DWELL_BENCH_SAMPLES_MAX, AT(bench.samples),
     "Requests that are measured one after the other, and again by all workers; 200 unless given."},
    {"concurrency", 'c', OPTION_WHOLE, "N", NULL, 1, DWELL_BENCH_WORKERS_MAX, AT(bench.concurrency),
     "Workers: processes of the command, or connections; 4 unless given."},
    {"warmup", 'w', OPTION_WHOLE, "N", NULL, 0, DWELL_BENCH_SAMPLES_MAX, AT(bench.warmup),
     "Requests of each worker before anything is measured; 20 unless given."},
    {"input", 0, OPTION_FILE, "FILE", NULL, 0, 0, AT(bench.input),
     "What is asked: the lines of this file, again from the first after the last. Otherwise a "
     "command is asked the number of the request, and a URL nothing (GET)."},
    {"url", 'u', OPTION_TEXT, "URL", NULL, 0, 0, AT(bench.url),
     "Ask a model behind HTTP in place of a command. Statuses from 200 to 299 are answers."},
    {"data", 0, OPTION_TEXT, "DATA", NULL, 0, 0, AT(bench.data),
     "POST this to the URL; @FILE: what is in the file."},
    {"content-type", 0, OPTION_TEXT, "TYPE", NULL, 0, 0, AT(bench.content_type),
     "Of what is posted; application/json unless given."},
    {"pid", 0, OPTION_WHOLE, "PID", NULL, 1, INT32_MAX, AT(bench.pid),
     "The process of this machine that answers at the URL, to read its CPU time."},
    {"timeout", 0, OPTION_SECONDS, "SECONDS", NULL, 0.001, 3600, AT(bench.answer_timeout),
     "How long an answer may take; 10 unless given."},
    {"start-timeout", 0, OPTION_SECONDS, "SECONDS", NULL, 0.001, 3600, AT(bench.start_timeout),
     "How long the first answer of each worker may take, with all that it does at its start; 120 "
     "unless given."},
    {"model", 'm', OPTION_TEXT, "NAME", NULL, 0, 0, AT(bench.model),
     "The model's name at the daemon. Otherwise that of the command, or of the script that it "
     "runs, or host and path of the URL."},
    {"start-daemon", 0, OPTION_FLAG, NULL, NULL, 0, 0, AT(bench.start_daemon),
     "Start a dwelld for this run alone, even if there is one. Without this option, if there is "
     "none."},
    {"no-daemon", 0, OPTION_FLAG, NULL, NULL, 0, 0, AT(bench.no_daemon),
     "Decide by CPU thresholds alone."},
    {"dir", 'd', OPTION_DIRECTORY, "DIR", NULL, 0, 0, AT(dir),
     "Directory of the daemon's sockets; found as for the other commands unless given."},
    {"quiet", 'q', OPTION_FLAG, NULL, NULL, 0, 0, AT(bench.quiet), "Do not show how far it is."},
    {"output", 'o', OPTION_FILE, "FILE", NULL, 0, 0, AT(bench.output),
     "Write the result to this file as JSON, besides what is printed."},
    {"json", 'j', OPTION_FLAG, NULL, NULL, 0, 0, AT(json), "Print the result as JSON."},
};

static const struct option check_options[] = {
    {"json", 'j', OPTION_FLAG, NULL, NULL, 0, 0, AT(json),
     "Print whether it is good, and each problem, as JSON."},
};

#define ROWS(options) options, sizeof options / sizeof options[0]

/* Its run is that of --help (command_parse). */
static const char help_name[] = "help";

const struct command commands[] = {
    {"status", "", 0, 0, OPERAND_OTHER, ASKS, true, "how the daemon is, and what it received",
     "Version, addresses, memory, the account of records (accepted, rejected by reason, dropped, "
     "lost) and "
     "the export.",
     NULL, 0, status_run},
    {"models", "", 0, 0, OPERAND_OTHER, ASKS, true, "all models in a table",
     "Rate, quantiles, CPU and verdict of each model over the window.", ROWS(models_options),
     models_run},
    {"report", "", 0, 0, OPERAND_OTHER, ASKS, true, "the daemon's report, to read at leisure",
     "All models with all figures, the GPU decision and the time budgets. With --json the models "
     "that it "
     "is about.",
     NULL, 0, report_run},
    {"top", "", 0, 0, OPERAND_OTHER, ASKS, true, "all models, live",
     "Keys: n, r, l, c, v sort by name, rate, p99, CPU and verdict; the same key again turns the "
     "order "
     "round. / filters by name, Enter explains the selected model, q ends. When the daemon goes "
     "away, top "
     "shows since when and asks on. --json goes with --once.",
     ROWS(top_options), top_run},
    {"explain", "MODEL", 1, 1, OPERAND_MODEL, ASKS, true, "how a model got its verdict",
     "The shares of its time, the way from the evidence to the label, which evidence was missing, "
     "and what "
     "would change the verdict. Exit status 1: there is no such model.",
     ROWS(explain_options), explain_run},
    {"budgets", "", 0, 0, OPERAND_OTHER, ASKS, true, "the time budgets and what became of them",
     "Each layer's budget, quantiles, share of the total, and how often it was exceeded.", NULL, 0,
     budgets_run},
    {"decision", "", 0, 0, OPERAND_OTHER, ASKS, true, "whether to evaluate a GPU",
     "The overall recommendation with its reasons, each model's part in it, and what to do. Exit "
     "status 1: "
     "EVALUATE_GPU.",
     NULL, 0, decision_run},
    {"send", "[MODEL MS... [KEY=VALUE]...]", 0, -1, OPERAND_MODEL, ASKS_SOCKETS, true,
     "send samples, or records as JSON",
     "Sends a sample for each MS, with the further keys of samples that are given, labels as "
     "labels.KEY=VALUE. Without operands, records from standard input, a JSON object on each "
     "line: samples, spans, metrics, budgets. Says which lines were rejected, and confirms the "
     "rest. StatsD goes straight to ingest.sock. Exit status 1: some were rejected.",
     ROWS(send_options), send_run},
    {"reset", "[MODEL]", 0, 1, OPERAND_MODEL, ASKS_SOCKETS, true,
     "forget the samples of one model or of all",
     "Windows and verdicts begin anew; what is on /metrics goes on. By admin.sock, which is for "
     "the "
     "daemon's own user. Exit status 1: there is no such model.",
     NULL, 0, reset_run},
    {"bench", "[--] COMMAND [ARGUMENT]...", 0, -1, OPERAND_OTHER, ASKS_NOBODY, false,
     "run a model under load: would a GPU help?",
     "Starts workers of the command, each of which answers one line on standard output for each "
     "line on standard input; asks one of them alone, then all at once; and says how fast that "
     "was, what it is bound by and whether to evaluate a GPU. Behind -- no word is an option of "
     "bench. Each request of the one alone is a sample at the daemon, which judges. The model "
     "stays "
     "there: in decision until dwell reset, on /metrics until the daemon ends; --start-daemon "
     "keeps it apart. Latencies are those of a closed loop. Exit status 1: "
     "EVALUATE_GPU; 69: the command cannot be run, died, or did not answer in time; 76: it "
     "answered with more than one line, or without end; 130: Ctrl-C.",
     ROWS(bench_options), bench_run},
    {"doctor", "", 0, 0, OPERAND_OTHER, ASKS, false, "what is wrong, and what to do about it",
     "Looks for the daemon as its clients do, and checks the directory, the sockets, whether what "
     "is sent comes through, versions, limits, clock and loss: a row each, with what to do about "
     "what is not well. Exit status 1: there is something to mend.",
     ROWS(doctor_options), doctor_run},
    {"check-config", "[FILE]", 0, 1, OPERAND_FILE, ASKS_NOBODY, false,
     "check the daemon's configuration",
     "Runs dwelld --check-config, the dwelld beside this program or else the one in PATH, and has "
     "its exit "
     "status: 0 or 78.",
     ROWS(check_options), check_config_run},
    {help_name, "[COMMAND]", 0, 1, OPERAND_COMMAND, ASKS_NOBODY, false,
     "how to use it, or a command", "The same as dwell --help, and as dwell COMMAND --help.", NULL,
     0, NULL},
};
const size_t command_count = sizeof commands / sizeof commands[0];

/* --- which options there are ------------------------------------------------------------------- */

/* The n-th option of a command, or of the tool itself (NULL); NULL: there are no more. */
static const struct option *option_at(const struct command *command, size_t n)
{
    const struct {
        const struct option *options;
        size_t count;
    } groups[] = {
        {command != NULL ? command->options : NULL, command != NULL ? command->option_count : 0},
        {&json_option, command != NULL && command->has_json ? 1 : 0},
        {&dir_option, command != NULL && command->asks != ASKS_NOBODY ? 1 : 0},
        {&url_option, command != NULL && command->asks == ASKS ? 1 : 0},
        {&timeout_option, command != NULL && command->asks != ASKS_NOBODY ? 1 : 0},
        {common_options, sizeof common_options / sizeof common_options[0]},
        {&version_option, command == NULL ? 1 : 0},
    };
    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++) {
        if (n < groups[i].count) {
            return &groups[i].options[n];
        }
        n -= groups[i].count;
    }
    return NULL;
}

static bool is_option(const struct option *option, struct str name, char letter)
{
    return letter != 0 ? option->letter == letter : str_is(name, option->name);
}

/* Options that are taken and not listed: before a command is named those of every command's kind, as in
 * dwell --json status; behind it what is refused with a reason, or asked of the tool. */
static const struct option *find_hidden(const struct command *command, struct str name, char letter)
{
    const struct {
        const struct option *option;
        bool taken;
    } rows[] = {{&dir_option, command == NULL},
                {&url_option, command == NULL || command->asks == ASKS_SOCKETS},
                {&timeout_option, command == NULL},
                {&json_option, command == NULL},
                {&table_option, command == NULL},
                {&version_option, true}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].taken && is_option(rows[i].option, name, letter)) {
            return rows[i].option;
        }
    }
    return NULL;
}

static const struct option *find_option(const struct command *command, struct str name, char letter)
{
    const struct option *option;
    for (size_t n = 0; (option = option_at(command, n)) != NULL; n++) {
        if (is_option(option, name, letter)) {
            return option;
        }
    }
    return find_hidden(command, name, letter);
}

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < command_count; i++) {
        if (strcmp(commands[i].name, name) == 0) {
            return &commands[i];
        }
    }
    return NULL;
}

/* --- parsing ----------------------------------------------------------------------------------- */

/* The number of a word among "auto|always|never", or -1. */
static int find_word(const char *words, struct str word)
{
    for (int number = 0;; number++) {
        size_t len = strcspn(words, "|");
        if (str_equal((struct str){words, len}, word)) {
            return number;
        }
        if (words[len] == '\0') {
            return -1;
        }
        words += len + 1;
    }
}

static int refuse_option(const struct command *command, struct str name, char letter,
                         struct buf *problem)
{
    struct near near;
    const struct option *option;
    near_init(&near, name);
    for (size_t n = 0; letter == 0 && (option = option_at(command, n)) != NULL; n++) {
        near_try(&near, option->name);
    }
    buf_puts(problem, letter != 0 ? "there is no option -" : "there is no option --");
    text_safe(problem, letter != 0 ? (struct str){&letter, 1} : name, true);
    if (near.best != NULL) {
        buf_printf(problem, " (did you mean --%s?)", near.best);
    }
    return EX_USAGE;
}

static int set_option(struct arguments *arguments, const struct option *option, const char *value,
                      struct buf *problem)
{
    char *member = (char *)arguments + option->offset;
    switch (option->kind) {
    case OPTION_FLAG: {
        bool yes = true;
        memcpy(member, &yes, sizeof yes);
        return 0;
    }
    case OPTION_TEXT:
    case OPTION_FILE:
    case OPTION_DIRECTORY:
        if (value[0] == '\0') {
            buf_printf(problem, "--%s: expects %s, got nothing", option->name, option->argument);
            return EX_USAGE;
        }
        memcpy(member, &value, sizeof value);
        return 0;
    case OPTION_CHOICE: {
        int number = find_word(option->words, str_of(value));
        if (number < 0) {
            buf_printf(problem, "--%s: expects %s, got ", option->name, option->words);
            text_safe(problem, str_of(value), true);
            return EX_USAGE;
        }
        memcpy(member, &number, sizeof number);
        return 0;
    }
    case OPTION_SECONDS: {
        double seconds;
        if (num_read_double(str_of(value), &seconds) != 0 || seconds < option->least ||
            seconds > option->most) {
            buf_printf(problem, "--%s: expects a number of seconds from %g to %g, got ",
                       option->name, option->least, option->most);
            text_safe(problem, str_of(value), true);
            return EX_USAGE;
        }
        memcpy(member, &seconds, sizeof seconds);
        return 0;
    }
    case OPTION_WHOLE: {
        uint64_t number;
        if (num_read_u64(str_of(value), &number) != 0 || (double)number < option->least ||
            (double)number > option->most) {
            buf_printf(problem, "--%s: expects a whole number from %.0f to %.0f, got ",
                       option->name, option->least, option->most);
            text_safe(problem, str_of(value), true);
            return EX_USAGE;
        }
        uint32_t narrow = (uint32_t)number;
        memcpy(member, &narrow, sizeof narrow);
        return 0;
    }
    }
    return 0;
}

struct cursor {
    int argc, at;
    char **argv;
};

/* The value of an option: what is attached, or the next argument. */
static int take_value(struct cursor *cursor, const struct option *option, const char *attached,
                      const char **ret_value, struct buf *problem)
{
    *ret_value = attached;
    if (option->argument == NULL) {
        if (attached != NULL) {
            buf_printf(problem, "--%s takes no value", option->name);
            return EX_USAGE;
        }
    } else if (attached == NULL) {
        if (cursor->at + 1 >= cursor->argc) {
            buf_printf(problem, "--%s: expects %s, got nothing", option->name, option->argument);
            return EX_USAGE;
        }
        *ret_value = cursor->argv[++cursor->at];
    }
    return 0;
}

/* --name, --name=value, --name value */
static int take_long(struct arguments *arguments, struct cursor *cursor, struct buf *problem)
{
    const char *text = cursor->argv[cursor->at] + 2;
    struct str name = {text, strcspn(text, "=")};
    const struct option *option = find_option(arguments->command, name, 0);
    if (option == NULL) {
        return refuse_option(arguments->command, name, 0, problem);
    }
    const char *value;
    int status = take_value(cursor, option, text[name.len] == '=' ? text + name.len + 1 : NULL,
                            &value, problem);
    return status != 0 ? status : set_option(arguments, option, value, problem);
}

/* -j, -jh, -d DIR, -dDIR */
static int take_letters(struct arguments *arguments, struct cursor *cursor, struct buf *problem)
{
    int status = 0;
    const char *letter = cursor->argv[cursor->at] + 1;
    while (status == 0 && *letter != '\0') {
        const struct option *option = find_option(arguments->command, (struct str){0}, *letter);
        if (option == NULL) {
            return refuse_option(arguments->command, (struct str){0}, *letter, problem);
        }
        const char *value;
        bool ends = option->argument != NULL;
        status = take_value(cursor, option, ends && letter[1] != '\0' ? letter + 1 : NULL, &value,
                            problem);
        status = status != 0 ? status : set_option(arguments, option, value, problem);
        letter = ends ? "" : letter + 1;
    }
    return status;
}

static int take_command(struct arguments *arguments, const char *name, struct buf *problem)
{
    arguments->command = find_command(name);
    if (arguments->command != NULL) {
        return 0;
    }
    struct near near;
    near_init(&near, str_of(name));
    for (size_t i = 0; i < command_count; i++) {
        near_try(&near, commands[i].name);
    }
    buf_puts(problem, "there is no command ");
    text_safe(problem, str_of(name), true);
    if (near.best != NULL) {
        buf_printf(problem, " (did you mean %s?)", near.best);
    }
    return EX_USAGE;
}

static int check_operands(const struct arguments *arguments, struct buf *problem)
{
    const struct command *command = arguments->command;
    if (arguments->operand_count < command->least ||
        (command->most >= 0 && arguments->operand_count > command->most)) {
        buf_printf(problem, "%s: expects %s, got %d argument%s", command->name,
                   command->operands[0] != '\0' ? command->operands : "no argument",
                   arguments->operand_count, arguments->operand_count == 1 ? "" : "s");
        return EX_USAGE;
    }
    for (int i = 0; command->operand_kind != OPERAND_OTHER && i < arguments->operand_count; i++) {
        if (arguments->operands[i][0] == '\0') {
            buf_printf(problem, "%s: expects %s, got an empty argument", command->name,
                       command->operands);
            return EX_USAGE;
        }
    }
    if (arguments->dir != NULL && arguments->url != NULL) {
        buf_puts(problem, "--dir and --url name two daemons; give one of them");
        return EX_USAGE;
    }
    return 0;
}

/* Whether one of the command's options sets what this one sets. */
static bool takes(const struct command *command, const struct option *early)
{
    const struct option *option;
    for (size_t n = 0; (option = option_at(command, n)) != NULL; n++) {
        if (option->offset == early->offset) {
            return true;
        }
    }
    return false;
}

/* What was said before the command must also mean something to it. */
static int check_early(const struct arguments *arguments, struct buf *problem)
{
    const struct command *command = arguments->command;
    const char *wrong = !takes(command, &json_option) && arguments->json         ? json_option.name
                        : !takes(command, &dir_option) && arguments->dir != NULL ? "dir"
                        : command->asks == ASKS_NOBODY && arguments->url != NULL ? "url"
                                                                                 : NULL;
    return wrong != NULL ? refuse_option(command, str_of(wrong), 0, problem) : 0;
}

/* A number below 0 where an operand may stand, such as the time of a sample that the daemon is to judge. */
static bool is_negative(const struct command *command, const char *text)
{
    double number;
    return command != NULL && command->operands[0] != '\0' &&
           num_read_double(str_of(text), &number) == 0 &&
           find_option(command, (struct str){0}, text[1]) == NULL;
}

/* dwell help top is dwell top --help. */
static int take_help(struct arguments *arguments, struct buf *problem)
{
    int status = check_operands(arguments, problem);
    if (status == 0) {
        arguments->help = true;
        arguments->command = NULL;
        status = arguments->operand_count > 0
                     ? take_command(arguments, arguments->operands[0], problem)
                     : 0;
    }
    return status;
}

int command_parse(struct arguments *arguments, int argc, char **argv, struct buf *problem)
{
    struct cursor cursor = {.argc = argc, .at = 1, .argv = argv};
    int status = 0;
    bool only_operands = false;
    *arguments = (struct arguments){.timeout = 10,
                                    .interval = 1,
                                    .sort = -1,
                                    .operands = argv + argc,
                                    .color = COLOR_AUTO,
                                    .bench = bench_defaults};
    int kept = 0;
    for (; status == 0 && cursor.at < argc; cursor.at++) {
        char *text = argv[cursor.at];
        if (!only_operands && strcmp(text, "--") == 0) {
            only_operands = true;
        } else if (!only_operands && text[0] == '-' && text[1] == '-') {
            status = take_long(arguments, &cursor, problem);
        } else if (!only_operands && text[0] == '-' && text[1] != '\0' &&
                   !is_negative(arguments->command, text)) {
            status = take_letters(arguments, &cursor, problem);
        } else if (arguments->command == NULL) {
            status = take_command(arguments, text, problem);
        } else {
            argv[kept++] = text; /* never past what was read */
        }
    }
    arguments->operands = argv;
    arguments->operand_count = kept;
    if (status != 0 || arguments->help || arguments->version || arguments->print_table) {
        return status;
    }
    if (arguments->command == NULL) {
        buf_puts(problem, "expects a command");
        return EX_USAGE;
    }
    if (arguments->command->name == help_name) {
        return take_help(arguments, problem);
    }
    status = check_operands(arguments, problem);
    return status != 0 ? status : check_early(arguments, problem);
}

/* --- help -------------------------------------------------------------------------------------- */

static void put_left(struct buf *out, const struct option *option)
{
    if (option->letter != 0) {
        buf_printf(out, "-%c, ", option->letter);
    }
    buf_printf(out, "--%s", option->name);
    if (option->argument != NULL) {
        buf_printf(out, " %s", option->argument);
    }
}

/* A name, and behind it or below it what it is. */
static void put_entry(struct buf *out, struct str left, const char *sentence, size_t indent,
                      size_t columns)
{
    size_t used = 2 + left.len;
    buf_puts(out, "  ");
    buf_str(out, left);
    if (used + 2 > indent) {
        buf_char(out, '\n');
        used = 0;
    }
    text_pad(out, indent - used);
    text_wrap(out, str_of(sentence), indent, indent, columns);
    buf_char(out, '\n');
}

static void put_options(struct buf *out, const struct command *command, size_t indent,
                        size_t columns)
{
    const struct option *option;
    buf_puts(out, "\nOptions:\n");
    for (size_t n = 0; (option = option_at(command, n)) != NULL; n++) {
        struct buf left;
        buf_init(&left, 256); /* names are ours */
        put_left(&left, option);
        put_entry(out, (struct str){left.data, left.len}, option->sentence, indent, columns);
        buf_fini(&left);
    }
}

static void put_synopsis(struct buf *out, const struct command *command)
{
    buf_printf(out, "usage: dwell %s%s", command->name,
               command->option_count > 0 || command->asks != ASKS_NOBODY ? " [OPTION]..." : "");
    buf_printf(out, "%s%s\n", command->operands[0] != '\0' ? " " : "", command->operands);
}

void command_help(const struct command *command, size_t columns, struct buf *out)
{
    columns = columns < 80 ? columns : 80;
    size_t indent = columns < 50 ? 4 : NAME_COLUMNS_MAX;
    if (command != NULL) {
        put_synopsis(out, command);
        buf_char(out, '\n');
        text_wrap(out, str_of(command->description), 0, 0, columns);
        buf_char(out, '\n');
        put_options(out, command, indent, columns);
        return;
    }
    buf_puts(out, "usage: dwell COMMAND [OPTION]... [ARGUMENT]...\n\n");
    text_wrap(out,
              STR_LITERAL("Asks dwelld, the inference telemetry daemon, and sends it samples."), 0,
              0, columns);
    buf_puts(out, "\n\nCommands:\n");
    for (size_t i = 0; i < command_count; i++) {
        put_entry(out, str_of(commands[i].name), commands[i].sentence, columns < 50 ? indent : 16,
                  columns);
    }
    put_options(out, NULL, indent, columns);
    buf_char(out, '\n');
    text_wrap(out, STR_LITERAL("dwell help COMMAND tells the options of a command."), 0, 0,
              columns);
    buf_puts(out, "\n");
}

/* --- the rows for the generator ---------------------------------------------------------------- */

static json_t *option_json(const struct option *option)
{
    static const char *const kinds[] = {
        [OPTION_FLAG] = "flag",           [OPTION_TEXT] = "text",     [OPTION_FILE] = "file",
        [OPTION_DIRECTORY] = "directory", [OPTION_CHOICE] = "choice", [OPTION_SECONDS] = "seconds",
        [OPTION_WHOLE] = "whole"};
    char letter[2] = {option->letter, '\0'};
    return json_pack("{s:s, s:s, s:s, s:s?, s:s?, s:s}", "name", option->name, "letter", letter,
                     "kind", kinds[option->kind], "argument", option->argument, "words",
                     option->words, "sentence", option->sentence);
}

static json_t *options_json(const struct command *command)
{
    json_t *list = json_array();
    const struct option *option;
    for (size_t n = 0; (option = option_at(command, n)) != NULL; n++) {
        (void)json_array_append_new(list,
                                    option_json(option)); /* seen as a list that is too short */
    }
    return list;
}

void command_table(struct buf *out)
{
    static const char *const kinds[] = {[OPERAND_OTHER] = "other",
                                        [OPERAND_MODEL] = "model",
                                        [OPERAND_FILE] = "file",
                                        [OPERAND_COMMAND] = "command"};
    json_t *list = json_array();
    for (size_t i = 0; i < command_count; i++) {
        const struct command *command = &commands[i];
        json_t *row = json_pack("{s:s, s:s, s:s, s:s, s:s, s:o}", "name", command->name, "operands",
                                command->operands, "operand_kind", kinds[command->operand_kind],
                                "sentence", command->sentence, "description", command->description,
                                "options", options_json(command));
        (void)json_array_append_new(list, row); /* likewise */
    }
    json_t *root = json_pack("{s:o, s:o}", "commands", list, "options", options_json(NULL));
    char *text = json_dumps(root, JSON_INDENT(1) | JSON_ENSURE_ASCII);
    if (text != NULL) {
        buf_puts(out, text);
        buf_char(out, '\n');
    }
    free(text);
    json_decref(root);
}
