/* tohttps.h - a client that came in the clear to where TLS is spoken is led to https, and told to come so at once the
 * next time (RFC 6797). Loop thread only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define TOHTTPS_PIN_MAX 64

struct exchange;

/* Whether the answer to a request on this connection is tohttps_lead, whatever was asked for. */
bool tohttps_wanted(const struct exchange *x);

/* Fills the response: 308 (RFC 9110 15.4.9) to the same target by https, or 400 when the request does not say which
 * host was meant. 0 or -ENOMEM. */
int tohttps_lead(struct exchange *x);

/* The line of Strict-Transport-Security, CR LF included, for the head of a response over TLS (RFC 6797 7.2: over
 * nothing else), unless the application has set its own. Returns its length; 0: there is to be none, as with `seconds`
 * 0. */
size_t tohttps_pin(const struct exchange *x, int seconds, char line[TOHTTPS_PIN_MAX]);
