/*
 * What workers are asked: the lines of a file, again and again, or without one the number of the request.
 * Read before the run, so that no request waits for a disk. Read-only afterwards: any thread.
 */
#ifndef DWELL_CLI_BENCH_INPUT_H
#define DWELL_CLI_BENCH_INPUT_H

#include "base/buf.h"

enum {
    INPUT_BYTES_MAX = 64 << 20, /* of the file: it is kept in memory */
    INPUT_LINE_MAX = 1 << 20,   /* with its newline: as much as an answer may have */
    INPUT_LINES_MAX = 1 << 20,  /* as many as there may be samples */
    INPUT_NUMBER_BYTES = 24
};

struct input {
    struct buf text; /* the whole file, its last line with a newline */
    struct buf ends; /* size_t of each line: where the next one begins */
    size_t count;    /* lines; 0: numbers are asked */
};

/* Without a file. */
void input_init(struct input *input);
void input_fini(struct input *input);

/* Reads a file. 0; or EX_NOINPUT, EX_DATAERR, EX_OSERR with the reason in `problem`. */
int input_read(struct input *input, const char *path, struct buf *problem);

/* Reads a file that is asked as a whole, whatever is in it. Likewise. */
int input_read_whole(struct input *input, const char *path, struct buf *problem);

/* The same two of text that is there. */
int input_take(struct input *input, struct str text, struct buf *problem);
int input_take_whole(struct input *input, struct str text, struct buf *problem);

/* The line of a request, with its newline, or the whole; borrowed, or in `room`. */
struct str input_line(const struct input *input, uint64_t number, char room[INPUT_NUMBER_BYTES]);

#endif
