#include "cli/tool.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

#include "cli/answer.h"

void tool_say(const struct buf *problem)
{
    struct buf line;
    buf_init(&line, 2 * TOOL_PROBLEM_MAX);
    buf_puts(&line, "dwell: ");
    buf_append(&line, problem->data, problem->len);
    buf_char(&line, '\n');
    if (line.len > 0) {
        (void)fwrite(line.data, 1, line.len, stderr); /* nowhere to tell that it failed */
    }
    buf_fini(&line);
}

void tool_complain(const char *format, ...)
{
    va_list arguments;
    (void)fputs("dwell: ", stderr); /* likewise */
    va_start(arguments, format);
    (void)vfprintf(stderr, format, arguments);
    va_end(arguments);
    (void)fputc('\n', stderr);
}

const char *tool_hash(const struct tool *tool)
{
    static const char default_hash[] = "cdd01ef066bc6cf2"; /* of service.constitutional_hash */
    const char *hash = getenv("CONSTITUTIONAL_HASH");
    return tool->arguments.hash != NULL      ? tool->arguments.hash
           : hash != NULL && hash[0] != '\0' ? hash
                                             : default_hash;
}

int tool_target(const struct tool *tool, const char *socket, struct fetch_target *ret_target)
{
    const struct arguments *arguments = &tool->arguments;
    *ret_target = (struct fetch_target){.url = arguments->url, .timeout = arguments->timeout};
    if (arguments->url != NULL) {
        return 0;
    }
    struct place_world world;
    struct buf problem;
    buf_init(&problem, TOOL_PROBLEM_MAX);
    place_system(&world);
    int status = place_find(&world, arguments->dir, socket, ret_target->socket, &problem);
    if (status != 0) {
        tool_say(&problem);
    }
    buf_fini(&problem);
    return status;
}

static int ask(struct fetch *fetch, const char *method, const char *path, long *ret_status,
               struct buf *ret_body, struct buf *problem)
{
    struct str body = {0};
    int status = fetch_start(fetch, method, path, problem);
    if (status != 0) {
        return status;
    }
    while (!fetch_wait(fetch, -1, 1000)) {
    }
    status = fetch_finish(fetch, ret_status, &body, problem);
    if (status == 0) {
        buf_str(ret_body, body);
        if (ret_body->err != 0) {
            buf_puts(problem, "no memory for the answer");
            status = EX_OSERR;
        }
    }
    return status;
}

int tool_fetch(const struct fetch_target *target, const char *method, const char *path,
               long *ret_status, struct buf *ret_body, struct buf *problem)
{
    struct fetch *fetch = fetch_open(target);
    int status = EX_OSERR;
    if (fetch == NULL) {
        buf_puts(problem, "no memory for a request");
    } else {
        status = ask(fetch, method, path, ret_status, ret_body, problem);
    }
    fetch_close(fetch);
    return status;
}

int tool_ask(const struct tool *tool, const char *method, const char *path, struct buf *ret_body)
{
    struct fetch_target target;
    struct buf problem;
    buf_init(ret_body, FETCH_BYTES_MAX);
    int status =
        tool_target(tool, strcmp(method, "GET") == 0 ? "query.sock" : "admin.sock", &target);
    if (status != 0) {
        return status;
    }
    buf_init(&problem, TOOL_PROBLEM_MAX);
    long http_status = 0;
    status = tool_fetch(&target, method, path, &http_status, ret_body, &problem);
    if (status == 0 && http_status != 200) {
        status = answer_refused(path, http_status, (struct str){ret_body->data, ret_body->len},
                                &problem);
    }
    if (status != 0) {
        tool_say(&problem);
    }
    buf_fini(&problem);
    return status;
}

static int read_tree(const struct buf *body, json_t **ret_root)
{
    struct buf problem;
    buf_init(&problem, TOOL_PROBLEM_MAX);
    int status = answer_read((struct str){body->data, body->len}, ret_root, &problem);
    if (status != 0) {
        tool_say(&problem);
    }
    buf_fini(&problem);
    return status;
}

int tool_tree(const struct tool *tool, const char *path, json_t **ret_root)
{
    struct buf body;
    *ret_root = NULL;
    int status = tool_ask(tool, "GET", path, &body);
    if (status == 0) {
        status = read_tree(&body, ret_root);
    }
    buf_fini(&body);
    return status;
}

int tool_get(const struct tool *tool, const char *path, json_t **ret_root)
{
    struct buf body;
    if (!tool->arguments.json) {
        return tool_tree(tool, path, ret_root);
    }
    *ret_root = NULL;
    int status = tool_ask(tool, "GET", path, &body);
    if (status == 0) {
        status = terminal_write(&body);
    }
    buf_fini(&body);
    return status;
}

int tool_print(const struct tool *tool, struct buf *styled, int status)
{
    int failed = terminal_print(&tool->terminal, styled);
    buf_fini(styled);
    return failed != 0 ? failed : status;
}
