/*
 * Happy path of a daemon of our own
 *  1. a directory that is ours alone is made
 *  2. the child becomes dwelld, with its log in that directory
 *  3. its ingest.sock takes a connection: it is there
 *  4. samples are sent, a question is asked (elsewhere)
 *  5. SIGTERM, and the directory goes
 *
 * What can fail: there is no dwelld, it ends at once (the last line of its log says why), it is not there
 * in time. Each is a sentence; a run can go on without it.
 */
#include "cli/bench_daemon.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/answer.h"
#include "cli/fetch.h"
#include "cli/model.h"
#include "cli/text.h"

enum {
    PATH_BYTES_MAX = 4096,
    LOG_BYTES = 4096,   /* of its end */
    TEMPLATE_ROOM = 64, /* of a directory, so that sockets' names fit behind it */
};

/* What would make a daemon of ours another than the built-in one. */
static const char *const foreign[] = {
    "DWELL_",         "OTEL_",   "ENVIRONMENT=", "CONSTITUTIONAL_HASH=",
    "NOTIFY_SOCKET=", "LISTEN_", "WATCHDOG_",    "RUNTIME_DIRECTORY=",
};

static bool listens(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool good = fd >= 0 && (connect(fd, (const struct sockaddr *)address, sizeof *address) == 0 ||
                            errno == EAGAIN); /* its queue is full: it is there */
    if (fd >= 0) {
        (void)close(fd); /* it holds nothing */
    }
    return good;
}

static void address_set(struct sockaddr_un *address, const char path[PLACE_BYTES])
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    _Static_assert(sizeof address->sun_path == PLACE_BYTES, "a place fits");
    memcpy(address->sun_path, path, PLACE_BYTES);
}

int daemon_find(struct daemon *daemon, const char *dir, struct buf *problem)
{
    struct place_world world;
    char ingest[PLACE_BYTES] = "";
    *daemon = (struct daemon){0};
    place_system(&world);
    int status = place_find(&world, dir, "ingest.sock", ingest, problem);
    if (status == 0) {
        status = place_find(&world, dir, "query.sock", daemon->query, problem);
    }
    if (status == EX_UNAVAILABLE) {
        buf_clear(problem); /* there is none, which is no problem */
        return 0;
    }
    if (status == 0) {
        address_set(&daemon->ingest, ingest);
        daemon->is_there = listens(&daemon->ingest);
    }
    return status;
}

/* --- our own ----------------------------------------------------------------------------------- */

/* $TMPDIR when sockets can have such paths, else /tmp. */
static bool directory_make(struct daemon *daemon)
{
    const char *root = getenv("TMPDIR");
    bool fits = root != NULL && root[0] == '/' && strlen(root) < TEMPLATE_ROOM;
    (void)snprintf(daemon->directory, sizeof daemon->directory, "%s/dwell-bench-XXXXXX",
                   fits ? root : "/tmp"); /* it fits */
    if (mkdtemp(daemon->directory) == NULL) {
        daemon->directory[0] = '\0';
        return false;
    }
    return true;
}

static void path_in(const struct daemon *daemon, const char *name, char path[PLACE_BYTES])
{
    memset(path, 0, PLACE_BYTES);
    (void)snprintf(path, PLACE_BYTES, "%.80s/%.20s", daemon->directory, name); /* it fits */
}

/* The environment without what is foreign. NULL: no memory. The caller's, but not the texts. */
static char **environment_make(void)
{
    size_t count = 0;
    size_t kept = 0;
    while (environ[count] != NULL) {
        count++;
    }
    char **variables = mem_zalloc(count + 1, sizeof *variables);
    for (size_t i = 0; variables != NULL && i < count; i++) {
        bool is_foreign = false;
        for (size_t k = 0; k < sizeof foreign / sizeof foreign[0]; k++) {
            is_foreign = is_foreign || strncmp(environ[i], foreign[k], strlen(foreign[k])) == 0;
        }
        if (!is_foreign) {
            variables[kept++] = environ[i];
        }
    }
    return variables;
}

/* The path of the dwelld that lies beside this program, or its plain name. */
static void program_find(char path[PATH_BYTES_MAX])
{
    static const char name[] = "dwelld";
    ssize_t len = readlink("/proc/self/exe", path, PATH_BYTES_MAX - sizeof name);
    while (len > 0 && path[len - 1] != '/') {
        len--;
    }
    memcpy(path + (len > 0 ? len : 0), name, sizeof name);
    if (access(path, X_OK) != 0) {
        memcpy(path, name, sizeof name);
    }
}

/* The child's part; it does not return. */
static void become(const char *program, char *const *argv, char *const *variables, int log,
                   pid_t parent)
{
    sigset_t none;
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none,
                      NULL); /* none of these four can fail with what they get */
    (void)signal(SIGINT, SIG_DFL);
    (void)setpgid(0, 0); /* Ctrl-C is for the tool, which asks the daemon afterwards */
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (getppid() == parent && null >= 0 && dup2(null, STDIN_FILENO) >= 0 &&
        dup2(null, STDOUT_FILENO) >= 0 && dup2(log, STDERR_FILENO) >= 0) {
        (void)execvpe(program, argv, variables); /* comes back only when it fails */
        (void)dprintf(STDERR_FILENO, "%s: %s\n", program,
                      strerror(errno)); /* the log is all there is */
    }
    _exit(EX_UNAVAILABLE);
}

static pid_t spawn(const struct daemon *daemon, int log)
{
    char program[PATH_BYTES_MAX];
    char set[] = "--set";
    char directory[PLACE_BYTES + 32];
    char listen[] = "http.listen=127.0.0.1:0";
    char **variables = environment_make();
    pid_t parent = getpid();
    program_find(program);
    (void)snprintf(directory, sizeof directory, "ingest.directory=%s", daemon->directory);
    char *const argv[] = {program, set, directory, set, listen, NULL};
    pid_t pid = variables != NULL ? fork() : -1;
    if (pid == 0) {
        become(program, argv, variables, log, parent);
    }
    mem_free(variables);
    return pid;
}

/* The last line of its log. */
static void put_log(const struct daemon *daemon, struct buf *problem)
{
    char path[PLACE_BYTES];
    char text[LOG_BYTES];
    path_in(daemon, "dwelld.log", path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd >= 0 ? read(fd, text, sizeof text) : 0;
    if (fd >= 0) {
        (void)close(fd); /* it was only read */
    }
    while (len > 0 && text[len - 1] == '\n') {
        len--;
    }
    const char *before = len > 0 ? memrchr(text, '\n', (size_t)len) : NULL;
    size_t at = before != NULL ? (size_t)(before - text) + 1 : 0;
    if (len > 0) {
        buf_puts(problem, ": ");
        text_safe(problem, (struct str){text + at, (size_t)len - at}, true);
    }
}

static int64_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* there is such a clock */
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Waits until it listens; false: it has ended, or the time is over. */
static bool wait_for(struct daemon *daemon)
{
    int64_t end_ms = now_ms() + DAEMON_START_MS;
    struct timespec pause = {.tv_nsec = 2000000};
    while (!listens(&daemon->ingest) || access(daemon->query, F_OK) != 0) {
        if (waitpid(daemon->pid, NULL, WNOHANG) == daemon->pid) {
            daemon->pid = 0;
            return false;
        }
        if (now_ms() >= end_ms) {
            return false;
        }
        (void)nanosleep(&pause, NULL); /* shorter is fine */
    }
    return true;
}

int daemon_start(struct daemon *daemon, struct buf *problem)
{
    char path[PLACE_BYTES];
    *daemon = (struct daemon){0};
    if (!directory_make(daemon)) {
        buf_printf(problem, "cannot make a directory for dwelld: %s", strerror(errno));
        return EX_CANTCREAT;
    }
    path_in(daemon, "dwelld.log", path);
    int log = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    daemon->pid = log >= 0 ? spawn(daemon, log) : -1;
    int reason = errno;
    if (log >= 0) {
        (void)close(log); /* the child has its own */
    }
    if (daemon->pid < 0) {
        buf_printf(problem, "cannot start dwelld: %s", strerror(reason));
        daemon->pid = 0;
        daemon_stop(daemon);
        return EX_OSERR;
    }
    path_in(daemon, "query.sock", daemon->query);
    path_in(daemon, "ingest.sock", path);
    address_set(&daemon->ingest, path);
    daemon->is_there = wait_for(daemon);
    if (!daemon->is_there) {
        buf_puts(problem, "cannot start dwelld");
        put_log(daemon, problem);
        daemon_stop(daemon);
        return EX_UNAVAILABLE;
    }
    return 0;
}

/* What it leaves behind when it is killed, and its log. */
static void directory_remove(struct daemon *daemon)
{
    DIR *directory = opendir(daemon->directory);
    if (directory != NULL) {
        for (const struct dirent *entry = readdir(directory); entry != NULL;
             entry = readdir(directory)) {
            if (entry->d_name[0] != '.') {
                (void)unlinkat(dirfd(directory), entry->d_name, 0); /* rmdir sees */
            }
        }
        (void)closedir(directory); /* it was only read */
    }
    (void)rmdir(daemon->directory); /* there is nobody to tell that a temporary directory stays */
    daemon->directory[0] = '\0';
}

void daemon_stop(struct daemon *daemon)
{
    int64_t end_ms = now_ms() + DAEMON_STOP_MS;
    struct timespec pause = {.tv_nsec = 2000000};
    if (daemon->pid > 0) {
        (void)kill(daemon->pid, SIGTERM); /* it is there: not reaped */
    }
    while (daemon->pid > 0 && waitpid(daemon->pid, NULL, WNOHANG) == 0) {
        if (now_ms() >= end_ms) {
            (void)kill(daemon->pid, SIGKILL); /* likewise */
            (void)waitpid(daemon->pid, NULL, 0);
            break;
        }
        (void)nanosleep(&pause, NULL); /* shorter is fine */
    }
    daemon->pid = 0;
    daemon->is_there = false;
    if (daemon->directory[0] != '\0') {
        directory_remove(daemon);
    }
}

/* --- asking ------------------------------------------------------------------------------------ */

static json_t *read_model(long status, struct str body, const char *path, struct buf *problem)
{
    json_t *root = NULL;
    json_t *model = NULL;
    if (status != 200) {
        (void)answer_refused(path, status, body, problem);
    } else if (answer_read(body, &root, problem) == 0) {
        model = json_incref(json_array_get(json_object_get(root, "models"), 0));
        if (model == NULL) {
            buf_puts(problem, "the daemon does not know the model");
        }
    }
    json_decref(root);
    return model;
}

static json_t *ask_once(const struct daemon *daemon, const char *model_name, double timeout,
                        struct buf *problem)
{
    struct fetch_target target = {.timeout = timeout};
    struct buf path;
    struct str body;
    long status = 0;
    json_t *model = NULL;
    memcpy(target.socket, daemon->query, sizeof target.socket);
    buf_init(&path, 4096); /* a name of 256 bytes, encoded */
    buf_puts(&path, "/api/v1/models?name=");
    fetch_encode(&path, str_of(model_name));
    buf_char(&path, '\0');
    struct fetch *fetch = path.err == 0 ? fetch_open(&target) : NULL;
    if (fetch == NULL) {
        buf_puts(problem, "no memory for a request");
    } else if (fetch_start(fetch, "GET", path.data, problem) == 0) {
        while (!fetch_wait(fetch, -1, 1000)) {
        }
        if (fetch_finish(fetch, &status, &body, problem) == 0) {
            model = read_model(status, body, path.data, problem);
        }
    }
    fetch_close(fetch);
    buf_fini(&path);
    return model;
}

/* Evidence has come, and no round of it has told anything yet: thresholds speak, or nobody. */
static bool is_open(const json_t *model)
{
    const char *rule = answer_text(model, "analysis.rule");
    return (model_rule_is_of_means(rule) || strcmp(rule, "insufficient") == 0) &&
           answer_number(model, "time.inferences") > 0;
}

json_t *daemon_ask(const struct daemon *daemon, const char *model_name, double timeout,
                   struct buf *problem)
{
    int64_t end_ms = now_ms() + DAEMON_JUDGE_MS;
    struct timespec pause = {.tv_nsec = DAEMON_ASK_EVERY_MS * 1000000L};
    json_t *model = ask_once(daemon, model_name, timeout, problem);
    while (is_open(model) && now_ms() < end_ms) {
        (void)nanosleep(&pause, NULL); /* shorter is fine */
        json_decref(model);
        model = ask_once(daemon, model_name, timeout, problem);
    }
    return model;
}
