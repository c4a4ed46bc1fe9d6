/* listener.c - the listening sockets: bind, adopt inherited ones, describe. */
#include "server/net/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/buf.h"
#include "server/config/settings.h"
#include "server/net/address.h"
#include "server/net/portowner.h"
#include "server/net/unixpath.h"

#define DEFAULT_PORT "8000"
#define BIND_TRIES 10 /* an old master that is leaving frees the port within moments */
#define BIND_WAIT_US (100 * 1000)
#define SILENT_S 1             /* the kernel keeps a client that says nothing to itself for as long */
#define METRICS "metrics://"   /* the same for metrics_bind */
#define REDIRECT "redirect://" /* our own name for the listener of http_redirect */

static void listener_finish(struct listener *l)
{
    if (l->fd >= 0) {
        close(l->fd);
    }
    free(l->bind);
    free(l->url);
    free(l->address);
}

/* Adds `l` to the list, which owns it from then on; on failure it is finished. */
static int append(struct listeners *ls, struct listener *l)
{
    struct listener *list = realloc(ls->list, (ls->n + 1) * sizeof(*list));
    if (!list) {
        listener_finish(l);
        return -ENOMEM;
    }
    ls->list = list;
    ls->list[ls->n++] = *l;
    return 0;
}

/* Asks the socket for its name and makes address, port and url of it. 0 or -errno. */
static int describe(struct listener *l)
{
    union address a = {0};
    socklen_t len = sizeof(a);
    char host[INET6_ADDRSTRLEN];
    struct buf url = {0};
    const char *scheme = l->tls ? "https" : "http";

    if (getsockname(l->fd, &a.any, &len) < 0) {
        return -errno;
    }
    int r;
    switch (a.any.sa_family) {
    case AF_INET:
    case AF_INET6:
        l->kind = LISTENER_TCP;
        l->port = address_print(&a, host);
        l->address = strdup(host);
        r = buf_printf(&url, a.any.sa_family == AF_INET ? "%s://%s:%u" : "%s://[%s]:%u", scheme, host, l->port);
        break;
    case AF_UNIX:
        a.un.sun_path[sizeof(a.un.sun_path) - 1] = '\0';
        l->kind = LISTENER_UNIX;
        l->address = strdup(a.un.sun_path);
        r = buf_printf(&url, "unix:%s", a.un.sun_path);
        break;
    default:
        return -EAFNOSUPPORT;
    }
    if (r < 0 || !l->address) {
        buf_finish(&url);
        return -ENOMEM;
    }
    l->url = url.data; /* NUL-terminated by buf_printf; ours now */
    return 0;
}

static int make_inheritable_only_by_fork(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) {
        return -errno;
    }
    return 0;
}

static bool starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* What the scheme in front of an address says; without one, a certificate makes the difference. */
static bool wants_tls(const struct settings *s, const char *bind_text)
{
    return starts_with(bind_text, "https://") ||
           (s->certfile && !starts_with(bind_text, "http://") && !starts_with(bind_text, REDIRECT) &&
            !starts_with(bind_text, METRICS));
}

static const char *without_scheme(const char *bind_text)
{
    static const char *const SCHEMES[] = {"https://", "http://", REDIRECT, METRICS};
    for (size_t i = 0; i < sizeof(SCHEMES) / sizeof(SCHEMES[0]); i++) {
        if (starts_with(bind_text, SCHEMES[i])) {
            return bind_text + strlen(SCHEMES[i]);
        }
    }
    return bind_text;
}

/* Turns an open socket into a listener of the list. The descriptor is taken over. */
static int add_socket(struct listeners *ls, int fd, const char *bind_text, bool tls, bool ours)
{
    struct listener l = {.fd = fd, .tls = tls, .ours = ours, .bind = strdup(bind_text)};
    int r = l.bind ? make_inheritable_only_by_fork(fd) : -ENOMEM;
    if (r == 0) {
        r = describe(&l);
    }
    if (r < 0) {
        listener_finish(&l);
        return r;
    }
    return append(ls, &l);
}

static int say(struct buf *error, const char *bind_text, const char *why)
{
    buf_printf(error, "cannot listen on %s: %s", bind_text, why);
    return -1;
}

static int say_in_use(struct buf *error, const char *bind_text, uint16_t port)
{
    struct buf owner = {0};
    buf_printf(error, "%s is already in use", bind_text);
    if (port == 0) {
        buf_puts(error, " by another server");
    } else if (portowner_find(port, &owner) == 0) {
        buf_printf(error, " by %s", buf_cstr(&owner));
    } else {
        buf_puts(error, " by a process that this user cannot see");
    }
    buf_finish(&owner);
    return -1;
}

/* bind and listen, with patience for an old server that is just leaving. 0 or -errno. */
static int bind_and_listen(int fd, const union address *a, socklen_t len, int backlog)
{
    for (int tries = 0; bind(fd, &a->any, len) < 0; tries++) {
        if (errno != EADDRINUSE || tries == BIND_TRIES) {
            return -errno;
        }
        usleep(BIND_WAIT_US);
    }
    return listen(fd, backlog) < 0 ? -errno : 0;
}

/* Removes what a server that was killed has left at the path of a socket, and nothing else. 0, or -1 with `error`. */
static int clear_path(const struct sockaddr_un *a, const char *bind_text, struct buf *error)
{
    struct stat st;
    if (lstat(a->sun_path, &st) < 0) {
        return 0; /* bind says what is wrong, if it is more than that nothing is there */
    }
    if (!S_ISSOCK(st.st_mode)) {
        return say(error, bind_text, "a file with that name exists and is not a socket");
    }
    int r = unixpath_probe(a, sizeof(*a));
    if (r == -EADDRINUSE) {
        return say_in_use(error, bind_text, 0);
    }
    if (r < 0) {
        buf_printf(error, "cannot listen on %s: a socket is there, and whether it is in use cannot be found out: %s",
                   bind_text, strerror(-r));
        return -1;
    }
    if (unlink(a->sun_path) < 0 && errno != ENOENT) {
        buf_printf(error, "cannot listen on %s: an old socket is there and cannot be removed: %s", bind_text,
                   strerror(errno));
        return -1;
    }
    return 0;
}

static int open_unix(struct listeners *ls, const struct settings *s, const char *bind_text, struct buf *error)
{
    const char *path = without_scheme(bind_text) + strlen("unix:");
    union address a = {.un = {.sun_family = AF_UNIX}};

    path = starts_with(path, "//") ? path + 2 : path;
    if (strlen(path) == 0 || strlen(path) >= sizeof(a.un.sun_path)) {
        return say(error, bind_text, "the path is empty or too long for a unix socket");
    }
    memcpy(a.un.sun_path, path, strlen(path) + 1);
    if (clear_path(&a.un, bind_text, error) < 0) {
        return -1;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return say(error, bind_text, strerror(errno));
    }
    mode_t old = umask((mode_t)s->umask);
    int r = bind_and_listen(fd, &a, sizeof(a.un), s->backlog);
    umask(old);
    if (r < 0) {
        close(fd);
        return say(error, bind_text, strerror(-r));
    }
    r = add_socket(ls, fd, bind_text, wants_tls(s, bind_text), true);
    return r < 0 ? say(error, bind_text, strerror(-r)) : 0;
}

static int open_fd(struct listeners *ls, const struct settings *s, const char *bind_text, struct buf *error)
{
    const char *digits = without_scheme(bind_text) + strlen("fd://");
    char *end;
    long fd = strtol(digits, &end, 10);
    int listening = 0;
    socklen_t len = sizeof(listening);
    if (*digits == '\0' || *end != '\0' || fd < 0 || fd > 65535 ||
        getsockopt((int)fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) < 0 || !listening) {
        return say(error, bind_text, "there is no listening socket with that number");
    }
    int r = add_socket(ls, (int)fd, bind_text, wants_tls(s, bind_text), false);
    return r < 0 ? say(error, bind_text, strerror(-r)) : 0;
}

/* Cuts HOST:PORT, [V6]:PORT, :PORT, HOST into its parts. `host` has room for the whole text. */
static bool split(const char *text, char *host, const char **port)
{
    const char *colon = strrchr(text, ':');
    const char *end;
    if (text[0] == '[') {
        end = strchr(text, ']');
        if (!end || (end[1] != '\0' && end[1] != ':')) {
            return false;
        }
        text++;
        colon = end[1] == ':' ? end + 1 : NULL;
    } else {
        end = colon ? colon : text + strlen(text);
    }
    memcpy(host, text, (size_t)(end - text));
    host[end - text] = '\0';
    *port = colon ? colon + 1 : DEFAULT_PORT;
    return true;
}

static int open_tcp(struct listeners *ls, const struct settings *s, const char *bind_text, struct buf *error)
{
    const char *text = without_scheme(bind_text);
    text = starts_with(text, "tcp://") ? text + strlen("tcp://") : text;
    char host[256];
    const char *port;
    if (strlen(text) >= sizeof(host) || !split(text, host, &port)) {
        return say(error, bind_text, "not of the form HOST:PORT, [V6]:PORT, unix:PATH or fd://N");
    }
    char *end;
    long number = strtol(port, &end, 10);
    if (*port < '0' || *port > '9' || *end != '\0' || number > 65535) {
        return say(error, bind_text, "the port is not a number from 0 to 65535");
    }
    /* As gunicorn: a name stands for its IPv4 address. */
    int family = strchr(host, ':') ? AF_INET6 : AF_INET;
    struct addrinfo hints = {.ai_family = family, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *info;
    int r = getaddrinfo(host[0] ? host : "0.0.0.0", port, &hints, &info);
    if (r != 0) {
        return say(error, bind_text, gai_strerror(r));
    }
    union address a;
    socklen_t len = info->ai_addrlen;
    memcpy(&a, info->ai_addr, len);
    freeaddrinfo(info);

    int fd = socket(a.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int one = 1, silent_s = SILENT_S;
    if (fd < 0) {
        return say(error, bind_text, strerror(errno));
    }
    /* Accepted sockets inherit TCP_NODELAY: one system call here instead of one a connection. */
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) < 0 ||
        (s->reuse_port && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) < 0)) {
        r = -errno;
    } else {
        /* Not all kernels have it, and it only saves work: docs/decisions/0010-deferred-accept.md. */
        setsockopt(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &silent_s, sizeof(silent_s));
        r = bind_and_listen(fd, &a, len, s->backlog);
    }
    if (r < 0) {
        close(fd);
        return r == -EADDRINUSE ? say_in_use(error, bind_text, (uint16_t)number) : say(error, bind_text, strerror(-r));
    }
    r = add_socket(ls, fd, bind_text, wants_tls(s, bind_text), false);
    return r < 0 ? say(error, bind_text, strerror(-r)) : 0;
}

/* Takes the socket that was bound as `bind_text` out of `old`, where its place stays. False when there is none. */
static bool take_over(struct listeners *ls, struct listeners *old, const char *bind_text, bool tls, int *result)
{
    for (size_t i = 0; old && i < old->n; i++) {
        struct listener *l = &old->list[i];
        if (l->fd >= 0 && strcmp(l->bind, bind_text) == 0) {
            *result = add_socket(ls, l->fd, bind_text, tls, l->ours);
            l->fd = -1;
            if (*result == 0) {
                ls->list[ls->n - 1].inherited = true;
            }
            return true;
        }
    }
    return false;
}

/* Its socket goes back to its place. */
static void give_back(struct listeners *old, struct listener *l)
{
    for (size_t i = 0; i < old->n && l->fd >= 0; i++) {
        if (old->list[i].fd < 0 && strcmp(old->list[i].bind, l->bind) == 0) {
            old->list[i].fd = l->fd;
            l->fd = -1;
        }
    }
}

/* What was taken over from `old` goes back, the rest is closed. */
static void give_up(struct listeners *ls, struct listeners *old)
{
    for (size_t i = 0; i < ls->n; i++) {
        struct listener *l = &ls->list[i];
        if (l->inherited) {
            give_back(old, l);
        } else if (l->ours) {
            unlink(l->address);
        }
    }
    listeners_close(ls);
}

/* Removes the places whose sockets were taken over for good. */
static void remove_empty(struct listeners *old)
{
    size_t n = 0;
    for (size_t i = 0; i < old->n; i++) {
        if (old->list[i].fd < 0) {
            listener_finish(&old->list[i]);
        } else {
            old->list[n++] = old->list[i];
        }
    }
    old->n = n;
}

static int open_one(struct listeners *ls, const struct settings *s, struct listeners *old, const char *text,
                    struct buf *error)
{
    const char *address = without_scheme(text);
    int r = 0;
    if (take_over(ls, old, text, wants_tls(s, text), &r)) {
        return r < 0 ? say(error, text, strerror(-r)) : 0;
    }
    if (starts_with(address, "unix:")) {
        return open_unix(ls, s, text, error);
    }
    return starts_with(address, "fd://") ? open_fd(ls, s, text, error) : open_tcp(ls, s, text, error);
}

static const struct listener *first_https(const struct listeners *ls)
{
    for (size_t i = 0; i < ls->n; i++) {
        if (ls->list[i].tls && ls->list[i].kind == LISTENER_TCP) {
            return &ls->list[i];
        }
    }
    return NULL;
}

/* The listener of http_redirect, on the address of the first https one. */
static int open_redirect(struct listeners *ls, const struct settings *s, struct listeners *old, struct buf *error)
{
    const struct listener *https = first_https(ls);
    struct buf text = {0};
    if (!https) {
        buf_printf(error, "http_redirect is %d, but no address speaks https: there is nothing to lead to",
                   s->http_redirect);
        return -1;
    }
    bool v6 = strchr(https->address, ':');
    int r = buf_printf(&text, v6 ? REDIRECT "[%s]:%d" : REDIRECT "%s:%d", https->address, s->http_redirect);
    r = r < 0 ? say(error, "http_redirect", strerror(-r)) : open_one(ls, s, old, text.data, error);
    buf_finish(&text);
    return r;
}

static int open_metrics(struct listeners *ls, const struct settings *s, struct listeners *old, struct buf *error)
{
    struct buf text = {0};
    int r = buf_printf(&text, METRICS "%s", s->metrics_bind);
    r = r < 0 ? say(error, "metrics_bind", strerror(-r)) : open_one(ls, s, old, text.data, error);
    buf_finish(&text);
    return r;
}

/* What the names that we have made up say. */
static void mark(struct listeners *ls)
{
    const struct listener *https = first_https(ls);
    for (size_t i = 0; i < ls->n; i++) {
        ls->list[i].https_port = https && starts_with(ls->list[i].bind, REDIRECT) ? https->port : 0;
        ls->list[i].metrics = starts_with(ls->list[i].bind, METRICS);
    }
}

int listeners_open(struct listeners *ls, const struct settings *s, struct listeners *old, struct buf *error)
{
    int r = 0;
    *ls = (struct listeners){0};
    for (size_t i = 0; r == 0 && i < s->bind.n; i++) {
        r = open_one(ls, s, old, s->bind.v[i], error);
    }
    if (r == 0 && s->http_redirect > 0) {
        r = open_redirect(ls, s, old, error);
    }
    if (r == 0 && s->metrics_bind) {
        r = open_metrics(ls, s, old, error);
    }
    if (r < 0) {
        give_up(ls, old);
    } else {
        mark(ls);
    }
    if (old) {
        remove_empty(old);
    }
    return r < 0 ? -1 : 0;
}

int listeners_keep(struct listeners *ls, const struct settings *s, struct listeners *old)
{
    int r = 0;
    *ls = (struct listeners){0};
    for (size_t i = 0; i < old->n && r == 0; i++) {
        struct listener *l = &old->list[i];
        r = add_socket(ls, l->fd, l->bind, wants_tls(s, l->bind), l->ours);
        l->fd = -1;
    }
    listeners_close(old);
    mark(ls);
    return r;
}

int listeners_adopt(struct listeners *ls, int fd, const char *bind_text, bool ours)
{
    return add_socket(ls, fd, bind_text, false, ours);
}

int listeners_describe(const struct listeners *ls, struct buf *out)
{
    for (size_t i = 0; i < ls->n; i++) {
        int r = buf_printf(out, "%s%s", i ? "," : "", ls->list[i].url);
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

unsigned long listeners_waiting(const struct listeners *ls)
{
    unsigned long n = 0;
    for (size_t i = 0; i < ls->n; i++) {
        struct tcp_info info;
        socklen_t len = sizeof(info);
        if (getsockopt(ls->list[i].fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0) { /* fails on a unix socket */
            n += info.tcpi_unacked;
        }
    }
    return n;
}

void listeners_close(struct listeners *ls)
{
    for (size_t i = 0; i < ls->n; i++) {
        listener_finish(&ls->list[i]);
    }
    free(ls->list);
    *ls = (struct listeners){0};
}

void listeners_unlink(struct listeners *ls)
{
    for (size_t i = 0; i < ls->n; i++) {
        if (ls->list[i].ours) {
            unlink(ls->list[i].address);
        }
    }
}
