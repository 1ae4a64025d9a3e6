#include "cli/bench_options.h"

#include <stddef.h>
#include <sysexits.h>

#include "dwell_bench.h"

const struct bench_arguments bench_defaults = {.samples = DWELL_BENCH_SAMPLES,
                                               .concurrency = DWELL_BENCH_CONCURRENCY,
                                               .warmup = DWELL_BENCH_WARMUP,
                                               .answer_timeout = 10,
                                               .start_timeout = 120};

static int refuse(struct buf *problem, const char *sentence)
{
    buf_puts(problem, sentence);
    return EX_USAGE;
}

int bench_check(const struct bench_arguments *arguments, int words, struct buf *problem)
{
    bool has_url = arguments->url != NULL;
    if (!has_url && words == 0) {
        return refuse(problem, "expects -- and a command, or --url");
    }
    if (has_url && words > 0) {
        return refuse(problem, "--url and a command name two models; give one of them");
    }
    if (!has_url && (arguments->data != NULL || arguments->content_type != NULL)) {
        return refuse(problem, "--data and --content-type go with --url; a command gets --input");
    }
    if (arguments->data != NULL && arguments->input != NULL) {
        return refuse(problem, "--data and --input are two contents of requests; give one of them");
    }
    if (!has_url && arguments->pid != 0) {
        return refuse(problem, "--pid goes with --url; the workers of a command are known");
    }
    if (arguments->start_daemon && arguments->no_daemon) {
        return refuse(problem, "--start-daemon and --no-daemon exclude each other");
    }
    if (arguments->model != NULL && strlen(arguments->model) > BENCH_NAME_MAX) {
        return refuse(problem, "--model: expects at most 256 bytes");
    }
    if (arguments->model != NULL && !str_is_utf8(str_of(arguments->model))) {
        return refuse(problem, "--model: expects UTF-8");
    }
    return 0;
}

/* --- names ------------------------------------------------------------------------------------- */

static struct str last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return str_of(slash != NULL && slash[1] != '\0' ? slash + 1 : path);
}

/* python3.11 is one, too. */
static bool is_interpreter(struct str name)
{
    static const char *const interpreters[] = {"python", "node", "ruby", "perl",  "bash",   "sh",
                                               "java",   "lua",  "php",  "julia", "Rscript"};
    while (name.len > 0 && ((name.ptr[name.len - 1] >= '0' && name.ptr[name.len - 1] <= '9') ||
                            name.ptr[name.len - 1] == '.')) {
        name.len--;
    }
    for (size_t i = 0; i < sizeof interpreters / sizeof interpreters[0]; i++) {
        if (str_is(name, interpreters[i])) {
            return true;
        }
    }
    return false;
}

/* Of "python3 -u model.py" it is the script, of "python3 -m model" the module, of "sh -c '…'" only what
 * interprets it. */
static struct str name_of_command(int words, char *const *command)
{
    struct str name = last_part(command[0]);
    if (!is_interpreter(name)) {
        return name;
    }
    for (int i = 1; i < words; i++) {
        if (strcmp(command[i], "-c") == 0 || strcmp(command[i], "-e") == 0) {
            return name;
        }
        if (command[i][0] != '-' && command[i][0] != '\0') {
            return last_part(command[i]);
        }
    }
    return name;
}

/* http://user:secret@host:8000/v1/infer?key=secret becomes host:8000/v1/infer. */
static struct str name_of_url(const char *url)
{
    const char *scheme = strstr(url, "://");
    const char *begin = scheme != NULL ? scheme + 3 : url;
    size_t host = strcspn(begin, "/?#");
    const char *at = memrchr(begin, '@', host);
    begin = at != NULL ? at + 1 : begin;
    return (struct str){begin, strcspn(begin, "?#")};
}

/* Not longer than what is taken, and whole characters. */
static struct str cut(struct str name)
{
    name.len = name.len < BENCH_NAME_MAX ? name.len : BENCH_NAME_MAX;
    while (name.len > 0 && !str_is_utf8(name)) {
        name.len--;
    }
    return name.len > 0 ? name : STR_LITERAL("bench");
}

void bench_name(const struct bench_arguments *arguments, int words, char *const *command,
                struct buf *out)
{
    if (arguments->model != NULL) {
        buf_puts(out, arguments->model);
    } else if (arguments->url != NULL) {
        buf_str(out, cut(name_of_url(arguments->url)));
    } else {
        buf_str(out, cut(name_of_command(words, command)));
    }
}
