/* ktls.c - what OpenSSL and Linux agree on for encryption by the kernel. */
#include "server/net/ktls.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#ifdef TCP_ULP
bool ktls_prepare(int fd)
{
    static const char NAME[] = "tls";
    return setsockopt(fd, IPPROTO_TCP, TCP_ULP, NAME, sizeof(NAME)) == 0 || errno == EEXIST; /* it is already */
}

/* A socket without a connection is refused for that, where the kernel knows the name. */
bool ktls_is_offered(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return false;
    }
    bool offered = ktls_prepare(fd) || errno == ENOTCONN;
    close(fd);
    return offered;
}
#else
bool ktls_prepare(int fd)
{
    (void)fd;
    return false;
}

bool ktls_is_offered(void)
{
    return false;
}
#endif
