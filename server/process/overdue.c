/* overdue.c - requests whose call of the application takes long: a warning at half of --timeout, the end. */
#include "server/process/overdue.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/http/exchange.h"
#include "server/net/peer.h"

struct overdue_mark { /* `since_us` of the calls that were told of */
    uint64_t warned, ended;
};

static void say(enum log_level level, const struct exchange *x, uint64_t age_us, const char *what)
{
    const struct request *r = &x->request;
    log_line(level, "%.*s %.*s from %s has been running for %.1f s: %s", (int)r->method.len, r->method.p,
             (int)r->target.len, r->target.p, x->peer->addr[0] ? x->peer->addr : "a unix socket", (double)age_us / 1e6,
             what);
}

static void end(struct overdue *o, const struct overdue_call *c, uint64_t age_us)
{
    if (!o->any) {
        o->any = true;
        log_critical("WORKER TIMEOUT (pid:%ld)", (long)getpid());
    }
    say(LOG_LEVEL_ERROR, c->x, age_us, "its time (--timeout) is over");
    o->events->over(o->arg, c);
}

/* Microseconds until this call is to be looked at again; UINT64_MAX: never. */
static uint64_t judge(struct overdue *o, struct overdue_mark *mark, const struct overdue_call *c, uint64_t now)
{
    uint64_t age = now > c->since_us ? now - c->since_us : 0, half = o->limit_us / 2;
    if (age < half) {
        return half - age;
    }
    if (age < o->limit_us) {
        if (mark->warned != c->since_us) {
            mark->warned = c->since_us;
            say(LOG_LEVEL_WARNING, c->x, age, "half of its time (--timeout) is over");
        }
        return o->limit_us - age;
    }
    if (mark->ended != c->since_us) {
        mark->ended = c->since_us;
        end(o, c, age);
    }
    return UINT64_MAX;
}

static void look(uv_timer_t *timer)
{
    struct overdue *o = timer->data;
    uint64_t now = clock_mono_us(), next = UINT64_MAX;
    for (size_t i = 0; i < o->calls; i++) {
        struct overdue_call c;
        uint64_t wait = o->events->call(o->arg, i, &c) ? judge(o, &o->marks[i], &c, now) : UINT64_MAX;
        next = wait < next ? wait : next;
    }
    if (next != UINT64_MAX) {
        uv_timer_start(&o->timer, look, next / 1000 + 1, 0);
    }
}

int overdue_init(struct overdue *o, uv_loop_t *loop, uint64_t limit_us, size_t calls,
                 const struct overdue_events *events, void *arg)
{
    *o = (struct overdue){.events = events, .arg = arg, .limit_us = limit_us, .calls = calls};
    o->marks = calloc(calls, sizeof(*o->marks));
    uv_timer_init(loop, &o->timer);
    o->timer.data = o;
    return o->marks ? 0 : -ENOMEM;
}

void overdue_finish(struct overdue *o)
{
    free(o->marks);
    o->marks = NULL;
}

void overdue_watch(struct overdue *o)
{
    if (o->limit_us > 0 && !uv_is_active((uv_handle_t *)&o->timer)) {
        look(&o->timer);
    }
}

/* How many calls run that are not over yet; *over: how many that are. */
static size_t count_others(const struct overdue *o, size_t *over)
{
    size_t others = 0;
    *over = 0;
    for (size_t i = 0; i < o->calls; i++) {
        struct overdue_call c;
        if (o->events->call(o->arg, i, &c)) {
            bool is_over = o->marks[i].ended == c.since_us;
            others += !is_over;
            *over += is_over;
        }
    }
    return others;
}

bool overdue_only(const struct overdue *o)
{
    size_t over;
    return count_others(o, &over) == 0 && over > 0;
}

bool overdue_all(const struct overdue *o)
{
    size_t over;
    count_others(o, &over);
    return over == o->calls;
}
