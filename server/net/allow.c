/* allow.c - a compiled list of addresses and networks. */
#include "server/net/allow.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/network.h"
#include "server/config/settings.h"

int allow_init(struct allow *a, const struct strings *texts)
{
    *a = (struct allow){0};
    a->networks = calloc(texts->n + 1, sizeof(*a->networks));
    if (!a->networks) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < texts->n; i++) {
        if (strcmp(texts->v[i], "*") == 0) {
            a->everybody = true;
        } else if (network_parse(&a->networks[a->n], texts->v[i]) == 0) {
            a->n++;
        } else {
            allow_finish(a);
            return -EINVAL;
        }
    }
    return 0;
}

void allow_finish(struct allow *a)
{
    free(a->networks);
    *a = (struct allow){0};
}

static bool has(const struct allow *a, const struct network *address)
{
    for (size_t i = 0; i < a->n; i++) {
        if (network_has(&a->networks[i], address)) {
            return true;
        }
    }
    return false;
}

bool allow_has(const struct allow *a, const char *address)
{
    struct network host, v4;
    if (a->everybody) {
        return true;
    }
    if (network_parse(&host, address) < 0) {
        return false;
    }
    return has(a, &host) || (network_unmap(&host, &v4) && has(a, &v4));
}
