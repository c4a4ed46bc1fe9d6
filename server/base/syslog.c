/* syslog.c - records for a syslog daemon. */
#include "server/base/syslog.h"

#define SYSLOG_NAMES /* the table of facilities */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "server/base/buf.h"
#include "server/base/outlet.h"
#include "server/base/str.h"

struct syslog {
    struct outlet outlet;
    int facility;
    char *name; /* owned; "gunicorn.app.error" */
};

static int find_facility(const char *name)
{
    for (const CODE *c = facilitynames; c->c_name; c++) {
        if (str_ieq(str_of(c->c_name), str_of(name)) && (c->c_val & ~LOG_FACMASK) == 0 &&
            strcmp(c->c_name, "mark") != 0) {
            return c->c_val;
        }
    }
    return -1;
}

static int open_unix(struct outlet *o, const char *text, struct buf *error)
{
    const char *mark = strchrnul(text, '#');
    int type = strcmp(mark, "#dgram") == 0 ? SOCK_DGRAM : strcmp(mark, "#stream") == 0 ? SOCK_STREAM : 0;
    char *path = strndup(text, (size_t)(mark - text));
    int r = path ? outlet_open(o, path, NULL, type, error) : -1;
    free(path);
    return r;
}

static int open_address(struct outlet *o, const char *address, struct buf *error)
{
    if (strncmp(address, "udp://", 6) == 0) {
        return outlet_open_inet(o, address + 6, "514", SOCK_DGRAM, error);
    }
    if (strncmp(address, "tcp://", 6) == 0) {
        return outlet_open_inet(o, address + 6, "514", SOCK_STREAM, error);
    }
    if (strncmp(address, "unix://", 7) == 0) {
        return open_unix(o, address + 7, error);
    }
    buf_printf(error, "it is none of udp://HOST:PORT, tcp://HOST:PORT and unix://PATH");
    return -1;
}

struct syslog *syslog_create(const char *address, const char *facility, const char *prefix, const char *kind,
                             struct buf *error)
{
    struct buf why = {0};
    struct syslog *s = calloc(1, sizeof(*s));
    if (!s || asprintf(&s->name, "gunicorn.%s.%s", prefix, kind) < 0) {
        free(s);
        return NULL;
    }
    for (char *colon = strchr(s->name, ':'); colon; colon = strchr(colon, ':')) {
        *colon = '.';
    }
    s->outlet.fd = -1;
    s->facility = find_facility(facility);
    if (s->facility < 0) {
        buf_printf(error, "Invalid value for syslog_facility: %s is not known to syslog", facility);
    } else if (open_address(&s->outlet, address, &why) < 0) {
        const char *text = buf_cstr(&why);
        buf_printf(error, "No syslog at %s (syslog_addr): %s", address, text ? text : "out of memory");
        s->facility = -1;
    }
    buf_finish(&why);
    if (s->facility < 0) {
        syslog_destroy(s);
        return NULL;
    }
    return s;
}

void syslog_destroy(struct syslog *s)
{
    if (s) {
        outlet_close(&s->outlet);
        free(s->name);
        free(s);
    }
}

void syslog_record(struct syslog *s, enum log_level level, const char *text, size_t len)
{
    static const int severities[] = {LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERR, LOG_CRIT};
    struct buf record = {0};
    if (buf_printf(&record, "<%d>%s: [%ld] ", s->facility | severities[level], s->name, (long)getpid()) == 0 &&
        buf_append(&record, text, len) == 0 && buf_append(&record, "", 1) == 0) { /* NUL ends it, also over TCP */
        outlet_send(&s->outlet, record.data, record.len);
    }
    buf_finish(&record);
}
