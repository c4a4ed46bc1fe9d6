/* unixpath.c - whether a server listens at the path of a unix socket. */
#include "server/net/unixpath.h"

#include <errno.h>
#include <sys/un.h>
#include <unistd.h>

int unixpath_probe(const struct sockaddr_un *address, socklen_t len)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return -errno;
    }
    int r = connect(fd, (const struct sockaddr *)address, len) < 0 ? -errno : -EADDRINUSE;
    close(fd);
    switch (r) {
    case -ECONNREFUSED:
    case -ENOENT:
        return 0;
    case -EAGAIN:     /* so many wait already that there is no room: it hangs, or has much to do */
    case -EPROTOTYPE: /* a socket of another kind */
        return -EADDRINUSE;
    default:
        return r;
    }
}
