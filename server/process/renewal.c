/* renewal.c - the server's certificates, from start to stop. */
#include "server/process/renewal.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "server/base/buf.h"
#include "server/base/bulletin.h"
#include "server/base/clock.h"
#include "server/base/cwd.h"
#include "server/base/log.h"
#include "server/base/watch.h"
#include "server/config/settings.h"
#include "server/net/certload.h"
#include "server/net/certpack.h"
#include "server/net/certs.h"
#include "server/net/tls.h"
#include "server/process/news.h"

#define SETTLE_US SECOND_US          /* that long nothing may change before files are read: they may be half-written */
#define PATIENCE_US (10 * SECOND_US) /* and that long we wait for it */
#define LOOK_US (5 * SECOND_US)      /* how often files are looked at where nobody tells of changes */
#define GLANCE_US (60 * SECOND_US)   /* and where somebody does, who does not see what another machine does */
#define DAY 86400

static const int DAYS[] = {30, 14, 7, 3, 1}; /* before the end, when a warning is due */
#define N_DAYS (sizeof(DAYS) / sizeof(DAYS[0]))

struct told {                /* of a certificate */
    unsigned char print[32]; /* which one */
    size_t warnings;         /* that are behind us, of DAYS and of its end */
};

struct renewal {
    char *certfile, *keyfile; /* owned; absolute: a hook may change the working directory */
    struct certload from;
    struct certloaded loaded;  /* owned */
    struct tls_context *tls;   /* owned */
    struct bulletin *bulletin; /* owned */
    uint64_t seen;             /* number of the bulletin's text that we serve */

    struct watch *watch; /* owned; NULL until the first look */
    uint64_t print;      /* of the files as they were read */
    uint64_t changed;    /* of the files as they were at the last look, when they had changed; 0: they had not */
    uint64_t since_us;   /* when the change was seen first */
    uint64_t look_us;    /* when the files are looked at again; 0: at once */
    uint64_t retry_us;   /* in trouble: when files are read again though they have not changed */
    uint64_t deaf_us;    /* until then no news are taken: many files may change in that folder */
    struct buf said;     /* owned; the last warnings: each is logged once */
    struct buf trouble;  /* owned; why the files could not be used; empty: they could */
    struct told *told;   /* owned; for each pair of the store, as far as known */
    size_t n_told;
};

/* The log */

/* Each line of the text that is not in `known`. */
static void log_warnings(struct buf *text, const struct buf *known)
{
    const char *line = text->len > 0 ? buf_cstr(text) : NULL;
    for (size_t len; line && *line; line += len + 1) {
        len = strcspn(line, "\n");
        if (!known || known->len == 0 || !memmem(known->data, known->len, line, len + 1)) {
            log_warning("%.*s", (int)len, line);
        }
    }
}

static void move(struct buf *to, struct buf *from)
{
    buf_finish(to);
    *to = *from;
    *from = (struct buf){0};
}

/* Warnings before the end */

/* How many of the warnings are due. */
static size_t due(const struct certpair *p, time_t now)
{
    size_t n = 0;
    while (n < N_DAYS && p->not_after - now <= (time_t)DAYS[n] * DAY) {
        n++;
    }
    return n + (n == N_DAYS && now >= p->not_after);
}

/* What was told of `certs` is remembered; of those that are new nothing is. With `all`, everything was told. */
static void remember(struct renewal *r, const struct certs *certs, bool all)
{
    size_t n = certs_count(certs);
    struct told *now = calloc(n, sizeof(*now));
    for (size_t i = 0; now && i < n; i++) {
        const struct certpair *p = certs_pair(certs, i);
        unsigned len = 0;
        X509_digest(p->cert, EVP_sha256(), now[i].print, &len);
        now[i].warnings = all ? due(p, time(NULL)) : 0;
        for (size_t k = 0; !all && k < r->n_told; k++) {
            if (memcmp(r->told[k].print, now[i].print, sizeof(now[i].print)) == 0) {
                now[i].warnings = r->told[k].warnings;
            }
        }
    }
    free(r->told);
    r->told = now;
    r->n_told = now ? n : 0; /* without memory there are no warnings for now */
}

static void warn_of_end(struct renewal *r, time_t now)
{
    for (size_t i = 0; i < r->n_told; i++) {
        const struct certpair *p = certs_pair(r->loaded.certs, i);
        struct buf text = {0};
        size_t n = due(p, now);
        bool is_known = n > N_DAYS && r->trouble.len == 0; /* who reads an expired one says so */
        if (n > r->told[i].warnings && !is_known && certs_describe(r->loaded.certs, i, now, &text) == 0 &&
            buf_cstr(&text)) {
            log_warning("A certificate %s: %s", n > N_DAYS ? "has expired" : "expires soon", text.data);
        }
        r->told[i].warnings = n > r->told[i].warnings ? n : r->told[i].warnings;
        buf_finish(&text);
    }
}

/* Renewing */

/* For workers that are running already; those to come have it from us. */
static void publish(struct renewal *r)
{
    struct buf packed = {0};
    int result = certpack_put(r->loaded.certs, &packed);
    if (result == 0) {
        result = bulletin_put(r->bulletin, packed.data, packed.len, &r->seen);
    }
    if (result < 0) {
        log_error("Running workers cannot be told of the new certificates: %s; reload to replace them",
                  strerror(-result));
    }
    if (packed.data) {
        OPENSSL_cleanse(packed.data, packed.len);
    }
    buf_finish(&packed);
}

/* Serves `loaded` (taken over) from now on. 0, or -1 with a sentence, and then it is freed and nothing changed. */
static int use(struct renewal *r, const struct certloaded *loaded, struct buf *error)
{
    if (tls_context_use(r->tls, loaded->certs, error) < 0) {
        certs_destroy(loaded->certs);
        return -1;
    }
    remember(r, loaded->certs, false);
    certs_destroy(r->loaded.certs);
    r->loaded = *loaded;
    return 0;
}

static void stay(struct renewal *r, struct buf *error)
{
    const char *text = buf_cstr(error);
    if (!text || r->trouble.len != error->len || memcmp(r->trouble.data, error->data, error->len) != 0) {
        log_error("The certificates in memory go on serving: %s", text ? text : "out of memory");
    }
    move(&r->trouble, error);
    r->loaded.next = 0; /* it is tried again anyhow */
}

static void renew(struct renewal *r)
{
    struct certloaded loaded;
    struct buf warnings = {0}, error = {0};
    if (certload(&loaded, &r->from, r->loaded.certs, time(NULL), &warnings, &error) < 0) {
        stay(r, &error);
    } else {
        bool same = certs_same(r->loaded.certs, loaded.certs);
        log_warnings(&warnings, &r->said);
        move(&r->said, &warnings);
        if (use(r, &loaded, &error) < 0) {
            stay(r, &error);
        } else {
            if (!same) {
                publish(r);
                renewal_announce(r);
            } else if (r->trouble.len > 0) {
                log_info("The certificates can be read again");
            }
            buf_finish(&r->trouble);
        }
    }
    buf_finish(&warnings);
    buf_finish(&error);
}

/* Whether something is to be hoped for from files that have not changed: what went wrong may have been ours. */
static bool is_in_trouble(const struct renewal *r)
{
    bool kept = r->trouble.len > 0;
    for (size_t i = 0; !kept && i < certs_count(r->loaded.certs); i++) {
        kept = certs_pair(r->loaded.certs, i)->kept;
    }
    return kept;
}

static bool time_has_come(const struct renewal *r, time_t now)
{
    return r->loaded.next > 0 && now >= r->loaded.next;
}

/* Before the files are read, so that no change is missed. */
static void watch_files(struct renewal *r)
{
    watch_destroy(r->watch);
    r->watch = watch_create(NULL, false);
    if (r->watch && certload_watch(&r->from, r->watch) < 0) {
        log_warning("Can't watch the certificates: out of memory; they are looked at now and then");
    }
    r->print = certload_print(&r->from);
    r->changed = 0;
}

static void look(struct renewal *r, uint64_t now_us)
{
    time_t now = time(NULL);
    uint64_t print = certload_print(&r->from);
    bool settles = false;
    if (print != r->print && print != r->changed && (!r->changed || now_us < r->since_us + PATIENCE_US)) {
        r->since_us = r->changed ? r->since_us : now_us;
        r->changed = print;
        settles = true;
    } else if (print != r->print || time_has_come(r, now) || (is_in_trouble(r) && now_us >= r->retry_us)) {
        watch_files(r);
        renew(r);
        r->retry_us = now_us + GLANCE_US;
    } else {
        r->changed = 0;
    }
    bool told = r->watch && watch_fd(r->watch) >= 0 && !is_in_trouble(r); /* a folder that is gone tells nothing */
    r->look_us = now_us + (settles ? SETTLE_US : told ? GLANCE_US : LOOK_US);
    warn_of_end(r, now);
}

/* The master's loop */

static bool has_news(struct renewal *r, uint64_t now_us)
{
    struct pollfd p = {.fd = r->watch ? watch_fd(r->watch) : -1, .events = POLLIN};
    if (p.fd < 0 || now_us < r->deaf_us || poll(&p, 1, 0) <= 0) {
        return false;
    }
    r->deaf_us = now_us + SETTLE_US;
    return watch_changed(r->watch) != NULL;
}

void renewal_await(const struct renewal *r, struct news *news)
{
    if (r && r->watch && clock_mono_us() >= r->deaf_us) {
        news_add(news, watch_fd(r->watch), POLLIN);
    }
}

void renewal_tend(struct renewal *r, uint64_t now_us)
{
    if (!r) {
        return;
    }
    if (!r->watch) { /* the first turn; what has changed since the start is seen by the print */
        uint64_t print = r->print;
        watch_files(r);
        r->print = print;
        warn_of_end(r, time(NULL));
    }
    if (has_news(r, now_us) && !r->changed) {
        r->look_us = now_us;
    }
    if (now_us >= r->look_us || time_has_come(r, time(NULL))) {
        look(r, now_us);
    }
}

uint64_t renewal_deadline(const struct renewal *r)
{
    if (!r || !r->watch) {
        return 0;
    }
    time_t now = time(NULL);
    uint64_t at = r->look_us, now_us = clock_mono_us();
    if (r->deaf_us > now_us && r->deaf_us < at) {
        at = r->deaf_us;
    }
    if (r->loaded.next > now) {
        uint64_t next_us = now_us + (uint64_t)(r->loaded.next - now) * SECOND_US;
        at = next_us < at ? next_us : at;
    }
    return at > 0 ? at : 1;
}

/* Workers */

void renewal_forget(struct renewal *r)
{
    if (r) {
        watch_destroy(r->watch);
        r->watch = NULL;
    }
}

static void take_new(struct renewal *r)
{
    struct buf packed = {0}, error = {0};
    struct certloaded loaded = {0};
    int result = bulletin_get(r->bulletin, &packed, &r->seen);
    if (result == -EAGAIN) {
        return; /* the next client brings us here again */
    }
    if (result == 0) {
        result = certpack_take(&loaded.certs, packed.data, packed.len);
    }
    if (packed.data) {
        OPENSSL_cleanse(packed.data, packed.len);
    }
    buf_finish(&packed);
    if (result < 0) {
        log_error("The new certificates cannot be taken over: %s; the old ones go on serving", strerror(-result));
    } else if (use(r, &loaded, &error) < 0) {
        log_error("The new certificates cannot be used: %s; the old ones go on serving",
                  buf_cstr(&error) ? error.data : "out of memory");
    }
    buf_finish(&error);
}

struct tls_context *renewal_take(struct renewal *r)
{
    if (bulletin_is_new(r->bulletin, r->seen)) {
        take_new(r);
    }
    return r->tls;
}

/* Life */

/* "~/" is left for the store to expand. NULL when memory is short, or for NULL. */
static char *make_absolute(const char *path)
{
    char *absolute = path && *path != '~' ? cwd_absolute(path) : NULL;
    return absolute || !path ? absolute : strdup(path); /* where there is no current directory, as it is */
}

/* The bulletin of the image before us, and what it served; else a new one. 0 or -errno. */
static int open_bulletin(struct renewal *r, int *fd, struct certs **before)
{
    struct buf packed = {0};
    if (*fd < 0 || bulletin_adopt(&r->bulletin, *fd) < 0) {
        return bulletin_create(&r->bulletin);
    }
    *fd = -1;
    if (bulletin_get(r->bulletin, &packed, &r->seen) == 0 && packed.len > 0) {
        certpack_take(before, packed.data, packed.len); /* another build's may look otherwise */
    }
    if (packed.data) {
        OPENSSL_cleanse(packed.data, packed.len);
    }
    buf_finish(&packed);
    return 0;
}

/* The first store: from the files, or when they are bad, what the image before us served (taken over). Of that, what
 * was deleted is forgotten, but what lies there half-written must not bring an expired pair back. */
static int load_first(struct renewal *r, struct certs *before, struct buf *error)
{
    struct buf warnings = {0};
    r->print = certload_print(&r->from);
    r->from.forget = true;
    int result = certload(&r->loaded, &r->from, before, time(NULL), &warnings, error);
    r->from.forget = false;
    log_warnings(&warnings, NULL);
    move(&r->said, &warnings);
    if (result < 0 && before) {
        r->loaded.certs = before;
        stay(r, error);
        return 0;
    }
    if (result == 0 && before) {
        remember(r, before, true);
    }
    certs_destroy(before);
    return result;
}

static int open_all(struct renewal *r, const struct settings *s, int *bulletin_fd, struct buf *error)
{
    struct certs *before = NULL;
    if (!r->certfile || (s->keyfile && !r->keyfile)) {
        buf_puts(error, "out of memory");
        return -1;
    }
    int result = open_bulletin(r, bulletin_fd, &before);
    if (result < 0) {
        buf_printf(error, "there is no memory for certificates: %s", strerror(-result));
        return -1;
    }
    if (load_first(r, before, error) < 0 || tls_context_create(&r->tls, s, r->loaded.certs, error) < 0) {
        return -1;
    }
    remember(r, r->loaded.certs, false);
    publish(r);
    return 0;
}

int renewal_create(struct renewal **out, const struct settings *s, int *bulletin_fd, struct buf *error)
{
    struct renewal *r = calloc(1, sizeof(*r));
    if (!r) {
        buf_puts(error, "out of memory");
        return -1;
    }
    r->certfile = make_absolute(s->certfile);
    r->keyfile = make_absolute(s->keyfile);
    r->from =
        (struct certload){.certfile = r->certfile, .keyfile = r->keyfile, .host = s->cert_host, .ciphers = s->ciphers};
    if (open_all(r, s, bulletin_fd, error) < 0) {
        renewal_destroy(r);
        return -1;
    }
    *out = r;
    return 0;
}

void renewal_destroy(struct renewal *r)
{
    if (!r) {
        return;
    }
    tls_context_destroy(r->tls);
    certs_destroy(r->loaded.certs);
    bulletin_destroy(r->bulletin);
    watch_destroy(r->watch);
    buf_finish(&r->said);
    buf_finish(&r->trouble);
    free(r->told);
    free(r->certfile);
    free(r->keyfile);
    free(r);
}

struct tls_context *renewal_tls(struct renewal *r)
{
    return r->tls;
}

const struct certs *renewal_certs(const struct renewal *r)
{
    return r->loaded.certs;
}

const char *renewal_trouble(const struct renewal *r)
{
    return r && r->trouble.len > 0 ? r->trouble.data : NULL; /* a string: `stay` has seen to it */
}

int renewal_fd(const struct renewal *r)
{
    return r ? bulletin_fd(r->bulletin) : -1;
}

void renewal_announce(const struct renewal *r)
{
    for (size_t i = 0; r && i < certs_count(r->loaded.certs); i++) {
        struct buf text = {0};
        if (certs_describe(r->loaded.certs, i, time(NULL), &text) == 0 && buf_cstr(&text)) {
            log_info("Certificate for %s", text.data);
        }
        buf_finish(&text);
    }
}
