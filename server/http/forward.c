/* forward.c - what a front end may say about a request that it passes on. */
#include "server/http/forward.h"

#include <errno.h>
#include <stdlib.h>

#include "server/base/ascii.h"
#include "server/config/settings.h"
#include "server/http/request.h"
#include "server/net/allow.h"
#include "server/net/peer.h"

/* What becomes of a field with an underscore. */
enum verdict { PASS, DROP, REFUSE };

struct scheme_header { /* borrowed from the settings */
    struct str name, https;
};

struct forward {
    struct allow allow;
    struct scheme_header *schemes; /* owned */
    size_t n_schemes;
    const struct strings *names; /* borrowed: forwarder_headers */
    enum verdict others;         /* header_map */
};

int forward_create(struct forward **f, const struct settings *s)
{
    const struct strings *pairs = &s->secure_scheme_headers;
    struct forward *new = calloc(1, sizeof(*new));
    if (!new) {
        return -ENOMEM;
    }
    new->names = &s->forwarder_headers;
    new->others = strcmp(s->header_map, "dangerous") == 0 ? PASS : strcmp(s->header_map, "drop") == 0 ? DROP : REFUSE;
    int r = allow_init(&new->allow, &s->forwarded_allow_ips);
    new->schemes = r == 0 ? calloc(pairs->n + 1, sizeof(*new->schemes)) : NULL;
    if (!new->schemes) {
        forward_destroy(new);
        return r < 0 ? r : -ENOMEM;
    }
    for (; new->n_schemes < pairs->n; new->n_schemes++) {
        const char *name = pairs->v[new->n_schemes], *equals = strchr(name, '=');
        new->schemes[new->n_schemes] = (struct scheme_header){{name, (size_t)(equals - name)}, str_of(equals + 1)};
    }
    *f = new;
    return 0;
}

void forward_destroy(struct forward *f)
{
    if (f) {
        allow_finish(&f->allow);
        free(f->schemes);
        free(f);
    }
}

bool forward_trusts(const struct forward *f, const struct peer *peer)
{
    const char *addr = peer->proxied ? peer->proxied->front_end : peer->addr;
    return addr[0] == '\0' || allow_has(&f->allow, addr);
}

/* Is this the field that a setting names? */
static bool is_named(struct str field, struct str capitals)
{
    if (field.len != capitals.len) {
        return false;
    }
    for (size_t i = 0; i < field.len; i++) {
        if (ascii_upper(field.p[i]) != capitals.p[i]) {
            return false;
        }
    }
    return true;
}

/* A field that tells the scheme settles it. False when another one has told something else: one of them is a lie that
 * a front end let through. */
static bool take_scheme(const struct forward *f, const struct header *h, struct request *r, bool *told)
{
    for (size_t i = 0; i < f->n_schemes; i++) {
        if (is_named(h->name, f->schemes[i].name)) {
            bool https = str_eq(h->value, f->schemes[i].https);
            if (*told && https != r->https) {
                return false;
            }
            *told = true;
            r->https = https;
            break;
        }
    }
    return true;
}

static enum verdict judge(const struct forward *f, bool trusted, struct str name)
{
    for (size_t i = 0; trusted && i < f->names->n; i++) {
        struct str allowed = str_of(f->names->v[i]);
        if (str_eq(allowed, STR("*")) || is_named(name, allowed)) {
            return PASS;
        }
    }
    return f->others;
}

int forward_apply(const struct forward *f, bool trusted, struct request *r, const char **reason)
{
    size_t kept = 0;
    bool told = false;
    for (size_t i = 0; i < r->n_headers; i++) {
        const struct header *h = &r->headers[i];
        if (trusted && !take_scheme(f, h, r, &told)) {
            *reason = "Contradictory scheme headers";
            return 400;
        }
        /* X_A and X-A are one key in environ: whoever guards the one may not know of the other. No name that has a
         * number of its own has an underscore. */
        if (h->id == HEADER_OTHER && memchr(h->name.p, '_', h->name.len)) {
            enum verdict verdict = judge(f, trusted, h->name);
            if (verdict == REFUSE) {
                *reason = "An underscore in the name of a header field";
                return 400;
            }
            if (verdict == DROP) {
                continue;
            }
            r->aliases = true;
            if (is_named(h->name, STR("SCRIPT_NAME"))) {
                r->script_name = h->value.len ? h->value : STR("");
            }
        }
        if (kept < i) {
            r->headers[kept] = *h;
        }
        kept++;
    }
    r->n_headers = kept;
    return 0;
}
