/* certload.c - reads the certificate store from files. */
#include "server/net/certload.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/buf.h"
#include "server/base/fnv.h"
#include "server/base/watch.h"
#include "server/net/certknown.h"
#include "server/net/certs.h"
#include "server/net/certsource.h"

#define KEYLESS_SHOWN 5

struct loading {
    const struct certload *from;
    time_t now;
    struct certsource certs, keys; /* keys.where NULL: the keys are among the certificates */
    struct buf *warnings, *error;
    struct certknown known;
    size_t key_at;          /* the file in which the last key was found */
    struct certpair *pairs; /* owned */
    size_t n_pairs;
    SSL_CTX *scratch; /* owned; to try pairs on */
};

static int fail(struct loading *l)
{
    l->error->len = 0;
    buf_puts(l->error, "out of memory");
    return -1;
}

/* Pairing */

static struct certsource *source_of_keys(struct loading *l)
{
    return l->keys.where ? &l->keys : &l->certs;
}

/* Keys mostly come in the order of their certificates, so the search goes on where the last one was. */
static EVP_PKEY *find_key(struct loading *l, X509 *cert, const char **path)
{
    struct certsource *s = source_of_keys(l);
    EVP_PKEY *public = X509_get0_pubkey(cert);
    for (size_t n = 0, first = l->key_at; public && n < s->files.n; n++) {
        size_t i = (first + n) % s->files.n;
        for (size_t k = 0; k < s->read[i].n_keys; k++) {
            if (EVP_PKEY_eq(public, s->read[i].keys[k]) == 1) {
                *path = s->files.list[i].path;
                l->key_at = i;
                return s->read[i].keys[k];
            }
        }
    }
    return NULL;
}

/* NULL: OpenSSL takes the pair as it is to be used; else why not. */
static const char *weakness(struct loading *l, const struct certpair *p)
{
    const char *why = NULL;
    if (!l->scratch && (l->scratch = SSL_CTX_new(TLS_server_method())) && l->from->ciphers) {
        SSL_CTX_set_cipher_list(l->scratch, l->from->ciphers); /* it may say @SECLEVEL=... */
    }
    ERR_clear_error();
    if (!l->scratch || SSL_CTX_use_cert_and_key(l->scratch, p->cert, p->key, NULL, 1) != 1) {
        unsigned long code = ERR_peek_last_error();
        why = code ? ERR_reason_error_string(code) : NULL;
        why = why ? why : "OpenSSL refuses it";
    }
    ERR_clear_error();
    return why;
}

/* A folder may also hold what people use to show who they are. */
static bool is_for_servers(X509 *cert)
{
    bool is = X509_check_purpose(cert, X509_PURPOSE_SSL_SERVER, 0) == 1;
    ERR_clear_error();
    return is;
}

/* 1: added; 0: it cannot be used; -1: an error. */
static int add_pair(struct loading *l, const struct certfile *file, const struct pemfile *f, size_t at, EVP_PKEY *key,
                    const char *key_path)
{
    struct certpair *more = reallocarray(l->pairs, l->n_pairs + 1, sizeof(*more));
    if (!more) {
        return fail(l);
    }
    l->pairs = more;
    struct certpair *p = &more[l->n_pairs];
    if (certpair_init(p, f->certs[at], key, file->path, key_path) < 0) {
        return fail(l);
    }
    p->modified = file->modified;
    const char *why = weakness(l, p);
    if (why) {
        struct buf *to = file->given ? l->error : l->warnings;
        cert_say(to, file->given ? "certfile '" : "Not used: the certificate in '", file->path, "' cannot be used: ");
        buf_puts(to, why);
        buf_puts(to, file->given ? "; get another one" : "\n");
        certpair_finish(p);
        return file->given ? -1 : 0;
    }
    l->n_pairs++;
    return 1;
}

static int make_pairs(struct loading *l)
{
    struct certsource *s = &l->certs;
    for (size_t i = 0; i < s->files.n; i++) {
        for (size_t k = 0; k < s->read[i].n_certs; k++) {
            X509 *cert = s->read[i].certs[k];
            const char *path = NULL;
            int added = certknown_add(&l->known, cert);
            if (added < 0) {
                return fail(l);
            }
            EVP_PKEY *key = added > 0 ? find_key(l, cert, &path) : NULL;
            bool wanted = key && (s->files.list[i].given || is_for_servers(cert));
            if (wanted && add_pair(l, &s->files.list[i], &s->read[i], k, key, path) < 0) {
                return -1;
            }
        }
    }
    return 0;
}

/* There is no pair at all: why? */
static int explain_none(struct loading *l)
{
    const struct certsource *s = &l->certs, *k = source_of_keys(l);
    if (s->files.n == 1 && s->files.list[0].given && k->files.n == 1 && k->files.list[0].given) {
        cert_say(l->error, "the private key in '", k->files.list[0].path, "' does not belong to the certificate in '");
        cert_print(l->error, s->files.list[0].path);
        buf_puts(l->error, "'; name the key that the certificate was made for");
        return -1;
    }
    if (s->n_certs == 0) {
        cert_say(l->error, "certfile '", s->where, "' holds no certificate in PEM format");
    } else if (k->n_keys == 0) {
        buf_printf(l->error, "%s ", k == s ? "certfile" : "keyfile");
        cert_say(l->error, "'", k->where, "' holds no private key in PEM format");
    } else {
        buf_printf(l->error, "none of the %zu private keys in '", k->n_keys);
        cert_say(l->error, "", k->where, "' belongs to one of the ");
        buf_printf(l->error, "%zu certificates in '", s->n_certs);
        cert_say(l->error, "", s->where, "'");
    }
    const char *reason = l->warnings->len > 0 ? buf_cstr(l->warnings) : NULL;
    if (reason) { /* the first is enough here */
        size_t skip = strncmp(reason, "Not used: ", 10) == 0 ? 10 : 0;
        buf_printf(l->error, "; %.*s", (int)strcspn(reason + skip, "\n"), reason + skip);
    } else {
        buf_puts(l->error, "; put a certificate and its private key there, each in PEM format");
    }
    return -1;
}

/* Choosing */

static int compare(long a, long b)
{
    return (a > b) - (a < b);
}

/* The better one first: newest by what it says itself, then by its file. */
static int by_age(const void *a, const void *b)
{
    const struct certpair *p = a, *q = b;
    int order = compare(q->not_before, p->not_before);
    order = order ? order : compare(q->modified.tv_sec, p->modified.tv_sec);
    order = order ? order : compare(q->modified.tv_nsec, p->modified.tv_nsec);
    order = order ? order : compare(q->not_after, p->not_after);
    return order ? order : strcmp(p->cert_path, q->cert_path);
}

/* Who deletes a certificate on purpose wants another valid one to serve, be it older. */
static int by_rank(const void *a, const void *b)
{
    const struct certpair *p = a, *q = b;
    int order = compare(p->gone, q->gone);
    return order ? order : by_age(a, b);
}

/* It has signed another one: who makes certificates at home may keep the authority's beside them. */
static bool is_no_authority(const struct loading *l, const struct certpair *p)
{
    EVP_PKEY *key = X509_get0_pubkey(p->cert);
    for (size_t i = 0; i < l->n_pairs; i++) {
        X509 *other = l->pairs[i].cert;
        if (X509_check_issued(p->cert, other) == X509_V_OK && EVP_PKEY_eq(key, l->pairs[i].key) != 1 &&
            X509_verify(other, key) == 1) {
            return false;
        }
    }
    return true;
}

static bool has_name(const struct loading *l, const struct certpair *p)
{
    (void)l;
    return p->names[0][0] != '\0';
}

static bool is_valid(const struct loading *l, const struct certpair *p)
{
    return certpair_is_valid(p, l->now);
}

/* Only pairs of which that is true stay, or all when it is true of none: a stale certificate is better than no site.
 * 0 or -1. */
static int prefer(struct loading *l, bool (*good)(const struct loading *l, const struct certpair *p))
{
    bool any = false, *is_good = calloc(l->n_pairs + 1, sizeof(*is_good));
    size_t n = 0;
    if (!is_good) {
        return fail(l);
    }
    for (size_t i = 0; i < l->n_pairs; i++) {
        is_good[i] = good(l, &l->pairs[i]);
        any |= is_good[i];
    }
    for (size_t i = 0; any && i < l->n_pairs; i++) {
        if (is_good[i]) {
            l->pairs[n++] = l->pairs[i];
        } else {
            certpair_finish(&l->pairs[i]);
        }
    }
    l->n_pairs = any ? n : l->n_pairs;
    free(is_good);
    return 0;
}

static time_t next_change(const struct loading *l)
{
    time_t next = 0;
    for (size_t i = 0; i < l->n_pairs; i++) {
        const time_t times[] = {l->pairs[i].not_before, l->pairs[i].not_after};
        for (size_t k = 0; k < 2; k++) {
            if (times[k] > l->now && (next == 0 || times[k] < next)) {
                next = times[k];
            }
        }
    }
    return next;
}

/* The certificate's file; NULL: it is not there. */
static const struct certfile *find_file(const struct loading *l, const char *path)
{
    for (size_t i = 0; i < l->certs.files.n; i++) {
        if (strcmp(l->certs.files.list[i].path, path) == 0) {
            return &l->certs.files.list[i];
        }
    }
    return NULL;
}

/* It is in the files as well, or its file holds another one that is valid: then it was replaced on purpose. */
static bool is_replaced(const struct loading *l, size_t n_read, const struct certpair *old)
{
    for (size_t i = 0; i < n_read; i++) {
        const struct certpair *p = &l->pairs[i];
        if (X509_cmp(p->cert, old->cert) == 0 ||
            (strcmp(p->cert_path, old->cert_path) == 0 && certpair_is_valid(p, l->now))) {
            return true;
        }
    }
    return false;
}

static bool covers(const char *name, const char *host)
{
    const char *dot = strchr(host, '.');
    return strcmp(name, host) == 0 || (*name == '*' && dot && strcmp(name + 1, dot) == 0);
}

/* Without it, one of its names might fall to a pair that every client refuses. */
static bool is_needed(const struct loading *l, size_t n_read, const struct certpair *old)
{
    for (size_t i = 0; i < n_read; i++) {
        const struct certpair *p = &l->pairs[i];
        for (size_t k = 0; k < p->n_names && !certpair_is_valid(p, l->now); k++) {
            for (size_t m = 0; m < old->n_names; m++) {
                if (covers(p->names[k], old->names[m])) {
                    return true;
                }
            }
        }
    }
    return false;
}

static bool is_any_valid(const struct loading *l)
{
    bool any = false;
    for (size_t i = 0; i < l->n_pairs && !any; i++) {
        any = certpair_is_valid(&l->pairs[i], l->now);
    }
    return any;
}

/* What serves now and is not in the files any more. It joins before the choice: a half-written file must not bring an
 * expired or an older pair back that lies beside it. */
static int join_old(struct loading *l, const struct certs *before)
{
    bool done = l->certs.files.n == 1 && l->certs.files.list[0].given && is_any_valid(l);
    size_t n = done ? 0 : certs_count(before), n_read = l->n_pairs;
    struct certpair *more = reallocarray(l->pairs, n_read + n + 1, sizeof(*more));
    if (!more) {
        return fail(l);
    }
    l->pairs = more;
    for (size_t i = 0; i < n; i++) {
        const struct certpair *old = certs_pair(before, i);
        bool gone = !find_file(l, old->cert_path);
        if (!certpair_is_valid(old, l->now) || is_replaced(l, n_read, old) || weakness(l, old) ||
            (gone && l->from->forget && !is_needed(l, n_read, old))) {
            continue;
        }
        struct certpair *p = &more[l->n_pairs];
        if (certpair_copy(p, old) < 0) {
            return fail(l);
        }
        p->kept = true;
        p->gone = gone;
        l->n_pairs++;
    }
    return 0;
}

static const struct pemfile *file_of(const struct loading *l, const struct certpair *p, bool *given)
{
    const struct certfile *file = find_file(l, p->cert_path);
    *given = file && file->given;
    return file ? &l->certs.read[file - l->certs.files.list] : NULL;
}

/* Only of what serves: signatures take time. */
static int complete_chains(struct loading *l, struct certs *certs)
{
    for (size_t i = 0; i < certs_count(certs); i++) {
        struct certpair *p = certs_new_pair(certs, i);
        bool given;
        const struct pemfile *f = p->kept ? NULL : file_of(l, p, &given);
        if (f && certpair_complete(p, l->known.list, l->known.n, f->certs, f->n_certs, l->now) < 0) {
            return fail(l);
        }
    }
    return 0;
}

/* Warnings */

/* RFC 8446 4.4.2: the certificate first, each further one certifies one before it. */
static bool is_in_order(const struct certpair *p, const struct pemfile *f)
{
    if (X509_cmp(f->certs[0], p->cert) != 0) {
        return false;
    }
    for (size_t i = 1; i < f->n_certs; i++) {
        bool fits = false;
        for (size_t k = 0; k < i && !fits; k++) {
            fits = X509_check_issued(f->certs[i], f->certs[k]) == X509_V_OK;
        }
        if (!fits) {
            return false;
        }
    }
    return true;
}

static void warn_of_chain(struct loading *l, const struct certpair *p)
{
    bool given = false;
    const struct pemfile *f = file_of(l, p, &given);
    X509 *top = certpair_top(p);
    char name[200];
    if (f && given && !is_in_order(p, f)) {
        cert_say(l->warnings, "The certificates in ", p->cert_path,
                 " are out of order, or some do not belong to the chain: ");
        buf_puts(l->warnings, "put the server's own first, then its issuer's, and so on; they are served so\n");
    }
    if (!certknown_has_issuer(&l->known, top)) {
        X509_NAME_oneline(X509_get_issuer_name(top), name, sizeof(name));
        cert_say(l->warnings, "The chain of the certificate in ", p->cert_path, " is incomplete: the certificate of '");
        cert_say(l->warnings, "", name, "' is not there, and clients that do not know it will refuse the connection; ");
        buf_puts(l->warnings, "add it to the file or the folder\n");
    }
}

static void warn_of_pair(struct loading *l, const struct certpair *p)
{
    if (p->kept && !p->gone) {
        cert_say(l->warnings, "What is in ", p->cert_path, " now, or its private key, cannot serve ");
        cert_say(l->warnings, "", p->names[0], ": the one in memory goes on serving\n");
    } else if (p->kept) {
        cert_say(l->warnings, "The certificate in ", p->cert_path,
                 " is not there any more, nor another valid one for ");
        cert_say(l->warnings, "", p->names[0], ": the one in memory goes on serving\n");
    } else if (l->now >= p->not_after) {
        cert_say(l->warnings, "The certificate in ", p->cert_path, " has expired: clients will refuse it\n");
    } else if (l->now < p->not_before) {
        cert_say(l->warnings, "The certificate in ", p->cert_path, " is not valid yet: clients will refuse it\n");
    }
    if (!p->kept) {
        warn_of_chain(l, p);
    }
}

/* A certificate without a key that would serve better than what serves: its key may have been forgotten. */
static int warn_of_keyless(struct loading *l, const struct certs *certs)
{
    size_t shown = 0;
    for (size_t i = 0; i < l->certs.files.n; i++) {
        const char *path = l->certs.files.list[i].path;
        X509 *cert = l->certs.read[i].n_certs > 0 ? l->certs.read[i].certs[0] : NULL;
        struct certpair p;
        const char *key_path;
        if (!cert) {
            continue;
        }
        if (certpair_init(&p, cert, X509_get0_pubkey(cert), path, path) < 0) {
            return fail(l);
        }
        bool wanted = false;
        if (certpair_is_valid(&p, l->now) && certs_covers(certs, p.names[0])) {
            const struct certpair *now = certs_pair(certs, certs_set(certs, certs_find(certs, p.names[0]))->pair[0]);
            p.modified = l->certs.files.list[i].modified;
            wanted = by_age(&p, now) < 0 && !find_key(l, cert, &key_path);
        }
        if (wanted && shown++ < KEYLESS_SHOWN) {
            cert_say(l->warnings, "Not used: the certificate in '", path, "' is newer than the one that serves ");
            cert_say(l->warnings, "", p.names[0], ", but its private key is not there\n");
        }
        certpair_finish(&p);
    }
    return 0;
}

static int warn(struct loading *l, const struct certs *certs)
{
    for (size_t i = 0; i < certs_count(certs); i++) {
        warn_of_pair(l, certs_pair(certs, i));
    }
    if (l->from->host && !certs_covers(certs, l->from->host)) {
        cert_say(l->warnings, "No certificate covers ", l->from->host, ", the cert_host: ");
        cert_say(l->warnings, "the one for ", certs_pair(certs, certs_set(certs, 0)->pair[0])->names[0], " serves\n");
    }
    return warn_of_keyless(l, certs);
}

/* All of it */

static int choose(struct loading *l, struct certloaded *out, const struct certs *before)
{
    if (before && join_old(l, before) < 0) {
        return -1;
    }
    out->next = next_change(l); /* also of those that do not serve yet */
    if (prefer(l, is_no_authority) < 0 || prefer(l, has_name) < 0 || prefer(l, is_valid) < 0) {
        return -1;
    }
    qsort(l->pairs, l->n_pairs, sizeof(*l->pairs), by_rank);
    size_t newest = 0;
    for (size_t i = 1; i < l->n_pairs; i++) {
        newest = by_age(&l->pairs[i], &l->pairs[newest]) < 0 ? i : newest;
    }
    int r = certs_create(&out->certs, l->pairs, l->n_pairs, l->from->host, newest);
    l->pairs = NULL; /* taken over */
    l->n_pairs = 0;
    return r < 0 ? fail(l) : complete_chains(l, out->certs);
}

int certload(struct certloaded *out, const struct certload *from, const struct certs *before, time_t now,
             struct buf *warnings, struct buf *error)
{
    struct loading l = {
        .from = from,
        .now = now,
        .certs = {.setting = "certfile", .where = from->certfile, .certs = true, .keys = !from->keyfile},
        .keys = {.setting = "keyfile", .where = from->keyfile, .keys = true},
        .warnings = warnings,
        .error = error,
    };
    *out = (struct certloaded){0};
    int r = certsource_read(&l.certs, warnings, error);
    r = r == 0 && l.keys.where ? certsource_read(&l.keys, warnings, error) : r;
    r = r == 0 ? make_pairs(&l) : r;
    r = r == 0 && l.n_pairs == 0 ? explain_none(&l) : r;
    r = r == 0 ? choose(&l, out, before) : r;
    r = r == 0 ? warn(&l, out->certs) : r;
    if (r < 0) {
        certs_destroy(out->certs);
        *out = (struct certloaded){0};
    }
    for (size_t i = 0; i < l.n_pairs; i++) {
        certpair_finish(&l.pairs[i]);
    }
    free(l.pairs);
    certknown_finish(&l.known);
    SSL_CTX_free(l.scratch);
    certsource_finish(&l.certs);
    certsource_finish(&l.keys);
    ERR_clear_error();
    return r;
}

uint64_t certload_print(const struct certload *from)
{
    struct certfiles files = {0};
    files.print = FNV_START;
    certfiles_find(&files, from->certfile);
    if (from->keyfile) {
        certfiles_find(&files, from->keyfile);
    }
    uint64_t print = files.print;
    certfiles_finish(&files);
    return print;
}

static int watch_one(const char *where, struct watch *w)
{
    struct certfiles files = {0};
    int r = certfiles_find(&files, where) == -ENOMEM ? -ENOMEM : watch_add(w, where); /* it may come later */
    for (size_t i = 0; r == 0 && i < files.n_folders; i++) {
        r = watch_add_folder(w, files.folders[i]);
    }
    for (size_t i = 0; r == 0 && i < files.n; i++) {
        if (files.list[i].given || files.list[i].link) {
            r = watch_add(w, files.list[i].path);
        }
    }
    certfiles_finish(&files);
    return r;
}

int certload_watch(const struct certload *from, struct watch *w)
{
    int r = watch_one(from->certfile, w);
    return r == 0 && from->keyfile ? watch_one(from->keyfile, w) : r;
}
