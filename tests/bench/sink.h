/*
 * A receiver of OTLP as a process of its own (otlp_sink): start, stop, and how many spans it took. One
 * thread; dies when it does not start. DWELL_BUILD says where it was built. To be started before this
 * process has threads, if it is ever to have gRPC's.
 */
#ifndef DWELL_TESTS_SINK_H
#define DWELL_TESTS_SINK_H

#include <fcntl.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

struct sink {
    pid_t child;
    int input;  /* its end ends the receiver */
    int output; /* what it says */
    int port;
};

static inline long sink_read(const struct sink *sink, const char *word)
{
    char text[64] = "";
    size_t len = 0;
    ssize_t got = 1;
    while (got > 0 && len < sizeof text - 1 && strchr(text, '\n') == NULL) {
        got = read(sink->output, text + len, sizeof text - 1 - len);
        len += got > 0 ? (size_t)got : 0;
    }
    if (strncmp(text, word, strlen(word)) != 0) {
        fprintf(stderr, "bench: otlp_sink does not say its %s\n", word);
        exit(1);
    }
    return strtol(text + strlen(word), NULL, 10);
}

static inline const char *sink_path(void)
{
    static char path[512];
    const char *build = getenv("DWELL_BUILD");
    snprintf(path, sizeof path, "%s/tests/bench/otlp_sink", build == NULL ? "build" : build);
    return path;
}

/* `port` 0: any. */
static inline void sink_start(struct sink *sink, int port)
{
    int to[2];
    int from[2];
    char address[64];
    const char *path = sink_path();
    snprintf(address, sizeof address, "127.0.0.1:%d", port);
    if (pipe2(to, O_CLOEXEC) != 0 || pipe2(from, O_CLOEXEC) != 0) {
        exit(1);
    }
    sink->child = fork();
    if (sink->child == 0) {
        dup2(to[0], STDIN_FILENO);
        dup2(from[1], STDOUT_FILENO);
        execl(path, path, address, "--count", (char *)NULL);
        _exit(127);
    }
    close(to[0]);
    close(from[1]);
    sink->input = to[1];
    sink->output = from[0];
    sink->port = (int)sink_read(sink, "port ");
}

/* Returns the spans it took. */
static inline uint64_t sink_stop(struct sink *sink)
{
    close(sink->input);
    uint64_t spans = (uint64_t)sink_read(sink, "spans ");
    close(sink->output);
    waitpid(sink->child, NULL, 0);
    return spans;
}

/* A port that stays ours while nobody listens on it, so that a receiver can come back to it: a socket
 * that is bound and shares the port, as gRPC's listeners do. Until the process ends. */
static inline int sink_hold_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof address;
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0 ||
        bind(fd, (struct sockaddr *)&address, sizeof address) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) != 0) {
        exit(1);
    }
    return ntohs(address.sin_port);
}

#endif
