#include "core_helpers.h"

#include "fake_proc.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

void fake_proc_open(struct fake_proc *fake)
{
    (void)snprintf(fake->directory, sizeof fake->directory, "/tmp/dwell-test-proc-XXXXXX");
    assert_non_null(mkdtemp(fake->directory));
    (void)snprintf(fake->proc, sizeof fake->proc, "%s/proc", fake->directory);
    (void)snprintf(fake->cgroup, sizeof fake->cgroup, "%s/cgroup", fake->directory);
    (void)snprintf(fake->cpu, sizeof fake->cpu, "%s/cpu", fake->directory);
    fake->roots = (struct proc_roots){.proc = fake->proc, .cgroup = fake->cgroup, .cpu = fake->cpu};
}

static int remove_one(const char *path, const struct stat *stat, int kind, struct FTW *where)
{
    (void)stat;
    (void)kind;
    (void)where;
    return remove(path);
}

void fake_proc_close(struct fake_proc *fake)
{
    assert_int_equal(nftw(fake->directory, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

static void path_of(const struct fake_proc *fake, const char *path, char ret[512])
{
    int len = snprintf(ret, 512, "%s/%s", fake->directory, path);
    assert_in_range(len, 1, 511);
}

void fake_proc_write(const struct fake_proc *fake, const char *path, const char *text)
{
    char whole[512];
    path_of(fake, path, whole);
    for (char *at = strchr(whole + 1, '/'); at != NULL; at = strchr(at + 1, '/')) {
        *at = '\0';
        assert_true(mkdir(whole, 0700) == 0 || errno == EEXIST);
        *at = '/';
    }
    /* Whoever reads it at that moment finds what was there or this, and never nothing. */
    int fd = open(whole, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(ftruncate(fd, (off_t)strlen(text)), 0);
    assert_int_equal(close(fd), 0);
}

void fake_proc_remove(const struct fake_proc *fake, const char *path)
{
    char whole[512];
    path_of(fake, path, whole);
    assert_int_equal(remove(whole), 0);
}

void fake_proc_stat(const struct fake_proc *fake, const char *path, char state, unsigned faults,
                    unsigned user_ticks, unsigned system_ticks, unsigned start_ticks)
{
    char text[512];
    (void)snprintf(text, sizeof text,
                   "12 (a) b) %c 1 12 12 0 -1 4194304 %u 7 0 8 %u %u 3 4 20 0 1 0 %u 123 45\n",
                   state, faults, user_ticks, system_ticks, start_ticks);
    fake_proc_write(fake, path, text);
}

pid_t child_start(void (*act)(void *arg), void *arg)
{
    pid_t parent = getpid();
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        while (getppid() == parent) {
            act(arg);
        }
        _exit(0);
    }
    return child;
}

void child_end(pid_t child)
{
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
}
