/*
 * A main for a fuzz target where there is no fuzzer: runs it once on every file that is named, and on
 * every file of every directory that is named. When the target aborts, the file is named. Sanitizers
 * abort when asked to: ASAN_OPTIONS=abort_on_error=1 UBSAN_OPTIONS=abort_on_error=1.
 */
#include <dirent.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fuzz.h"

enum { PATH_MAX_BYTES = 4096 };

static char current[PATH_MAX_BYTES]; /* the file that is replayed, and a newline */

static void on_abort(int signal)
{
    (void)signal;
    (void)!write(STDERR_FILENO, current, strlen(current)); /* nothing can be done without */
}

/* Returns false when the file cannot be read. The bytes get a block of just their size. */
static bool replay_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        return false;
    }
    bool good = false;
    uint8_t *bytes = NULL;
    long size = fseek(file, 0, SEEK_END) == 0 ? ftell(file) : -1;
    if (size >= 0) {
        rewind(file);
        bytes = malloc(size > 0 ? (size_t)size : 1);
        good = bytes != NULL && fread(bytes, 1, (size_t)size, file) == (size_t)size;
    }
    (void)fclose(file); /* it was only read */
    if (good) {
        (void)snprintf(current, sizeof current, "failed on: %s\n", path); /* cut if need be */
        (void)LLVMFuzzerTestOneInput(bytes, (size_t)size);                /* always 0 */
    } else {
        perror(path);
    }
    free(bytes);
    return good;
}

static bool replay_directory(DIR *entries, const char *path, size_t *count)
{
    bool good = true;
    const struct dirent *entry;
    while ((entry = readdir(entries)) != NULL) {
        char file[PATH_MAX_BYTES];
        int len = snprintf(file, sizeof file, "%s/%s", path, entry->d_name);
        if (entry->d_name[0] != '.' && len > 0 && (size_t)len < sizeof file) {
            good &= replay_file(file);
            ++*count;
        }
    }
    return good;
}

int main(int argc, char **argv)
{
    size_t count = 0;
    bool good = signal(SIGABRT, on_abort) != SIG_ERR;
    for (int i = 1; i < argc; i++) {
        DIR *entries = opendir(argv[i]);
        if (entries != NULL) {
            good &= replay_directory(entries, argv[i], &count);
            (void)closedir(entries); /* it was only read */
        } else {
            good &= replay_file(argv[i]);
            count++;
        }
    }
    printf("%s: %zu inputs\n", strrchr(argv[0], '/') != NULL ? strrchr(argv[0], '/') + 1 : argv[0],
           count);
    return good && count > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
