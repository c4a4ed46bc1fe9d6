/* statuspage.c - the data of the status page. */
#include "server/http/statuspage.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#include "server/base/clock.h"
#include "server/base/json.h"
#include "server/base/memory.h"
#include "server/base/scoreboard.h"
#include "server/config/settings.h"
#include "server/http/ownpages.h"
#include "server/net/certpair.h"
#include "server/net/certs.h"
#include "server/net/listener.h"

#define SLOW_SHOWN 10

static void field(struct json *j, const char *key, uint64_t n)
{
    json_key(j, key);
    json_uint(j, n);
}

static void shown(struct json *j, const struct shown *s)
{
    json_key(j, "method");
    json_string(j, s->method, s->method_len);
    json_key(j, "target");
    json_string(j, s->target, s->target_len);
    json_key(j, "cut");
    json_bool(j, s->cut);
    json_key(j, "client");
    json_string(j, s->client, s->client_len);
}

static void worker(struct json *j, const struct slot *s, uint64_t now_us)
{
    static const char *const states[] = {"free", "booting", "ready", "leaving", "leaving", "hung", "hung"};
    unsigned state = (unsigned)atomic_load(&s->state);
    uint64_t since = atomic_load(&s->busy_since_us), spawned = atomic_load(&s->spawned_us);
    struct shown request;
    json_open(j, '{');
    field(j, "pid", (uint64_t)atomic_load(&s->pid));
    json_key(j, "state");
    json_text(j, state >= sizeof(states) / sizeof(states[0]) ? "?"
                 : state == SLOT_READY && since > 0          ? "busy"
                                                             : states[state]);
    field(j, "generation", atomic_load(&s->generation));
    field(j, "uptime_s", now_us > spawned ? (now_us - spawned) / 1000000 : 0);
    field(j, "requests", atomic_load(&s->counters[COUNT_requests]));
    field(j, "connections", atomic_load(&s->gauges[GAUGE_connections]));
    field(j, "memory", memory_rss(atomic_load(&s->pid)));
    json_key(j, "request");
    if (since > 0 && slot_read_shown(s, &request)) {
        json_open(j, '{');
        shown(j, &request);
        field(j, "age_us", now_us > request.began_us ? now_us - request.began_us : 0);
        json_close(j, '}');
    } else {
        json_null(j);
    }
    json_close(j, '}');
}

static void workers(struct json *j, const struct scoreboard *sb)
{
    uint64_t now_us = clock_mono_us();
    json_key(j, "workers");
    json_open(j, '[');
    for (size_t i = 0; i < scoreboard_size(sb); i++) {
        const struct slot *s = scoreboard_slot(sb, i);
        if (atomic_load(&s->state) != SLOT_FREE) {
            worker(j, s, now_us);
        }
    }
    json_close(j, ']');
}

static int by_time(const void *a, const void *b)
{
    const struct slow *x = a, *y = b;
    return x->took_us < y->took_us ? 1 : x->took_us > y->took_us ? -1 : 0;
}

/* What the workers have noted and is not forgotten yet; how many. */
static size_t list_slow(const struct scoreboard *sb, uint64_t now_us, struct slow *list)
{
    size_t n = 0;
    for (size_t i = 0; i < scoreboard_size(sb); i++) {
        size_t end = n + slot_read_slow(scoreboard_slot(sb, i), list + n); /* also of workers that have left */
        for (size_t k = n; k < end; k++) {
            if (now_us <= list[k].ended_us + SLOW_FOR_US) {
                list[n++] = list[k];
            }
        }
    }
    return n;
}

static void slowest(struct json *j, const struct scoreboard *sb)
{
    uint64_t now_us = clock_mono_us();
    struct slow *list = calloc(scoreboard_size(sb) * SLOW_MAX, sizeof(*list));
    size_t n = list ? list_slow(sb, now_us, list) : 0;
    if (n > 0) {
        qsort(list, n, sizeof(*list), by_time);
    }
    json_key(j, "slowest");
    json_open(j, '[');
    for (size_t i = 0; i < n && i < SLOW_SHOWN; i++) {
        json_open(j, '{');
        shown(j, &list[i].request);
        json_key(j, "status");
        json_int(j, list[i].status);
        field(j, "took_us", list[i].took_us);
        field(j, "ago_s", now_us > list[i].ended_us ? (now_us - list[i].ended_us) / 1000000 : 0);
        json_close(j, '}');
    }
    json_close(j, ']');
    free(list);
}

/* For each of the last minutes [requests, errors], the oldest first; what is not known is null. */
static void minutes(struct json *j, const struct board *b, const struct tally *t)
{
    int64_t now = (int64_t)time(NULL) / 60;
    json_key(j, "minutes");
    json_open(j, '[');
    for (int64_t number = now - (MINUTES - 2); number <= now; number++) {
        const struct minute *from = &b->minutes[number % MINUTES], *to = &b->minutes[(number + 1) % MINUTES];
        uint64_t requests = t->counters[COUNT_requests];
        uint64_t errors = t->counters[COUNT_status_5xx] + t->counters[COUNT_broken_off];
        bool known = atomic_load(&from->number) == number;
        if (number < now) {
            known &= atomic_load(&to->number) == number + 1;
            requests = atomic_load(&to->requests);
            errors = atomic_load(&to->errors);
        }
        uint64_t requests_before = atomic_load(&from->requests), errors_before = atomic_load(&from->errors);
        if (!known || requests < requests_before || errors < errors_before) {
            json_null(j);
            continue;
        }
        json_open(j, '[');
        json_uint(j, requests - requests_before);
        json_uint(j, errors - errors_before);
        json_close(j, ']');
    }
    json_close(j, ']');
}

static void counts(struct json *j, const struct ownfacts *f, const struct tally *t)
{
    const uint64_t *c = t->counters;
    field(j, "requests", c[COUNT_requests]);
    json_key(j, "statuses");
    json_open(j, '[');
    for (int i = 0; i < 5; i++) {
        json_uint(j, c[COUNT_status_1xx + i]);
    }
    json_close(j, ']');
    field(j, "errors", c[COUNT_errors]);
    field(j, "refused", c[COUNT_refused]);
    field(j, "aborted", c[COUNT_aborted]);
    field(j, "bytes_sent", c[COUNT_bytes_sent]);
    field(j, "handshakes", c[COUNT_handshakes]);
    field(j, "handshakes_failed", c[COUNT_handshakes_failed]);
    field(j, "backlog", listeners_waiting(f->listeners));
    json_key(j, "latency_us");
    json_open(j, '[');
    json_uint(j, latency_quantile(t->latency, 0.5));
    json_uint(j, latency_quantile(t->latency, 0.9));
    json_uint(j, latency_quantile(t->latency, 0.99));
    json_close(j, ']');
}

static void events(struct json *j, const struct board *b)
{
    field(j, "reloads", atomic_load(&b->events[EVENT_reloads]));
    field(j, "reloads_refused", atomic_load(&b->events[EVENT_reloads_refused]));
    field(j, "crashed", atomic_load(&b->events[EVENT_workers_crashed]));
    field(j, "timed_out", atomic_load(&b->events[EVENT_workers_timed_out]));
    field(j, "recycled", atomic_load(&b->events[EVENT_workers_recycled]));
}

static void certificates(struct json *j, const struct certs *certs)
{
    time_t now = time(NULL);
    json_key(j, "certificates");
    json_open(j, '[');
    for (size_t i = 0; certs && i < certs_count(certs); i++) {
        const struct certpair *p = certs_pair(certs, i);
        json_open(j, '{');
        json_key(j, "names");
        json_open(j, '[');
        for (size_t k = 0; k < p->n_names; k++) {
            json_text(j, p->names[k]);
        }
        json_close(j, ']');
        json_key(j, "days_left");
        json_int(j, cert_days(p->not_after, now));
        json_close(j, '}');
    }
    json_close(j, ']');
}

static void log_file(struct json *j, const char *what, const char *path)
{
    struct stat st;
    if (path && stat(path, &st) == 0 && S_ISREG(st.st_mode)) {
        json_open(j, '{');
        json_key(j, "what");
        json_text(j, what);
        json_key(j, "path");
        json_text(j, path);
        field(j, "bytes", (uint64_t)st.st_size);
        json_close(j, '}');
    }
}

int statuspage_write(const struct ownfacts *f, struct buf *out)
{
    const struct board *b = scoreboard_board(f->scoreboard);
    const struct settings *s = f->settings;
    struct json j = {.out = out};
    struct tally t;
    scoreboard_tally(f->scoreboard, &t);
    json_open(&j, '{');
    json_key(&j, "name");
    json_text(&j, s->proc_name ? s->proc_name : s->default_proc_name);
    json_key(&j, "version");
    json_text(&j, CWSGI_VERSION);
    json_key(&j, "started");
    json_int(&j, atomic_load(&b->started));
    json_key(&j, "now");
    json_int(&j, (int64_t)time(NULL));
    field(&j, "generation", atomic_load(&b->generation));
    json_key(&j, "loaded");
    json_int(&j, atomic_load(&b->loaded));
    counts(&j, f, &t);
    events(&j, b);
    minutes(&j, b, &t);
    workers(&j, f->scoreboard);
    slowest(&j, f->scoreboard);
    certificates(&j, f->certs);
    json_key(&j, "logs");
    json_open(&j, '[');
    log_file(&j, "server log", s->errorlog);
    log_file(&j, "access log", s->accesslog);
    json_close(&j, ']');
    json_close(&j, '}');
    return j.error;
}
