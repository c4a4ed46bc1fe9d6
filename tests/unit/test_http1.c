/* test_http1.c - what cannot be told from outside: requests whose connection fails, refusals cut at each byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "server/base/buf.h"
#include "server/base/scoreboard.h"
#include "server/config/settings.h"
#include "server/http/exchange.h"
#include "server/http/http.h"
#include "server/http/http1.h"
#include "server/net/conn.h"
#include "server/net/conns.h"

#define REQUEST "GET / HTTP/1.1\r\nHost: x\r\n\r\n"

struct fixture {
    uv_loop_t loop;
    struct settings settings;
    struct slot slot;
    struct http http;
    struct conns conns;
    int client; /* the other end of the one connection */
};

/* An executor that only keeps what it is given. */
static struct exchange *submitted;
static int n_submitted;

static void on_submit(struct executor *e, struct exchange *x)
{
    (void)e;
    submitted = x;
    n_submitted++;
}

static void on_resume(struct executor *e, struct exchange *x)
{
    (void)e;
    (void)x;
}

static struct executor executor = {.submit = on_submit, .resume = on_resume};

static int begin(void **state)
{
    static struct fixture f;
    static const struct peer peer = {.addr = "192.0.2.1", .server_addr = "192.0.2.2"};
    const struct conn_limits limits = {.max = 10, .linger_ms = 1000};
    struct buf error = {0};
    int fds[2];

    f = (struct fixture){0};
    n_submitted = 0;
    *state = &f;
    signal(SIGPIPE, SIG_IGN);
    return uv_loop_init(&f.loop) || settings_init(&f.settings, &error) ||
           http_init(&f.http, &f.settings, &executor, &f.slot, 1) ||
           conns_init(&f.conns, &f.loop, &http1_protocol, &f.http, &limits) ||
           socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) || (f.client = fds[1]) < 0 ||
           conn_open(&f.conns, fds[0], true, &peer, NULL);
}

static void turn(struct fixture *f)
{
    for (int i = 0; i < 5; i++) {
        uv_run(&f->loop, UV_RUN_NOWAIT);
    }
}

static int end(void **state)
{
    struct fixture *f = *state;
    conns_close_all(&f->conns);
    uv_close((uv_handle_t *)&f->conns.sweep, NULL);
    turn(f);
    int r = uv_loop_close(&f->loop);
    conns_finish(&f->conns);
    http_finish(&f->http);
    settings_finish(&f->settings);
    return r;
}

static void client_sends(struct fixture *f, const char *text)
{
    assert_int_equal(send(f->client, text, strlen(text), 0), strlen(text));
    turn(f);
}

static void answer(struct exchange *x)
{
    exchange_start(x);
    assert_int_equal(response_start(&x->response, STR("200 OK")), RESPONSE_OK);
    assert_int_equal(response_push_copy(&x->response, "hello", 5), 0);
    response_end(&x->response);
    exchange_send(x);
    exchange_done(x, true);
}

static void test_pipelined_requests_are_run_one_after_another(void **state)
{
    struct fixture *f = *state;
    client_sends(f, REQUEST REQUEST);
    assert_int_equal(n_submitted, 1);
    answer(submitted);
    assert_int_equal(n_submitted, 2);
    answer(submitted);
    close(f->client);
}

static void test_no_request_is_run_for_a_connection_that_has_failed(void **state)
{
    struct fixture *f = *state;
    client_sends(f, REQUEST REQUEST);
    assert_int_equal(n_submitted, 1);
    close(f->client);
    answer(submitted);
    turn(f);
    assert_int_equal(n_submitted, 1);
}

/* One piece, byte by byte, or in pieces of that many bytes: what comes back. The server's side must be gone then. */
static void answer_to(struct fixture *f, struct str request, size_t piece, char *got, size_t max)
{
    static const struct peer peer = {.addr = "192.0.2.1", .server_addr = "192.0.2.2"};
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    assert_int_equal(conn_open(&f->conns, fds[0], true, &peer, NULL), 0);
    for (size_t at = 0, n; at < request.len; at += n) {
        n = piece < request.len - at ? piece : request.len - at;
        assert_int_equal(send(fds[1], request.p + at, n, MSG_NOSIGNAL), n);
        turn(f);
    }
    ssize_t len = recv(fds[1], got, max - 1, 0);
    assert_true(len > 0);
    got[len] = '\0';
    assert_int_equal(recv(fds[1], got + len, 1, 0), 0); /* we have said all */
    close(fds[1]);
    turn(f);
}

static void test_refusal_of_head_has_no_body_however_it_is_cut(void **state)
{
    struct fixture *f = *state;
    static const char *const requests[] = {
        "HEAD /a\001b HTTP/1.1\r\nHost: x\r\n\r\n",
        "HEAD /a HTTP/1.1\nHost: x\r\n\r\n",
        "HEAD /a\r\r\nHost: x\r\n\r\n",
        "\r\n\r\nHEAD /a\177 HTTP/1.1\r\nHost: x\r\n\r\n",
        "HEAD /a HTTP/1.1 x\r\nHost: x\r\n\r\n",
        "HEAD /a\r\n\r\n",
        "HEAD /a HTTP/2.0\r\nHost: x\r\n\r\n",
        "HEAD /a HTTP/1.1\r\nHost: x\r\n y\r\n\r\n",
        "HEAD /a HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        "HEAD /a HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HEAD /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "HEAD /0123456789012345678901234567890123456789012345678901234567890123456789 HTTP/1.1\r\nHost: x\r\n\r\n",
    };
    f->http.limits.line = 60;
    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        struct str request = str_of(requests[i]);
        for (size_t piece = 1; piece <= request.len; piece++) {
            char got[4096];
            answer_to(f, request, piece, got, sizeof(got));
            const char *end = strstr(got, "\r\n\r\n");
            assert_non_null(end);
            assert_int_equal(end[4], '\0');
            assert_non_null(strstr(got, "\r\nConnection: close\r\n"));
        }
    }
    assert_int_equal(n_submitted, 0);
    close(f->client);
}

static void test_status_says_what_is_wrong(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *request, *answer;
    } table[] = {
        {"GET / HTTP/0.9\r\n\r\n", "HTTP/1.1 505 "},
        {"GET / HTTP/2.0\r\nHost: x\r\n\r\n", "HTTP/1.1 505 "},
        {"GET / HTTP/3.0\r\nHost: x\r\n\r\n", "HTTP/1.1 505 "},
        {"PRI * HTTP/2.0\r\n\r\n", "HTTP/1.1 505 "},
        {"GET / HTTP/1.2\r\nHost: x\r\n\r\n", "HTTP/1.1 400 "},
        {"GET / RTSP/1.0\r\nHost: x\r\n\r\n", "HTTP/1.1 400 "},
        {"DESCRIBE / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 501 "},
        {"BREW / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 501 "},
        {"get / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 400 "},
        {"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 501 "},
        {"GET / HTTP/1.0\r\nContent-Length: x\r\n\r\n", "HTTP/1.0 400 "},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        char got[4096];
        answer_to(f, str_of(table[i].request), SIZE_MAX, got, sizeof(got));
        if (strncmp(got, table[i].answer, strlen(table[i].answer)) != 0) {
            fail_msg("%s\ninstead of %s for\n%s", got, table[i].answer, table[i].request);
        }
    }
    assert_int_equal(n_submitted, 0);
    close(f->client);
}

static void test_folder_for_bodies_is_asked_for_once(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *variable, *folder;
    } table[] = {{"/elsewhere", "/elsewhere"}, {"", "/tmp"}};
    const char *now = getenv("TMPDIR");
    char *before = now ? strdup(now) : NULL;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct http h;
        setenv("TMPDIR", table[i].variable, 1);
        assert_int_equal(http_init(&h, &f->settings, &executor, &f->slot, 1), 0);
        setenv("TMPDIR", "/changed", 1);
        assert_string_equal(h.tmp_dir, table[i].folder);
        http_finish(&h);
    }
    unsetenv("TMPDIR");
    if (before) {
        setenv("TMPDIR", before, 1);
    }
    free(before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_pipelined_requests_are_run_one_after_another, begin, end),
        cmocka_unit_test_setup_teardown(test_no_request_is_run_for_a_connection_that_has_failed, begin, end),
        cmocka_unit_test_setup_teardown(test_refusal_of_head_has_no_body_however_it_is_cut, begin, end),
        cmocka_unit_test_setup_teardown(test_status_says_what_is_wrong, begin, end),
        cmocka_unit_test_setup_teardown(test_folder_for_bodies_is_asked_for_once, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
