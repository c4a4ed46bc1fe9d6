/* test_conn.c - how much may wait for clients and with whom, and how connections end; all else is tested from outside.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "server/net/conn.h"
#include "server/net/conns.h"
#include "server/net/peer.h"

#define MANY 300             /* connections: more than fill what a worker may hold */
#define FOR_ONE (256 * 1024) /* bounds: see connout.c */
#define FOR_ALL (64 * 1024 * 1024)

static uv_loop_t loop;
static struct conns conns;
static struct conn *opened[MANY];
static int clients[MANY]; /* -1: closed */
static size_t n_opened, n_closed;
static bool idle;
static char bytes[1024 * 1024];

static void *on_open(void *context, struct conn *c)
{
    (void)context;
    opened[n_opened++] = c;
    return &opened[n_opened - 1];
}

static void on_data(void *p, const char *data, size_t len)
{
    (void)p, (void)data, (void)len;
}

static void ignore(void *p)
{
    (void)p;
}

static bool is_idle(const void *p)
{
    (void)p;
    return idle;
}

static void on_closed(void *p)
{
    (void)p;
    n_closed++;
}

static const struct protocol PROTOCOL = {
    .open = on_open,
    .data = on_data,
    .eof = ignore,
    .drained = ignore,
    .expired = ignore,
    .is_idle = is_idle,
    .will_answer = is_idle,
    .drain = ignore,
    .closed = on_closed,
};

static int begin(void **state)
{
    (void)state;
    const struct conn_limits limits = {.max = MANY, .linger_ms = 60 * 1000};
    signal(SIGPIPE, SIG_IGN);
    n_opened = n_closed = 0;
    idle = false;
    return uv_loop_init(&loop) || conns_init(&conns, &loop, &PROTOCOL, NULL, &limits);
}

static void turn(void)
{
    for (int i = 0; i < 5; i++) {
        uv_run(&loop, UV_RUN_NOWAIT);
    }
}

static int end(void **state)
{
    (void)state;
    conns_close_all(&conns);
    uv_close((uv_handle_t *)&conns.sweep, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    conns_finish(&conns);
    for (size_t i = 0; i < n_opened; i++) {
        if (clients[i] >= 0) {
            close(clients[i]);
        }
    }
    return conns.queued == 0 && conns.count == 0 ? uv_loop_close(&loop) : -1;
}

static struct conn *connect_one(void)
{
    static const struct peer peer = {.server_addr = "unix"};
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    clients[n_opened] = fds[1];
    assert_int_equal(conn_open(&conns, fds[0], true, &peer, NULL), 0);
    return opened[n_opened - 1];
}

static void send_bytes(struct conn *c, size_t len)
{
    conn_send(c, &(struct chunk){.data = bytes, .len = len, .fd = -1}, 1);
}

/* How much is there for the client until it would have to wait; `*over`: the connection has ended. */
static size_t receive_all(int fd, bool *over)
{
    static char sink[sizeof(bytes)];
    size_t sum = 0;
    ssize_t n;
    while ((n = recv(fd, sink, sizeof(sink), 0)) > 0 || (n < 0 && errno == EAGAIN && conns.queued > 0)) {
        sum += n > 0 ? (size_t)n : 0;
        turn();
    }
    *over = n == 0;
    assert_true(n == 0 || errno == EAGAIN);
    return sum;
}

static void test_little_enough_waits_for_one_client(void **state)
{
    (void)state;
    struct conn *c = connect_one();
    bool over;
    size_t sent = 0;
    while (conn_wants_more(c)) {
        send_bytes(c, 1024);
        sent += 1024;
        assert_true(conns.queued <= FOR_ONE);
    }
    assert_int_equal(conns.queued, FOR_ONE);
    assert_int_equal(receive_all(clients[0], &over), sent);
    assert_true(conn_wants_more(c) && !over);
}

static void test_little_enough_waits_for_all_clients_of_a_worker(void **state)
{
    (void)state;
    while (conns.queued < FOR_ALL) {
        assert_true(n_opened < MANY - 1);
        struct conn *c = connect_one();
        while (conns.queued < FOR_ALL && conn_wants_more(c)) {
            send_bytes(c, 16 * 1024);
        }
    }
    send_bytes(opened[0], 1024);
    assert_int_equal(conns.queued, FOR_ALL + 1024);
    struct conn *late = connect_one();
    assert_true(conn_wants_more(late)); /* nobody starves: who holds nothing may have something */
    while (conn_wants_more(late)) {
        send_bytes(late, 1024);
    }
    assert_int_equal(conns.queued, FOR_ALL + 2048);
    conn_abort(opened[0]);
    assert_true(conn_wants_more(late));
}

static void test_close_waits_for_the_client_when_something_was_not_read(void **state)
{
    (void)state;
    struct conn *c = connect_one();
    bool over;
    conn_pause(c);
    assert_int_equal(send(clients[0], "next", 4, 0), 4);
    send_bytes(c, 10);
    conn_close(c, false);
    turn();
    assert_int_equal(n_closed, 0);
    assert_int_equal(receive_all(clients[0], &over), 10);
    assert_true(over);
    close(clients[0]);
    clients[0] = -1;
    turn();
    assert_int_equal(n_closed, 1);
}

static void test_close_does_not_wait_when_all_was_read(void **state)
{
    (void)state;
    struct conn *c = connect_one();
    send_bytes(c, 10);
    conn_close(c, false);
    assert_int_equal(n_closed, 1);
}

static void test_close_waits_for_a_client_that_sends_while_the_answer_goes(void **state)
{
    (void)state;
    struct conn *c = connect_one();
    bool over;
    while (conn_wants_more(c)) {
        send_bytes(c, 16 * 1024);
    }
    conn_close(c, false);
    assert_int_equal(send(clients[0], "next", 4, 0), 4);
    turn(); /* it is read, and thrown away */
    receive_all(clients[0], &over);
    assert_true(over);
    assert_int_equal(n_closed, 0);
    close(clients[0]);
    clients[0] = -1;
    turn();
    assert_int_equal(n_closed, 1);
}

static void test_what_lingers_makes_room(void **state)
{
    (void)state;
    struct conn *c = connect_one();
    connect_one();
    assert_false(conns_shed(&conns));
    conn_close(c, true);
    assert_int_equal(n_closed, 0);
    assert_true(conns_shed(&conns));
    assert_int_equal(n_closed, 1);
    assert_false(conns_shed(&conns));
    idle = true;
    assert_true(conns_shed(&conns));
    assert_int_equal(conns.count, 0);
}

static size_t there(int fd)
{
    int n = 0;
    assert_int_equal(ioctl(fd, FIONREAD, &n), 0);
    return (size_t)n;
}

static void test_what_is_corked_goes_out_at_the_end(void **state)
{
    (void)state;
    struct conn *a = connect_one(), *b = connect_one();
    conns_cork(&conns, CORK_ALL);
    send_bytes(a, 100);
    send_bytes(b, 200);
    send_bytes(a, 10);
    turn();
    assert_int_equal(there(clients[0]) + there(clients[1]), 0);
    assert_int_equal(conns.queued, 310);
    conns_uncork(&conns);
    assert_int_equal(there(clients[0]), 110);
    assert_int_equal(there(clients[1]), 200);
    assert_int_equal(conns.queued, 0);
    send_bytes(a, 1);
    assert_int_equal(there(clients[0]), 111);
    conns_uncork(&conns);
    conns_uncork(NULL);
    conns_cork(NULL, CORK_ALL);
}

static void test_what_is_large_does_not_wait_unless_behind_what_does(void **state)
{
    (void)state;
    struct conn *a = connect_one(), *b = connect_one();
    bool over;
    memset(bytes, 'b', sizeof(bytes));
    conns_cork(&conns, CORK_ALL);
    send_bytes(a, 32 * 1024);
    assert_int_equal(there(clients[0]), 32 * 1024);
    conn_send(b, &(struct chunk){.data = "first", .len = 5, .fd = -1}, 1);
    send_bytes(b, 32 * 1024);
    assert_int_equal(there(clients[1]), 0);
    conns_uncork(&conns);
    char start[6];
    assert_int_equal(recv(clients[1], start, sizeof(start), 0), sizeof(start));
    assert_memory_equal(start, "firstb", sizeof(start));
    assert_int_equal(receive_all(clients[1], &over), 32 * 1024 - 1);
}

static void test_closing_does_not_wait_for_the_others(void **state)
{
    (void)state;
    struct conn *c[4];
    bool over;
    conns_cork(&conns, CORK_ALL);
    for (size_t i = 0; i < 4; i++) {
        c[i] = connect_one();
        send_bytes(c[i], 100);
    }
    conn_close(c[1], false); /* from the middle, the front and the end of those that wait */
    conn_abort(c[0]);
    conn_close(c[3], false);
    turn();
    assert_int_equal(receive_all(clients[1], &over), 100);
    assert_true(over);
    assert_int_equal(receive_all(clients[0], &over), 100); /* it was as good as sent */
    assert_true(over);
    assert_int_equal(receive_all(clients[3], &over), 100);
    assert_true(over);
    assert_int_equal(there(clients[2]), 0);
    assert_int_equal(n_closed, 3);
    conns_uncork(&conns);
    assert_int_equal(there(clients[2]), 100);
}

static void test_only_what_is_the_last_waits_for_the_end(void **state)
{
    (void)state;
    struct conn *a = connect_one(), *b = connect_one();
    bool over;
    conns_cork(&conns, CORK_LAST);
    send_bytes(a, 100);
    assert_int_equal(there(clients[0]), 100);
    send_bytes(b, 200);
    conn_last(b);
    send_bytes(b, 30);
    assert_int_equal(there(clients[1]), 200);
    conn_ends(b);
    conns_uncork(&conns);
    assert_int_equal(there(clients[1]), 230);
    conn_close(b, false);
    turn();
    assert_int_equal(receive_all(clients[1], &over), 230);
    assert_true(over);
}

static void test_what_does_not_fit_before_the_end_follows(void **state)
{
    (void)state;
    struct conn *c = connect_one();
    bool over;
    conn_last(c);
    conn_ends(c);
    send_bytes(c, sizeof(bytes));
    conn_close(c, false);
    assert_int_equal(receive_all(clients[0], &over), sizeof(bytes));
    turn();
    assert_int_equal(receive_all(clients[0], &over), 0);
    assert_true(over);
}

static void test_nothing_is_made_for_a_client_that_has_left(void **state)
{
    (void)state;
    struct conn *c = connect_one();
    close(clients[0]);
    clients[0] = -1;
    send_bytes(c, 10); /* the socket says so */
    assert_false(conn_wants_more(c));
    assert_int_equal(n_closed, 0); /* never inside conn_send */
    turn();
    assert_int_equal(n_closed, 1);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_little_enough_waits_for_one_client, begin, end),
        cmocka_unit_test_setup_teardown(test_little_enough_waits_for_all_clients_of_a_worker, begin, end),
        cmocka_unit_test_setup_teardown(test_close_waits_for_the_client_when_something_was_not_read, begin, end),
        cmocka_unit_test_setup_teardown(test_close_does_not_wait_when_all_was_read, begin, end),
        cmocka_unit_test_setup_teardown(test_close_waits_for_a_client_that_sends_while_the_answer_goes, begin, end),
        cmocka_unit_test_setup_teardown(test_what_lingers_makes_room, begin, end),
        cmocka_unit_test_setup_teardown(test_what_is_corked_goes_out_at_the_end, begin, end),
        cmocka_unit_test_setup_teardown(test_what_is_large_does_not_wait_unless_behind_what_does, begin, end),
        cmocka_unit_test_setup_teardown(test_closing_does_not_wait_for_the_others, begin, end),
        cmocka_unit_test_setup_teardown(test_only_what_is_the_last_waits_for_the_end, begin, end),
        cmocka_unit_test_setup_teardown(test_what_does_not_fit_before_the_end_follows, begin, end),
        cmocka_unit_test_setup_teardown(test_nothing_is_made_for_a_client_that_has_left, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
