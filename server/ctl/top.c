/* top.c - a server's status, live in a terminal. */
#include "server/ctl/top.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "server/base/buf.h"
#include "server/ctl/ask.h"

#define EVERY_MS 1000
#define ANSWER_SECONDS 10

#define ENTER "\033[?1049h\033[?25l" /* another screen, no cursor */
#define LEAVE "\033[?25h\033[?1049l"
#define HOME "\033[H"
#define REST_OF_LINE "\033[K"
#define REST_OF_SCREEN "\033[J"

static volatile sig_atomic_t told; /* to end */

static void on_signal(int sig)
{
    told = sig;
}

/* As much of the text as the window has room for: lines that wrap would make it jump. */
static void draw(const struct buf *text)
{
    struct winsize window;
    struct buf out = {0};
    bool sized = ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_row > 1 && window.ws_col > 0;
    size_t rows = sized ? window.ws_row - 1U : 24, columns = sized ? window.ws_col : 80;
    const char *line = text->data, *end = text->data + text->len;
    int r = buf_puts(&out, HOME);
    for (size_t i = 0; i < rows && line < end && r == 0; i++) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        size_t len = (size_t)((stop ? stop : end) - line);
        r = buf_append(&out, line, len < columns ? len : columns);
        r = r < 0 ? r : buf_puts(&out, REST_OF_LINE "\n");
        line = stop ? stop + 1 : end;
    }
    r = r < 0 ? r : buf_puts(&out, REST_OF_SCREEN);
    if (r == 0) {
        fwrite(out.data, 1, out.len, stdout);
        fflush(stdout);
    }
    buf_finish(&out);
}

/* Until it is time for the next picture. True when the user wants to leave. */
static bool wait_for_key(void)
{
    struct pollfd keys = {.fd = STDIN_FILENO, .events = POLLIN};
    char key = 0;
    if (poll(&keys, 1, EVERY_MS) > 0) {
        ssize_t n = read(STDIN_FILENO, &key, 1);
        if (n == 0) {
            keys.fd = -1; /* no keys will come */
            poll(&keys, 1, EVERY_MS);
        }
    }
    return told || key == 'q' || key == 'Q';
}

/* Asks, over a new connection if the old one has ended: the server may have been reloaded. 0 or -errno. */
static int ask(struct ask *a, const char *socket, bool any, struct buf *text)
{
    int r = a->fd < 0 ? ask_open(a, socket, any) : 0;
    r = r < 0 ? r : ask_line(a, "top", ANSWER_SECONDS, text);
    if (r == -EPIPE || r == -ECONNRESET) {
        ask_close(a);
        r = ask_open(a, socket, any);
        r = r < 0 ? r : ask_line(a, "top", ANSWER_SECONDS, text);
    }
    return r;
}

static int show(struct ask *a, const char *socket, bool any, bool terminal)
{
    int r;
    do {
        struct buf text = {0};
        r = ask(a, socket, any, &text);
        if (r == 0 && terminal) {
            draw(&text);
        } else if (r == 0) {
            fwrite(text.data, 1, text.len, stdout);
        }
        buf_finish(&text);
    } while (r == 0 && terminal && !wait_for_key());
    return r;
}

int top_run(const char *socket, bool any)
{
    struct termios before, quiet;
    struct ask a = {.fd = -1};
    bool terminal = isatty(STDOUT_FILENO), keys = tcgetattr(STDIN_FILENO, &before) == 0;
    struct sigaction action = {.sa_handler = on_signal};
    if (terminal) {
        sigaction(SIGINT, &action, NULL);
        sigaction(SIGTERM, &action, NULL);
        fputs(ENTER, stdout);
    }
    if (terminal && keys) {
        quiet = before;
        quiet.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
        tcsetattr(STDIN_FILENO, TCSANOW, &quiet);
    }
    int r = show(&a, socket, any, terminal);
    if (terminal && keys) {
        tcsetattr(STDIN_FILENO, TCSANOW, &before);
    }
    if (terminal) {
        fputs(LEAVE, stdout);
        fflush(stdout);
    }
    ask_close(&a);
    if (r < 0 && !told) {
        fprintf(stderr, "cwsgictl: %s\n", r == -ECONNREFUSED || r == -ENOENT ? "the server has ended" : strerror(-r));
    }
    return r == 0 || told ? 0 : 1;
}
