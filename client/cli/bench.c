/*
 * dwell bench: would a GPU help this model? Runs it under load and says.
 *
 * Happy path
 *   1. the options are checked, the content of requests is read
 *   2. a daemon is found, or one of our own is started
 *   3. workers are started, or connections made
 *   4. dwell_bench_run asks: all to warm up, one alone, all at once. Each request of the one alone goes to
 *      the daemon as a sample, with what the worker used for it
 *   5. the daemon is asked what it thinks of the model
 *   6. workers and a daemon of our own are stopped
 *   7. the result is printed
 *
 * Why only requests of the one alone are judged: of several some wait for a CPU that another has, which
 * says something about the machine, not about the model. And a request that reached nobody is no sample:
 * it would stay at the daemon as the model's.
 *
 * What can fail: a worker that dies, hangs or does not keep to one line for one (69, 76): the run ends,
 * what was measured until then is printed. Single requests to a URL: they are counted, and only when all
 * of a stage fail it ends (69). No daemon: our own thresholds decide. Ctrl-C: as for a worker that dies,
 * 130.
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/bench_daemon.h"
#include "cli/bench_input.h"
#include "cli/bench_progress.h"
#include "cli/bench_result.h"
#include "cli/bench_samples.h"
#include "cli/bench_url.h"
#include "cli/tool.h"

enum {
    SETTLE_NS = 20000000, /* two ticks of the slowest kernels: then the reading has all anyway */
    CONFIRM_MS = 5000,    /* for the daemon to apply what was sent */
    ASK_SECONDS = 10,
    SIGNAL_STATUS = 128, /* and the signal's number, as shells have it */
};

/* Of one worker, be it a process of ours or a connection. */
struct place_of_work {
    struct worker worker; /* without a URL */
    struct asker *asker;  /* with one */
    struct usage_source source;
    struct usage first; /* after its first answer */
    struct usage last;  /* after its last one that was watched */
    bool watched;       /* there is a process, and `first` and `last` hold something */
    bool asked;         /* it has been asked before */
};

struct bench {
    struct tool *tool;
    const struct bench_arguments *arguments;
    uint32_t samples_asked, concurrency, warmup;
    uint64_t timeout_ns;
    uint64_t start_timeout_ns; /* of the first answer */
    unsigned cpus;
    int stop_fd;
    struct input input;
    struct url_request request;
    struct place_of_work *places;
    uint32_t started; /* of them */
    struct daemon daemon;
    struct samples samples;
    int samples_fd;                 /* of our own, -1: it is a worker's, or there is none */
    double runqueue_ms, watched_ms; /* of requests of the one alone that could be watched */
    struct progress progress;
    struct buf name;    /* of the model, terminated */
    struct buf problem; /* of the first request to a URL that failed */
    pthread_mutex_t problem_lock;
    struct buf daemon_problem;
};

/* --- signals ----------------------------------------------------------------------------------- */

static _Atomic int caught; /* the signal that ends the run; read by all threads */
static int caught_fd = -1; /* and what wakes those who wait */

static void on_signal(int number)
{
    static const uint64_t one = 1;
    int saved = errno;
    caught = number;
    if (write(caught_fd, &one, sizeof one) < 0) {
        _exit(SIGNAL_STATUS + number); /* nobody could be woken; the kernel kills the workers */
    }
    errno = saved;
}

/* The first one ends the run; the second has its usual effect. */
static void catch_signals(int stop_fd)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    caught_fd = stop_fd;
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        struct sigaction before;
        bool ignored = sigaction(numbers[i], NULL, &before) == 0 && before.sa_handler == SIG_IGN;
        if (!ignored) {                                 /* as under nohup */
            (void)sigaction(numbers[i], &action, NULL); /* such signals can be caught */
        }
    }
}

/* --- requests: called from the runner's threads -------------------------------------------------- */

static uint64_t now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* there is such a clock */
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static struct str without_newline(struct str line)
{
    line.len -= line.len > 0 && line.ptr[line.len - 1] == '\n' ? 1 : 0;
    return line;
}

static enum ask ask_url(struct bench *bench, struct place_of_work *place, struct str line,
                        uint64_t timeout_ns)
{
    struct buf problem;
    buf_init(&problem, WORKER_PROBLEM_MAX);
    bool is_file = bench->arguments->data != NULL;
    enum ask ask =
        asker_ask(place->asker, is_file ? line : without_newline(line), timeout_ns, &problem);
    if (ask == ASK_FAILED) {
        (void)pthread_mutex_lock(&bench->problem_lock); /* ours, and not held */
        if (bench->problem.len == 0) {
            buf_append(&bench->problem, problem.data, problem.len);
        }
        (void)pthread_mutex_unlock(&bench->problem_lock);
    }
    buf_fini(&problem);
    return ask;
}

static int request(void *user, uint32_t number, uint64_t request_number)
{
    char room[INPUT_NUMBER_BYTES];
    struct bench *bench = user;
    struct place_of_work *place = &bench->places[number];
    struct str line = input_line(&bench->input, request_number, room);
    uint64_t timeout_ns = place->asked ? bench->timeout_ns : bench->start_timeout_ns;
    place->asked = true;
    enum ask ask = place->asker != NULL ? ask_url(bench, place, line, timeout_ns)
                                        : worker_ask(&place->worker, line, timeout_ns);
    return ask == ASK_ANSWERED ? 0 : -1;
}

/* What the place used for this request; between two of them it used nothing. */
static struct spent watch(struct bench *bench, struct place_of_work *place, double latency_ms)
{
    struct usage now;
    if (!place->watched) {
        return spent_unknown();
    }
    usage_settle(&place->source, SETTLE_NS);
    usage_read(&place->source, &now);
    if (!place->first.has_stat) {
        place->first = now;
    }
    struct spent spent = spent_between(&place->first, &place->last, &now, latency_ms, bench->cpus);
    place->last = now;
    return spent;
}

static int done(void *user, struct dwell_bench_call *call)
{
    struct bench *bench = user;
    struct place_of_work *place = &bench->places[call->worker];
    bool is_process = place->asker == NULL;
    if (is_process && call->failed) {
        return -1;
    }
    if (call->stage != DWELL_BENCH_CONCURRENT) {
        struct spent spent = watch(bench, place, call->latency_ms);
        call->cpu_ms = spent.process_cpu_ms;
        if (call->stage == DWELL_BENCH_SEQUENTIAL) {
            if (!isnan(spent.runqueue_ms)) {
                bench->runqueue_ms += spent.runqueue_ms;
                bench->watched_ms += call->latency_ms;
            }
            if (is_process || asker_has_reached(place->asker)) {
                samples_send(&bench->samples, call->latency_ms, call->failed, &spent);
            }
        }
    }
    progress_step(&bench->progress, call->stage, now_ns(), call->latency_ms);
    return caught != 0 || (is_process && !worker_is_silent(&place->worker)) ? -1 : 0;
}

/* --- before and after -------------------------------------------------------------------------- */

static int read_input(struct bench *bench)
{
    const struct bench_arguments *arguments = bench->arguments;
    struct buf problem;
    const char *source = arguments->input;
    int status = 0;
    buf_init(&problem, TOOL_PROBLEM_MAX);
    input_init(&bench->input);
    if (source != NULL) {
        status = input_read(&bench->input, source, &problem);
    } else if (arguments->data != NULL && arguments->data[0] == '@') {
        source = arguments->data + 1;
        status = input_read_whole(&bench->input, source, &problem);
    } else if (arguments->data != NULL) {
        source = "--data";
        status = input_take_whole(&bench->input, str_of(arguments->data), &problem);
    }
    if (status != 0) {
        tool_complain("bench: %s: %.*s", source, (int)problem.len, problem.data);
    }
    buf_fini(&problem);
    return status;
}

static void find_daemon(struct bench *bench)
{
    const struct bench_arguments *arguments = bench->arguments;
    int status = 0;
    if (arguments->no_daemon) {
        return;
    }
    if (!arguments->start_daemon) {
        status = daemon_find(&bench->daemon, bench->tool->arguments.dir, &bench->daemon_problem);
    }
    if (status == 0 && !bench->daemon.is_there) {
        (void)daemon_start(&bench->daemon, &bench->daemon_problem); /* then the problem is said */
    }
}

static void watch_process(struct place_of_work *place, pid_t pid)
{
    usage_open(&place->source, pid);
    usage_read(&place->source, &place->last);
    place->watched = true;
}

static int start_worker(struct bench *bench, struct place_of_work *place)
{
    bool sends = bench->daemon.is_there && bench->started == 0;
    worker_init(&place->worker, bench->started, bench->stop_fd);
    int status = worker_start(&place->worker, bench->tool->arguments.operands,
                              sends ? &bench->daemon.ingest : NULL);
    bench->started++;
    if (status != 0) {
        tool_say(&place->worker.problem);
        return status;
    }
    watch_process(place, place->worker.pid);
    if (sends) {
        samples_open(&bench->samples, place->worker.samples, bench->name.data, place->worker.pid);
    }
    return 0;
}

static int start_asker(struct bench *bench, struct place_of_work *place)
{
    const struct bench_arguments *arguments = bench->arguments;
    worker_init(&place->worker, bench->started, bench->stop_fd);
    bench->started++;
    place->asker = asker_open(&bench->request, bench->stop_fd);
    if (place->asker == NULL) {
        tool_complain("no memory for a request");
        return EX_OSERR;
    }
    if (place == bench->places && arguments->pid != 0) {
        watch_process(place, (pid_t)arguments->pid);
        if (!place->last.has_process_cpu) {
            tool_complain("--pid: there is no process %u that may be watched",
                          (unsigned)arguments->pid);
            return EX_UNAVAILABLE;
        }
    }
    return 0;
}

static int start_places(struct bench *bench)
{
    int status = 0;
    const struct bench_arguments *arguments = bench->arguments;
    bench->request =
        (struct url_request){.url = arguments->url,
                             .has_body = arguments->data != NULL || arguments->input != NULL,
                             .content_type = arguments->content_type};
    bench->places = mem_zalloc(bench->concurrency, sizeof *bench->places);
    if (bench->places == NULL) {
        tool_complain("no memory for the workers");
        return EX_OSERR;
    }
    while (status == 0 && bench->started < bench->concurrency) {
        struct place_of_work *place = &bench->places[bench->started];
        status = arguments->url != NULL ? start_asker(bench, place) : start_worker(bench, place);
    }
    if (status == 0 && arguments->url != NULL && bench->daemon.is_there) {
        bench->samples_fd = samples_connect(&bench->daemon.ingest);
        samples_open(&bench->samples, bench->samples_fd, bench->name.data, (pid_t)arguments->pid);
    }
    return status;
}

static void stop_places(struct bench *bench)
{
    struct worker *workers = mem_zalloc(bench->started > 0 ? bench->started : 1, sizeof *workers);
    for (uint32_t i = 0; i < bench->started; i++) {
        asker_close(bench->places[i].asker);
        if (bench->places[i].watched) {
            usage_close(&bench->places[i].source);
        }
        if (workers != NULL) {
            workers[i] = bench->places[i].worker;
        } else {
            workers_stop(&bench->places[i].worker, 1); /* one after the other, then */
        }
    }
    if (workers != NULL) {
        workers_stop(workers, bench->started);
    }
    mem_free(workers);
    workers_sweep(bench->daemon.pid);
    mem_free(bench->places);
}

/* --- the result -------------------------------------------------------------------------------- */

static double run_of_worker_ms(const struct usage *from, const struct usage *to)
{
    return to->has_process_cpu && from->has_process_cpu &&
                   to->process_cpu_ns >= from->process_cpu_ns
               ? (double)(to->process_cpu_ns - from->process_cpu_ns) / 1e6
               : (double)NAN;
}

/* What all workers used since the stage of one alone, and what the largest holds. */
static void look_at_all(struct bench *bench, struct bench_run *run)
{
    double cpu_ms = 0;
    for (uint32_t i = 0; i < bench->started; i++) {
        struct place_of_work *place = &bench->places[i];
        struct usage now;
        if (!place->watched) {
            cpu_ms = i == 0 || bench->arguments->pid == 0 ? (double)NAN : cpu_ms;
            continue;
        }
        usage_settle(&place->source, SETTLE_NS);
        usage_read(&place->source, &now);
        cpu_ms += run_of_worker_ms(&place->last, &now);
        if (now.has_status) {
            run->memory_mb = fmax(run->memory_mb, (double)now.resident_kb / 1024);
            run->memory_mb_peak = fmax(run->memory_mb_peak, (double)now.peak_kb / 1024);
        }
    }
    if (bench->concurrency > 1) {
        run->concurrent_cpu_percent = 100 * cpu_ms / run->result.concurrent.elapsed_ms;
    } else {
        run->concurrent_cpu_percent = run->result.sequential.cpu_percent;
    }
}

/* Why it ended early: the tool's exit status, and the sentence; borrowed. */
static int find_fault(struct bench *bench, int err, struct buf *problem)
{
    if (caught != 0) {
        buf_printf(problem, "ended by %s", caught == SIGINT ? "Ctrl-C" : strsignal(caught));
        return SIGNAL_STATUS + caught;
    }
    for (uint32_t i = 0; i < bench->started; i++) {
        const struct worker *worker = &bench->places[i].worker;
        if (worker->status != 0) {
            buf_append(problem, worker->problem.data, worker->problem.len);
            return worker->status;
        }
    }
    if (err == -EIO) {
        buf_append(problem, bench->problem.data, bench->problem.len);
        return EX_UNAVAILABLE;
    }
    buf_printf(problem, "cannot run: %s", strerror(-err));
    return EX_OSERR;
}

static json_t *ask_daemon(struct bench *bench)
{
    struct buf *problem = &bench->daemon_problem;
    json_t *model = NULL;
    if (bench->samples.sent > 0 && samples_confirm(&bench->samples, CONFIRM_MS, problem)) {
        model = daemon_ask(&bench->daemon, bench->name.data, ASK_SECONDS, problem);
    }
    return model;
}

static int write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "we");
    bool good = file != NULL && fputs(text, file) >= 0 && fputc('\n', file) != EOF;
    int reason = errno;
    if (file != NULL && fclose(file) != 0) {
        reason = good ? errno : reason;
        good = false;
    }
    if (!good) {
        tool_complain("%s: %s", path, strerror(reason));
    }
    return good ? 0 : EX_CANTCREAT;
}

static int print_result(struct bench *bench, const json_t *result, int status)
{
    const struct bench_arguments *arguments = bench->arguments;
    struct buf out;
    char *text = json_dumps(result, JSON_INDENT(2));
    if (text == NULL) {
        tool_complain("no memory for the result");
        return EX_OSERR;
    }
    int failed = arguments->output != NULL ? write_file(arguments->output, text) : 0;
    buf_init(&out, TOOL_TEXT_MAX);
    if (bench->tool->arguments.json) {
        buf_puts(&out, text);
        buf_char(&out, '\n');
    } else {
        bench_table(result, bench->tool->terminal.utf8, bench->tool->terminal.columns, &out);
    }
    free(text);
    status = failed != 0 ? failed : status;
    if (bench->tool->arguments.json) {
        failed = terminal_write(&out);
        buf_fini(&out);
        return failed != 0 ? failed : status;
    }
    return tool_print(bench->tool, &out, status);
}

static int report(struct bench *bench, struct bench_run *run, int status)
{
    json_t *result = bench_result(run);
    if (result == NULL) {
        tool_complain("no memory for the result");
        return EX_OSERR;
    }
    if (status == 0) {
        status = bench_recommends_gpu(result) ? EXIT_NO : 0;
    }
    status = print_result(bench, result, status);
    json_decref(result);
    return status;
}

/* --- a run ------------------------------------------------------------------------------------- */

static struct bench_run describe(const struct bench *bench)
{
    return (struct bench_run){
        .model_name = bench->name.data,
        .url = bench->arguments->url,
        .command = bench->tool->arguments.operands,
        .words = bench->tool->arguments.operand_count,
        .samples = bench->samples_asked,
        .concurrency = bench->concurrency,
        .warmup = bench->warmup,
        .timeout_seconds = (double)bench->timeout_ns / 1e9,
        .cpus = bench->cpus,
        .started_unix = (double)time(NULL),
        .daemon = !bench->daemon.is_there ? "none"
                  : bench->daemon.pid > 0 ? "started"
                                          : "found",
        .memory_mb = NAN,
        .memory_mb_peak = NAN,
        .concurrent_cpu_percent = NAN,
    };
}

static void prepare_progress(struct bench *bench)
{
    struct terminal terminal;
    const uint64_t total[] = {(uint64_t)bench->warmup * bench->concurrency, bench->samples_asked,
                              bench->concurrency > 1 ? bench->samples_asked : 0};
    _Static_assert(sizeof total / sizeof total[0] == DWELL_BENCH_STAGES, "one each");
    terminal_init(&terminal, STDERR_FILENO, COLOR_NEVER);
    enum progress_kind kind = bench->arguments->quiet ? PROGRESS_NONE
                              : terminal.is_terminal  ? PROGRESS_BAR
                                                      : PROGRESS_LINES;
    progress_init(&bench->progress, kind, (unsigned)terminal.columns, total);
}

static int measure(struct bench *bench)
{
    const struct dwell_bench_options options = {.size = sizeof options,
                                                .request = request,
                                                .done = done,
                                                .user = bench,
                                                .samples = bench->samples_asked,
                                                .concurrency = bench->concurrency,
                                                .warmup = bench->warmup,
                                                .no_warmup = bench->warmup == 0,
                                                .elsewhere = true};
    struct bench_run run = describe(bench);
    struct buf problem;
    int status = 0;
    uint64_t begin_ns = now_ns();
    json_t *model = NULL;
    buf_init(&problem, TOOL_PROBLEM_MAX);
    run.result.size = sizeof run.result;
    prepare_progress(bench);
    int err = dwell_bench_run(&options, &run.result);
    run.elapsed_seconds = (double)(now_ns() - begin_ns) / 1e9;
    progress_end(&bench->progress);
    if (err != 0) {
        status = find_fault(bench, err, &problem);
        tool_say(&problem);
        buf_char(&problem, '\0');
        run.problem = problem.data;
    }
    if (err == 0 || run.result.sequential.requests > 0) {
        run.complete = err == 0;
        look_at_all(bench, &run);
        run.runqueue_percent = 100 * bench->runqueue_ms / bench->watched_ms; /* NaN of nothing */
        model = ask_daemon(bench);
        run.model = model;
        run.samples_sent = bench->samples.sent;
        buf_char(&bench->daemon_problem, '\0');
        run.daemon_problem = bench->daemon_problem.data;
        status = report(bench, &run, status);
    }
    json_decref(model);
    buf_fini(&problem);
    return status;
}

static void complete(struct bench *bench)
{
    const struct arguments *arguments = &bench->tool->arguments;
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    arguments->operands[arguments->operand_count] = NULL; /* argv had the tool and "bench", too */
    bench->samples_asked = bench->arguments->samples;
    bench->concurrency = bench->arguments->concurrency;
    bench->warmup = bench->arguments->warmup;
    bench->timeout_ns = (uint64_t)(bench->arguments->answer_timeout * 1e9);
    bench->start_timeout_ns = (uint64_t)(bench->arguments->start_timeout * 1e9);
    bench->cpus = cpus > 0 ? (unsigned)cpus : 1;
    buf_init(&bench->name, 2 * BENCH_NAME_MAX);
    bench_name(bench->arguments, arguments->operand_count, arguments->operands, &bench->name);
    buf_char(&bench->name, '\0');
    buf_init(&bench->problem, WORKER_PROBLEM_MAX);
    buf_init(&bench->daemon_problem, TOOL_PROBLEM_MAX);
}

static int run_all(struct bench *bench)
{
    int status = read_input(bench);
    if (status == 0) {
        workers_adopt();
        find_daemon(bench);
        catch_signals(bench->stop_fd);
        status = start_places(bench);
    }
    if (status == 0) {
        status = measure(bench);
    }
    samples_close(&bench->samples);
    if (bench->samples_fd >= 0) {
        (void)close(bench->samples_fd); /* nothing is held back in it */
    }
    stop_places(bench);
    daemon_stop(&bench->daemon);
    input_fini(&bench->input);
    return status;
}

int bench_run(struct tool *tool)
{
    struct bench bench = {.tool = tool,
                          .arguments = &tool->arguments.bench,
                          .samples = {.fd = -1},
                          .samples_fd = -1,
                          .problem_lock = PTHREAD_MUTEX_INITIALIZER};
    struct buf problem;
    buf_init(&problem, TOOL_PROBLEM_MAX);
    int status = bench_check(bench.arguments, tool->arguments.operand_count, &problem);
    if (status != 0) {
        buf_puts(&problem, ". See dwell bench --help");
        tool_say(&problem);
        buf_fini(&problem);
        return status;
    }
    buf_fini(&problem);
    complete(&bench);
    bench.stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (bench.stop_fd < 0 || bench.name.err != 0) {
        tool_complain("bench: %s", strerror(bench.stop_fd < 0 ? errno : ENOMEM));
        status = EX_OSERR;
    } else {
        status = run_all(&bench);
        (void)close(bench.stop_fd); /* nothing is held back in it */
    }
    buf_fini(&bench.name);
    buf_fini(&bench.problem);
    buf_fini(&bench.daemon_problem);
    return status;
}
