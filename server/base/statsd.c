/* statsd.c - metrics for a statsd daemon. */
#include "server/base/statsd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/buf.h"
#include "server/base/outlet.h"

struct statsd {
    struct outlet outlet;
    char *prefix; /* owned; with its dot */
    char *tags;   /* owned; "|#a:b", or empty */
};

static char *with_dot(const char *prefix)
{
    size_t len = strlen(prefix);
    char *text = NULL;
    while (len > 0 && prefix[len - 1] == '.') {
        len--;
    }
    return asprintf(&text, "%.*s%s", (int)len, prefix, len > 0 ? "." : "") < 0 ? NULL : text;
}

const char *statsd_path(const char *address)
{
    if (strncmp(address, "unix:", 5) != 0) {
        return NULL;
    }
    const char *path = address + 5;
    if (*path && path[strspn(path, "0123456789")] == '\0') {
        return NULL;
    }
    return strncmp(path, "//", 2) == 0 ? path + 2 : path;
}

static int open_address(struct outlet *o, const char *address, struct buf *error)
{
    const char *path = statsd_path(address);
    return path ? outlet_open(o, path, NULL, SOCK_DGRAM, error)
                : outlet_open_inet(o, address, STATSD_PORT, SOCK_DGRAM, error);
}

struct statsd *statsd_create(const char *address, const char *prefix, const char *tags, struct buf *error)
{
    struct buf why = {0};
    struct statsd *s = calloc(1, sizeof(*s));
    if (!s) {
        return NULL;
    }
    s->outlet.fd = -1;
    s->prefix = with_dot(prefix);
    if (asprintf(&s->tags, "%s%s", tags[0] ? "|#" : "", tags) < 0) {
        s->tags = NULL;
    }
    bool open = s->prefix && s->tags && open_address(&s->outlet, address, &why) == 0;
    if (!open && (!s->prefix || !s->tags || !outlet_is_known(&s->outlet))) {
        const char *text = buf_cstr(&why);
        buf_printf(error, "No statsd at %s (statsd_host): %s", address, text ? text : "out of memory");
        statsd_destroy(s);
        s = NULL;
    }
    buf_finish(&why);
    return s;
}

void statsd_destroy(struct statsd *s)
{
    if (s) {
        outlet_close(&s->outlet);
        free(s->prefix);
        free(s->tags);
        free(s);
    }
}

void statsd_request(struct statsd *s, int status, uint64_t took_us)
{
    struct buf packet = {0};
    /* Not %.3f, which has a comma in some locales that an application may set. */
    int r =
        buf_printf(&packet, "%sgunicorn.request.duration:%llu.%03llu|ms%s\n%sgunicorn.requests:1|c|@1.0%s\n", s->prefix,
                   (unsigned long long)took_us / 1000, (unsigned long long)took_us % 1000, s->tags, s->prefix, s->tags);
    if (r == 0 && buf_printf(&packet, "%sgunicorn.request.status.%d:1|c|@1.0%s", s->prefix, status, s->tags) == 0) {
        outlet_send(&s->outlet, packet.data, packet.len);
    }
    buf_finish(&packet);
}

static void send_one(struct statsd *s, const char *name, const char *kind, unsigned long n, const char *type)
{
    struct buf packet = {0};
    if (buf_printf(&packet, "%sgunicorn.%s%s:%lu|%s%s", s->prefix, name, kind, n, type, s->tags) == 0) {
        outlet_send(&s->outlet, packet.data, packet.len);
    }
    buf_finish(&packet);
}

void statsd_log(struct statsd *s, const char *kind)
{
    send_one(s, "log.", kind, 1, "c|@1.0");
}

void statsd_workers(struct statsd *s, unsigned long n)
{
    send_one(s, "workers", "", n, "g");
}

void statsd_backlog(struct statsd *s, unsigned long n)
{
    send_one(s, "backlog", "", n, "h");
}
