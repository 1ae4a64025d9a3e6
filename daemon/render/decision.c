#include "render/decision.h"

#include "render/figure.h"

/* Of GPU_YES there is none: those models are named. */
static const struct {
    const char *one, *many;
} groups[] = {
    [GPU_NO] = {"model is better off on the CPU", "models are better off on the CPU"},
    [GPU_INSUFFICIENT] = {"model has shown too little to decide",
                          "models have shown too little to decide"},
    [GPU_NOT_ASKED] = {"model does not run on the CPU", "models do not run on the CPU"},
};
_Static_assert(sizeof groups / sizeof groups[0] == GPU_COUNT, "one each");

void decision_count(struct decision_counts *counts, const struct profile *profile)
{
    counts->of[profile->verdict.gpu]++;
    counts->to_do[profile->gpu.action]++;
}

uint32_t decision_models(const struct decision_counts *counts)
{
    uint32_t models = 0;
    for (size_t i = 0; i < GPU_COUNT; i++) {
        models += counts->of[i];
    }
    return models;
}

const char *decision_overall(const struct decision_counts *counts)
{
    return counts->of[GPU_YES] > 0 ? "EVALUATE_GPU" : "KEEP_CPU";
}

void decision_put_group(const struct decision_counts *counts, enum gpu_decision decision,
                        struct buf *out)
{
    if (counts->of[decision] > 0) {
        figure_put_plural(out, counts->of[decision], groups[decision].one, groups[decision].many);
    }
}
