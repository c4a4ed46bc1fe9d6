/* ownpages.c - what the server itself answers, without the application. */
#include "server/http/ownpages.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>

#include "server/base/buf.h"
#include "server/config/settings.h"
#include "server/http/exchange.h"
#include "server/http/prometheus.h"
#include "server/http/statuspage.h"
#include "server/net/peer.h"

#define CREDENTIALS_MAX 256

static bool wants_metrics(const struct exchange *x)
{
    return x->peer->metrics;
}

bool ownpages_wanted(const struct ownfacts *f, const struct exchange *x)
{
    const char *path = f->settings->status_path;
    if (!f->scoreboard) { /* no worker: checkup.h */
        return false;
    }
    return wants_metrics(x) || (path && str_eq(x->request.path, str_of(path)));
}

/* From this machine, and not by way of a front end on it, whose clients are anywhere. */
static bool is_local(const struct exchange *x)
{
    static const char *const forwarded[] = {"forwarded", "x-forwarded-for", "x-real-ip", "via"};
    const char *addr = x->peer->addr;
    for (size_t i = 0; i < x->request.n_headers; i++) {
        for (size_t k = 0; k < sizeof(forwarded) / sizeof(forwarded[0]); k++) {
            if (str_ieq(x->request.headers[i].name, str_of(forwarded[k]))) {
                return false;
            }
        }
    }
    return !x->peer->proxied && (strncmp(addr, "127.", 4) == 0 || strcmp(addr, "::1") == 0);
}

/* RFC 7617: "Basic " and base64 of USER:PASSWORD. Compared in constant time. */
static bool is_known(const struct ownfacts *f, const struct exchange *x)
{
    const char *wanted = f->settings->status_auth;
    char expected[6 + 4 * ((CREDENTIALS_MAX + 2) / 3) + 1] = "Basic ";
    size_t len = wanted ? strlen(wanted) : 0;
    if (len == 0 || len > CREDENTIALS_MAX) {
        return false;
    }
    EVP_EncodeBlock((unsigned char *)expected + 6, (const unsigned char *)wanted, (int)len);
    for (size_t i = 0; i < x->request.n_headers; i++) {
        const struct header *h = &x->request.headers[i];
        if (str_ieq(h->name, STR("authorization"))) {
            return h->value.len == strlen(expected) && CRYPTO_memcmp(h->value.p, expected, h->value.len) == 0;
        }
    }
    return false;
}

static int turn_away(const struct ownfacts *f, struct exchange *x)
{
    if (!f->settings->status_auth) {
        return response_refuse(&x->response, 403, "This page is for this machine alone, unless status_auth is set.");
    }
    int r = response_refuse(&x->response, 401, "This page is for who knows the password.");
    if (r == 0 && response_add(&x->response, STR("WWW-Authenticate"), STR("Basic realm=\"cwsgi\"")) != RESPONSE_OK) {
        r = -ENOMEM;
    }
    return r;
}

static int answer(struct exchange *x, struct str type, struct str policy, const void *data, size_t len)
{
    struct response *r = &x->response;
    if (response_start(r, STR("200 OK")) != RESPONSE_OK || response_add(r, STR("Content-Type"), type) != RESPONSE_OK ||
        response_add(r, STR("Cache-Control"), STR("no-store")) != RESPONSE_OK ||
        (policy.len > 0 && response_add(r, STR("Content-Security-Policy"), policy) != RESPONSE_OK) ||
        response_push_copy(r, data, len) < 0) {
        return -ENOMEM;
    }
    response_end(r);
    return 0;
}

static int answer_text(struct exchange *x, struct str type, int r, struct buf *text)
{
    r = r == 0 ? answer(x, type, STR(""), text->data, text->len) : r;
    buf_finish(text);
    return r;
}

int ownpages_answer(const struct ownfacts *f, struct exchange *x)
{
    struct buf text = {0};
    if (!str_eq(x->request.method, STR("GET")) && !str_eq(x->request.method, STR("HEAD"))) {
        return response_refuse(&x->response, 405, "This page can only be read.");
    }
    if (wants_metrics(x)) {
        int r = prometheus_write(f, &text);
        return answer_text(x, STR("text/plain; version=0.0.4; charset=utf-8"), r, &text);
    }
    if (!is_local(x) && !is_known(f, x)) {
        return turn_away(f, x);
    }
    if (str_eq(x->request.query, STR("json"))) {
        int r = statuspage_write(f, &text);
        return answer_text(x, STR("application/json"), r, &text);
    }
    return answer(x, STR("text/html; charset=utf-8"), STR(STATUSPAGE_POLICY), statuspage_html, statuspage_html_len);
}
