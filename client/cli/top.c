/*
 * dwell top: all models, live.
 *
 * Happy path
 *   1. the terminal is taken over by ncurses; signals that would end us only raise a flag
 *   2. every --interval the models, their totals and the daemon's status are asked for, one after another;
 *      keys are read meanwhile
 *   3. the answers become rows with rates, in the chosen order, and a picture is drawn
 *   4. q, or a signal: the terminal is given back
 *
 * What can fail: no terminal (64, and --once is proposed); no daemon at the start (as every command);
 * one that goes away later: the last rows stay, the picture says since when, and the asking goes on. A
 * daemon that does not answer holds nobody up: the keys work, and after --timeout it counts as gone.
 */
#include <errno.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "cli/explain.h"
#include "cli/named.h"
#include "cli/tool.h"
#include "cli/top_frame.h"
#include "cli/top_screen.h"

enum {
    FILTER_BYTES = 256, /* as long as a name may be */
    WAIT_MS_MAX = 100,  /* between two looks at the keys while an answer is awaited */
    ESCAPE_MS = 25,     /* that the rest of a key's sequence may take */
    KEY_ESCAPE = 27,
    PAGE_OVERLAP = 1,
};

/* What is asked for, in this order; the last one only while a model is explained. */
enum question { ASK_MODELS, ASK_TOTALS, ASK_STATUS, ASK_MODEL, ASK_COUNT };

struct top {
    struct tool *tool;
    struct fetch *fetch;
    struct screen screen; /* that is open while a picture is drawn */
    struct buf problem;

    bool asking;
    enum question question;
    json_t *answers[ASK_COUNT]; /* owned until they are taken over */
    double next;                /* when to ask again, seconds of the monotonic clock */
    double asked;               /* when the questions began */

    struct models models; /* the last answer's; all zero: there was none */
    struct top_totals totals;
    double records_rate;
    bool answered;  /* at least once */
    double gone_at; /* when it did not answer; 0: it does */
    char since[sizeof "00:00:00"];

    enum sort sort;
    bool reverse;
    bool typing;
    char filter[FILTER_BYTES + 1];
    struct buf selected; /* title of the selected model; empty: the first row's */
    int row, first;      /* of it, and of the first one shown */

    json_t *explained; /* MODEL; NULL: the table is shown */
    struct buf explained_path;
    int scrolled; /* lines of it */
    bool quit;
};

static volatile sig_atomic_t ended_by; /* the signal */

static void take_signal(int number)
{
    ended_by = number;
}

static double now(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time); /* it is there */
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* --- drawing ----------------------------------------------------------------------------------- */

static void draw_explained(struct top *top, int rows, int columns)
{
    const struct terminal *terminal = &top->tool->terminal;
    struct buf out;
    buf_init(&out, TOOL_TEXT_MAX);
    explain_render(top->explained, terminal->utf8, (size_t)columns, &out);
    int room = rows > 1 ? rows - 1 : rows;
    int lines = screen_text(terminal, &out, top->scrolled, room);
    int most = lines > room ? lines - room : 0;
    if (top->scrolled > most) { /* the window or the text has become another one */
        top->scrolled = most;
        (void)erase();
        (void)screen_text(terminal, &out, top->scrolled, room);
    }
    buf_clear(&out);
    text_style(&out, STYLE_DIM);
    text_cut_end(&out, STR_LITERAL("q back  ↑↓ scroll"), (size_t)columns);
    screen_line(terminal, rows - 1, (struct str){out.data, out.len});
    buf_fini(&out);
}

static struct top_frame frame_of(struct top *top)
{
    bool filtered = top->filter[0] != '\0' || top->typing;
    return (struct top_frame){.models = &top->models,
                              .totals = &top->totals,
                              .records_rate = top->records_rate,
                              .sort = top->sort,
                              .reverse = top->reverse,
                              .filter = filtered ? top->filter : NULL,
                              .typing = top->typing,
                              .selected = top->models.shown > 0 ? top->row : TABLE_NONE,
                              .first = top->first,
                              .gone = top->gone_at > 0 ? top->problem.data : NULL,
                              .since = top->since,
                              .gone_seconds = now() - top->gone_at,
                              .live = true};
}

/* The row of the selected model, and the first one such that it can be seen. */
static void place_selection(struct top *top, int room)
{
    int count = (int)top->models.shown;
    for (int row = 0; top->selected.len > 0 && row < count; row++) {
        const struct model *model = &top->models.rows[row];
        if (str_equal((struct str){model->title, model->title_len},
                      (struct str){top->selected.data, top->selected.len})) {
            top->row = row;
            break;
        }
    }
    room = room > 1 ? room : 1;
    top->row = top->row < count ? top->row : count - 1;
    top->row = top->row > 0 ? top->row : 0;
    top->first = top->first < top->row - room + 1 ? top->row - room + 1 : top->first;
    top->first = top->first > top->row ? top->row : top->first;
    int last_first = count > room ? count - room : 0;
    top->first = top->first < last_first ? top->first : last_first;
}

static void draw(struct top *top)
{
    int rows;
    int columns;
    getmaxyx(stdscr, rows, columns);
    (void)erase();
    if (top->explained != NULL) {
        draw_explained(top, rows, columns);
    } else {
        struct buf out;
        buf_init(&out, TOOL_TEXT_MAX);
        struct top_frame frame = frame_of(top);
        place_selection(top, top_frame_room(&frame, (size_t)rows));
        frame = frame_of(top);
        top_frame_render(&frame, (size_t)columns, (size_t)rows, &out);
        (void)screen_text(&top->tool->terminal, &out, 0, rows);
        buf_fini(&out);
    }
    (void)refresh();
}

/* --- asking ------------------------------------------------------------------------------------ */

static void forget_answers(struct top *top)
{
    for (int i = 0; i < ASK_COUNT; i++) {
        json_decref(top->answers[i]);
        top->answers[i] = NULL;
    }
    top->asking = false;
}

/* The daemon did not answer, or with something else. */
static void lose(struct top *top)
{
    forget_answers(top);
    buf_char(&top->problem, '\0');
    if (top->problem.err != 0) {
        buf_clear(&top->problem);
        buf_puts(&top->problem, "no memory");
        buf_char(&top->problem, '\0');
    }
    top->next = now() + top->tool->arguments.interval;
    if (top->gone_at == 0) {
        time_t wall = time(NULL);
        struct tm local;
        top->gone_at = now();
        if (localtime_r(&wall, &local) == NULL ||
            strftime(top->since, sizeof top->since, "%H:%M:%S", &local) == 0) {
            top->since[0] = '\0';
        }
    }
}

static void arrange(struct top *top)
{
    models_filter(&top->models, top->filter[0] != '\0' ? top->filter : NULL);
    models_sort(&top->models, top->sort, top->reverse);
}

/* All answers are there: they become what is shown. */
static int take_answers(struct top *top)
{
    struct models models;
    struct models all;
    struct top_totals totals;
    bool utf8 = top->tool->terminal.utf8;
    int status = models_read(&models, top->answers[ASK_MODELS], utf8, &top->problem);
    int status_all = models_read(&all, top->answers[ASK_TOTALS], utf8, &top->problem);
    top->answers[ASK_MODELS] = top->answers[ASK_TOTALS] = NULL;
    if (status != 0 || status_all != 0) {
        models_fini(&models);
        models_fini(&all);
        return status != 0 ? status : status_all;
    }
    top_totals_read(&totals, top->answers[ASK_STATUS]);
    models.uptime = totals.uptime;
    models_add_totals(&models, &all);
    models_fini(&all);
    double seconds = totals.uptime - top->totals.uptime;
    bool follows = top->answered && seconds > 0 && totals.accepted >= top->totals.accepted;
    if (follows) {
        models_rate_since(&models, &top->models);
        top->records_rate = (totals.accepted - top->totals.accepted) / seconds;
    } else {
        models_rate_by_window(&models);
        top->records_rate = totals.accepted / totals.uptime;
    }
    models_fini(&top->models);
    top->models = models;
    top->totals = totals;
    top->answered = true;
    top->gone_at = 0;
    buf_clear(&top->problem);
    if (top->explained != NULL && top->answers[ASK_MODEL] != NULL) {
        json_decref(top->explained);
        top->explained = top->answers[ASK_MODEL];
        top->answers[ASK_MODEL] = NULL;
    }
    arrange(top);
    return 0;
}

static const char *path_of(const struct top *top, enum question question)
{
    static const char *const paths[ASK_COUNT] = {"/api/v1/models", "/api/v1/models?window=all",
                                                 "/api/v1/status", NULL};
    return paths[question] != NULL ? paths[question] : top->explained_path.data;
}

static int ask(struct top *top, enum question question)
{
    top->question = question;
    buf_clear(&top->problem);
    int status = fetch_start(top->fetch, "GET", path_of(top, question), &top->problem);
    top->asking = status == 0;
    return status;
}

/* One answer is there. */
static int take_answer(struct top *top)
{
    long http_status = 0;
    struct str body = {0};
    enum question question = top->question;
    top->asking = false;
    buf_clear(&top->problem);
    int status = fetch_finish(top->fetch, &http_status, &body, &top->problem);
    if (status == 0 && http_status == 404 && question == ASK_MODEL) {
        status = take_answers(top); /* it was reset: what was known of it stays */
        forget_answers(top);
        return status;
    }
    if (status == 0 && http_status != 200) {
        status = answer_refused(path_of(top, question), http_status, body, &top->problem);
    }
    status = status != 0 ? status : answer_read(body, &top->answers[question], &top->problem);
    if (status != 0) {
        return status;
    }
    if (question < ASK_STATUS || (question == ASK_STATUS && top->explained != NULL)) {
        return ask(top, question + 1);
    }
    status = take_answers(top);
    forget_answers(top);
    return status;
}

/* Goes on with the questions. True when there is something new to show. */
static bool step(struct top *top, int *ret_status)
{
    int status = 0;
    *ret_status = 0;
    if (!top->asking && now() >= top->next) {
        top->asked = now();
        status = ask(top, ASK_MODELS);
    }
    if (status == 0 && top->asking) {
        if (!fetch_wait(top->fetch, top->screen.handle != NULL ? STDIN_FILENO : -1, WAIT_MS_MAX)) {
            return false;
        }
        status = take_answer(top);
        if (status == 0 && top->asking) {
            return false; /* one more question */
        }
    }
    if (status != 0) {
        lose(top);
        *ret_status = status;
    } else {
        top->next = top->asked + top->tool->arguments.interval;
    }
    return true;
}

/* --- keys -------------------------------------------------------------------------------------- */

static void choose_sort(struct top *top, enum sort sort)
{
    top->reverse = sort == top->sort && !top->reverse;
    top->sort = sort;
    top->first = 0;
    arrange(top);
}

static void select_row(struct top *top, int row)
{
    int count = (int)top->models.shown;
    row = row < count ? row : count - 1;
    row = row > 0 ? row : 0;
    top->row = row;
    buf_clear(&top->selected);
    if (count > 0) {
        buf_append(&top->selected, top->models.rows[row].title, top->models.rows[row].title_len);
    }
}

static void explain_selected(struct top *top)
{
    if (top->models.shown == 0) {
        return;
    }
    select_row(top, top->row);
    const struct model *model = &top->models.rows[top->row];
    buf_clear(&top->explained_path);
    named_path(model->json, false, &top->explained_path);
    if (top->explained_path.err == 0) {
        top->explained = json_incref((json_t *)(uintptr_t)model->json);
        top->scrolled = 0;
        top->next = now(); /* what only the model's own answer tells comes at once */
    }
}

static void type_filter(struct top *top, int key)
{
    size_t len = strlen(top->filter);
    if (key == '\n' || key == '\r' || key == KEY_ENTER) {
        top->typing = false;
    } else if (key == KEY_ESCAPE) {
        top->typing = false;
        top->filter[0] = '\0';
    } else if (key == KEY_BACKSPACE || key == 127 || key == '\b') {
        while (len > 0 && ((unsigned char)top->filter[len - 1] & 0xC0) == 0x80) {
            len--;
        }
        top->filter[len > 0 ? len - 1 : 0] = '\0';
    } else if (key >= ' ' && key < 256 && len < FILTER_BYTES) {
        top->filter[len] = (char)key;
        top->filter[len + 1] = '\0';
    }
    arrange(top);
}

static void close_explained(struct top *top)
{
    json_decref(top->explained);
    top->explained = NULL;
}

static void take_explained_key(struct top *top, int key, int page)
{
    int to = top->scrolled;
    switch (key) {
    case 'q':
    case '\n':
    case '\r':
    case KEY_ENTER:
    case KEY_ESCAPE:
    case KEY_LEFT:
        close_explained(top);
        return;
    case KEY_UP:
    case 'k':
        to--;
        break;
    case KEY_DOWN:
    case 'j':
        to++;
        break;
    case KEY_PPAGE:
        to -= page;
        break;
    case KEY_NPAGE:
    case ' ':
        to += page;
        break;
    case KEY_HOME:
        to = 0;
        break;
    default:
        return;
    }
    top->scrolled = to > 0 ? to : 0;
}

static void take_table_key(struct top *top, int key, int page)
{
    switch (key) {
    case 'q':
        top->quit = true;
        break;
    case 'n':
        choose_sort(top, SORT_NAME);
        break;
    case 'r':
        choose_sort(top, SORT_RATE);
        break;
    case 'l':
        choose_sort(top, SORT_P99);
        break;
    case 'c':
        choose_sort(top, SORT_CPU);
        break;
    case 'v':
        choose_sort(top, SORT_VERDICT);
        break;
    case '/':
        top->typing = true;
        break;
    case KEY_ESCAPE:
        top->filter[0] = '\0';
        arrange(top);
        break;
    case KEY_UP:
    case 'k':
        select_row(top, top->row - 1);
        break;
    case KEY_DOWN:
    case 'j':
        select_row(top, top->row + 1);
        break;
    case KEY_PPAGE:
        select_row(top, top->row - page);
        break;
    case KEY_NPAGE:
        select_row(top, top->row + page);
        break;
    case KEY_HOME:
        select_row(top, 0);
        break;
    case KEY_END:
        select_row(top, (int)top->models.shown - 1);
        break;
    case '\n':
    case '\r':
    case KEY_ENTER:
        explain_selected(top);
        break;
    default:
        break;
    }
}

/* All keys that wait. True when there were any: a new size of the window is one. */
static bool take_keys(struct top *top)
{
    bool any = false;
    for (int key = getch(); key != ERR && !top->quit; key = getch()) {
        int page = getmaxy(stdscr) - 1 - PAGE_OVERLAP;
        page = page > 1 ? page : 1;
        any = true;
        if (top->explained != NULL) {
            take_explained_key(top, key, page);
        } else if (top->typing) {
            type_filter(top, key);
        } else {
            take_table_key(top, key, page);
        }
    }
    return any;
}

/* --- the loop ---------------------------------------------------------------------------------- */

/* Until it is time to ask again, or there is a key. False: the terminal is gone. */
static bool wait_for_keys(const struct top *top)
{
    double left = top->next - now();
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    int ready = poll(&input, 1, left > 0 ? (int)(left * 1e3) + 1 : 0);
    return ready <= 0 || (input.revents & (POLLHUP | POLLERR | POLLNVAL)) == 0;
}

static void run_live(struct top *top)
{
    int status;
    double drawn = now();
    draw(top);
    while (!top->quit && ended_by == 0) {
        bool changed = step(top, &status);
        changed = take_keys(top) || changed;
        if (changed || now() - drawn >= 1) { /* at least the seconds since it went */
            draw(top);
            drawn = now();
        }
        if (!top->asking && !top->quit && !wait_for_keys(top)) {
            return;
        }
    }
}

static bool open_screen(struct top *top)
{
    const int ends[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction action = {.sa_handler = take_signal};
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        (void)sigaction(ends[i], &action, NULL); /* there are such signals */
    }
    return screen_open(&top->screen, &top->tool->terminal);
}

/* The first answers, without a screen: when there is no daemon it is said as by every command. */
static int ask_first(struct top *top)
{
    int status = 0;
    while (status == 0 && !top->answered) {
        (void)step(top, &status);
    }
    if (status != 0) {
        top->problem.len -= top->problem.len > 0 ? 1 : 0; /* the zero that lose has put */
        tool_say(&top->problem);
    }
    return status;
}

static int print_once(struct top *top)
{
    struct buf out;
    const struct terminal *terminal = &top->tool->terminal;
    buf_init(&out, TOOL_TEXT_MAX);
    struct top_frame frame = frame_of(top);
    frame.live = false;
    frame.selected = TABLE_NONE;
    top_frame_render(&frame, terminal->columns, terminal->rows > 1 ? terminal->rows - 1 : 0, &out);
    return tool_print(top->tool, &out, 0);
}

static int run(struct top *top)
{
    const struct arguments *arguments = &top->tool->arguments;
    int status = ask_first(top);
    if (status != 0 || arguments->once) {
        return status != 0 ? status : print_once(top);
    }
    if (!open_screen(top)) {
        tool_complain("this terminal ($TERM) is not known; dwell top --once prints one picture");
        return EX_UNAVAILABLE;
    }
    run_live(top);
    screen_close(&top->screen);
    return 0;
}

static int check(const struct tool *tool)
{
    const struct arguments *arguments = &tool->arguments;
    if (arguments->json && !arguments->once) {
        tool_complain("top: --json goes with --once");
        return EX_USAGE;
    }
    if (!arguments->once && (!tool->terminal.is_terminal || isatty(STDIN_FILENO) != 1)) {
        tool_complain("top: this is no terminal; dwell top --once prints one picture");
        return EX_USAGE;
    }
    if (arguments->filter != NULL && strlen(arguments->filter) > FILTER_BYTES) {
        tool_complain("--filter: expects at most %d bytes, got %zu", FILTER_BYTES,
                      strlen(arguments->filter));
        return EX_USAGE;
    }
    return 0;
}

static void init(struct top *top, struct tool *tool)
{
    const struct arguments *arguments = &tool->arguments;
    *top = (struct top){.tool = tool,
                        .records_rate = NAN,
                        .sort = arguments->sort >= 0 ? (enum sort)arguments->sort : SORT_RATE};
    if (arguments->filter != NULL) {
        memcpy(top->filter, arguments->filter, strlen(arguments->filter) + 1);
    }
    buf_init(&top->problem, TOOL_PROBLEM_MAX);
    buf_init(&top->selected, TOOL_PROBLEM_MAX);
    buf_init(&top->explained_path, TOOL_PROBLEM_MAX);
    top->models.uptime = NAN;
}

static void fini(struct top *top)
{
    forget_answers(top);
    close_explained(top);
    models_fini(&top->models);
    buf_fini(&top->problem);
    buf_fini(&top->selected);
    buf_fini(&top->explained_path);
    fetch_close(top->fetch);
}

int top_run(struct tool *tool)
{
    struct fetch_target target;
    int status = check(tool);
    if (status == 0 && tool->arguments.json) {
        json_t *root;
        return tool_get(tool, "/api/v1/models", &root);
    }
    status = status != 0 ? status : tool_target(tool, "query.sock", &target);
    if (status != 0) {
        return status;
    }
    struct top top;
    init(&top, tool);
    top.fetch = fetch_open(&target);
    if (top.fetch == NULL) {
        tool_complain("no memory for requests");
        status = EX_OSERR;
    } else {
        status = run(&top);
    }
    fini(&top);
    return status;
}
