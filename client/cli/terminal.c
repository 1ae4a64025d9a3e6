#include "cli/terminal.h"

#include <errno.h>
#include <langinfo.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/num.h"

enum { COLUMNS_LEAST = 4 }; /* less is what a terminal says that knows nothing */

static const char *const sgr[] = {
    [STYLE_PLAIN] = "0", [STYLE_STRONG] = "1", [STYLE_DIM] = "2",      [STYLE_GOOD] = "32",
    [STYLE_WARN] = "33", [STYLE_BAD] = "31",   [STYLE_COMPUTE] = "33", [STYLE_MEMORY] = "35",
    [STYLE_IO] = "36",   [STYLE_LOCK] = "31",  [STYLE_SELECTED] = "7",
};
_Static_assert(sizeof sgr / sizeof sgr[0] == STYLE_COUNT, "one each");

static bool is_set(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && value[0] != '\0';
}

static bool takes_color(enum color color, bool is_terminal)
{
    if (color != COLOR_AUTO) {
        return color == COLOR_ALWAYS;
    }
    const char *term = getenv("TERM");
    return is_terminal && !is_set("NO_COLOR") && term != NULL && term[0] != '\0' &&
           strcmp(term, "dumb") != 0;
}

/* COLUMNS, where somebody exports it, is a wish. */
static size_t wished_columns(void)
{
    uint64_t columns;
    const char *text = getenv("COLUMNS");
    if (text == NULL || num_read_u64(str_of(text), &columns) != 0 || columns < COLUMNS_LEAST ||
        columns > TEXT_COLUMNS_MAX) {
        return 0;
    }
    return (size_t)columns;
}

void terminal_init(struct terminal *terminal, int fd, enum color color)
{
    struct winsize size = {0};
    bool is_terminal = isatty(fd) == 1;
    *terminal = (struct terminal){.columns = TEXT_COLUMNS_MAX, .is_terminal = is_terminal};
    if (is_terminal) {
        bool told = ioctl(fd, TIOCGWINSZ, &size) == 0;
        terminal->columns = told && size.ws_col >= COLUMNS_LEAST ? size.ws_col : 80;
        terminal->rows = told && size.ws_row > 0 ? size.ws_row : 24;
    }
    size_t wished = wished_columns();
    terminal->columns = wished > 0 ? wished : terminal->columns;
    terminal->columns = terminal->columns < TEXT_COLUMNS_MAX ? terminal->columns : TEXT_COLUMNS_MAX;
    terminal->color = takes_color(color, is_terminal);
    terminal->utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

static void put_style(const struct terminal *terminal, enum style style, struct buf *out)
{
    if (terminal->color) {
        buf_printf(out, style == STYLE_PLAIN ? "\033[%sm" : "\033[0;%sm", sgr[style]);
    }
}

void terminal_render(const struct terminal *terminal, struct str styled, struct buf *out)
{
    enum style current = STYLE_PLAIN;
    while (styled.len > 0) {
        size_t len = 1;
        enum style style = text_style_of(styled.ptr[0]);
        if (styled.ptr[0] == '\n' && current != STYLE_PLAIN) {
            put_style(terminal, current = STYLE_PLAIN, out);
        }
        if (style == STYLE_COUNT) {
            const char *ascii = NULL;
            if (!terminal->utf8 && (unsigned char)styled.ptr[0] >= 0x80) {
                ascii = text_plain(text_decode(styled, &len));
            }
            if (ascii != NULL) {
                buf_puts(out, ascii);
            } else {
                buf_append(out, styled.ptr, len);
            }
        } else if (style != current) {
            put_style(terminal, current = style, out);
        }
        styled.ptr += len;
        styled.len -= len;
    }
}

int terminal_write(const struct buf *text)
{
    if (text->err != 0) {
        (void)fputs("dwell: no memory for the answer\n",
                    stderr); /* nowhere to tell that it failed */
        return EX_OSERR;
    }
    if (text->len > 0 && fwrite(text->data, 1, text->len, stdout) != text->len) {
        (void)fprintf(stderr, "dwell: cannot write: %s\n", strerror(errno));
        return EX_IOERR;
    }
    if (fflush(stdout) != 0) {
        (void)fprintf(stderr, "dwell: cannot write: %s\n", strerror(errno));
        return EX_IOERR;
    }
    return 0;
}

int terminal_print(const struct terminal *terminal, const struct buf *styled)
{
    struct buf out;
    buf_init(&out, 2 * styled->max);
    out.err = styled->err;
    if (styled->len > 0) {
        terminal_render(terminal, (struct str){styled->data, styled->len}, &out);
    }
    int status = terminal_write(&out);
    buf_fini(&out);
    return status;
}
