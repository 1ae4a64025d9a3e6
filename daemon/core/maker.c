#include "core/maker.h"

#include <stddef.h>

#include "base/mem.h"

struct maker *maker_new(void)
{
    return mem_zalloc(1, sizeof(struct maker));
}

static void free_if_over(struct maker *maker)
{
    if (maker->is_gone && maker->series == 0) {
        mem_free(maker);
    }
}

void maker_end(struct maker *maker)
{
    if (maker != NULL) {
        maker->is_gone = true;
        free_if_over(maker);
    }
}

void maker_add(struct maker *maker)
{
    if (maker != NULL) {
        maker->series++;
    }
}

bool maker_is_full(const struct maker *maker, uint32_t max_series)
{
    return maker != NULL && max_series != 0 && maker->series >= max_series;
}

bool maker_is_full_of_models(const struct maker *maker, uint32_t max_models)
{
    return maker != NULL && max_models != 0 && maker->models >= max_models;
}

void maker_add_model(struct maker *maker)
{
    if (maker != NULL) {
        maker->models++;
    }
}

void maker_remove(struct maker *maker)
{
    if (maker != NULL) {
        maker->series--;
        free_if_over(maker);
    }
}
