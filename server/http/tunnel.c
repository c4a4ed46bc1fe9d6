/* tunnel.c - a pair of sockets: one end is the application's, the other one is ours. */
#include "server/http/tunnel.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "server/base/buf.h"

#define PIECE ((size_t)16 * 1024)

struct tunnel {
    uv_poll_t poll;
    int fd; /* owned: our end; -1: closed */
    const struct tunnel_events *events;
    void *arg;
    struct buf waiting; /* owned: for the application, which has no room for it now */
    bool paused;
    bool ended; /* nothing more comes from the application */
    bool deaf;  /* it takes nothing more */
    bool last;  /* nothing is sent behind `waiting` */
};

static void on_poll(uv_poll_t *handle, int status, int events);

static void watch(struct tunnel *t)
{
    int events = (t->paused || t->ended ? 0 : UV_READABLE) | (t->waiting.len > 0 ? UV_WRITABLE : 0);
    if (t->fd >= 0 && events) {
        uv_poll_start(&t->poll, events, on_poll);
    } else if (t->fd >= 0) {
        uv_poll_stop(&t->poll);
    }
}

/* How many bytes the application has taken; what it will never take counts as taken. */
static size_t give(struct tunnel *t, const char *data, size_t len)
{
    ssize_t n = t->deaf ? -1 : send(t->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && !t->deaf && (errno == EAGAIN || errno == EINTR)) {
        return 0;
    }
    t->deaf |= n < 0;
    return n < 0 ? len : (size_t)n;
}

static void shut(const struct tunnel *t)
{
    if (t->last && t->waiting.len == 0) {
        shutdown(t->fd, SHUT_WR); /* if it fails, the application has closed its end */
    }
}

/* A piece of what the application has written. False: there is none now. */
static bool take(struct tunnel *t)
{
    char data[PIECE];
    ssize_t n = recv(t->fd, data, sizeof(data), MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return false;
    }
    if (n <= 0 || t->events->said(t->arg, data, (size_t)n) < 0) {
        t->ended = true;
    }
    return t->fd >= 0 && !t->ended;
}

static void on_poll(uv_poll_t *handle, int status, int events)
{
    struct tunnel *t = handle->data;
    if (status < 0) {
        events = UV_READABLE | UV_WRITABLE; /* the calls will tell */
    }
    if ((events & UV_WRITABLE) && t->waiting.len > 0) {
        buf_consume(&t->waiting, give(t, t->waiting.data, t->waiting.len));
        shut(t);
        if (t->waiting.len == 0) {
            t->events->taken(t->arg);
        }
    }
    if (t->fd >= 0 && (events & UV_READABLE) && !t->paused && !t->ended) {
        take(t);
        if (t->fd >= 0 && t->ended) {
            t->events->ended(t->arg);
        }
    }
    watch(t);
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

int tunnel_open(struct tunnel **out, uv_loop_t *loop, const struct tunnel_events *events, void *arg, int *fd)
{
    int pair[2];
    struct tunnel *t = calloc(1, sizeof(*t));
    *out = NULL;
    if (!t) {
        return -ENOMEM;
    }
    int r = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0 ? -errno : 0;
    if (r < 0) {
        free(t);
        return r;
    }
    r = uv_poll_init(loop, &t->poll, pair[0]); /* makes our end non-blocking, not the application's */
    if (r < 0) {
        free(t);
        close(pair[0]);
        close(pair[1]);
        return r;
    }
    t->poll.data = t;
    t->fd = pair[0];
    t->events = events;
    t->arg = arg;
    watch(t);
    *out = t;
    *fd = pair[1];
    return 0;
}

void tunnel_close(struct tunnel *t)
{
    if (t) {
        uv_close((uv_handle_t *)&t->poll, on_closed);
        close(t->fd);
        t->fd = -1;
        buf_finish(&t->waiting);
    }
}

int tunnel_send(struct tunnel *t, const char *data, size_t len)
{
    size_t n = t->waiting.len == 0 ? give(t, data, len) : 0;
    if (n < len && buf_append(&t->waiting, data + n, len - n) < 0) {
        return -ENOMEM;
    }
    watch(t);
    return t->waiting.len == 0;
}

void tunnel_send_end(struct tunnel *t)
{
    t->last = true;
    shut(t);
}

void tunnel_pause(struct tunnel *t)
{
    t->paused = true;
    watch(t);
}

void tunnel_resume(struct tunnel *t)
{
    t->paused = false;
    watch(t);
}

void tunnel_catch_up(struct tunnel *t)
{
    while (take(t)) {
    }
}
