/* allow.h - a compiled list of addresses and networks: the hosts that a setting trusts. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct network;
struct strings;

struct allow {
    bool everybody;           /* "*" is in the list */
    struct network *networks; /* owned */
    size_t n;
};

/* `texts`: "*", addresses and networks (network.h). 0, -ENOMEM, or -EINVAL for what is none of these: settings refuse
 * it sooner. On failure there is nothing to finish. */
int allow_init(struct allow *a, const struct strings *texts);
void allow_finish(struct allow *a);

/* Is the host with this numeric address in the list? A client of IPv4 that came in over an IPv6 socket
 * ("::ffff:10.0.0.7") is found under either of its names. */
bool allow_has(const struct allow *a, const char *address);
