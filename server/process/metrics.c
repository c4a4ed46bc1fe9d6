/* metrics.c - what the master tells statsd. */
#include "server/process/metrics.h"

#include "server/base/statsd.h"
#include "server/config/settings.h"
#include "server/net/listener.h"

#define BACKLOG_US UINT64_C(1000000)

void metrics_tell(struct metrics *m, size_t workers, const struct listeners *ls, uint64_t now)
{
    if (!m->statsd) {
        return;
    }
    if (workers != m->workers) {
        m->workers = workers;
        statsd_workers(m->statsd, workers);
    }
    if (m->settings->enable_backlog_metric && now >= m->backlog_us) {
        m->backlog_us = now + BACKLOG_US;
        statsd_backlog(m->statsd, listeners_waiting(ls));
    }
}

uint64_t metrics_deadline(const struct metrics *m)
{
    return m->backlog_us;
}
