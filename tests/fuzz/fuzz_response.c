/* What a collector answers, of any bytes: a reply that ends in a zero byte, whole characters of a text, and
 * the same when it is read again. */
#include "fuzz.h"
#include "io/export/otlp_module/response.c"
#include "wire_recorder.h"

static void must_read_twice(const uint8_t *bytes, size_t len,
                            void (*read)(const uint8_t *, size_t, struct transport_reply *))
{
    struct transport_reply first = {.status = TRANSPORT_OK};
    struct transport_reply second = {.status = TRANSPORT_OK};
    read(bytes, len, &first);
    read(bytes, len, &second);
    WIRE_REQUIRE(memchr(first.message, '\0', sizeof first.message) != NULL);
    WIRE_REQUIRE(strcmp(first.message, second.message) == 0);
    WIRE_REQUIRE(first.rejected == second.rejected && first.is_garbled == second.is_garbled);
    WIRE_REQUIRE(first.has_retry_delay == second.has_retry_delay);
    WIRE_REQUIRE(first.retry_delay_ns == second.retry_delay_ns);
    WIRE_REQUIRE(first.has_retry_delay || first.retry_delay_ns == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    must_read_twice(bytes, len, response_read);
    must_read_twice(bytes, len, response_read_details);
    return 0;
}
