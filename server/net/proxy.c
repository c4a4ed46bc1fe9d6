/* proxy.c - the PROXY protocol, versions 1 and 2. */
#include "server/net/proxy.h"

#include <arpa/inet.h>
#include <string.h>

#include "server/base/str.h"
#include "server/config/settings.h"
#include "server/net/peer.h"

#define V1_MAX 107 /* the longest line, its end included */
#define V2_FIXED 16

#define V1_SIGNATURE STR("PROXY ")
#define V2_SIGNATURE STR("\r\n\r\n\0\r\nQUIT\n")

enum version { NONE, UNDECIDED, V1, V2 };

/* What the header says, before it is believed. */
struct said {
    const char *protocol; /* static text */
    int family;           /* AF_UNSPEC: nothing about addresses */
    char from[INET6_ADDRSTRLEN], to[INET6_ADDRSTRLEN];
    uint16_t from_port, to_port;
};

int proxy_init(struct proxy *p, const struct settings *s)
{
    const char *mode = s->proxy_protocol;
    bool any = strcmp(mode, "auto") == 0;
    *p = (struct proxy){.v1 = any || strcmp(mode, "v1") == 0, .v2 = any || strcmp(mode, "v2") == 0};
    return allow_init(&p->allow, &s->proxy_allow_ips);
}

void proxy_finish(struct proxy *p)
{
    allow_finish(&p->allow);
}

static enum version compare(struct str signature, enum version version, const char *data, size_t len)
{
    size_t n = len < signature.len ? len : signature.len;
    if (n > 0 && memcmp(data, signature.p, n) != 0) {
        return NONE;
    }
    return n < signature.len ? UNDECIDED : version;
}

static enum version version_of(const struct proxy *p, const char *data, size_t len)
{
    enum version v1 = p->v1 ? compare(V1_SIGNATURE, V1, data, len) : NONE;
    enum version v2 = p->v2 ? compare(V2_SIGNATURE, V2, data, len) : NONE;
    return v1 != NONE ? v1 : v2;
}

/* The next word of a line, which is shortened by it and by one space. */
static struct str next_word(struct str *line)
{
    const char *space = line->len ? memchr(line->p, ' ', line->len) : NULL;
    struct str word = {line->p, space ? (size_t)(space - line->p) : line->len};
    size_t skip = word.len + (space != NULL);
    *line = (struct str){line->p + skip, line->len - skip};
    return word;
}

/* An address, spelt as we spell it ourselves: one host has one name. */
static bool take_address(struct str word, int family, char out[INET6_ADDRSTRLEN])
{
    char text[INET6_ADDRSTRLEN];
    unsigned char raw[sizeof(struct in6_addr)];
    if (word.len >= sizeof(text)) {
        return false;
    }
    memcpy(text, word.p, word.len);
    text[word.len] = '\0';
    return strlen(text) == word.len && inet_pton(family, text, raw) == 1 &&
           inet_ntop(family, raw, out, INET6_ADDRSTRLEN);
}

static bool take_port(struct str word, uint16_t *out)
{
    unsigned n = 0;
    if (word.len == 0 || word.len > 5 || (word.len > 1 && word.p[0] == '0')) {
        return false;
    }
    for (size_t i = 0; i < word.len; i++) {
        if (word.p[i] < '0' || word.p[i] > '9') {
            return false;
        }
        n = n * 10 + (unsigned)(word.p[i] - '0');
    }
    *out = (uint16_t)n;
    return n <= UINT16_MAX;
}

/* "PROXY TCP4 192.0.2.1 192.0.2.2 1111 80", CR LF. */
static int read_v1(const char *data, size_t len, struct said *said, size_t *used)
{
    size_t most = len < V1_MAX ? len : V1_MAX;
    const char *cr = memchr(data, '\r', most);
    if (!cr || cr + 1 == data + len) {
        return !cr && len >= V1_MAX ? 400 : PROXY_MORE;
    }
    size_t line_len = (size_t)(cr - data);
    *used = line_len + 2;
    if (cr[1] != '\n' || *used > V1_MAX) {
        return 400;
    }
    struct str line = {data + V1_SIGNATURE.len, line_len - V1_SIGNATURE.len};
    struct str protocol = next_word(&line);
    if (str_eq(protocol, STR("UNKNOWN"))) {
        said->protocol = "UNKNOWN"; /* whatever follows it is to be overlooked */
        return 0;
    }
    bool v4 = str_eq(protocol, STR("TCP4"));
    if (!v4 && !str_eq(protocol, STR("TCP6"))) {
        return 400;
    }
    said->protocol = v4 ? "TCP4" : "TCP6";
    said->family = v4 ? AF_INET : AF_INET6;
    struct str from = next_word(&line), to = next_word(&line), from_port = next_word(&line);
    bool good = take_address(from, said->family, said->from) && take_address(to, said->family, said->to) &&
                take_port(from_port, &said->from_port) && take_port(line, &said->to_port);
    return good ? 0 : 400;
}

static uint16_t big_endian(const char *p)
{
    return (uint16_t)((unsigned char)p[0] << 8 | (unsigned char)p[1]);
}

static int read_v2(const char *data, size_t len, struct said *said, size_t *used)
{
    if (len < V2_FIXED) {
        return PROXY_MORE;
    }
    unsigned char command = (unsigned char)data[12], kind = (unsigned char)data[13];
    size_t rest = big_endian(data + 14);
    if (command != 0x20 && command != 0x21) {
        return 400; /* another version, or neither LOCAL nor PROXY */
    }
    if (command == 0x21 && kind != 0x00 && kind != 0x11 && kind != 0x21) {
        return 400; /* neither TCP nor unspecified */
    }
    size_t addr = kind == 0x11 ? 4 : 16;
    if (command == 0x21 && kind != 0x00 && rest < 2 * addr + 4) {
        return 400;
    }
    *used = V2_FIXED + rest;
    if (len < *used) {
        return PROXY_MORE;
    }
    if (command == 0x20 || kind == 0x00) {
        said->protocol = command == 0x20 ? "LOCAL" : "UNSPEC"; /* the front end itself, as for a check of health */
        return 0;
    }
    const char *p = data + V2_FIXED;
    said->protocol = kind == 0x11 ? "TCP4" : "TCP6";
    said->family = kind == 0x11 ? AF_INET : AF_INET6;
    inet_ntop(said->family, p, said->from, sizeof(said->from));
    inet_ntop(said->family, p + addr, said->to, sizeof(said->to));
    said->from_port = big_endian(p + 2 * addr);
    said->to_port = big_endian(p + 2 * addr + 2);
    return 0;
}

static void believe(const struct said *said, struct peer *peer, struct proxied *proxied)
{
    *proxied = (struct proxied){.protocol = said->protocol};
    memcpy(proxied->front_end, peer->addr, sizeof(proxied->front_end));
    if (said->family != AF_UNSPEC) {
        memcpy(peer->addr, said->from, sizeof(peer->addr));
        memcpy(proxied->addr, said->to, sizeof(proxied->addr));
        peer->port = said->from_port;
        proxied->port = said->to_port;
    }
}

int proxy_read(const struct proxy *p, struct peer *peer, struct proxied *proxied, const char *data, size_t len,
               size_t *used, const char **reason)
{
    struct said said = {.family = AF_UNSPEC};
    enum version version = version_of(p, data, len);
    *used = 0;
    if (version == NONE || version == UNDECIDED) {
        return version == NONE ? 0 : PROXY_MORE;
    }
    if (peer->addr[0] != '\0' && !allow_has(&p->allow, peer->addr)) {
        *reason = "Request forbidden";
        return 403;
    }
    int status = version == V1 ? read_v1(data, len, &said, used) : read_v2(data, len, &said, used);
    if (status == 0) {
        believe(&said, peer, proxied);
    } else if (status != PROXY_MORE) {
        *reason = "Invalid PROXY header";
    }
    return status;
}
