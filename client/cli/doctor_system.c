#include "cli/doctor_system.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "base/num.h"
#include "cli/answer.h"
#include "cli/figure.h"

enum {
    PATH_MAX_BYTES = 4096,
    TEXT_MAX = 4096,       /* of a file of proc or a cgroup */
    LEVELS_MAX = 16,       /* of cgroups above one another; systemd makes 4 or so */
    DGRAM_QLEN_LEAST = 64, /* datagrams: a burst that a StatsD client sends at once */
    BACKLOG_MOST = 4096,   /* connections that dwelld asks the kernel to let wait */
    THROTTLED_LEAST = 10,  /* periods, so that a start is not held against it */
};

#define MEMORY_NEARLY  0.8  /* of the limit */
#define THROTTLED_MUCH 0.05 /* of all periods */

const struct doctor_roots doctor_roots_real = {"/proc", "/sys/fs/cgroup"};

/* --- looking ----------------------------------------------------------------------------------- */

/* A small file, terminated; false: it cannot be read. */
static bool read_text(const char *path, char text[TEXT_MAX])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    ssize_t len = read(fd, text, TEXT_MAX - 1);
    (void)close(fd); /* was only read */
    text[len > 0 ? len : 0] = '\0';
    return len > 0;
}

static bool read_at(const char *dir, const char *name, char text[TEXT_MAX])
{
    char path[PATH_MAX_BYTES];
    int len = snprintf(path, sizeof path, "%s/%s", dir, name);
    return len >= 0 && len < PATH_MAX_BYTES && read_text(path, text);
}

/* The number that a text begins with; NaN: none, as of "max" and "-1". */
static double number_at(const char *text)
{
    uint64_t number;
    struct str digits = {text, strspn(text, "0123456789")};
    return digits.len > 0 && num_read_u64(digits, &number) == 0 ? (double)number : (double)NAN;
}

static double read_number(const char *dir, const char *name)
{
    char text[TEXT_MAX];
    return read_at(dir, name, text) ? number_at(text) : (double)NAN;
}

/* The figure behind a name at the beginning of a line, as in "nr_throttled 12". */
static double read_named(const char *dir, const char *file, const char *name)
{
    char text[TEXT_MAX];
    size_t len = strlen(name);
    if (!read_at(dir, file, text)) {
        return (double)NAN;
    }
    for (const char *line = text; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n' ? 1 : 0;
        if (strncmp(line, name, len) == 0 && line[len] == ' ') {
            return number_at(line + len + 1);
        }
        if (*line == '\0') {
            break;
        }
    }
    return (double)NAN;
}

/* True when `name` is among the controllers "cpu,cpuacct" up to a colon. */
static bool has_controller(const char *list, const char *name)
{
    size_t len = strlen(name);
    for (;;) {
        size_t one = strcspn(list, ",:\n");
        if (one == len && strncmp(list, name, len) == 0) {
            return true;
        }
        if (list[one] != ',') {
            return false;
        }
        list += one + 1;
    }
}

/* The directory of a process's cgroup: of /proc/PID/cgroup the line with the controller ("": version 2),
 * below `root`. Where the path cannot be seen, as from a namespace, the root itself is all there is. */
static bool find_cgroup(const char *lines, const char *root, const char *controller,
                        char ret_dir[PATH_MAX_BYTES])
{
    for (const char *line = lines; line != NULL && *line != '\0'; line = strchr(line, '\n')) {
        line += *line == '\n' ? 1 : 0;
        const char *list = strchr(line, ':');
        if (list == NULL) {
            break;
        }
        list++;
        const char *path = list + strcspn(list, ":\n");
        if (path[0] != ':' || path[1] != '/' || !has_controller(list, controller)) {
            continue;
        }
        int len =
            snprintf(ret_dir, PATH_MAX_BYTES, "%s%s%s%.*s", root, controller[0] == '\0' ? "" : "/",
                     controller, (int)strcspn(path + 1, "\n"), path + 1);
        if (len < 0 || len >= PATH_MAX_BYTES) {
            return false;
        }
        if (access(ret_dir, F_OK) != 0) {
            (void)snprintf(ret_dir, PATH_MAX_BYTES, "%s%s%s", root,
                           controller[0] == '\0' ? "" : "/", controller); /* shorter than before */
        }
        return access(ret_dir, F_OK) == 0;
    }
    return false;
}

static void keep_least(double *least, double number)
{
    if (isfinite(number) && !(number >= *least)) { /* also when none is known yet */
        *least = number;
    }
}

/* One level of version 2, and of version 1, whose files are other ones in directories of their own. */
static void look_at_memory(struct doctor_system *system, const char *dir)
{
    double limit = read_number(dir, "memory.limit_in_bytes");
    keep_least(&system->memory_limit, read_number(dir, "memory.max"));
    keep_least(&system->memory_limit, limit < 0x1p60 ? limit : (double)NAN); /* more is none */
}

static void look_at_quota(struct doctor_system *system, const char *dir)
{
    char text[TEXT_MAX];
    double quota = (double)NAN;
    double period = (double)NAN;
    if (read_at(dir, "cpu.max", text)) {
        quota = number_at(text);
        period = number_at(text + strcspn(text, " ") + (strchr(text, ' ') != NULL ? 1 : 0));
    } else {
        quota = read_number(dir, "cpu.cfs_quota_us");
        period = read_number(dir, "cpu.cfs_period_us");
    }
    if (period > 0 && isfinite(quota)) {
        double before = system->cpu_quota;
        keep_least(&system->cpu_quota, quota / period);
        if (!(system->cpu_quota >= before)) {
            system->periods = read_named(dir, "cpu.stat", "nr_periods");
            system->throttled_periods = read_named(dir, "cpu.stat", "nr_throttled");
        }
    }
}

/* From a cgroup up to the root. */
static void climb(struct doctor_system *system, char dir[PATH_MAX_BYTES], size_t root_len,
                  void (*look)(struct doctor_system *system, const char *dir))
{
    for (unsigned level = 0; level < LEVELS_MAX; level++) {
        look(system, dir);
        char *slash = strrchr(dir, '/');
        if (slash == NULL || (size_t)(slash - dir) < root_len) {
            return;
        }
        *slash = '\0';
    }
}

static void look_at_cgroup(struct doctor_system *system, const struct doctor_roots *roots,
                           const char *lines)
{
    char dir[PATH_MAX_BYTES];
    size_t root_len = strlen(roots->cgroup);
    bool split = find_cgroup(lines, roots->cgroup, "memory", dir);
    if (split || find_cgroup(lines, roots->cgroup, "", dir)) {
        double kills = read_named(dir, "memory.events", "oom_kill");
        system->memory_kills =
            isfinite(kills) ? kills : read_named(dir, "memory.oom_control", "oom_kill");
        system->has_cgroup = true;
        climb(system, dir, root_len, look_at_memory);
    }
    if (find_cgroup(lines, roots->cgroup, split ? "cpu" : "", dir)) {
        climb(system, dir, root_len, look_at_quota);
    }
}

void doctor_system_look(struct doctor_system *system, const struct doctor_roots *roots, int64_t pid)
{
    char dir[PATH_MAX_BYTES];
    char text[TEXT_MAX];
    *system = (struct doctor_system){.memory_limit = NAN,
                                     .memory_kills = NAN,
                                     .cpu_quota = NAN,
                                     .periods = NAN,
                                     .throttled_periods = NAN};
    system->somaxconn = (read_number(roots->proc, "sys/net/core/somaxconn"));
    system->dgram_qlen = (read_number(roots->proc, "sys/net/unix/max_dgram_qlen"));
    system->cpus = (double)sysconf(_SC_NPROCESSORS_ONLN);
    (void)snprintf(dir, sizeof dir, "%s/%lld", roots->proc, (long long)pid); /* ours are short */
    /* In another namespace the number is somebody else's. */
    if (pid > 0 && read_at(dir, "comm", text) && strcmp(text, "dwelld\n") == 0 &&
        read_at(dir, "cgroup", text)) {
        look_at_cgroup(system, roots, text);
    }
}

/* --- judging ----------------------------------------------------------------------------------- */

static void judge_backlog(const struct doctor_system *system, const json_t *root,
                          struct findings *findings)
{
    double most = answer_limit(root, "ingest.max_connections");
    if (isfinite(system->somaxconn)) {
        struct finding *finding = finding_add(findings, "backlog");
        figure_count(&finding->found, system->somaxconn);
        finding_say(finding, " connections may wait to be taken (net.core.somaxconn)");
        if (system->somaxconn < BACKLOG_MOST && system->somaxconn < most) {
            finding_say(finding, ", fewer than may come at once");
            finding_mend(finding, FINDING_WARN, "sysctl -w net.core.somaxconn=%d", BACKLOG_MOST);
        }
    }
    if (isfinite(system->dgram_qlen)) {
        double came = answer_number(root, "counters.datagrams_total");
        struct finding *finding = finding_add(findings, "datagrams");
        figure_count(&finding->found, system->dgram_qlen);
        finding_say(finding, " may wait to be read (net.unix.max_dgram_qlen), ");
        if (came > 0) {
            figure_count(&finding->found, came);
            finding_say(finding, " came");
        } else {
            finding_say(finding, "none came");
        }
        if (came > 0 && system->dgram_qlen < DGRAM_QLEN_LEAST) {
            finding_mend(finding, FINDING_WARN,
                         "sysctl -w net.unix.max_dgram_qlen=512, and restart dwelld: a sender in a "
                         "burst finds no room");
        }
    }
}

static void judge_memory(const struct doctor_system *system, const json_t *root,
                         struct findings *findings)
{
    double used = answer_number(root, "rss_bytes");
    struct finding *finding = finding_add(findings, "memory");
    figure_bytes(&finding->found, used);
    if (!system->has_cgroup) {
        finding_say(finding, "; its cgroup cannot be seen from here");
        finding->state = FINDING_UNKNOWN;
        return;
    }
    if (isfinite(system->memory_limit)) {
        finding_say(finding, " of at most ");
        figure_bytes(&finding->found, system->memory_limit);
    } else {
        finding_say(finding, ", without a limit of its cgroup's");
    }
    if (system->memory_kills > 0) { /* perhaps others, and perhaps long ago */
        finding_say(finding, "; the kernel ended %.0f of its cgroup for it", system->memory_kills);
    }
    if (used > MEMORY_NEARLY * system->memory_limit) {
        finding_mend(finding, FINDING_WARN,
                     "Raise MemoryMax=, or the container's limit; or lower metrics.max_series and "
                     "profiling.max_models");
    }
}

static void judge_cpu(const struct doctor_system *system, struct findings *findings)
{
    if (!system->has_cgroup) {
        return; /* said of its memory */
    }
    struct finding *finding = finding_add(findings, "cpu");
    if (!isfinite(system->cpu_quota)) {
        finding_say(finding, "no quota, %.0f CPUs", system->cpus);
        return;
    }
    finding_say(finding, "a quota of %.3g CPUs", system->cpu_quota);
    if (system->throttled_periods >= 0 && system->periods > 0) {
        finding_say(finding, ", which held it in ");
        figure_count(&finding->found, system->throttled_periods);
        finding_say(finding, " of ");
        figure_plural(&finding->found, system->periods, "period", "periods");
    }
    if (system->throttled_periods >= THROTTLED_LEAST &&
        system->throttled_periods > THROTTLED_MUCH * system->periods) {
        finding_mend(finding, FINDING_WARN, "Raise CPUQuota=, or the container's limit of CPU");
    }
}

void doctor_system_judge(const struct doctor_system *system, const json_t *root,
                         struct findings *findings)
{
    judge_backlog(system, root, findings);
    judge_memory(system, root, findings);
    judge_cpu(system, findings);
}
