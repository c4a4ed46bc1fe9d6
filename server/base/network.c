/* network.c - an address or a network as text, and who is in it. */
#include "server/base/network.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <string.h>

#define DIGITS "0123456789"

/* The address at the beginning of `text`, up to a slash. 0 or -EINVAL. */
static int parse_address(struct network *n, const char *text, size_t len)
{
    char copy[INET6_ADDRSTRLEN];
    const char *scope = memchr(text, '%', len);
    size_t addr_len = scope ? (size_t)(scope - text) : len;

    if (addr_len >= sizeof(copy)) {
        return -EINVAL;
    }
    memcpy(copy, text, addr_len);
    copy[addr_len] = '\0';
    *n = (struct network){0};
    if (!scope && inet_pton(AF_INET, copy, n->addr) == 1) {
        n->len = 4;
    } else if (inet_pton(AF_INET6, copy, n->addr) == 1) {
        n->len = 16;
    } else {
        return -EINVAL;
    }
    size_t scope_len = scope ? len - addr_len - 1 : 0;
    if (scope && (scope_len == 0 || memchr(scope + 1, '%', scope_len))) {
        return -EINVAL;
    }
    n->bits = (unsigned)n->len * 8;
    return 0;
}

/* "255.0.0.0", or what is left open by it: "0.255.255.255". 0 or -EINVAL. */
static int parse_mask(const char *text, unsigned *bits)
{
    struct in_addr raw;
    if (inet_pton(AF_INET, text, &raw) != 1) {
        return -EINVAL;
    }
    uint32_t mask = ntohl(raw.s_addr);
    if ((~mask & (~mask + 1)) != 0) {
        mask = ~mask;
    }
    if ((~mask & (~mask + 1)) != 0) {
        return -EINVAL; /* ones and zeros are mixed */
    }
    *bits = (unsigned)__builtin_popcount(mask);
    return 0;
}

/* What stands behind the slash. 0 or -EINVAL. */
static int parse_prefix(struct network *n, const char *text)
{
    size_t digits = strspn(text, DIGITS);
    if (digits == 0 || text[digits] != '\0') {
        return n->len == 4 ? parse_mask(text, &n->bits) : -EINVAL;
    }
    unsigned bits = 0;
    for (; *text; text++) {
        bits = bits * 10 + (unsigned)(*text - '0');
        if (bits > n->bits) {
            return -EINVAL;
        }
    }
    n->bits = bits;
    return 0;
}

/* Are the first `bits` bits the same? */
static bool same_prefix(const unsigned char *a, const unsigned char *b, unsigned bits)
{
    size_t whole = bits / 8;
    unsigned char rest = (unsigned char)(0xff00u >> bits % 8);
    return memcmp(a, b, whole) == 0 && (bits % 8 == 0 || ((a[whole] ^ b[whole]) & rest) == 0);
}

static bool has_bits_behind_prefix(const struct network *n)
{
    for (unsigned i = n->bits; i < n->len * 8; i++) {
        if (n->addr[i / 8] & (0x80u >> i % 8)) {
            return true;
        }
    }
    return false;
}

int network_parse(struct network *n, const char *text)
{
    size_t len = strcspn(text, "/");
    int r = parse_address(n, text, len);
    if (r == 0 && text[len] == '/') {
        r = parse_prefix(n, text + len + 1);
    }
    return r == 0 && has_bits_behind_prefix(n) ? -ERANGE : r;
}

bool network_has(const struct network *n, const struct network *address)
{
    return n->len == address->len && same_prefix(n->addr, address->addr, n->bits);
}

bool network_unmap(const struct network *address, struct network *v4)
{
    static const unsigned char PREFIX[12] = {[10] = 0xff, [11] = 0xff};
    if (address->len != 16 || memcmp(address->addr, PREFIX, sizeof(PREFIX)) != 0) {
        return false;
    }
    *v4 = (struct network){.len = 4, .bits = 32};
    memcpy(v4->addr, address->addr + sizeof(PREFIX), 4);
    return true;
}
