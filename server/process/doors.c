/* doors.c - the listeners as one worker watches them: accept, pause, give up. */
#include "server/process/doors.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/net/address.h"
#include "server/net/listener.h"
#include "server/net/peer.h"

#define HURRY 16      /* connections that are accepted in one turn, after a long one */
#define KEPT_MAX 1024 /* connections taken out of the queues when the worker is told to leave */

struct door {
    uv_poll_t poll;
    struct doors *all;
    const struct listener *listener;
};

struct kept { /* accepted by doors_give_up */
    int fd;
    const struct listener *listener;
};

struct doors {
    uv_loop_t *loop;
    const struct doors_events *events;
    void *arg;
    struct door *list;
    size_t n;
    bool paused;
    /* An eventfd that nobody writes to. Opened in time, since a signal handler may find no descriptor left; and one
     * that epoll takes, since the loop may not have told it of our sockets yet, and ends the process if it cannot. */
    int null_fd;
    bool hurry;
    atomic_bool given_up; /* doors_give_up has begun */
    struct kept *kept;
    size_t n_kept;
};

static void describe(struct peer *peer, const union address *from, const struct listener *l)
{
    *peer = (struct peer){
        .tls = l->tls,
        .to_https = l->https_port > 0,
        .https_port = l->https_port,
        .metrics = l->metrics,
        .server_addr = l->address,
        .server_port = l->port,
    };
    peer->port = address_print(from, peer->addr);
}

static int admit(struct doors *d, int fd, const struct listener *l, const union address *from)
{
    struct peer peer;
    describe(&peer, from, l);
    return d->events->accepted(d->arg, fd, l, &peer);
}

static void stop_watching(struct doors *d)
{
    d->paused = true;
    for (size_t i = 0; i < d->n; i++) {
        uv_poll_stop(&d->list[i].poll);
    }
}

static void on_acceptable(uv_poll_t *poll, int status, int events)
{
    (void)status, (void)events;
    const struct door *door = poll->data;
    struct doors *d = door->all;
    int r = 0;

    /* One a turn: others that wait go to whichever worker turns first. Who waits after a long turn has no other. */
    for (int i = 0; i < (d->hurry ? HURRY : 1) && r == 0 && !atomic_load(&d->given_up); i++) {
        union address from = {0};
        socklen_t len = sizeof(from);
        if (!d->events->has_room(d->arg)) {
            stop_watching(d);
            return;
        }
        int fd = accept4(door->listener->fd, &from.any, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        r = fd < 0 ? -errno : admit(d, fd, door->listener, &from);
    }
    if (r == -EMFILE || r == -ENFILE || r == -ENOBUFS || r == -ENOMEM) {
        stop_watching(d);
        d->events->exhausted(d->arg, r);
    }
}

static int watch(struct doors *d)
{
    for (size_t i = 0; i < d->n; i++) {
        int r = uv_poll_start(&d->list[i].poll, UV_READABLE, on_acceptable);
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

int doors_open(struct doors **out, uv_loop_t *loop, const struct listeners *ls, const struct doors_events *events,
               void *arg)
{
    struct doors *d = calloc(1, sizeof(*d));
    *out = d;
    if (!d) {
        return -ENOMEM;
    }
    *d = (struct doors){.loop = loop, .events = events, .arg = arg};
    d->null_fd = eventfd(0, EFD_CLOEXEC);
    d->list = calloc(ls->n, sizeof(*d->list));
    d->kept = calloc(KEPT_MAX, sizeof(*d->kept));
    if (d->null_fd < 0 || !d->list || !d->kept) {
        return d->null_fd < 0 ? -errno : -ENOMEM;
    }
    for (size_t i = 0; i < ls->n; i++) {
        struct door *door = &d->list[i];
        int r = uv_poll_init(loop, &door->poll, ls->list[i].fd);
        if (r < 0) {
            return r;
        }
        door->poll.data = door;
        door->all = d;
        door->listener = &ls->list[i];
        d->n++;
    }
    return watch(d);
}

void doors_resume(struct doors *d)
{
    if (d->paused && !atomic_load(&d->given_up)) {
        d->paused = false;
        watch(d);
    }
}

void doors_hurry(struct doors *d, bool hurry)
{
    d->hurry = hurry;
}

void doors_give_up(struct doors *d, bool drain)
{
    int saved = errno;
    if (atomic_exchange(&d->given_up, true)) {
        return;
    }
    for (size_t i = 0; i < d->n; i++) {
        const struct listener *l = d->list[i].listener;
        while (drain && d->n_kept < KEPT_MAX) {
            int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
            if (fd < 0) {
                break;
            }
            d->kept[d->n_kept++] = (struct kept){fd, l};
        }
        /* Out of the loop's epoll set first: other processes may keep the socket open, and its events would go on. */
        epoll_ctl(uv_backend_fd(d->loop), EPOLL_CTL_DEL, l->fd, NULL);
        dup2(d->null_fd, l->fd);
    }
    errno = saved;
}

void doors_close(struct doors *d)
{
    doors_give_up(d, true);
    for (size_t i = 0; i < d->n; i++) {
        uv_close((uv_handle_t *)&d->list[i].poll, NULL);
    }
    for (size_t i = 0; i < d->n_kept; i++) {
        union address from = {0};
        socklen_t len = sizeof(from);
        getpeername(d->kept[i].fd, &from.any, &len); /* fails when the client has left: it will show when we read */
        admit(d, d->kept[i].fd, d->kept[i].listener, &from);
    }
    d->n_kept = 0;
}

void doors_destroy(struct doors *d)
{
    if (!d) {
        return;
    }
    for (size_t i = 0; i < d->n_kept; i++) {
        close(d->kept[i].fd);
    }
    if (d->null_fd >= 0) {
        close(d->null_fd);
    }
    free(d->list);
    free(d->kept);
    free(d);
}
