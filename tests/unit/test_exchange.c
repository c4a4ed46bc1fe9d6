/* test_exchange.c - who holds an exchange when, and what is left of it for the next request. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/http/body.h"
#include "server/http/exchange.h"
#include "server/net/peer.h"

static struct {
    struct exchange *submitted, *resumed, *flushed, *done;
    bool ok, wants_more;
    int released;
} seen;

static void on_submit(struct executor *e, struct exchange *x)
{
    (void)e;
    seen.submitted = x;
}

static void on_resume(struct executor *e, struct exchange *x)
{
    (void)e;
    assert_true(x->aborted); /* known before the executor is told */
    seen.resumed = x;
}

static void on_flush(struct exchange *x)
{
    seen.flushed = x;
}

static bool on_wants_more(const struct exchange *x)
{
    (void)x;
    return seen.wants_more;
}

static void on_done(struct exchange *x, bool ok)
{
    assert_int_equal(x->state, EXCHANGE_DONE);
    seen.done = x;
    seen.ok = ok;
}

static void on_release(void *owner)
{
    (void)owner;
    seen.released++;
}

static void on_app_flush(struct executor *e, struct exchange *x)
{
    (void)e;
    exchange_send(x);
}

static const struct exchange_ops ops = {.flush = on_flush, .wants_more = on_wants_more, .done = on_done};
static struct executor executor = {.submit = on_submit, .resume = on_resume, .flush = on_app_flush};

static int begin(void **state)
{
    static struct exchange x;
    memset(&seen, 0, sizeof(seen));
    memset(&x, 0xa5, sizeof(x)); /* init must not rely on what was there */
    exchange_init(&x);
    x.ops = &ops;
    *state = &x;
    return 0;
}

static int end(void **state)
{
    exchange_finish(*state);
    return 0;
}

static void test_exchange_goes_to_the_executor_and_comes_back(void **state)
{
    struct exchange *x = *state;
    assert_int_equal(x->state, EXCHANGE_RECEIVING);
    exchange_submit(x, &executor);
    assert_int_equal(x->state, EXCHANGE_READY);
    assert_ptr_equal(seen.submitted, x);
    exchange_start(x);
    assert_int_equal(x->state, EXCHANGE_RUNNING);
    assert_null(seen.done);
    exchange_done(x, true);
    assert_int_equal(x->state, EXCHANGE_DONE);
    assert_ptr_equal(seen.done, x);
    assert_true(seen.ok);
}

static void test_failure_reaches_the_protocol(void **state)
{
    struct exchange *x = *state;
    exchange_submit(x, &executor);
    exchange_start(x);
    exchange_done(x, false);
    assert_ptr_equal(seen.done, x);
    assert_false(seen.ok);
}

static void test_executor_is_told_of_an_abort(void **state)
{
    struct exchange *x = *state;
    exchange_submit(x, &executor);
    assert_false(x->aborted);
    exchange_abort(x, &executor);
    assert_true(x->aborted);
    assert_ptr_equal(seen.resumed, x);
    seen.resumed = NULL;
    exchange_start(x);
    exchange_abort(x, &executor);
    assert_ptr_equal(seen.resumed, x);
}

static void test_application_speaks_to_the_protocol_through_the_exchange(void **state)
{
    struct exchange *x = *state;
    exchange_submit(x, &executor);
    exchange_flush(x);
    assert_ptr_equal(seen.flushed, x);
    assert_false(exchange_wants_more(x));
    seen.wants_more = true;
    assert_true(exchange_wants_more(x));
}

static void test_who_sent_it_is_known_after_the_connection_is_gone(void **state)
{
    struct exchange *x = *state;
    struct peer peer = {.addr = "192.0.2.7", .port = 99, .server_addr = "here"};
    x->peer = &peer;
    exchange_keep_peer(x);
    const struct peer *copy = x->peer;
    exchange_keep_peer(x);
    assert_ptr_equal(x->peer, copy);
    memset(&peer, 0, sizeof(peer));
    assert_string_equal(copy->addr, "192.0.2.7");
    assert_int_equal(copy->port, 99);
    exchange_reset(x);
    assert_null(x->peer);
    assert_false(x->peer_kept);
}

/* Everything that one request can leave behind. */
static void use(struct exchange *x)
{
    static const struct peer peer = {.addr = "127.0.0.1"};
    x->peer = &peer;
    x->protocol = x;
    x->request.method = STR("POST");
    x->request.content_length = 3;
    x->request.headers = arena_alloc(&x->arena, sizeof(struct header));
    x->request.n_headers = 1;
    x->body = body_create(100, "/tmp");
    assert_int_equal(body_append(x->body, "abc", 3), 0);
    x->response.to_head = false;
    assert_int_equal(response_start(&x->response, STR("200 OK")), RESPONSE_OK);
    assert_int_equal(response_add(&x->response, STR("X-Long"), STR("value")), RESPONSE_OK);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(
            response_push(&x->response, &(struct chunk){.data = "piece", .len = 5, .fd = -1, .release = on_release}),
            0);
    }
    x->response.head_sent = true;
    exchange_submit(x, &executor);
    exchange_abort(x, &executor);
    exchange_start(x);
    exchange_done(x, false);
}

static void test_reset_leaves_nothing_of_the_request_before(void **state)
{
    struct exchange *x = *state;
    use(x);
    exchange_reset(x);
    assert_int_equal(seen.released, 10);
    assert_int_equal(x->state, EXCHANGE_RECEIVING);
    assert_false(x->aborted);
    assert_null(x->body);
    assert_null(x->peer);
    assert_null(x->ops);
    assert_null(x->protocol);
    assert_null(x->next);
    assert_int_equal(x->request.method.len, 0);
    assert_int_equal(x->request.n_headers, 0);
    assert_int_equal(x->response.status, 0);
    assert_int_equal(x->response.status_line.len, 0);
    assert_int_equal(x->response.block.len, 0);
    assert_int_equal(x->response.n_fields, 0);
    assert_int_equal(x->response.content_length, -1);
    assert_int_equal(x->response.body_bytes, 0);
    assert_false(x->response.head_sent);
    assert_false(x->response.finished);

    x->ops = &ops;
    use(x); /* and again, in the same memory */
    exchange_reset(x);
    assert_int_equal(seen.released, 20);
}

static void test_reset_keeps_the_memory(void **state)
{
    struct exchange *x = *state;
    use(x);
    const struct arena_block *block = x->arena.first;
    assert_non_null(block);
    exchange_reset(x);
    assert_ptr_equal(x->arena.first, block);
}

static void test_finish_releases_what_was_not_sent(void **state)
{
    (void)state;
    struct exchange x;
    exchange_init(&x);
    x.ops = &ops;
    use(&x);
    exchange_finish(&x);
    assert_int_equal(seen.released, 10);
}

/* `act` breaks a promise of its caller's: an assertion ends the process. */
static void aborts(void (*act)(struct exchange *x))
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct exchange x;
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        signal(SIGABRT, SIG_DFL);
        dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
        exchange_init(&x);
        x.ops = &ops;
        act(&x);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static void start_unsubmitted(struct exchange *x)
{
    exchange_start(x);
}

static void submit_twice(struct exchange *x)
{
    exchange_submit(x, &executor);
    exchange_submit(x, &executor);
}

static void abort_what_is_not_lent(struct exchange *x)
{
    exchange_abort(x, &executor);
}

static void reset_what_the_application_holds(struct exchange *x)
{
    x->app = x;
    exchange_reset(x);
}

static void test_states_cannot_be_skipped(void **state)
{
    (void)state;
    aborts(start_unsubmitted);
    aborts(submit_twice);
    aborts(abort_what_is_not_lent);
    aborts(reset_what_the_application_holds);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_exchange_goes_to_the_executor_and_comes_back, begin, end),
        cmocka_unit_test_setup_teardown(test_failure_reaches_the_protocol, begin, end),
        cmocka_unit_test_setup_teardown(test_executor_is_told_of_an_abort, begin, end),
        cmocka_unit_test_setup_teardown(test_application_speaks_to_the_protocol_through_the_exchange, begin, end),
        cmocka_unit_test_setup_teardown(test_who_sent_it_is_known_after_the_connection_is_gone, begin, end),
        cmocka_unit_test_setup_teardown(test_reset_leaves_nothing_of_the_request_before, begin, end),
        cmocka_unit_test_setup_teardown(test_reset_keeps_the_memory, begin, end),
        cmocka_unit_test_setup_teardown(test_finish_releases_what_was_not_sent, begin, end),
        cmocka_unit_test(test_states_cannot_be_skipped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
