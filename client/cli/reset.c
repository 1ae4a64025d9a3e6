/* dwell reset: forgets the samples of one model, or of all. */
#include <math.h>
#include <sysexits.h>

#include "cli/answer.h"
#include "cli/figure.h"
#include "cli/named.h"
#include "cli/tool.h"

/* Nothing bears this name: what it may be. A title is a model, but one of several that go together. */
static int say_why(const struct tool *tool, const char *said)
{
    struct named named;
    int status = named_find(tool, said, &named);
    if (status != 0) {
        return status;
    }
    struct buf problem;
    buf_init(&problem, TOOL_PROBLEM_MAX);
    buf_puts(&problem, "reset takes all models of a name, whatever their labels: dwell reset ");
    text_safe(&problem, str_of(answer_text(named.model, "model_name")), true);
    tool_say(&problem);
    buf_fini(&problem);
    named_fini(&named);
    return EX_USAGE;
}

static int put_outcome(const struct tool *tool, struct str body, struct buf *out)
{
    json_t *root = NULL;
    struct buf problem;
    buf_init(&problem, TOOL_PROBLEM_MAX);
    int status = answer_read(body, &root, &problem);
    double count = answer_number(root, "reset");
    if (status != 0) {
        tool_say(&problem);
    } else if (count == 0 && tool->arguments.operand_count > 0) {
        status = say_why(tool, tool->arguments.operands[0]);
    } else {
        figure_plural(out, count, "model begins anew.\n", "models begin anew.\n");
    }
    buf_fini(&problem);
    json_decref(root);
    return status;
}

int reset_run(struct tool *tool)
{
    const struct arguments *arguments = &tool->arguments;
    struct buf path;
    struct buf body;
    struct buf out;
    if (arguments->url != NULL) {
        tool_complain("reset goes by admin.sock alone, on the daemon's machine: leave out --url");
        return EX_USAGE;
    }
    buf_init(&path, TOOL_PROBLEM_MAX);
    buf_init(&out, TOOL_TEXT_MAX);
    buf_puts(&path, "/api/v1/reset");
    if (arguments->operand_count > 0) {
        buf_puts(&path, "?name=");
        fetch_encode(&path, str_of(arguments->operands[0]));
    }
    buf_char(&path, '\0');
    int status = EX_USAGE;
    if (path.err != 0) {
        tool_complain("the name is too long");
        buf_init(&body, 1);
    } else {
        status = tool_ask(tool, "POST", path.data, &body);
    }
    if (status == 0 && arguments->json) {
        status = terminal_write(&body);
    } else if (status == 0) {
        status = put_outcome(tool, (struct str){body.data, body.len}, &out);
    }
    buf_fini(&body);
    buf_fini(&path);
    return tool_print(tool, &out, status);
}
