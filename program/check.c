/* check.c - only looking: --check-config, which a reload tries the new release with, and --print-config. */
#include "program/check.h"

#include <stdio.h>
#include <unistd.h>

#include "program/program.h"
#include "python/interp.h"
#include "python/pyhooks.h"
#include "python/pylog.h"
#include "python/stacks.h"
#include "server/base/buf.h"
#include "server/base/log.h"
#include "server/process/checkup.h"
#include "server/process/preload.h"
#include "server/process/user.h"
#include "wsgi/wsgi.h"

static int print_settings(struct program *p)
{
    struct buf text = {0};
    int r = settings_print(&p->settings, &text);
    if (r < 0) {
        return program_refuse_errno(p, "The settings can't be printed", r);
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
        return program_refuse(p, error);
    }
    if (status >= 500) {
        buf_printf(error, "GET %s was answered with status %d", p->settings.check_path, status);
        return program_refuse(p, error);
    }
    return 0;
}

int check_run(struct program *p, struct buf *error)
{
    struct hooks *hooks = p->settings.check_path ? &p->hooks : NULL;
    if (p->settings.print_config && print_settings(p) != GO_ON) {
        return 1;
    }
    pyhooks_plug(&p->hooks, &p->settings); /* those around a request are bound when the application is loaded */
    if (pylog_start(&p->settings, false, error) < 0) {
        return program_refuse(p, error);
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
        return program_refuse(p, error);
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

void check_leave(const struct program *p, int status)
{
    if (program_is_check(p) && status != GO_ON && preload_threads() > 1) {
        interp_flush();
        _exit(status);
    }
}
