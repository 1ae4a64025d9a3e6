/*
 * Happy path
 *   1. reload_ask     SIGHUP: a thread begins to read; records go on coming
 *   2. thread_main    reads files, environment, arguments; looks the group up; writes to the eventfd
 *   3. on_readable    the loop joins the thread, which has nothing left to do, and tells the owner
 *   4. when it was asked meanwhile, from the beginning
 *
 * What can fail, and where it ends
 *   no thread, no memory    reload_ask says so; the owner counts a refused reload
 *   a mistake               in news->errors, a line each, and news->err
 *   a disk that hangs       the loop goes on, and SIGHUPs wait; at the end the thread is left behind
 *                           with all that it writes to
 *
 * Two designs were weighed. libuv's pool (uv_queue_work): less code, but its four threads stay for good,
 * and the loop cannot end before their work has: one dead network disk, and the daemon outlives its
 * shutdown.timeout_ms. A thread for one reading can be let go; it wins. A thread that waits from the start
 * would keep a stack in memory for what happens once a month.
 */
#include "io/reload.h"

#include <signal.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "io/directory.h"
#include "io/configuration.h"

enum { CLOSE_WAIT_MS = 100 }; /* many times what a disk takes that answers at all */

/* Of the thread until it has written to the eventfd. */
struct reload_reading {
    const struct conf_command *command;
    int wake_fd;
    struct reload_news news;
};

static int find_group(struct reload_news *news)
{
    const char *name = news->conf.ingest.group;
    news->has_group = name[0] != '\0';
    if (!news->has_group || directory_find_group(name, &news->group, &news->errors) == 0) {
        return 0;
    }
    buf_char(&news->errors, '\n');
    return ERR_SYSTEM;
}

static void *thread_main(void *arg)
{
    struct reload_reading *reading = arg;
    struct reload_news *news = &reading->news;
    uint64_t one = 1;
    news->err = configuration_read(reading->command, &news->conf, &news->families, &news->errors,
                                   &news->warnings);
    if (news->err == 0) {
        news->err = find_group(news);
    }
    ssize_t wrote = write(reading->wake_fd, &one, sizeof one);
    (void)wrote; /* an eventfd takes the first number */
    return NULL;
}

static void free_reading(struct reload_reading *reading)
{
    conf_fini(&reading->news.conf);
    conf_families_fini(&reading->news.families);
    buf_fini(&reading->news.errors);
    buf_fini(&reading->news.warnings);
    mem_free(reading);
}

/* Signals are the loop's. */
static int start_thread(pthread_t *thread, struct reload_reading *reading)
{
    sigset_t all;
    sigset_t before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before); /* fails only for a wrong first argument */
    int reason = pthread_create(thread, NULL, thread_main, reading);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return reason == 0 ? 0 : ERR_SYSTEM;
}

static int begin(struct reload *reload)
{
    struct reload_reading *reading = mem_zalloc(1, sizeof *reading);
    if (reading == NULL) {
        return ERR_NOMEM;
    }
    reading->command = reload->command;
    reading->wake_fd = reload->wake_fd;
    buf_init(&reading->news.errors, CONF_ERRORS_MAX_BYTES);
    buf_init(&reading->news.warnings, CONF_ERRORS_MAX_BYTES);
    int err = start_thread(&reload->thread, reading);
    if (err != 0) {
        free_reading(reading);
        return err;
    }
    reload->reading = reading;
    return 0;
}

/* Asked again while it was read: what came is old already, yet it is good, and it is told. */
static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct reload *reload = poll->data;
    struct reload_reading *reading = reload->reading;
    uint64_t count;
    (void)status;
    (void)events;
    ssize_t got = read(reload->wake_fd, &count, sizeof count);
    if (got != sizeof count || reading == NULL) {
        return; /* an error of the poll: it was woken for nothing */
    }
    (void)pthread_join(reload->thread, NULL); /* it has written, and so it ends */
    reload->reading = NULL;
    reload->told(reload->ctx, &reading->news);
    free_reading(reading);
    if (reload->asked) {
        struct reload_news failed = {.err = 0};
        reload->asked = false;
        failed.err = begin(reload);
        if (failed.err != 0) {
            reload->told(reload->ctx, &failed);
        }
    }
}

int reload_start(struct reload *reload, uv_loop_t *loop, const struct conf_command *command,
                 reload_told_fn told, void *ctx)
{
    int wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    *reload = (struct reload){.command = command, .told = told, .ctx = ctx, .wake_fd = wake_fd};
    if (wake_fd < 0 || uv_poll_init(loop, &reload->poll, wake_fd) != 0) {
        return ERR_SYSTEM;
    }
    reload->poll.data = reload;
    return uv_poll_start(&reload->poll, UV_READABLE, on_readable) == 0 ? 0 : ERR_SYSTEM;
}

int reload_ask(struct reload *reload)
{
    if (reload->reading != NULL) {
        reload->asked = true;
        return 0;
    }
    return begin(reload);
}

static void on_closed(uv_handle_t *handle)
{
    struct reload *reload = handle->data;
    if (reload->wake_fd >= 0) {
        (void)close(reload->wake_fd);
    }
}

/* True when the thread has ended by then. */
static bool ends_soon(const struct reload *reload)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until); /* always exists */
    until.tv_nsec += CLOSE_WAIT_MS * (long)NS_PER_MS;
    until.tv_sec += until.tv_nsec / (long)NS_PER_SECOND;
    until.tv_nsec %= (long)NS_PER_SECOND;
    return pthread_clockjoin_np(reload->thread, NULL, CLOCK_MONOTONIC, &until) == 0;
}

void reload_close(struct reload *reload)
{
    if (reload->reading != NULL && ends_soon(reload)) {
        free_reading(reload->reading);
    } else if (reload->reading != NULL) {
        (void)pthread_detach(reload->thread);
        reload->wake_fd = -1; /* it and all that was read are the thread's, for good */
    }
    reload->reading = NULL;
    uv_close((uv_handle_t *)&reload->poll, on_closed);
}
