/*
 * Happy path
 *   1. a socket (journald)      send that does not wait
 *   2. a file                   write
 *   3. a pipe, a terminal       poll says that there is room for PIPE_BUF bytes, which a line never
 *                               exceeds; then write does not wait
 *
 * What can fail: no room, nobody at the other end, a full disk: the line is not written, which log.c
 * counts.
 *
 * Three designs were weighed. O_NONBLOCK on the descriptor would change it for the shell or the runtime
 * that shares it with us. A thread that writes and may wait needs a queue, and loses what is in it with a
 * crash, which is when the log is wanted most. Looking before writing needs neither; it wins. Its price:
 * between the look and the write another process may fill the pipe. Our own threads are kept apart by a
 * mutex, which is held while nobody waits.
 */
#include "io/log_output.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static bool has_room(int fd)
{
    struct pollfd poller = {.fd = fd, .events = POLLOUT};
    return poll(&poller, 1, 0) == 1 && (poller.revents & POLLOUT) != 0;
}

static ssize_t try_write(int fd, const char *line, size_t len)
{
    struct stat st;
    if (fstat(fd, &st) != 0) {
        return -1;
    }
    if (S_ISSOCK(st.st_mode)) {
        return send(fd, line, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    return S_ISREG(st.st_mode) || has_room(fd) ? write(fd, line, len) : -1;
}

bool log_output(int fd, const char *line, size_t len)
{
    ssize_t written;
    (void)pthread_mutex_lock(&mutex); /* cannot fail: it is ours, and held by no caller */
    do {
        errno = 0;
        written = try_write(fd, line, len);
    } while (written < 0 && errno == EINTR);
    (void)pthread_mutex_unlock(&mutex);
    return written == (ssize_t)len;
}
