/*
 * What every command gets: what was said, what standard output is, and the way to the daemon.
 * And the commands themselves; each returns the tool's exit status.
 */
#ifndef DWELL_CLI_TOOL_H
#define DWELL_CLI_TOOL_H

#include <jansson.h>

#include "cli/command.h"
#include "cli/fetch.h"
#include "cli/terminal.h"

enum {
    EXIT_NO =
        1, /* the answer is no: evaluate a GPU, records were rejected, there is no such model */
    TOOL_TEXT_MAX = 128 << 20, /* what one answer of 64 MB can become as text */
    TOOL_PROBLEM_MAX = 64 << 10,
};

struct tool {
    struct arguments arguments;
    struct terminal terminal;
};

/* Says one line about what is wrong, on standard error. */
void tool_say(const struct buf *problem);
void tool_complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Where the daemon is, for queries or for `admin.sock`. 0, or an exit status after having said why. */
int tool_target(const struct tool *tool, const char *socket, struct fetch_target *ret_target);

/* The hash that a hello names: --hash, else $CONSTITUTIONAL_HASH, else the daemon's default. */
const char *tool_hash(const struct tool *tool);

/* One request, waited for: 0 with its answer, whatever its status, appended to `ret_body`; or an exit
 * status with the reason in `problem`. */
int tool_fetch(const struct fetch_target *target, const char *method, const char *path,
               long *ret_status, struct buf *ret_body, struct buf *problem);

/* The answer to a request, whatever its status; likewise. `ret_body` is the caller's to buf_fini. */
int tool_ask(const struct tool *tool, const char *method, const char *path, struct buf *ret_body);

/* Asks, and with --json prints the answer as it is and gives *ret_root NULL. Else the answer as a tree, the
 * caller's to json_decref. */
int tool_get(const struct tool *tool, const char *path, json_t **ret_root);

/* The tree of a GET, whatever the arguments say. The caller's to json_decref; NULL with an exit status,
 * after having said why. */
int tool_tree(const struct tool *tool, const char *path, json_t **ret_root);

/* Prints, and gives up the text. Returns `status`, or why it could not be printed. */
int tool_print(const struct tool *tool, struct buf *styled, int status);

int status_run(struct tool *tool);
int models_run(struct tool *tool);
int report_run(struct tool *tool);
int top_run(struct tool *tool);
int explain_run(struct tool *tool);
int budgets_run(struct tool *tool);
int decision_run(struct tool *tool);
int send_run(struct tool *tool);
int reset_run(struct tool *tool);
int bench_run(struct tool *tool);
int doctor_run(struct tool *tool);
int check_config_run(struct tool *tool);

#endif
