/* dwell report: the daemon's own text. In a narrow terminal its lines are broken between words; nothing
 * in it can reach the terminal but as text, whoever is at the other end. */
#include "cli/tool.h"

enum { CONTINUED_INDENT = 4 };

/* The run of spaces, or of other characters, that the text begins with; *text goes on behind it. */
static struct str take_run(struct str *text, bool spaces)
{
    struct str run = {text->ptr, 0};
    while (run.len < text->len && (text->ptr[run.len] == ' ') == spaces) {
        run.len++;
    }
    text->ptr += run.len;
    text->len -= run.len;
    return run;
}

/* A line in lines that fit: broken at spaces, which stay what they are elsewhere, for they align. What
 * has none and does not fit a line of its own is cut. */
static void put_line(struct buf *out, struct str line, size_t columns)
{
    size_t used = 0;
    size_t indent = SIZE_MAX; /* of lines that continue it */
    while (line.len > 0) {
        struct str gap = take_run(&line, true);
        struct str word = take_run(&line, false);
        size_t width = text_width(word);
        if (indent == SIZE_MAX) {
            indent = gap.len + CONTINUED_INDENT;
            indent = 2 * indent < columns ? indent : 0;
        } else if (word.len > 0 && used + gap.len + width > columns) {
            buf_char(out, '\n');
            text_pad(out, indent);
            used = indent;
            gap.len = 0;
        }
        buf_str(out, gap);
        used += gap.len;
        used += word.len > 0 ? text_cut(out, word, columns > used ? columns - used : 1) : 0;
    }
    buf_char(out, '\n');
}

int report_run(struct tool *tool)
{
    struct buf body;
    if (tool->arguments.json) {
        json_t *root;
        return tool_get(tool, "/api/v1/models", &root);
    }
    int status = tool_ask(tool, "GET", "/report", &body);
    struct buf text;
    struct buf out;
    buf_init(&text, TOOL_TEXT_MAX);
    buf_init(&out, TOOL_TEXT_MAX);
    if (status == 0) {
        text_foreign(&text, (struct str){body.data, body.len}, tool->terminal.utf8);
        out.err = text.err;
    }
    buf_fini(&body);
    for (size_t at = 0; at < text.len;) {
        size_t len = 0;
        while (at + len < text.len && text.data[at + len] != '\n') {
            len++;
        }
        put_line(&out, (struct str){text.data + at, len}, tool->terminal.columns);
        at += len + 1;
    }
    buf_fini(&text);
    return tool_print(tool, &out, status);
}
