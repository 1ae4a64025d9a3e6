#include "io/readiness.h"

#include <fcntl.h>
#include <unistd.h>

const char *const readiness_words[READINESS_READY] = {
#define X(code, word, sentence) word,
    READINESS_TABLE(X)
#undef X
};

const char *const readiness_sentences[READINESS_READY] = {
#define X(code, word, sentence) sentence,
    READINESS_TABLE(X)
#undef X
};

/* The lock is always open, and its copy is nobody's lock: closing it lets go of nothing. */
static bool has_descriptors(const struct directory *directory)
{
    int fd = fcntl(directory->lock_fd, F_DUPFD_CLOEXEC, 0);
    if (fd >= 0) {
        (void)close(fd); /* it holds nothing of its own */
    }
    return fd >= 0;
}

enum readiness readiness_look(const struct directory *directory)
{
    if (!directory_holds(directory, PLACE_STREAM) || !directory_holds(directory, PLACE_DATAGRAM)) {
        return READINESS_SOCKET;
    }
    return has_descriptors(directory) ? READINESS_READY : READINESS_DESCRIPTORS;
}
