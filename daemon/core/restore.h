/*
 * Goes on from an earlier life of the daemon: the sink that puts the pieces of a state file (core/saved)
 * to where records would have counted. It reads no file and has no clock: the present is handed in.
 * Loop thread, before the first record.
 *
 * What does not fit the present configuration is left out and counted, and the rest goes on:
 *
 *     a model          that has a label which is not kept any more, or is past profiling.max_models
 *     a family         that is declared otherwise now, or was declared and is no more
 *     a series         past a ceiling
 *     a part           of a gauge whose process is gone: as if the process had ended now
 *     a set's value    past metrics.max_set_values
 *
 * Windows keep their time. Ages are told in sub-windows, and the time away is added to them:
 *
 *     then     … 7    8    9 |               the moment; the sub-window 9 was the present one
 *     away                   |~~~~~~~~~|     by CLOCK_BOOTTIME, or over a start of the machine by the
 *     now            … 41  42   43  44 |     clock on the wall, which may have been set meanwhile: never
 *                      7   8    9            less than nothing
 *
 * With a window of another length all of it is over: it still counts in what is since the start.
 */
#ifndef DWELL_CORE_RESTORE_H
#define DWELL_CORE_RESTORE_H

#include "core/intake.h"
#include "core/saved.h"

struct restore_options {
    struct intake *intake;
    struct saved_moment now;
    /* Whether a process that was there at a CLOCK_BOOTTIME still is. */
    bool (*is_alive)(void *ctx, int64_t kernel_pid, uint64_t boot_ns);
    void *ctx;
};

/* What came of it. */
struct restore_report {
    uint64_t models, series, layers, clients; /* that go on */
    uint64_t left_out;                        /* models, families, series, parts, values, layers */
    uint64_t away_ns;                         /* from the moment until now */
    bool same_boot;
    uint64_t since_wall_ns;        /* when the daemon's own counters began */
    uint64_t scrapes, http_errors; /* these are counted elsewhere */
    size_t journal_len;
    char journal[SAVED_JOURNAL_MAX]; /* its position at the moment */
};

struct restore {
    struct restore_options options;
    struct restore_report report;
    struct saved_moment then;
    int64_t shift;    /* from a sub-window's number then to its number now */
    bool fits_window; /* sub-windows are as long as they were */
    uint32_t process_count;
    struct process *processes[SAVED_PROCESSES_MAX]; /* NULL: gone */
    struct model *model;                            /* at hand; NULL: left out, as below */
    struct series_set *set;
    bool has_series;
    uint32_t place; /* of the series */
    struct budget_layer *layer;
};

/* NULL without memory. */
struct restore *restore_new(const struct restore_options *options);
void restore_free(struct restore *restore);

/* The sink, good until restore_free. ERR_NOMEM from it means that only a part was applied. */
struct saved_sink restore_sink(struct restore *restore);

/* --- for the restore_*.c files alone --- */

/* The number of the sub-window that was so many before the moment's; 0: one that is over. */
uint64_t restore_slot(const struct restore *restore, uint64_t age);

/* A tally of what was counted in such a one. NULL without memory; with *ret_fits false, when it is of
 * another form. */
struct tally *restore_tally(struct restore *restore, const struct saved_tally *saved,
                            bool *ret_fits);

int restore_take_model(void *ctx, const struct saved_model *model);
int restore_take_tally(void *ctx, const struct saved_tally *tally);
int restore_take_layer(void *ctx, const struct saved_layer *layer);
int restore_take_slot(void *ctx, const struct saved_slot *slot, const struct saved_tally *tally);
int restore_take_family(void *ctx, const struct saved_family *family);
int restore_take_series(void *ctx, const struct saved_series *series);
int restore_take_value(void *ctx, uint64_t age, uint64_t hash);
int restore_take_exemplar(void *ctx, const struct saved_exemplar *exemplar);

#endif
