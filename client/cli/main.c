/*
 * dwell: asks dwelld and sends it samples.
 *
 * Happy path
 *   1. the locale says whether the terminal shows UTF-8
 *   2. command_parse finds the command and its options
 *   3. the command asks the daemon, once or again and again, and prints
 *
 * What can fail: wrong arguments (64), no daemon or no answer in time (69), an answer that is not
 * understood, as of an older daemon (76), a socket that may not be opened (77), no memory (71),
 * standard output (74).
 */
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <sysexits.h>
#include <unistd.h>

#include "cli/tool.h"

static int print_and_end(struct tool *tool, void (*render)(struct buf *out))
{
    struct buf out;
    buf_init(&out, TOOL_TEXT_MAX);
    render(&out);
    return tool_print(tool, &out, 0);
}

static void render_version(struct buf *out)
{
    buf_puts(out, "dwell " DWELL_VERSION "\n");
}

static int run(struct tool *tool)
{
    const struct arguments *arguments = &tool->arguments;
    if (arguments->print_table) {
        return print_and_end(tool, command_table);
    }
    if (arguments->version) {
        return print_and_end(tool, render_version);
    }
    if (arguments->help) {
        struct buf out;
        buf_init(&out, TOOL_TEXT_MAX);
        command_help(arguments->command, tool->terminal.columns, &out);
        return tool_print(tool, &out, 0);
    }
    return arguments->command->run(tool);
}

int main(int argc, char **argv)
{
    struct tool tool;
    struct buf problem;
    buf_init(&problem, TOOL_PROBLEM_MAX);
    (void)setlocale(LC_CTYPE, "");  /* a locale that is not there leaves "C" */
    (void)signal(SIGPIPE, SIG_DFL); /* as `dwell models | head` expects; there is such a signal */
    int status = command_parse(&tool.arguments, argc, argv, &problem);
    if (status != 0) {
        if (tool.arguments.command != NULL) {
            buf_printf(&problem, ". See dwell %s --help", tool.arguments.command->name);
        } else {
            buf_puts(&problem, ". See dwell --help");
        }
        tool_say(&problem);
    } else {
        terminal_init(&tool.terminal, STDOUT_FILENO, (enum color)tool.arguments.color);
        status = run(&tool);
    }
    buf_fini(&problem);
    return status;
}
