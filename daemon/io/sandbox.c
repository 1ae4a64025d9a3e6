/*
 * Happy path
 *   1. begin: no program that is executed can have more rights; the filter of system calls
 *   2. the probe's thread starts, keeps the capabilities that it looks with, and gets a narrower filter
 *   3. finish: the loop's thread drops all capabilities, and is confined by Landlock
 *   4. all other threads are started by it, and inherit that
 *   5. each turn of the loop: was a call forbidden? Its name is said once
 *
 * What can fail: the kernel has no seccomp or no Landlock, or it is not switched on. With "auto" that
 * is said at the start and in /api/v1/status; with "on" the start fails. Capabilities that cannot be
 * dropped always fail it.
 *
 * Under a sanitizer "auto" is off: to report, they execute a program and trace their own threads.
 */
#include "io/sandbox.h"

#include <string.h>
#include <sys/prctl.h>

#include "base/err.h"
#include "base/log.h"
#include "io/sandbox_capabilities.h"
#include "io/sandbox_denied.h"
#include "io/sandbox_seccomp.h"

enum { NAME_MAX_BYTES = 64 };

#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
#define HAS_SANITIZER 1
#elif defined __has_feature
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) ||                         \
    __has_feature(memory_sanitizer)
#define HAS_SANITIZER 1
#endif
#endif
#ifndef HAS_SANITIZER
#define HAS_SANITIZER 0
#endif

static const char by_option[] = "off";
static const char by_sanitizer[] = "off: built with a sanitizer";
static const char by_filter[] = "off: the kernel does not take a filter";
static const char by_kernel[] = "off: the kernel has no Landlock, or has it switched off";
static const char by_rules[] = "off: the kernel does not take the rules";

/* Why it is not even tried; NULL: it is. */
static const char *reason_against(enum sandbox_choice choice)
{
    return choice == SANDBOX_OFF                     ? by_option
           : choice == SANDBOX_AUTO && HAS_SANITIZER ? by_sanitizer
                                                     : NULL;
}

/* --- the whole process ------------------------------------------------------------------------- */

static int apply_filter(struct sandbox *sandbox, struct buf *problem)
{
    sandbox->no_filter = reason_against(sandbox->options.seccomp);
    if (sandbox->no_filter != NULL) {
        return 0;
    }
    int reason = sandbox_seccomp_apply();
    if (reason == 0) {
        return 0;
    }
    sandbox->no_filter = by_filter;
    if (sandbox->options.seccomp != SANDBOX_ON) {
        return 0;
    }
    buf_printf(problem, "sandbox.seccomp: the kernel does not take a filter: %s", strerror(reason));
    return ERR_SYSTEM;
}

int sandbox_begin(struct sandbox *sandbox, const struct sandbox_options *options,
                  struct buf *problem)
{
    *sandbox = (struct sandbox){.options = *options, .had = sandbox_capabilities_get()};
    if (options->probes && options->probe_capabilities) {
        sandbox->kept = sandbox_capabilities_to_look(sandbox->had);
    }
    sandbox->no_landlock = reason_against(options->landlock);
    if (sandbox->no_landlock == NULL) {
        sandbox->landlock_version = sandbox_landlock_version();
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        buf_puts(problem, "the kernel has no PR_SET_NO_NEW_PRIVS");
        return ERR_SYSTEM;
    }
    return apply_filter(sandbox, problem);
}

/* --- the probe's thread ------------------------------------------------------------------------ */

bool sandbox_wants_probe_first(const struct sandbox *sandbox)
{
    return sandbox->options.probes && (sandbox->kept != 0 || sandbox->landlock_version > 0);
}

void sandbox_enter_probe(void *ctx)
{
    const struct sandbox *sandbox = ctx;
    int reason = sandbox_capabilities_drop(sandbox->kept);
    if (reason == 0 && sandbox->no_filter == NULL) {
        reason = sandbox_seccomp_narrow();
    }
    if (reason != 0) {
        log_warning("the sandbox of the probe is not what it should be: %s", strerror(reason));
    }
}

/* --- the other threads ------------------------------------------------------------------------- */

static int confine(struct sandbox *sandbox, const struct sandbox_place *places, size_t place_count,
                   const struct sandbox_ports *ports, struct buf *problem)
{
    if (sandbox->no_landlock != NULL) {
        return 0;
    }
    int reason = 0;
    if (sandbox->landlock_version == 0) {
        sandbox->no_landlock = by_kernel;
    } else {
        reason = sandbox_landlock_apply(sandbox->landlock_version, places, place_count, ports);
        sandbox->no_landlock = reason == 0 ? NULL : by_rules;
    }
    if (sandbox->no_landlock == NULL || sandbox->options.landlock != SANDBOX_ON) {
        return 0;
    }
    buf_printf(problem, "sandbox.landlock: %s%s%s",
               sandbox->no_landlock + sizeof "off:", reason == 0 ? "" : ": ",
               reason == 0 ? "" : strerror(reason));
    return ERR_SYSTEM;
}

int sandbox_finish(struct sandbox *sandbox, const struct sandbox_place *places, size_t place_count,
                   const struct sandbox_ports *ports, struct buf *problem)
{
    int reason = sandbox_capabilities_drop(0);
    if (reason != 0) {
        buf_printf(problem, "capabilities cannot be dropped: %s", strerror(reason));
        return ERR_SYSTEM;
    }
    return confine(sandbox, places, place_count, ports, problem);
}

/* --- what was forbidden ------------------------------------------------------------------------ */

static void say_forbidden(void)
{
    struct buf name;
    buf_init(&name, NAME_MAX_BYTES);
    for (int number = sandbox_denied_next(); number >= 0; number = sandbox_denied_next()) {
        sandbox_seccomp_name(&name, number);
        log_warning(
            "the system call %.*s is not among those that dwelld makes, and was refused; of "
            "it this is not said again. If something does not work: sandbox.seccomp=off, "
            "and please tell us",
            (int)name.len, name.len == 0 ? "" : name.data);
        buf_clear(&name);
    }
    buf_fini(&name);
}

static void on_prepare(uv_prepare_t *prepare)
{
    struct sandbox *sandbox = prepare->data;
    uint64_t count = sandbox_denied_count();
    uint64_t *counter = &sandbox->counters->value[COUNTER_DENIED_CALLS];
    if (*counter != count) {
        *counter = count;
        say_forbidden();
    }
}

void sandbox_watch(struct sandbox *sandbox, uv_loop_t *loop, struct counters *counters)
{
    sandbox->counters = counters;
    (void)uv_prepare_init(loop, &sandbox->prepare); /* cannot fail, nor can what follows */
    sandbox->prepare.data = sandbox;
    (void)uv_prepare_start(&sandbox->prepare, on_prepare);
    uv_unref((uv_handle_t *)&sandbox->prepare);
    sandbox->is_open = true;
}

void sandbox_close(struct sandbox *sandbox)
{
    if (sandbox->is_open) {
        uv_close((uv_handle_t *)&sandbox->prepare, NULL);
        sandbox->is_open = false;
    }
}

/* --- what is in force -------------------------------------------------------------------------- */

const char *sandbox_fact_name(enum sandbox_fact fact)
{
    static const char *const names[] = {"new_privileges", "capabilities", "system_calls",
                                        "files_and_ports"};
    _Static_assert(sizeof names / sizeof names[0] == SANDBOX_FACT_COUNT, "a name each");
    return names[fact];
}

/* With what a version of Landlock leaves free. */
static const char *confined(const struct sandbox *sandbox)
{
    bool has_ports = sandbox->landlock_version >= SANDBOX_LANDLOCK_WITH_PORTS;
    return sandbox->options.probes ? has_ports ? "confined, but for the probe's"
                                               : "confined, but for the probe's and ports"
           : has_ports             ? "confined"
                                   : "confined, but for ports";
}

const char *sandbox_fact(const struct sandbox *sandbox, enum sandbox_fact fact)
{
    switch (fact) {
    case SANDBOX_CAPABILITIES:
        return sandbox->kept == 0 ? "none" : "none, but for the probe's";
    case SANDBOX_CALLS:
        return sandbox->no_filter == NULL ? "filtered" : sandbox->no_filter;
    case SANDBOX_FILES:
        return sandbox->no_landlock == NULL ? confined(sandbox) : sandbox->no_landlock;
    default:
        return "none"; /* the start fails where they cannot be given up */
    }
}
