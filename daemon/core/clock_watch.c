#include "core/clock_watch.h"

#include "base/clock.h"

#define STEP_NS (500 * NS_PER_MS)
#define DRIFT   1000 /* one part in so many */

bool clock_watch_look(struct clock_watch *watch, uint64_t mono_ns, uint64_t wall_ns)
{
    bool is_first = watch->mono_ns == 0 && watch->wall_ns == 0;
    uint64_t passed_ns = mono_ns - watch->mono_ns;
    int64_t step_ns = (int64_t)(wall_ns - watch->wall_ns - passed_ns);
    uint64_t size_ns = step_ns < 0 ? 0 - (uint64_t)step_ns : (uint64_t)step_ns;
    watch->mono_ns = mono_ns;
    watch->wall_ns = wall_ns;
    if (is_first || size_ns <= STEP_NS + passed_ns / DRIFT) {
        return false;
    }
    watch->steps++;
    watch->step_seconds = (double)step_ns / (double)NS_PER_SECOND;
    return true;
}
