/* open.h - opens what the server has open: logs, certificates, pid file, listeners, scoreboard. Steps (program.h).
 * What the image before us has handed over is taken, and what is not wanted any more is closed. */
#pragma once

struct buf;
struct program;

int open_log(struct program *p,
             struct buf *error); /* with syslog and statsd; tells in time that a log is not writable */
int open_tls(struct program *p, struct buf *error); /* certificates, and the keys of session tickets */
int open_pidfile(struct program *p, struct buf *error);
int open_listeners(struct program *p,
                   struct buf *error); /* blocks all signals: the master, which is next, takes them */
int open_scoreboard(struct program *p);
