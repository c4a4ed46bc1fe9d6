/* forward.h - what a front end may say about a request that it passes on, as gunicorn 26 has it: by which scheme its
 * client came, under which path the application is mounted, and fields that have an underscore in their name.
 *
 * Settings: forwarded_allow_ips says who is a front end; secure_scheme_headers, how one tells the scheme;
 * forwarder_headers, which names with underscores it may send; header_map, what becomes of all others. The names in
 * settings are in capital letters; in other letters they stand for nothing. REMOTE_ADDR stays the front end's. */
#pragma once

#include <stdbool.h>

struct forward;
struct peer;
struct request;
struct settings;

/* 0 or -errno. `s` has passed settings_check; borrowed, must outlive it. */
int forward_create(struct forward **f, const struct settings *s);
void forward_destroy(struct forward *f); /* NULL is fine */

/* Is the other end of this connection a front end? On a unix socket it always is: file permissions say who may connect.
 * Whoever sent a PROXY header is asked for, not the client behind it. To be asked once a connection. */
bool forward_trusts(const struct forward *f, const struct peer *peer);

/* Applies the settings to a head that request_check has accepted: removes fields from r->headers, settles https,
 * script_name and aliases. Returns 0, else the status to refuse with, and `*reason` says why (static text). */
int forward_apply(const struct forward *f, bool trusted, struct request *r, const char **reason);
