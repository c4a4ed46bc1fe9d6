/* test_accesslog.c - what each atom of a format prints, and what becomes of hostile values and broken formats. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/base/buf.h"
#include "server/base/clock.h"
#include "server/http/accesslog.h"
#include "server/http/exchange.h"
#include "server/net/peer.h"

#define DEFAULT_FORMAT "%(h)s %(l)s %(u)s %(t)s \"%(r)s\" %(s)s %(b)s \"%(f)s\" \"%(a)s\""
#define SENT 13
#define TOOK_US 12034567

static const struct clock now = {
    .log_time = "22/Nov/2026:23:35:47 +0000", .iso_time = "2026-11-22T23:35:47.000+00:00", .ms = 120};
static const struct peer peer = {
    .addr = "192.0.2.7", .port = 40000, .server_port = 80, .server_addr = "192.0.2.1", .number = 5};

struct row {
    const char *format, *line;
};

/* An answered request; its header fields are in `headers`, with room for one more. */
struct fixture {
    struct exchange x;
    struct header headers[8];
};

static void set_header(struct fixture *f, size_t i, const char *name, struct str value)
{
    f->headers[i] = (struct header){.name = str_of(name), .value = value, .id = header_lookup(str_of(name))};
    f->x.request.n_headers = f->x.request.n_headers > i ? f->x.request.n_headers : i + 1;
}

static int begin(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    if (!f) {
        return -1;
    }
    exchange_init(&f->x);
    f->x.peer = &peer;
    struct request *r = &f->x.request;
    r->method = STR("GET");
    r->target = STR("/hello%20you?a=1&b=2");
    r->path = STR("/hello%20you");
    r->query = STR("a=1&b=2");
    r->major = r->minor = 1;
    r->headers = f->headers;
    set_header(f, 0, "Host", STR("example.org"));
    set_header(f, 1, "USER-agent", STR("curl/7.88.1"));
    set_header(f, 2, "Referer", STR("http://example.org/"));
    set_header(f, 3, "Authorization", STR("Basic YWRhOmxvdmVsYWNl")); /* ada:lovelace */
    set_header(f, 4, "X-Two-Words", STR("deux mots"));

    struct response *answer = &f->x.response;
    *state = f;
    return response_start(answer, STR("200 OK")) || response_add(answer, STR("Content-Type"), STR("text/plain")) ||
           response_add(answer, STR("Content-Length"), STR("13"));
}

static int end(void **state)
{
    struct fixture *f = *state;
    exchange_finish(&f->x);
    free(f);
    return 0;
}

static void prints(const struct fixture *f, const char *format, const char *line)
{
    struct buf out = {0};
    char *copy = strdup(format);
    struct accesslog *a = accesslog_create(copy, 7);
    assert_non_null(a);
    memset(copy, '%', strlen(copy)); /* the format was copied */
    free(copy);
    assert_int_equal(accesslog_format(a, &out, &f->x, &now, SENT, TOOK_US), 0);
    assert_true(out.len > 0 && out.data[out.len - 1] == '\n');
    out.data[out.len - 1] = '\0';
    if (strcmp(out.data, line) != 0) {
        fail_msg("%s printed '%s' instead of '%s'", format, out.data, line);
    }
    buf_finish(&out);
    accesslog_destroy(a);
}

static void print_all(const struct fixture *f, const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        prints(f, rows[i].format, rows[i].line);
    }
}

#define PRINT_ALL(f, rows) print_all(f, rows, sizeof(rows) / sizeof((rows)[0]))

static void test_default_format_is_gunicorns(void **state)
{
    struct fixture *f = *state;
    prints(f, DEFAULT_FORMAT,
           "192.0.2.7 - ada [22/Nov/2026:23:35:47 +0000] \"GET /hello%20you?a=1&b=2 HTTP/1.1\" 200 13 "
           "\"http://example.org/\" \"curl/7.88.1\"");
}

static void test_every_atom_prints_its_value(void **state)
{
    static const struct row rows[] = {
        {"%(h)s", "192.0.2.7"},
        {"%(l)s", "-"},
        {"%(u)s", "ada"},
        {"%(t)s", "[22/Nov/2026:23:35:47 +0000]"},
        {"%(r)s", "GET /hello%20you?a=1&b=2 HTTP/1.1"},
        {"%(s)s", "200"},
        {"%(m)s", "GET"},
        {"%(U)s", "/hello%20you"},
        {"%(q)s", "a=1&b=2"},
        {"%(H)s", "HTTP/1.1"},
        {"%(b)s", "13"},
        {"%(B)s", "13"},
        {"%(f)s", "http://example.org/"},
        {"%(a)s", "curl/7.88.1"},
        {"%(T)s", "12"},
        {"%(D)s", "12034567"},
        {"%(M)s", "12034"},
        {"%(L)s", "12.034567"},
        {"%(s)5s|%(s)-5s|%(s)2s", "  200|200  |200"},
        {"%(s)5", "%(s)5"},
        {"%(D)d", "12034567"}, /* the letter of the conversion does not matter */
    };
    char pid[32];
    PRINT_ALL(*state, rows);
    snprintf(pid, sizeof(pid), "<%ld>", (long)getpid());
    prints(*state, "%(p)s", pid);
}

static void test_headers_are_found_in_any_case(void **state)
{
    static const struct row rows[] = {
        {"%({host}i)s", "example.org"},
        {"%({X-TWO-words}i)s", "deux mots"},
        {"%({missing}i)s", "-"},
        {"%({}i)s", "-"},
        {"%({content-type}o)s", "text/plain"},
        {"%({X-Missing}o)s", "-"},
        {"%({Content-Type}i)s", "-"},
        {"%({Host}o)s", "-"},
    };
    PRINT_ALL(*state, rows);
}

static void test_content_length_is_a_response_header_as_any_other(void **state)
{
    prints(*state, "%({Content-Length}o)s", "13");
}

static void test_variables_of_the_request_are_known(void **state)
{
    static const struct row rows[] = {
        {"%({REQUEST_METHOD}e)s", "GET"},        {"%({PATH_INFO}e)s", "/hello%20you"},
        {"%({QUERY_STRING}e)s", "a=1&b=2"},      {"%({RAW_URI}e)s", "/hello%20you?a=1&b=2"},
        {"%({REMOTE_ADDR}e)s", "192.0.2.7"},     {"%({wsgi.url_scheme}e)s", "http"},
        {"%({HTTP_HOST}e)s", "example.org"},     {"%({HTTP_X_TWO_WORDS}e)s", "deux mots"},
        {"%({CONTENT_LENGTH}e)s", "-"},          {"%({HTTP_}e)s", "-"},
        {"%({made.by.the.application}e)s", "-"},
    };
    PRINT_ALL(*state, rows);
}

static void test_variables_are_found_in_any_case(void **state)
{
    static const struct row rows[] = {
        {"%({request_method}e)s", "GET"},
        {"%({http_host}e)s", "example.org"},
        {"%({WSGI.URL_SCHEME}e)s", "http"},
    };
    PRINT_ALL(*state, rows);
}

static void test_ports_and_protocol_are_variables_of_the_request(void **state)
{
    static const struct row rows[] = {
        {"%({SERVER_PROTOCOL}e)s", "HTTP/1.1"},
        {"%({SERVER_PORT}e)s", "80"},
        {"%({REMOTE_PORT}e)s", "40000"},
    };
    PRINT_ALL(*state, rows);
}

static void test_what_a_front_end_said_is_shown(void **state)
{
    static const struct row rows[] = {
        {"%({wsgi.url_scheme}e)s", "https"},
        {"%({HTTP_REMOTE_USER}e)s", "grace"},
        {"%({Remote_User}i)s", "grace"},
        {"%({HTTP_X_TWO_WORDS}e)s", "deux mots"},
    };
    struct fixture *f = *state;
    f->x.request.https = f->x.request.aliases = true;
    set_header(f, 5, "Remote_User", STR("grace"));
    PRINT_ALL(f, rows);
}

static void test_overlong_variable_name_is_unknown(void **state)
{
    char name[301], format[400];
    memset(name, 'X', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    snprintf(format, sizeof(format), "%%({HTTP_%s}e)s", name);
    prints(*state, format, "-");
}

static void test_unknown_atoms_print_a_dash(void **state)
{
    static const struct row rows[] = {
        {"%(z)s", "-"}, {"%(hh)s", "-"},      {"%()s", "-"},
        {"%(1)s", "-"}, {"%({Host}q)s", "-"}, {"%({REMOTE_ADDR}q)s", "-"},
    };
    PRINT_ALL(*state, rows);
}

static void test_names_in_braces_that_are_no_atom_print_a_dash(void **state)
{
    static const struct row rows[] = {
        {"%({Host})s", "-"},
        {"%({Host}ii)s", "-"},
        {"%({Host)s", "-"},
    };
    PRINT_ALL(*state, rows);
}

static void test_broken_formats_are_text(void **state)
{
    static const struct row rows[] = {
        {"", ""},         {"text", "text"}, {"%", "%"},   {"100%", "100%"},     {"%(", "%("},
        {"%(h", "%(h"},   {"%(h)", "%(h)"}, {"%h", "%h"}, {"%(h) s", "%(h) s"}, {"a%(h)sb", "a192.0.2.7b"},
        {"%(%(h)s", "-"},
    };
    PRINT_ALL(*state, rows);
}

static void test_two_percent_signs_are_one(void **state)
{
    static const struct row rows[] = {
        {"%%", "%"},   {"100%% %(s)s", "100% 200"}, {"%%(h)s", "%(h)s"}, {"%%%(s)s%%", "%200%"}, {"%%%%", "%%"},
        {"%%%", "%%"},
    };
    PRINT_ALL(*state, rows);
}

static void test_hostile_values_are_escaped(void **state)
{
    static const struct {
        struct str value;
        const char *printed;
    } rows[] = {
        {{"say \"hi\"", 8}, "say \\\"hi\\\""},
        {{"a\\b", 3}, "a\\x5Cb"},
        {{"\\\"", 2}, "\\x5C\\\""},
        {{"a\nb\rc", 5}, "a\\x0Ab\\x0Dc"},
        {{"\0\x1b[2J\x7f\t", 7}, "\\x00\\x1B[2J\\x7F\\x09"},
        {{"caf\xc3\xa9 \xff", 7}, "caf\xc3\xa9 \xff"},
        {{"\"", 1}, "\\\""},
        {{"", 0}, ""},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        set_header(f, 1, "User-Agent", rows[i].value);
        prints(f, "%(a)s", rows[i].printed);
        prints(f, "%({User-Agent}i)s", rows[i].printed);
        prints(f, "%({HTTP_USER_AGENT}e)s", rows[i].printed);
    }
}

static void test_no_byte_from_outside_breaks_a_line(void **state)
{
    struct fixture *f = *state;
    char all[256];
    for (int c = 0; c < 256; c++) {
        all[c] = (char)c;
    }
    struct str s = {all, sizeof(all)};
    struct request *r = &f->x.request;
    r->method = r->target = r->path = r->query = s;
    for (size_t i = 0; i < 5; i++) {
        f->headers[i].value = s;
    }
    f->x.response.fields[0].value = s;
    struct accesslog *a = accesslog_create(DEFAULT_FORMAT " %(m)s %(U)s %(q)s %({Host}i)s %({Content-Type}o)s "
                                                          "%({HTTP_X_TWO_WORDS}e)s %({PATH_INFO}e)s %({RAW_URI}e)s",
                                           7);
    struct buf out = {0};
    assert_int_equal(accesslog_format(a, &out, &f->x, &now, SENT, TOOK_US), 0);
    int quotes = 0;
    for (size_t i = 0; i < out.len - 1; i++) {
        assert_true((unsigned char)out.data[i] >= ' ' && out.data[i] != 0x7f);
        if (out.data[i] == '\\') {
            i++;
            assert_true(out.data[i] == '"' || out.data[i] == 'x');
        } else if (out.data[i] == '"') {
            quotes++;
        }
    }
    assert_int_equal(quotes, 6); /* those of the format */
    buf_finish(&out);
    accesslog_destroy(a);
}

static void test_user_is_read_from_basic_credentials(void **state)
{
    static const struct {
        const char *value, *user;
    } rows[] = {
        {"Basic YWRhOmxvdmVsYWNl", "ada"},
        {"basic YWRhOmxvdmVsYWNl", "ada"},
        {"Basic YTo=", "a"},
        {"Basic YToxOjI=", "a"}, /* a:1:2 */
        {"Basic OnB3", "-"},     /* :pw */
        {"Basic YWRh", "ada"},   /* no colon */
        {"Basic YWQ=", "ad"},
        {"Basic IgpcOnB3", "\\\"\\x0A\\x5C"}, /* "\n\:pw */
        {"Basic !!!!", "-"},
        {"Basic ", "-"},
        {"Basic", "-"},
        {"Bearer YWRhOmxvdmVsYWNl", "-"},
        {"", "-"},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        set_header(f, 3, "Authorization", str_of(rows[i].value));
        prints(f, "%(u)s", rows[i].user);
    }
    char longest[6000] = "Basic ";
    memset(longest + 6, 'A', sizeof(longest) - 7);
    set_header(f, 3, "Authorization", str_of(longest));
    prints(f, "%(u)s", "-");
}

static void test_unanswered_request_is_logged_as_499(void **state)
{
    struct fixture *f = *state;
    f->x.aborted = true; /* and what the application made goes nowhere */
    prints(f, "%(s)s", "499");
    f->x.response.head_sent = true;
    prints(f, "%(s)s", "200");
    response_init(&f->x.response, &f->x.arena);
    prints(f, "%(s)s %({Content-Type}o)s", "499 -");
}

static void test_request_line_that_was_not_understood_is_a_dash(void **state)
{
    struct fixture *f = *state;
    f->x.request = (struct request){.major = 1, .minor = 1};
    prints(f, "\"%(r)s\" %(m)s %(U)s [%(q)s] %(f)s %(a)s %(u)s", "\"-\" - - [] - - -");
}

static void test_client_on_a_unix_socket_has_no_address(void **state)
{
    static const struct peer local = {.server_addr = "/run/x.sock"};
    struct fixture *f = *state;
    f->x.peer = &local;
    prints(f, "%(h)s %({REMOTE_ADDR}e)s", "- -");
}

static void test_small_numbers_are_padded_where_gunicorn_pads(void **state)
{
    struct fixture *f = *state;
    struct accesslog *a = accesslog_create("%(b)s %(T)s %(D)s %(M)s %(L)s", 7);
    struct buf out = {0};
    assert_int_equal(accesslog_format(a, &out, &f->x, &now, 0, 42), 0);
    assert_int_equal(accesslog_format(a, &out, &f->x, &now, UINT64_MAX, 1000000), 0); /* behind what is there */
    assert_string_equal(buf_cstr(&out), "0 0 42 0 0.000042\n18446744073709551615 1 1000000 1000 1.000000\n");
    buf_finish(&out);
    accesslog_destroy(a);
}

static void test_atoms_of_our_own(void **state)
{
    static const struct row rows[] = {
        {"%(time)s", "2026-11-22T23:35:47.120+00:00"},
        {"%(target)s", "/hello%20you?a=1&b=2"},
        {"%(version)s", "HTTP/1.1"},
        {"%(queue_us)s", "15"},
        {"%(ttfb_us)s", "40"},
        {"%(bytes_in)s", "99"},
        {"%(conn)s", "5"},
        {"%(conn_requests)s", "3"},
        {"%(tls)s", "TLSv1.3"},
        {"%(cipher)s", "TLS_X"},
        {"%(worker)s", "7"},
        {"%(request_id)s", "from-the-front-end"},
    };
    struct fixture *f = *state;
    struct peer tls = peer;
    tls.tls_version = "TLSv1.3";
    tls.tls_cipher = "TLS_X";
    f->x.peer = &tls;
    f->x.started_us = 100;
    f->x.ready_us = 110;
    f->x.begun_us = 125;
    f->x.answered_us = 140;
    f->x.bytes_in = 99;
    f->x.nth = 3;
    set_header(f, 5, "x-request-id", STR("from-the-front-end"));
    PRINT_ALL(f, rows);
    char pid[32];
    snprintf(pid, sizeof(pid), "%ld", (long)getpid());
    prints(f, "%(pid)s", pid);
}

static void test_what_did_not_happen_is_a_dash(void **state)
{
    prints(*state, "%(queue_us)s %(ttfb_us)s %(tls)s %(cipher)s", "- - - -");
}

static void test_request_without_an_id_gets_one_of_its_own(void **state)
{
    struct fixture *f = *state;
    struct buf out = {0};
    struct accesslog *a = accesslog_create("%(request_id)s", 7);
    const struct str hostile[] = {STR("a b"), STR("\"x"), STR("")};
    for (f->x.nth = 1; f->x.nth <= 3; f->x.nth++) {
        set_header(f, 5, "X-Request-ID", hostile[f->x.nth - 1]);
        assert_int_equal(accesslog_format(a, &out, &f->x, &now, SENT, TOOK_US), 0);
    }
    unsigned long long start[3];
    assert_int_equal(sscanf(buf_cstr(&out), "%16llx-5-1\n%16llx-5-2\n%16llx-5-3\n", start, start + 1, start + 2), 3);
    assert_true(start[0] == start[1] && start[1] == start[2]);
    buf_finish(&out);
    accesslog_destroy(a);
}

static void test_combined_is_gunicorns_default(void **state)
{
    prints(*state, "combined",
           "192.0.2.7 - ada [22/Nov/2026:23:35:47 +0000] \"GET /hello%20you?a=1&b=2 HTTP/1.1\" 200 13 "
           "\"http://example.org/\" \"curl/7.88.1\"");
}

static void test_json_is_an_object_of_all_that_is_known(void **state)
{
    char line[1024];
    struct fixture *f = *state;
    f->headers[2].value = STR("\"\\\n\x1b\xff\xc3\xa9");
    set_header(f, 5, "X-Request-ID", STR("id"));
    snprintf(line, sizeof(line),
             "{\"time\":\"2026-11-22T23:35:47.120+00:00\",\"client\":\"192.0.2.7\",\"user\":\"ada\",\"method\":\"GET\","
             "\"target\":\"/hello%%20you?a=1&b=2\",\"protocol\":\"HTTP/1.1\",\"status\":200,\"bytes\":13,"
             "\"bytes_in\":0,\"duration_us\":12034567,\"queue_us\":null,\"ttfb_us\":null,"
             "\"referer\":\"\\\"\\\\\\n\\u001b\xef\xbf\xbd\xc3\xa9\",\"user_agent\":\"curl/7.88.1\","
             "\"request_id\":\"id\",\"connection\":5,\"connection_requests\":0,\"tls\":null,\"cipher\":null,"
             "\"worker\":7,\"pid\":%ld}",
             (long)getpid());
    prints(f, "json", line);
}

static void test_logfmt_quotes_what_is_no_word(void **state)
{
    char line[1024];
    struct fixture *f = *state;
    f->headers[1].value = STR("two words=\"x\"\\\n");
    set_header(f, 5, "X-Request-ID", STR("id"));
    snprintf(
        line, sizeof(line),
        "time=2026-11-22T23:35:47.120+00:00 client=192.0.2.7 user=ada method=GET target=\"/hello%%20you?a=1&b=2\" "
        "protocol=HTTP/1.1 status=200 bytes=13 bytes_in=0 duration_us=12034567 referer=http://example.org/ "
        "user_agent=\"two words=\\\"x\\\"\\\\\\n\" request_id=id connection=5 connection_requests=0 worker=7 pid=%ld",
        (long)getpid());
    prints(f, "logfmt", line);
}

static void test_format_that_is_an_object_stays_one(void **state)
{
    struct fixture *f = *state;
    f->headers[1].value = STR("\"\\\n\xff");
    prints(f, "{\"a\": \"%(a)s\", \"r\": \"%(r)s\", \"s\": %(s)s, \"l\": \"%(l)s\"}",
           "{\"a\": \"\\\"\\\\\\n\xef\xbf\xbd\", \"r\": \"GET /hello%20you?a=1&b=2 HTTP/1.1\", \"s\": 200, "
           "\"l\": \"-\"}");
}

static void test_times_are_asked_for_by_formats_that_show_them(void **state)
{
    (void)state;
    static const struct {
        const char *format;
        bool wants;
    } rows[] = {{DEFAULT_FORMAT, false}, {"combined", false},     {"json", true},   {"logfmt", true},
                {"%(queue_us)s", true},  {"a %(ttfb_us)s", true}, {"%(D)s", false}, {"%({queue_us}i)s", false}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct accesslog *a = accesslog_create(rows[i].format, 1);
        assert_int_equal(accesslog_wants_times(a), rows[i].wants);
        accesslog_destroy(a);
    }
}

static void test_destroying_nothing_is_fine(void **state)
{
    (void)state;
    accesslog_destroy(NULL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(test_default_format_is_gunicorns),
        TEST(test_every_atom_prints_its_value),
        TEST(test_headers_are_found_in_any_case),
        TEST(test_content_length_is_a_response_header_as_any_other),
        TEST(test_variables_of_the_request_are_known),
        TEST(test_variables_are_found_in_any_case),
        TEST(test_ports_and_protocol_are_variables_of_the_request),
        TEST(test_what_a_front_end_said_is_shown),
        TEST(test_overlong_variable_name_is_unknown),
        TEST(test_unknown_atoms_print_a_dash),
        TEST(test_names_in_braces_that_are_no_atom_print_a_dash),
        TEST(test_broken_formats_are_text),
        TEST(test_two_percent_signs_are_one),
        TEST(test_hostile_values_are_escaped),
        TEST(test_no_byte_from_outside_breaks_a_line),
        TEST(test_user_is_read_from_basic_credentials),
        TEST(test_unanswered_request_is_logged_as_499),
        TEST(test_request_line_that_was_not_understood_is_a_dash),
        TEST(test_client_on_a_unix_socket_has_no_address),
        TEST(test_small_numbers_are_padded_where_gunicorn_pads),
        TEST(test_atoms_of_our_own),
        TEST(test_what_did_not_happen_is_a_dash),
        TEST(test_request_without_an_id_gets_one_of_its_own),
        TEST(test_combined_is_gunicorns_default),
        TEST(test_json_is_an_object_of_all_that_is_known),
        TEST(test_logfmt_quotes_what_is_no_word),
        TEST(test_format_that_is_an_object_stays_one),
        TEST(test_times_are_asked_for_by_formats_that_show_them),
        TEST(test_destroying_nothing_is_fine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
