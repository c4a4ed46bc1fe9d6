/* stapler.c - gets OCSP answers for the certificates that serve. */
#include "server/process/stapler.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/x509.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "server/base/buf.h"
#include "server/base/clock.h"
#include "server/base/descriptors.h"
#include "server/base/log.h"
#include "server/net/certpair.h"
#include "server/net/certs.h"
#include "server/net/ocsp.h"
#include "server/net/staples.h"
#include "server/net/tls.h"
#include "server/process/news.h"
#include "server/process/renewal.h"
#include "server/process/title.h"

#define ASK_S 10             /* a responder that takes longer does not answer */
#define LOOK_S 60            /* for certificates that are new */
#define RETRY_MIN_S (5 * 60) /* after a failure; then twice as long each time */
#define RETRY_MAX_S (60 * 60)
#define RENEW_MIN_S (60 * 60)

struct entry {           /* one certificate that names a responder */
    X509 *cert, *issuer; /* owned */
    char *responder;     /* owned */
    uint64_t ask_us;     /* not before */
    unsigned retry_s;
};

struct stapler {
    struct renewal *renewal;
    pid_t master;       /* a worker has a copy of this, but no business with it */
    struct entry *list; /* owned */
    size_t n;
    uint64_t look_us;
    pid_t child;     /* 0: nobody is asked */
    int fd;          /* of the child's answer; -1: none */
    uint64_t end_us; /* of its time */
    size_t asked;    /* about list[asked] */
    struct buf answer;
};

static void entry_finish(struct entry *e)
{
    X509_free(e->cert);
    X509_free(e->issuer);
    free(e->responder);
}

struct stapler *stapler_create(struct renewal *renewal)
{
    struct stapler *s = calloc(1, sizeof(*s));
    if (s) {
        s->renewal = renewal;
        s->master = getpid();
        s->fd = -1;
        s->look_us = clock_mono_us() + SECOND_US; /* not while the first worker starts */
    }
    return s;
}

static void end_child(struct stapler *s)
{
    if (s->fd >= 0) {
        close(s->fd);
        s->fd = -1;
    }
    if (s->child > 0 && s->master == getpid()) {
        kill(s->child, SIGKILL); /* it has said all, or its time is over; the master reaps it like any child */
    }
    s->child = 0;
    buf_finish(&s->answer);
}

void stapler_destroy(struct stapler *s)
{
    if (!s) {
        return;
    }
    end_child(s);
    for (size_t i = 0; i < s->n; i++) {
        entry_finish(&s->list[i]);
    }
    free(s->list);
    free(s);
}

/* Which certificates serve now */

/* The entry of this certificate, which is taken out of the list. False: there is none. */
static bool take(struct stapler *s, const X509 *cert, struct entry *out)
{
    for (size_t i = 0; i < s->n; i++) {
        if (s->list[i].cert && X509_cmp(s->list[i].cert, cert) == 0) {
            *out = s->list[i];
            s->list[i] = (struct entry){0};
            return true;
        }
    }
    return false;
}

/* False: it names no responder, or memory is short, and the next look may have more luck. */
static bool make(const struct certpair *p, struct entry *out)
{
    X509 *issuer = p->chain ? sk_X509_value(p->chain, 0) : NULL;
    char *responder = issuer ? ocsp_responder(p->cert) : NULL;
    if (!responder) {
        return false;
    }
    X509_up_ref(p->cert);
    X509_up_ref(issuer);
    *out = (struct entry){.cert = p->cert, .issuer = issuer, .responder = responder, .retry_s = RETRY_MIN_S};
    return true;
}

static void look(struct stapler *s)
{
    const struct certs *certs = renewal_certs(s->renewal);
    size_t n = 0, max = certs_count(certs);
    struct entry *list = calloc(max + 1, sizeof(*list));
    for (size_t i = 0; list && i < max; i++) {
        const struct certpair *p = certs_pair(certs, i);
        n += take(s, p->cert, &list[n]) || make(p, &list[n]);
    }
    if (!list) {
        return;
    }
    for (size_t i = 0; i < s->n; i++) {
        entry_finish(&s->list[i]); /* of certificates that serve no more */
    }
    free(s->list);
    s->list = list;
    s->n = n;
}

/* Asking */

/* In the child, which has nothing of the server's but memory: no port, no log. */
static _Noreturn void ask(const struct entry *e, int out, pid_t master)
{
    struct buf answer = {0};
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != master || dup2(out, 3) < 0) {
        _exit(1);
    }
    descriptors_close_from(4);
    int r = ocsp_ask(e->responder, e->cert, e->issuer, ASK_S, &answer);
    const char *at = answer.data;
    for (size_t left = r == 0 ? answer.len : 0; left > 0;) {
        ssize_t n = write(3, at, left);
        if (n <= 0) {
            break;
        }
        at += n;
        left -= (size_t)n;
    }
    _exit(r == 0 ? 0 : 1);
}

static void put_off(struct entry *e, uint64_t now, const char *why)
{
    log_debug("OCSP: no answer to send along from %s: %s; asked again in %u s", e->responder, why, e->retry_s);
    e->ask_us = now + e->retry_s * SECOND_US;
    e->retry_s = e->retry_s * 2 < RETRY_MAX_S ? e->retry_s * 2 : RETRY_MAX_S;
}

static void start(struct stapler *s, size_t i, uint64_t now)
{
    struct entry *e = &s->list[i];
    int pipe_fd[2];
    if (pipe2(pipe_fd, O_CLOEXEC | O_NONBLOCK) < 0) {
        put_off(e, now, strerror(errno));
        return;
    }
    pid_t pid = fork();
    if (pid == 0) {
        fcntl(pipe_fd[1], F_SETFL, 0);
        title_hide();
        ask(e, pipe_fd[1], s->master);
    }
    close(pipe_fd[1]);
    if (pid < 0) {
        close(pipe_fd[0]);
        put_off(e, now, strerror(errno));
        return;
    }
    s->child = pid;
    s->fd = pipe_fd[0];
    s->asked = i;
    s->end_us = now + (ASK_S + 2) * SECOND_US;
    e->ask_us = UINT64_MAX; /* until it is known */
}

static void take_answer(struct stapler *s, uint64_t now)
{
    struct entry *e = &s->list[s->asked];
    time_t wall = time(NULL), fresh_until = 0, renew_at = 0;
    const char *why = "it does not answer";
    if (s->answer.len == 0 ||
        ocsp_judge(s->answer.data, s->answer.len, e->cert, e->issuer, wall, &fresh_until, &renew_at, &why) < 0) {
        put_off(e, now, why);
        return;
    }
    time_t wait = renew_at > wall + RENEW_MIN_S ? renew_at - wall : RENEW_MIN_S;
    wait = wait < fresh_until - wall ? wait : fresh_until - wall;
    e->ask_us = now + (uint64_t)wait * SECOND_US;
    e->retry_s = RETRY_MIN_S;
    staples_put(tls_context_staples(renewal_tls(s->renewal)), e->cert, s->answer.data, s->answer.len, fresh_until);
    log_debug("OCSP: the answer of %s is sent along", e->responder);
}

/* True when the child has said all, or may not say more. */
static bool listen_to_child(struct stapler *s, uint64_t now)
{
    char piece[1024];
    ssize_t n;
    while ((n = read(s->fd, piece, sizeof(piece))) > 0) {
        if (s->answer.len + (size_t)n > OCSP_MAX || buf_append(&s->answer, piece, (size_t)n) < 0) {
            buf_finish(&s->answer);
            return true;
        }
    }
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        if (now < s->end_us) {
            return false;
        }
        buf_finish(&s->answer);
    }
    return true;
}

uint64_t stapler_deadline(const struct stapler *s)
{
    if (!s) {
        return 0;
    }
    if (s->child > 0) {
        return s->end_us;
    }
    uint64_t at = s->look_us;
    for (size_t i = 0; i < s->n; i++) {
        at = s->list[i].ask_us < at ? s->list[i].ask_us : at;
    }
    return at > 0 ? at : 1;
}

void stapler_await(const struct stapler *s, struct news *news)
{
    if (s) {
        news_add(news, s->fd, POLLIN);
    }
}

void stapler_turn(struct stapler *s, uint64_t now)
{
    if (!s) {
        return;
    }
    if (s->child > 0) {
        if (!listen_to_child(s, now)) {
            return;
        }
        take_answer(s, now);
        end_child(s);
    }
    if (now >= s->look_us) {
        s->look_us = now + LOOK_S * SECOND_US;
        look(s);
    }
    for (size_t i = 0; i < s->n && s->child == 0; i++) {
        if (now >= s->list[i].ask_us) {
            start(s, i, now);
        }
    }
}
