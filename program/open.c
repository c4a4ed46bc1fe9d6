/* open.c - opens what the server has open: logs, certificates, pid file, listeners, scoreboard. */
#include "program/open.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "program/program.h"
#include "python/pylog.h"
#include "server/base/buf.h"
#include "server/base/linefd.h"
#include "server/base/log.h"
#include "server/base/scoreboard.h"
#include "server/base/statsd.h"
#include "server/base/syslog.h"
#include "server/net/tickets.h"
#include "server/net/tls.h"
#include "server/process/logrotate.h"
#include "server/process/pidfile.h"
#include "server/process/renewal.h"
#include "server/process/signals.h"
#include "server/process/upgrade.h"
#include "server/process/user.h"

#define PIDFILE_TRIES 50 /* a second, as for a port */
#define PIDFILE_WAIT_US (20 * 1000)

static int open_syslog(struct program *p, struct buf *error)
{
    const struct settings *s = &p->settings;
    const char *name = s->syslog_prefix ? s->syslog_prefix : program_name(p);
    if (!s->syslog || pylog_wanted(s)) { /* Python's logging has its own */
        return GO_ON;
    }
    p->syslog = syslog_create(s->syslog_addr, s->syslog_facility, name, "error", error);
    if (p->syslog && !s->disable_redirect_access_to_syslog) {
        p->access_syslog = syslog_create(s->syslog_addr, s->syslog_facility, name, "access", error);
    }
    if (!p->syslog || (!p->access_syslog && !s->disable_redirect_access_to_syslog)) {
        return program_refuse(p, error);
    }
    log_to_syslog(p->syslog);
    return GO_ON;
}

static int open_statsd(struct program *p, struct buf *error)
{
    const struct settings *s = &p->settings;
    if (!s->statsd_host) {
        return GO_ON;
    }
    p->statsd = statsd_create(s->statsd_host, s->statsd_prefix, s->dogstatsd_tags, error);
    if (!p->statsd) {
        return program_refuse(p, error);
    }
    log_to_statsd(p->statsd);
    return GO_ON;
}

int open_log(struct program *p, struct buf *error)
{
    const struct settings *s = &p->settings;
    if (logrotate_check(s, error) < 0 || user_make_logs(s, error) < 0) {
        return program_refuse(p, error);
    }
    bool checking = program_is_check(p); /* who checks reads it here, in a reload the master */
    int r = checking && strcmp(s->errorlog, "-") != 0 ? linefd_open_file(s->errorlog) : 0;
    if (r > 0) {
        close(r);
    }
    log_set_form(strcmp(s->log_format, "json") == 0    ? LOG_FORM_JSON
                 : strcmp(s->log_format, "plain") == 0 ? LOG_FORM_PLAIN
                                                       : LOG_FORM_AUTO);
    r = r < 0 ? r : log_open(checking ? "-" : s->errorlog, settings_log_level(s));
    if (r < 0) {
        buf_printf(error, "'%s' isn't writable: %s", s->errorlog, strerror(-r));
        return program_refuse(p, error);
    }
    if (open_syslog(p, error) != GO_ON || open_statsd(p, error) != GO_ON) {
        return 1;
    }
    settings_warn(s);
    if (s->accesslog && strcmp(s->accesslog, "-") != 0) {
        int fd = linefd_open_file(s->accesslog); /* the workers open it: here only to tell in time that they can */
        if (fd < 0) {
            buf_printf(error, "'%s' isn't writable: %s", s->accesslog, strerror(-fd));
            return program_refuse(p, error);
        }
        close(fd);
    }
    return GO_ON;
}

int open_tls(struct program *p, struct buf *error)
{
    int fd = p->handover ? p->handover->tickets_fd : -1;
    int none = -1, *old = p->handover ? &p->handover->certs_fd : &none;
    log_debug("TLS by %s", tls_library());
    if (renewal_create(&p->renewal, &p->settings, old, error) < 0) {
        return program_refuse(p, error);
    }
    if (p->handover) {
        p->handover->tickets_fd = -1;
    }
    if (tickets_create(&p->tickets, p->settings.ssl_ticket_keys, fd, error) < 0) {
        return program_refuse(p, error);
    }
    int r = tls_context_tickets(renewal_tls(p->renewal), p->tickets);
    return r < 0 ? program_refuse_errno(p, "Session tickets can't be set up", r) : GO_ON;
}

/* With patience for an old server that was just told to stop, as for its port. Not in a reload: the server itself has
 * the file, and nobody looks after the workers meanwhile. 0 or -errno with `error`. */
static int create_pidfile(struct program *p, const char *path, struct pidfile *old, struct buf *error)
{
    int r = pidfile_create(&p->pidfile, path, old, NULL, error);
    for (int tries = 0; r == -EWOULDBLOCK && tries < PIDFILE_TRIES && !program_is_reload(p); tries++) {
        usleep(PIDFILE_WAIT_US);
        error->len = 0;
        r = pidfile_create(&p->pidfile, path, NULL, NULL, error); /* `old` is gone: removed by the first try */
    }
    return r;
}

int open_pidfile(struct program *p, struct buf *error)
{
    struct pidfile *old = NULL;
    if (p->handover && p->handover->pidfile_fd >= 0) {
        old = pidfile_adopt(p->handover->pidfile_fd, p->handover->pidfile_path);
        if (!old) {
            return program_refuse(p, error);
        }
        p->handover->pidfile_fd = -1;
    }
    if (!p->settings.pidfile) {
        pidfile_remove(old);
        return GO_ON;
    }
    char *path = NULL;
    bool second = p->handover && p->handover->elder > 0;
    if (asprintf(&path, "%s%s", p->settings.pidfile, second ? UPGRADE_SUFFIX : "") < 0) {
        return program_refuse(p, error);
    }
    int r = create_pidfile(p, path, old, error);
    free(path);
    if (r < 0 && program_is_reload(p)) { /* once it has served, a server does not end because of that */
        log_critical("Error: %s; the server goes on without a pid file", buf_cstr(error));
        error->len = 0;
        return GO_ON;
    }
    if (r < 0) {
        return program_refuse(p, error);
    }
    if (!p->handover) {
        pidfile_clear(p->pidfile, UPGRADE_SUFFIX); /* of two masters that were killed together */
    }
    return GO_ON;
}

int open_listeners(struct program *p, struct buf *error)
{
    struct listeners *old = p->handover ? &p->handover->listeners : NULL;
    signals_block(NULL); /* whoever sees the port may tell us to stop: the master, which takes signals, is next */
    if (listeners_open(&p->listeners, &p->settings, old, error) < 0) {
        if (!old || old->n == 0 || !program_is_reload(p)) {
            return program_refuse(p, error);
        }
        /* Once it has served, a server does not end because of an address that it cannot have. */
        log_critical("Error: %s; the server stays where it listened before", buf_cstr(error));
        error->len = 0;
        int r = listeners_keep(&p->listeners, &p->settings, old);
        if (r < 0) {
            return program_refuse_errno(p, "The old addresses can't be kept", r);
        }
    }
    for (size_t i = 0; i < p->listeners.n; i++) {
        const struct listener *l = &p->listeners.list[i];
        if (l->ours && user_give(&p->settings, l->address, error) < 0) {
            return program_refuse(p, error);
        }
    }
    if (old) { /* not wanted any more: what still waits there is answered by the old workers */
        if (program_is_reload(p)) {
            listeners_unlink(old);
        }
        listeners_close(old);
    }
    return GO_ON;
}

int open_scoreboard(struct program *p)
{
    struct handover *h = p->handover;
    int r = -EINVAL;
    if (h && h->scoreboard_fd >= 0) {
        r = scoreboard_adopt(&p->scoreboard, h->scoreboard_fd);
        if (r == 0) {
            h->scoreboard_fd = -1;
            scoreboard_begin_generation(p->scoreboard);
            return GO_ON;
        }
        for (size_t i = 0; i < h->n_workers; i++) { /* another build's: its workers cannot be watched any more */
            h->workers[i].slot = HANDOVER_NO_SLOT;
        }
    }
    if (r == -EINVAL) {
        r = scoreboard_create(&p->scoreboard, 2 * (size_t)p->settings.workers); /* two generations meet in a reload */
    }
    if (r < 0) {
        return program_refuse_errno(p, "The scoreboard can't be made", r);
    }
    if (h && h->counts) {
        scoreboard_restore(p->scoreboard, h->counts);
    }
    scoreboard_begin_generation(p->scoreboard);
    return GO_ON;
}
