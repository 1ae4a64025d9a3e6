#include "io/export/export_file.h"

#include "base/err.h"

static void forget(struct export_file *file)
{
    file->id = 0;
    file->done = 0;
    file->most = UINT64_MAX;
    file->whole = (struct str){NULL, 0};
    buf_fini(&file->bytes); /* there may be no other file for a long time */
    buf_fini(&file->slice);
}

void export_file_init(struct export_file *file, struct spool *spool,
                      const struct export_signal *signal, void *signal_ctx)
{
    *file = (struct export_file){
        .spool = spool, .signal = signal, .signal_ctx = signal_ctx, .most = UINT64_MAX};
    buf_init(&file->bytes, SPOOL_REQUEST_MAX + 1);
    buf_init(&file->slice, SPOOL_REQUEST_MAX);
}

void export_file_fini(struct export_file *file)
{
    forget(file);
}

bool export_file_has_more(const struct export_file *file)
{
    return file->spool != NULL && spool_oldest(file->spool) != 0;
}

int export_file_part(struct export_file *file, struct str *ret_request, uint64_t *ret_weight)
{
    if (file->id != spool_oldest(file->spool)) { /* a new one, or this one was given up */
        forget(file);
        int err = spool_read(file->spool, &file->bytes, &file->whole);
        if (err != 0) {
            return err;
        }
        file->id = spool_oldest(file->spool);
    }
    uint64_t left = spool_oldest_items(file->spool);
    if (file->done == 0 && file->most >= left) {
        *ret_request = file->whole;
        *ret_weight = left;
        return 0;
    }
    uint64_t count = left < file->most ? left : file->most;
    buf_clear(&file->slice);
    int err = file->signal->slice(file->signal_ctx, file->whole, file->done, count, &file->slice);
    if (err == 0) {
        *ret_request = (struct str){file->slice.data, file->slice.len};
        *ret_weight = count;
    } else if (err != ERR_NOMEM) {
        *ret_weight = left;
        err =
            ERR_LIMIT; /* its bytes are as they were written, but nothing that this signal writes */
    }
    return err;
}

uint64_t export_file_items(const struct export_file *file, uint64_t weight)
{
    return file->signal->slice == NULL ? 1 : weight;
}

void export_file_settle(struct export_file *file, uint64_t weight)
{
    if (weight < spool_oldest_items(file->spool)) {
        spool_take_off(file->spool, weight);
        file->done += weight;
    } else {
        spool_remove(file->spool);
        forget(file);
    }
}

void export_file_split(struct export_file *file, uint64_t weight)
{
    file->most = weight / 2;
}
