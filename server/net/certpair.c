/* certpair.c - a certificate with its private key and its chain. */
#include "server/net/certpair.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/ascii.h"
#include "server/base/buf.h"

#define CHAIN_MAX 10
#define NAMES_SHOWN 4
#define DAY 86400

time_t cert_time(const ASN1_TIME *t)
{
    struct tm tm;
    return ASN1_TIME_to_tm(t, &tm) == 1 ? timegm(&tm) : 0;
}

long cert_days(time_t until, time_t now)
{
    return (long)(until > now ? (until - now + DAY - 1) / DAY : (until - now) / DAY);
}

/* Names */

/* 0 or -ENOMEM. Names that no client could ask for are left out. */
static int add_name(struct certpair *p, const char *name, size_t len)
{
    if (len == 0 || len > 255) {
        return 0;
    }
    for (size_t i = 0; i < len; i++) {
        if (!ascii_is_letter(name[i]) && !ascii_is_digit(name[i]) && !strchr("-_.*:", name[i])) {
            return 0; /* NUL among them */
        }
    }
    char **more = reallocarray(p->names, p->n_names + 1, sizeof(*more));
    if (!more) {
        return -ENOMEM;
    }
    p->names = more;
    char *copy = strndup(name, len);
    if (!copy) {
        return -ENOMEM;
    }
    for (char *c = copy; *c; c++) {
        *c = ascii_lower(*c);
    }
    p->names[p->n_names++] = copy;
    return 0;
}

static int add_general_name(struct certpair *p, const GENERAL_NAME *name)
{
    char text[INET6_ADDRSTRLEN] = "";
    if (name->type == GEN_DNS) {
        const ASN1_IA5STRING *s = name->d.dNSName;
        return add_name(p, (const char *)ASN1_STRING_get0_data(s), (size_t)ASN1_STRING_length(s));
    }
    if (name->type == GEN_IPADD) {
        const ASN1_OCTET_STRING *s = name->d.iPAddress;
        int len = ASN1_STRING_length(s);
        if (len == 4 || len == 16) {
            inet_ntop(len == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(s), text, sizeof(text));
        }
        return add_name(p, text, strlen(text));
    }
    return 0;
}

/* RFC 6125 6.4.4: the subject's common name counts only where there is no other. */
static int add_common_name(struct certpair *p)
{
    X509_NAME *subject = X509_get_subject_name(p->cert);
    int r = 0, at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    unsigned char *text = NULL;
    int len = at < 0 ? -1 : ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
    if (len > 0) {
        r = add_name(p, (const char *)text, (size_t)len);
    }
    OPENSSL_free(text);
    return r;
}

static int read_names(struct certpair *p)
{
    int r = 0;
    GENERAL_NAMES *names = X509_get_ext_d2i(p->cert, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; r == 0 && i < sk_GENERAL_NAME_num(names); i++) {
        r = add_general_name(p, sk_GENERAL_NAME_value(names, i));
    }
    GENERAL_NAMES_free(names);
    if (r == 0 && p->n_names == 0) {
        r = add_common_name(p);
    }
    if (r == 0 && p->n_names == 0) {
        p->names = calloc(1, sizeof(*p->names));
        if (!p->names || !(p->names[0] = strdup(""))) {
            return -ENOMEM;
        }
        p->n_names = 1;
    }
    ERR_clear_error();
    return r;
}

/* Life */

int certpair_init(struct certpair *p, X509 *cert, EVP_PKEY *key, const char *cert_path, const char *key_path)
{
    *p = (struct certpair){
        .cert = cert,
        .key = key,
        .cert_path = strdup(cert_path),
        .key_path = strdup(key_path),
        .not_before = cert_time(X509_get0_notBefore(cert)),
        .not_after = cert_time(X509_get0_notAfter(cert)),
        .type = EVP_PKEY_get_base_id(key),
    };
    X509_up_ref(cert);
    EVP_PKEY_up_ref(key);
    if (!p->cert_path || !p->key_path || read_names(p) < 0) {
        certpair_finish(p);
        return -ENOMEM;
    }
    return 0;
}

int certpair_copy(struct certpair *to, const struct certpair *from)
{
    int r = certpair_init(to, from->cert, from->key, from->cert_path, from->key_path);
    if (r < 0) {
        return r;
    }
    to->modified = from->modified;
    to->kept = from->kept;
    to->gone = from->gone;
    if (from->chain && !(to->chain = X509_chain_up_ref(from->chain))) {
        certpair_finish(to);
        return -ENOMEM;
    }
    return 0;
}

void certpair_finish(struct certpair *p)
{
    for (size_t i = 0; i < p->n_names; i++) {
        free(p->names[i]);
    }
    free(p->names);
    free(p->cert_path);
    free(p->key_path);
    X509_free(p->cert);
    EVP_PKEY_free(p->key);
    sk_X509_pop_free(p->chain, X509_free);
    *p = (struct certpair){0};
}

bool certpair_is_valid(const struct certpair *p, time_t now)
{
    return p->not_before <= now && now < p->not_after;
}

bool certpair_same(const struct certpair *p, const struct certpair *q)
{
    int n = p->chain ? sk_X509_num(p->chain) : 0;
    if (X509_cmp(p->cert, q->cert) != 0 || n != (q->chain ? sk_X509_num(q->chain) : 0)) {
        return false;
    }
    for (int i = 0; i < n; i++) {
        if (X509_cmp(sk_X509_value(p->chain, i), sk_X509_value(q->chain, i)) != 0) {
            return false;
        }
    }
    return true;
}

/* The chain */

static bool is_root(X509 *cert)
{
    return X509_check_issued(cert, cert) == X509_V_OK;
}

static bool is_among(X509 *cert, X509 *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (X509_cmp(cert, list[i]) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_in_chain(const struct certpair *p, X509 *cert)
{
    for (int i = 0; p->chain && i < sk_X509_num(p->chain); i++) {
        if (X509_cmp(sk_X509_value(p->chain, i), cert) == 0) {
            return true;
        }
    }
    return X509_cmp(p->cert, cert) == 0;
}

/* Name and key identifier fit, and the signature was made with its key. */
static bool has_issued(X509 *issuer, X509 *cert)
{
    EVP_PKEY *key = X509_get0_pubkey(issuer);
    return X509_check_issued(issuer, cert) == X509_V_OK && key && X509_verify(cert, key) == 1;
}

X509 *certpair_top(const struct certpair *p)
{
    int n = p->chain ? sk_X509_num(p->chain) : 0;
    return n > 0 ? sk_X509_value(p->chain, n - 1) : p->cert;
}

/* Of several with the same key (renewed, or signed by another root) the best; NULL: none. */
static X509 *find_issuer(const struct certpair *p, X509 *const *known, size_t n_known, X509 *const *beside,
                         size_t n_beside, time_t now)
{
    X509 *best = NULL;
    int best_rank = -1;
    for (size_t i = 0; i < n_known; i++) {
        X509 *c = known[i];
        if (X509_NAME_cmp(X509_get_subject_name(c), X509_get_issuer_name(certpair_top(p))) != 0 || is_in_chain(p, c)) {
            continue;
        }
        bool valid = cert_time(X509_get0_notBefore(c)) <= now && now < cert_time(X509_get0_notAfter(c));
        int rank = is_among(c, beside, n_beside) * 4 + valid * 2 + is_root(c);
        if (rank > best_rank && has_issued(c, certpair_top(p))) { /* a signature takes the longest, so it comes last */
            best = c;
            best_rank = rank;
        }
    }
    return best;
}

int certpair_complete(struct certpair *p, X509 *const *known, size_t n_known, X509 *const *beside, size_t n_beside,
                      time_t now)
{
    while (!is_root(certpair_top(p)) && (!p->chain || sk_X509_num(p->chain) < CHAIN_MAX)) {
        X509 *issuer = find_issuer(p, known, n_known, beside, n_beside, now);
        if (!issuer || (is_root(issuer) && !is_among(issuer, beside, n_beside))) {
            break;
        }
        if (!p->chain) {
            p->chain = sk_X509_new_null();
        }
        if (!p->chain || !X509_add_cert(p->chain, issuer, X509_ADD_FLAG_UP_REF)) {
            return -ENOMEM;
        }
    }
    ERR_clear_error();
    return 0;
}

/* For people */

int cert_print(struct buf *out, const char *text)
{
    int r = 0;
    for (const char *c = text; r == 0 && *c; c++) {
        r = ascii_is_control(*c) ? buf_printf(out, "\\x%02x", (unsigned char)*c) : buf_append(out, c, 1);
    }
    return r;
}

int cert_say(struct buf *out, const char *before, const char *text, const char *after)
{
    int r = buf_puts(out, before);
    r = r == 0 ? cert_print(out, text) : r;
    return r == 0 ? buf_puts(out, after) : r;
}

static void print_kind(const struct certpair *p, struct buf *out)
{
    char curve[32] = "";
    if (p->type == EVP_PKEY_EC) {
        EVP_PKEY_get_group_name(p->key, curve, sizeof(curve), NULL);
        int nid = OBJ_txt2nid(curve);
        const char *nist = EC_curve_nid2nist(nid);
        buf_printf(out, "ECDSA %s", nist ? nist : curve);
    } else if (p->type == EVP_PKEY_RSA) {
        buf_printf(out, "RSA %d", EVP_PKEY_get_bits(p->key));
    } else {
        const char *name = OBJ_nid2sn(p->type);
        buf_puts(out, name ? name : "another kind of key");
    }
}

int certpair_describe(const struct certpair *p, time_t now, struct buf *out)
{
    struct tm tm;
    char date[32];
    size_t shown = p->n_names <= NAMES_SHOWN + 1 ? p->n_names : NAMES_SHOWN;
    for (size_t i = 0; i < shown; i++) {
        buf_printf(out, "%s%s", i > 0 ? ", " : "", *p->names[i] ? p->names[i] : "no name");
    }
    if (shown < p->n_names) {
        buf_printf(out, " and %zu more", p->n_names - shown);
    }
    buf_puts(out, " (");
    print_kind(p, out);
    gmtime_r(&p->not_after, &tm);
    strftime(date, sizeof(date), "%Y-%m-%d %H:%M UTC", &tm);
    long days = cert_days(p->not_after, now);
    if (now >= p->not_after) {
        return buf_printf(out, ") until %s (expired)", date);
    }
    return buf_printf(out, ") until %s (%ld day%s)", date, days, days == 1 ? "" : "s");
}
