/* ocsp.c - what a certificate's authority says of it. */
#include "server/net/ocsp.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/http.h>
#include <openssl/ocsp.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "server/base/buf.h"
#include "server/net/certpair.h"

#define SKEW_S 300 /* clocks differ */

char *ocsp_responder(const X509 *cert)
{
    char *url = NULL;
    STACK_OF(OPENSSL_STRING) *urls = X509_get1_ocsp((X509 *)cert); /* it only reads */
    for (int i = 0; !url && i < sk_OPENSSL_STRING_num(urls); i++) {
        const char *candidate = sk_OPENSSL_STRING_value(urls, i);
        url = strncmp(candidate, "http://", 7) == 0 ? strdup(candidate) : NULL;
    }
    X509_email_free(urls);
    return url;
}

static OCSP_REQUEST *make_request(X509 *cert, const X509 *issuer)
{
    OCSP_REQUEST *request = OCSP_REQUEST_new();
    OCSP_CERTID *id = OCSP_cert_to_id(EVP_sha1(), cert, issuer); /* what every responder knows: RFC 5019 2.1.1 */
    if (!request || !id || !OCSP_request_add0_id(request, id)) {
        OCSP_CERTID_free(id);
        OCSP_REQUEST_free(request);
        return NULL;
    }
    return request;
}

static BIO *request_as_bytes(X509 *cert, const X509 *issuer)
{
    OCSP_REQUEST *request = make_request(cert, issuer);
    BIO *out = request ? BIO_new(BIO_s_mem()) : NULL;
    if (out && !i2d_OCSP_REQUEST_bio(out, request)) {
        BIO_free(out);
        out = NULL;
    }
    OCSP_REQUEST_free(request);
    return out;
}

static int take(BIO *in, struct buf *out)
{
    char piece[1024];
    int n, r = 0;
    while (r == 0 && (n = BIO_read(in, piece, sizeof(piece))) > 0) {
        r = out->len + (size_t)n > OCSP_MAX ? -EMSGSIZE : buf_append(out, piece, (size_t)n);
    }
    return r;
}

int ocsp_ask(const char *responder, X509 *cert, const X509 *issuer, int seconds, struct buf *out)
{
    char *host = NULL, *port = NULL, *path = NULL;
    int https = 0, r = -EHOSTUNREACH;
    BIO *answer = NULL, *request = request_as_bytes(cert, issuer);
    if (request && OSSL_HTTP_parse_url(responder, &https, NULL, &host, &port, NULL, &path, NULL, NULL) && !https) {
        answer = OSSL_HTTP_transfer(NULL, host, port, path, 0, NULL, NULL, NULL, NULL, NULL, NULL, 0, NULL,
                                    "application/ocsp-request", request, "application/ocsp-response", 1, OCSP_MAX,
                                    seconds, 0);
    }
    if (answer) {
        r = take(answer, out);
    }
    BIO_free(answer);
    BIO_free(request);
    OPENSSL_free(host);
    OPENSSL_free(port);
    OPENSSL_free(path);
    ERR_clear_error();
    return r;
}

/* Signed by the issuer, or by whom it has put in charge of that. */
static bool is_signed(OCSP_BASICRESP *basic, X509 *issuer)
{
    X509_STORE *store = X509_STORE_new();
    STACK_OF(X509) *others = sk_X509_new_null();
    bool ok = store && others && sk_X509_push(others, issuer) && X509_STORE_add_cert(store, issuer) == 1 &&
              X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN) == 1 &&
              OCSP_basic_verify(basic, others, store, 0) == 1;
    sk_X509_free(others);
    X509_STORE_free(store);
    return ok;
}

static int judge_basic(OCSP_BASICRESP *basic, X509 *cert, X509 *issuer, time_t now, time_t *fresh_until,
                       time_t *renew_at, const char **why)
{
    ASN1_GENERALIZEDTIME *from = NULL, *until = NULL;
    int status = V_OCSP_CERTSTATUS_UNKNOWN, reason;
    OCSP_CERTID *id = OCSP_cert_to_id(EVP_sha1(), cert, issuer);
    int found = id ? OCSP_resp_find_status(basic, id, &status, &reason, NULL, &from, &until) : 0;
    OCSP_CERTID_free(id);
    *why = !found                                ? "it is about another certificate"
           : status == V_OCSP_CERTSTATUS_REVOKED ? "the certificate is revoked"
           : status != V_OCSP_CERTSTATUS_GOOD    ? "it does not know the certificate"
           : !until                              ? "it does not say until when it is good"
           : !is_signed(basic, issuer)           ? "its signature is wrong"
                                                 : NULL;
    if (*why) {
        return -1;
    }
    time_t begin = cert_time(from), end = cert_time(until);
    if (begin > now + SKEW_S || end <= now || end <= begin) {
        *why = "it is of another time";
        return -1;
    }
    *fresh_until = end;
    *renew_at = begin + (end - begin) / 2;
    return 0;
}

int ocsp_judge(const void *answer, size_t len, X509 *cert, X509 *issuer, time_t now, time_t *fresh_until,
               time_t *renew_at, const char **why)
{
    const unsigned char *p = answer;
    OCSP_RESPONSE *response = d2i_OCSP_RESPONSE(NULL, &p, (long)len);
    OCSP_BASICRESP *basic = NULL;
    int r = -1;
    *why = "it is not an OCSP answer";
    if (response && OCSP_response_status(response) != OCSP_RESPONSE_STATUS_SUCCESSFUL) {
        *why = OCSP_response_status_str(OCSP_response_status(response));
    } else if (response && (basic = OCSP_response_get1_basic(response))) {
        r = judge_basic(basic, cert, issuer, now, fresh_until, renew_at, why);
    }
    OCSP_BASICRESP_free(basic);
    OCSP_RESPONSE_free(response);
    ERR_clear_error();
    return r;
}
