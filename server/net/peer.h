/* peer.h - who sent it, over what: facts of a connection, borrowed by every exchange on it. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

/* What a PROXY header has said (proxy.h), beside the client's address and port. */
struct proxied {
    const char *protocol;             /* static text: "TCP4", "TCP6", or what says nothing about addresses */
    char front_end[INET6_ADDRSTRLEN]; /* the address of who sent it; "" on a unix socket */
    char addr[INET6_ADDRSTRLEN];      /* where the client has connected to; "" when nothing was said */
    uint16_t port;
};

struct clientcert;

struct peer {
    char addr[INET6_ADDRSTRLEN]; /* the client's numeric address, no port; "" on a unix socket */
    uint16_t port;               /* 0 on a unix socket */
    uint16_t server_port;        /* 0 on a unix socket */
    bool tls;                    /* the connection is encrypted */
    bool to_https;               /* it is not, but has to be: every request is led to https */
    bool metrics;                /* it has come to the listener of metrics_bind */
    uint16_t https_port;         /* there; 0: the port that the client has named */
    const char *tls_version;     /* "TLSv1.3"; static text; NULL: it is not encrypted */
    const char *tls_cipher;      /* OpenSSL's name; the same */
    uint64_t number;             /* of the connection: counts those of this worker, from 1 */
    const char *server_addr;     /* borrowed: the listener's address (SERVER_NAME), or the path of its unix socket */
    struct clientcert *client;   /* the same life; NULL: the client has shown no certificate */
    struct proxied *proxied;     /* lives as long as this; NULL: there was no PROXY header */
};
