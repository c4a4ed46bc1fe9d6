/* prometheus.c - what the server counts, in Prometheus' text format. */
#include "server/http/prometheus.h"

#include <stdarg.h>
#include <time.h>

#include "server/base/buf.h"
#include "server/base/memory.h"
#include "server/base/scoreboard.h"
#include "server/http/ownpages.h"
#include "server/net/certpair.h"
#include "server/net/certs.h"
#include "server/net/listener.h"

/* Where the histogram is cut. The texts are not printed from numbers, since %g has a comma in some locales that an
 * application may set. */
#define BOUND(seconds)                                                                                                 \
    {                                                                                                                  \
        (uint64_t)((seconds)*1e6 + 0.5), #seconds                                                                      \
    }
static const struct {
    uint64_t us;
    const char *seconds;
} BOUNDS[] = {BOUND(0.001), BOUND(0.0025), BOUND(0.005), BOUND(0.01), BOUND(0.025), BOUND(0.05), BOUND(0.1),
              BOUND(0.25),  BOUND(0.5),    BOUND(1),     BOUND(2.5),  BOUND(5),     BOUND(10),   BOUND(30)};

static const char *const counter_help[COUNTERS] = {
#define COUNTER(name, help) help,
#include "server/base/scoreboard.def"
};

static const char *const gauge_help[GAUGES] = {
#define GAUGE(name, help) help,
#include "server/base/scoreboard.def"
};

static const char *const event_help[EVENTS] = {
#define EVENT(name, help) help,
#include "server/base/scoreboard.def"
};

/* The first failure stays, as with json.h. */
struct page {
    struct buf *out;
    int error;
};

static void put(struct page *p, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void put(struct page *p, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (p->error == 0) {
        p->error = buf_vprintf(p->out, format, args);
    }
    va_end(args);
}

static void head(struct page *p, const char *name, const char *type, const char *help)
{
    put(p, "# HELP cwsgi_%s %s.\n# TYPE cwsgi_%s %s\n", name, help, name, type);
}

static void one(struct page *p, const char *name, const char *type, const char *help, double value)
{
    head(p, name, type, help);
    put(p, "cwsgi_%s %.0f\n", name, value); /* all are whole numbers */
}

/* A label's value: backslash, quote and line end are escaped. */
static void put_label(struct page *p, const char *text)
{
    for (const char *c = text; *c; c++) {
        put(p, *c == '\n' ? "\\n" : *c == '\\' || *c == '"' ? "\\%c" : "%c", *c);
    }
}

static void put_requests(struct page *p, const struct tally *t)
{
    static const struct {
        enum counter counter;
        const char *name;
    } counters[] = {
        {COUNT_errors, "requests_failed_total"},   {COUNT_refused, "requests_refused_total"},
        {COUNT_aborted, "requests_aborted_total"}, {COUNT_bytes_received, "received_bytes_total"},
        {COUNT_bytes_sent, "sent_bytes_total"},    {COUNT_accepted, "connections_accepted_total"},
    };
    const uint64_t *c = t->counters;
    head(p, "requests_total", "counter", "Requests that were answered, by class of status");
    for (int i = 0; i < 5; i++) {
        put(p, "cwsgi_requests_total{status=\"%dxx\"} %llu\n", i + 1, (unsigned long long)c[COUNT_status_1xx + i]);
    }
    for (size_t i = 0; i < sizeof(counters) / sizeof(counters[0]); i++) {
        enum counter k = counters[i].counter;
        one(p, counters[i].name, "counter", counter_help[k], (double)c[k]);
    }
    head(p, "tls_handshakes_total", "counter", "TLS handshakes");
    put(p, "cwsgi_tls_handshakes_total{result=\"done\"} %llu\n", (unsigned long long)c[COUNT_handshakes]);
    put(p, "cwsgi_tls_handshakes_total{result=\"failed\"} %llu\n", (unsigned long long)c[COUNT_handshakes_failed]);
}

static void put_latency(struct page *p, const struct tally *t)
{
    uint64_t below = 0;
    size_t bucket = 0;
    head(p, "request_duration_seconds", "histogram", "From the first byte of a request to the end of its answer");
    for (size_t i = 0; i < sizeof(BOUNDS) / sizeof(BOUNDS[0]); i++) {
        while (bucket < LATENCY_BUCKETS && latency_floor(bucket + 1) <= BOUNDS[i].us) {
            below += t->latency[bucket++];
        }
        put(p, "cwsgi_request_duration_seconds_bucket{le=\"%s\"} %llu\n", BOUNDS[i].seconds, (unsigned long long)below);
    }
    unsigned long long all = latency_count(t->latency);
    put(p, "cwsgi_request_duration_seconds_bucket{le=\"+Inf\"} %llu\n", all);
    unsigned long long took_us = t->counters[COUNT_took_us];
    put(p, "cwsgi_request_duration_seconds_sum %llu.%06llu\n", took_us / 1000000, took_us % 1000000);
    put(p, "cwsgi_request_duration_seconds_count %llu\n", all);
}

static void put_workers(struct page *p, const struct scoreboard *sb)
{
    unsigned long booting = 0, ready = 0, leaving = 0, hung = 0, busy = 0;
    uint64_t gauges[GAUGES] = {0}, memory = 0;
    for (size_t i = 0; i < scoreboard_size(sb); i++) {
        const struct slot *s = scoreboard_slot(sb, i);
        int state = atomic_load_explicit(&s->state, memory_order_relaxed);
        if (state == SLOT_FREE) {
            continue;
        }
        booting += state == SLOT_BOOTING;
        ready += state == SLOT_READY;
        leaving += state == SLOT_WANTS_RETIRE || state == SLOT_DRAINING;
        hung += state == SLOT_HUNG || state == SLOT_HUNG_ONLY;
        busy += atomic_load_explicit(&s->busy_since_us, memory_order_relaxed) > 0;
        memory += memory_rss(atomic_load_explicit(&s->pid, memory_order_relaxed));
        for (size_t g = 0; g < GAUGES; g++) {
            gauges[g] += atomic_load_explicit(&s->gauges[g], memory_order_relaxed);
        }
    }
    head(p, "workers", "gauge", "Worker processes, by state");
    put(p, "cwsgi_workers{state=\"booting\"} %lu\ncwsgi_workers{state=\"ready\"} %lu\n", booting, ready);
    put(p, "cwsgi_workers{state=\"leaving\"} %lu\ncwsgi_workers{state=\"hung\"} %lu\n", leaving, hung);
    one(p, "workers_busy", "gauge", "Workers whose application computes", (double)busy);
    one(p, "connections", "gauge", gauge_help[GAUGE_connections], (double)gauges[GAUGE_connections]);
    one(p, "requests_running", "gauge", gauge_help[GAUGE_running], (double)gauges[GAUGE_running]);
    one(p, "requests_waiting", "gauge", gauge_help[GAUGE_waiting], (double)gauges[GAUGE_waiting]);
    one(p, "workers_resident_bytes", "gauge", "Memory of all workers; what they share is counted for each",
        (double)memory);
}

static void put_server(struct page *p, const struct ownfacts *f)
{
    const struct board *b = scoreboard_board(f->scoreboard);
    head(p, "info", "gauge", "The version");
    put(p, "cwsgi_info{version=\"%s\"} 1\n", CWSGI_VERSION);
    one(p, "start_time_seconds", "gauge", "When the server was started, in seconds since 1970",
        (double)atomic_load(&b->started));
    one(p, "generation", "gauge", "How many releases the server has served", atomic_load(&b->generation));
    one(p, "backlog", "gauge", "Connections that wait to be accepted", (double)listeners_waiting(f->listeners));
    one(p, "workers_started_total", "counter", event_help[EVENT_workers_started],
        (double)atomic_load(&b->events[EVENT_workers_started]));
    head(p, "workers_ended_total", "counter", "Workers that were replaced, by cause");
    static const struct {
        enum event event;
        const char *cause;
    } causes[] = {{EVENT_workers_failed, "failed to start"},
                  {EVENT_workers_crashed, "crashed"},
                  {EVENT_workers_timed_out, "timed out"},
                  {EVENT_workers_recycled, "recycled"}};
    for (size_t i = 0; i < sizeof(causes) / sizeof(causes[0]); i++) {
        put(p, "cwsgi_workers_ended_total{cause=\"%s\"} %llu\n", causes[i].cause,
            (unsigned long long)atomic_load(&b->events[causes[i].event]));
    }
    head(p, "reloads_total", "counter", "Reloads, by result");
    put(p, "cwsgi_reloads_total{result=\"done\"} %llu\ncwsgi_reloads_total{result=\"refused\"} %llu\n",
        (unsigned long long)atomic_load(&b->events[EVENT_reloads]),
        (unsigned long long)atomic_load(&b->events[EVENT_reloads_refused]));
}

static void put_certificates(struct page *p, const struct certs *certs)
{
    time_t now = time(NULL);
    if (!certs) {
        return;
    }
    head(p, "certificate_days_left", "gauge", "Whole days until a certificate expires; negative: it has");
    for (size_t i = 0; i < certs_count(certs); i++) {
        const struct certpair *c = certs_pair(certs, i);
        put(p, "cwsgi_certificate_days_left{certificate=\"%zu\",name=\"", i);
        put_label(p, c->n_names > 0 ? c->names[0] : "");
        put(p, "\"} %ld\n", cert_days(c->not_after, now));
    }
}

int prometheus_write(const struct ownfacts *f, struct buf *out)
{
    struct page p = {.out = out};
    struct tally t;
    scoreboard_tally(f->scoreboard, &t);
    put_server(&p, f);
    put_requests(&p, &t);
    put_latency(&p, &t);
    put_workers(&p, f->scoreboard);
    put_certificates(&p, f->certs);
    return p.error;
}
