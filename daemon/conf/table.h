/*
 * The table of options and the kinds of value they have; shared by the conf*.c files alone.
 * It reads and prints single values. It knows nothing of files, variables or the command line.
 */
#ifndef DWELL_CONF_TABLE_H
#define DWELL_CONF_TABLE_H

#include <jansson.h>

#include "conf/conf.h"

enum conf_kind {
    CONF_TEXT,      /* char *; min and max are bytes */
    CONF_TOKEN,     /* char *; letters, digits and "-_." */
    CONF_NAMESPACE, /* char *; a Prometheus name or nothing */
    CONF_ENDPOINT,  /* char *; where OTLP goes */
    CONF_BOOL,      /* bool */
    CONF_WHOLE,     /* uint64_t */
    CONF_NUMBER,    /* double */
    CONF_MODE,      /* uint32_t */
    CONF_ADDRESS,   /* struct conf_address */
    CONF_CHOICE,    /* int, a place in `words` */
    CONF_IDS,       /* struct conf_ids; max is the length */
    CONF_KEYS,      /* struct conf_texts, labels; max is the length */
    CONF_NAMES,     /* struct conf_texts, names of StatsD; max is the length */
    CONF_HOSTS,     /* struct conf_texts, names of hosts; max is the length */
    CONF_PAIRS,     /* struct conf_pairs; max is the length */
    CONF_LAYERS,    /* struct conf_layers; max is the length */
    CONF_KIND_COUNT
};

struct conf_option {
    const char *path;
    enum conf_kind kind;
    double min, max;
    const char *initial; /* JSON */
    const char *unit;    /* NULL: none */
    bool reloadable;     /* SIGHUP is enough */
    bool secret;         /* never printed */
    size_t offset;       /* in struct conf */
    const char *const *words;
    const char *sentence;
};

extern const struct conf_option conf_options[];
extern const size_t conf_option_count;

/* The option with this path, or NULL. */
const struct conf_option *conf_find(struct str path);

/* What is being read, for complaints. */
struct conf_reader {
    const struct conf_option *option;
    const char *source; /* "dwelld.json", "DWELL_HTTP_LISTEN", "--set" */
    struct buf *errors;
};

/*
 * What can be done with a value of one kind. `value` points at the member of struct conf.
 * read:     writes *ret and returns 0; ERR_SYNTAX after complaining, or ERR_NOMEM.
 * render:   appends the value as JSON.
 * describe: appends what is expected; NULL when `expects` says all.
 * fini:     frees what the value owns; NULL when it owns nothing.
 */
struct conf_kind_ops {
    size_t size;
    bool is_words; /* environment and arguments give it as it stands, and not as JSON */
    int (*read)(const struct conf_reader *reader, const json_t *json, void *ret);
    void (*render)(struct buf *out, const struct conf_option *option, const void *value);
    void (*describe)(struct buf *out, const struct conf_option *option);
    const char *expects;
    void (*fini)(void *value);
};

/* The rows of lists and objects (conf/list.c). */
extern const struct conf_kind_ops conf_ids_ops, conf_keys_ops, conf_names_ops, conf_hosts_ops,
    conf_pairs_ops, conf_layers_ops;

/* Reads `json` into conf, in place of what is there. Returns 0; ERR_SYNTAX after complaining, and
 * ERR_NOMEM, with the old value kept. */
int conf_read_value(const struct conf_reader *reader, struct conf *conf, const json_t *json);

/* As above from an environment variable or argument. */
int conf_read_text(const struct conf_reader *reader, struct conf *conf, struct str text);

/* A complaint is made of conf_blame, more of the path straight into reader->errors, ": expects X",
 * and conf_got: `path[2]: expects X, got Y (source)`. */
void conf_blame(const struct conf_reader *reader);
int conf_got(const struct conf_reader *reader, const json_t *got); /* always ERR_SYNTAX */

/* The whole of it for a value that is wrong as a whole. Always ERR_SYNTAX. */
int conf_mismatch(const struct conf_reader *reader, const json_t *got);

/* Appends what the option takes. */
void conf_describe(struct buf *out, const struct conf_option *option);

/* For people: the default, or where to see one that is long; what the option takes, with its unit. */
const char *conf_shown_default(const struct conf_option *option);
void conf_put_accepts(struct buf *out, const struct conf_option *option);

/* Frees what the option owns and zeroes it. */
void conf_forget_value(const struct conf_option *option, struct conf *conf);

/* Each gets the other's value. */
void conf_swap_value(const struct conf_option *option, struct conf *a, struct conf *b);

/* Appends the option's value as JSON. */
void conf_render_value(struct buf *out, const struct conf_option *option, const struct conf *conf);

/* Appends a text as a JSON string. */
void conf_render_string(struct buf *out, const char *text);

/* Appends text from outside as a complaint shows it: escaped, and cut when it is long. */
void conf_show(struct buf *out, struct str text);

/* What is being loaded, and how it went so far. */
struct conf_loader {
    struct conf *conf;
    struct buf *errors;
    struct buf *warnings;
    bool failed; /* at least one error was told */
    bool nomem;
};

void conf_load_environment(struct conf_loader *loader, char *const *environment);

/* The part of it that is OpenTelemetry's (conf/otel.c). */
void conf_load_otel(struct conf_loader *loader, char *const *environment);

/* The variable's value, or NULL when it is not set or empty. */
const char *conf_find_variable(char *const *environment, const char *name);

/* Remembers how a read went. */
void conf_note(struct conf_loader *loader, int err);

/* Appends a value as a complaint shows it; a secret one by its type only. */
void conf_show_json(struct buf *out, const json_t *json, bool secret);

/* Ends a complaint: ` (source)` and a newline. */
void conf_from(struct buf *out, const char *source);

/* Reads the text of a file, one object. Returns 0 with an object that the caller gives back; else
 * ERR_SYNTAX after complaining with line and column, or ERR_NOMEM. */
int conf_parse_file(const char *file_name, struct str text, struct buf *errors, json_t **ret_json);

/* Small helpers of the readers. */
struct str conf_json_text(const json_t *json); /* empty when it is not a string */
char *conf_copy(struct str text);              /* NULL when memory is out */
bool conf_is_plain(struct str text);           /* no control characters */
bool conf_is_name(struct str text);            /* letters, digits and "_", no digit first */
bool conf_begins_with(struct str text, const char *prefix);

/* Of `count` words, the one closest to `wrong`; empty when none is close. */
struct str conf_nearest(struct str wrong, size_t count, struct str (*word)(size_t i));

#endif
