/* systemd.h - what systemd gives a service, and wants to hear from it: sd_listen_fds(3), sd_notify(3).
 * Without systemd all of it does nothing. */
#pragma once

#include <stdint.h>

struct buf;
struct settings;

/* The sockets of LISTEN_FDS, if they are meant for this process, take the place of `bind`. The variables are removed
 * from the environment, so that nobody else takes them for his. 0, or -1 with a sentence. */
int systemd_sockets(struct settings *s, struct buf *error);

/* One message, such as "READY=1"; lost when nobody listens. */
void systemd_notify(const char *format, ...) __attribute__((format(printf, 1, 2)));
void systemd_notify_reloading(void);

/* How often systemd wants to hear that we live: half of WATCHDOG_USEC; 0: not at all. */
uint64_t systemd_watchdog_us(void);
