/* fuzz_forward.c - lists of trusted hosts, and what a front end may say about a request.
 * The script's line: whom the client is, what becomes of underscores. Then a line each: forwarded_allow_ips,
 * secure_scheme_headers (with commas for line breaks), forwarder_headers, the client's address; the rest are fields. */
#include <arpa/inet.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/buf.h"
#include "server/base/log.h"
#include "server/base/network.h"
#include "server/config/settings.h"
#include "server/http/forward.h"
#include "server/http/request.h"
#include "server/net/allow.h"
#include "server/net/peer.h"
#include "tests/fuzz/check.h"
#include "tests/fuzz/script.h"

#define FIELDS_MAX 12

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    log_open("/dev/null", LOG_LEVEL_DEBUG);
    return 0;
}

/* The next line of the input as a C string of its own, owned. */
static char *take(struct str *rest)
{
    struct str line = script_next_line(rest);
    char *copy = strndup(line.len ? line.p : "", line.len);
    CHECK(copy, "memory");
    return copy;
}

static bool set(struct settings *s, const char *name, const char *value)
{
    struct buf error = {0};
    bool ok = settings_set(s, name, &value, 1, SETTINGS_COMMAND_LINE, &error) == 0;
    CHECK(ok || error.len > 0, "no sentence");
    buf_finish(&error);
    return ok;
}

/* A network prints as text that means the same, and has its first and its last address in it, but not the next. */
static void check_network(const char *text)
{
    struct network n, again;
    char address[INET6_ADDRSTRLEN], printed[INET6_ADDRSTRLEN + 8];
    if (network_parse(&n, text) < 0) {
        return;
    }
    CHECK((n.len == 4 || n.len == 16) && n.bits <= n.len * 8, "%zu bytes, %u bits", n.len, n.bits);
    CHECK(inet_ntop(n.len == 4 ? AF_INET : AF_INET6, n.addr, address, sizeof(address)), "inet_ntop");
    snprintf(printed, sizeof(printed), "%s/%u", address, n.bits);
    CHECK(network_parse(&again, printed) == 0 && again.len == n.len && again.bits == n.bits &&
              memcmp(again.addr, n.addr, n.len) == 0,
          "%s is not %s", text, printed);

    struct network last = n, outside = n;
    last.bits = outside.bits = (unsigned)n.len * 8;
    for (unsigned i = n.bits; i < n.len * 8; i++) {
        last.addr[i / 8] |= (unsigned char)(0x80u >> i % 8);
    }
    CHECK(network_has(&n, &outside) && network_has(&n, &last), "%s lacks an address", text);
    if (n.bits > 0) {
        outside.addr[(n.bits - 1) / 8] ^= (unsigned char)(0x80u >> (n.bits - 1) % 8);
        CHECK(!network_has(&n, &outside), "%s has a stranger in it", text);
    }
}

static void check_allow(const struct settings *s, const char *address)
{
    struct allow a;
    const struct strings *list = &s->forwarded_allow_ips;
    bool star = false;
    for (size_t i = 0; i < list->n; i++) {
        star |= strcmp(list->v[i], "*") == 0;
        check_network(list->v[i]);
    }
    CHECK(allow_init(&a, list) == 0, "an address that the setting took");
    bool in = allow_has(&a, address);
    struct network n;
    CHECK(!star || in, "everybody but %s", address);
    CHECK(star || !in || network_parse(&n, address) == 0, "no address: %s", address);
    CHECK(list->n > 0 || !in, "nobody, and %s", address);
    allow_finish(&a);
}

static bool has_underscore(struct str name)
{
    return name.len > 0 && memchr(name.p, '_', name.len);
}

/* The fields that are left are those that came, in their order, less some with an underscore. */
static void check_fields(const struct request *r, const struct header *sent, size_t n)
{
    size_t i = 0;
    bool underscore = false;
    for (size_t k = 0; k < n; k++) {
        if (i < r->n_headers && r->headers[i].name.p == sent[k].name.p) {
            CHECK(str_eq(r->headers[i].value, sent[k].value), "a value was changed");
            underscore |= has_underscore(sent[k].name);
            i++;
        } else {
            CHECK(has_underscore(sent[k].name), "%.*s is gone", (int)sent[k].name.len, sent[k].name.p);
        }
    }
    CHECK(i == r->n_headers, "fields that were not sent");
    CHECK(r->aliases == underscore, "aliases");
}

static void check_forward(const struct settings *s, const struct peer *peer, struct request *r)
{
    struct forward *f;
    struct header sent[FIELDS_MAX];
    size_t n = r->n_headers;
    const char *reason = NULL;
    memcpy(sent, r->headers, n * sizeof(*sent));
    CHECK(forward_create(&f, s) == 0, "settings that were checked");
    bool trusted = forward_trusts(f, peer), https = r->https;
    int status = forward_apply(f, trusted, r, &reason);
    if (status) {
        CHECK(status == 400 && reason && *reason, "status %d", status);
    } else {
        check_fields(r, sent, n);
        CHECK(trusted || r->https == https, "a stranger changed the scheme");
        CHECK(!r->script_name.p || trusted || strcasecmp(s->header_map, "dangerous") == 0,
              "a stranger told where the application is mounted");
    }
    forward_destroy(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const char *const MAPS[] = {"drop", "refuse", "dangerous", "Drop"};
    struct script script = script_of(data, len);
    struct str rest = script.rest;
    char *lines[4 + FIELDS_MAX];
    size_t n = 0;
    struct settings s;
    struct buf error = {0};
    struct peer peer = {0};
    struct header headers[FIELDS_MAX];
    struct request r = {.headers = headers, .https = script_at(&script, 0) & 1};

    while (n < 4 || (n < 4 + FIELDS_MAX && rest.len > 0)) {
        lines[n++] = take(&rest);
    }
    for (char *p = lines[1]; *p; p++) {
        *p = *p == ',' ? '\n' : *p;
    }
    for (size_t i = 4; i < n; i++) {
        size_t name_len = strcspn(lines[i], ":");
        if (name_len > 0) {
            struct str name = {lines[i], name_len};
            struct str value = str_of(lines[i] + name_len + (lines[i][name_len] != '\0'));
            headers[r.n_headers++] = (struct header){name, value, header_lookup(name)};
        }
    }
    snprintf(peer.addr, sizeof(peer.addr), "%s", lines[3]);
    CHECK(settings_init(&s, &error) == 0, "%s", buf_cstr(&error));
    set(&s, "header_map", MAPS[script_at(&script, 1) % 4]);
    if (set(&s, "forwarded_allow_ips", lines[0]) && set(&s, "secure_scheme_headers", lines[1]) &&
        set(&s, "forwarder_headers", lines[2])) {
        check_allow(&s, peer.addr);
        check_forward(&s, &peer, &r);
    }
    for (size_t i = 0; i < n; i++) {
        check_network(lines[i]);
        free(lines[i]);
    }
    settings_finish(&s);
    buf_finish(&error);
    return 0;
}
