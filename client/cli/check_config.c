/*
 * dwell check-config: becomes dwelld --check-config.
 *
 *  1. find the dwelld beside this program, else the one in PATH
 *  2. become it; its text and its exit status are ours
 *
 * With --json it is a child instead, and what it said becomes {"good", "status", "problems"}, a problem
 * a line. What can fail: there is no dwelld (69), or a signal ended it (70, as a broken program).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "cli/tool.h"

enum { PATH_BYTES = 4096, EXIT_NO_PROGRAM = 127 };

/* The dwelld that lies beside this program; false: there is none that could be named. */
static bool find_beside(char path[PATH_BYTES])
{
    static const char name[] = "dwelld";
    ssize_t len = readlink("/proc/self/exe", path, PATH_BYTES - sizeof name);
    while (len > 0 && path[len - 1] != '/') {
        len--;
    }
    if (len <= 0) {
        return false;
    }
    memcpy(path + len, name, sizeof name);
    return access(path, X_OK) == 0;
}

/* Comes back only when it fails, with errno. */
static void become(const char *beside, const char *file)
{
    char program[] = "dwelld";
    char check[] = "--check-config";
    char config[] = "--config";
    char *const arguments[] = {program, check, file != NULL ? config : NULL,
                               (char *)(uintptr_t)file, NULL};
    if (beside != NULL) {
        (void)execv(beside, arguments);
    } else {
        (void)execvp(program, arguments);
    }
}

static int complain(int reason)
{
    tool_complain("cannot run dwelld, which is neither beside this program nor in PATH: %s",
                  strerror(reason));
    return EX_UNAVAILABLE;
}

/* Everything up to the end of what the child says; past the ceiling it is read and left out. */
static void read_all(int fd, struct buf *out)
{
    char piece[4096];
    ssize_t got;
    do {
        got = read(fd, piece, sizeof piece);
        if (got > 0) {
            buf_append(out, piece, (size_t)got);
        }
    } while (got > 0 || (got < 0 && errno == EINTR));
}

static json_t *as_lines(struct str text)
{
    json_t *lines = json_array();
    while (text.len > 0) {
        const char *end = memchr(text.ptr, '\n', text.len);
        size_t len = end == NULL ? text.len : (size_t)(end - text.ptr);
        if (len > 0) {
            (void)json_array_append_new(lines, json_stringn(text.ptr, len)); /* none: left out */
        }
        len += end == NULL ? 0 : 1;
        text = (struct str){text.ptr + len, text.len - len};
    }
    return lines;
}

static int put_json(const struct tool *tool, int status, struct str said)
{
    struct buf out;
    buf_init(&out, TOOL_TEXT_MAX);
    json_t *lines = as_lines(said);
    json_t *root =
        json_pack("{s:b, s:i, s:o}", "good", status == 0, "status", status, "problems", lines);
    char *text = root == NULL ? NULL : json_dumps(root, JSON_COMPACT);
    buf_puts(&out, text == NULL ? "" : text);
    buf_char(&out, '\n');
    free(text);
    json_decref(root);
    return tool_print(tool, &out, text == NULL ? EX_OSERR : status);
}

/* Runs it as a child whose complaints are read from a pipe. */
static int ask_child(const struct tool *tool, const char *beside, const char *file)
{
    int ends[2];
    if (pipe(ends) != 0) {
        return complain(errno);
    }
    pid_t child = fork();
    if (child == 0) {
        (void)dup2(ends[1], STDERR_FILENO);
        (void)close(STDOUT_FILENO); /* "is good" is what the status says */
        become(beside, file);
        _exit(EXIT_NO_PROGRAM);
    }
    int reason = errno;
    (void)close(ends[1]);
    struct buf said;
    buf_init(&said, TOOL_PROBLEM_MAX);
    int result = 0;
    if (child > 0) {
        read_all(ends[0], &said);
        while (waitpid(child, &result, 0) < 0 && errno == EINTR) {
        }
    }
    (void)close(ends[0]);
    int status = WIFEXITED(result) ? WEXITSTATUS(result) : EX_SOFTWARE;
    status = child < 0 || status == EXIT_NO_PROGRAM
                 ? complain(child < 0 ? reason : ENOENT)
                 : put_json(tool, status, (struct str){said.data, said.len});
    buf_fini(&said);
    return status;
}

int check_config_run(struct tool *tool)
{
    char path[PATH_BYTES];
    const char *beside = find_beside(path) ? path : NULL;
    const char *file = tool->arguments.operand_count > 0 ? tool->arguments.operands[0] : NULL;
    if (tool->arguments.json) {
        return ask_child(tool, beside, file);
    }
    become(beside, file);
    return complain(errno);
}
