/* trouble.c - clients that do not get as far as a request. */
#include "server/net/trouble.h"

#include <stdio.h>

#include "server/base/log.h"

#define TELL_MS (60 * 1000)

void trouble_note(struct trouble *t, enum trouble_kind kind, const char *addr, const char *why)
{
    t->of[kind].n++;
    snprintf(t->of[kind].addr, sizeof(t->of[kind].addr), "%s", addr[0] ? addr : "a unix socket");
    snprintf(t->of[kind].why, sizeof(t->of[kind].why), "%s", why);
}

void trouble_tell(struct trouble *t, uint64_t now_ms)
{
    static const char *const what[TROUBLE_KINDS] = {
        [TROUBLE_HANDSHAKE] = "a TLS handshake failed",
        [TROUBLE_CLEAR] = "plain HTTP came to an https address",
        [TROUBLE_TLS] = "TLS came to a plain http address",
    };
    if (t->told_ms > 0 && now_ms < t->told_ms + TELL_MS) {
        return;
    }
    for (int i = 0; i < TROUBLE_KINDS; i++) {
        if (t->of[i].n > 0) {
            log_info("Clients: %s %lu time%s; the last one from %s: %s", what[i], t->of[i].n,
                     t->of[i].n == 1 ? "" : "s", t->of[i].addr, t->of[i].why);
            t->of[i].n = 0;
            t->told_ms = now_ms > 0 ? now_ms : 1;
        }
    }
}
