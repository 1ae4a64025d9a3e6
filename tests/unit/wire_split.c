#include "wire_split.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

void wire_must_say_in_every_split(wire_split_fn *run, size_t max_line_bytes, const char *input,
                                  const char *expect)
{
    struct recorder recorder;
    recorder_init(&recorder);
    run(max_line_bytes, &recorder, str_of(input), 1, 1);
    assert_string_equal(recorder.text, expect);
    for (size_t split = 1; split <= strlen(input); split++) {
        run(max_line_bytes, &recorder, str_of(input), split, strlen(input));
        assert_string_equal(recorder.text, expect);
    }
    recorder_fini(&recorder);
}
