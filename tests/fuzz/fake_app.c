/* fake_app.c - an application that checks every request that it is given, and answers in all ways. */
#include "tests/fuzz/fake_app.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "server/http/body.h"
#include "server/http/chars.h"
#include "server/http/exchange.h"
#include "tests/fuzz/check.h"
#include "tests/fuzz/reread.h"

#define ANSWERS_FROM 4 /* characters of the script's line before them mean something else */

enum kind {
    WITH_LENGTH,
    WITHOUT_LENGTH,
    IN_PIECES,
    IN_PIECES_WITH_LENGTH,
    FAIL_AT_ONCE,
    FAIL_AFTER_HEAD,
    FAIL_LATER,
    TOO_MUCH,
    TOO_LITTLE,
    NO_CONTENT,
    NOT_MODIFIED,
    FROM_FILE,
    FROM_SHORT_FILE,
    STARTED_TWICE,
    ODD_FIELDS,
    COPIED,
    KINDS,
};

static const size_t SIZES[] = {13, 0, 1, 200, 5000, 70000, 900000, 17};
#define N_SIZES (sizeof(SIZES) / sizeof(SIZES[0]))
#define SHORT_FILE 20000
#define TAKEN_OVER_MAX 5000 /* fits the buffers on the way */
#define PIECES 3            /* of the large ones each is more than may wait for a client */
#define MANY_PIECES 200     /* a body of so many bytes comes in as many pieces */

static int pattern_fd = -1;

const char *fake_app_pattern(void)
{
    static char *pattern;
    if (!pattern) {
        pattern = malloc(PATTERN_LEN);
        CHECK(pattern, "memory");
        for (size_t i = 0; i < PATTERN_LEN; i++) {
            pattern[i] = (char)('a' + i % 26);
        }
        pattern_fd = memfd_create("pattern", MFD_CLOEXEC);
        CHECK(pattern_fd >= 0 && write(pattern_fd, pattern, PATTERN_LEN) == PATTERN_LEN, "memfd");
    }
    return pattern;
}

static struct fake_app *from_base(struct app *app)
{
    return (struct fake_app *)((char *)app - offsetof(struct fake_app, app));
}

/* Checking */

static bool is_visible(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if ((unsigned char)s.p[i] <= ' ' || s.p[i] == 0x7f) {
            return false;
        }
    }
    return s.len > 0;
}

static void check_fields(const struct fake_app *a, const struct request *r)
{
    unsigned known[HEADER_COUNT] = {0};
    CHECK(r->n_headers <= a->limits->fields, "%zu fields", r->n_headers);
    for (size_t i = 0; i < r->n_headers; i++) {
        const struct header *h = &r->headers[i];
        CHECK(chars_are_token(h->name) && chars_are_field_text(h->value), "field %zu", i);
        CHECK(h->id == header_lookup(h->name), "the number of field %zu", i);
        CHECK(h->value.len == 0 || !strchr(" \t", h->value.p[0]), "white space before value %zu", i);
        CHECK(h->value.len == 0 || !strchr(" \t", h->value.p[h->value.len - 1]), "white space behind value %zu", i);
        CHECK(!a->limits->field_size || h->id == HEADER_HOST || h->name.len + 1 + h->value.len <= a->limits->field_size,
              "field %zu is too long", i);
        known[h->id]++;
    }
    CHECK(known[HEADER_HOST] <= 1 && known[HEADER_CONTENT_LENGTH] <= 1 && known[HEADER_CONTENT_TYPE] <= 1 &&
              known[HEADER_TRANSFER_ENCODING] <= 1,
          "a field came twice");
    CHECK(known[HEADER_HOST] == 1 || r->minor == 0, "no Host");
    CHECK(!known[HEADER_TRANSFER_ENCODING] || !known[HEADER_CONTENT_LENGTH], "two lengths");
}

static void check_request(const struct fake_app *a, const struct exchange *x)
{
    const struct request *r = &x->request;
    CHECK(x->state == EXCHANGE_RUNNING && !x->aborted, "state %d", x->state);
    CHECK(chars_are_token(r->method), "method");
    CHECK(is_visible(r->target), "target");
    CHECK(r->path.len > 0 ? is_visible(r->path) : str_eq(r->target, STR("*")), "path");
    CHECK(r->query.len == 0 || is_visible(r->query), "query");
    CHECK(r->host.len == 0 || is_visible(r->host), "host");
    CHECK(r->major == 1 && r->minor <= 9, "version %u.%u", r->major, r->minor);
    CHECK(!a->limits->line || r->method.len + r->target.len + 10 <= a->limits->line, "the request line is too long");
    CHECK(!a->limits->body || body_len(x->body) <= a->limits->body, "the body is too long");
    CHECK(r->content_length < 0 || body_len(x->body) == (uint64_t)r->content_length, "the body's length");
    check_fields(a, r);
}

static void note(struct fake_app *a, const struct exchange *x)
{
    const struct request *r = &x->request;
    int e =
        buf_printf(&a->seen, "%.*s %.*s 1.%u keep=%d https=%d continue=%d script=%.*s body=%llu\n", (int)r->method.len,
                   r->method.p, (int)r->target.len, r->target.p, r->minor, r->keep_alive, r->https, r->expect_continue,
                   (int)r->script_name.len, r->script_name.p, (unsigned long long)body_len(x->body));
    for (size_t i = 0; i < r->n_headers; i++) {
        const struct header *h = &r->headers[i];
        e |= buf_printf(&a->seen, "  %.*s: %.*s\n", (int)h->name.len, h->name.p, (int)h->value.len, h->value.p);
    }
    CHECK(e == 0, "memory");
}

/* Answering */

static void on_release(void *owner)
{
    struct fake_app *a = owner;
    CHECK(a->lent > 0, "a chunk was released twice");
    a->lent--;
}

static struct answer *current(struct fake_app *a)
{
    return &a->answers[a->n - 1];
}

static void push(struct fake_app *a, struct response *r, size_t at, size_t len, int fd)
{
    a->lent++;
    const struct chunk c = {.data = fd < 0 ? fake_app_pattern() + current(a)->pattern + at : NULL,
                            .len = len,
                            .fd = fd,
                            .offset = (off_t)(current(a)->pattern + at),
                            .release = on_release,
                            .owner = a};
    CHECK(response_push(r, &c) == 0, "memory");
}

static void start(struct fake_app *a, struct response *r, const char *status)
{
    char number[24];
    CHECK(response_start(r, str_of(status)) == RESPONSE_OK, "status");
    snprintf(number, sizeof(number), "%zu", a->n - 1);
    CHECK(response_add(r, STR("X-Exchange"), str_of(number)) == RESPONSE_OK, "field");
    current(a)->status = r->status;
    current(a)->no_body = r->no_body;
}

static void declare(struct response *r, size_t length)
{
    char number[24];
    snprintf(number, sizeof(number), "%zu", length);
    CHECK(response_add(r, STR("Content-Length"), str_of(number)) == RESPONSE_OK, "length");
}

static enum app_result complete(struct fake_app *a, struct response *r)
{
    response_end(r);
    CHECK(!response_is_short(r), "short");
    current(a)->end = ANSWER_WHOLE;
    return APP_DONE;
}

static enum app_result fail(struct fake_app *a, const struct response *r)
{
    current(a)->end = r->head_sent ? ANSWER_CUT : ANSWER_REPLACED; /* what waits in the queue is dropped */
    return APP_FAILED;
}

static void add_odd_fields(const struct fake_app *a, struct response *r)
{
    static const struct {
        struct str name, value;
        enum response_error error;
    } ROWS[] = {
        {STR("Connection"), STR("upgrade"), RESPONSE_HOP_BY_HOP},
        {STR("TRANSFER-ENCODING"), STR("gzip"), RESPONSE_HOP_BY_HOP},
        {STR("Content-Length"), STR("+5"), RESPONSE_BAD_LENGTH},
        {STR("a b"), STR("x"), RESPONSE_BAD_NAME},
        {STR("X-Forged"), STR("1\r\nX-Second: 2"), RESPONSE_BAD_VALUE},
        {STR("Set-Cookie"), STR("a=\"b\"; Path=/"), RESPONSE_OK},
        {STR("X-Empty"), STR(""), RESPONSE_OK},
    };
    for (size_t i = 0; i < sizeof(ROWS) / sizeof(ROWS[0]); i++) {
        CHECK(response_add(r, ROWS[i].name, ROWS[i].value) == ROWS[i].error, "row %zu", i);
    }
    response_add(r, STR("X-From-Client"), a->script->rest); /* whatever it holds, the head stays whole */
}

/* Speaks for itself, on the socket that was offered, to the end of the connection. */
static enum app_result take_over(struct fake_app *a, struct exchange *x, size_t size)
{
    int fd = x->socket;
    struct answer *answer = current(a);
    x->socket = -1;
    answer->status = 101;
    answer->body = size < TAKEN_OVER_MAX ? size : TAKEN_OVER_MAX;
    answer->end = ANSWER_WHOLE;
    bool said = dprintf(fd, "HTTP/1.1 101 Go\r\nDate: now\r\nServer: x\r\nX-Exchange: %zu\r\nConnection: close\r\n\r\n",
                        a->n - 1) > 0 &&
                write(fd, fake_app_pattern() + answer->pattern, answer->body) == (ssize_t)answer->body;
    CHECK(said, "the application's socket");
    close(fd);
    return APP_FAILED;
}

static enum app_result begin(struct app *app, struct exchange *x)
{
    struct fake_app *a = from_base(app);
    struct response *r = &x->response;
    CHECK(!a->now, "two requests at once");
    a->now = x;
    a->steps++;
    x->app = a;
    check_request(a, x);
    note(a, x);
    a->reread = reread_request(a->raw, a->raw_len, a->reread, x);

    a->answers = realloc(a->answers, (a->n + 1) * sizeof(*a->answers));
    CHECK(a->answers, "memory");
    unsigned c = script_turn(a->script, ANSWERS_FROM, a->n);
    size_t size = SIZES[c / KINDS % N_SIZES];
    enum kind kind = c % KINDS;
    a->answers[a->n] = (struct answer){.pattern = a->n % 26,
                                       .body = size,
                                       .minor = x->request.minor,
                                       .to_head = str_eq(x->request.method, STR("HEAD"))};
    a->n++;
    CHECK(r->to_head == current(a)->to_head, "HEAD");
    a->pieces = a->all_pieces = size == MANY_PIECES ? MANY_PIECES : PIECES;
    CHECK(x->socket < 0 || (x->request.minor > 0 && body_len(x->body) == 0), "a socket, but no WebSocket");
    if (x->socket >= 0 && kind == STARTED_TWICE) {
        return take_over(a, x, size);
    }

    switch (kind) {
    case WITH_LENGTH:
        start(a, r, "200 OK");
        declare(r, size);
        push(a, r, 0, size, -1);
        return complete(a, r);
    case IN_PIECES_WITH_LENGTH:
        start(a, r, "200 OK");
        declare(r, size);
        return APP_MORE;
    case IN_PIECES:
    case FAIL_LATER:
        start(a, r, "203 ");
        return APP_MORE;
    case FAIL_AT_ONCE:
        return fail(a, r);
    case FAIL_AFTER_HEAD:
        start(a, r, "200 OK");
        push(a, r, 0, size, -1);
        return fail(a, r);
    case TOO_MUCH:
        start(a, r, "200 OK");
        declare(r, size);
        push(a, r, 0, size + 5, -1);
        response_end(r);
        current(a)->end = ANSWER_WHOLE;
        return APP_DONE;
    case TOO_LITTLE:
        start(a, r, "200 OK");
        declare(r, size + 5);
        push(a, r, 0, size, -1);
        response_end(r);
        if (response_is_short(r)) {
            return fail(a, r);
        }
        current(a)->end = ANSWER_WHOLE; /* there is no body to be short of */
        return APP_DONE;
    case NO_CONTENT:
    case NOT_MODIFIED:
        start(a, r, kind == NO_CONTENT ? "204 No Content" : "304 Not Modified");
        push(a, r, 0, size, -1);
        return complete(a, r);
    case FROM_FILE:
        start(a, r, "200 OK");
        declare(r, size);
        push(a, r, 0, size, pattern_fd);
        return complete(a, r);
    case FROM_SHORT_FILE:
        start(a, r, "200 OK");
        declare(r, SHORT_FILE + 1);
        current(a)->pattern = PATTERN_LEN - SHORT_FILE;
        current(a)->body = SHORT_FILE;
        push(a, r, 0, SHORT_FILE + 1, pattern_fd); /* one byte more than there is */
        response_end(r);
        current(a)->end = r->no_body ? ANSWER_WHOLE : ANSWER_CUT;
        return APP_DONE;
    case STARTED_TWICE:
        start(a, r, "200 OK");
        declare(r, size + 1);
        start(a, r, "599 Odd But Allowed");
        push(a, r, 0, size, -1);
        return complete(a, r);
    case ODD_FIELDS:
        start(a, r, "200 OK");
        add_odd_fields(a, r);
        push(a, r, 0, size, -1);
        return complete(a, r);
    case COPIED:
        start(a, r, "200 OK");
        CHECK(response_push_copy(r, fake_app_pattern() + current(a)->pattern, size) == 0, "memory");
        return complete(a, r);
    case WITHOUT_LENGTH:
    case KINDS:
        break;
    }
    start(a, r, "200 OK");
    push(a, r, 0, size, -1);
    return complete(a, r);
}

/* One more piece of the body, and an empty one, which means nothing. */
static enum app_result next(struct app *app, struct exchange *x)
{
    struct fake_app *a = from_base(app);
    CHECK(a->now == x && x->app == a && !x->aborted, "another exchange");
    size_t size = current(a)->body, part = size / a->all_pieces, from = (a->all_pieces - a->pieces) * part;
    a->steps++;
    a->pieces--;
    push(a, &x->response, from, 0, -1);
    push(a, &x->response, from, a->pieces ? part : size - from, -1);
    if (a->pieces > 0) {
        return APP_MORE;
    }
    bool fails = script_turn(a->script, ANSWERS_FROM, a->n - 1) % KINDS == FAIL_LATER;
    return fails ? fail(a, &x->response) : complete(a, &x->response);
}

static void end(struct app *app, struct exchange *x)
{
    struct fake_app *a = from_base(app);
    CHECK(a->now == x && x->app == a, "end of another exchange");
    a->now = NULL;
    a->steps++;
    x->app = NULL;
    if (current(a)->end == ANSWER_OPEN) {
        CHECK(x->aborted, "end before the end");
        current(a)->end = ANSWER_ABORTED;
    }
}

static void ignore(struct app *app)
{
    (void)app;
}

static int nothing_pending(const struct app *app)
{
    (void)app;
    return 0;
}

void fake_app_init(struct fake_app *a, const struct script *script, const struct request_limits *limits,
                   const char *raw, size_t raw_len)
{
    fake_app_pattern();
    *a = (struct fake_app){.app = {.attach = ignore,
                                   .detach = ignore,
                                   .leave = ignore,
                                   .begin = begin,
                                   .next = next,
                                   .end = end,
                                   .reap_pending = nothing_pending,
                                   .reap = ignore},
                           .script = script,
                           .limits = limits,
                           .raw = raw,
                           .raw_len = raw_len};
}

void fake_app_finish(struct fake_app *a)
{
    CHECK(!a->now && a->lent == 0, "%zu chunks were never released", a->lent);
    buf_finish(&a->seen);
    free(a->answers);
}
