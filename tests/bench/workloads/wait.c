/*
 * Workloads that wait: for timers, for other processes, for a disk. What answers is a process of its
 * own, so that its work is not the workload's. Files lie in the working directory, which the driver
 * chooses; it is to be on a disk.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "workload.h"

enum {
    CHUNK = 64 * 1024, /* bytes of a read from a file */
    SECTOR = 4096,     /* of one past the kernel's cache */
    ANSWER_US = 5000,  /* that a server takes */
    WARM_MB = 8,
};

static int descriptor = -1;
static uint8_t *chunk;

/* ---- timers ---- */

static void sleep_us(uint64_t microseconds)
{
    struct timespec pause = {.tv_sec = (time_t)(microseconds / 1000000),
                             .tv_nsec = (long)(microseconds % 1000000) * 1000};
    (void)nanosleep(&pause, NULL); /* no signal is caught here */
}

void wait_sleep(size_t units)
{
    sleep_us(units * 10);
}

static void sleep_often(size_t units)
{
    for (size_t i = 0; i < units; i++) {
        sleep_us(200);
    }
}

static void prepare_timer(void)
{
    descriptor = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    if (descriptor < 0) {
        workload_skip("no timer: %s", strerror(errno));
    }
}

static void poll_timer(size_t units)
{
    struct itimerspec timer = {.it_value = {.tv_nsec = 4000000}};
    (void)units;
    (void)timerfd_settime(descriptor, 0, &timer, NULL);
    struct pollfd waited = {.fd = descriptor, .events = POLLIN};
    (void)poll(&waited, 1, 1000);
}

/* ---- other processes ---- */

static void answer_late(int end)
{
    char byte;
    while (read(end, &byte, 1) == 1) {
        sleep_us(ANSWER_US);
        (void)!write(end, &byte, 1); /* whoever asked is gone: the next read tells */
    }
}

static void answer_computing(int end)
{
    char byte;
    while (read(end, &byte, 1) == 1) {
        busy_us(ANSWER_US);
        (void)!write(end, &byte, 1);
    }
}

static void answer_at_once(int end)
{
    char byte;
    while (read(end, &byte, 1) == 1) {
        (void)!write(end, &byte, 1);
    }
}

static void start_server(void (*serve)(int))
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) {
        workload_skip("no socket: %s", strerror(errno));
    }
    child_start(serve, ends[1]);
    (void)close(ends[1]);
    descriptor = ends[0];
}

void wait_prepare_socket(void)
{
    start_server(answer_late);
}

static void prepare_computing(void)
{
    start_server(answer_computing);
}

static void prepare_echo(void)
{
    start_server(answer_at_once);
}

void wait_socket(size_t units)
{
    char byte = 'x';
    for (size_t i = 0; i < units; i++) {
        if (write(descriptor, &byte, 1) != 1 || read(descriptor, &byte, 1) != 1) {
            workload_skip("the server went away");
        }
    }
}

static void answer_datagrams(int end)
{
    char bytes[64];
    struct sockaddr_in from;
    socklen_t size = sizeof from;
    while (recvfrom(end, bytes, sizeof bytes, 0, (struct sockaddr *)&from, &size) > 0) {
        sleep_us(2000);
        (void)sendto(end, bytes, sizeof bytes, 0, (struct sockaddr *)&from, size);
        size = sizeof from;
    }
}

/* Two sockets of the loopback, the one connected to the other. */
static void connect_loopback(int type, int *ret_client, int *ret_server)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof address;
    int server = socket(AF_INET, type, 0), client = socket(AF_INET, type, 0);
    if (server < 0 || client < 0 || bind(server, (struct sockaddr *)&address, size) != 0 ||
        getsockname(server, (struct sockaddr *)&address, &size) != 0 ||
        (type == SOCK_STREAM && listen(server, 1) != 0) ||
        connect(client, (struct sockaddr *)&address, size) != 0) {
        workload_skip("no loopback: %s", strerror(errno));
    }
    *ret_client = client;
    *ret_server = type == SOCK_STREAM ? accept(server, NULL, NULL) : server;
}

static void prepare_datagrams(void)
{
    int server;
    connect_loopback(SOCK_DGRAM, &descriptor, &server);
    child_start(answer_datagrams, server);
    (void)close(server);
}

static void ask_by_datagram(size_t units)
{
    char bytes[64] = "example.org";
    for (size_t i = 0; i < units; i++) {
        if (send(descriptor, bytes, sizeof bytes, 0) < 0 ||
            recv(descriptor, bytes, sizeof bytes, 0) < 0) {
            workload_skip("the server went away");
        }
    }
}

static void prepare_tcp(void)
{
    int server;
    connect_loopback(SOCK_STREAM, &descriptor, &server);
    child_start(answer_late, server);
    (void)close(server);
}

/* ---- files ---- */

/* A file of that size with something in each page; one from before is as good. */
static void open_file(const char *name, size_t bytes, int flags)
{
    descriptor = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    struct stat status;
    chunk = mmap(NULL, CHUNK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (descriptor < 0 || fstat(descriptor, &status) != 0 || chunk == MAP_FAILED) {
        workload_skip("no file: %s", strerror(errno));
    }
    for (size_t at = (size_t)status.st_size; at < bytes; at += CHUNK) {
        for (size_t k = 0; k < CHUNK; k += sizeof(uint64_t)) {
            *(uint64_t *)(void *)(chunk + k) = random_next();
        }
        if (pwrite(descriptor, chunk, CHUNK, (off_t)at) != CHUNK) {
            workload_skip("cannot write a file: %s", strerror(errno));
        }
    }
    (void)fsync(descriptor);
    if (flags != 0) {
        (void)close(descriptor);
        descriptor = open(name, O_RDWR | O_CLOEXEC | flags);
        if (descriptor < 0) {
            workload_skip("no direct access: %s", strerror(errno));
        }
    }
}

static void prepare_cold(void)
{
    size_t bytes = size_bytes(SIZE_DRAM);
    open_file("cold.bin", bytes, 0);
    (void)posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED);
    (void)posix_fadvise(descriptor, 0, 0, POSIX_FADV_RANDOM);
}

static void read_cold(size_t units)
{
    size_t chunks = size_bytes(SIZE_DRAM) / CHUNK;
    for (size_t i = 0; i < units; i++) {
        off_t place = (off_t)(random_next() % chunks * CHUNK);
        workload_sink += (uint64_t)pread(descriptor, chunk, CHUNK, place);
        (void)posix_fadvise(descriptor, place, CHUNK, POSIX_FADV_DONTNEED);
    }
}

static void prepare_warm(void)
{
    open_file("warm.bin", (size_t)WARM_MB << 20, 0);
}

static void read_warm(size_t units)
{
    for (size_t i = 0; i < units; i++) {
        off_t place = (off_t)(random_next() % (((size_t)WARM_MB << 20) / CHUNK) * CHUNK);
        workload_sink += (uint64_t)pread(descriptor, chunk, CHUNK, place);
    }
}

static void prepare_direct(void)
{
    open_file("cold.bin", size_bytes(SIZE_DRAM), O_DIRECT);
}

static void read_direct(size_t units)
{
    size_t sectors = size_bytes(SIZE_DRAM) / SECTOR;
    for (size_t i = 0; i < units; i++) {
        off_t place = (off_t)(random_next() % sectors * SECTOR);
        workload_sink += (uint64_t)pread(descriptor, chunk, SECTOR, place);
    }
}

static void prepare_sync(void)
{
    open_file("sync.bin", (size_t)1 << 20, 0);
}

static void write_and_sync(size_t units)
{
    for (size_t i = 0; i < units; i++) {
        (void)!pwrite(descriptor, chunk, SECTOR, (off_t)(random_next() % 256 * SECTOR));
        (void)fsync(descriptor);
    }
}

#define WAIT(name_, prepare_, run_, ms_, argument_)                                                \
    {                                                                                              \
        .name = name_, .truth = "io_bound", .argument = argument_, .prepare = prepare_,            \
        .parts = {{run_, ms_}},                                                                    \
    }

const struct workload wait_workloads[] = {
    WAIT("sleep", NULL, wait_sleep, 5, "waits for a timer"),
    WAIT("sleep-often", NULL, sleep_often, 6, "waits for a timer, 200 µs at a time"),
    WAIT("poll-timer", prepare_timer, poll_timer, 0, "waits in poll for a timer"),
    WAIT("socket-wait", wait_prepare_socket, wait_socket, 0, "a server answers after 5 ms"),
    WAIT("tcp-wait", prepare_tcp, wait_socket, 0, "a server answers over the loopback after 5 ms"),
    WAIT("datagram-wait", prepare_datagrams, ask_by_datagram, 0,
         "a name server answers after 2 ms"),
    WAIT("child-computes", prepare_computing, wait_socket, 0,
         "another process computes for 5 ms; this one waits on a socket"),
    WAIT("ping-pong", prepare_echo, wait_socket, 4,
         "questions that a server answers at once: system "
         "calls of sockets, and waiting"),
    WAIT("file-cold", prepare_cold, read_cold, 10, "reads 64 kB at random that are in no cache"),
    WAIT("file-direct", prepare_direct, read_direct, 8, "reads 4 kB at random past the cache"),
    WAIT("fsync", prepare_sync, write_and_sync, 8, "writes 4 kB and waits for the disk"),
    {.name = "file-warm",
     .truth = "unknown",
     .reason = "mixed",
     .also = "io_bound,memory_bound",
     .argument =
         "all time is in read, which copies from memory: input by its call, memory by its work; "
         "but nothing computes",
     .prepare = prepare_warm,
     .parts = {{read_warm, 3}}},
    {.name = NULL},
};
