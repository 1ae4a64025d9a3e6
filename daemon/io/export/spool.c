/*
 * Happy path
 *   1. spool_open    the directory is ours alone, the lock is taken, files are looked at by their
 *                    headers and sorted by their names
 *   2. spool_put     makes room, writes NAME.tmp, syncs it, renames it, syncs the directory
 *   3. spool_read    the oldest: header and checksum are compared with the bytes
 *   4. spool_remove  it was sent
 *
 * What can fail, and where it ends
 *   the directory is not ours, or locked   spool_open fails; there is no spool
 *   a file is cut or changed               set aside as NAME.damaged, counted
 *   a file of a later version, or no file
 *   of the spool at all                    left alone, told once
 *   the disk is full, read-only, broken    spool_put fails, nothing is left behind; the caller keeps
 *                                          what it has and tries again
 *   the directory is removed               the next spool_put makes it again; its files are counted
 *                                          as vanished when they are looked for
 *   kill -9 while a file is written        NAME.tmp is removed by the next start
 */
#include "io/export/spool.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/export/spool_directory.h"
#include "io/export/spool_name.h"

enum {
    FIRST_ENTRIES = 16,
    LOG_LINES = 3,
    LOG_PERIOD_S = 60,
};

struct entry {
    uint64_t sequence;
    uint64_t count; /* items that are still to be sent */
    uint64_t bytes; /* of the file */
};

struct spool {
    struct spool_options options;
    struct spool_calls calls;
    char *path; /* owned */
    struct spool_directory directory;
    struct entry *entries; /* owned; the oldest at `head`, account.files of them */
    size_t head, cap;
    uint64_t next;
    unsigned damaged_kept;
    struct spool_account account;
    struct log_limit failures;
    uint64_t failed; /* operations since the last one that went well */
};

static ssize_t system_write(int fd, const void *bytes, size_t len)
{
    return write(fd, bytes, len);
}

static const struct spool_calls system_calls = {system_write, fsync, renameat};

static struct spool_name name_of(const struct spool *spool, uint64_t sequence, const char *ending)
{
    return spool_name_of(sequence, spool->options.signal, ending);
}

/* --- what the log is told ---------------------------------------------------------------------- */

static int tell_failure(struct spool *spool, const char *what, const char *name, int error)
{
    spool->account.failures++;
    spool->account.works = false;
    spool->failed++;
    log_limited(&spool->failures, "spool %s: cannot %s %s: %s", spool->path, what, name,
                strerror(error));
    return ERR_SYSTEM;
}

static void tell_success(struct spool *spool)
{
    if (spool->failed > 0) {
        log_limit_end(&spool->failures);
        log_info("spool %s: works again after %llu failures", spool->path,
                 (unsigned long long)spool->failed);
        spool->failed = 0;
    }
    spool->account.works = true;
}

/* --- the directory ----------------------------------------------------------------------------- */

/* Makes the directory again when it has been removed. */
static int attach_again(struct spool *spool)
{
    if (!spool_directory_is_gone(&spool->directory)) {
        return 0;
    }
    struct buf problem;
    buf_init(&problem, 2 * SPOOL_PATH_MAX);
    spool_directory_close(&spool->directory);
    int err = spool_directory_open(&spool->directory, spool->path, spool->options.signal, &problem);
    if (err != 0) {
        spool->account.failures++;
        spool->account.works = false;
        spool->failed++;
        log_limited(&spool->failures, "spool %.*s", (int)problem.len,
                    problem.len == 0 ? "" : problem.data);
    } else {
        log_warning("spool %s: was removed, and is made again", spool->path);
    }
    buf_fini(&problem);
    return err;
}

/* --- the list of files ------------------------------------------------------------------------- */

/* Room for one more entry. Returns 0 or ERR_NOMEM. */
static int reserve_entry(struct spool *spool)
{
    size_t count = (size_t)spool->account.files;
    if (spool->head + count < spool->cap) {
        return 0;
    }
    if (spool->head > count) { /* more than half is free at the front */
        memmove(spool->entries, spool->entries + spool->head, count * sizeof *spool->entries);
        spool->head = 0;
        return 0;
    }
    size_t cap = spool->cap == 0 ? FIRST_ENTRIES : 2 * spool->cap;
    struct entry *entries = mem_realloc(spool->entries, cap * sizeof *entries);
    if (entries == NULL) {
        return ERR_NOMEM;
    }
    spool->entries = entries;
    spool->cap = cap;
    return 0;
}

/* There must be room. */
static void append(struct spool *spool, const struct entry *entry)
{
    spool->entries[spool->head + (size_t)spool->account.files] = *entry;
    spool->account.files++;
    spool->account.items += entry->count;
    spool->account.bytes += entry->bytes;
}

static struct entry *oldest(const struct spool *spool)
{
    return &spool->entries[spool->head];
}

static void forget_oldest(struct spool *spool)
{
    spool->account.items -= oldest(spool)->count;
    spool->account.bytes -= oldest(spool)->bytes;
    spool->account.files--;
    spool->head = spool->account.files == 0 ? 0 : spool->head + 1;
}

static int compare_entries(const void *a, const void *b)
{
    const struct entry *left = a;
    const struct entry *right = b;
    return left->sequence < right->sequence ? -1 : left->sequence > right->sequence;
}

/* --- looking at a file ------------------------------------------------------------------------- */

enum look { LOOK_WHOLE, LOOK_DAMAGED, LOOK_FOREIGN, LOOK_UNREADABLE };

/* Reads so many bytes, or up to the end. Returns their number, or -1. */
static ssize_t read_all(int fd, char *bytes, size_t len)
{
    size_t done = 0;
    while (done < len) {
        ssize_t got = read(fd, bytes + done, len - done);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return got < 0 ? -1 : (ssize_t)done;
        }
        done += (size_t)got;
    }
    return (ssize_t)done;
}

/* Opens a file and reads its header. On LOOK_WHOLE the descriptor is behind it, and the caller's. In
 * LOOK_DAMAGED the header has the count as far as it is known, else 0. */
static enum look open_file(const struct spool *spool, const char *name, int *ret_fd,
                           struct spool_header *ret_header)
{
    char bytes[SPOOL_HEADER_BYTES];
    struct stat st;
    struct spool_header header = {0};
    enum look look = LOOK_UNREADABLE;
    int fd = openat(spool->directory.fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) {
        return errno == ELOOP ? LOOK_FOREIGN : LOOK_UNREADABLE;
    }
    if (fstat(fd, &st) != 0) {
        goto out;
    }
    if (!S_ISREG(st.st_mode)) {
        look = LOOK_FOREIGN;
        goto out;
    }
    ssize_t got = read_all(fd, bytes, sizeof bytes);
    if (got < 0) {
        look = errno == EIO ? LOOK_DAMAGED : LOOK_UNREADABLE;
        goto out;
    }
    int err = got < SPOOL_HEADER_BYTES ? ERR_SYNTAX : spool_file_read(bytes, &header);
    if (err == ERR_UNSUPPORTED) {
        look = LOOK_FOREIGN;
    } else if (err != 0 || header.signal != spool->options.signal ||
               (uint64_t)st.st_size != SPOOL_HEADER_BYTES + header.length) {
        look = LOOK_DAMAGED;
    } else {
        look = LOOK_WHOLE;
    }
out:
    *ret_header = header;
    if (look == LOOK_WHOLE) {
        *ret_fd = fd;
    } else {
        (void)close(fd); /* was only read */
    }
    return look;
}

/* Names it .damaged, or removes it when enough of them are kept. */
static void set_aside(struct spool *spool, uint64_t sequence, uint64_t count)
{
    struct spool_name name = name_of(spool, sequence, "");
    struct spool_name aside = name_of(spool, sequence, ".damaged");
    spool->account.damaged += count;
    spool->account.damaged_files++;
    bool keeps = spool->damaged_kept < SPOOL_DAMAGED_MAX;
    spool->damaged_kept += keeps;
    int err =
        keeps ? spool->calls.rename(spool->directory.fd, name.text, spool->directory.fd, aside.text)
              : unlinkat(spool->directory.fd, name.text, 0);
    if (err != 0) {
        (void)tell_failure(spool, keeps ? "set aside" : "remove", name.text, errno);
    }
    log_limited(&spool->failures, "spool %s: %s is damaged%s, %llu spans or points are lost",
                spool->path, name.text, keeps ? " and set aside" : " and removed",
                (unsigned long long)count);
}

/* --- the start --------------------------------------------------------------------------------- */

struct survey {
    uint64_t foreign;
    uint64_t unreadable;
    uint64_t too_many;
    char example[NAME_MAX + 1]; /* of what is left alone */
};

static void leave_alone(struct survey *survey, uint64_t *count, const char *name)
{
    if (survey->example[0] == '\0') {
        (void)snprintf(survey->example, sizeof survey->example, "%s", name);
    }
    (*count)++;
}

/* Returns 0 or ERR_NOMEM. */
static int survey_file(struct spool *spool, const char *name, uint64_t sequence,
                       struct survey *survey)
{
    struct spool_header header;
    int fd;
    if (spool->account.files == SPOOL_FILES_MAX) {
        leave_alone(survey, &survey->too_many, name);
        return 0;
    }
    switch (open_file(spool, name, &fd, &header)) {
    case LOOK_WHOLE:
        (void)close(fd); /* was only read */
        if (reserve_entry(spool) != 0) {
            return ERR_NOMEM;
        }
        append(spool, &(struct entry){sequence, header.count, SPOOL_HEADER_BYTES + header.length});
        spool->account.found += header.count;
        break;
    case LOOK_DAMAGED:
        spool->account.found += header.count;
        set_aside(spool, sequence, header.count);
        break;
    case LOOK_FOREIGN:
        leave_alone(survey, &survey->foreign, name);
        break;
    case LOOK_UNREADABLE:
        leave_alone(survey, &survey->unreadable, name);
        break;
    }
    return 0;
}

/* Returns 0 or ERR_NOMEM. */
static int survey_name(struct spool *spool, const char *name, struct survey *survey)
{
    uint64_t sequence = 0;
    enum spool_kind kind = spool_name_read(name, spool->options.signal, &sequence);
    int err = 0;
    switch (kind) {
    case SPOOL_KIND_FILE:
        err = survey_file(spool, name, sequence, survey);
        break;
    case SPOOL_KIND_UNFINISHED:
        if (unlinkat(spool->directory.fd, name, 0) != 0) {
            leave_alone(survey, &survey->unreadable, name);
        }
        break;
    case SPOOL_KIND_DAMAGED:
        spool->damaged_kept++;
        break;
    case SPOOL_KIND_FOREIGN:
        if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0) {
            leave_alone(survey, &survey->foreign, name);
        }
        return 0;
    case SPOOL_KIND_OF_OTHERS:
    case SPOOL_KIND_LOCK:
        return 0;
    }
    /* Names are never used again, also not those of files that are left alone. */
    spool->next = sequence >= spool->next ? sequence + 1 : spool->next;
    return err;
}

static void tell_survey(const struct spool *spool, const struct survey *survey)
{
    const struct spool_account *account = &spool->account;
    if (account->files > 0) {
        log_info("spool %s: %llu %s files with %llu spans or points wait to be sent", spool->path,
                 (unsigned long long)account->files, spool_signal_name(spool->options.signal),
                 (unsigned long long)account->items);
    }
    if (survey->foreign + survey->unreadable + survey->too_many > 0) {
        log_warning("spool %s: %llu entries that are not dwelld's, %llu that cannot be used and "
                    "%llu above the ceiling are left alone, such as %s",
                    spool->path, (unsigned long long)survey->foreign,
                    (unsigned long long)survey->unreadable, (unsigned long long)survey->too_many,
                    survey->example);
    }
}

static int make_room(struct spool *spool, uint64_t bytes, uint64_t files);

/* Returns 0, ERR_SYSTEM with a sentence, or ERR_NOMEM. */
static int survey_directory(struct spool *spool, struct buf *problem)
{
    struct survey survey = {0};
    struct dirent *found;
    int err = 0;
    int fd = openat(spool->directory.fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = fd < 0 ? NULL : fdopendir(fd);
    if (stream == NULL) {
        buf_printf(problem, "%s: %s", spool->path, strerror(errno));
        if (fd >= 0) {
            (void)close(fd); /* was not read */
        }
        return ERR_SYSTEM;
    }
    while (err == 0 && (errno = 0, found = readdir(stream)) != NULL) {
        err = survey_name(spool, found->d_name, &survey);
    }
    if (err == 0 && errno != 0) {
        buf_printf(problem, "%s: %s", spool->path, strerror(errno));
        err = ERR_SYSTEM;
    }
    (void)closedir(stream); /* was only read */
    if (err != 0) {
        return err;
    }
    if (spool->account.files > 0) {
        qsort(spool->entries, (size_t)spool->account.files, sizeof *spool->entries,
              compare_entries);
    }
    tell_survey(spool, &survey);
    (void)make_room(spool, 0, 0); /* the ceilings may be lower than they were; else with a put */
    return 0;
}

int spool_open(const struct spool_options *options, struct buf *problem, struct spool **ret_spool)
{
    struct spool *spool = mem_zalloc(1, sizeof *spool);
    if (spool == NULL) {
        return ERR_NOMEM;
    }
    struct buf path;
    buf_init(&path, SPOOL_PATH_MAX);
    buf_puts(&path, options->path);
    spool->options = *options;
    spool->calls = options->calls == NULL ? system_calls : *options->calls;
    spool->path = buf_steal(&path);
    spool->options.path = spool->path;
    spool->directory = SPOOL_DIRECTORY_CLOSED;
    spool->next = 1;
    spool->account.works = true;
    spool->account.max_bytes = options->max_bytes;
    log_limit_init(&spool->failures, LOG_LEVEL_WARNING, "failures of the spool", LOG_LINES,
                   LOG_PERIOD_S * NS_PER_SECOND);
    int err = spool->path == NULL ? ERR_NOMEM
                                  : spool_directory_open(&spool->directory, spool->path,
                                                         spool->options.signal, problem);
    if (err == 0) {
        err = survey_directory(spool, problem);
    }
    if (err != 0) {
        spool_close(spool);
        return err;
    }
    *ret_spool = spool;
    return 0;
}

void spool_close(struct spool *spool)
{
    if (spool != NULL) {
        log_limit_end(&spool->failures);
        spool_directory_close(&spool->directory);
        mem_free(spool->entries);
        mem_free(spool->path);
        mem_free(spool);
    }
}

const struct spool_account *spool_get_account(const struct spool *spool)
{
    return &spool->account;
}

/* --- keeping ----------------------------------------------------------------------------------- */

/* Gives up the oldest files until so much more fits. Returns 0, or ERR_SYSTEM when one stays. */
static int make_room(struct spool *spool, uint64_t bytes, uint64_t files)
{
    while (spool->account.files > 0 && (spool->account.files + files > spool->options.max_files ||
                                        spool->account.bytes + bytes > spool->options.max_bytes)) {
        struct spool_name name = name_of(spool, oldest(spool)->sequence, "");
        if (unlinkat(spool->directory.fd, name.text, 0) == 0) {
            spool->account.given_up += oldest(spool)->count;
            log_limited(&spool->failures,
                        "spool %s: is full; %s with %llu spans or points is "
                        "given up",
                        spool->path, name.text, (unsigned long long)oldest(spool)->count);
        } else if (errno == ENOENT) {
            spool->account.vanished += oldest(spool)->count;
        } else {
            return tell_failure(spool, "remove", name.text, errno);
        }
        forget_oldest(spool);
    }
    return 0;
}

/* Returns 0 or an errno value. */
static int write_all(const struct spool *spool, int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t written = spool->calls.write(fd, bytes, len);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            return written < 0 ? errno : EIO;
        }
        bytes += written;
        len -= (size_t)written;
    }
    return 0;
}

/* Returns 0 or an errno value. */
static int write_file(const struct spool *spool, const char *name, struct str request,
                      uint64_t count, bool durable)
{
    char header[SPOOL_HEADER_BYTES];
    spool_file_write(&(struct spool_header){.signal = spool->options.signal,
                                            .count = count,
                                            .length = request.len,
                                            .hash = spool_file_hash(request)},
                     header);
    int fd = openat(spool->directory.fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                    0600);
    if (fd < 0) {
        return errno;
    }
    int error = write_all(spool, fd, header, sizeof header);
    if (error == 0) {
        error = write_all(spool, fd, request.ptr, request.len);
    }
    if (error == 0 && durable && spool->calls.sync(fd) != 0) {
        error = errno;
    }
    if (close(fd) != 0 && error == 0) {
        error = errno; /* network file systems tell of a full disk here */
    }
    return error;
}

int spool_put(struct spool *spool, struct str request, uint64_t count, bool durable)
{
    uint64_t bytes = SPOOL_HEADER_BYTES + (uint64_t)request.len;
    if (request.len > SPOOL_REQUEST_MAX || bytes > spool->options.max_bytes ||
        spool->next > SPOOL_SEQUENCE_MAX) {
        return ERR_LIMIT;
    }
    assert(count <= request.len); /* every item takes a byte */
    int err = attach_again(spool);
    if (err == 0) {
        err = reserve_entry(spool);
    }
    if (err == 0) {
        err = make_room(spool, bytes, 1);
    }
    if (err != 0) {
        return err;
    }
    uint64_t sequence = spool->next++;
    struct spool_name unfinished = name_of(spool, sequence, ".tmp");
    struct spool_name name = name_of(spool, sequence, "");
    int error = write_file(spool, unfinished.text, request, count, durable);
    if (error == 0 && spool->calls.rename(spool->directory.fd, unfinished.text, spool->directory.fd,
                                          name.text) != 0) {
        error = errno;
    }
    if (error != 0) {
        (void)unlinkat(spool->directory.fd, unfinished.text, 0); /* else by the next start */
        return tell_failure(spool, "write", name.text, error);
    }
    if (durable && spool->calls.sync(spool->directory.fd) != 0) {
        error = errno;
        (void)unlinkat(spool->directory.fd, name.text, 0); /* else the next start finds it */
        return tell_failure(spool, "sync the directory after", name.text, error);
    }
    append(spool, &(struct entry){sequence, count, bytes});
    tell_success(spool);
    log_limit_tick(&spool->failures);
    return 0;
}

/* --- giving back ------------------------------------------------------------------------------- */

uint64_t spool_oldest(const struct spool *spool)
{
    return spool->account.files == 0 ? 0 : oldest(spool)->sequence;
}

uint64_t spool_oldest_items(const struct spool *spool)
{
    return spool->account.files == 0 ? 0 : oldest(spool)->count;
}

/* True when a file itself may be whole, though it cannot be read now. */
static bool is_passing(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOMEM;
}

/* The bytes behind a header that is whole. Returns 0, ERR_SYNTAX, ERR_SYSTEM or ERR_NOMEM. */
static int read_request(int fd, const struct spool_header *header, struct buf *bytes)
{
    buf_clear(bytes);
    char *room = buf_reserve(bytes, (size_t)header->length + 1);
    if (room == NULL) {
        return ERR_NOMEM;
    }
    ssize_t got = read_all(fd, room, (size_t)header->length);
    if (got < 0) {
        return is_passing(errno) ? ERR_SYSTEM : ERR_SYNTAX;
    }
    bytes->len = (size_t)got;
    struct str request = {bytes->data, bytes->len};
    return (uint64_t)got == header->length && spool_file_hash(request) == header->hash ? 0
                                                                                       : ERR_SYNTAX;
}

int spool_read(struct spool *spool, struct buf *bytes, struct str *ret_request)
{
    struct spool_name name = name_of(spool, oldest(spool)->sequence, "");
    struct spool_header header;
    int fd;
    int err = 0;
    enum look look = open_file(spool, name.text, &fd, &header);
    int error = errno;
    if (look == LOOK_WHOLE) {
        err = read_request(fd, &header, bytes);
        error = errno;
        (void)close(fd); /* was only read */
    } else if (look != LOOK_UNREADABLE) {
        err = ERR_SYNTAX;
    } else if (error == ENOENT || spool->directory.fd < 0) {
        spool->account.vanished += oldest(spool)->count;
        log_limited(&spool->failures, "spool %s: %s has vanished; %llu spans or points are lost",
                    spool->path, name.text, (unsigned long long)oldest(spool)->count);
        forget_oldest(spool);
        return ERR_SYNTAX;
    } else {
        err = is_passing(error) ? ERR_SYSTEM : ERR_SYNTAX;
    }
    if (err == ERR_SYNTAX) {
        set_aside(spool, oldest(spool)->sequence, oldest(spool)->count);
        forget_oldest(spool);
    } else if (err == ERR_SYSTEM) {
        (void)tell_failure(spool, "read", name.text, error);
    } else if (err == 0) {
        *ret_request = (struct str){bytes->data, bytes->len};
    }
    return err;
}

void spool_take_off(struct spool *spool, uint64_t count)
{
    uint64_t there = oldest(spool)->count;
    uint64_t taken = count < there ? count : there;
    oldest(spool)->count -= taken;
    spool->account.items -= taken;
}

void spool_remove(struct spool *spool)
{
    struct spool_name name = name_of(spool, oldest(spool)->sequence, "");
    if (unlinkat(spool->directory.fd, name.text, 0) != 0 && errno != ENOENT) {
        (void)tell_failure(spool, "remove", name.text, errno);
    }
    forget_oldest(spool);
}
