/* statusjson.c - what a master says of itself and its workers, as JSON. */
#include "server/process/statusjson.h"

#include <time.h>
#include <unistd.h>

#include "server/base/buf.h"
#include "server/base/clock.h"
#include "server/base/json.h"
#include "server/base/memory.h"
#include "server/base/scoreboard.h"
#include "server/config/settings.h"
#include "server/net/certpair.h"
#include "server/net/certs.h"
#include "server/net/listener.h"
#include "server/process/control.h"
#include "server/process/daemon.h"
#include "server/process/facts.h"
#include "server/process/master_inside.h"
#include "server/process/pidfile.h"
#include "server/process/renewal.h"

static const double SHARES[] = {0.5, 0.9, 0.99, 0.999};
static const char *const SHARE_NAMES[] = {"p50", "p90", "p99", "p99.9"};
#define N_SHARES (sizeof(SHARES) / sizeof(SHARES[0]))

static void json_field(struct json *j, const char *key, uint64_t n)
{
    json_key(j, key);
    json_uint(j, n);
}

static void json_field_text(struct json *j, const char *key, const char *text)
{
    json_key(j, key);
    json_text(j, text);
}

static void json_known(struct json *j, const char *key, uint64_t n) /* 0 stands for what is not known */
{
    json_key(j, key);
    if (n > 0) {
        json_uint(j, n);
    } else {
        json_null(j);
    }
}

static void json_identity(const struct master *m, struct json *j)
{
    const struct listeners *ls = m->deps.listeners;
    json_field(j, "pid", (uint64_t)getpid());
    json_field_text(j, "version", CWSGI_VERSION);
    json_field_text(j, "state", facts_state(m));
    json_field_text(j, "name", facts_name(m));
    json_field_text(j, "application", m->deps.app_name);
    json_field_text(j, "directory", m->deps.settings->chdir);
    json_field_text(j, "pidfile", pidfile_path(m->deps.pidfile));
    json_field_text(j, "socket", control_path(m->deps.control));
    json_key(j, "addresses");
    json_open(j, '[');
    for (size_t i = 0; i < ls->n; i++) {
        json_text(j, ls->list[i].url);
    }
    json_close(j, ']');
    json_key(j, "command");
    json_open(j, '[');
    json_text(j, m->deps.launch->program);
    for (int i = 1; i < m->deps.launch->argc; i++) {
        json_text(j, m->deps.launch->argv[i]);
    }
    json_close(j, ']');
}

static void json_counts(const struct tally *t, const struct board *b, struct json *j)
{
    json_key(j, "counters");
    json_open(j, '{');
    for (size_t c = 0; c < COUNTERS; c++) {
        json_field(j, scoreboard_counters[c], t->counters[c]);
    }
    json_close(j, '}');
    json_key(j, "events");
    json_open(j, '{');
    for (size_t e = 0; e < EVENTS; e++) {
        json_field(j, scoreboard_events[e], atomic_load(&b->events[e]));
    }
    json_close(j, '}');
    json_key(j, "latency_us");
    json_open(j, '{');
    for (size_t i = 0; i < N_SHARES; i++) {
        json_field(j, SHARE_NAMES[i], latency_quantile(t->latency, SHARES[i]));
    }
    json_close(j, '}');
}

static void json_request(const struct facts_worker *w, struct json *j)
{
    json_key(j, "request");
    if (!w->shows) {
        json_null(j);
        return;
    }
    json_open(j, '{');
    json_key(j, "method");
    json_string(j, w->shown.method, w->shown.method_len);
    json_key(j, "target");
    json_string(j, w->shown.target, w->shown.target_len);
    json_key(j, "cut");
    json_bool(j, w->shown.cut);
    json_key(j, "client");
    json_string(j, w->shown.client, w->shown.client_len);
    json_field(j, "age_us", w->age_us);
    json_close(j, '}');
}

static void json_worker(const struct facts_worker *w, struct json *j)
{
    json_open(j, '{');
    json_field(j, "pid", (uint64_t)w->child->pid);
    json_field(j, "age", w->child->age);
    json_field_text(j, "state", w->state);
    json_known(j, "generation", w->slot ? atomic_load(&w->slot->generation) : 0);
    json_field(j, "uptime_us", clock_mono_us() - w->child->spawned_us);
    json_known(j, "busy_us", w->busy_us);
    json_request(w, j);
    json_known(j, "rss", w->rss);
    json_known(j, "pss", w->pss);
    for (size_t g = 0; g < GAUGES; g++) {
        json_field(j, scoreboard_gauges[g], facts_gauge(w, g));
    }
    json_key(j, "counters");
    json_open(j, '{');
    for (size_t c = 0; c < COUNTERS; c++) {
        json_field(j, scoreboard_counters[c], facts_counter(w, c));
    }
    json_close(j, '}');
    json_close(j, '}');
}

static void json_log(struct json *j, const char *name, const char *path)
{
    uint64_t size = 0;
    json_key(j, name);
    if (!facts_file_size(path, &size)) {
        json_null(j);
        return;
    }
    json_open(j, '{');
    json_field_text(j, "path", path);
    json_field(j, "bytes", size);
    json_close(j, '}');
}

static void json_certificates(const struct renewal *renewal, struct json *j)
{
    const struct certs *c = renewal ? renewal_certs(renewal) : NULL;
    time_t now = time(NULL);
    json_key(j, "certificates");
    json_open(j, '[');
    for (size_t i = 0; c && i < certs_count(c); i++) {
        const struct certpair *p = certs_pair(c, i);
        json_open(j, '{');
        json_key(j, "names");
        json_open(j, '[');
        for (size_t n = 0; n < p->n_names; n++) {
            json_text(j, p->names[n]);
        }
        json_close(j, ']');
        json_field_text(j, "path", p->cert_path);
        json_field_text(j, "key_path", p->key_path);
        json_key(j, "not_before");
        json_int(j, p->not_before);
        json_key(j, "not_after");
        json_int(j, p->not_after);
        json_key(j, "days_left");
        json_int(j, cert_days(p->not_after, now));
        json_key(j, "from_memory");
        json_bool(j, p->kept);
        json_close(j, '}');
    }
    json_close(j, ']');
    json_field_text(j, "certificates_trouble", renewal_trouble(renewal));
}

int statusjson_show(const struct master *m, const struct tally *t, struct buf *out)
{
    const struct board *b = scoreboard_board(m->deps.scoreboard);
    const struct settings *s = m->deps.settings;
    struct json j = {.out = out};
    json_open(&j, '{');
    json_identity(m, &j);
    json_field(&j, "started", (uint64_t)atomic_load(&b->started));
    json_field(&j, "uptime_s", facts_since(atomic_load(&b->started)));
    json_field(&j, "generation", atomic_load(&b->generation));
    json_field(&j, "loaded", (uint64_t)atomic_load(&b->loaded));
    json_field(&j, "workers_wanted", (uint64_t)m->wanted);
    json_key(&j, "queue");
    json_open(&j, '{');
    json_field(&j, "connections", listeners_waiting(m->deps.listeners));
    json_field(&j, "requests", facts_sum(m, GAUGE_waiting));
    json_close(&j, '}');
    json_field(&j, "connections", facts_sum(m, GAUGE_connections));
    json_field(&j, "running", facts_sum(m, GAUGE_running));
    json_counts(t, b, &j);
    json_certificates(m->deps.renewal, &j);
    json_key(&j, "logs");
    json_open(&j, '{');
    json_log(&j, "server", s->errorlog);
    json_log(&j, "access", s->accesslog);
    json_close(&j, '}');
    json_known(&j, "rss", memory_rss(getpid()));
    json_known(&j, "pss", memory_pss(getpid()));
    json_key(&j, "workers");
    json_open(&j, '[');
    for (size_t i = 0; i < m->children.n; i++) {
        struct facts_worker w = facts_worker(m, &m->children.list[i]);
        json_worker(&w, &j);
    }
    json_close(&j, ']');
    json_close(&j, '}');
    return j.error < 0 ? j.error : buf_puts(out, "\n");
}

int statusjson_identity(const struct master *m, struct buf *out)
{
    struct json j = {.out = out};
    json_open(&j, '{');
    json_identity(m, &j);
    json_close(&j, '}');
    return j.error;
}
