/* peer.h - who sent it, over what: facts of a connection, borrowed by every exchange on it. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

struct peer {
    char addr[INET6_ADDRSTRLEN]; /* numeric address, no port; "" on a unix socket */
    uint16_t port;               /* 0 on a unix socket */
    uint16_t server_port;        /* 0 on a unix socket */
    bool tls;                    /* the connection is encrypted */
    const char *server_addr;     /* borrowed: the listener's address (SERVER_NAME), or the path of its unix socket */
};
