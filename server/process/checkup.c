/* checkup.c - asks the loaded application for one path, as a client of a worker would. */
#include "server/process/checkup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "server/base/buf.h"
#include "server/base/slot.h"
#include "server/config/settings.h"
#include "server/exec/inline.h"
#include "server/http/http.h"
#include "server/net/conn.h"
#include "server/net/conns.h"

#define FOREVER_MS (UINT64_C(24) * 3600 * 1000) /* who has started the check has a limit of his own */

struct checkup {
    struct settings settings; /* a copy that borrows all it points to */
    struct slot slot;
    uv_loop_t loop;
    struct inline_executor executor;
    struct http http;
    struct conns conns;
    int fd;        /* owned: the client's end */
    char head[16]; /* what the answer begins with: "HTTP/1.1 200" */
    size_t head_len;
};

/* The port of an address of --bind; 0: it has none. */
static uint16_t port_of(const char *bind)
{
    const char *colon = strrchr(bind, ':');
    char *end = NULL;
    unsigned long port = colon ? strtoul(colon + 1, &end, 10) : 0;
    return end && *end == '\0' && port <= UINT16_MAX ? (uint16_t)port : 0;
}

static struct peer make_peer(const struct settings *s)
{
    struct peer peer = {.addr = "127.0.0.1", .port = 1, .server_addr = "127.0.0.1"};
    peer.server_port = s->bind.n > 0 ? port_of(s->bind.v[0]) : 0;
    peer.tls = s->certfile || strncmp(s->check_path, "https:", 6) == 0;
    return peer;
}

/* Without waiting: the connection closes itself when all was read. */
static void read_answer(struct checkup *c)
{
    char piece[16 * 1024];
    ssize_t n;
    while ((n = recv(c->fd, piece, sizeof(piece), MSG_DONTWAIT)) > 0) {
        size_t room = sizeof(c->head) - 1 - c->head_len, take = (size_t)n < room ? (size_t)n : room;
        memcpy(c->head + c->head_len, piece, take);
        c->head_len += take;
    }
}

/* Sends the request and turns the loop, as a worker does, until the connection is closed. 0 or -errno. */
static int converse(struct checkup *c, int server_end)
{
    struct peer peer = make_peer(&c->settings);
    struct buf request = {0};
    int r = buf_printf(&request,
                       "GET %s HTTP/1.1\r\nHost: localhost\r\nUser-Agent: cwsgi-check\r\n"
                       "Accept: */*\r\nConnection: close\r\n\r\n",
                       c->settings.check_path);
    if (r == 0 && send(c->fd, request.data, request.len, MSG_DONTWAIT) != (ssize_t)request.len) {
        r = -EMSGSIZE;
    }
    buf_finish(&request);
    if (r < 0) {
        close(server_end);
        return r;
    }
    r = conn_open(&c->conns, server_end, true, &peer, NULL);
    while (r == 0 && c->conns.count > 0) {
        bool work = inline_has_work(&c->executor);
        if (!work) {
            inline_detach(&c->executor);
        }
        uv_run(&c->loop, work ? UV_RUN_NOWAIT : UV_RUN_ONCE);
        inline_run(&c->executor);
        read_answer(c);
    }
    read_answer(c);
    return r;
}

static void close_handle(uv_handle_t *handle, void *arg)
{
    (void)arg;
    if (!uv_is_closing(handle)) {
        uv_close(handle, NULL);
    }
}

/* 0 or -errno. */
static int run(struct checkup *c, struct app *app)
{
    const struct conn_limits limits = {.max = 1, .handshake_ms = FOREVER_MS, .linger_ms = 1000};
    int pair[2], r = uv_loop_init(&c->loop);
    if (r < 0) {
        return r;
    }
    inline_init(&c->executor, app, &c->slot);
    r = http_init(&c->http, &c->settings, &c->executor.base, &c->slot, 0);
    if (r == 0) {
        r = conns_init(&c->conns, &c->loop, http_protocol(), &c->http, &limits);
    }
    if (r == 0 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0) {
        r = -errno;
    }
    if (r == 0) {
        c->fd = pair[0];
        r = converse(c, pair[1]);
        close(c->fd);
    }
    uv_walk(&c->loop, close_handle, NULL);
    while (uv_run(&c->loop, UV_RUN_DEFAULT) != 0) {
    }
    conns_finish(&c->conns);
    http_finish(&c->http);
    inline_attach(&c->executor);
    uv_loop_close(&c->loop);
    return r;
}

int checkup_run(const struct settings *s, struct app *app, struct buf *error)
{
    struct checkup *c = calloc(1, sizeof(*c));
    if (!c) {
        buf_puts(error, "Out of memory");
        return -1;
    }
    c->settings = *s;
    c->settings.accesslog = NULL;
    int r = run(c, app), status = -1;
    if (r < 0) {
        buf_printf(error, "%s can't be checked: %s", s->check_path, strerror(-r));
    } else if (sscanf(c->head, "HTTP/1.%*d %d", &status) != 1) {
        status = -1;
        buf_printf(error, "%s was not answered", s->check_path);
    }
    free(c);
    return status;
}
