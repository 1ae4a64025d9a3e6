#include "io/export/export_item.h"

#include <assert.h>

#include "base/mem.h"

size_t export_item_size(const struct export_item *item)
{
    return sizeof *item + item->len + item->outside;
}

struct export_item *export_item_new(const void *owner, size_t len)
{
    assert(len <= UINT32_MAX);
    struct export_item *item = mem_alloc(sizeof *item + len);
    if (item != NULL) {
        *item = (struct export_item){.owner = owner, .weight = 1, .len = (uint32_t)len};
    }
    return item;
}
