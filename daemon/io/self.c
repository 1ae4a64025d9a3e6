#include "io/self.h"

#include <assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

/* Pages of memory in use, from the kernel; 0 when it does not say. */
static uint64_t resident_bytes(void)
{
    char text[128];
    unsigned long long size = 0;
    unsigned long long resident = 0;
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0) {
        (void)close(fd); /* was only read */
    }
    if (len <= 0) {
        return 0;
    }
    text[len] = '\0';
    char *end = text;
    size = strtoull(text, &end, 10);
    resident = strtoull(end, NULL, 10);
    return size == 0 ? 0 : resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

uint64_t self_descriptors(void)
{
    uint64_t count = 0;
    DIR *directory = opendir("/proc/self/fd");
    if (directory == NULL) {
        return 0;
    }
    for (struct dirent *entry = readdir(directory); entry != NULL; entry = readdir(directory)) {
        count += entry->d_name[0] != '.' ? 1 : 0;
    }
    (void)closedir(directory);        /* was only read */
    return count > 0 ? count - 1 : 0; /* without its own */
}

void self_add_export(struct self *self, struct export_queue *queue)
{
    assert(self->export_count < SELF_EXPORTS_MAX);
    self->exports[self->export_count++] = queue;
}

void self_view(struct self *self, struct self_view *ret_view)
{
    for (unsigned i = 0; i < self->export_count; i++) {
        export_queue_view(self->exports[i], &ret_view->exports[i]);
    }
    ret_view->process = (struct exposition_process){
        .resident_bytes = resident_bytes(),
        .scrapes = atomic_load_explicit(&self->scrapes, memory_order_relaxed),
        .http_errors = atomic_load_explicit(&self->http_errors, memory_order_relaxed),
        .http_foreign_hosts = atomic_load_explicit(&self->http_foreign_hosts, memory_order_relaxed),
        .http_refused = atomic_load_explicit(&self->http_refused, memory_order_relaxed),
        .http_slow = atomic_load_explicit(&self->http_slow, memory_order_relaxed),
        .exports = ret_view->exports,
        .export_count = self->export_count};
}
