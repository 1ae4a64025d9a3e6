/*
 * dwell send: samples from the arguments, or records as JSON from standard input.
 *
 * Happy path
 *   1. connect to ingest.sock and say hello: by it the daemon knows that lines of JSON come
 *   2. what standard input gives goes to the daemon, GROUP_LINES at a time: a flush ends each group,
 *   and the next
 *      one waits for its answer, so that no answer is lost however many there are
 *   3. at the end of input: the last flush, and no more is sent
 *   4. the daemon answers how many records it applied, and closes
 *
 * What can fail: no daemon (69), a daemon that neither takes nor answers for --timeout (69), standard input
 * that cannot be read (74), or begins with what is no JSON object, such as StatsD (65): none of it is
 * sent, as the hello has chosen the format. A rejected line is told with its number and the reason, the
 * rest goes on, and the status is 1.
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/err.h"
#include "cli/answer.h"
#include "cli/figure.h"
#include "cli/record.h"
#include "cli/tool.h"

enum {
    PIECE_BYTES = 64 << 10,     /* read at once, as large as the daemon's own reads */
    REPLY_BYTES_MAX = 64 << 10, /* of one answer; a daemon's are a few hundred bytes */
    OWN_LINES = 1,              /* the hello, before the first line of the input */
    /* Between two flushes. The answers to as many, of some 900 bytes at the most, are fewer than the 64 kB
     * past which the daemon drops them. */
    GROUP_LINES = 64,
};

struct sending {
    const struct tool *tool;
    int socket;
    int input;             /* -1: it has ended */
    struct buf input_text; /* read, and not sent yet from input_at on */
    size_t input_at;
    struct buf out; /* to be sent, from out_at on */
    size_t out_at;
    unsigned lines;   /* of the group that is being sent */
    char last;        /* byte of the input */
    bool begun;       /* the input's first byte that is not blank has come, and is good */
    bool waits;       /* for the answer to a flush; nothing is sent meanwhile */
    bool finishes;    /* the last flush is in `out`, or was */
    bool shut;        /* and was sent */
    struct buf reply; /* an answer that is not complete yet */
    bool confirmed;
    double applied, rejected;
};

static int open_socket(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    _Static_assert(sizeof address.sun_path == PLACE_BYTES, "what place_find gives fits");
    memcpy(address.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -1;
    }
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) != 0 ||
        fcntl(fd, F_SETFL, O_NONBLOCK) != 0) {
        int reason = errno;
        (void)close(fd); /* it holds nothing */
        errno = reason;
        return -1;
    }
    return fd;
}

static int complain_of_socket(const char *path, int reason)
{
    if (reason == EACCES) {
        tool_complain(
            "%s: you may not open it. The daemon's user may, and the members of ingest.group",
            path);
        return EX_NOPERM;
    }
    tool_complain("%s: %s", path,
                  reason == ENOENT
                      ? "there is no daemon. Start dwelld, or say where it is: --dir DIR or "
                        "$DWELL_DIR"
                  : reason == ECONNREFUSED ? "nobody listens: the daemon has ended. Start dwelld"
                                           : strerror(reason));
    return EX_UNAVAILABLE;
}

/* --- answers ----------------------------------------------------------------------------------- */

/* The connection's lines are the hello, and after it groups of lines that a flush ends each. 0: of none. */
static double line_of_input(double line)
{
    double place = line - OWN_LINES;
    return place >= 1 ? place - floor((place - 1) / (GROUP_LINES + 1)) : 0;
}

/* The daemon's sentence is of all formats; behind our hello there is one. */
static struct str said_of(const json_t *root)
{
    struct str said = str_of(answer_text(root, "error"));
    return str_is(said, err_sentence(ERR_SYNTAX)) ? STR_LITERAL("the line is no JSON object")
                                                  : said;
}

/* {"error": "…", "reason": "…", "line": 3}, with the line of the input */
static void take_rejection(struct sending *sending, const json_t *root)
{
    struct buf line;
    double number = line_of_input(answer_number(root, "line"));
    buf_init(&line, REPLY_BYTES_MAX);
    if (number > 0) {
        buf_puts(&line, "line ");
        figure_count(&line, number);
        buf_puts(&line, ": ");
    }
    text_safe(&line, said_of(root), sending->tool->terminal.utf8);
    const char *reason = answer_text(root, "reason");
    if (reason[0] != '\0') {
        buf_puts(&line, " (");
        text_safe(&line, str_of(reason), false);
        buf_char(&line, ')');
    }
    tool_say(&line);
    buf_fini(&line);
    sending->rejected++;
}

static void take_reply(struct sending *sending, struct str reply)
{
    json_error_t error;
    json_t *root = json_loadb(reply.ptr, reply.len, 0, &error);
    const json_t *flushed = json_object_get(root, "flushed");
    bool json = sending->tool->arguments.json;
    bool last = json_is_number(flushed) && sending->shut;
    if (json && (last || !json_is_number(flushed))) {
        (void)printf("%.*s\n", (int)reply.len, reply.ptr); /* seen at the last fflush */
    }
    if (json_is_number(flushed)) {
        sending->applied = json_number_value(flushed);
        sending->waits = false;
        sending->confirmed = last;
    } else if (root != NULL && json) {
        sending->rejected++;
    } else if (root != NULL) {
        take_rejection(sending, root);
    }
    json_decref(root);
}

static void take_replies(struct sending *sending)
{
    struct buf *reply = &sending->reply;
    size_t begin = 0;
    for (size_t at = 0; at < reply->len; at++) {
        if (reply->data[at] == '\n') {
            take_reply(sending, (struct str){reply->data + begin, at - begin});
            begin = at + 1;
        }
    }
    if (begin > 0) {
        memmove(reply->data, reply->data + begin, reply->len - begin);
        reply->len -= begin;
    }
}

/* 1: there may be more; 0: the daemon has closed; or an exit status. */
static int read_replies(struct sending *sending)
{
    char *room = buf_reserve(&sending->reply, 4096);
    if (room == NULL) {
        tool_complain("the daemon's answer is no line");
        return EX_PROTOCOL;
    }
    ssize_t got = read(sending->socket, room, 4096);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        return 1;
    }
    if (got <= 0) {
        return 0; /* a reset is an end, too */
    }
    sending->reply.len += (size_t)got;
    take_replies(sending);
    return 1;
}

/* --- what is sent ------------------------------------------------------------------------------ */

/* The first byte that is not blank tells JSON from StatsD, to the daemon as well (proto/WIRE.md). */
static int look_at_beginning(struct sending *sending)
{
    const struct buf *text = &sending->input_text;
    size_t at = 0;
    while (at < text->len && memchr(" \t\r\n", text->data[at], 4) != NULL) {
        at++;
    }
    sending->begun = at < text->len;
    if (!sending->begun || text->data[at] == '{') {
        return 0;
    }
    tool_complain("send: expects a JSON object on each line. Lines of StatsD go straight to "
                  "ingest.sock: nc -UN \"$DWELL_DIR/ingest.sock\"");
    return EX_DATAERR;
}

static int read_input(struct sending *sending)
{
    buf_clear(&sending->input_text);
    sending->input_at = 0;
    char *room = buf_reserve(&sending->input_text, PIECE_BYTES);
    if (room == NULL) {
        tool_complain("no memory for the input");
        return EX_OSERR;
    }
    ssize_t got = read(sending->input, room, PIECE_BYTES);
    if (got < 0 && errno != EINTR && errno != EAGAIN) {
        tool_complain("cannot read standard input: %s", strerror(errno));
        return EX_IOERR;
    }
    sending->input_text.len += got > 0 ? (size_t)got : 0;
    sending->input = got == 0 ? -1 : sending->input;
    return sending->begun ? 0 : look_at_beginning(sending);
}

static bool has_input(const struct sending *sending)
{
    return sending->input_at < sending->input_text.len;
}

static bool has_output(const struct sending *sending)
{
    return sending->out_at < sending->out.len;
}

/* The next lines of the input, and a flush after every GROUP_LINES; at the end of all the last one. */
static void fill_output(struct sending *sending)
{
    static const char flush[] = "{\"type\":\"flush\"}\n";
    if (has_output(sending) || sending->waits) {
        return;
    }
    buf_clear(&sending->out);
    sending->out_at = 0;
    while (has_input(sending) && sending->lines < GROUP_LINES) {
        sending->last = sending->input_text.data[sending->input_at++];
        buf_char(&sending->out, sending->last);
        sending->lines += sending->last == '\n' ? 1 : 0;
    }
    sending->finishes = sending->input < 0 && !has_input(sending);
    if (sending->finishes && sending->last != '\n') {
        buf_char(&sending->out, '\n');
    }
    if (sending->finishes || sending->lines == GROUP_LINES) {
        buf_puts(&sending->out, flush);
        sending->waits = true;
        sending->lines = 0;
    }
}

/* Sends what the socket takes; after all, tells that no more comes. A daemon that has closed is seen
 * when its answers are read. */
static void send_some(struct sending *sending)
{
    if (has_output(sending)) {
        ssize_t sent = send(sending->socket, sending->out.data + sending->out_at,
                            sending->out.len - sending->out_at, MSG_NOSIGNAL);
        if (sent > 0) {
            sending->out_at += (size_t)sent;
        } else if (sent < 0 && errno != EAGAIN && errno != EINTR) {
            sending->out_at = sending->out.len;
            sending->finishes = true;
        }
    }
    if (sending->finishes && !has_output(sending) && !sending->shut) {
        sending->shut = true;
        (void)shutdown(sending->socket,
                       SHUT_WR); /* a socket that is closed already is told by read */
    }
}

/* Until the daemon has closed. Only the daemon is waited for with a limit: whoever feeds standard
 * input may take his time. */
static int exchange(struct sending *sending)
{
    int timeout_ms = (int)(sending->tool->arguments.timeout * 1e3);
    for (;;) {
        fill_output(sending);
        if (sending->out.err != 0) {
            tool_complain("no memory for the input");
            return EX_OSERR;
        }
        send_some(sending);
        bool full = has_output(sending);
        bool reads = sending->input >= 0 && !full && !sending->waits && !has_input(sending);
        bool goes_on = !full && !sending->waits && has_input(sending);
        struct pollfd fds[2] = {
            {.fd = sending->socket, .events = (short)(full ? POLLIN | POLLOUT : POLLIN)},
            {.fd = reads ? sending->input : -1, .events = POLLIN}};
        int ready = poll(fds, 2, goes_on ? 0 : reads ? -1 : timeout_ms);
        if (ready < 0 && errno != EINTR) {
            tool_complain("cannot wait: %s", strerror(errno));
            return EX_OSERR;
        }
        if (ready == 0 && !goes_on) {
            tool_complain(
                "the daemon takes and answers nothing for %g s. --timeout SECONDS waits longer",
                sending->tool->arguments.timeout);
            return EX_UNAVAILABLE;
        }
        int more = ready > 0 && fds[0].revents != 0 ? read_replies(sending) : 1;
        if (more != 1) {
            return more;
        }
        int status = ready > 0 && fds[1].revents != 0 ? read_input(sending) : 0;
        if (status != 0) {
            return status;
        }
    }
}

/* --- the command ------------------------------------------------------------------------------- */

static int finish(struct sending *sending)
{
    if (!sending->confirmed) {
        tool_complain(
            "the daemon hung up before it confirmed; it may have taken some of the records");
        return EX_UNAVAILABLE;
    }
    int status = sending->rejected > 0 ? EXIT_NO : 0;
    struct buf out;
    buf_init(&out, TOOL_PROBLEM_MAX);
    if (!sending->tool->arguments.json) {
        figure_plural(&out, sending->applied, "record accepted", "records accepted");
        if (sending->rejected > 0) {
            buf_puts(&out, ", ");
            figure_count(&out, sending->rejected);
            buf_puts(&out, " rejected");
        }
        buf_puts(&out, ".\n");
    }
    return tool_print(sending->tool, &out, status);
}

static int run(struct sending *sending, const char *path)
{
    sending->socket = open_socket(path);
    if (sending->socket < 0) {
        return complain_of_socket(path, errno);
    }
    int status = exchange(sending);
    (void)close(sending->socket); /* nothing is held back in it */
    return status != 0 ? status : finish(sending);
}

/* As all clients: with DWELL_DISABLED nothing is sent, and whoever feeds us is not made to fail. */
static bool is_disabled(void)
{
    const char *disabled = getenv("DWELL_DISABLED");
    return disabled != NULL && strcmp(disabled, "1") == 0;
}

static int skip_input(const struct sending *sending)
{
    char piece[4096];
    tool_complain("nothing is sent, as DWELL_DISABLED is 1");
    while (sending->input >= 0 && read(sending->input, piece, sizeof piece) > 0) {
    }
    return 0;
}

int send_run(struct tool *tool)
{
    const struct arguments *arguments = &tool->arguments;
    struct sending sending = {.tool = tool, .input = STDIN_FILENO, .last = '\n'};
    struct fetch_target target;
    struct buf problem;
    if (arguments->url != NULL) {
        tool_complain("records go by ingest.sock alone, on the daemon's machine: leave out --url");
        return EX_USAGE;
    }
    buf_init(&problem, TOOL_PROBLEM_MAX);
    buf_init(&sending.out, TOOL_TEXT_MAX);
    buf_init(&sending.input_text, TOOL_TEXT_MAX);
    buf_init(&sending.reply, REPLY_BYTES_MAX);
    record_hello(tool_hash(tool), &sending.out);
    int status = sending.out.err == 0 ? 0 : EX_USAGE;
    if (status != 0) {
        buf_puts(&problem, "the hash is no text");
    } else if (arguments->operand_count > 0) {
        status = record_samples(arguments->operand_count, arguments->operands, &sending.input_text,
                                &problem);
        sending.input = -1;
    }
    if (status != 0) {
        tool_say(&problem);
    } else if (is_disabled()) {
        status = skip_input(&sending);
    } else {
        status = tool_target(tool, "ingest.sock", &target);
        status = status != 0 ? status : run(&sending, target.socket);
    }
    buf_fini(&problem);
    buf_fini(&sending.out);
    buf_fini(&sending.input_text);
    buf_fini(&sending.reply);
    return status;
}
