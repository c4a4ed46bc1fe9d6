/* overdue.c - says in the log which request has been running for long. */
#include "server/process/overdue.h"

#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/http/exchange.h"
#include "server/net/peer.h"

#define LAST_US (200 * 1000) /* before the master acts */

static void say(enum log_level level, const struct exchange *x, uint64_t age_us, const char *what)
{
    const struct request *r = &x->request;
    log_line(level, "%.*s %.*s from %s has been running for %llu s: %s", (int)r->method.len, r->method.p,
             (int)r->target.len, r->target.p, x->peer->addr[0] ? x->peer->addr : "a unix socket",
             (unsigned long long)((age_us + LAST_US) / 1000000), what);
}

static void look(uv_timer_t *timer)
{
    struct overdue *o = timer->data;
    uint64_t since, half = o->limit_us / 2, last = o->limit_us - LAST_US, next = 0;
    const struct exchange *x = o->oldest(o->arg, &since);
    if (!x) {
        return;
    }
    uint64_t age = clock_mono_us() - since;
    if (age < half) {
        next = half - age;
    } else if (age < last) {
        if (o->warned != since) {
            o->warned = since;
            say(LOG_LEVEL_WARNING, x, age, "half of its time (--timeout) is over");
        }
        next = last - age;
    } else {
        if (o->ended != since) {
            o->ended = since;
            say(LOG_LEVEL_ERROR, x, age, "its time (--timeout) is over, and its worker is replaced");
        }
        return;
    }
    uv_timer_start(&o->timer, look, next / 1000 + 1, 0);
}

void overdue_init(struct overdue *o, uv_loop_t *loop, uint64_t limit_us,
                  const struct exchange *(*oldest)(void *arg, uint64_t *since_us), void *arg)
{
    uv_timer_init(loop, &o->timer);
    o->timer.data = o;
    o->limit_us = limit_us;
    o->oldest = oldest;
    o->arg = arg;
}

void overdue_watch(struct overdue *o)
{
    if (o->limit_us > 0 && !uv_is_active((uv_handle_t *)&o->timer)) {
        look(&o->timer);
    }
}
