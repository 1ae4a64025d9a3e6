#include "render/form_text.h"

#include <math.h>

#include "base/num.h"
#include "render/exemplar.h"
#include "render/label.h"

#define EXACT_WHOLE 9007199254740992.0 /* 2^53: whole numbers below are exact */

/* --- heads ------------------------------------------------------------------------------------- */

static void append_help(struct str help, bool quotes_too, struct buf *out)
{
    for (size_t i = 0; i < help.len; i++) {
        char c = help.ptr[i];
        bool escaped = c == '\\' || c == '\n' || (c == '"' && quotes_too);
        buf_puts(out, escaped ? "\\" : "");
        buf_char(out, c == '\n' ? 'n' : c);
    }
}

static void begin_head(const char *keyword, struct str name, struct str suffix, struct buf *out)
{
    buf_puts(out, keyword);
    buf_str(out, name);
    buf_str(out, suffix);
    buf_char(out, ' ');
}

static void render_text_head(const struct form *form, const struct family_shape *shape,
                             struct buf *out)
{
    static const char *const words[] = {"counter\n", "gauge\n", "histogram\n", "gauge\n",
                                        "gauge\n"};
    _Static_assert(sizeof words / sizeof words[0] == FAMILY_TYPE_COUNT, "one each");
    struct str suffix = form_suffix(shape->type);
    (void)form;
    begin_head("# HELP ", shape->name, suffix, out);
    append_help(form_help(shape), false, out);
    buf_char(out, '\n');
    begin_head("# TYPE ", shape->name, suffix, out);
    buf_puts(out, words[shape->type]);
}

/* OpenMetrics names a family without what its type adds to the names of its samples. */
static void render_openmetrics_head(const struct form *form, const struct family_shape *shape,
                                    struct buf *out)
{
    static const char *const words[] = {"counter\n", "gauge\n", "histogram\n", "info\n", "gauge\n"};
    _Static_assert(sizeof words / sizeof words[0] == FAMILY_TYPE_COUNT, "one each");
    struct str suffix = STR_LITERAL("");
    (void)form;
    begin_head("# TYPE ", shape->name, suffix, out);
    buf_puts(out, words[shape->type]);
    if (shape->unit.len > 0) {
        begin_head("# UNIT ", shape->name, suffix, out);
        buf_str(out, shape->unit);
        buf_char(out, '\n');
    }
    begin_head("# HELP ", shape->name, suffix, out);
    append_help(form_help(shape), true, out);
    buf_char(out, '\n');
}

static void begin_family(const struct form *form, const struct family_shape *shape, struct str head,
                         size_t len, struct buf *out)
{
    (void)form;
    (void)shape;
    (void)len;
    buf_str(out, head);
}

/* --- one line ---------------------------------------------------------------------------------- */

static char *put(char *at, struct str text)
{
    if (text.len > 0) {
        memcpy(at, text.ptr, text.len);
    }
    return at + text.len;
}

/* {labels,more="…"}_ */
static char *put_labels(char *at, struct str labels, const struct label *more)
{
    if (labels.len > 0 || more != NULL) {
        *at++ = '{';
        at = put(at, labels);
        if (more != NULL) {
            at = put(at, labels.len > 0 ? STR_LITERAL(",") : STR_LITERAL(""));
            at = put(put(at, more->key), STR_LITERAL("=\""));
            at = put(put(at, more->value), STR_LITERAL("\""));
        }
        *at++ = '}';
    }
    *at++ = ' ';
    return at;
}

/* name_end{labels}_   and where the value goes, or NULL. There is room for a number and the line's
 * end; end_line takes what was written. */
static char *begin_line(const struct family_shape *shape, struct str end, struct str labels,
                        const struct label *more, struct buf *out)
{
    static const char frame[] = "{,=\"\"} ";
    size_t len = shape->name.len + end.len + labels.len + sizeof frame + FORM_NUMBER_MAX;
    char *at = buf_reserve(out, len + (more == NULL ? 0 : more->key.len + more->value.len));
    return at == NULL ? NULL : put_labels(put(put(at, shape->name), end), labels, more);
}

/* name_bucket{labels,le="0.005"}_   likewise. */
static char *begin_bucket(const struct family_shape *shape, const struct form_bound *bound,
                          struct str labels, struct buf *out)
{
    static const struct str open = {"_bucket{", 8};
    struct str closing = {bound->text, bound->len};
    size_t len = shape->name.len + open.len + labels.len + closing.len + FORM_NUMBER_MAX;
    char *at = buf_reserve(out, len);
    if (at == NULL) {
        return NULL;
    }
    if (labels.len == 0) {
        closing.ptr++; /* no comma after nothing */
        closing.len--;
    }
    return put(put(put(put(at, shape->name), open), labels), closing);
}

static void end_line(struct buf *out, const char *at)
{
    out->len = (size_t)(at - out->data);
}

/* Counts are whole, and quicker written as what they are. */
static size_t write_number(double number, char out[FORM_NUMBER_MAX])
{
    bool whole = number >= 0 && number < EXACT_WHOLE && number == floor(number);
    size_t len = whole && !signbit(number) ? num_write_u64(out, (uint64_t)number)
                                           : num_write_double(out, number);
    out[len++] = '\n';
    return len;
}

static size_t write_count(uint64_t count, char out[FORM_NUMBER_MAX])
{
    size_t len = num_write_u64(out, count);
    out[len++] = '\n';
    return len;
}

/* --- samples ----------------------------------------------------------------------------------- */

static void render_created(const struct family_shape *shape, struct str labels,
                           uint64_t created_wall_ns, struct buf *out)
{
    char *at =
        created_wall_ns == 0 ? NULL : begin_line(shape, STR_LITERAL("_created"), labels, NULL, out);
    if (at != NULL) {
        end_line(out, at);
        exemplar_append_time(created_wall_ns, out);
        buf_char(out, '\n');
    }
}

static uint32_t render_scalar(const struct form *form, const struct family_shape *shape,
                              struct str labels, const struct form_scalar *scalar, struct buf *out)
{
    size_t begin = out->len;
    char *at = begin_line(shape, form_suffix(shape->type), labels, scalar->more, out);
    if (at == NULL) {
        return 0;
    }
    uint32_t value = (uint32_t)((size_t)(at - out->data) - begin);
    end_line(out, at + write_number(scalar->number, at));
    if (form->exemplars && scalar->mark != NULL && scalar->mark->set) {
        exemplar_append(scalar->mark, out);
    }
    render_created(shape, labels, scalar->created_wall_ns, out);
    return value;
}

static void render_count(const struct family_shape *shape, struct str end, struct str labels,
                         uint64_t count, struct buf *out)
{
    char *at = begin_line(shape, end, labels, NULL, out);
    if (at != NULL) {
        end_line(out, at + write_count(count, at));
    }
}

static void render_sum(const struct family_shape *shape, struct str labels, double sum,
                       struct buf *out)
{
    char *at = begin_line(shape, STR_LITERAL("_sum"), labels, NULL, out);
    if (at != NULL) {
        end_line(out, at + write_number(sum, at));
    }
}

static void render_histogram(const struct form *form, const struct family_shape *shape,
                             struct str labels, const struct form_histogram *histogram,
                             struct buf *out)
{
    const struct exemplar_mark *marks = form->exemplars ? histogram->marks : NULL;
    uint64_t seen = 0;
    for (uint32_t i = 0; i <= histogram->bound_count; i++) {
        char *at = begin_bucket(shape, &histogram->bounds[i], labels, out);
        if (at == NULL) {
            return;
        }
        seen += histogram->counts[i];
        end_line(out, at + write_count(seen, at));
        if (marks != NULL && marks[i].set) {
            exemplar_append(&marks[i], out);
        }
    }
    render_sum(shape, labels, histogram->sum, out);
    render_count(shape, STR_LITERAL("_count"), labels, histogram->count, out);
    render_created(shape, labels, histogram->created_wall_ns, out);
}

const struct form form_text = {
    .created = FORM_CREATED_NEVER,
    .end = "",
    .head = render_text_head,
    .begin = begin_family,
    .label = label_render,
    .scalar = render_scalar,
    .number = write_number,
    .histogram = render_histogram,
};

const struct form form_openmetrics = {
    .exemplars = true,
    .target = true,
    .created = FORM_CREATED_SERIES,
    .end = "# EOF\n",
    .head = render_openmetrics_head,
    .begin = begin_family,
    .label = label_render,
    .scalar = render_scalar,
    .number = write_number,
    .histogram = render_histogram,
};
