#include "core_helpers.h"

#include "mem_fault.h"
#include "render/label.h"

static void must_name(const struct label_names *names, const char *key, const char *wanted)
{
    assert_string_equal(label_names_get(names, str_of(key)), wanted);
}

static void must_name_alone(const char *key, const char *wanted)
{
    struct label_names names;
    struct str keys[] = {str_of(key)};
    assert_int_equal(label_names_init(&names, keys, 1), 0);
    must_name(&names, key, wanted);
    label_names_fini(&names);
}

static void must_escape(struct str value, const char *wanted)
{
    struct buf out;
    buf_init(&out, 1024);
    label_render_value(value, &out);
    assert_int_equal(out.len, strlen(wanted));
    assert_memory_equal(out.data == NULL ? "" : out.data, wanted, out.len);
    buf_fini(&out);
}

static void test_label_names_are_what_prometheus_takes(void **state)
{
    (void)state;
    must_name_alone("region", "region");
    must_name_alone("_private9", "_private9");
    must_name_alone("k8s.pod-name", "k8s_pod_name");
    must_name_alone("9lives", "_9lives");
    must_name_alone("größe", "gr__e");
    must_name_alone("模型", "exported___"); /* "__" belongs to Prometheus */
    must_name_alone("a:b", "a_b");
}

static void test_label_names_leave_ours_alone(void **state)
{
    (void)state;
    must_name_alone("model_name", "exported_model_name");
    must_name_alone("device", "exported_device");
    must_name_alone("le", "exported_le");
    must_name_alone("q", "exported_q");
    must_name_alone("dwell_overflow", "exported_dwell_overflow");
    must_name_alone("constitutional_hash", "exported_constitutional_hash");
    must_name_alone("model.name", "exported_model_name");
    must_name_alone("__name__", "exported___name__");
}

static void test_label_names_never_collide(void **state)
{
    (void)state;
    struct label_names names;
    struct str keys[] = {STR_LITERAL("a.b"), STR_LITERAL("a-b"), STR_LITERAL("a_b"),
                         STR_LITERAL("device"), STR_LITERAL("exported_device")};
    assert_int_equal(label_names_init(&names, keys, 5), 0);
    must_name(&names, "a.b", "a_b");
    must_name(&names, "a-b", "a_b_2");
    must_name(&names, "a_b", "a_b_3");
    must_name(&names, "device", "exported_device");
    must_name(&names, "exported_device", "exported_device_2");
    label_names_fini(&names);
}

static void test_label_names_hold_as_many_as_a_registry_keeps(void **state)
{
    (void)state;
    struct label_names names;
    struct str keys[REGISTRY_LABEL_KEYS_MAX];
    char texts[REGISTRY_LABEL_KEYS_MAX][RECORD_NAME_MAX];
    for (unsigned i = 0; i < REGISTRY_LABEL_KEYS_MAX; i++) {
        memset(texts[i], 'x', sizeof texts[i]);
        texts[i][200] = "-.:/+*!?=&%$@~^|"[i]; /* all the same after sanitising */
        keys[i] = (struct str){texts[i], sizeof texts[i]};
    }
    assert_int_equal(label_names_init(&names, keys, REGISTRY_LABEL_KEYS_MAX), 0);
    for (unsigned i = 0; i < REGISTRY_LABEL_KEYS_MAX; i++) {
        for (unsigned j = 0; j < i; j++) {
            assert_string_not_equal(names.names[i], names.names[j]);
        }
    }
    label_names_fini(&names);
}

static void test_label_names_free_everything_without_memory(void **state)
{
    (void)state;
    struct str keys[] = {STR_LITERAL("a.b"), STR_LITERAL("a-b"), STR_LITERAL("device")};
    size_t live = mem_count_live();
    for (size_t n = 1;; n++) {
        struct label_names names;
        mem_fail_after(n);
        int err = label_names_init(&names, keys, 3);
        bool failed = mem_has_failed();
        mem_fail_after(0);
        assert_int_equal(err, failed ? ERR_NOMEM : 0);
        label_names_fini(&names);
        assert_int_equal(mem_count_live(), live);
        if (!failed) {
            return;
        }
    }
}

static void test_label_values_are_escaped(void **state)
{
    (void)state;
    must_escape(STR_LITERAL(""), "");
    must_escape(STR_LITERAL("plain"), "plain");
    must_escape(STR_LITERAL("a\\b\"c\nd"), "a\\\\b\\\"c\\nd");
    must_escape(STR_LITERAL("\n"), "\\n");
    must_escape(STR_LITERAL("模型\t\r"), "模型\t\r"); /* legal as they are */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_label_names_are_what_prometheus_takes),
        cmocka_unit_test(test_label_names_leave_ours_alone),
        cmocka_unit_test(test_label_names_never_collide),
        cmocka_unit_test(test_label_names_hold_as_many_as_a_registry_keeps),
        cmocka_unit_test(test_label_names_free_everything_without_memory),
        cmocka_unit_test(test_label_values_are_escaped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
