#include "cli/finding.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"

enum {
    STATE_COLUMNS = 9, /* "unknown" and a gap */
    NAME_COLUMNS = 14,
    LEAST_COLUMNS = 20, /* of what was found; on a narrower terminal it stands below its check */
    NARROW_INDENT = 2,
};

static const struct {
    const char *word;
    enum style style;
} states[] = {
    [FINDING_OK] = {"ok", STYLE_GOOD},
    [FINDING_WARN] = {"warn", STYLE_WARN},
    [FINDING_FAIL] = {"fail", STYLE_BAD},
    [FINDING_UNKNOWN] = {"unknown", STYLE_DIM},
};
_Static_assert(sizeof states / sizeof states[0] == FINDING_STATE_COUNT, "one each");

void findings_init(struct findings *findings, bool utf8)
{
    findings->utf8 = utf8;
    findings->count = 0;
    findings->is_cut = false;
    for (size_t i = 0; i <= FINDINGS_MAX; i++) {
        buf_init(&findings->rows[i].found, FINDING_TEXT_MAX);
        buf_init(&findings->rows[i].mend, FINDING_TEXT_MAX);
    }
}

void findings_fini(struct findings *findings)
{
    for (size_t i = 0; i <= FINDINGS_MAX; i++) {
        buf_fini(&findings->rows[i].found);
        buf_fini(&findings->rows[i].mend);
    }
}

struct finding *finding_add(struct findings *findings, const char *name)
{
    findings->is_cut = findings->is_cut || findings->count == FINDINGS_MAX;
    struct finding *finding = &findings->rows[findings->count];
    findings->count += findings->is_cut ? 0 : 1;
    finding->name = name;
    finding->state = FINDING_OK;
    finding->utf8 = findings->utf8;
    buf_clear(&finding->found);
    buf_clear(&finding->mend);
    return finding;
}

/* Paths, names and reasons come from outside, and none of our own words needs an escape. */
__attribute__((format(printf, 3, 0))) static void put(struct buf *out, bool utf8,
                                                      const char *format, va_list arguments)
{
    char text[FINDING_TEXT_MAX];
    int len = vsnprintf(text, sizeof text, format, arguments);
    size_t shown = len < 0 ? 0 : (size_t)len;
    bool fits = shown < sizeof text;
    text_safe(out, (struct str){text, fits ? shown : sizeof text - 1}, utf8);
    out->err = out->err == 0 && !fits ? ERR_LIMIT : out->err;
}

void finding_say(struct finding *finding, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    put(&finding->found, finding->utf8, format, arguments);
    va_end(arguments);
}

void finding_mend(struct finding *finding, enum finding_state state, const char *format, ...)
{
    va_list arguments;
    finding->state = state;
    va_start(arguments, format);
    put(&finding->mend, finding->utf8, format, arguments);
    va_end(arguments);
}

size_t findings_count(const struct findings *findings, enum finding_state state)
{
    size_t count = 0;
    for (size_t i = 0; i < findings->count; i++) {
        count += findings->rows[i].state == state ? 1 : 0;
    }
    return count;
}

bool findings_are_well(const struct findings *findings)
{
    return findings_count(findings, FINDING_WARN) + findings_count(findings, FINDING_FAIL) == 0;
}

/* --- text -------------------------------------------------------------------------------------- */

static struct str text_of(const struct buf *buf)
{
    return (struct str){buf->data, buf->len};
}

/* What did not fit is left out, and one sees that; only memory that is out is an error. */
static void put_wrapped(struct buf *out, const struct buf *text, size_t indent, size_t columns)
{
    text_wrap(out, text_of(text), indent, indent, columns);
    if (text->err == ERR_LIMIT) {
        buf_puts(out, " …");
    }
}

static bool is_out_of_memory(const struct finding *finding)
{
    return finding->found.err == ERR_NOMEM || finding->mend.err == ERR_NOMEM;
}

static void put_cell(struct buf *out, const char *text, size_t columns)
{
    size_t width = text_width(str_of(text));
    buf_puts(out, text);
    text_pad(out, width < columns ? columns - width : 1);
}

static void put_row(const struct finding *finding, size_t indent, size_t columns, struct buf *out)
{
    text_style(out, states[finding->state].style);
    put_cell(out, states[finding->state].word, STATE_COLUMNS);
    text_style(out, STYLE_PLAIN);
    if (indent == NARROW_INDENT) {
        buf_puts(out, finding->name);
        buf_char(out, '\n');
        text_pad(out, indent);
    } else {
        put_cell(out, finding->name, NAME_COLUMNS);
    }
    put_wrapped(out, &finding->found, indent, columns);
    buf_char(out, '\n');
    if (finding->mend.len > 0) {
        text_pad(out, indent);
        buf_puts(out, "→ ");
        put_wrapped(out, &finding->mend, indent + 2, columns);
        buf_char(out, '\n');
    }
    out->err = out->err == 0 && is_out_of_memory(finding) ? ERR_NOMEM : out->err;
}

static void put_count(struct buf *out, size_t count, const char *one, const char *many)
{
    buf_u64(out, count);
    buf_puts(out, count == 1 ? one : many);
}

static void put_sum(const struct findings *findings, struct buf *out)
{
    size_t wrong = findings_count(findings, FINDING_FAIL) + findings_count(findings, FINDING_WARN);
    size_t unknown = findings_count(findings, FINDING_UNKNOWN);
    buf_char(out, '\n');
    if (wrong == 0) {
        buf_puts(out, "Nothing to mend.");
    } else {
        put_count(out, wrong, " thing to mend.", " things to mend.");
    }
    if (unknown > 0) {
        buf_char(out, ' ');
        put_count(out, unknown, " could not be looked at.", " could not be looked at.");
    }
    buf_puts(out, findings->is_cut ? " More was found than is shown.\n" : "\n");
}

void findings_render(const struct findings *findings, size_t columns, struct buf *out)
{
    size_t indent = STATE_COLUMNS + NAME_COLUMNS;
    indent = columns < indent + LEAST_COLUMNS ? NARROW_INDENT : indent;
    text_style(out, STYLE_DIM);
    put_cell(out, "STATE", STATE_COLUMNS);
    if (indent == NARROW_INDENT) {
        buf_puts(out, "CHECK\n");
    } else {
        put_cell(out, "CHECK", NAME_COLUMNS);
        buf_puts(out, "FOUND\n");
    }
    for (size_t i = 0; i < findings->count; i++) {
        put_row(&findings->rows[i], indent, columns, out);
    }
    put_sum(findings, out);
}

/* --- JSON -------------------------------------------------------------------------------------- */

static json_t *row_json(const struct finding *finding)
{
    json_t *mend =
        finding->mend.len > 0 ? json_stringn(finding->mend.data, finding->mend.len) : json_null();
    return json_pack("{s:s, s:s, s:s%, s:o}", "name", finding->name, "state",
                     states[finding->state].word, "found",
                     finding->found.len > 0 ? finding->found.data : "", finding->found.len, "mend",
                     mend);
}

void findings_render_json(const struct findings *findings, struct buf *out)
{
    json_t *rows = json_array();
    bool good = rows != NULL;
    for (size_t i = 0; i < findings->count; i++) {
        good = json_array_append_new(rows, row_json(&findings->rows[i])) == 0 && good &&
               !is_out_of_memory(&findings->rows[i]);
    }
    json_t *root = json_pack("{s:b, s:o}", "well", findings_are_well(findings), "checks", rows);
    char *text = good && root != NULL ? json_dumps(root, JSON_INDENT(1)) : NULL;
    if (text != NULL) {
        buf_puts(out, text);
        buf_char(out, '\n');
    } else if (out->err == 0) {
        out->err = ERR_NOMEM;
    }
    free(text);
    json_decref(root);
}
