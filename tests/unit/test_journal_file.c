#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "io/export/spool_file.h"
#include "io/journal_file.h"

enum { ENTRY_MAX = 1024 };

static const struct journal_entry usual = {
    .kind = JOURNAL_LINES,
    .who = {.client_id = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
            .mark = {.has_sequence = true, .sequence = 0x1234, .has_dropped = true, .dropped = 3},
            .said_pid = 7,
            .kernel_pid = 4711,
            .said_hello = true,
            .library = {"lib/1", 5},
            .service = {"bus", 3}},
    .wall_ns = UINT64_C(0x0123456789ABCDEF),
    .bytes = {"{}\n", 3}};

static struct buf must_write(const struct journal_entry *entry)
{
    struct buf out;
    buf_init(&out, ENTRY_MAX);
    journal_entry_write(entry, &out);
    assert_int_equal(out.err, 0);
    return out;
}

/* Seals bytes that were changed on purpose. */
static void seal(char *bytes, size_t hashed)
{
    uint64_t hash = spool_file_hash((struct str){bytes, hashed});
    for (unsigned i = 0; i < 8; i++) {
        bytes[hashed + i] = (char)(hash >> 8 * i);
    }
}

static void must_be_usual(const struct journal_entry *entry)
{
    const struct peer_identity *who = &entry->who;
    assert_int_equal(entry->kind, usual.kind);
    assert_memory_equal(who->client_id, usual.who.client_id, sizeof who->client_id);
    assert_true(who->mark.has_sequence && who->mark.has_dropped);
    assert_int_equal(who->mark.sequence, usual.who.mark.sequence);
    assert_int_equal(who->mark.dropped, usual.who.mark.dropped);
    assert_int_equal(who->said_pid, usual.who.said_pid);
    assert_int_equal(who->kernel_pid, usual.who.kernel_pid);
    assert_true(who->said_hello && !who->hash_differs);
    assert_true(str_equal(who->library, usual.who.library));
    assert_true(str_equal(who->service, usual.who.service));
    assert_int_equal(entry->wall_ns, usual.wall_ns);
    assert_true(str_equal(entry->bytes, usual.bytes));
}

static void test_journal_file_layout_is_as_drawn(void **state)
{
    (void)state;
    static const char drawn[] = "\x5b\0\0\0"
                                "\2\1\5\0\3\0\0\0\0\0\0\0"
                                "\0\1\2\3\4\5\6\7\10\11\12\13\14\15\16\17"
                                "\x34\x12\0\0\0\0\0\0"
                                "\3\0\0\0\0\0\0\0"
                                "\7\0\0\0\0\0\0\0"
                                "\x67\x12\0\0\0\0\0\0"
                                "\xEF\xCD\xAB\x89\x67\x45\x23\x01"
                                "lib/1bus{}\n";
    struct buf out = must_write(&usual);
    assert_int_equal(out.len, sizeof drawn - 1 + 8);
    assert_memory_equal(out.data, drawn, sizeof drawn - 1);
    char sealed[sizeof drawn + 8];
    memcpy(sealed, drawn, sizeof drawn - 1);
    seal(sealed, sizeof drawn - 1);
    assert_memory_equal(out.data, sealed, out.len);
    buf_fini(&out);
}

static void test_journal_file_reads_back(void **state)
{
    (void)state;
    struct buf out = must_write(&usual);
    size_t first = out.len;
    struct journal_entry frames = usual;
    frames.kind = JOURNAL_FRAMES;
    frames.who.hash_differs = true;
    frames.who.service.len = 0;
    frames.bytes.len = 0;
    journal_entry_write(&frames, &out);
    struct journal_entry entry;
    size_t len = 0;
    assert_int_equal(journal_entry_read((struct str){out.data, out.len}, &entry, &len), 0);
    assert_int_equal(len, first);
    must_be_usual(&entry);
    struct str rest = {out.data + len, out.len - len};
    assert_int_equal(journal_entry_read(rest, &entry, &len), 0);
    assert_int_equal(len, rest.len);
    assert_int_equal(entry.kind, JOURNAL_FRAMES);
    assert_true(entry.who.hash_differs);
    assert_int_equal(entry.who.service.len + entry.bytes.len, 0);
    buf_fini(&out);
}

static void test_journal_file_finds_every_flipped_bit_and_every_cut(void **state)
{
    (void)state;
    struct buf out = must_write(&usual);
    struct journal_entry entry;
    size_t len = 99;
    for (size_t bit = 0; bit < 8 * out.len; bit++) {
        out.data[bit / 8] = (char)(out.data[bit / 8] ^ 1 << bit % 8);
        assert_int_equal(journal_entry_read((struct str){out.data, out.len}, &entry, &len),
                         ERR_SYNTAX);
        out.data[bit / 8] = (char)(out.data[bit / 8] ^ 1 << bit % 8);
    }
    for (size_t cut = 0; cut < out.len; cut++) {
        assert_int_equal(journal_entry_read((struct str){out.data, cut}, &entry, &len), ERR_SYNTAX);
    }
    assert_int_equal(len, 99);
    buf_fini(&out);
}

static int read_changed(size_t at, char byte)
{
    struct buf out = must_write(&usual);
    struct journal_entry entry;
    size_t len = 0;
    out.data[at] = byte;
    seal(out.data, out.len - 8);
    int err = journal_entry_read((struct str){out.data, out.len}, &entry, &len);
    buf_fini(&out);
    return err;
}

static void test_journal_file_says_only_what_can_be(void **state)
{
    (void)state;
    assert_int_equal(read_changed(4, JOURNAL_FRAMES), 0);
    assert_int_equal(read_changed(4, 0), ERR_SYNTAX);
    assert_int_equal(read_changed(4, JOURNAL_LINES + 1), ERR_SYNTAX);
    assert_int_equal(read_changed(6, 5 + 3), 0); /* the texts may take what is there */
    assert_int_equal(read_changed(6, 5 + 3 + 1), ERR_SYNTAX);
    assert_int_equal(read_changed(9, 1), ERR_SYNTAX);
}

static void test_journal_file_headers(void **state)
{
    (void)state;
    char header[JOURNAL_HEADER_BYTES];
    struct str bytes = {header, sizeof header};
    uint64_t position = 99;
    for (size_t bit = 0; bit < 8 * sizeof header; bit++) {
        journal_header_write(42, header);
        header[bit / 8] = (char)(header[bit / 8] ^ 1 << bit % 8);
        assert_int_equal(journal_header_read(bytes, &position), ERR_SYNTAX);
    }
    journal_header_write(42, header);
    assert_int_equal(journal_header_read((struct str){header, sizeof header - 1}, &position),
                     ERR_SYNTAX);
    assert_int_equal(position, 99);
    assert_int_equal(journal_header_read(bytes, &position), 0);
    assert_int_equal(position, 42);
    header[8] = JOURNAL_VERSION + 1;
    seal(header, sizeof header - 8);
    assert_int_equal(journal_header_read(bytes, &position), ERR_UNSUPPORTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_journal_file_layout_is_as_drawn),
        cmocka_unit_test(test_journal_file_reads_back),
        cmocka_unit_test(test_journal_file_finds_every_flipped_bit_and_every_cut),
        cmocka_unit_test(test_journal_file_says_only_what_can_be),
        cmocka_unit_test(test_journal_file_headers),
    };
    return cmocka_run_group_tests_name("journal_file", tests, NULL, NULL);
}
