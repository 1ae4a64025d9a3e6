#include "io/probe/allowance.h"

#include "base/clock.h"

/* A second's. */
#define SECOND_MS (ALLOWANCE_SHARE * 1000)

void allowance_init(struct allowance *allowance, uint64_t now_ns)
{
    *allowance = (struct allowance){.saved_ms = ALLOWANCE_SAVED_MS,
                                    .settled_ns = now_ns,
                                    .second_ns = now_ns,
                                    .looks_hertz = LOOKS_A_SECOND};
}

void allowance_earn(struct allowance *allowance, uint64_t now_ns)
{
    double passed_ms = (double)(now_ns - allowance->settled_ns) / (double)NS_PER_MS;
    double saved_ms = allowance->saved_ms + ALLOWANCE_SHARE * passed_ms;
    allowance->saved_ms = saved_ms > ALLOWANCE_SAVED_MS ? ALLOWANCE_SAVED_MS : saved_ms;
    allowance->settled_ns = now_ns;
}

void allowance_spend(struct allowance *allowance, double cpu_ms)
{
    allowance->saved_ms -= cpu_ms;
}

/* 20, 10, 5, 2, 1 a second, and back: at least one, for what is never looked at is not known at all. */
static void adapt(struct allowance *allowance, double second_ms)
{
    if (second_ms > SECOND_MS) {
        allowance->looks_hertz = allowance->looks_hertz / 2 > 0 ? allowance->looks_hertz / 2 : 1;
        allowance->calm_seconds = 0;
        return;
    }
    /* Twice as many, and still room for a quarter more: or it would be taken back at once. */
    bool is_calm = second_ms < SECOND_MS * 0.4;
    allowance->calm_seconds = is_calm ? allowance->calm_seconds + 1 : 0;
    if (allowance->calm_seconds >= ALLOWANCE_CALM_SECONDS &&
        allowance->looks_hertz < LOOKS_A_SECOND) {
        unsigned twice = allowance->looks_hertz * 2;
        allowance->looks_hertz = twice == 4 ? 5 : twice > LOOKS_A_SECOND ? LOOKS_A_SECOND : twice;
        allowance->calm_seconds = 0;
    }
}

void allowance_spend_on_looks(struct allowance *allowance, double cpu_ms, uint64_t now_ns)
{
    allowance->saved_ms -= cpu_ms;
    allowance->second_ms += cpu_ms;
    uint64_t passed_ns = now_ns - allowance->second_ns;
    if (passed_ns >= NS_PER_SECOND) {
        adapt(allowance, allowance->second_ms * (double)NS_PER_SECOND / (double)passed_ns);
        allowance->second_ms = 0;
        allowance->second_ns = now_ns;
    }
}

bool allowance_affords(const struct allowance *allowance, double cpu_ms)
{
    return allowance->saved_ms >= cpu_ms;
}
