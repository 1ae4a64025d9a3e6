#include "cli/top_screen.h"

#include <stdio.h>

enum { ESCAPE_MS = 25 }; /* that the rest of a key's sequence may take */

static attr_t attribute_of(enum style style, bool color)
{
    static const short colors[STYLE_COUNT] = {
        [STYLE_GOOD] = COLOR_GREEN,     [STYLE_WARN] = COLOR_YELLOW,    [STYLE_BAD] = COLOR_RED,
        [STYLE_COMPUTE] = COLOR_YELLOW, [STYLE_MEMORY] = COLOR_MAGENTA, [STYLE_IO] = COLOR_CYAN,
        [STYLE_LOCK] = COLOR_RED};
    switch (style) {
    case STYLE_STRONG:
        return A_BOLD;
    case STYLE_DIM:
        return A_DIM;
    case STYLE_SELECTED:
        return A_REVERSE;
    default:
        return color && colors[style] > 0 ? (attr_t)COLOR_PAIR(colors[style]) : A_NORMAL;
    }
}

static void start_colors(const struct terminal *terminal)
{
    if (!terminal->color || !has_colors() || start_color() == ERR) {
        return;
    }
    bool defaults = use_default_colors() != ERR;
    for (short color = COLOR_RED; color <= COLOR_WHITE; color++) {
        (void)init_pair(color, color,
                        defaults ? -1 : COLOR_BLACK); /* a pair less is a colour less */
    }
}

void screen_line(const struct terminal *terminal, int y, struct str line)
{
    size_t used = 0;
    (void)move(y, 0);
    (void)attrset(A_NORMAL);
    while (line.len > 0) {
        size_t len = 1;
        enum style style = text_style_of(line.ptr[0]);
        if (style != STYLE_COUNT) {
            (void)attrset((int)attribute_of(style, terminal->color));
        } else {
            uint32_t point = text_decode(line, &len);
            used += text_width((struct str){line.ptr, len});
            if (used > (size_t)COLS) { /* ncurses would go on in the next line */
                return;
            }
            const char *ascii = terminal->utf8 ? NULL : text_plain(point);
            (void)addnstr(ascii != NULL ? ascii : line.ptr, ascii != NULL ? 1 : (int)len);
        }
        line.ptr += len;
        line.len -= len;
    }
}

int screen_text(const struct terminal *terminal, const struct buf *text, int from, int rows)
{
    int line = 0;
    size_t at = 0;
    while (at < text->len) {
        size_t len = 0;
        while (at + len < text->len && text->data[at + len] != '\n') {
            len++;
        }
        if (line >= from && line - from < rows) {
            screen_line(terminal, line - from, (struct str){text->data + at, len});
        }
        line++;
        at += len + 1;
    }
    return line;
}

bool screen_open(struct screen *screen, const struct terminal *terminal)
{
    screen->handle = newterm(NULL, stdout, stdin);
    if (screen->handle == NULL) {
        return false;
    }
    (void)set_escdelay(ESCAPE_MS);
    (void)cbreak();
    (void)noecho();
    (void)nonl();
    (void)keypad(stdscr, TRUE);
    (void)nodelay(stdscr, TRUE);
    (void)curs_set(0); /* a terminal that cannot hide it shows it */
    start_colors(terminal);
    return true;
}

void screen_close(struct screen *screen)
{
    (void)endwin(); /* there is a screen */
    delscreen(screen->handle);
    screen->handle = NULL;
}
