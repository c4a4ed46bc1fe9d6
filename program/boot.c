/* boot.c - the application is loaded: in a worker, or before workers are forked. */
#include "program/boot.h"

#include <string.h>

#include "program/program.h"
#include "python/interp.h"
#include "python/pyhooks.h"
#include "python/pylog.h"
#include "python/stacks.h"
#include "server/base/buf.h"
#include "server/base/log.h"
#include "server/process/daemon.h"
#include "server/process/preload.h"
#include "server/process/reload.h"
#include "server/process/stackdump.h"
#include "server/process/user.h"
#include "server/process/worker.h"
#include "wsgi/wsgi.h"

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
    if (f.status > 0 && !program_is_reload(p) && !s->reload) {
        *status = f.status;
        return false;
    }
    preload_log(&f);
    return preload_is_clean(&f);
}

int boot_preload(struct program *p)
{
    int status = GO_ON;
    if (!may_preload(p, &status)) {
        return status;
    }
    enum load_result r = wsgi_create(&p->app, &p->settings, p->app_name);
    interp_freeze();
    return r == LOAD_OK || program_is_reload(p) || p->settings.reload ? GO_ON : worker_status(r);
}

int boot_worker(struct program *p, int tell_fd)
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
