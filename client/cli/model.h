/*
 * The models of an answer as rows: what `models` and `top` show, in an order, and how fast samples come. It
 * neither fetches nor prints.
 *
 * Rates: of one answer, samples of the window by its length, or by the daemon's age when that is less;
 * of two, samples since the start by the daemon's own clock. A model that was reset in between has no
 * rate, and one that is new has come to be since.
 */
#ifndef DWELL_CLI_MODEL_H
#define DWELL_CLI_MODEL_H

#include "cli/answer.h"
#include "cli/command.h"
#include "cli/table.h"

enum { MODELS_MAX = 1 << 20 }; /* as many as profiling.max_models may be */

struct model {
    const json_t *json; /* borrowed from the answer */
    const char *name;   /* likewise, as it is */
    const char *title;  /* safe to show: the name with its labels */
    size_t title_len;
    double samples, errors; /* of the window */
    double total;           /* samples since the start; NaN: not known */
    double rate;            /* a second; NaN: not known */
    double p50_ms, p99_ms, cpu_percent, queue_ms;
    double confidence;
    const char *bottleneck, *rule, *gpu; /* words of the answer */
    bool hidden;                         /* by a filter */
};

struct models {
    struct model *rows; /* owned */
    size_t count;
    size_t shown;      /* of them, from the first on, once they are sorted */
    json_t *root;      /* owned: what rows borrow from */
    struct buf titles; /* likewise */
    double uptime;     /* of the daemon when they were asked for, seconds; NaN: not known */
};

/* What a model of an answer is called, safe to show: impact_scorer {device="cuda:0", region="eu"} */
void model_title(struct buf *out, const json_t *json, bool utf8);

/* Takes over an answer of /api/v1/models. EX_PROTOCOL, EX_OSERR with the reason in `problem`. */
int models_read(struct models *models, json_t *root, bool utf8, struct buf *problem);
void models_fini(struct models *models);

/* Rates of the window. */
void models_rate_by_window(struct models *models);

/* Fills in `total` from an answer with ?window=all. */
void models_add_totals(struct models *models, struct models *all);

/* Rates since the answer before. */
void models_rate_since(struct models *models, struct models *before);

/* The same model in another answer that is in order of names, all shown; or NULL. */
const struct model *models_find(const struct models *by_name, const struct model *model);

/* Shows only those in whose name the text occurs; capital letters are small ones. NULL: all. models_sort
 * then puts the others last. */
void models_filter(struct models *models, const char *text);

/* Puts them in order; `reverse` turns it round. Equal ones go by name. */
void models_sort(struct models *models, enum sort sort, bool reverse);

/* The style of a verdict: "compute_bound". */
enum style model_style(const char *bottleneck);

/* As a table, with the words of the API; or shorter ones, for where room is dear. */
void models_tabulate(const struct models *models, bool brief, struct table *table);

/* Whether a rule goes by means of the window, and not by evidence. */
bool model_rule_is_of_means(const char *rule);

#endif
