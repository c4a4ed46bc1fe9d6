/* tunnel.h - a pair of sockets: one end is the application's, to read from and write to as if it were its client; the
 * other one is ours, and the loop tends it. What lies between (TLS, bounds, who is too slow) stays our business, and
 * the application never has the client's socket.
 *
 * Loop thread only, but for the application's end. tunnel_close may be called in each of the events. */
#pragma once

#include <stddef.h>

struct tunnel;
struct uv_loop_s;

struct tunnel_events {
    int (*said)(void *arg, const char *data, size_t len); /* by the application; borrowed. < 0: no more is wanted */
    void (*taken)(void *arg); /* by the application: all that tunnel_send was given, after it could not take it */
    void (*ended)(void *arg); /* the application has closed its end, or `said` did not want more */
};

/* `*fd`: the application's end, of a blocking stream; the caller's. 0 or -errno. */
int tunnel_open(struct tunnel **out, struct uv_loop_s *loop, const struct tunnel_events *events, void *arg, int *fd);
void tunnel_close(struct tunnel *t); /* the application's end is at its end; no event comes after it. NULL is fine */

/* For the application. 1: it has room; 0: `taken` will be called; -ENOMEM. When it has closed its end, all is thrown
 * away. */
int tunnel_send(struct tunnel *t, const char *data, size_t len);
void tunnel_send_end(struct tunnel *t); /* behind what it was sent */

/* No `said` until tunnel_resume: what the kernel buffers then slows the application. */
void tunnel_pause(struct tunnel *t);
void tunnel_resume(struct tunnel *t);
/* `said` for all that the application has written by now, paused or not. */
void tunnel_catch_up(struct tunnel *t);
