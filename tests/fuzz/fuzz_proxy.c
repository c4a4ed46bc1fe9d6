/* fuzz_proxy.c - the beginning of a connection, where the PROXY protocol is spoken.
 * The script's line: which versions are read, who the other end is. The rest is what came over the connection. */
#include <arpa/inet.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/buf.h"
#include "server/base/network.h"
#include "server/base/str.h"
#include "server/config/settings.h"
#include "server/net/peer.h"
#include "server/net/proxy.h"
#include "tests/fuzz/check.h"
#include "tests/fuzz/script.h"

#define MODES 4
static struct proxy proxies[MODES]; /* which versions are read */

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    static const char *const NAMES[MODES] = {"auto", "v1", "v2", "off"};
    for (int i = 0; i < MODES; i++) {
        struct settings s;
        struct buf error = {0};
        CHECK(settings_init(&s, &error) == 0, "settings");
        CHECK(settings_set(&s, "proxy_protocol", &NAMES[i], 1, SETTINGS_FILE, &error) == 0, "%s", buf_cstr(&error));
        CHECK(proxy_init(&proxies[i], &s) == 0, "memory");
        settings_finish(&s);
        buf_finish(&error);
    }
    return 0;
}

static void check_address(const char *addr, const char *protocol)
{
    struct network n;
    CHECK(network_parse(&n, addr) == 0, "no address: %s", addr);
    CHECK(n.len == (strcmp(protocol, "TCP4") == 0 ? 4 : 16), "%s for %s", addr, protocol);
}

static void check_peer(const struct peer *before, const struct peer *after, const struct proxied *said, size_t used)
{
    CHECK((used > 0) == (said->protocol != NULL), "%zu bytes of a header", used);
    if (!said->protocol) {
        CHECK(memcmp(before, after, sizeof(*before)) == 0, "nothing was said, and yet believed");
        return;
    }
    CHECK(strcmp(said->front_end, before->addr) == 0, "another front end");
    if (said->addr[0]) {
        check_address(after->addr, said->protocol);
        check_address(said->addr, said->protocol);
    } else {
        CHECK(strcmp(after->addr, before->addr) == 0 && after->port == before->port, "another client");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const char *const SENDERS[] = {"127.0.0.1", "192.0.2.7", "", "::ffff:127.0.0.1"};
    struct script script = script_of(data, len);
    const struct proxy *p = &proxies[script_at(&script, 0) % MODES];
    struct peer before = {0};
    strcpy(before.addr, SENDERS[script_at(&script, 1) % 4]);
    bool stranger = script_at(&script, 1) % 4 == 1, decided = false;

    /* Once it can be told, more bytes do not change it. */
    struct peer first = before;
    struct proxied first_said = {0};
    size_t first_used = 0;
    int first_status = 0;
    for (size_t n = 0; n <= script.rest.len; n++) {
        char *copy = malloc(n ? n : 1); /* of just that size: reading past it would be noticed */
        CHECK(copy, "memory");
        memcpy(copy, script.rest.p, n);
        struct peer peer = before;
        struct proxied said = {0};
        const char *reason = NULL;
        size_t used = 0;
        int status = proxy_read(p, &peer, &said, copy, n, &used, &reason);
        free(copy);
        CHECK(!decided || (status == first_status && used == first_used && memcmp(&peer, &first, sizeof(peer)) == 0 &&
                           memcmp(&said, &first_said, sizeof(said)) == 0),
              "after %zu bytes it is another verdict", n);
        if (status == PROXY_MORE) {
            continue;
        }
        CHECK(status == 0 || status == 400 || (status == 403 && stranger), "status %d", status);
        CHECK(used <= n && (status == 0 || reason), "%zu of %zu bytes", used, n);
        if (status == 0) {
            CHECK(!stranger || used == 0, "a stranger was believed");
            check_peer(&before, &peer, &said, used);
        }
        decided = true;
        first = peer;
        first_said = said;
        first_used = used;
        first_status = status;
    }
    return 0;
}
