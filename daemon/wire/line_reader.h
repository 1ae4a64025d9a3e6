/*
 * A line of NDJSON while it is read, and the steps that all readers of its parts take: wire/line has
 * its keys and records, wire/line_value the values of known keys, wire/line_skip all others.
 * It decides nothing. One thread at a time for each reader.
 *
 * Steps return 0, or the code with which the line ends: what was wrong is then in `rejection`. What is
 * only noted there lets the reading go on.
 */
#ifndef DWELL_WIRE_LINE_READER_H
#define DWELL_WIRE_LINE_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "core/record.h"
#include "wire/lexer.h"
#include "wire/line.h"

/* Types of records. */
#define TYPES(X)                                                                                   \
    X(SAMPLE, "sample")                                                                            \
    X(HELLO, "hello")                                                                              \
    X(FLUSH, "flush")                                                                              \
    X(GOODBYE, "goodbye")                                                                          \
    X(COUNTER, "counter")                                                                          \
    X(GAUGE, "gauge")                                                                              \
    X(HISTOGRAM, "histogram")                                                                      \
    X(INFO, "info")                                                                                \
    X(SPAN, "span")                                                                                \
    X(SPAN_START, "span_start")                                                                    \
    X(SPAN_END, "span_end")                                                                        \
    X(BUDGET, "budget")

enum type {
#define X(type, name) TYPE_##type,
    TYPES(X)
#undef X
        TYPE_COUNT
};

/* Which types a key belongs to. */
enum { OF_SAMPLE = 1 << TYPE_SAMPLE, OF_HELLO = 1 << TYPE_HELLO };
enum { OF_CONTROL = OF_HELLO | 1 << TYPE_FLUSH | 1 << TYPE_GOODBYE };
enum { OF_COUNTER = 1 << TYPE_COUNTER, OF_GAUGE = 1 << TYPE_GAUGE };
enum { OF_HISTOGRAM = 1 << TYPE_HISTOGRAM, OF_INFO = 1 << TYPE_INFO };
enum { OF_AMOUNT = OF_COUNTER | OF_GAUGE | OF_HISTOGRAM, OF_METRIC = OF_AMOUNT | OF_INFO };
enum { OF_BEGUN = 1 << TYPE_SPAN | 1 << TYPE_SPAN_START };
enum { OF_ENDED = 1 << TYPE_SPAN | 1 << TYPE_SPAN_END, OF_SPAN = OF_BEGUN | OF_ENDED };
enum { OF_BUDGET = 1 << TYPE_BUDGET };
enum { OF_TRACED = OF_SAMPLE | OF_COUNTER | OF_HISTOGRAM | OF_SPAN | OF_BUDGET };
enum { OF_ALL = OF_SAMPLE | OF_CONTROL | OF_METRIC | OF_SPAN | OF_BUDGET };

/* How a value is read. */
enum kind {
    KIND_FIGURE,      /* number from 0 to a maximum */
    KIND_NAME,        /* text of 1 to RECORD_NAME_MAX bytes */
    KIND_TEXT,        /* text up to so many bytes */
    KIND_INTEGER,     /* 64-bit integer, or its digits as text; with a maximum, from 1 to it */
    KIND_ID,          /* two hex digits for each byte */
    KIND_TIMESTAMP,   /* ISO 8601 */
    KIND_ERROR,       /* true, false or text */
    KIND_LABELS,      /* object of texts */
    KIND_ATTRIBUTES,  /* object of texts, booleans and whole numbers */
    KIND_VALUE,       /* what the type of a metric allows */
    KIND_DELTA,       /* number, of either sign */
    KIND_AGGREGATION, /* one of aggregation_names */
    KIND_SPAN_KIND,   /* internal, server, … */
    KIND_SAMPLED,     /* true or false */
    KIND_FLAG,        /* likewise */
    KIND_EVENTS,      /* list of objects */
    KIND_LINKS,       /* list of objects */
    KIND_STATUS,      /* object */
    KIND_TYPE,
};

/* What a record has, beside the parts of struct sample. */
enum {
    PART_MODEL_NAME = SAMPLE_PART_COUNT,
    PART_EXECUTION_TIME,
    PART_CLIENT_ID,
    PART_SEQUENCE,
    PART_DROPPED,
    PART_NAME,
    PART_ANY, /* nobody asks */
    PART_COUNT,
    /* Only samples have the parts whose bits these are. */
    PART_START_TIME = SAMPLE_CPU_BEFORE,
    PART_END_TIME = SAMPLE_CPU_DURING,
    PART_VALUE = SAMPLE_CPU_BEFORE,
    PART_DELTA = SAMPLE_CPU_DURING,
    PART_LAYER = SAMPLE_CPU_BEFORE,
    PART_ELAPSED = SAMPLE_CPU_DURING,
    PART_BEFORE = SAMPLE_MEMORY_BEFORE,
};
_Static_assert(PART_COUNT <= 32, "parts are bits of a uint32_t");

#define BIT(part)    (UINT32_C(1) << (part))
#define SAMPLE_PARTS (BIT(SAMPLE_PART_COUNT) - 1)

/* A line while it is read. Large, so only what reset() touches is set for each. */
struct reader {
    struct lexer in;
    struct line_memory *memory;
    enum type type;
    uint8_t last;               /* 1 + row of the last known key, 0 at the beginning */
    uint64_t seen;              /* rows of the key table */
    uint32_t has;               /* parts that hold a good value */
    struct str key;             /* of the value being read */
    struct rejection rejection; /* the first thing that was wrong */
    uint8_t noted;              /* `last` when that was noted */
    size_t unknown_count;
    struct str unknown[LINE_UNKNOWN_MAX]; /* below: keys of the line; above: of open objects */
    struct sample sample; /* also timestamp and ids of a metric, since they share rows */
    struct metric metric;
    struct hello hello;
    struct mark mark;
    struct budget budget;
    struct span span; /* its ids and service are read as those of a sample and a hello */
    struct span_room span_room;
    struct str span_keys[SPAN_ATTRIBUTES_MAX]; /* of the attributes being read */
    uint32_t inner_unknown_count;
    struct str inner_unknown[LINE_INNER_UNKNOWN_MAX]; /* keys of its events, links and status */
};

/* A row of the key table. */
struct key {
    struct str name;
    enum kind kind;
    unsigned types;
    uint32_t bit;
    size_t offset;
    double max;
};

/* Where a row's value goes; the offset is that of a member of the right type. */
static inline void *reader_place(struct reader *reader, const struct key *key)
{
    return (char *)reader + key->offset;
}

/* Ends the reading of the line. */
__attribute__((cold)) int reader_fail(struct reader *reader, int err, struct str key);

/* Notes a wrong value; the first one is the one that is told. */
__attribute__((cold)) void reader_note(struct reader *reader, int err);

/* A text where a key or value is; reader->in.at is past its first quote. */
static inline int reader_read_text(struct reader *reader, struct str *ret_text)
{
    int err = lexer_read_text(&reader->in, ret_text);
    return err == 0 ? 0 : reader_fail(reader, err, reader->key);
}

/* A colon between blanks. */
static inline int reader_skip_colon(struct reader *reader)
{
    lexer_skip_blanks(&reader->in);
    if (*reader->in.at != ':') {
        return reader_fail(reader, ERR_SYNTAX, reader->key);
    }
    reader->in.at++;
    lexer_skip_blanks(&reader->in);
    return 0;
}

/* After a member or element: true at `close`, which is skipped; false at a comma, which is too. */
static inline int reader_skip_separator(struct reader *reader, char close, bool *ret_closed)
{
    lexer_skip_blanks(&reader->in);
    if (*reader->in.at != ',' && *reader->in.at != close) {
        return reader_fail(reader, ERR_SYNTAX, reader->key);
    }
    *ret_closed = *reader->in.at == close;
    reader->in.at++;
    lexer_skip_blanks(&reader->in);
    return 0;
}

static inline bool reader_at_number(const struct reader *reader)
{
    return *reader->in.at == '-' || (*reader->in.at >= '0' && *reader->in.at <= '9');
}

#endif
