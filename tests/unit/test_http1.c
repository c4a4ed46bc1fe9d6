/* test_http1.c - what becomes of requests whose connection fails; what bytes do otherwise is tested from outside. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
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
           http_init(&f.http, &f.settings, &executor, &f.slot) ||
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_pipelined_requests_are_run_one_after_another, begin, end),
        cmocka_unit_test_setup_teardown(test_no_request_is_run_for_a_connection_that_has_failed, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
