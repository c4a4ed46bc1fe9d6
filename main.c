/* main.c - the life of the process, top to bottom: settings, interpreter, listeners, master, worker. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "program/boot.h"
#include "program/check.h"
#include "program/open.h"
#include "program/program.h"
#include "program/read.h"
#include "python/gil.h"
#include "python/interp.h"
#include "python/library.h"
#include "python/product.h"
#include "python/pyhooks.h"
#include "python/pylog.h"
#include "server/base/buf.h"
#include "server/base/log.h"
#include "server/base/runfolder.h"
#include "server/base/scoreboard.h"
#include "server/base/statsd.h"
#include "server/base/syslog.h"
#include "server/net/tickets.h"
#include "server/process/control.h"
#include "server/process/daemon.h"
#include "server/process/master.h"
#include "server/process/pidfile.h"
#include "server/process/renewal.h"
#include "server/process/retry.h"
#include "server/process/stackdump.h"
#include "server/process/title.h"
#include "server/process/worker.h"
#include "server/process/workersignals.h"
#include "wsgi/wsgi.h"

static int start_interpreter(struct program *p, struct buf *error)
{
    const struct launch *l = p->launch;
    char **argv = calloc((size_t)l->argc + 1, sizeof(*argv));
    if (!argv || wsgi_register() < 0) {
        free(argv);
        return program_refuse(p, error);
    }
    memcpy(argv, l->argv, (size_t)l->argc * sizeof(*argv));
    argv[0] = l->program; /* sys.argv[0] is a path, as of any script that is run from a venv */
    int r = interp_start(&p->venv, l->argc, argv, error);
    free(argv);
    if (r < 0) {
        return program_refuse(p, error);
    }
    p->interpreter = true;
    library_first();
    product_appear();
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
        return program_refuse_errno(p, "Who starts this server can't be told that it runs", -errno);
    }
    if (p->by_ctl) {
        close(starter);
    }
    return other > 0 ? 0 : GO_ON;
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
    return r == 0 ? GO_ON : program_refuse_errno(p, "The server cannot be started", r);
}

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
            return program_refuse_errno(p, "Can't go to the background", r);
        }
        log_echo();
    }
    control_detached(p->control);
    pyhooks_plug(&p->hooks, &p->settings);
    p->hooks.wait_begin = on_wait_begin;
    p->hooks.wait_end = on_wait_end;
    if (pylog_start(&p->settings, true, error) < 0) {
        return program_refuse(p, error);
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
    int status = read_command_line(p, error);
    status = status == GO_ON ? start_interpreter(p, error) : status;
    status = status == GO_ON ? read_settings(p, error) : status;
    status = status == GO_ON && !program_is_check(p) ? claim_name(p, &note) : status;
    status = status == GO_ON ? open_log(p, error) : status;
    status = status == GO_ON && s->certfile ? open_tls(p, error) : status;
    if (status == GO_ON && program_is_check(p)) {
        return check_run(p, error);
    }
    if (status == GO_ON) {
        program_title(p, "master");
        status = detach(p, error);
    }
    status = status == GO_ON && s->preload_app != SETTING_FALSE ? boot_preload(p) : status;
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

static int work(struct program *p, const struct seat *seat)
{
    workersignals_reset();
    program_title(p, "worker");
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

static void tell_obstacle(const struct launch *l, int r)
{
    const char *path = l->program;
    if (r != -ECANCELED && reexec_obstacle(l, &path) < 0 && path == l->cwd) {
        log_error("Can't enter %s: %s", path, strerror(-r));
    } else {
        log_error("Can't execute %s: %s", l->program, r == -ECANCELED ? "the hook pre_exec failed" : strerror(-r));
    }
}

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
        h.log_path = program_log_path(p);
        h.log_form = log_form();
    } else if (p->hooks.pre_exec(&p->hooks) < 0) {
        r = -ECANCELED;
    }
    if (r == 0) {
        interp_flush();
        r = reexec(p->launch, &h);
    }
    buf_finish(&counts);
    free(h.log_path);
    free(h.waiters);
    free(h.workers);
    tell_obstacle(p->launch, r);
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
    if (p.handover) {
        handover_open_log(p.handover);
    }
    int status =
        r < 0 ? program_refuse_errno(&p, "The handover of the old release can't be read", r) : set_up(&p, &error);
    buf_finish(&error);
    check_leave(&p, status);
    if (status == GO_ON) {
        handover_settled(p.handover);
        status = serve(&p);
    } else if (program_is_reload(&p)) {
        if (p.interpreter) {
            interp_flush();
        }
        status = retry_run(p.launch, p.handover);
    }
    tear_down(&p);
    daemon_report(&p.report_fd, status);
    return status;
}
