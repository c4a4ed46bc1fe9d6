/* address.h - room for any address that a socket of ours has, and its two parts as users know them. */
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un un;
};

/* Writes the numeric host without a port into `host` and returns the port; "" and 0 for what is neither IPv4 nor IPv6.
 */
static inline uint16_t address_print(const union address *a, char host[INET6_ADDRSTRLEN])
{
    host[0] = '\0';
    switch (a->any.sa_family) {
    case AF_INET:
        inet_ntop(AF_INET, &a->v4.sin_addr, host, INET6_ADDRSTRLEN);
        return ntohs(a->v4.sin_port);
    case AF_INET6:
        inet_ntop(AF_INET6, &a->v6.sin6_addr, host, INET6_ADDRSTRLEN);
        return ntohs(a->v6.sin6_port);
    default:
        return 0;
    }
}
