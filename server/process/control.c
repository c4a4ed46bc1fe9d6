/* control.c - the control socket of a master: who may talk to it, lines in, texts out. */
#include "server/process/control.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/clock.h"
#include "server/base/cwd.h"
#include "server/base/log.h"
#include "server/base/runfolder.h"
#include "server/config/settings.h"
#include "server/net/unixpath.h"
#include "server/process/commands.h"
#include "server/process/leftovers.h"
#include "server/process/news.h"
#include "server/process/pidfile.h"
#include "server/process/reexec.h"

#define LINE_MAX_LEN 4095
#define OUT_MAX ((size_t)8 * 1024 * 1024) /* that waits for a client */
#define LOOK_US UINT64_C(20000)           /* workers do not say that they leave */
#define PAUSE_US UINT64_C(1000000)
#define SETTLE_US UINT64_C(1000000)    /* from one look whether the name of the address is free to the next */
#define PATIENCE_US UINT64_C(60000000) /* with a client that says nothing, or does not read */

struct control {
    struct pidfile *lock; /* owned; NULL: we have no name, and no socket */
    char *path, *link;    /* owned: of the socket; of the link to it in the user's folder; NULL: none */
    int fd;               /* owned; -1: none */
    mode_t mode;
    bool second;       /* our name has the pid in it, since another server has the name of the address */
    uint64_t pause_us; /* until then nobody is accepted: descriptors are short */
    struct client clients[CONTROL_CLIENTS];
};

/* The name */

static char *join(const char *folder, const char *name, const char *suffix)
{
    char *path = NULL;
    return asprintf(&path, "%s/%s%s", folder, name, suffix) < 0 ? NULL : path;
}

static int make_name(const struct settings *s, bool with_pid, struct buf *name)
{
    /* Sockets that were made by others are numbers, which say nothing. */
    int r = strncmp(s->bind.v[0], "fd://", 5) == 0 ? buf_puts(name, "fd") : runfolder_name(s->bind.v[0], name);
    with_pid |= strncmp(s->bind.v[0], "fd://", 5) == 0;
    return r == 0 && with_pid ? buf_printf(name, "-%ld", (long)getpid()) : r;
}

/* c->path is in the user's folder: where the setting control_socket wants the socket elsewhere, a link to it is there.
 */
static void place(struct control *c, const struct settings *s)
{
    if (!s->control_socket) {
        return;
    }
    c->link = c->path;
    c->path = cwd_absolute(s->control_socket);
}

/* Takes the lock of this name in the first folder that can be had. As control_claim. */
static long take_name(struct control *c, const struct settings *s, const char *name, struct pidfile *old,
                      struct buf *note)
{
    long other = 0;
    for (unsigned i = 0; i < RUNFOLDERS && !c->lock; i++) {
        struct buf folder = {0}, error = {0};
        int fd = runfolder_open(i, true, &folder);
        int r = fd < 0 ? fd : -ENOMEM;
        char *lock = fd < 0 ? NULL : join(folder.data, name, ".pid");
        free(c->path);
        c->path = fd < 0 ? NULL : join(folder.data, name, ".sock");
        if (lock && c->path) {
            r = pidfile_create(&c->lock, lock, old, &other, &error);
            old = NULL;
        }
        if (fd >= 0) {
            close(fd);
        }
        if (r < 0 && r != -EWOULDBLOCK) {
            buf_printf(note, "%s: %s; ", folder.data ? folder.data : "no folder", strerror(-r));
        }
        free(lock);
        buf_finish(&folder);
        buf_finish(&error);
        if (r == -EWOULDBLOCK) {
            return other > 0 ? other : 1; /* it has not written its pid yet */
        }
    }
    pidfile_remove(old);
    if (c->lock) {
        place(c, s);
    }
    return 0;
}

/* Owned. NULL when memory is short. */
static char *folder_of(const struct pidfile *lock)
{
    const char *path = pidfile_path(lock);
    return strndup(path, (size_t)(strrchr(path, '/') - path)); /* it is absolute */
}

static void clear_folder(const struct control *c)
{
    char *folder = folder_of(c->lock);
    if (folder) {
        leftovers_remove(folder);
    }
    free(folder);
}

static void take_over(struct control *c, struct handover *h)
{
    c->fd = h->control_fd;
    h->control_fd = -1;
    for (size_t i = 0; i < h->n_waiters && i < CONTROL_CLIENTS; i++) {
        c->clients[i].fd = h->waiters[i];
        c->clients[i].waiting = WAITS_FOR_WORKERS;
    }
    h->n_waiters = 0;
}

static void close_socket(struct control *c)
{
    if (c->fd >= 0) {
        close(c->fd);
        c->fd = -1;
    }
}

long control_claim(struct control **out, const struct settings *s, bool alone, struct handover *h, struct buf *note)
{
    struct control *c = calloc(1, sizeof(*c));
    struct pidfile *old = NULL;
    struct buf name = {0};
    long other = 0;
    if (!c) {
        return 0;
    }
    c->fd = -1;
    c->mode = (mode_t)s->control_socket_mode;
    for (size_t i = 0; i < CONTROL_CLIENTS; i++) {
        c->clients[i].fd = -1;
    }
    if (h && h->control_lock_fd >= 0) {
        old = pidfile_adopt(h->control_lock_fd, h->control_lock_path);
        h->control_lock_fd = old ? -1 : h->control_lock_fd;
    }
    if (h) {
        take_over(c, h);
    }
    if (!s->control_socket_disable && make_name(s, false, &name) == 0 && buf_cstr(&name)) {
        other = take_name(c, s, name.data, old, note);
        old = NULL; /* taken over */
        name.len = 0;
        if (other > 0 && !alone && make_name(s, true, &name) == 0 && buf_cstr(&name)) {
            take_name(c, s, name.data, NULL, note); /* without a name it goes on, too */
            c->second = c->lock != NULL;
            other = 0;
        }
    }
    pidfile_remove(old);
    if (c->lock && (!h || h->newborn)) { /* a reload comes when there is other work to do */
        clear_folder(c);
    }
    if (c->fd >= 0 && (!c->lock || !c->path || strcmp(c->path, h->control_path) != 0)) {
        unlink(h->control_path);
        close_socket(c);
    }
    buf_finish(&name);
    if (other > 0) {
        control_forget(c);
        return other;
    }
    *out = c;
    return 0;
}

void control_detached(const struct control *c)
{
    if (c) {
        pidfile_refresh(c->lock);
    }
}

/* The socket */

static int listen_at(struct control *c)
{
    struct sockaddr_un address;
    socklen_t len;
    struct stat st;
    int folder, r = runfolder_address(c->path, &address, &len, &folder);
    if (r < 0) {
        return r;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    r = fd < 0 ? -errno : unixpath_probe(&address, len);
    if (r == 0) {
        if (lstat(c->path, &st) == 0 && (S_ISSOCK(st.st_mode) || S_ISLNK(st.st_mode))) {
            unlink(c->path); /* of a server that was killed */
        }
        /* Nobody can connect between the two: it does not listen yet. */
        if (bind(fd, (struct sockaddr *)&address, len) < 0 || chmod(c->path, c->mode) < 0 ||
            listen(fd, 2 * CONTROL_CLIENTS) < 0) {
            r = -errno;
        }
    }
    if (folder >= 0) {
        close(folder);
    }
    if (r < 0 && fd >= 0) {
        close(fd);
    }
    return r < 0 ? r : fd;
}

void control_open(struct control *c, struct buf *note)
{
    if (!c || !c->lock || !c->path) {
        return;
    }
    if (c->fd < 0) {
        int fd = listen_at(c);
        if (fd < 0) {
            buf_printf(note, "%s: %s; ", c->path, strerror(-fd));
            free(c->path);
            c->path = NULL; /* not ours to remove */
            return;
        }
        c->fd = fd;
    } else if (chmod(c->path, c->mode) < 0) {
        buf_printf(note, "%s: %s; ", c->path, strerror(errno));
    }
    if (c->link) {
        unlink(c->link);
        if (symlink(c->path, c->link) < 0) {
            buf_printf(note, "%s: %s; ", c->link, strerror(errno));
        }
    }
}

/* The socket, or the link to it, goes to the path `to` (owned by us from then on); one that could not be opened, since
 * the server that had the name had it, too, is opened now. */
static void move_socket(struct control *c, const struct settings *s, char *to)
{
    char **at = c->link ? &c->link : &c->path;
    struct buf note = {0};
    if (c->fd >= 0 && rename(*at, to) < 0) {
        log_debug("The control socket stays %s: %s", *at, strerror(errno));
        free(to);
        return;
    }
    free(*at);
    *at = to;
    if (c->fd < 0) {
        if (c->link) {
            free(c->path);
            c->path = c->link;
            c->link = NULL;
        }
        place(c, s);
        control_open(c, &note);
    }
    log_debug("Control socket: %s", c->fd >= 0 ? c->path : "none");
    buf_finish(&note);
}

void control_settle(struct control *c, const struct settings *s)
{
    struct buf name = {0};
    if (!c || !c->second || make_name(s, false, &name) < 0 || !buf_cstr(&name)) {
        return;
    }
    char *folder = folder_of(c->lock);
    char *lock = folder ? join(folder, name.data, ".pid") : NULL;
    char *path = folder ? join(folder, name.data, ".sock") : NULL;
    if (lock && path && pidfile_move(c->lock, lock) == 0) {
        c->second = false;
        move_socket(c, s, path);
        path = NULL;
    }
    free(path);
    free(lock);
    free(folder);
    buf_finish(&name);
}

const char *control_path(const struct control *c)
{
    return c && c->fd >= 0 ? c->path : NULL;
}

void control_resign(struct control *c)
{
    if (!c) {
        return;
    }
    if (c->fd >= 0) {
        unlink(c->path);
        close_socket(c);
    }
    if (c->link) {
        unlink(c->link);
        free(c->link);
        c->link = NULL; /* from now on it may be another server's */
    }
    pidfile_remove(c->lock);
    c->lock = NULL;
    c->second = false;
}

static void drop(struct client *k)
{
    if (k->fd >= 0) {
        close(k->fd);
    }
    buf_finish(&k->in);
    buf_finish(&k->out);
    *k = (struct client){.fd = -1};
}

void control_forget(struct control *c)
{
    if (!c) {
        return;
    }
    for (size_t i = 0; i < CONTROL_CLIENTS; i++) {
        drop(&c->clients[i]);
    }
    close_socket(c);
    pidfile_forget(c->lock);
    free(c->path);
    free(c->link);
    free(c);
}

void control_destroy(struct control *c)
{
    control_resign(c);
    control_forget(c);
}

int control_hand_over(const struct control *c, struct handover *h)
{
    if (!c) {
        return 0;
    }
    h->waiters = calloc(CONTROL_CLIENTS, sizeof(*h->waiters));
    if (!h->waiters) {
        return -ENOMEM;
    }
    h->control_fd = c->fd;
    h->control_path = c->path;
    h->control_lock_fd = pidfile_fd(c->lock);
    h->control_lock_path = (char *)pidfile_path(c->lock); /* lent, as the others */
    for (size_t i = 0; i < CONTROL_CLIENTS; i++) {
        if (c->clients[i].fd >= 0 && c->clients[i].waiting == WAITS_FOR_TRIAL) {
            h->waiters[h->n_waiters++] = c->clients[i].fd;
        }
    }
    return 0;
}

/* Clients */

void client_done(struct client *k, int status, const void *text, size_t len)
{
    k->waiting = WAITS_FOR_NOTHING;
    k->deadline_us = clock_mono_us() + PATIENCE_US;
    int r = k->out.len + len > OUT_MAX ? -ENOBUFS : buf_printf(&k->out, "done %d %zu\n", status, len);
    r = r < 0 ? r : buf_append(&k->out, text, len);
    if (r < 0) {
        drop(k); /* it does not read, or memory is short */
    }
}

void client_done_text(struct client *k, int status, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    client_done(k, status, text, n < (int)sizeof(text) ? (size_t)n : sizeof(text) - 1);
}

/* The socket's mode is for others; this is for the case that it, or its folder, was made wide by accident. */
static bool may_talk(const struct control *c, int fd)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
           (peer.uid == geteuid() || peer.uid == 0 || (c->mode & 0066) != 0);
}

static struct client *free_client(struct control *c)
{
    for (size_t i = 0; i < CONTROL_CLIENTS; i++) {
        if (c->clients[i].fd < 0) {
            return &c->clients[i];
        }
    }
    return NULL;
}

static void accept_clients(struct control *c, uint64_t now)
{
    struct client *k;
    if (now >= c->pause_us) {
        c->pause_us = 0;
    }
    while (c->fd >= 0 && c->pause_us == 0 && (k = free_client(c))) {
        int fd = accept4(c->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0) {
            bool short_of_something = errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM;
            c->pause_us = short_of_something ? now + PAUSE_US : 0;
            return;
        }
        if (!may_talk(c, fd)) {
            log_warning("A command on the control socket was refused: it came from another user");
            close(fd);
            continue;
        }
        k->fd = fd;
        k->deadline_us = now + PATIENCE_US;
    }
}

/* False when the client has gone. */
static bool hear(struct client *k)
{
    char text[1024];
    ssize_t n;
    while ((n = read(k->fd, text, sizeof(text))) > 0) {
        if (k->in.len + (size_t)n > LINE_MAX_LEN + 1 || buf_append(&k->in, text, (size_t)n) < 0) {
            return false;
        }
    }
    return n < 0 && (errno == EAGAIN || errno == EINTR);
}

static bool answer(struct client *k)
{
    while (k->out.len > 0) {
        ssize_t n = send(k->fd, k->out.data, k->out.len, MSG_NOSIGNAL);
        if (n < 0) {
            return errno == EAGAIN || errno == EINTR;
        }
        buf_consume(&k->out, (size_t)n);
        k->deadline_us = k->deadline_us ? clock_mono_us() + PATIENCE_US : 0;
    }
    return true;
}

/* One line, when it is there and the client does not wait for the answer to another one. */
static void obey(struct client *k, struct master *m)
{
    char *end = k->in.len ? memchr(k->in.data, '\n', k->in.len) : NULL;
    if (!end || k->waiting != WAITS_FOR_NOTHING || k->out.len > 0) {
        return;
    }
    *end = '\0';
    size_t used = (size_t)(end - k->in.data) + 1;
    char line[LINE_MAX_LEN + 1];
    memcpy(line, k->in.data, used);
    buf_consume(&k->in, used);
    k->deadline_us = 0;
    commands_obey(m, k, line);
}

void control_tend(struct control *c, struct master *m, uint64_t now)
{
    if (!c) {
        return;
    }
    accept_clients(c, now);
    for (size_t i = 0; i < CONTROL_CLIENTS; i++) {
        struct client *k = &c->clients[i];
        if (k->fd < 0) {
            continue;
        }
        if (!hear(k)) {
            drop(k); /* also one that waits: nobody is there for the answer */
            continue;
        }
        obey(k, m);
        commands_tend(m, k);
        if (k->fd >= 0 && (!answer(k) || (k->deadline_us > 0 && now >= k->deadline_us))) {
            drop(k);
        }
    }
}

void control_await(const struct control *c, struct news *news)
{
    bool room = false;
    for (size_t i = 0; c && i < CONTROL_CLIENTS; i++) {
        const struct client *k = &c->clients[i];
        room |= k->fd < 0;
        news_add(news, k->fd, (short)(POLLIN | (k->out.len > 0 ? POLLOUT : 0)));
    }
    if (room && c->pause_us == 0) {
        news_add(news, c->fd, POLLIN);
    }
}

uint64_t control_deadline(const struct control *c)
{
    uint64_t at = c ? c->pause_us : 0;
    for (size_t i = 0; c && i < CONTROL_CLIENTS; i++) {
        uint64_t due = c->clients[i].fd >= 0 ? c->clients[i].deadline_us : 0;
        if (c->clients[i].fd >= 0 && c->clients[i].waiting == WAITS_FOR_WORKERS) {
            due = clock_mono_us() + LOOK_US;
        }
        at = due > 0 && (at == 0 || due < at) ? due : at;
    }
    if (c && c->second) {
        uint64_t due = clock_mono_us() + SETTLE_US;
        at = at == 0 || due < at ? due : at;
    }
    return at;
}
