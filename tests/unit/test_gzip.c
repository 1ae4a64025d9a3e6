#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <libdeflate.h>
#include <stdlib.h>

#include "base/err.h"
#include "mem_fault.h"
#include "render/gzip.h"

enum { CEILING = 1 << 20 };

static void must_unpack(const char *bytes, size_t len)
{
    struct buf packed;
    size_t got = 0;
    char *unpacked = malloc(len + 1);
    struct libdeflate_decompressor *decompressor = libdeflate_alloc_decompressor();
    assert_non_null(unpacked);
    assert_non_null(decompressor);
    buf_init(&packed, CEILING);
    gzip_render((struct str){bytes, len}, &packed);
    assert_int_equal(packed.err, 0);
    assert_int_equal(
        libdeflate_gzip_decompress(decompressor, packed.data, packed.len, unpacked, len + 1, &got),
        LIBDEFLATE_SUCCESS);
    assert_int_equal(got, len);
    assert_memory_equal(unpacked, bytes, len);
    libdeflate_free_decompressor(decompressor);
    free(unpacked);
    buf_fini(&packed);
}

static void test_gzip_gives_the_bytes_back(void **state)
{
    (void)state;
    static char many[100000];
    must_unpack("", 0);
    must_unpack("a", 1);
    must_unpack("acgs2_model_inference_total 1\n", 30);
    for (size_t i = 0; i < sizeof many; i++) {
        many[i] = (char)(i * i >> 7);
    }
    must_unpack(many, sizeof many);
}

static void test_gzip_appends_or_leaves_alone(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 16); /* less than any packed text */
    buf_puts(&out, "before");
    gzip_render(STR_LITERAL("text"), &out);
    assert_int_equal(out.err, ERR_LIMIT);
    assert_int_equal(out.len, 6);
    assert_memory_equal(out.data, "before", 6);
    buf_fini(&out);

    buf_init(&out, CEILING);
    mem_fail_after(1);
    gzip_render(STR_LITERAL("text"), &out);
    mem_fail_after(0);
    assert_int_equal(out.err, ERR_NOMEM);
    assert_int_equal(out.len, 0);
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gzip_gives_the_bytes_back),
        cmocka_unit_test(test_gzip_appends_or_leaves_alone),
    };
    return cmocka_run_group_tests_name("gzip", tests, NULL, NULL);
}
