#include "cli/bench_input.h"

#include <errno.h>
#include <fcntl.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/err.h"
#include "base/num.h"

enum { PIECE_BYTES = 64 << 10 }; /* read at once */

void input_init(struct input *input)
{
    *input = (struct input){0};
    buf_init(&input->text,
             INPUT_BYTES_MAX + PIECE_BYTES); /* seen as too long only behind its end */
    buf_init(&input->ends, INPUT_LINES_MAX * sizeof(size_t));
}

void input_fini(struct input *input)
{
    buf_fini(&input->text);
    buf_fini(&input->ends);
}

static int split(struct input *input, struct buf *problem)
{
    const char *text = input->text.data;
    size_t at = 0;
    while (at < input->text.len) {
        const char *newline = memchr(text + at, '\n', input->text.len - at);
        size_t end = (size_t)(newline - text) + 1; /* there is one: the last line has it */
        if (end - at > INPUT_LINE_MAX) {
            buf_printf(problem, "line %zu has more than %d bytes", input->count + 1,
                       INPUT_LINE_MAX - 1);
            return EX_DATAERR;
        }
        if (input->count == INPUT_LINES_MAX) {
            buf_printf(problem, "it has more than %d lines", INPUT_LINES_MAX);
            return EX_DATAERR;
        }
        buf_append(&input->ends, &end, sizeof end);
        input->count++;
        at = end;
    }
    return 0;
}

/* What is wrong with the text so far. */
static int check(const struct input *input, struct buf *problem)
{
    if (input->text.err == ERR_LIMIT || input->text.len > INPUT_BYTES_MAX) {
        buf_printf(problem, "it has more than %d MB", INPUT_BYTES_MAX >> 20);
        return EX_DATAERR;
    }
    if (input->text.err != 0 || input->ends.err != 0) {
        buf_puts(problem, "no memory for it");
        return EX_OSERR;
    }
    return 0;
}

static int make_lines(struct input *input, struct buf *problem)
{
    int status = check(input, problem);
    if (status == 0 && input->text.len == 0) {
        buf_puts(problem, "it is empty");
        return EX_DATAERR;
    }
    if (status == 0 && input->text.data[input->text.len - 1] != '\n') {
        buf_char(&input->text, '\n');
    }
    if (status == 0 && input->text.err == 0) {
        status = split(input, problem);
    }
    return status == 0 && (input->text.err != 0 || input->ends.err != 0) ? check(input, problem)
                                                                         : status;
}

static int make_whole(struct input *input, struct buf *problem)
{
    int status = check(input, problem);
    if (status == 0) {
        buf_append(&input->ends, &input->text.len, sizeof input->text.len);
        input->count = 1;
        status = check(input, problem);
    }
    return status;
}

int input_take(struct input *input, struct str text, struct buf *problem)
{
    buf_str(&input->text, text);
    return make_lines(input, problem);
}

int input_take_whole(struct input *input, struct str text, struct buf *problem)
{
    buf_str(&input->text, text);
    return make_whole(input, problem);
}

/* Reads until its end, or until it is seen to be too long. */
static int read_all(struct input *input, const char *path, struct buf *problem)
{
    ssize_t len = 1;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int reason = fd < 0 ? errno : 0;
    while (fd >= 0 && len > 0 && input->text.len <= INPUT_BYTES_MAX) {
        char *room = buf_reserve(&input->text, PIECE_BYTES - 1);
        len = room != NULL ? read(fd, room, PIECE_BYTES - 1) : 0;
        reason = len < 0 ? errno : 0;
        input->text.len += len > 0 ? (size_t)len : 0;
    }
    if (fd >= 0) {
        (void)close(fd); /* it was only read */
    }
    if (reason != 0) {
        buf_puts(problem, strerror(reason));
        return EX_NOINPUT;
    }
    return 0;
}

int input_read(struct input *input, const char *path, struct buf *problem)
{
    int status = read_all(input, path, problem);
    return status != 0 ? status : make_lines(input, problem);
}

int input_read_whole(struct input *input, const char *path, struct buf *problem)
{
    int status = read_all(input, path, problem);
    return status != 0 ? status : make_whole(input, problem);
}

struct str input_line(const struct input *input, uint64_t number, char room[INPUT_NUMBER_BYTES])
{
    if (input->count == 0) {
        size_t len = num_write_u64(room, number);
        room[len] = '\n';
        return (struct str){room, len + 1};
    }
    size_t at = (size_t)(number % input->count);
    size_t begin = 0;
    size_t end;
    memcpy(&end, input->ends.data + at * sizeof end, sizeof end);
    if (at > 0) {
        memcpy(&begin, input->ends.data + (at - 1) * sizeof begin, sizeof begin);
    }
    return (struct str){input->text.data + begin, end - begin};
}
