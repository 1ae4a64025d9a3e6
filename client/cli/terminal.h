/*
 * What standard output is: how wide, whether it takes colours and more than ASCII. And the last step of
 * all text on its way there: styles become colours or go, and our own signs become ASCII where they must.
 */
#ifndef DWELL_CLI_TERMINAL_H
#define DWELL_CLI_TERMINAL_H

#include "cli/text.h"

enum color { COLOR_AUTO, COLOR_ALWAYS, COLOR_NEVER, COLOR_COUNT };

struct terminal {
    size_t columns; /* TEXT_COLUMNS_MAX: a pipe, which has no width */
    size_t rows;    /* 0: a pipe */
    bool is_terminal;
    bool color;
    bool utf8;
};

/* Asks the system about a descriptor, and the environment: NO_COLOR, TERM, COLUMNS; setlocale comes
 * before. */
void terminal_init(struct terminal *terminal, int fd, enum color color);

/* Appends what is to be written for the styled text. */
void terminal_render(const struct terminal *terminal, struct str styled, struct buf *out);

/* Writes the styled text to standard output. Returns 0, or an exit status after having said why not. */
int terminal_print(const struct terminal *terminal, const struct buf *styled);

/* The same with text that is to be written as it is. */
int terminal_write(const struct buf *text);

#endif
