/*
 * Happy path
 *   1. /proc/PID/task lists the threads, in the order in which they began
 *   2. the second field of each one's schedstat is its wait for a CPU so far, in ns
 *   3. of a thread that was there before the difference counts, of a new one all
 *
 * What can fail: the list or any file of it (a kernel without schedstat, another user's process), or
 * there are more threads than are read. Then there is no figure, nor is there one the next time, since
 * there is nothing to compare with. A thread that ends while it is read is not there.
 */
#include "io/probe/thread_waits.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/num.h"
#include "io/probe/proc_text.h"

/* Returns 0 or an errno value; EINVAL when it is no such text. */
static int read_wait(int tasks, const char *name, struct proc_text *room, uint64_t *ret_ns)
{
    enum { WAITED = 1, WANTED };
    char path[NAME_MAX + sizeof "/schedstat"];
    struct str text;
    uint64_t fields[WANTED];
    (void)snprintf(path, sizeof path, "%s/schedstat", name); /* there is room for any name */
    int reason = proc_read_file(tasks, path, room, &text);
    if (reason == 0 && proc_text_fields(text, fields, WANTED) < WANTED) {
        return EINVAL;
    }
    if (reason == 0) {
        *ret_ns = fields[WAITED];
    }
    return reason;
}

/* Whether the thread is there still after its schedstat was not: then it has none to be read. */
static bool has_ended(int tasks, const char *name)
{
    return faccessat(tasks, name, F_OK, 0) != 0;
}

/* Adds a thread. False when that cannot be done. */
static bool add_thread(struct thread_waits *waits, int tasks, const char *name,
                       struct proc_text *room)
{
    struct thread_wait wait;
    if (num_read_u64(str_of(name), &wait.tid) != 0) {
        return true; /* "." and ".." */
    }
    if (waits->count == THREAD_WAITS_MAX) {
        return false;
    }
    int reason = read_wait(tasks, name, room, &wait.waited_ns);
    if (reason != 0) {
        return proc_is_gone(reason) && has_ended(tasks, name);
    }
    waits->list[waits->count++] = wait;
    return true;
}

static DIR *open_tasks(int process)
{
    int fd = openat(process, "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *tasks = fd < 0 ? NULL : fdopendir(fd);
    if (tasks == NULL) {
        proc_close(fd);
    }
    return tasks;
}

static void read_all(struct thread_waits *waits, int process, struct proc_text *room)
{
    DIR *tasks = open_tasks(process);
    *waits = (struct thread_waits){.is_known = tasks != NULL};
    if (tasks == NULL) {
        return;
    }
    const struct dirent *entry = readdir(tasks);
    while (entry != NULL && waits->is_known) {
        waits->is_known = add_thread(waits, dirfd(tasks), entry->d_name, room);
        entry = readdir(tasks);
    }
    waits->is_known = waits->is_known && waits->count > 0; /* a process that is there has one */
    (void)closedir(tasks);                                 /* was only read */
}

/* What the thread had waited before; 0 when it was not there. The order hardly changes: it is looked
 * for from where the one before it was found. */
static uint64_t waited_before(const struct thread_waits *before, const struct thread_wait *now,
                              unsigned *at)
{
    for (unsigned i = 0; i < before->count; i++) {
        const struct thread_wait *wait = &before->list[(*at + i) % before->count];
        if (wait->tid == now->tid) {
            *at = (*at + i + 1) % before->count;
            /* One that counts backwards is another of the same number. */
            return wait->waited_ns <= now->waited_ns ? wait->waited_ns : 0;
        }
    }
    return 0;
}

bool thread_waits_take(struct thread_waits *waits, int process, struct proc_text *room,
                       double *ret_ms)
{
    struct thread_waits now;
    double waited_ns = 0;
    unsigned at = 0;
    read_all(&now, process, room);
    bool both = waits->is_known && now.is_known;
    for (unsigned i = 0; i < now.count && both; i++) {
        waited_ns += (double)(now.list[i].waited_ns - waited_before(waits, &now.list[i], &at));
    }
    *waits = now;
    if (both) {
        *ret_ms = waited_ns / (double)NS_PER_MS;
    }
    return both;
}
