/*
 * A receiver of OTLP as a program of its own: listens where it is told, answers every request with
 * success, ends with its input.
 *
 *     otlp_sink 127.0.0.1:0 [--show]
 *
 * prints "port N" and, with --show, a line for each request: the method and the body in hexadecimal
 * digits. A line "N text" on its input is the status and message of every answer from then on.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "otlp_server.h"

enum { LINE_MAX_BYTES = 1024 };

static struct sink {
    bool shows;
    pthread_mutex_t mutex; /* guards what is below */
    int status;
    char message[LINE_MAX_BYTES];
} sink = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static void on_request(void *ctx, const struct otlp_server_request *request,
                       struct otlp_server_answer *answer)
{
    static char message[LINE_MAX_BYTES]; /* lives until the next answer */
    (void)ctx;
    pthread_mutex_lock(&sink.mutex);
    answer->status = sink.status;
    memcpy(message, sink.message, sizeof message);
    pthread_mutex_unlock(&sink.mutex);
    answer->message = message;
    if (sink.shows) {
        printf("%.*s ", (int)request->method.len, request->method.ptr);
        for (size_t i = 0; i < request->body.len; i++) {
            printf("%02x", (unsigned char)request->body.ptr[i]);
        }
        printf("\n");
        fflush(stdout);
    }
}

int main(int argc, char **argv)
{
    char line[LINE_MAX_BYTES];
    if (argc < 2) {
        fprintf(stderr, "usage: otlp_sink ADDRESS [--show]\n");
        return 64;
    }
    sink.shows = argc > 2 && strcmp(argv[2], "--show") == 0;
    struct otlp_server *server = otlp_server_start(argv[1], NULL, on_request, NULL);
    if (server == NULL) {
        fprintf(stderr, "otlp_sink: cannot listen on %s\n", argv[1]);
        return 69;
    }
    printf("port %d\n", otlp_server_port(server));
    fflush(stdout);
    while (fgets(line, sizeof line, stdin) != NULL) {
        char *text = line;
        line[strcspn(line, "\n")] = '\0';
        pthread_mutex_lock(&sink.mutex);
        sink.status = (int)strtol(line, &text, 10);
        snprintf(sink.message, sizeof sink.message, "%s", *text == ' ' ? text + 1 : text);
        pthread_mutex_unlock(&sink.mutex);
    }
    otlp_server_stop(server);
    return 0;
}
