/* fuzz_http1.c - bytes of a client through conn.c and http1.c to the application, and the answers back.
 *
 * The script's line: which server, who the client is, what happens and where, how answers are read, how often the
 * executor runs; then a character for each answer (fake_app.c), which also cuts the input into pieces. In the rest,
 * byte 0xf8 and a number n stand for n * n copies of the byte before them: limits lie beyond what a fuzzer would type.
 *
 * The same bytes are sent whole, byte by byte, and in pieces. Each time every request must be the one that was sent
 * (reread.c), every answer the one that the application gave (replies.c), and nothing may be left over; requests and
 * refusals must be the same each time. The clock is ours: time passes when the script says so, and only then. */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "server/base/buf.h"
#include "server/base/log.h"
#include "server/base/scoreboard.h"
#include "server/config/settings.h"
#include "server/exec/inline.h"
#include "server/http/exchange.h"
#include "server/http/http.h"
#include "server/http/http1.h"
#include "server/net/conn.h"
#include "server/net/conns.h"
#include "tests/fuzz/check.h"
#include "tests/fuzz/fake_app.h"
#include "tests/fuzz/replies.h"
#include "tests/fuzz/reread.h"
#include "tests/fuzz/script.h"

#define RAW_MAX (192 * 1024)
#define SINGLE_BYTES_MAX 1500 /* a longer input is sent in pieces instead */
#define TURNS_MAX 100000

enum script_place { SCRIPT_SERVER, SCRIPT_EVENT, SCRIPT_WHERE, SCRIPT_MANNER, SCRIPT_CUTS };
enum occasion {
    NOTHING,
    WAIT_3_S,
    WAIT_11_S,
    WAIT_31_S,
    DRAIN,   /* the worker is leaving */
    VANISH,  /* the client is gone */
    SHED,    /* idle connections make room */
    ABANDON, /* the client is gone before the executor has its first turn */
    OCCASIONS,
};
enum cuts { WHOLE, SINGLE_BYTES, PIECES };

/* A worker's HTTP side, as main would make it. */
struct server {
    struct settings settings;
    struct http http;
    struct conns conns;
};

struct run {
    const struct script *script;
    const char *raw;
    size_t raw_len;
    struct server *server;
    struct fake_app app;
    int fd; /* the client's end; -1: the client has left */
    struct buf got;
    struct str page; /* in `got`: what the server's refusal says; empty without one, and to HEAD */
    enum occasion event;
    bool lazy;      /* the client reads only when it has to */
    bool held;      /* the executor has no turn */
    unsigned delay; /* turns of the loop between two runs of the executor */
    unsigned turns;
    unsigned long progress;
};

#define SERVERS 4
static struct server servers[SERVERS];
static uv_loop_t loop;
static struct slot slot;
static struct inline_executor executor;
static struct protocol watched; /* http1, with a look at what comes and goes */
static struct run *now;
static void *open_conn; /* the protocol's state of the one connection; NULL: it is closed */
static uint64_t clock_us = 1000000;

/* Takes the place of the C library's, for libuv, too. */
int clock_gettime(clockid_t id, struct timespec *ts)
{
    if (id == CLOCK_MONOTONIC || id == CLOCK_MONOTONIC_COARSE) {
        *ts = (struct timespec){(time_t)(clock_us / 1000000), (long)(clock_us % 1000000) * 1000};
        return 0;
    }
    return (int)syscall(SYS_clock_gettime, id, ts);
}

/* Between conn and http1 */

static void *on_open(void *context, struct conn *c)
{
    open_conn = http1_protocol.open(context, c);
    return open_conn;
}

static void on_data(void *p, const char *data, size_t len)
{
    char *copy = malloc(len); /* of just that size: reading past it would be noticed */
    CHECK(copy, "memory");
    memcpy(copy, data, len);
    now->progress++;
    http1_protocol.data(p, copy, len);
    free(copy);
}

static void on_closed(void *p)
{
    CHECK(p == open_conn, "another connection is closed");
    open_conn = NULL;
    now->progress++;
    http1_protocol.closed(p);
}

/* Servers */

static void set(struct settings *s, const char *name, const char *value)
{
    struct buf error = {0};
    CHECK(settings_set(s, name, &value, 1, SETTINGS_COMMAND_LINE, &error) == 0, "%s", buf_cstr(&error));
    buf_finish(&error);
}

static void make_server(struct server *server, const char *const settings[][2])
{
    struct buf error = {0};
    CHECK(settings_init(&server->settings, &error) == 0, "%s", buf_cstr(&error));
    set(&server->settings, "accesslog", "/dev/null");
    for (; (*settings)[0]; settings++) {
        set(&server->settings, (*settings)[0], (*settings)[1]);
    }
    CHECK(http_init(&server->http, &server->settings, &executor.base, &slot, 1) == 0, "http_init");
    const struct conn_limits limits = {.max = 10, .handshake_ms = 10000, .linger_ms = 2000, .send_rate = 240};
    CHECK(conns_init(&server->conns, &loop, &watched, &server->http, &limits) == 0, "conns_init");
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    static const char *const USUAL[][2] = {{NULL, NULL}};
    static const char *const NARROW[][2] = {{"limit_request_line", "40"},       {"limit_request_fields", "4"},
                                            {"limit_request_field_size", "40"}, {"limit_request_body", "100"},
                                            {"header_map", "refuse"},           {NULL, NULL}};
    static const char *const OPEN[][2] = {
        {"header_map", "dangerous"}, {"forwarder_headers", "*"}, {"limit_request_fields", "1000"}, {NULL, NULL}};
    static const char *const BOUNDLESS[][2] = {{"limit_request_line", "0"}, {"limit_request_field_size", "0"},
                                               {"limit_request_body", "0"}, {"min_body_rate", "0"},
                                               {"keepalive", "0"},          {NULL, NULL}};
    signal(SIGPIPE, SIG_IGN);
    log_open("/dev/null", LOG_LEVEL_DEBUG);
    CHECK(uv_loop_init(&loop) == 0, "loop");
    watched = http1_protocol;
    watched.open = on_open;
    watched.data = on_data;
    watched.closed = on_closed;
    make_server(&servers[0], USUAL);
    make_server(&servers[1], NARROW);
    make_server(&servers[2], OPEN);
    make_server(&servers[3], BOUNDLESS);
    return 0;
}

/* One run */

static void read_answers(struct run *r)
{
    char piece[64 * 1024];
    ssize_t n;
    while (r->fd >= 0 && (n = recv(r->fd, piece, sizeof(piece), MSG_DONTWAIT)) > 0) {
        CHECK(buf_append(&r->got, piece, (size_t)n) == 0, "memory");
        r->progress++;
    }
}

static void turn(struct run *r)
{
    uv_run(&loop, UV_RUN_NOWAIT);
    if (!r->held && r->turns++ % (r->delay + 1) == 0) {
        unsigned long steps = r->app.steps;
        inline_run(&executor);
        r->progress += r->app.steps != steps;
    }
    if (!r->lazy) {
        read_answers(r);
    }
}

/* Until nothing happens any more. */
static void settle(struct run *r)
{
    unsigned long before;
    for (unsigned quiet = 0, turns = 0; quiet < r->delay + 3; turns++) {
        before = r->progress;
        turn(r);
        quiet = r->progress == before ? quiet + 1 : 0;
        CHECK(turns < TURNS_MAX, "it never comes to rest");
    }
}

static void settle_reading(struct run *r)
{
    unsigned long before;
    do {
        before = r->progress;
        settle(r);
        read_answers(r);
    } while (r->progress != before);
}

static void wait_ms(struct run *r, uint64_t ms)
{
    clock_us += ms * 1000;
    settle(r);
}

static void leave(struct run *r)
{
    if (r->fd >= 0) {
        close(r->fd);
        r->fd = -1;
    }
}

static bool has_cut_answer(const struct run *r)
{
    return r->app.n > 0 && r->app.answers[r->app.n - 1].end == ANSWER_CUT;
}

/* False when the server takes no more. */
static bool send_piece(struct run *r, const char *p, size_t len)
{
    unsigned long before = 0;
    for (unsigned tries = 0; len > 0; tries++) {
        ssize_t n = send(r->fd, p, len, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n > 0) {
            p += n;
            len -= (size_t)n;
            tries = 0;
        } else if (errno != EAGAIN) {
            return false;
        } else if (tries > 2 * r->delay + 4) {
            if (has_cut_answer(r)) {
                wait_ms(r, 1000); /* a broken connection is ended by the sweep */
                continue;
            }
            CHECK(r->progress != before || r->held, "the server neither reads nor answers");
            r->held = false; /* it holds all that it may for a client that is not answered */
            before = r->progress;
            read_answers(r); /* it may be waiting for us */
            tries = 0;
        }
        turn(r);
    }
    return true;
}

static void happen(struct run *r)
{
    static const unsigned WAIT_MS[OCCASIONS] = {[WAIT_3_S] = 3000, [WAIT_11_S] = 11000, [WAIT_31_S] = 31000};
    settle(r);
    if (WAIT_MS[r->event]) {
        wait_ms(r, WAIT_MS[r->event]);
    } else if (r->event == DRAIN) {
        conns_drain(&r->server->conns);
        settle(r);
    } else if (r->event == SHED) {
        conns_shed(&r->server->conns);
        settle(r);
    } else {
        leave(r);
        settle(r);
        r->held = false;
        settle(r);
    }
}

static size_t piece_len(const struct run *r, enum cuts cuts, size_t i)
{
    if (cuts == PIECES || (cuts == SINGLE_BYTES && r->raw_len > SINGLE_BYTES_MAX)) {
        return 1 + script_turn(r->script, SCRIPT_CUTS, i) % 64 + r->raw_len / 256;
    }
    return cuts == WHOLE ? r->raw_len : 1;
}

static void send_all(struct run *r, enum cuts cuts)
{
    size_t at = r->raw_len * (script_at(r->script, SCRIPT_WHERE) & 0xff) / 256;
    bool happened = r->event == NOTHING;
    for (size_t done = 0, i = 0; done < r->raw_len && r->fd >= 0; i++) {
        if (!happened && done == at) {
            happened = true;
            happen(r);
            continue;
        }
        size_t len = piece_len(r, cuts, i);
        size_t end = !happened && at > done ? at : r->raw_len;
        len = len < end - done ? len : end - done;
        if (!send_piece(r, r->raw + done, len)) {
            return;
        }
        done += len;
    }
}

/* The client has sent all, reads all, and goes. */
static void end_run(struct run *r)
{
    if (r->fd >= 0) {
        shutdown(r->fd, SHUT_WR);
    }
    settle(r);
    r->held = false;
    settle_reading(r);
    if (open_conn && (r->fd < 0 || has_cut_answer(r))) {
        wait_ms(r, 1000); /* a broken connection is ended by the sweep */
        settle_reading(r);
    }
    CHECK(!open_conn, "the connection stays open, though all is said");
    leave(r);
    settle(r);
    CHECK(r->server->conns.count == 0 && r->server->conns.queued == 0, "%zu bytes queued", r->server->conns.queued);
    CHECK(!inline_has_work(&executor), "an exchange is left over");
    r->server->conns.draining = false;
}

/* What must be true at the end, and the refusal for the comparison. */
static void judge(struct run *r)
{
    bool may_be_cut = r->event == VANISH || r->event == ABANDON || (r->event != NOTHING && r->lazy);
    struct replies all = replies_check(r->got.len ? r->got.data : "", r->got.len, &r->app, may_be_cut);
    if (all.refused) {
        CHECK(buf_printf(&r->app.seen, "refused with %d\n", all.refused) == 0, "memory");
        r->page = (struct str){all.page, all.page_len};
    }
    if (r->event == NOTHING) {
        size_t logged = atomic_load(&slot.counters[COUNT_requests]), answered = r->app.n + (all.refused != 0);
        bool begun = logged == answered + 1 && !all.refused; /* the client left within a head: 499 */
        CHECK(logged == answered || begun, "%zu lines in the log for %zu requests", logged, r->app.n);
        CHECK(all.refused || all.closing || has_cut_answer(r) || !reread_has_head(r->raw, r->raw_len, r->app.reread),
              "a request was not answered");
    }
}

static void run(struct run *r, enum cuts cuts)
{
    int fds[2];
    static const struct peer STRANGER = {.addr = "198.51.100.7", .server_addr = "unix"};
    static const struct peer FRONT_END = {.addr = "127.0.0.1", .server_addr = "unix"};
    unsigned server = script_at(r->script, SCRIPT_SERVER), manner = script_at(r->script, SCRIPT_MANNER);
    r->server = &servers[server % SERVERS];
    r->event = script_at(r->script, SCRIPT_EVENT) % OCCASIONS;
    r->lazy = manner & 1;
    r->held = r->event == ABANDON;
    r->delay = manner / 2 % 4;
    fake_app_init(&r->app, r->script, &r->server->http.limits, r->raw, r->raw_len);
    inline_init(&executor, &r->app.app, &slot);
    atomic_store(&slot.counters[COUNT_requests], 0);
    now = r;

    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0, "socketpair");
    int small = 8192; /* so that answers have to wait */
    setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
    r->fd = fds[1];
    const struct peer *peer = server / SERVERS % 2 ? &FRONT_END : &STRANGER;
    CHECK(conn_open(&r->server->conns, fds[0], true, peer, NULL) == 0, "conn_open");
    send_all(r, cuts);
    end_run(r);
    judge(r);
}

static void finish(struct run *r)
{
    fake_app_finish(&r->app);
    buf_finish(&r->got);
}

/* The copies that 0xf8 stands for. */
static void expand(struct str s, struct buf *raw)
{
    for (size_t i = 0; i < s.len && raw->len < RAW_MAX; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c != 0xf8 || raw->len == 0 || i + 1 == s.len) {
            CHECK(buf_append(raw, &c, 1) == 0, "memory");
            continue;
        }
        unsigned n = (unsigned char)s.p[++i];
        size_t copies = n * n < RAW_MAX - raw->len ? n * n : RAW_MAX - raw->len;
        CHECK(buf_reserve(raw, copies) == 0, "memory");
        memset(raw->data + raw->len, raw->data[raw->len - 1], copies);
        raw->len += copies;
    }
}

static void compare(const struct run *a, const struct run *b, const char *how)
{
    bool same = a->app.seen.len == b->app.seen.len &&
                (a->app.seen.len == 0 || memcmp(a->app.seen.data, b->app.seen.data, a->app.seen.len) == 0);
    CHECK(str_eq(a->page, b->page), "%s the same bytes are refused otherwise:\n%.*s\ninstead of\n%.*s", how,
          (int)b->page.len, b->page.p, (int)a->page.len, a->page.p);
    CHECK(same, "%s the same bytes are read otherwise:\n%.*s\ninstead of\n%.*s", how, (int)b->app.seen.len,
          b->app.seen.data ? b->app.seen.data : "", (int)a->app.seen.len, a->app.seen.data ? a->app.seen.data : "");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct script script = script_of(data, len);
    struct buf raw = {0};
    expand(script.rest, &raw);
    struct run runs[3];
    for (int i = 0; i < 3; i++) {
        runs[i] = (struct run){.script = &script, .raw = raw.data ? raw.data : "", .raw_len = raw.len};
        run(&runs[i], (enum cuts)i);
    }
    /* How much a client that does not read has got when something happens depends on the kernel. */
    if (runs[0].event == NOTHING || (runs[0].event != ABANDON && !runs[0].lazy)) {
        compare(&runs[0], &runs[1], "byte by byte");
        compare(&runs[0], &runs[2], "in pieces");
    }
    for (int i = 0; i < 3; i++) {
        finish(&runs[i]);
    }
    buf_finish(&raw);
    return 0;
}
