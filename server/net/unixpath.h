/* unixpath.h - whether a server listens at the path of a unix socket. */
#pragma once

#include <sys/socket.h>

struct sockaddr_un;

/* 0: nobody does; what is there, if anything, was left behind. -EADDRINUSE: somebody does, or waits there for something
 * else. Any other -errno: it cannot be found out, so that what is there may be in use. Waits for nobody. */
int unixpath_probe(const struct sockaddr_un *address, socklen_t len);
