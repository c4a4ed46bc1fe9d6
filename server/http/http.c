/* http.c - a worker's HTTP context: what all its connections share. */
#include "server/http/http.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/base/log.h"
#include "server/base/sink.h"
#include "server/base/slot.h"
#include "server/base/statsd.h"
#include "server/config/settings.h"
#include "server/http/accesslog.h"
#include "server/http/body.h"
#include "server/http/exchange.h"
#include "server/http/forward.h"
#include "server/http/http1.h"

#define KEEP_FREE 128 /* exchanges, some 10 KiB each, that wait for the next burst */

static int open_log(struct http *h, const struct settings *s)
{
    struct log_writer *writer = log_writer(); /* it knows where the lines go */
    const char *path = writer ? NULL : s->accesslog;
    if (!writer && !path) {
        return 0;
    }
    h->format = accesslog_create(writer ? writer->access_format : s->access_log_format, h->worker);
    int r = h->format ? sink_open(&h->sink, path, path ? STDOUT_FILENO : -1) : -ENOMEM;
    if (r == 0 && writer) {
        sink_divert(h->sink, writer);
    }
    return r;
}

/* Asked for once: while requests are served, the application's threads may change the environment. */
static const char *tmp_dir(const struct settings *s)
{
    const char *dir = s->tmp_upload_dir ? s->tmp_upload_dir : getenv("TMPDIR");
    return dir && *dir ? dir : "/tmp";
}

/* 0 or -ENOMEM. */
static int name_server(struct http *h, const char *name)
{
    char *text;
    int len = asprintf(&text, "\r\nServer: %s\r\nDate: ", name ? name : "cwsgi");
    if (len < 0) {
        return -ENOMEM;
    }
    h->server = (struct str){text, (size_t)len};
    return 0;
}

int http_init(struct http *h, const struct settings *s, struct executor *executor, struct slot *slot, unsigned worker)
{
    *h = (struct http){
        .executor = executor,
        .slot = slot,
        .worker = worker,
        .limits = {.line = (size_t)s->limit_request_line,
                   .field_size = (size_t)s->limit_request_field_size,
                   .fields = (size_t)s->limit_request_fields,
                   .body = (uint64_t)s->limit_request_body},
        .keepalive_ms = (uint64_t)s->keepalive * 1000,
        .header_ms = (uint64_t)s->header_timeout * 1000,
        .body_rate = s->min_body_rate,
        .hsts = s->hsts,
        .own.settings = s,
        .casefold_method = s->casefold_http_method,
        .any_method = s->permit_unconventional_http_method,
    };
    clock_update(&h->clock);
    h->tmp_dir = strdup(tmp_dir(s));
    int r = h->tmp_dir ? name_server(h, s->server_field) : -ENOMEM;
    r = r == 0 ? forward_create(&h->forward, s) : r;
    r = r == 0 ? open_log(h, s) : r;
    if (r < 0) {
        http_finish(h);
    }
    return r;
}

int http_log_to_syslog(struct http *h, const struct settings *s, struct syslog *syslog)
{
    if (!h->sink) {
        h->format = accesslog_create(s->access_log_format, h->worker);
        int r = h->format ? sink_open(&h->sink, NULL, -1) : -ENOMEM;
        if (r < 0) {
            return r;
        }
    }
    sink_copy(h->sink, syslog);
    return 0;
}

void http_finish(struct http *h)
{
    while (h->free) {
        struct exchange *x = h->free;
        h->free = x->next;
        exchange_finish(x);
        free(x);
    }
    accesslog_destroy(h->format);
    sink_close(h->sink);
    forward_destroy(h->forward);
    free(h->tmp_dir);
    free((char *)h->server.p);
    h->tmp_dir = NULL;
    h->server = (struct str){0};
    h->format = NULL;
    h->sink = NULL;
    h->forward = NULL;
}

const struct protocol *http_protocol(void)
{
    return &http1_protocol;
}

struct exchange *http_take(struct http *h)
{
    struct exchange *x = h->free;
    if (x) {
        h->free = x->next;
        h->n_free--;
        x->next = NULL;
    } else {
        x = malloc(sizeof(*x));
        if (!x) {
            return NULL;
        }
        exchange_init(x);
    }
    x->started_us = clock_mono_us();
    x->wants_times = h->format && accesslog_wants_times(h->format);
    x->wanted = h->format ? accesslog_wanted(h->format) : NULL;
    return x;
}

void http_give_back(struct http *h, struct exchange *x)
{
    h->served++;
    if (h->n_free == KEEP_FREE) {
        exchange_finish(x);
        free(x);
        return;
    }
    exchange_reset(x);
    x->next = h->free;
    h->free = x;
    h->n_free++;
}

static void count(struct slot *slot, const struct exchange *x, uint64_t sent, uint64_t took_us)
{
    int hundreds = x->response.status / 100;
    slot_count(slot, COUNT_requests, 1);
    slot_took(slot, took_us);
    if (hundreds >= 1 && hundreds <= 5) { /* 0: the client left before there was one */
        slot_count(slot, COUNT_status_1xx + (enum counter)(hundreds - 1), 1);
    }
    if (sent > 0) {
        slot_count(slot, COUNT_bytes_sent, sent);
    }
    if (x->body) {
        slot_count(slot, COUNT_bytes_received, body_len(x->body));
    }
    if (!x->executor) {
        slot_count(slot, hundreds > 0 ? COUNT_refused : COUNT_aborted, 1);
    } else if (x->aborted) {
        slot_count(slot, COUNT_aborted, 1);
    } else if (x->failed) {
        slot_count(slot, COUNT_errors, 1);
        slot_count(slot, COUNT_broken_off, hundreds != 5);
    }
}

void http_log(struct http *h, const struct exchange *x, uint64_t sent)
{
    uint64_t now_us = clock_mono_us(), took_us = now_us - x->started_us;
    count(h->slot, x, sent, took_us);
    if (h->own.settings->status_path && x->executor && slot_is_slow(h->slot, took_us, now_us)) {
        exchange_note_slow(x, h->slot, now_us);
    }
    if (h->statsd) {
        statsd_request(h->statsd, x->response.status, took_us);
    }
    if (h->sink && !x->told) {
        clock_update(&h->clock);
        sink_added(h->sink, accesslog_format(h->format, sink_lines(h->sink), x, &h->clock, sent, took_us));
    }
}
