/* proxy.h - the PROXY protocol, versions 1 and 2: what a front end says about its client before the client's first
 * byte. It stands at the very beginning of a connection, before TLS, and may be left out: as in gunicorn, a client that
 * does not speak it is served under its own address. Pure. */
#pragma once

#include <stddef.h>

#include "server/net/allow.h"

struct peer;
struct proxied;
struct settings;

struct proxy {
    bool v1, v2;        /* which versions are read: proxy_protocol */
    struct allow allow; /* who may speak it: proxy_allow_ips */
};

/* From settings that were checked. 0 or -ENOMEM; when proxy_protocol is off, neither version is read. */
int proxy_init(struct proxy *p, const struct settings *s);
void proxy_finish(struct proxy *p);

#define PROXY_MORE (-1)

/* Looks at all that has come over a connection so far. PROXY_MORE: it cannot be told yet. 0: `*used` bytes of it are a
 * PROXY header (0: there is none), `peer` is who it says, and `*proxied` has the rest. Else the status to refuse with,
 * and `*reason` says why (static text). On a unix socket everybody may speak it, since file permissions say who may
 * connect. */
int proxy_read(const struct proxy *p, struct peer *peer, struct proxied *proxied, const char *data, size_t len,
               size_t *used, const char **reason);
