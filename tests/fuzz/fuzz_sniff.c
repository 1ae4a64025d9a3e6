/* wire/sniff on any bytes: once it has chosen it stays with that however many bytes follow, and chooses at
 * the end what it would have chosen on the way. */
#include "fuzz.h"
#include "wire/sniff.h"
#include "wire_recorder.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    enum wire_format chosen = WIRE_UNDECIDED;
    for (size_t i = 0; i <= len; i++) {
        struct str first = {(const char *)bytes, i};
        enum wire_format now = sniff_stream(first, false);
        enum wire_format at_end = sniff_stream(first, true);
        WIRE_REQUIRE(now < WIRE_FORMAT_COUNT && at_end < WIRE_FORMAT_COUNT);
        WIRE_REQUIRE(at_end != WIRE_UNDECIDED);
        WIRE_REQUIRE(now == WIRE_UNDECIDED || at_end == now);
        WIRE_REQUIRE(chosen == WIRE_UNDECIDED || now == chosen);
        WIRE_REQUIRE(now != WIRE_UNDECIDED || i < WIRE_MAGIC_BYTES);
        chosen = now;
        enum wire_format datagram = sniff_datagram(first);
        WIRE_REQUIRE(datagram != WIRE_UNDECIDED && datagram < WIRE_FORMAT_COUNT);
        WIRE_REQUIRE(datagram != WIRE_STATSD_FRAMES);
    }
    return 0;
}
