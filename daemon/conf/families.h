/*
 * Metric families that are declared before any record comes, with type, help, labels and buckets:
 * the built-in ones (config/families.json) and those of the user's file (metrics.families_file).
 *
 *     {"builtin": true, "families": [{"name": "jobs_total", "type": "counter", "help": "…"}, …]}
 *
 * Text is handed in, nothing is opened; every mistake is told as a line of text, all at once:
 * `families[3].buckets[2]: expects X, got Y (FILE)`. It knows no records and no series.
 * Made at start and at reload by one thread.
 */
#ifndef DWELL_CONF_FAMILIES_H
#define DWELL_CONF_FAMILIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"
#include "conf/conf.h"

enum {
    CONF_FAMILIES_MAX = 1024, /* the built-in ones included */
    CONF_FAMILIES_FILE_MAX_BYTES = 1 << 20,
    CONF_FAMILY_LABELS_MAX = 32,  /* as many as a record has attributes */
    CONF_FAMILY_NAME_MAX = 256,   /* bytes, of a label's name and value too: as in records */
    CONF_FAMILY_UNIT_MAX = 32,    /* bytes */
    CONF_FAMILY_HELP_MAX = 1024,  /* bytes */
    CONF_FAMILY_BUCKETS_MAX = 64, /* +Inf aside */
    CONF_FAMILY_STARTS_MAX = 1000,
    CONF_FAMILY_EXPIRE_MAX = 366 * 24 * 3600, /* s */
    CONF_FAMILY_MEMBERS_MAX = 9,              /* beside the name */
};

enum conf_family_type {
    CONF_FAMILY_COUNTER,
    CONF_FAMILY_GAUGE,
    CONF_FAMILY_HISTOGRAM,
    CONF_FAMILY_INFO,
    CONF_FAMILY_TYPE_COUNT
};

/* How the values that several processes give to one gauge become one. */
enum conf_aggregation {
    CONF_AGGREGATION_UNSAID,
    CONF_AGGREGATION_LAST,
    CONF_AGGREGATION_SUM,
    CONF_AGGREGATION_MAX,
    CONF_AGGREGATION_MIN,
    CONF_AGGREGATION_PER_PID,
    CONF_AGGREGATION_COUNT
};

struct conf_doubles {
    double *numbers; /* owned; NULL when count is 0 */
    size_t count;
};

/* Texts are owned and never NULL. */
struct conf_family {
    char *name; /* without the "_total" of counters and the "_info" of infos */
    enum conf_family_type type;
    char *help; /* may hold newlines, but no other control characters */
    char *unit; /* "": none; else the name ends with "_" and it */
    struct conf_texts labels;
    struct conf_texts *values;   /* owned; known values of each label in turn; NULL: not told */
    size_t start_count;          /* series that are there from the start, at 0: see below */
    struct conf_doubles buckets; /* ascending, finite, without +Inf; of histograms alone */
    bool native;                 /* histogram with exponential buckets too */
    int aggregation;             /* enum conf_aggregation; of gauges alone */
    uint64_t expire_seconds;     /* a series that was silent for so long goes; 0: never */
};

/*
 * Series start at 0 where it is known which there will be: one for each combination of `values`, or
 * the only one of a family without labels. None do of infos, and of gauges with a series a process.
 */
struct conf_families {
    struct conf_family *families; /* owned; NULL when count is 0 */
    size_t count;
};

/* config/families.json as it was when the daemon was built. */
extern const char conf_families_builtin[];
extern const size_t conf_families_builtin_len;

/* Reads the built-in families, unless the file has `"builtin": false`, and then the file's;
 * `file_name`, as shown in errors, is NULL when there is no file. Appends a line to `errors` for each
 * problem. Returns 0; ERR_SYNTAX when there were errors, ERR_NOMEM. */
int conf_families_load(struct conf_families *ret_families, struct str builtin_json,
                       const char *file_name, struct str file_text, struct buf *errors);

/* The family of this name, or NULL. */
const struct conf_family *conf_families_find(const struct conf_families *families,
                                             const char *name);

/* The members in which two families of one name differ. Returns how many. */
size_t conf_family_differences(const struct conf_family *a, const struct conf_family *b,
                               const char *ret_members[CONF_FAMILY_MEMBERS_MAX]);

/*
 * What a reload makes of families (conf/families_reload.c).
 *
 *     in force        fresh
 *     jobs, counter   jobs, gauge        refused, a line in `errors`: one name cannot be both
 *     jobs            jobs, other help   stays as it was, a line in `fixed`
 *     jobs            -                  stays, a line in `fixed`
 *     -               jobs               is new
 *
 * Returns 0 or ERR_CONFLICT; adds to *fixed_count how many lines it wrote there.
 */
int conf_families_compare(const struct conf_families *in_force, const struct conf_families *fresh,
                          struct buf *errors, struct buf *fixed, size_t *fixed_count);

/* Moves those of `fresh` that are wanted, by place, behind the others. Returns 0, or ERR_NOMEM with nothing
 * moved. */
int conf_families_take(struct conf_families *in_force, struct conf_families *fresh,
                       const bool *wanted);

/* Forgets the last ones, so that so many are left. */
void conf_families_truncate(struct conf_families *families, size_t count);

void conf_families_fini(struct conf_families *families);

#endif
