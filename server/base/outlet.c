/* outlet.c - a socket to a collector of records. */
#include "server/base/outlet.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/base/buf.h"
#include "server/base/clock.h"

#define RETRY_US UINT64_C(1000000)
#define CONNECT_US UINT64_C(2000000) /* at the start, and in a new worker */

/* What became of a connection that was begun. 0 or -errno. */
static int await_connection(int fd)
{
    uint64_t now = clock_mono_us(), end = now + CONNECT_US;
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    int r = 0, n = -1;
    for (; n < 0 && now < end; now = clock_mono_us()) {
        n = poll(&p, 1, (int)((end - now) / 1000) + 1);
        if (n < 0 && errno != EINTR) {
            return -errno;
        }
    }
    socklen_t len = sizeof(r);
    if (n <= 0) {
        return -ETIMEDOUT;
    }
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &r, &len) < 0 ? -errno : -r;
}

/* 0 or -errno. Later a connection is not waited for: until it is there, records are lost. */
static int connect_now(struct outlet *o, bool wait)
{
    int r = 0;
    o->fd = socket(o->address.any.sa_family, o->type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (o->fd < 0) {
        return -errno;
    }
    if (connect(o->fd, &o->address.any, o->address_len) < 0) {
        r = -errno;
    }
    if (r == -EINPROGRESS) {
        r = wait ? await_connection(o->fd) : 0;
    }
    if (r < 0) {
        close(o->fd);
        o->fd = -1;
    }
    return r;
}

static int open_unix(struct outlet *o, const char *path, bool either, struct buf *error)
{
    o->address.un.sun_family = AF_UNIX;
    o->address_len = sizeof(o->address.un);
    if (strlen(path) >= sizeof(o->address.un.sun_path)) {
        buf_printf(error, "'%s' is too long for the path of a socket", path);
        return -1;
    }
    memcpy(o->address.un.sun_path, path, strlen(path) + 1);
    int r = connect_now(o, true);
    if (r == -EPROTOTYPE && either) {
        o->type = SOCK_STREAM;
        r = connect_now(o, true);
    }
    if (r < 0) {
        buf_printf(error, "Can't connect to %s: %s", path, strerror(-r));
    }
    return r < 0 ? -1 : 0;
}

/* "localhost" may be ::1 before it is 127.0.0.1: a connection is tried to each address. A datagram is not answered, so
 * it goes to the IPv4 address if there is one, where gunicorn sends metrics too. */
static int open_inet(struct outlet *o, const char *host, const char *port, struct buf *error)
{
    struct addrinfo hints = {.ai_socktype = o->type, .ai_flags = AI_NUMERICSERV}, *found = NULL;
    hints.ai_family = o->type == SOCK_DGRAM ? AF_INET : AF_UNSPEC;
    int r = getaddrinfo(host, port, &hints, &found);
    if (r != 0 && hints.ai_family == AF_INET) {
        hints.ai_family = AF_UNSPEC;
        r = getaddrinfo(host, port, &hints, &found);
    }
    if (r != 0) {
        buf_printf(error, "Can't find %s, port %s: %s", host, port, gai_strerror(r));
        return -1;
    }
    r = -EADDRNOTAVAIL;
    for (const struct addrinfo *a = found; a && r < 0; a = a->ai_next) {
        memcpy(&o->address, a->ai_addr, a->ai_addrlen);
        o->address_len = a->ai_addrlen;
        r = connect_now(o, true);
    }
    freeaddrinfo(found);
    if (r < 0) {
        buf_printf(error, "Can't connect to %s, port %s: %s", host, port, strerror(-r));
    }
    return r < 0 ? -1 : 0;
}

int outlet_open(struct outlet *o, const char *where, const char *port, int type, struct buf *error)
{
    *o = (struct outlet){.type = type ? type : SOCK_DGRAM, .fd = -1, .owner = getpid()};
    pthread_mutex_init(&o->lock, NULL);
    return port ? open_inet(o, where, port, error) : open_unix(o, where, !type, error);
}

int outlet_open_inet(struct outlet *o, const char *text, const char *default_port, int type, struct buf *error)
{
    char *copy = strdup(text);
    if (!copy) {
        return -1;
    }
    char *host = copy, *port = strrchr(copy, ':');
    char *bracket = copy[0] == '[' ? strchr(copy, ']') : NULL;
    if (bracket) {
        host++;
        *bracket = '\0';
        port = bracket[1] == ':' ? bracket + 1 : NULL;
    }
    if (port) {
        *port++ = '\0';
    }
    int r = outlet_open(o, host[0] ? host : "localhost", port ? port : default_port, type, error);
    free(copy);
    return r;
}

bool outlet_is_known(const struct outlet *o)
{
    return o->address_len > 0;
}

void outlet_close(struct outlet *o)
{
    if (o->fd >= 0) {
        close(o->fd);
        o->fd = -1;
    }
}

static bool is_connected(struct outlet *o)
{
    if (o->type == SOCK_STREAM && o->owner != getpid()) { /* after a fork: our own */
        outlet_close(o);
        o->owner = getpid();
        return connect_now(o, true) == 0;
    }
    if (o->fd < 0 && clock_mono_us() >= o->retry_us) {
        o->retry_us = clock_mono_us() + RETRY_US;
        connect_now(o, false);
    }
    return o->fd >= 0;
}

void outlet_send(struct outlet *o, const char *data, size_t len)
{
    int saved = errno;
    pthread_mutex_lock(&o->lock);
    /* Twice, since a collector that was started anew is found by another connection only. */
    for (int i = 0; i < 2 && is_connected(o); i++) {
        ssize_t n;
        do {
            n = send(o->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
        } while (n < 0 && errno == EINTR);
        bool cut = o->type == SOCK_STREAM && n >= 0 && (size_t)n < len;
        bool gone = n < 0 && (errno == ECONNREFUSED || errno == ENOTCONN || errno == ECONNRESET || errno == EPIPE);
        if (cut || gone) {
            outlet_close(o); /* what is behind half a record could not be read */
        }
        if (!gone) {
            break;
        }
    }
    pthread_mutex_unlock(&o->lock);
    errno = saved;
}
