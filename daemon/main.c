/*
 * dwelld: connects the parts.
 *
 * Happy path
 *   1. command line, configuration and declared families (all problems at once), log; the state of an
 *      earlier life is read and checked
 *   2. directory and its sockets, the HTTP address, as far as the service manager has not handed them
 *      over: whatever cannot be had ends the start
 *   3. registry, ledger, intake, which go on from that state; the loop with its sockets; the sandbox,
 *      which all threads but the probe's start in (io/sandbox); exports; what the journal brings back;
 *      the HTTP thread
 *   4. one line says where everything is; the loop runs
 *   5. SIGTERM or SIGINT: no new connections, what has come is read and answered, connections end,
 *      then what waits for export goes out, all within shutdown.timeout_ms, or at once on a second
 *      signal; meanwhile the state is saved; until then /readyz says that the daemon ends; HTTP ends;
 *      exit 0
 *
 * Exit status (sysexits.h): 0, 64 usage, 69 something needed is in use, 73 a socket cannot be made,
 * 78 configuration.
 */
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "io/configuration.h"
#include "io/journald.h"
#include "io/log_output.h"
#include "io/system.h"
#include "main/main.h"
#include "main/apply.h"

enum {
    TEXT_MAX_BYTES = 1 << 20,
    TRIM_BYTES = 8 << 20,
};

/* --- configuration ----------------------------------------------------------------------------- */

static void print(FILE *stream, struct buf *text)
{
    if (text->len > 0) {
        (void)fwrite(text->data, 1, text->len, stream); /* nowhere to tell that it failed */
        (void)fflush(stream);
    }
    buf_clear(text);
}

/* What can be said without starting. Returns an exit status, or -1: go on. */
static int act(struct dwelld *dwelld)
{
    struct buf text;
    buf_init(&text, TEXT_MAX_BYTES);
    int status = 0;
    switch (dwelld->command.action) {
    case CONF_ACTION_HELP:
        conf_render_help(&text);
        break;
    case CONF_ACTION_VERSION:
        buf_puts(&text, "dwelld " DWELL_VERSION "\n");
        break;
    case CONF_ACTION_TABLE:
        conf_render_table(&text);
        break;
    case CONF_ACTION_PRINT:
        conf_render_json(&text, &dwelld->conf);
        break;
    case CONF_ACTION_CHECK:
        buf_puts(&text, dwelld->command.file_name == NULL && dwelld->command.set_count == 0
                            ? "The built-in defaults and the environment are good; no file was "
                              "named.\n"
                            : "The configuration is good.\n");
        break;
    case CONF_ACTION_RUN:
        status = -1;
        break;
    }
    print(stdout, &text);
    buf_fini(&text);
    return status;
}

static bool needs_conf(enum conf_action action)
{
    return action == CONF_ACTION_RUN || action == CONF_ACTION_CHECK || action == CONF_ACTION_PRINT;
}

static int read_conf(struct dwelld *dwelld, int argc, char **argv)
{
    struct buf errors;
    struct buf warnings;
    int status = 0;
    buf_init(&errors, CONF_ERRORS_MAX_BYTES);
    buf_init(&warnings, CONF_ERRORS_MAX_BYTES);
    if (conf_parse_command(&dwelld->command, argc, argv, &errors) != 0) {
        buf_puts(&errors, "Try: dwelld --help\n");
        status = EX_USAGE;
    } else if (needs_conf(dwelld->command.action) &&
               configuration_read(&dwelld->command, &dwelld->conf, &dwelld->families, &errors,
                                  &warnings) != 0) {
        status = EX_CONFIG;
    }
    print(stderr, &errors);
    if (status == 0 && needs_conf(dwelld->command.action)) {
        log_init(&(struct log_options){.fd = STDERR_FILENO,
                                       .output = log_output,
                                       .has_journal = true,
                                       .journal_fd = journald_open(JOURNAL_SOCKET),
                                       .is_journal =
                                           journald_has(getenv("JOURNAL_STREAM"), STDERR_FILENO),
                                       .level = (enum log_level)dwelld->conf.log.level,
                                       .format = (enum log_format)dwelld->conf.log.format,
                                       .hash = dwelld->conf.service.constitutional_hash,
                                       .clock = dwelld->clock});
        main_log_lines(LOG_LEVEL_WARNING, &warnings);
    }
    buf_fini(&errors);
    buf_fini(&warnings);
    return status;
}

/* --- from the start to the end ------------------------------------------------------------------ */

/* From a good configuration to the exit status. What is still open at a failed start goes with the
 * process; the sockets' files do not, and are removed. */
static int run(struct dwelld *dwelld)
{
    hist_init_tables();
    tally_init_tables();
    main_ingest_fit(dwelld);
    notify_open(&dwelld->notify, environ);
    if (!inherited_take(&dwelld->inherited, environ, dwelld->conf.ingest.directory,
                        &dwelld->notify)) {
        return EX_CONFIG;
    }
    int status = main_state_load(&dwelld->state, &dwelld->conf, &dwelld->counters);
    if (status == 0) {
        status = main_sockets_open(dwelld);
    }
    if (status != 0) {
        return status;
    }
    int err = uv_loop_init(&dwelld->loop) == 0 ? main_core_start(dwelld) : ERR_SYSTEM;
    if (err == 0) {
        err = main_ingest_start(dwelld);
    }
    if (err == 0) {
        err = main_signals_start(dwelld);
    }
    if (err == 0) {
        err = main_confine(dwelld);
    }
    if (err == 0) {
        err = main_exports_start(dwelld);
    }
    if (err == 0) {
        err = main_ingest_bring_back(dwelld);
    }
    if (err == 0) {
        err = main_http_start(dwelld);
    }
    if (err == 0) {
        err = main_state_start(&dwelld->state, &dwelld->conf, &dwelld->loop, &dwelld->handover,
                               &dwelld->self);
        main_state_set_journal(&dwelld->state, dwelld->ingest.journal, dwelld->has_brought_back);
    }
    if (err != 0) {
        log_error("cannot start: %s", dwelld->lacks_journal
                                          ? "there is no journal, and acknowledgements are promises"
                                          : err_sentence(err));
        directory_close(&dwelld->directory);
        bool is_conf = err == ERR_CONFLICT || err == ERR_RANGE; /* of families; of the journal */
        return is_conf ? EX_CONFIG : EX_UNAVAILABLE;
    }
    main_sockets_say(dwelld);
    pulse_start(&dwelld->pulse, &dwelld->loop, &dwelld->notify, &dwelld->ingest);
    notify_ready(&dwelld->notify);
    (void)malloc_trim(0); /* what reading the configuration took; says whether it found any */
    (void)uv_run(&dwelld->loop, UV_RUN_DEFAULT); /* returns when no handle is left */
    (void)uv_loop_close(&dwelld->loop);
    main_core_fini(dwelld);
    directory_close(&dwelld->directory);
    notify_close(&dwelld->notify);
    log_info("stopped");
    return EX_OK;
}

int main(int argc, char **argv)
{
    /* All zero: with a value of its own it would be 0.4 MB of the binary, and of memory with it. */
    static struct dwelld dwelld;
    dwelld.http_fd = -1;
    dwelld.clock = system_clock();
    /* One heap for both threads: a second arena would be touched for every answer. */
    (void)mallopt(M_ARENA_MAX, 1);
    /* What a scrape made copies of is needed again at the next: giving it back costs the loop time. */
    (void)mallopt(M_TRIM_THRESHOLD, TRIM_BYTES);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error of its write */
    int status = read_conf(&dwelld, argc, argv);
    if (status == 0) {
        status = act(&dwelld);
        if (status < 0) {
            status = run(&dwelld);
        }
    }
    conf_families_fini(&dwelld.families);
    if (!dwelld.journal
             .has_thread) { /* else it was left behind, and still reads its directory's name */
        conf_fini(&dwelld.conf);
    }
    conf_command_fini(&dwelld.command);
    return status;
}
