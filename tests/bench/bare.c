/* bare.c - the least that can be made of libuv and llhttp: `bare PORT` parses requests and answers each with the same
 * bytes. Nothing that a server needs is here (no limits, no time-outs, no Host, no Date): it is a yardstick. */
#include <llhttp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

static char ANSWER[] = "HTTP/1.1 200 OK\r\nServer: bare\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
                       "Connection: keep-alive\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, World!";

static llhttp_settings_t parser_settings;
static char buffer[65536];

struct client {
    uv_tcp_t tcp;
    llhttp_t parser;
};

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)handle, (void)suggested;
    *buf = uv_buf_init(buffer, sizeof(buffer));
}

static int on_message(llhttp_t *parser)
{
    struct client *c = parser->data;
    const uv_buf_t out = uv_buf_init(ANSWER, sizeof(ANSWER) - 1);
    return uv_try_write((uv_stream_t *)&c->tcp, &out, 1) == (int)out.len ? 0 : -1;
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct client *c = stream->data;
    if (n < 0 || (n > 0 && llhttp_execute(&c->parser, buf->base, (size_t)n) != HPE_OK)) {
        uv_close((uv_handle_t *)&c->tcp, on_closed);
    }
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct client *c = status < 0 ? NULL : calloc(1, sizeof(*c));
    if (!c) {
        return;
    }
    uv_tcp_init(listener->loop, &c->tcp);
    c->tcp.data = c;
    llhttp_init(&c->parser, HTTP_REQUEST, &parser_settings);
    c->parser.data = c;
    if (uv_accept(listener, (uv_stream_t *)&c->tcp) < 0) {
        uv_close((uv_handle_t *)&c->tcp, on_closed);
        return;
    }
    uv_tcp_nodelay(&c->tcp, 1);
    uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
}

int main(int argc, char **argv)
{
    uv_loop_t *loop = uv_default_loop();
    uv_tcp_t listener;
    struct sockaddr_in address;

    llhttp_settings_init(&parser_settings);
    parser_settings.on_message_complete = on_message;
    if (argc != 2 || uv_ip4_addr("127.0.0.1", atoi(argv[1]), &address) < 0 || uv_tcp_init(loop, &listener) < 0 ||
        uv_tcp_bind(&listener, (const struct sockaddr *)&address, 0) < 0 ||
        uv_listen((uv_stream_t *)&listener, 1024, on_connection) < 0) {
        fprintf(stderr, "usage: bare PORT\n");
        return 2;
    }
    return uv_run(loop, UV_RUN_DEFAULT);
}
