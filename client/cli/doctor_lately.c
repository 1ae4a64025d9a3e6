#include "cli/doctor_lately.h"

#include <math.h>

#include "cli/answer.h"
#include "cli/figure.h"

bool doctor_is_lately(const json_t *root, const char *path, struct finding *finding)
{
    const json_t *since = json_object_get(root, "seconds_since");
    double seconds = answer_number(since, path);
    if (!json_is_object(since) || seconds < DOCTOR_LATELY_S) {
        return true;
    }
    if (isnan(seconds)) {
        finding_say(finding, "; none since the start");
    } else {
        finding_say(finding, "; the last ");
        figure_since(&finding->found, seconds);
        finding_say(finding, " ago");
    }
    return false;
}
