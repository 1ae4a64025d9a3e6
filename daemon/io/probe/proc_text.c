#include "io/probe/proc_text.h"

#include "base/num.h"

/* Takes the next line off the text; false at its end. */
static bool take_line(struct str *text, struct str *ret_line)
{
    if (text->len == 0) {
        return false;
    }
    const char *end = memchr(text->ptr, '\n', text->len);
    size_t len = end == NULL ? text->len : (size_t)(end - text->ptr);
    size_t taken = end == NULL ? len : len + 1;
    *ret_line = (struct str){text->ptr, len};
    text->ptr += taken;
    text->len -= taken;
    return true;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* Takes the next word off the line; empty at its end. */
static struct str take_word(struct str *line)
{
    size_t from = 0;
    while (from < line->len && is_blank(line->ptr[from])) {
        from++;
    }
    size_t to = from;
    while (to < line->len && !is_blank(line->ptr[to]) && line->ptr[to] != '\n') {
        to++;
    }
    struct str word = {line->len == 0 ? NULL : line->ptr + from, to - from};
    line->len -= to;
    line->ptr = line->len == 0 ? NULL : line->ptr + to;
    return word;
}

static bool begins_with(struct str text, const char *start, struct str *ret_rest)
{
    size_t len = strlen(start);
    if (text.len < len || memcmp(text.ptr, start, len) != 0) {
        return false;
    }
    *ret_rest = (struct str){text.ptr + len, text.len - len};
    return true;
}

/* The rest of the line that begins with this word, a blank after it or not. */
static bool find_line(struct str text, const char *word, struct str *ret_rest)
{
    struct str line;
    while (take_line(&text, &line)) {
        if (begins_with(line, word, ret_rest) &&
            (ret_rest->len == 0 || is_blank(ret_rest->ptr[0]))) {
            return true;
        }
    }
    return false;
}

bool proc_text_number(struct str text, const char *word, uint64_t *ret_number)
{
    struct str rest;
    return find_line(text, word, &rest) && num_read_u64(take_word(&rest), ret_number) == 0;
}

unsigned proc_text_fields(struct str text, uint64_t *ret_fields, unsigned max)
{
    struct str line;
    unsigned count = 0;
    if (!take_line(&text, &line)) {
        return 0;
    }
    while (count < max && num_read_u64(take_word(&line), &ret_fields[count]) == 0) {
        count++;
    }
    return count;
}

/* Fields of stat by their numbers in proc_pid_stat(5). */
enum {
    FIELD_STATE = 3,
    FIELD_MINOR_FAULTS = 10,
    FIELD_MAJOR_FAULTS = 12,
    FIELD_USER = 14,
    FIELD_SYSTEM = 15,
    FIELD_START = 22,
};

bool proc_text_stat(struct str text, struct proc_stat *ret_stat)
{
    const char *name_end = text.len == 0 ? NULL : memrchr(text.ptr, ')', text.len);
    if (name_end == NULL) {
        return false;
    }
    struct str rest = {name_end + 1, text.len - (size_t)(name_end + 1 - text.ptr)};
    uint64_t numbers[FIELD_START + 1] = {0};
    struct str state = take_word(&rest);
    if (state.len != 1) {
        return false;
    }
    for (unsigned field = FIELD_STATE + 1; field <= FIELD_START; field++) {
        struct str word = take_word(&rest);
        bool is_negative = word.len > 1 && word.ptr[0] == '-'; /* tty, priority: of no interest */
        if (!is_negative && num_read_u64(word, &numbers[field]) != 0) {
            return false;
        }
    }
    *ret_stat = (struct proc_stat){.state = state.ptr[0],
                                   .minor_faults = numbers[FIELD_MINOR_FAULTS],
                                   .major_faults = numbers[FIELD_MAJOR_FAULTS],
                                   .user_ticks = numbers[FIELD_USER],
                                   .system_ticks = numbers[FIELD_SYSTEM],
                                   .start_ticks = numbers[FIELD_START]};
    return true;
}

enum wchan proc_text_wchan(struct str text)
{
    struct str name = take_word(&text);
    if (name.len == 0 || str_is(name, "0")) {
        return WCHAN_NONE;
    }
    return memmem(name.ptr, name.len, "futex", 5) != NULL ? WCHAN_FUTEX : WCHAN_OTHER;
}

unsigned proc_text_own_pid(struct str text, uint64_t *ret_own)
{
    struct str rest;
    unsigned count = 0;
    if (!find_line(text, "NSpid:", &rest)) {
        return 0;
    }
    while (num_read_u64(take_word(&rest), ret_own) == 0) {
        count++;
    }
    return count;
}

/* Whether a list "cpu,cpuacct" has the name. */
static bool lists(struct str list, const char *name)
{
    while (list.len > 0) {
        const char *comma = memchr(list.ptr, ',', list.len);
        size_t len = comma == NULL ? list.len : (size_t)(comma - list.ptr);
        if (str_is((struct str){list.ptr, len}, name)) {
            return true;
        }
        size_t taken = comma == NULL ? len : len + 1;
        list.ptr += taken;
        list.len -= taken;
    }
    return false;
}

/* A path of parts none of which is "..": from a namespace of its own a process may be told one above
 * what can be seen. */
static bool stays_inside(struct str path)
{
    return path.len > 0 && path.ptr[0] == '/' &&
           memmem(path.ptr, path.len, "/..", 3) == NULL; /* no cgroup of systemd begins so either */
}

struct str proc_text_cgroup(struct str text, const char *controller)
{
    struct str none = {NULL, 0};
    struct str line;
    while (take_line(&text, &line)) {
        const char *first = line.len == 0 ? NULL : memchr(line.ptr, ':', line.len);
        size_t left = first == NULL ? 0 : line.len - (size_t)(first + 1 - line.ptr);
        const char *second = left == 0 ? NULL : memchr(first + 1, ':', left);
        if (second == NULL) {
            continue;
        }
        struct str list = {first + 1, (size_t)(second - first - 1)};
        struct str path = {second + 1, line.len - (size_t)(second + 1 - line.ptr)};
        if (controller[0] == '\0' ? list.len == 0 : lists(list, controller)) {
            return stays_inside(path) ? path : none;
        }
    }
    return none;
}

bool proc_text_pressure(struct str text, uint64_t *ret_some_us)
{
    struct str rest;
    if (!find_line(text, "some", &rest)) {
        return false;
    }
    for (struct str word = take_word(&rest); word.len > 0; word = take_word(&rest)) {
        struct str number;
        if (begins_with(word, "total=", &number)) {
            return num_read_u64(number, ret_some_us) == 0;
        }
    }
    return false;
}

uint64_t proc_text_size(struct str text)
{
    struct str word = take_word(&text);
    uint64_t number = 0;
    unsigned shift = 0;
    if (word.len > 0 && (word.ptr[word.len - 1] == 'K' || word.ptr[word.len - 1] == 'M')) {
        shift = word.ptr[word.len - 1] == 'K' ? 10 : 20;
        word.len--;
    }
    bool is_sound = num_read_u64(word, &number) == 0 && number <= UINT64_MAX >> shift;
    return is_sound ? number << shift : 0;
}
