/* statsd.h - metrics for a statsd daemon, under gunicorn's names. Nothing waits for the daemon, and it need not be
 * there. Any thread. */
#pragma once

#include <stdint.h>

#define STATSD_PORT "8125" /* where an address has none */

struct buf;
struct statsd; /* opaque */

/* PATH when the address is unix:PATH or unix://PATH, else NULL. As in gunicorn unix:8125 is a host of that name. */
const char *statsd_path(const char *address);

/* address: HOST:PORT, HOST, unix:PATH. prefix: before all names, with a dot behind it; tags: NAME:VALUE
 * with commas between, as DogStatsD has them. Both may be empty. NULL with a sentence when the host is not known. */
struct statsd *statsd_create(const char *address, const char *prefix, const char *tags, struct buf *error);
void statsd_destroy(struct statsd *s); /* NULL is fine */

void statsd_request(struct statsd *s, int status, uint64_t took_us);
void statsd_log(struct statsd *s, const char *kind); /* one more line of that kind: "error" */
void statsd_workers(struct statsd *s, unsigned long n);
void statsd_backlog(struct statsd *s, unsigned long n); /* connections that wait to be accepted */
