#include "core/process.h"

#include <assert.h>
#include <stddef.h>

#include "base/mem.h"

static void end(struct processes *processes, struct process *process)
{
    if (processes->ended != NULL) {
        processes->ended(processes->ctx, process);
    }
    *process->link = process->next;
    if (process->next != NULL) {
        process->next->link = process->link;
    }
    processes->count--;
    mem_free(process);
}

static void end_if_over(struct processes *processes, struct process *process)
{
    if (process->entered == 0 && (process->exited || !process->watched)) {
        end(processes, process);
    }
}

/* Numbers of processes are used again: one that is gone is not the one that speaks now. */
static bool is_it(const struct processes *processes, struct process *process, uint64_t said_pid,
                  int64_t kernel_pid)
{
    if (process->said_pid != said_pid || process->kernel_pid != kernel_pid || process->exited) {
        return false;
    }
    return !process->watched || processes->is_gone == NULL ||
           !processes->is_gone(processes->ctx, process);
}

static struct process *find(const struct processes *processes, uint64_t said_pid,
                            int64_t kernel_pid)
{
    struct process *process = processes->first;
    while (process != NULL && !is_it(processes, process, said_pid, kernel_pid)) {
        process = process->next;
    }
    return process;
}

static struct process *add(struct processes *processes, uint64_t said_pid, int64_t kernel_pid)
{
    struct process *process =
        processes->count == PROCESSES_MAX ? NULL : mem_zalloc(1, sizeof *process);
    if (process == NULL) {
        return NULL;
    }
    process->said_pid = said_pid;
    process->kernel_pid = kernel_pid;
    process->next = processes->first;
    process->link = &processes->first;
    if (process->next != NULL) {
        process->next->link = &process->next;
    }
    processes->first = process;
    processes->count++;
    process->watched = processes->watch != NULL && processes->watch(processes->ctx, process);
    return process;
}

struct process *process_enter(struct processes *processes, uint64_t said_pid, int64_t kernel_pid)
{
    struct process *process = find(processes, said_pid, kernel_pid);
    if (process == NULL) {
        process = add(processes, said_pid, kernel_pid);
    }
    if (process != NULL) {
        process->entered++;
    }
    return process;
}

struct process *process_adopt(struct processes *processes, uint64_t said_pid, int64_t kernel_pid)
{
    return add(processes, said_pid, kernel_pid);
}

void process_leave(struct processes *processes, struct process *process)
{
    assert(process->entered > 0);
    process->entered--;
    end_if_over(processes, process);
}

void process_exit(struct processes *processes, struct process *process)
{
    process->exited = true;
    end_if_over(processes, process);
}

void processes_fini(struct processes *processes)
{
    while (processes->first != NULL) {
        struct process *process = processes->first;
        processes->first = process->next;
        mem_free(process);
    }
    processes->count = 0;
}
