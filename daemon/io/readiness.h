/*
 * Whether the daemon can do its work, for /readyz: what only looking at the system tells. That the loop
 * answers, and is not about to end, its caller knows. HTTP thread.
 */
#ifndef DWELL_IO_READINESS_H
#define DWELL_IO_READINESS_H

#include "io/directory.h"

/* code, word in the answer, sentence. A collector that is away, a full spool or a ceiling that is reached
 * are none of these: the daemon still does for its clients what it can. */
#define READINESS_TABLE(X)                                                                         \
    X(STOPPING, "stopping", "the daemon is ending")                                                \
    X(LATE, "loop_late", "the loop does not answer within a second")                               \
    X(SOCKET, "socket_lost", "a socket that clients send to was removed or replaced: restart it")  \
    X(DESCRIPTORS, "no_descriptors", "no descriptor can be opened: raise LimitNOFILE=")

enum readiness {
#define X(code, word, sentence) READINESS_##code,
    READINESS_TABLE(X)
#undef X
        READINESS_READY,
};

extern const char *const readiness_words[READINESS_READY];
extern const char *const readiness_sentences[READINESS_READY];

/* Looks at the sockets in the directory and at whether a descriptor is left. `directory` is only read. */
enum readiness readiness_look(const struct directory *directory);

#endif
