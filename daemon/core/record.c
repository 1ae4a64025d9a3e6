#include "core/record.h"

const char *const aggregation_names[] = {"unsaid", "last", "sum", "max", "min", "per_pid"};

_Static_assert(sizeof aggregation_names / sizeof aggregation_names[0] == AGGREGATION_COUNT,
               "a word each");
