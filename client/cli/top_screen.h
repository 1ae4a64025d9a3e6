/*
 * The terminal as `dwell top` has it while it is live: taken over and given back, and styled text drawn on
 * it. It decides nothing of what is drawn. One at a time, as ncurses has one.
 */
#ifndef DWELL_CLI_TOP_SCREEN_H
#define DWELL_CLI_TOP_SCREEN_H

#include <ncurses.h>

#include "cli/terminal.h"

struct screen {
    SCREEN *handle; /* NULL: not open */
};

/* Takes the terminal over, with the keys ready to be read without waiting. False: it is not known to
 * ncurses. */
bool screen_open(struct screen *screen, const struct terminal *terminal);
void screen_close(struct screen *screen);

/* One line; what is too wide is cut. */
void screen_line(const struct terminal *terminal, int y, struct str line);

/* Lines of text from the n-th on, at most `rows`. Returns how many lines the text has. */
int screen_text(const struct terminal *terminal, const struct buf *text, int from, int rows);

#endif
