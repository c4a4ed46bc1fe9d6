/* orders.h - does what a signal tells the master. A part of it. */
#pragma once

struct master;

void orders_take(struct master *m); /* obeys the signals that came */
void orders_reload(struct master *m);
void orders_resize(struct master *m, int wanted); /* to what the setting allows at most */
void orders_reopen(struct master *m);             /* the logs, of workers, too */
void orders_reopen_logs(const struct master *m);
