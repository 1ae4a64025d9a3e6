/*
 * What can be said to dwell: a row for each command and for each of its options. From the rows come the
 * parser, --help, the man page and the completions (tests/lint/gen_commands.py). It runs nothing.
 */
#ifndef DWELL_CLI_COMMAND_H
#define DWELL_CLI_COMMAND_H

#include "base/buf.h"
#include "cli/bench_options.h"
#include "cli/terminal.h"

enum option_kind {
    OPTION_FLAG,      /* member: bool */
    OPTION_TEXT,      /* const char * */
    OPTION_FILE,      /* const char *, of a file */
    OPTION_DIRECTORY, /* const char * */
    OPTION_CHOICE,    /* int, the number of the word */
    OPTION_SECONDS,   /* double */
    OPTION_WHOLE,     /* uint32_t */
};

struct option {
    const char *name; /* without the dashes */
    char letter;      /* of the short form; 0: there is none */
    enum option_kind kind;
    const char *argument; /* as --help shows it: "DIR"; NULL: a flag */
    const char *words;    /* OPTION_CHOICE: "auto|always|never" */
    double least, most;   /* OPTION_SECONDS, OPTION_WHOLE */
    size_t offset;        /* in struct arguments */
    const char *sentence;
};

enum operand_kind { OPERAND_OTHER, OPERAND_MODEL, OPERAND_FILE, OPERAND_COMMAND };

enum asks {
    ASKS_NOBODY,
    ASKS_SOCKETS, /* the daemon, by its sockets alone: --dir, --timeout */
    ASKS,         /* and by TCP: --url */
};

enum sort { SORT_NAME, SORT_RATE, SORT_P99, SORT_CPU, SORT_VERDICT, SORT_COUNT };

struct tool;

struct command {
    const char *name;
    const char *operands; /* as --help shows them */
    int least, most;      /* operands; most < 0: any number */
    enum operand_kind operand_kind;
    enum asks asks;
    bool has_json;           /* --json, the daemon's answer */
    const char *sentence;    /* what it does, in one line */
    const char *description; /* and the rest */
    const struct option *options;
    size_t option_count;
    int (*run)(struct tool *tool); /* returns the exit status */
};

/* Everything that options can say, at its defaults before parsing. */
struct arguments {
    bool help, version, print_table;
    const char *dir, *url;
    double timeout;
    bool json;
    int color;
    bool all;   /* models, explain */
    bool names; /* models */
    int sort;   /* models, top */
    bool once;  /* top */
    double interval;
    const char *filter;
    const char *hash; /* send */
    bool send;        /* doctor */
    struct bench_arguments bench;
    const struct command *command; /* NULL: none was named */
    char **operands;               /* argv, in order */
    int operand_count;
};

extern const struct command commands[];
extern const size_t command_count;

/* Reads the arguments. Returns 0; or EX_USAGE with one line for people in `problem`. argv is reordered. */
int command_parse(struct arguments *arguments, int argc, char **argv, struct buf *problem);

/* --help, of the tool or of its command; within `columns`. */
void command_help(const struct command *command, size_t columns, struct buf *out);

/* All rows as JSON, for the generator. */
void command_table(struct buf *out);

#endif
