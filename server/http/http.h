/* http.h - a worker's HTTP context: what all its connections share. Loop thread only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/clock.h"
#include "server/http/ownpages.h"
#include "server/http/request.h"

struct accesslog;
struct exchange;
struct executor;
struct forward;
struct protocol;
struct settings;
struct sink;
struct slot;
struct statsd;
struct syslog;

struct http {
    struct executor *executor; /* borrowed */
    struct slot *slot;         /* borrowed: our counters */
    unsigned worker;           /* counts the workers of this server */
    struct request_limits limits;
    uint64_t keepalive_ms, header_ms;
    size_t body_rate;        /* bytes a second; 0: any */
    bool casefold_method;    /* "get" is GET */
    bool any_method;         /* not only those that the parser knows */
    int hsts;                /* seconds: tohttps.h */
    struct ownfacts own;     /* for what the server answers itself */
    char *tmp_dir;           /* owned: where large bodies lie */
    struct forward *forward; /* owned: what front ends may say */
    struct clock clock;
    struct str server; /* owned: the field Server in each answer, from the end of the line before it to the date */
    struct accesslog *format; /* owned; NULL: no access log */
    struct sink *sink;        /* owned; NULL: no access log */
    struct statsd *statsd;    /* borrowed; NULL: requests are not told of. Set after http_init */
    struct exchange *free;    /* owned: exchanges to be used again */
    size_t n_free;
    uint64_t served; /* exchanges so far */
};

/* Opens the access log; `worker`: its number there. 0 or -errno. All pointers are borrowed and must outlive it. */
int http_init(struct http *h, const struct settings *s, struct executor *executor, struct slot *slot, unsigned worker);
/* The access log goes to syslog as well (borrowed), also when it has no file. 0 or -ENOMEM. */
int http_log_to_syslog(struct http *h, const struct settings *s, struct syslog *syslog);
void http_finish(struct http *h); /* after all connections are gone */

const struct protocol *http_protocol(void); /* its context is a struct http */

/* For the protocols: an exchange to fill (NULL when memory is short), and its end: the access line is
 * written, the exchange goes back. `sent`: bytes of body that were sent. */
struct exchange *http_take(struct http *h);
void http_give_back(struct http *h, struct exchange *x);
void http_log(struct http *h, const struct exchange *x, uint64_t sent);
