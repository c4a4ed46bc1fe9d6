/* network.h - an address or a network as text ("10.0.0.7", "10.0.0.0/8", "fd00::/8"), and who is in it. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct network {
    unsigned char addr[16]; /* in network byte order */
    size_t len;             /* 4: IPv4, 16: IPv6 */
    unsigned bits;          /* of the prefix; len * 8: one address */
};

/* Takes what Python's ipaddress.ip_network() takes: an address alone, with the length of a prefix, IPv4 also with a
 * mask ("10.0.0.0/255.0.0.0" or "10.0.0.0/0.255.255.255"); an IPv6 scope ("%eth0") is read and means nothing.
 * 0; -EINVAL: not a network; -ERANGE: the address has bits behind the prefix, so one of the two is a slip. */
int network_parse(struct network *n, const char *text);

/* The families stay apart: "::/0" has no IPv4 address in it, and "10.0.0.0/8" no "::ffff:10.0.0.7". */
bool network_has(const struct network *n, const struct network *address);

/* An IPv4-mapped IPv6 address (RFC 4291 2.5.5.2) becomes the IPv4 address that it is. False: it is none. */
bool network_unmap(const struct network *address, struct network *v4);
