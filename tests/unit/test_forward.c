/* test_forward.c - whom a request's header fields are believed from, and what is left of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "server/base/buf.h"
#include "server/config/settings.h"
#include "server/http/forward.h"
#include "server/http/request.h"
#include "server/net/peer.h"

struct fixture {
    struct settings s;
    struct forward *forward;
    struct buf error;
    struct request r;
    struct header headers[8];
};

static int begin(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    unsetenv("FORWARDED_ALLOW_IPS");
    *state = f;
    return f && settings_init(&f->s, &f->error) == 0 ? forward_create(&f->forward, &f->s) : -1;
}

static int end(void **state)
{
    struct fixture *f = *state;
    forward_destroy(f->forward);
    settings_finish(&f->s);
    buf_finish(&f->error);
    free(f);
    return 0;
}

static void set(struct fixture *f, const char *name, const char *value)
{
    assert_int_equal(settings_set(&f->s, name, &value, 1, SETTINGS_FILE, &f->error), 0);
    forward_destroy(f->forward);
    assert_int_equal(forward_create(&f->forward, &f->s), 0);
}

/* `text`: a field a line. The result is compared in the same form. */
static int apply(struct fixture *f, bool trusted, bool tls, const char *text)
{
    const char *reason = NULL;
    f->r = (struct request){.headers = f->headers, .https = tls};
    for (const char *line = text; *line; line = strchr(line, '\n') + 1) {
        const char *colon = strchr(line, ':'), *value = colon + 2;
        struct str name = {line, (size_t)(colon - line)};
        assert_true(f->r.n_headers < 8);
        f->headers[f->r.n_headers++] =
            (struct header){.name = name, .value = {value, strcspn(value, "\n")}, .id = header_lookup(name)};
    }
    int status = forward_apply(f->forward, trusted, &f->r, &reason);
    if (status && (!reason || strpbrk(reason, "\r\n<&"))) {
        fail_msg("no reason that can be shown");
    }
    return status;
}

static void leaves(struct fixture *f, bool trusted, const char *text, const char *left)
{
    struct buf out = {0};
    assert_int_equal(apply(f, trusted, false, text), 0);
    for (size_t i = 0; i < f->r.n_headers; i++) {
        const struct header *h = &f->headers[i];
        assert_int_equal(h->id, header_lookup(h->name));
        assert_int_equal(buf_printf(&out, "%.*s: %.*s\n", (int)h->name.len, h->name.p, (int)h->value.len, h->value.p),
                         0);
    }
    assert_string_equal(buf_cstr(&out), left);
    buf_finish(&out);
}

static bool trusts(struct fixture *f, const char *address)
{
    struct peer peer = {.server_port = 80};
    strcpy(peer.addr, address);
    return forward_trusts(f->forward, &peer);
}

static void test_front_ends_are_those_of_the_list_and_all_of_a_unix_socket(void **state)
{
    struct fixture *f = *state;
    assert_true(trusts(f, "127.0.0.1") && trusts(f, "::1") && trusts(f, ""));
    assert_false(trusts(f, "192.0.2.1"));
    set(f, "forwarded_allow_ips", "192.0.2.0/24");
    assert_true(trusts(f, "192.0.2.1") && trusts(f, ""));
    assert_false(trusts(f, "127.0.0.1"));
    set(f, "forwarded_allow_ips", "");
    assert_true(trusts(f, ""));
    assert_false(trusts(f, "127.0.0.1"));
}

static void test_the_scheme_is_what_a_front_end_says(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *text;
        bool trusted, tls, https;
    } rows[] = {
        {"Host: x\n", true, false, false},
        {"Host: x\n", true, true, true},
        {"X-Forwarded-Proto: https\n", true, false, true},
        {"X-FORWARDED-PROTO: https\n", true, false, true},
        {"X-Forwarded-Proto: https\n", false, false, false},
        {"X-Forwarded-Proto: HTTPS\n", true, false, false},
        {"X-Forwarded-Proto: http\n", true, true, false},
        {"X-Forwarded-Proto: http\n", false, true, true},
        {"X-Forwarded-Ssl: on\nX-Forwarded-Protocol: ssl\n", true, false, true},
        {"X-Forwarded-Ssl: off\nX-Forwarded-Protocol: tls\n", true, true, false},
        {"X-Forwarded-Ssl: on\nX-Forwarded-Protocol: tls\n", false, true, true},
        {"X-Forwarded-Sslx: on\n", true, false, false},
        {"X-Forwarded-Ss: on\n", true, false, false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (apply(f, rows[i].trusted, rows[i].tls, rows[i].text) != 0 || f->r.https != rows[i].https) {
            fail_msg("row %zu: %s", i, rows[i].text);
        }
    }
}

static void test_a_contradiction_is_refused(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(apply(f, true, false, "X-Forwarded-Ssl: on\nX-Forwarded-Proto: http\n"), 400);
    assert_int_equal(apply(f, true, true, "X-Forwarded-Proto: http\nHost: x\nX-Forwarded-Ssl: on\n"), 400);
    assert_int_equal(apply(f, true, false, "X-Forwarded-Proto: https\nX-Forwarded-Proto: http\n"), 400);
    assert_int_equal(apply(f, true, false, "X-Forwarded-Proto: https\nX-Forwarded-Proto: https\n"), 0);
}

static void test_scheme_headers_can_be_named(void **state)
{
    struct fixture *f = *state;
    set(f, "secure_scheme_headers", "X-SCHEME=a=b\nX_PLAN=\nx-small=1");
    assert_true(apply(f, true, false, "x-scheme: a=b\n") == 0 && f->r.https);
    assert_true(apply(f, true, false, "X_Plan: \n") == 0 && f->r.https && f->r.n_headers == 0);
    assert_true(apply(f, true, false, "X-Small: 1\nX-Forwarded-Proto: https\n") == 0 && !f->r.https);
    set(f, "secure_scheme_headers", "");
    assert_true(apply(f, true, false, "X-Scheme: a=b\nX-Forwarded-Ssl: on\n") == 0 && !f->r.https);
}

static void test_names_with_underscores_are_dropped_and_the_rest_stays_in_order(void **state)
{
    struct fixture *f = *state;
    leaves(f, false, "Host: x\nX-A: 1\n", "Host: x\nX-A: 1\n");
    leaves(f, false, "X_A: 1\nHost: x\nX_B: 2\nX_C: 3\nX-A: 4\nAccept: 5\n", "Host: x\nX-A: 4\nAccept: 5\n");
    leaves(f, false, "Host: x\n_: 1\n", "Host: x\n");
    leaves(f, false, "SCRIPT_NAME: /a\nA: 1\n", "A: 1\n");
    assert_true(!f->r.aliases && !f->r.script_name.p);
    assert_int_equal(apply(f, false, false, "X_A: 1\n"), 0);
    assert_int_equal(f->r.n_headers, 0);
}

static void test_names_with_underscores_are_refused_if_wanted(void **state)
{
    struct fixture *f = *state;
    set(f, "header_map", "Refuse");
    assert_int_equal(apply(f, false, false, "X_A: 1\n"), 400);
    assert_int_equal(apply(f, true, false, "Host: x\nX_A: 1\n"), 400);
    assert_int_equal(apply(f, false, false, "SCRIPT_NAME: /a\n"), 400);
    leaves(f, false, "X-A: 1_2\n", "X-A: 1_2\n");
    leaves(f, true, "Script_Name: /a\n", "Script_Name: /a\n");
}

static void test_names_with_underscores_pass_if_wanted(void **state)
{
    struct fixture *f = *state;
    set(f, "header_map", "dangerous");
    leaves(f, false, "X_A: 1\nX-A: 2\n", "X_A: 1\nX-A: 2\n");
    assert_true(f->r.aliases);
    leaves(f, false, "SCRIPT_NAME: /a\n", "SCRIPT_NAME: /a\n");
    assert_true(str_eq(f->r.script_name, STR("/a")));
}

static void test_front_ends_may_send_the_names_of_the_list(void **state)
{
    struct fixture *f = *state;
    leaves(f, true, "PATH_INFO: /a\nREMOTE_USER: ada\n", "PATH_INFO: /a\n");
    set(f, "forwarder_headers", "remote_user, REMOTE_USER");
    leaves(f, true, "PATH_INFO: /a\nRemote_User: ada\n", "Remote_User: ada\n");
    leaves(f, false, "PATH_INFO: /a\nRemote_User: ada\n", "");
    set(f, "forwarder_headers", "remote_user");
    leaves(f, true, "remote_user: ada\n", "");
    set(f, "forwarder_headers", "*");
    leaves(f, true, "PATH_INFO: /a\nX_A: 1\n", "PATH_INFO: /a\nX_A: 1\n");
    leaves(f, false, "X_A: 1\n", "");
}

static void test_the_last_script_name_counts_and_an_empty_one_is_one(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(apply(f, true, false, "SCRIPT_NAME: /a\nScript_name: /b\n"), 0);
    assert_true(str_eq(f->r.script_name, STR("/b")));
    assert_int_equal(apply(f, true, false, "SCRIPT_NAME: \n"), 0);
    assert_true(f->r.script_name.p && f->r.script_name.len == 0);
    assert_int_equal(apply(f, true, false, "SCRIPT-NAME: /a\n"), 0);
    assert_null(f->r.script_name.p);
}

static void test_no_headers_are_fine(void **state)
{
    struct fixture *f = *state;
    leaves(f, true, "", "");
    forward_destroy(NULL);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_front_ends_are_those_of_the_list_and_all_of_a_unix_socket),
        TEST(test_the_scheme_is_what_a_front_end_says),
        TEST(test_a_contradiction_is_refused),
        TEST(test_scheme_headers_can_be_named),
        TEST(test_names_with_underscores_are_dropped_and_the_rest_stays_in_order),
        TEST(test_names_with_underscores_are_refused_if_wanted),
        TEST(test_names_with_underscores_pass_if_wanted),
        TEST(test_front_ends_may_send_the_names_of_the_list),
        TEST(test_the_last_script_name_counts_and_an_empty_one_is_one),
        TEST(test_no_headers_are_fine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
