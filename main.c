/* main.c - the life of the process, top to bottom: settings, interpreter, listeners, master, worker. */
#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "python/configfile.h"
#include "python/gil.h"
#include "python/interp.h"
#include "python/library.h"
#include "python/paste.h"
#include "python/pyhooks.h"
#include "python/pylog.h"
#include "python/stacks.h"
#include "python/venv.h"
#include "server/base/buf.h"
#include "server/base/linefd.h"
#include "server/base/log.h"
#include "server/base/runfolder.h"
#include "server/base/scoreboard.h"
#include "server/base/statsd.h"
#include "server/base/syslog.h"
#include "server/config/cli.h"
#include "server/config/settings.h"
#include "server/net/listener.h"
#include "server/net/tickets.h"
#include "server/net/tls.h"
#include "server/process/checkup.h"
#include "server/process/control.h"
#include "server/process/daemon.h"
#include "server/process/hooks.h"
#include "server/process/logrotate.h"
#include "server/process/master.h"
#include "server/process/pidfile.h"
#include "server/process/preload.h"
#include "server/process/reexec.h"
#include "server/process/reload.h"
#include "server/process/renewal.h"
#include "server/process/retry.h"
#include "server/process/signals.h"
#include "server/process/stackdump.h"
#include "server/process/systemd.h"
#include "server/process/upgrade.h"
#include "server/process/worker.h"
#include "wsgi/wsgi.h"

#define GO_ON (-1) /* of a step that may also say: leave with this exit status */

struct program { /* owned by main; each member is there from the step that makes it on */
    const struct launch *launch;
    struct handover *handover; /* NULL on a first start */
    struct cli cli;
    struct settings settings;
    struct venv venv;
    const char *app_name; /* "hello:app"; borrowed from cli or settings */
    struct hooks hooks;
    struct renewal *renewal;               /* NULL: plain */
    struct tickets *tickets;               /* the same */
    struct app *app;                       /* NULL until loaded */
    struct pidfile *pidfile;               /* NULL: none */
    struct statsd *statsd;                 /* NULL: nothing is told to it */
    struct syslog *syslog, *access_syslog; /* NULL: nothing goes there */
    struct listeners listeners;
    struct scoreboard *scoreboard;
    struct control *control;     /* NULL: none */
    struct stackdump *stackdump; /* NULL: none */
    struct master *master;
    int report_fd;    /* of a daemon (daemon.h); else -1 */
    bool by_ctl;      /* `cwsgictl start` has started us: one server is enough, and it wants to hear of it */
    bool interpreter; /* runs */
};

/* This is not a new process, but the next image of a master that serves. */
static bool is_reload(const struct program *p)
{
    return p->handover && !p->handover->newborn;
}

/* --- Saying why it does not go on -----------------------------------------------------------------------------------
 */

/* One sentence where the user looks: stderr, and the server log when that is a file. */
static int refuse(struct program *p, struct buf *error)
{
    const char *text = buf_cstr(error);
    text = text && *text ? text : "Out of memory"; /* the sentence found no room */
    fprintf(stderr, "Error: %s\n", text);
    log_echo_end(); /* it was told */
    if (log_fd() != STDERR_FILENO) {
        log_error("%s", text);
    }
    if (is_reload(p)) {
        log_critical("The new release does not start");
    }
    return 1;
}

static int refuse_errno(struct program *p, const char *what, int r)
{
    struct buf error = {0};
    buf_printf(&error, "%s: %s", what, strerror(-r));
    int status = refuse(p, &error);
    buf_finish(&error);
    return status;
}

/* --- Process titles --------------------------------------------------------------------------------------------------
 */

/* NULL as long as only the configuration file may know it. */
static const char *process_name(const struct program *p)
{
    const struct settings *s = &p->settings;
    if (s->proc_name) {
        return s->proc_name;
    }
    bool named = strcmp(s->default_proc_name, settings_find("default_proc_name")->default_value) != 0;
    return named ? s->default_proc_name : p->app_name;
}

/* They begin with the venv's path, so that the `ps | grep` of users' scripts finds us by it. */
static void set_title(const struct program *p, const char *role)
{
    const char *name = process_name(p);
    if (name) {
        title_set("%s: %s [%s]", p->venv.title, role, name);
    }
}

/* --- Settings --------------------------------------------------------------------------------------------------------
 */

static int parse_command_line(struct program *p)
{
    struct buf message = {0};
    int status = GO_ON;
    if (!cli_parse(&p->cli, p->launch->argc, p->launch->argv, &message)) {
        status = p->cli.status;
        fwrite(message.data, 1, message.len, status == 0 ? stdout : stderr);
        if (fflush(status == 0 ? stdout : stderr) != 0) {
            status = 1;
        }
    }
    buf_finish(&message);
    return status;
}

/* Without the interpreter, so that what is plainly wrong is told at once. */
static int read_command_line(struct program *p, struct buf *error)
{
    if (settings_init(&p->settings, error) < 0 || cli_apply(&p->cli, &p->settings, error) < 0 ||
        systemd_sockets(&p->settings, error) < 0 || venv_find(&p->venv, p->launch->program, error) < 0) {
        return refuse(p, error);
    }
    if (!p->settings.check_config && !p->settings.print_config) {
        set_title(p, "master"); /* an early one: a script that looks for us now must not start a second server */
    }
    return GO_ON;
}

static int start_interpreter(struct program *p, struct buf *error)
{
    const struct launch *l = p->launch;
    char **argv = calloc((size_t)l->argc + 1, sizeof(*argv));
    if (!argv || wsgi_register() < 0) {
        free(argv);
        return refuse(p, error);
    }
    memcpy(argv, l->argv, (size_t)l->argc * sizeof(*argv));
    argv[0] = l->program; /* sys.argv[0] is a path, as of any script that is run from a venv */
    int r = interp_start(&p->venv, l->argc, argv, error);
    free(argv);
    if (r < 0) {
        return refuse(p, error);
    }
    p->interpreter = true;
    library_first();
    return GO_ON;
}

/* raw_env: each is NAME=VALUE. */
static int set_environment(const struct strings *pairs, struct buf *error)
{
    for (size_t i = 0; i < pairs->n; i++) {
        const char *equals = strchr(pairs->v[i], '=');
        assert(equals); /* settings_check has seen to it */
        char *name = strndup(pairs->v[i], (size_t)(equals - pairs->v[i]));
        int r = name ? interp_setenv(name, equals + 1) : -1;
        free(name);
        if (r < 0) {
            buf_printf(error, "The environment variable in raw_env can't be set: '%s'", pairs->v[i]);
            return -1;
        }
    }
    return 0;
}

static int read_settings(struct program *p, struct buf *error)
{
    struct settings *s = &p->settings;
    /* As gunicorn: a configuration file may import what lies beside it. */
    if (interp_set_paths(NULL, NULL, error) < 0) {
        return refuse(p, error);
    }
    if (configfile_run(s, p->cli.config, error) < 0 || settings_check(s, error) < 0 || paste_settings(s, error) < 0) {
        return refuse(p, error);
    }
    p->app_name = cli_application(&p->cli, s, error);
    if (!p->app_name || interp_set_paths(s->chdir, s->pythonpath, error) < 0 ||
        interp_setenv("SERVER_SOFTWARE", "cwsgi/" CWSGI_VERSION) < 0 || set_environment(&s->raw_env, error) < 0) {
        return refuse(p, error);
    }
    return GO_ON;
}

/* The name of this server among those of its user. */
static int claim_name(struct program *p, struct buf *note)
{
    const char *number = p->handover ? NULL : getenv(RUNFOLDER_START);
    int starter = number ? atoi(number) : -1;
    p->by_ctl = starter > STDERR_FILENO;
    unsetenv(RUNFOLDER_START); /* the application's children have no business with it */
    long other = control_claim(&p->control, &p->settings, p->by_ctl, p->handover, note);
    if (other > 0 && dprintf(starter, "%ld\n", other) < 0) {
        return refuse_errno(p, "Who starts this server can't be told that it runs", -errno);
    }
    if (p->by_ctl) {
        close(starter);
    }
    return other > 0 ? 0 : GO_ON;
}

static int open_syslog(struct program *p, struct buf *error)
{
    const struct settings *s = &p->settings;
    const char *name = s->syslog_prefix ? s->syslog_prefix : process_name(p);
    if (!s->syslog || pylog_wanted(s)) { /* Python's logging has its own */
        return GO_ON;
    }
    p->syslog = syslog_create(s->syslog_addr, s->syslog_facility, name, "error", error);
    if (p->syslog && !s->disable_redirect_access_to_syslog) {
        p->access_syslog = syslog_create(s->syslog_addr, s->syslog_facility, name, "access", error);
    }
    if (!p->syslog || (!p->access_syslog && !s->disable_redirect_access_to_syslog)) {
        return refuse(p, error);
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
        return refuse(p, error);
    }
    log_to_statsd(p->statsd);
    return GO_ON;
}

static int open_log(struct program *p, struct buf *error)
{
    const struct settings *s = &p->settings;
    if (logrotate_check(s, error) < 0 || user_make_logs(s, error) < 0) {
        return refuse(p, error);
    }
    bool checking = s->check_config || s->print_config; /* who checks reads it here, in a reload the master */
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
        return refuse(p, error);
    }
    if (open_syslog(p, error) != GO_ON || open_statsd(p, error) != GO_ON) {
        return 1;
    }
    settings_warn(s);
    if (s->accesslog && strcmp(s->accesslog, "-") != 0) {
        int fd = linefd_open_file(s->accesslog); /* the workers open it: here only to tell in time that they can */
        if (fd < 0) {
            buf_printf(error, "'%s' isn't writable: %s", s->accesslog, strerror(-fd));
            return refuse(p, error);
        }
        close(fd);
    }
    return GO_ON;
}

static int open_tls(struct program *p, struct buf *error)
{
    int fd = p->handover ? p->handover->tickets_fd : -1;
    int none = -1, *old = p->handover ? &p->handover->certs_fd : &none;
    if (renewal_create(&p->renewal, &p->settings, old, error) < 0) {
        return refuse(p, error);
    }
    if (p->handover) {
        p->handover->tickets_fd = -1;
    }
    if (tickets_create(&p->tickets, p->settings.ssl_ticket_keys, fd, error) < 0) {
        return refuse(p, error);
    }
    int r = tls_context_tickets(renewal_tls(p->renewal), p->tickets);
    return r < 0 ? refuse_errno(p, "Session tickets can't be set up", r) : GO_ON;
}

/* --- Only looking: --check-config and --print-config
 * ------------------------------------------------------------------ */

static int print_settings(struct program *p)
{
    struct buf text = {0};
    int r = settings_print(&p->settings, &text);
    if (r < 0) {
        return refuse_errno(p, "The settings can't be printed", r);
    }
    size_t written = fwrite(text.data, 1, text.len, stdout);
    bool failed = written != text.len || fflush(stdout) != 0;
    buf_finish(&text);
    return failed ? 1 : GO_ON;
}

/* The answer to check_path. 0 or an exit status. */
static int check_path(struct program *p, struct buf *error)
{
    int status = checkup_run(&p->settings, p->app, error);
    if (status < 0) {
        return refuse(p, error);
    }
    if (status >= 500) {
        buf_printf(error, "GET %s was answered with status %d", p->settings.check_path, status);
        return refuse(p, error);
    }
    return 0;
}

/* Loads the application as a worker would, with its rights: files that it makes must not belong to root. One that has
 * to answer lives through a worker's hooks, too. */
static int check(struct program *p, struct buf *error)
{
    struct hooks *hooks = p->settings.check_path ? &p->hooks : NULL;
    if (p->settings.print_config && print_settings(p) != GO_ON) {
        return 1;
    }
    pyhooks_plug(&p->hooks, &p->settings); /* those around a request are bound when the application is loaded */
    if (pylog_start(&p->settings, false, error) < 0) {
        return refuse(p, error);
    }
    if (hooks) {
        if (hooks->pre_fork(hooks, 1) < 0) {
            return 1;
        }
        hooks->forked(hooks, getpid());
        if (hooks->post_fork(hooks) < 0) {
            return 1;
        }
    }
    if (user_become(&p->settings, error) < 0) {
        return refuse(p, error);
    }
    stacks_enable(log_fd(), -1);
    if (wsgi_create(&p->app, &p->settings, p->app_name) != LOAD_OK || (hooks && hooks->post_worker_init(hooks) < 0)) {
        return 1;
    }
    int status = hooks ? check_path(p, error) : 0;
    if (hooks) {
        hooks->worker_exit(hooks);
    }
    return status;
}

/* --- What the workers inherit
 * ----------------------------------------------------------------------------------------- */

static int worker_status(enum load_result r)
{
    return r == LOAD_NOT_AN_APP ? WORKER_APP_ERROR : WORKER_BOOT_ERROR;
}

/* For preload_try. */
static int load_only(void *arg)
{
    struct program *p = arg;
    enum load_result r = wsgi_create(&p->app, &p->settings, p->app_name);
    interp_flush();
    return r == LOAD_OK ? 0 : worker_status(r);
}

/* True: load it. False: *status is GO_ON, or what to leave with. */
static bool may_preload(struct program *p, int *status)
{
    const struct settings *s = &p->settings;
    struct preload_finding f;
    if (s->preload_app == SETTING_TRUE) {
        return true;
    }
    int r = preload_try(&p->hooks, load_only, p, reload_seconds(s), &f);
    if (r < 0) {
        log_warning("--preload=auto: each worker loads the application: a trial could not be started: %s",
                    strerror(-r));
        return false;
    }
    if (f.status > 0 && !is_reload(p) && !s->reload) {
        *status = f.status;
        return false;
    }
    preload_log(&f);
    return preload_is_clean(&f);
}

/* After a reload a failure is left to the workers, which try again while the old ones serve; with --reload they serve
 * something else until a file changes. */
static int preload(struct program *p)
{
    int status = GO_ON;
    if (!may_preload(p, &status)) {
        return status;
    }
    enum load_result r = wsgi_create(&p->app, &p->settings, p->app_name);
    interp_freeze();
    return r == LOAD_OK || is_reload(p) || p->settings.reload ? GO_ON : worker_status(r);
}

static int open_pidfile(struct program *p, struct buf *error)
{
    struct pidfile *old = NULL;
    if (p->handover && p->handover->pidfile_fd >= 0) {
        old = pidfile_adopt(p->handover->pidfile_fd, p->handover->pidfile_path);
        if (!old) {
            return refuse(p, error);
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
        return refuse(p, error);
    }
    int r = pidfile_create(&p->pidfile, path, old, NULL, error);
    free(path);
    if (r < 0 && is_reload(p)) { /* once it has served, a server does not end because of that */
        log_critical("Error: %s; the server goes on without a pid file", buf_cstr(error));
        error->len = 0;
        return GO_ON;
    }
    return r < 0 ? refuse(p, error) : GO_ON;
}

static int open_listeners(struct program *p, struct buf *error)
{
    struct listeners *old = p->handover ? &p->handover->listeners : NULL;
    signals_block(NULL); /* whoever sees the port may tell us to stop: the master, which takes signals, is next */
    if (listeners_open(&p->listeners, &p->settings, old, error) < 0) {
        if (!is_reload(p) || old->n == 0) {
            return refuse(p, error);
        }
        /* Once it has served, a server does not end because of an address that it cannot have. */
        log_critical("Error: %s; the server stays where it listened before", buf_cstr(error));
        error->len = 0;
        int r = listeners_keep(&p->listeners, &p->settings, old);
        if (r < 0) {
            return refuse_errno(p, "The old addresses can't be kept", r);
        }
    }
    for (size_t i = 0; i < p->listeners.n; i++) {
        const struct listener *l = &p->listeners.list[i];
        if (l->ours && user_give(&p->settings, l->address, error) < 0) {
            return refuse(p, error);
        }
    }
    if (old) { /* not wanted any more: what still waits there is answered by the old workers */
        if (is_reload(p)) {
            listeners_unlink(old);
        }
        listeners_close(old);
    }
    return GO_ON;
}

static int open_scoreboard(struct program *p)
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
        return refuse_errno(p, "The scoreboard can't be made", r);
    }
    if (h && h->counts) {
        scoreboard_restore(p->scoreboard, h->counts);
    }
    scoreboard_begin_generation(p->scoreboard);
    return GO_ON;
}

static int create_master(struct program *p, struct buf *note)
{
    control_open(p->control, note);
    if (note->len > 0) {
        log_debug("No control socket: %.*s", (int)note->len - 2, note->data);
    } else if (control_path(p->control)) {
        log_debug("Control socket: %s", control_path(p->control));
    }
    p->stackdump = stackdump_create(p->handover ? p->handover->stacks_fd : -1);
    if (p->handover) {
        p->handover->stacks_fd = -1;
    }
    const struct master_deps deps = {
        .settings = &p->settings,
        .launch = p->launch,
        .listeners = &p->listeners,
        .scoreboard = p->scoreboard,
        .hooks = &p->hooks,
        .statsd = p->statsd,
        .renewal = p->renewal,
        .tickets = p->tickets,
        .pidfile = p->pidfile,
        .control = p->control,
        .stackdump = p->stackdump,
        .app_name = p->app_name,
        .report_fd = &p->report_fd,
        .by_ctl = p->by_ctl,
        .handover = p->handover,
    };
    int r = master_create(&p->master, &deps);
    return r == 0 ? GO_ON : refuse_errno(p, "The server cannot be started", r);
}

/* --- Becoming the server
 * ---------------------------------------------------------------------------------------------- */

static void on_wait_begin(struct hooks *h)
{
    (void)h;
    gil_release();
}

static void on_wait_end(struct hooks *h)
{
    (void)h;
    gil_acquire();
}

/* The hooks are plugged behind it: what they are shown as the server's pid must be the daemon's. */
static int detach(struct program *p, struct buf *error)
{
    interp_plug(&p->hooks);
    if (p->settings.daemon && !p->handover) {
        int r = daemonize(&p->hooks, &p->report_fd);
        if (r < 0) {
            return refuse_errno(p, "Can't go to the background", r);
        }
        log_echo();
    }
    control_detached(p->control);
    pyhooks_plug(&p->hooks, &p->settings);
    p->hooks.wait_begin = on_wait_begin;
    p->hooks.wait_end = on_wait_end;
    if (pylog_start(&p->settings, true, error) < 0) {
        return refuse(p, error);
    }
    pylog_adopt(&p->settings);
    if (p->settings.capture_output) {
        log_take_stdio();
    }
    return GO_ON;
}

/* All that comes before the first fork of a worker. GO_ON, or the exit status. */
static int set_up(struct program *p, struct buf *error)
{
    const struct settings *s = &p->settings;
    struct buf note = {0};
    int status = parse_command_line(p);
    status = status == GO_ON ? read_command_line(p, error) : status;
    status = status == GO_ON ? start_interpreter(p, error) : status;
    status = status == GO_ON ? read_settings(p, error) : status;
    if (status == GO_ON && !s->check_config && !s->print_config) {
        status = claim_name(p, &note);
    }
    status = status == GO_ON ? open_log(p, error) : status;
    status = status == GO_ON && s->certfile ? open_tls(p, error) : status;
    if (status == GO_ON && (s->check_config || s->print_config)) {
        return check(p, error);
    }
    if (status == GO_ON) {
        set_title(p, "master");
        status = detach(p, error);
    }
    status = status == GO_ON && s->preload_app != SETTING_FALSE ? preload(p) : status;
    if (status == GO_ON && !p->app && s->workers >= LIBRARY_SHARED_BY) {
        library_load(); /* who listens must see to signals */
    }
    status = status == GO_ON ? open_pidfile(p, error) : status;
    status = status == GO_ON ? open_listeners(p, error) : status;
    status = status == GO_ON ? open_scoreboard(p) : status;
    status = status == GO_ON ? create_master(p, &note) : status;
    buf_finish(&note);
    return status;
}

/* --- A worker
 * ---------------------------------------------------------------------------------------------------------- */

/* What is done before the first request. WORKER_OK or the exit status. */
static int boot_worker(struct program *p, int tell_fd)
{
    struct buf error = {0};
    if (p->hooks.post_fork(&p->hooks) < 0) { /* before the user changes, as gunicorn calls it */
        return WORKER_BOOT_ERROR;
    }
    if (user_become(&p->settings, &error) < 0) {
        const char *text = buf_cstr(&error);
        log_error("%s", text ? text : "Out of memory");
        buf_finish(&error);
        return WORKER_BOOT_ERROR;
    }
    int stacks_fd = stackdump_fd(p->stackdump);
    stacks_enable(stacks_fd >= 0 ? stacks_fd : log_fd(), stacks_fd >= 0 ? tell_fd : -1);
    if (!p->app) {
        enum load_result r = wsgi_create(&p->app, &p->settings, p->app_name);
        if (r != LOAD_OK && p->settings.reload) {
            r = wsgi_create(&p->app, &p->settings, PYHOOKS_STOPGAP);
        }
        if (r != LOAD_OK) {
            return worker_status(r);
        }
    }
    if (p->hooks.post_worker_init(&p->hooks) < 0) {
        return WORKER_BOOT_ERROR;
    }
    log_echo_end();
    pylog_adopt(&p->settings);
    if (p->settings.daemon && !p->settings.enable_stdio_inheritance && !p->settings.capture_output) {
        stdio_silence(); /* not sooner: a traceback of the start is shown to who started the daemon */
    }
    return WORKER_OK;
}

static int work(struct program *p, const struct seat *seat)
{
    worker_prepare(seat);
    set_title(p, "worker");
    log_info("Booting worker with pid: %ld", (long)getpid());
    pidfile_forget(p->pidfile);
    p->pidfile = NULL;
    control_forget(p->control);
    p->control = NULL;

    int status = boot_worker(p, seat->ready_fd);
    if (status == WORKER_OK) {
        const struct worker_deps deps = {
            .settings = &p->settings,
            .listeners = &p->listeners,
            .renewal = p->renewal,
            .scoreboard = p->scoreboard,
            .access_syslog = pylog_on() ? NULL : p->access_syslog,
            .statsd = p->statsd,
            .app = p->app,
            .hooks = &p->hooks,
        };
        status = worker_run(seat, &deps);
    }
    close(seat->master_fd);
    close(seat->ready_fd);
    log_info("Worker exiting (pid: %ld)", (long)getpid());
    p->hooks.worker_exit(&p->hooks);
    return status;
}

/* --- The master
 * --------------------------------------------------------------------------------------------------------- */

/* Executes the program as it is now: in our place, or, in the child that USR2 made, as a second master. Returns when
 * that failed: the old image goes on. */
static void execute(struct program *p)
{
    struct handover h;
    handover_init(&h);
    struct buf counts = {0};
    log_tend(true); /* what the next image does not know of */
    int r = master_hand_over(p->master, &h);
    h.listeners = p->listeners;
    if (!h.newborn) {
        r = r < 0 ? r : scoreboard_save(p->scoreboard, &counts);
        r = r < 0 ? r : control_hand_over(p->control, &h);
        h.counts = (char *)buf_cstr(&counts); /* lent */
        h.scoreboard_fd = scoreboard_fd(p->scoreboard);
        h.tickets_fd = p->tickets ? tickets_fd(p->tickets) : -1;
        h.certs_fd = renewal_fd(p->renewal);
        h.stacks_fd = stackdump_fd(p->stackdump);
        h.pidfile_fd = pidfile_fd(p->pidfile);
        h.pidfile_path = (char *)pidfile_path(p->pidfile); /* lent */
    } else if (p->hooks.pre_exec(&p->hooks) < 0) {
        r = -ECANCELED;
    }
    if (r == 0) {
        interp_flush();
        r = reexec(p->launch, &h);
    }
    buf_finish(&counts);
    free(h.waiters);
    free(h.workers);
    log_error("Can't execute %s: %s", p->launch->program, r == -ECANCELED ? "the hook pre_exec failed" : strerror(-r));
    if (h.newborn) {
        _exit(1); /* nothing that there is to tidy up is ours */
    }
}

/* Serves until told to stop. The exit status, of the master or of a worker. */
static int serve(struct program *p)
{
    for (;;) {
        struct seat seat;
        int status = 0;
        switch (master_run(p->master, &status, &seat)) {
        case MASTER_EXIT:
            return status;
        case MASTER_REEXEC:
            execute(p);
            break;
        case MASTER_WORKER:
            return work(p, &seat);
        }
    }
}

static void tear_down(struct program *p)
{
    wsgi_destroy(p->app);
    pylog_stop();
    if (p->interpreter) {
        interp_stop();
    }
    master_destroy(p->master);
    scoreboard_destroy(p->scoreboard);
    listeners_close(&p->listeners);
    pidfile_remove(p->pidfile); /* a worker has none */
    renewal_destroy(p->renewal);
    tickets_destroy(p->tickets);
    control_destroy(p->control);
    stackdump_destroy(p->stackdump);
    handover_destroy(p->handover);
    venv_finish(&p->venv);
    settings_finish(&p->settings);
    cli_finish(&p->cli);
    log_to_syslog(NULL);
    log_to_statsd(NULL);
    statsd_destroy(p->statsd);
    syslog_destroy(p->syslog);
    syslog_destroy(p->access_syslog);
    log_close();
}

/* A check has its verdict: it does not wait for threads that the application has started, which may run for ever. */
static void leave_check(const struct program *p, int status)
{
    bool checking = p->settings.check_config || p->settings.print_config;
    if (checking && status != GO_ON && preload_threads() > 1) {
        interp_flush();
        _exit(status);
    }
}

int main(int argc, char **argv)
{
    struct program p = {.report_fd = -1};
    struct buf error = {0};

    signal(SIGPIPE, SIG_IGN);
    p.launch = title_init(argc, argv);
    if (!p.launch) {
        fprintf(stderr, "Error: Out of memory\n");
        return 1;
    }
    int r = handover_read(&p.handover);
    int status = r < 0 ? refuse_errno(&p, "The handover of the old release can't be read", r) : set_up(&p, &error);
    buf_finish(&error);
    leave_check(&p, status);
    if (status == GO_ON) {
        handover_settled(p.handover);
        status = serve(&p);
    } else if (is_reload(&p)) {
        if (p.interpreter) {
            interp_flush();
        }
        status = retry_run(p.launch, p.handover);
    }
    tear_down(&p);
    daemon_report(&p.report_fd, status);
    return status;
}
