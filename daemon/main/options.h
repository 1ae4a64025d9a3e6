/*
 * From the configuration to the options of parts that take them at the start and at a reload alike: conf
 * and core do not know each other. It applies nothing. Texts point into the configuration.
 */
#ifndef DWELL_MAIN_OPTIONS_H
#define DWELL_MAIN_OPTIONS_H

#include "conf/conf.h"
#include "core/budgets.h"
#include "core/classify.h"
#include "core/metrics.h"
#include "core/sampler.h"

struct thresholds options_thresholds(const struct conf *conf);

struct metrics_limits options_metrics_limits(const struct conf *conf);

/* Without a sink and a seed. */
struct sampler_options options_sampler(const struct conf *conf);

/* Without a seed; the layers are put into `layers`. */
struct budgets_options options_budgets(const struct conf *conf,
                                       struct budget_option layers[BUDGETS_CONFIGURED_MAX]);

#endif
