/* status.c - what a master says of itself and its workers, for people. */
#include "server/process/status.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

#include "server/base/buf.h"
#include "server/base/clock.h"
#include "server/base/human.h"
#include "server/base/scoreboard.h"
#include "server/config/settings.h"
#include "server/net/certs.h"
#include "server/net/listener.h"
#include "server/process/daemon.h"
#include "server/process/facts.h"
#include "server/process/master_inside.h"
#include "server/process/pidfile.h"
#include "server/process/renewal.h"
#include "server/process/statusjson.h"

static const double SHARES[] = {0.5, 0.9, 0.99, 0.999};
static const char *const SHARE_NAMES[] = {"p50", "p90", "p99", "p99.9"};
#define N_SHARES (sizeof(SHARES) / sizeof(SHARES[0]))

/* `width` columns from `start` of what was appended last; longer ones get a space. */
static int pad(struct buf *out, size_t start, size_t width)
{
    size_t len = out->len - start;
    return buf_printf(out, "%*s", len < width ? (int)(width - len) : 1, "");
}

/* "12 running, " */
static int counted(struct buf *out, const char *name, uint64_t n, const char *behind)
{
    int r = human_count(out, n);
    return r < 0 ? r : buf_printf(out, " %s%s", name, behind);
}

static int write_head(const struct master *m, struct buf *out)
{
    const struct board *b = scoreboard_board(m->deps.scoreboard);
    int r =
        buf_printf(out, "%s: cwsgi %s, pid %ld, %s for ", facts_name(m), CWSGI_VERSION, (long)getpid(), facts_state(m));
    r = r < 0 ? r : human_seconds(out, facts_since(atomic_load(&b->started)));
    r = r < 0 ? r : buf_printf(out, "; generation %u for ", atomic_load(&b->generation));
    r = r < 0 ? r : human_seconds(out, facts_since(atomic_load(&b->loaded)));
    r = r < 0 ? r : buf_puts(out, "\n  at          ");
    r = r < 0 || m->deps.listeners->n == 0 ? r : listeners_describe(m->deps.listeners, out);
    const char *folder = m->deps.settings->chdir;
    r = r < 0 || !folder ? r : buf_printf(out, "\n  directory   %s", folder);
    return r < 0 ? r : buf_puts(out, "\n");
}

static int write_latency(const struct tally *t, struct buf *out)
{
    int r = buf_puts(out, "  latency     ");
    for (size_t i = 0; i < N_SHARES && r == 0; i++) {
        r = buf_printf(out, "%s%s ", i > 0 ? ", " : "", SHARE_NAMES[i]);
        r = r < 0 ? r : human_us(out, latency_quantile(t->latency, SHARES[i]));
    }
    return r < 0 ? r : buf_puts(out, "\n");
}

static int write_requests(const uint64_t *c, struct buf *out)
{
    int r = buf_puts(out, "  requests    ");
    r = r < 0 ? r : counted(out, "answered", c[COUNT_requests], ": ");
    r = r < 0 ? r : counted(out, "2xx", c[COUNT_status_2xx], ", ");
    r = r < 0 ? r : counted(out, "3xx", c[COUNT_status_3xx], ", ");
    r = r < 0 ? r : counted(out, "4xx", c[COUNT_status_4xx], ", ");
    r = r < 0 ? r : counted(out, "5xx", c[COUNT_status_5xx], "; ");
    r = r < 0 ? r : counted(out, "failed", c[COUNT_errors], ", ");
    r = r < 0 ? r : counted(out, "refused", c[COUNT_refused], ", ");
    return r < 0 ? r : counted(out, "given up by clients", c[COUNT_aborted], "\n");
}

static int write_counts(const struct master *m, const struct tally *t, struct buf *out)
{
    const uint64_t *c = t->counters;
    int r = write_requests(c, out);
    r = r < 0 || c[COUNT_requests] == 0 ? r : write_latency(t, out);
    r = r < 0 ? r : buf_puts(out, "  now         ");
    r = r < 0 ? r : counted(out, "running", facts_sum(m, GAUGE_running), ", ");
    r = r < 0 ? r : counted(out, "waiting", facts_sum(m, GAUGE_waiting), "; ");
    r = r < 0 ? r : counted(out, "connections", facts_sum(m, GAUGE_connections), ", ");
    r = r < 0 ? r : counted(out, "to be accepted", listeners_waiting(m->deps.listeners), "\n");
    if (r == 0 && c[COUNT_handshakes] + c[COUNT_handshakes_failed] > 0) {
        r = buf_puts(out, "  TLS         ");
        r = r < 0 ? r : counted(out, "handshakes", c[COUNT_handshakes], ", ");
        r = r < 0 ? r : counted(out, "failed", c[COUNT_handshakes_failed], "\n");
    }
    return r;
}

/* What went wrong, if anything did. */
static int write_events(const struct board *b, struct buf *out)
{
    static const struct {
        enum event event;
        const char *name;
    } EVENTS_TOLD[] = {{EVENT_workers_crashed, "workers crashed"},
                       {EVENT_workers_failed, "did not start"},
                       {EVENT_workers_timed_out, "timed out"},
                       {EVENT_reloads_refused, "reloads refused"}};
    const char *before = "  trouble     ";
    int r = 0;
    for (size_t i = 0; i < sizeof(EVENTS_TOLD) / sizeof(EVENTS_TOLD[0]) && r == 0; i++) {
        uint64_t n = atomic_load(&b->events[EVENTS_TOLD[i].event]);
        if (n > 0) {
            r = buf_puts(out, before);
            r = r < 0 ? r : counted(out, EVENTS_TOLD[i].name, n, "");
            before = ", ";
        }
    }
    return r < 0 || *before == ' ' ? r : buf_puts(out, "\n");
}

static int write_certificates(const struct renewal *renewal, struct buf *out)
{
    const struct certs *c = renewal_certs(renewal);
    const char *trouble = renewal_trouble(renewal);
    int r = trouble ? buf_printf(out, "  trouble     %s; what is in memory goes on serving\n", trouble) : 0;
    for (size_t i = 0; i < certs_count(c) && r == 0; i++) {
        r = buf_puts(out, "  certificate ");
        r = r < 0 ? r : certs_describe(c, i, time(NULL), out);
        r = r < 0 ? r : buf_puts(out, "\n");
    }
    return r;
}

static int write_log(const char *name, const char *path, struct buf *out)
{
    uint64_t size = 0;
    if (!facts_file_size(path, &size)) {
        return 0;
    }
    int r = buf_printf(out, "  %-12s", name);
    r = r < 0 ? r : human_bytes(out, size);
    return r < 0 ? r : buf_printf(out, " in %s\n", path);
}

/* Bytes of clients go to a terminal: nothing but what is printed may pass. */
static int printable(struct buf *out, const char *text, size_t len)
{
    int r = 0;
    for (size_t i = 0; i < len && r == 0; i++) {
        char c = text[i];
        r = c >= ' ' && c != 0x7f && !((unsigned char)c >= 0x80) ? buf_append(out, &c, 1)
                                                                 : buf_printf(out, "\\x%02x", (unsigned char)c);
    }
    return r;
}

static int write_request(const struct facts_worker *w, struct buf *out)
{
    if (!w->shows) {
        return buf_puts(out, "\n");
    }
    int r = human_us(out, w->age_us);
    r = r < 0 ? r : buf_puts(out, "  ");
    r = r < 0 ? r : printable(out, w->shown.method, w->shown.method_len);
    r = r < 0 ? r : buf_puts(out, " ");
    r = r < 0 ? r : printable(out, w->shown.target, w->shown.target_len);
    r = r < 0 ? r : buf_printf(out, "%s%s", w->shown.cut ? "..." : "", w->shown.client_len ? " from " : "");
    r = r < 0 ? r : printable(out, w->shown.client, w->shown.client_len);
    return r < 0 ? r : buf_puts(out, "\n");
}

static int write_worker(const struct facts_worker *w, struct buf *out)
{
    size_t start = out->len;
    int r = buf_printf(out, "  %-9ld%-15s%-5u", (long)w->child->pid, w->state,
                       w->slot ? atomic_load(&w->slot->generation) : 0);
    r = r < 0 ? r : human_seconds(out, (clock_mono_us() - w->child->spawned_us) / 1000000);
    r = r < 0 ? r : pad(out, start, 45);
    r = r < 0 ? r : human_count(out, facts_counter(w, COUNT_requests));
    r = r < 0 ? r : pad(out, start, 56);
    r = r < 0 ? r : human_count(out, facts_gauge(w, GAUGE_connections));
    r = r < 0 ? r : pad(out, start, 63);
    r = r < 0 ? r : human_bytes(out, w->rss);
    r = r < 0 ? r : pad(out, start, 71);
    r = r < 0 ? r : w->pss > 0 ? human_bytes(out, w->pss) : buf_puts(out, "-");
    r = r < 0 ? r : pad(out, start, 79);
    return r < 0 ? r : write_request(w, out);
}

static int write_workers(const struct master *m, struct buf *out)
{
    int r = buf_puts(out, "\n  worker   state          gen  since           requests   open   RSS     PSS     "
                          "request\n");
    for (size_t i = 0; i < m->children.n && r == 0; i++) {
        struct facts_worker w = facts_worker(m, &m->children.list[i]);
        r = write_worker(&w, out);
    }
    return r;
}

int status_show(const struct master *m, bool json, struct buf *out)
{
    struct tally t;
    scoreboard_tally(m->deps.scoreboard, &t);
    if (json) {
        return statusjson_show(m, &t, out);
    }
    int r = write_head(m, out);
    r = r < 0 ? r : write_counts(m, &t, out);
    r = r < 0 || !m->deps.renewal ? r : write_certificates(m->deps.renewal, out);
    r = r < 0 ? r : write_events(scoreboard_board(m->deps.scoreboard), out);
    r = r < 0 ? r : write_log("server log", m->deps.settings->errorlog, out);
    r = r < 0 ? r : write_log("access log", m->deps.settings->accesslog, out);
    return r < 0 ? r : write_workers(m, out);
}

/* What was counted between two moments. */
static void subtract(struct tally *t, const struct tally *before)
{
    for (size_t i = 0; i < COUNTERS; i++) {
        t->counters[i] -= before->counters[i];
    }
    for (size_t i = 0; i < LATENCY_BUCKETS; i++) {
        t->latency[i] -= before->latency[i];
    }
}

int status_top(const struct master *m, struct tally *last, uint64_t *last_us, struct buf *out)
{
    struct tally t, now;
    uint64_t now_us = clock_mono_us();
    double seconds = *last_us ? (double)(now_us - *last_us) / 1e6 : (double)UINT64_MAX;
    scoreboard_tally(m->deps.scoreboard, &now);
    t = now;
    if (*last_us) {
        subtract(&t, last);
    }
    *last = now;
    *last_us = now_us;
    int r = write_head(m, out);
    r = r < 0 ? r : buf_printf(out, "  per second  %.1f requests  ", (double)t.counters[COUNT_requests] / seconds);
    r = r < 0 ? r : human_bytes(out, (uint64_t)((double)t.counters[COUNT_bytes_sent] / seconds));
    r = r < 0 ? r : buf_puts(out, " sent\n");
    r = r < 0 ? r : write_counts(m, &t, out);
    return r < 0 ? r : write_workers(m, out);
}

/* A line each; what has a line's end in it would be taken for two. */
static int line(struct buf *out, const char *key, const char *value)
{
    return value && !strchr(value, '\n') ? buf_printf(out, "%s %s\n", key, value) : 0;
}

int status_identity(const struct master *m, bool json, struct buf *out)
{
    const struct listeners *ls = m->deps.listeners;
    if (json) {
        return statusjson_identity(m, out);
    }
    int r = buf_printf(out, "pid %ld\n", (long)getpid());
    r = r < 0 ? r : line(out, "state", facts_state(m));
    r = r < 0 ? r : line(out, "name", facts_name(m));
    r = r < 0 ? r : line(out, "application", m->deps.app_name);
    r = r < 0 ? r : line(out, "directory", m->deps.settings->chdir);
    r = r < 0 ? r : line(out, "started_in", m->deps.launch->cwd);
    r = r < 0 ? r : line(out, "pidfile", pidfile_path(m->deps.pidfile));
    r = r < 0 ? r : line(out, "program", m->deps.launch->program);
    for (size_t i = 0; i < ls->n && r == 0; i++) {
        r = line(out, "address", ls->list[i].url);
    }
    for (int i = 1; i < m->deps.launch->argc && r == 0; i++) {
        r = line(out, "argument", m->deps.launch->argv[i]);
    }
    return r;
}
