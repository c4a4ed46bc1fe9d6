/* metrics.c - what the master tells statsd. */
#include "server/process/metrics.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "server/base/statsd.h"
#include "server/config/settings.h"
#include "server/net/listener.h"

#define BACKLOG_US UINT64_C(1000000)

static unsigned long backlog(const struct listeners *ls)
{
    unsigned long n = 0;
    for (size_t i = 0; i < ls->n; i++) {
        struct tcp_info info;
        socklen_t len = sizeof(info);
        if (getsockopt(ls->list[i].fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0) { /* fails on a unix socket */
            n += info.tcpi_unacked;
        }
    }
    return n;
}

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
        statsd_backlog(m->statsd, backlog(ls));
    }
}

uint64_t metrics_deadline(const struct metrics *m)
{
    return m->backlog_us;
}
