/* tohttps.c - a client that came in the clear to where TLS is spoken is led to https. */
#include "server/http/tohttps.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "server/base/buf.h"
#include "server/http/exchange.h"
#include "server/net/peer.h"

#define HTTPS_PORT 443
#define HEAR_HTTPS "This address speaks HTTPS. Put https:// before it."

bool tohttps_wanted(const struct exchange *x)
{
    return x->peer->to_https;
}

/* A host without its port; an IPv6 address keeps its brackets. request_check has seen to its form. */
static struct str without_port(struct str host)
{
    const char *colon = host.len > 0 ? memrchr(host.p, ':', host.len) : NULL;
    if (colon && !memchr(colon, ']', (size_t)(host.p + host.len - colon))) {
        host.len = (size_t)(colon - host.p);
    }
    return host;
}

/* "https://host:port/path?query"; the port of the connection's own listener is the one that the client has named. */
static int locate(const struct exchange *x, struct buf *location)
{
    const struct request *r = &x->request;
    struct str host = x->peer->https_port > 0 ? without_port(r->host) : r->host;
    int e = buf_printf(location, "https://%.*s", (int)host.len, host.p);
    if (e == 0 && x->peer->https_port > 0 && x->peer->https_port != HTTPS_PORT) {
        e = buf_printf(location, ":%u", x->peer->https_port);
    }
    if (e == 0) {
        e = buf_append(location, r->path.p, r->path.len);
    }
    if (e == 0 && r->query.len > 0) {
        e = buf_printf(location, "?%.*s", (int)r->query.len, r->query.p);
    }
    return e;
}

int tohttps_lead(struct exchange *x)
{
    const struct request *r = &x->request;
    if (r->host.len == 0 || r->path.len == 0) {
        return response_refuse(&x->response, 400, HEAR_HTTPS);
    }
    struct buf location = {0};
    int e = locate(x, &location);
    if (e == 0) {
        e = response_refuse(&x->response, 308, HEAR_HTTPS);
    }
    if (e == 0 &&
        response_add(&x->response, STR("Location"), (struct str){location.data, location.len}) != RESPONSE_OK) {
        e = -ENOMEM; /* what request_check lets through is field text */
    }
    buf_finish(&location);
    return e;
}

size_t tohttps_pin(const struct exchange *x, int seconds, char line[TOHTTPS_PIN_MAX])
{
    const struct response *r = &x->response;
    if (seconds == 0 || !x->peer->tls) {
        return 0;
    }
    for (size_t i = 0; i < r->n_fields; i++) {
        if (str_ieq(r->fields[i].name, STR("Strict-Transport-Security"))) {
            return 0;
        }
    }
    int len = snprintf(line, TOHTTPS_PIN_MAX, "Strict-Transport-Security: max-age=%d\r\n", seconds);
    return (size_t)len;
}
