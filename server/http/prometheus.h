/* prometheus.h - what the server counts, in Prometheus' text format (version 0.0.4). By any process that has the
 * scoreboard. */
#pragma once

struct buf;
struct ownfacts;

int prometheus_write(const struct ownfacts *f, struct buf *out); /* appends; 0 or -ENOMEM */
