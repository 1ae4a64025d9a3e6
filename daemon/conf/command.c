/*
 * The command line of dwelld. It decides nothing: main does what conf_command says.
 */
#include "conf/conf.h"

#include "base/err.h"
#include "base/mem.h"
#include "base/near.h"
#include "conf/table.h"

enum {
    HELP_COLUMNS = 90,
    OPTION_TEXT_MAX = 4096, /* what is said of one option; they are ours */
    SHORT_BYTES = 3,        /* a flag of one letter, and a dash too many: near to each other */
};

static const char usage[] =
    "usage: dwelld [--config FILE] [--set path=value]... [--check-config] [--print-config]\n"
    "              [--version] [--help]\n";

static const char flags[] =
    "\n"
    "  --config FILE      read this configuration, a JSON file\n"
    "  --set path=value   set one option, as in --set http.listen=127.0.0.1:0; may be repeated\n"
    "  --check-config     say everything that is wrong with the configuration, and exit\n"
    "  --print-config     print the configuration as it is in force, secrets left out, and exit\n"
    "  -V, --version      print the version and exit\n"
    "  -h, --help         print this and exit\n"
    "\n"
    "Options of the configuration, weakest first: built in, the file, the environment, --set.\n"
    "Those that are reloadable change at SIGHUP.\n"
    "An option's variable is DWELL_ and its path in capitals: DWELL_HTTP_LISTEN. Lists and\n"
    "objects are JSON text there. An empty variable is as good as none. Also read: ENVIRONMENT,\n"
    "CONSTITUTIONAL_HASH, and of OpenTelemetry OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES,\n"
    "OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_HEADERS, OTEL_TRACES_SAMPLER and _ARG.\n"
    "\n";

static const char exits[] =
    "\n"
    "Exit status: 0 after SIGTERM or SIGINT, 64 wrong arguments, 69 something needed is not\n"
    "available, 73 a socket cannot be made, 78 wrong configuration.\n";

/* Words in lines of HELP_COLUMNS, indented. */
static void put_lines(struct buf *out, struct str text)
{
    static const char indent[] = "      ";
    size_t column = 0;
    while (text.len > 0) {
        const char *space = memchr(text.ptr, ' ', text.len);
        size_t len = space == NULL ? text.len : (size_t)(space - text.ptr);
        if (column > 0 && column + 1 + len <= HELP_COLUMNS) {
            buf_char(out, ' ');
            column++;
        } else {
            buf_puts(out, column > 0 ? "\n" : "");
            buf_puts(out, indent);
            column = sizeof indent - 1;
        }
        buf_append(out, text.ptr, len);
        column += len;
        len += space == NULL ? 0 : 1;
        text = (struct str){text.ptr + len, text.len - len};
    }
    buf_char(out, '\n');
}

static void put_option(struct buf *out, const struct conf_option *option)
{
    struct buf values;
    buf_init(&values, OPTION_TEXT_MAX);
    buf_printf(&values, "Default: %s; takes ", conf_shown_default(option));
    conf_put_accepts(&values, option);
    buf_puts(&values, option->reloadable ? "; reloadable." : ".");

    buf_printf(out, "  %s\n", option->path);
    put_lines(out, str_of(option->sentence));
    put_lines(out, (struct str){values.data, values.len});
    out->err = out->err != 0 ? out->err : values.err;
    buf_fini(&values);
}

void conf_render_help(struct buf *out)
{
    buf_puts(out, usage);
    buf_puts(out, flags);
    for (size_t i = 0; i < conf_option_count; i++) {
        put_option(out, &conf_options[i]);
    }
    buf_puts(out, exits);
}

static const struct {
    const char *flag;
    enum conf_action action;
} actions[] = {
    {"--check-config", CONF_ACTION_CHECK},
    {"--print-config", CONF_ACTION_PRINT},
    {"--print-options-table", CONF_ACTION_TABLE},
    {"--version", CONF_ACTION_VERSION},
    {"-V", CONF_ACTION_VERSION},
    {"--help", CONF_ACTION_HELP},
    {"-h", CONF_ACTION_HELP},
};

static bool find_action(const char *argument, enum conf_action *ret_action)
{
    for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++) {
        if (strcmp(argument, actions[i].flag) == 0) {
            *ret_action = actions[i].action;
            return true;
        }
    }
    return false;
}

/* The value of `--flag VALUE` or `--flag=VALUE`; NULL when `argv[*at]` is another flag. Moves *at
 * to the last argument that was used. A flag without its value gives "". */
static const char *flag_value(const char *flag, char *const *argv, int argc, int *at)
{
    size_t len = strlen(flag);
    const char *argument = argv[*at];
    if (strncmp(argument, flag, len) != 0) {
        return NULL;
    }
    if (argument[len] == '=') {
        return argument + len + 1;
    }
    if (argument[len] != '\0') {
        return NULL;
    }
    if (*at + 1 == argc) {
        return "";
    }
    ++*at;
    return argv[*at];
}

static int complain(struct buf *errors, const char *argument, const char *what)
{
    conf_show(errors, str_of(argument));
    buf_printf(errors, ": %s\n", what);
    return ERR_SYNTAX;
}

static int complain_unknown(struct buf *errors, const char *argument)
{
    struct near near;
    near_init(&near, (struct str){argument, strcspn(argument, "=")});
    for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++) {
        near_try(&near, actions[i].flag);
    }
    near_try(&near, "--config");
    near_try(&near, "--set");
    conf_show(errors, str_of(argument));
    buf_puts(errors, ": is not known");
    if (near.best != NULL && near.word.len > SHORT_BYTES) {
        buf_printf(errors, "; the nearest is %s", near.best);
    }
    buf_char(errors, '\n');
    return ERR_SYNTAX;
}

static int take_argument(struct conf_command *command, int argc, char *const *argv, int *at,
                         struct buf *errors)
{
    const char *argument = argv[*at];
    enum conf_action action;
    if (find_action(argument, &action)) {
        if (command->action == CONF_ACTION_RUN || action == CONF_ACTION_HELP) {
            command->action = action;
        } else if (command->action != CONF_ACTION_HELP && command->action != action) {
            return complain(errors, argument, "cannot be combined with what came before");
        }
        return 0;
    }
    const char *value = flag_value("--config", argv, argc, at);
    if (value != NULL) {
        if (value[0] == '\0') {
            return complain(errors, argument, "expects a file's name");
        }
        if (command->file_name != NULL) {
            return complain(errors, argument, "expects to be given once");
        }
        command->file_name = value;
        return 0;
    }
    value = flag_value("--set", argv, argc, at);
    if (value != NULL) {
        if (strchr(value, '=') == NULL) {
            return complain(errors, argument, "expects path=value");
        }
        command->sets[command->set_count++] = value;
        return 0;
    }
    return complain_unknown(errors, argument);
}

int conf_parse_command(struct conf_command *command, int argc, char *const *argv,
                       struct buf *errors)
{
    *command = (struct conf_command){.action = CONF_ACTION_RUN};
    if (argc > 1) {
        command->sets = mem_zalloc((size_t)argc, sizeof *command->sets);
        if (command->sets == NULL) {
            return ERR_NOMEM;
        }
    }
    int err = 0;
    for (int at = 1; at < argc; at++) {
        int argument_err = take_argument(command, argc, argv, &at, errors);
        err = argument_err != 0 ? argument_err : err;
    }
    if (command->action == CONF_ACTION_HELP) {
        /* So that it can be put behind a line that does not work. */
        buf_clear(errors);
        return 0;
    }
    if (err != 0) {
        buf_puts(errors, usage);
        conf_command_fini(command);
    }
    return err;
}

void conf_command_fini(struct conf_command *command)
{
    mem_free(command->sets);
    *command = (struct conf_command){.action = CONF_ACTION_RUN};
}
