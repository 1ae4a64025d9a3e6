/*
 * A spool's directory with any files in it: each of them is read, set aside or left alone, everything
 * that was found is accounted for, and the spool then works as an empty one does.
 *
 *     kind 1 | length 2 | name or bytes | kind 1 | …     of each file; a length has its lowest byte first
 *
 * Bits of the kind: SEALED computes the header's and the request's hashes, which no fuzzer guesses; SIZED
 * writes the length of what follows into the header; METRIC is a file of the other signal; TMP and ASIDE
 * have their endings; NAMED takes the first 24 bytes as its name; PRUNED removes the file after it was
 * found.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "fuzz.h"
#include "io/export/spool.h"
#include "io/export/spool_name.h"
#include "wire_recorder.h"

enum {
    SEALED = 1,
    SIZED = 2,
    METRIC = 4,
    TMP = 8,
    ASIDE = 16,
    NAMED = 32,
    PRUNED = 64,
    HEAD_BYTES = 3,
    NAME_BYTES = 24,
    FILES_MAX = 32,
    MAX_FILES = 8,        /* of the spool: some are given up */
    MAX_BYTES = 16 << 10, /* likewise */
};

static char directory[64];

struct file {
    struct spool_name name;
    bool is_pruned;
};

static void remove_directory(void)
{
    (void)rmdir(directory); /* at the end, and only when it is empty */
}

static void make_directory(void)
{
    if (directory[0] == '\0') {
        const char *parent = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
        (void)snprintf(directory, sizeof directory, "%s/fuzz-spool-XXXXXX", parent);
        WIRE_REQUIRE(mkdtemp(directory) != NULL);
        WIRE_REQUIRE(atexit(remove_directory) == 0);
    }
}

/* Returns how many files there are that are nobody's lock. */
static unsigned empty_directory(bool removes)
{
    unsigned count = 0;
    DIR *entries = opendir(directory);
    WIRE_REQUIRE(entries != NULL);
    for (struct dirent *entry; (entry = readdir(entries)) != NULL;) {
        size_t len = strlen(entry->d_name);
        bool is_lock = len > 5 && strcmp(entry->d_name + len - 5, ".lock") == 0;
        count += entry->d_name[0] != '.' && !is_lock;
        if (removes && strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            WIRE_REQUIRE(unlinkat(dirfd(entries), entry->d_name, 0) == 0);
        }
    }
    (void)closedir(entries); /* was only read */
    return count;
}

/* A name without what a name cannot have; never hidden, so that it is counted. */
static struct spool_name any_name(struct str text)
{
    struct spool_name name = {""};
    size_t len = text.len < NAME_BYTES ? text.len : NAME_BYTES;
    for (size_t i = 0; i < len; i++) {
        bool is_good = text.ptr[i] != '\0' && text.ptr[i] != '/' && (i > 0 || text.ptr[i] != '.');
        name.text[i] = is_good ? text.ptr[i] : '_';
    }
    return len == 0 ? (struct spool_name){"_"} : name;
}

static struct spool_name name_of(unsigned kind, struct str content, unsigned number)
{
    enum spool_signal signal = (kind & METRIC) != 0 ? SPOOL_METRICS : SPOOL_TRACES;
    const char *ending = (kind & TMP) != 0 ? ".tmp" : (kind & ASIDE) != 0 ? ".damaged" : "";
    return (kind & NAMED) != 0 ? any_name(content) : spool_name_of(number, signal, ending);
}

/* Lets a header be what it could not be by chance. */
static void seal(char *bytes, size_t len, unsigned kind)
{
    struct spool_header header = {.signal = (uint8_t)bytes[0] & 3, .count = (uint8_t)bytes[1]};
    struct str request = {bytes + SPOOL_HEADER_BYTES, len - SPOOL_HEADER_BYTES};
    header.length = (kind & SIZED) != 0 ? request.len : (uint8_t)bytes[2];
    header.hash = (bytes[3] & 3) != 0 ? spool_file_hash(request) : 0;
    spool_file_write(&header, bytes);
}

static void write_file(const char *name, const char *bytes, size_t len)
{
    char path[sizeof directory + sizeof(struct spool_name)];
    int path_len = snprintf(path, sizeof path, "%s/%s", directory, name);
    WIRE_REQUIRE(path_len > 0 && (size_t)path_len < sizeof path);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    WIRE_REQUIRE(fd >= 0 && write(fd, bytes, len) == (ssize_t)len && close(fd) == 0);
}

/* Writes the files that the input describes; returns their number. */
static unsigned write_files(const uint8_t *bytes, size_t len, struct file files[FILES_MAX])
{
    unsigned count = 0;
    for (size_t at = 0; count < FILES_MAX && len - at >= HEAD_BYTES; count++) {
        unsigned kind = bytes[at];
        size_t size = bytes[at + 1] | (size_t)bytes[at + 2] << 8;
        at += HEAD_BYTES;
        size = size < len - at ? size : len - at;
        char *content = malloc(size + 1);
        WIRE_REQUIRE(content != NULL);
        memcpy(content, bytes + at, size);
        files[count] = (struct file){name_of(kind, (struct str){content, size}, count + 1),
                                     (kind & PRUNED) != 0};
        if ((kind & SEALED) != 0 && size >= SPOOL_HEADER_BYTES) {
            seal(content, size, kind);
        }
        write_file(files[count].name.text, content, size);
        free(content);
        at += size;
    }
    return count;
}

static struct spool *open_spool(void)
{
    struct spool *spool = NULL;
    struct buf problem;
    struct spool_options options = {
        .path = directory, .signal = SPOOL_TRACES, .max_bytes = MAX_BYTES, .max_files = MAX_FILES};
    buf_init(&problem, SPOOL_PATH_MAX);
    WIRE_REQUIRE(spool_open(&options, &problem, &spool) == 0);
    WIRE_REQUIRE(problem.len == 0);
    buf_fini(&problem);
    return spool;
}

/* Reads everything, oldest first. */
static void read_all(struct spool *spool, struct buf *bytes)
{
    uint64_t sent = 0;
    uint64_t last = 0;
    const struct spool_account *account = spool_get_account(spool);
    while (spool_oldest(spool) != 0) {
        uint64_t oldest = spool_oldest(spool);
        uint64_t items = spool_oldest_items(spool);
        struct str request;
        WIRE_REQUIRE(oldest > last);
        int err = spool_read(spool, bytes, &request);
        WIRE_REQUIRE(err == 0 || err == ERR_SYNTAX);
        if (err == 0) {
            WIRE_REQUIRE(items <= request.len);
            sent += items;
            spool_take_off(spool, items / 2);
            WIRE_REQUIRE(spool_oldest_items(spool) == items - items / 2);
            spool_remove(spool);
        }
        last = oldest;
    }
    WIRE_REQUIRE(account->items == 0 && account->files == 0 && account->bytes == 0);
    WIRE_REQUIRE(account->found == sent + account->given_up + account->damaged + account->vanished);
}

/* What is put can be read, also by the next process; unless there is no name left for it. */
static void must_keep(struct spool *spool, struct buf *bytes, bool has_last_name)
{
    struct str request = STR_LITERAL("a request");
    struct str back;
    int err = spool_put(spool, request, 2, false);
    spool_close(spool);
    if (has_last_name && err == ERR_LIMIT) {
        return;
    }
    WIRE_REQUIRE(err == 0);
    spool = open_spool();
    WIRE_REQUIRE(spool_get_account(spool)->items == 2 && spool_get_account(spool)->found == 2);
    WIRE_REQUIRE(spool_read(spool, bytes, &back) == 0);
    WIRE_REQUIRE(back.len == request.len && memcmp(back.ptr, request.ptr, back.len) == 0);
    spool_remove(spool);
    spool_close(spool);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct file files[FILES_MAX];
    struct buf request;
    bool has_last_name = false;
    make_directory();
    unsigned count = write_files(bytes, len, files);
    buf_init(&request, SPOOL_HEADER_BYTES + SPOOL_REQUEST_MAX);
    struct spool *spool = open_spool();
    for (unsigned i = 0; i < count; i++) {
        char path[sizeof directory + sizeof files[i].name];
        (void)snprintf(path, sizeof path, "%s/%s", directory, files[i].name.text);
        if (files[i].is_pruned) {
            (void)unlink(path); /* it may have been set aside */
        }
        has_last_name |= strncmp(files[i].name.text, "999999999999999999", 18) == 0;
    }
    read_all(spool, &request);
    unsigned left = empty_directory(false);
    must_keep(spool, &request, has_last_name);
    WIRE_REQUIRE(empty_directory(false) == left); /* what is not ours, and what was set aside */
    (void)empty_directory(true);
    buf_fini(&request);
    return 0;
}
