#include "render/order.h"

#include <stdlib.h>

#include "base/mem.h"

static int compare(const void *a, const void *b)
{
    const struct model_id *left = (*(const struct model *const *)a)->id;
    const struct model_id *right = (*(const struct model *const *)b)->id;
    int order = str_compare(left->name, right->name);
    if (order == 0) {
        order = (int)left->overflow - (int)right->overflow;
    }
    /* A key is the name, then device and values behind zero bytes: its order is that of labels. */
    return order != 0 ? order : str_compare(left->key, right->key);
}

int order_init(struct order *order, const struct snapshot *snapshot, const struct str *name)
{
    const struct model **models = mem_alloc((snapshot->model_count + 1) * sizeof *models);
    if (models == NULL) {
        return ERR_NOMEM;
    }
    *order = (struct order){.models = models};
    for (uint32_t i = 0; i < snapshot->model_count; i++) {
        if (name == NULL || str_equal(snapshot->models[i]->id->name, *name)) {
            models[order->count++] = snapshot->models[i];
        }
    }
    qsort(models, order->count, sizeof *models, compare);
    return 0;
}

void order_fini(struct order *order)
{
    /* The array is ours, the models in it are not. */
    mem_free((void *)(uintptr_t)order->models);
    *order = (struct order){0};
}
