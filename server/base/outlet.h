/* outlet.h - a socket to a collector of records, such as syslog or statsd: UDP, TCP or a unix socket.
 * Nothing waits for the collector: what it does not take at once is lost. Each process has a connection of its own
 * where the bytes of several would mix. Any thread. */
#pragma once

#include <netinet/in.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

struct buf;

struct outlet { /* private; zero it before outlet_open */
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_un un;
    } address;
    socklen_t address_len;
    int type; /* SOCK_DGRAM or SOCK_STREAM */
    int fd;   /* owned; -1: not connected */
    pid_t owner;
    uint64_t retry_us; /* no other attempt before */
    pthread_mutex_t lock;
};

/* A unix socket at `where`, which is a path when `port` is NULL, else a host and a port. type 0: a datagram socket, or
 * if it is none a stream. 0, or -1 with a sentence. */
int outlet_open(struct outlet *o, const char *where, const char *port, int type, struct buf *error);
/* The same for "HOST", "HOST:PORT", "[V6]:PORT" or ":PORT". */
int outlet_open_inet(struct outlet *o, const char *text, const char *default_port, int type, struct buf *error);

/* After a failure: whether there is such an address, so that the collector may still come. */
bool outlet_is_known(const struct outlet *o);
void outlet_close(struct outlet *o);

void outlet_send(struct outlet *o, const char *data, size_t len); /* one record; errno is preserved */
