/* reloader.c - --reload: a worker that sees a source file change asks the master for a reload. */
#include "server/process/reloader.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/log.h"
#include "server/base/scoreboard.h"
#include "server/base/watch.h"
#include "server/process/hooks.h"

#define SUFFIX ".py"
#define LOOK_MS 1000  /* for files that were loaded meanwhile, and for all of them where there is no inotify */
#define SETTLE_MS 100 /* an editor, or a checkout, writes more than one */

struct reloader {
    struct reloader_deps deps;
    struct watch *watch; /* owned */
    uv_poll_t news;
    uv_timer_t look, settle;
    bool has_news; /* `news` is a handle: there was an inotify when we began */
};

static void add(void *arg, const char *path)
{
    struct reloader *r = arg;
    if (watch_add(r->watch, path) < 0) {
        log_error("Can't watch %s: out of memory", path);
    }
}

/* All workers see the change; the first of those that serve speaks for them. */
static bool is_first(const struct reloader *r)
{
    for (size_t i = 0; i < scoreboard_size(r->deps.scoreboard); i++) {
        const struct slot *slot = scoreboard_slot(r->deps.scoreboard, i);
        int state = atomic_load(&slot->state);
        if (state == SLOT_READY || state == SLOT_WANTS_RETIRE) {
            return slot == r->deps.slot;
        }
    }
    return false;
}

static void on_settled(uv_timer_t *timer)
{
    struct reloader *r = timer->data;
    watch_changed(r->watch); /* this reload has all of it */
    if (is_first(r) && kill(r->deps.master, SIGHUP) < 0) {
        log_error("Can't ask the master for a reload: %s", strerror(errno));
    }
}

static void ask(struct reloader *r)
{
    const char *path = watch_changed(r->watch);
    if (!path || uv_is_active((uv_handle_t *)&r->settle)) {
        return;
    }
    if (is_first(r)) {
        log_info("Worker reloading: %s modified", path);
    }
    uv_timer_start(&r->settle, on_settled, SETTLE_MS, 0);
}

static void on_news(uv_poll_t *poll, int status, int events)
{
    (void)status, (void)events;
    ask(poll->data);
}

static void on_look(uv_timer_t *timer)
{
    struct reloader *r = timer->data;
    r->deps.hooks->sources(r->deps.hooks, add, r);
    if (watch_fd(r->watch) < 0) {
        if (r->has_news && !uv_is_closing((uv_handle_t *)&r->news)) {
            uv_close((uv_handle_t *)&r->news, NULL); /* the kernel has no more watches for us */
        }
        ask(r);
    }
}

int reloader_create(struct reloader **out, uv_loop_t *loop, const struct reloader_deps *deps)
{
    struct reloader *r = calloc(1, sizeof(*r));
    if (!r) {
        return -ENOMEM;
    }
    r->deps = *deps;
    r->watch = watch_create(SUFFIX, deps->poll);
    if (!r->watch) {
        free(r);
        return -ENOMEM;
    }
    r->deps.hooks->sources(r->deps.hooks, add, r);
    uv_timer_init(loop, &r->look);
    uv_timer_init(loop, &r->settle);
    r->look.data = r->settle.data = r->news.data = r;
    *out = r;
    if (watch_fd(r->watch) < 0 && !deps->poll) {
        log_warning("No inotify can be had here: files are looked at once a second");
    }
    int result = uv_timer_start(&r->look, on_look, LOOK_MS, LOOK_MS);
    if (result == 0 && watch_fd(r->watch) >= 0) {
        result = uv_poll_init(loop, &r->news, watch_fd(r->watch));
        r->has_news = result == 0;
        result = result < 0 ? result : uv_poll_start(&r->news, UV_READABLE, on_news);
    }
    return result;
}

void reloader_destroy(struct reloader *r)
{
    if (r) {
        watch_destroy(r->watch);
        free(r);
    }
}
