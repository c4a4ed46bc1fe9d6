/* test_listener.c - what a bind address opens, what is in its way, and what the next configuration takes over. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/base/buf.h"
#include "server/config/settings.h"
#include "server/net/listener.h"
#include "tests/unit/folder.h"

/* Each test starts in an empty folder of its own: paths of unix sockets are short. */
static int begin(void **state)
{
    (void)state;
    return folder_enter();
}

static int end(void **state)
{
    (void)state;
    return folder_leave();
}

static int try_all(struct listeners *ls, const char *const *binds, size_t n, struct listeners *old, struct buf *error)
{
    struct settings s = {.bind = {.v = (char **)binds, .n = n}, .backlog = 16};
    error->len = 0;
    return listeners_open(ls, &s, old, error);
}

static void open_one(struct listeners *ls, const char *bind)
{
    struct buf error = {0};
    if (try_all(ls, &bind, 1, NULL, &error) < 0) {
        fail_msg("%s", buf_cstr(&error));
    }
    assert_int_equal(ls->n, 1);
    assert_string_equal(ls->list[0].bind, bind);
    buf_finish(&error);
}

/* It cannot be opened, and the error says `bind`, `why`. */
static void refuses(const char *bind, const char *why)
{
    struct listeners ls;
    struct buf error = {0};
    if (try_all(&ls, &bind, 1, NULL, &error) == 0) {
        fail_msg("'%s' was taken as %s", bind, ls.list[0].url);
    }
    const char *text = buf_cstr(&error);
    if (!strstr(text, bind) || !strstr(text, why)) {
        fail_msg("'%s' does not say '%s' of '%s'", text, why, bind);
    }
    assert_int_equal(ls.n, 0);
    buf_finish(&error);
}

static bool has_ipv6(void)
{
    struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool yes = fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0;
    close(fd);
    return yes;
}

/* A client's connection to 127.0.0.1, or -errno. */
static int client(uint16_t port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int r = connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0 ? -errno : fd;
    if (r < 0) {
        close(fd);
    }
    return r;
}

/* 0 or -errno. */
static int connect_to(uint16_t port)
{
    int fd = client(port);
    if (fd >= 0) {
        close(fd);
    }
    return fd < 0 ? fd : 0;
}

/* A port that was free a moment ago. */
static uint16_t free_port(void)
{
    struct listeners ls;
    open_one(&ls, "127.0.0.1:0");
    uint16_t port = ls.list[0].port;
    listeners_close(&ls);
    return port;
}

static void test_addresses_of_every_form_are_opened(void **state)
{
    (void)state;
    static const struct {
        const char *bind, *url, *address; /* the url up to the port */
    } table[] = {
        {"127.0.0.1:0", "http://127.0.0.1:", "127.0.0.1"},
        {"tcp://127.0.0.1:0", "http://127.0.0.1:", "127.0.0.1"},
        {"localhost:0", "http://127.0.0.1:", "127.0.0.1"},
        {":0", "http://0.0.0.0:", "0.0.0.0"},
        {"[::1]:0", "http://[::1]:", "::1"},
        {"[::]:0", "http://[::]:", "::"},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct listeners ls;
        char url[64];
        if (table[i].bind[0] == '[' && !has_ipv6()) {
            continue;
        }
        open_one(&ls, table[i].bind);
        const struct listener *l = &ls.list[0];
        assert_true(l->port > 0);
        snprintf(url, sizeof(url), "%s%u", table[i].url, l->port);
        assert_string_equal(l->url, url);
        assert_string_equal(l->address, table[i].address);
        assert_int_equal(l->kind, LISTENER_TCP);
        assert_false(l->tls);
        assert_false(l->ours);
        listeners_close(&ls);
    }
}

static bool has_client(const struct listeners *ls, int within_ms)
{
    struct pollfd p = {.fd = ls->list[0].fd, .events = POLLIN};
    return poll(&p, 1, within_ms) == 1;
}

/* Takes what is there, and closes the client's end, too. */
static void drop_client(const struct listeners *ls, int mine)
{
    int theirs = accept(ls->list[0].fd, NULL, NULL);
    assert_true(theirs >= 0);
    close(theirs);
    close(mine);
}

static void test_a_client_is_handed_over_when_it_has_spoken(void **state)
{
    (void)state;
    struct listeners ls;
    int deferred = 0;
    socklen_t len = sizeof(deferred);
    open_one(&ls, "127.0.0.1:0");
    if (getsockopt(ls.list[0].fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &deferred, &len) < 0) {
        listeners_close(&ls);
        skip(); /* this kernel knows of no such thing */
    }
    assert_true(deferred > 0);

    int fd = client(ls.list[0].port);
    assert_true(fd >= 0);
    assert_int_equal(send(fd, "G", 1, 0), 1);
    assert_true(has_client(&ls, 10000));
    drop_client(&ls, fd);

    fd = client(ls.list[0].port); /* it leaves without a word */
    assert_true(fd >= 0);
    shutdown(fd, SHUT_WR);
    assert_true(has_client(&ls, 10000));
    drop_client(&ls, fd);

    fd = client(ls.list[0].port); /* it stays, without a word: for a second nobody hears of it */
    assert_true(fd >= 0);
    assert_false(has_client(&ls, 100));
    assert_true(has_client(&ls, 30000));
    drop_client(&ls, fd);
    listeners_close(&ls);
}

static void test_port_is_8000_when_none_is_given(void **state)
{
    (void)state;
    const char *binds[] = {"127.0.0.1", "[::1]"};
    for (size_t i = 0; i < (has_ipv6() ? 2 : 1); i++) {
        struct listeners ls;
        struct buf error = {0};
        if (try_all(&ls, &binds[i], 1, NULL, &error) == 0) {
            assert_int_equal(ls.list[0].port, 8000);
        } else {
            assert_non_null(strstr(buf_cstr(&error), "is already in use")); /* another server of this machine's */
        }
        listeners_close(&ls);
        buf_finish(&error);
    }
}

static void test_unix_socket_has_a_path_of_ours(void **state)
{
    (void)state;
    static const char *const binds[] = {"unix:here.sock", "unix://here.sock"};
    for (size_t i = 0; i < 2; i++) {
        struct listeners ls;
        open_one(&ls, binds[i]);
        assert_int_equal(ls.list[0].kind, LISTENER_UNIX);
        assert_int_equal(ls.list[0].port, 0);
        assert_string_equal(ls.list[0].url, "unix:here.sock");
        assert_string_equal(ls.list[0].address, "here.sock");
        assert_true(ls.list[0].ours);
        listeners_close(&ls);
        assert_int_equal(unlink("here.sock"), 0);
    }
}

static void test_inherited_descriptor_is_described(void **state)
{
    (void)state;
    struct listeners first, ls;
    char bind[32], url[64];
    open_one(&first, "127.0.0.1:0");
    snprintf(bind, sizeof(bind), "fd://%d", dup(first.list[0].fd));
    snprintf(url, sizeof(url), "http://127.0.0.1:%u", first.list[0].port);
    open_one(&ls, bind);
    assert_string_equal(ls.list[0].url, url);
    assert_false(ls.list[0].ours);
    listeners_close(&ls);
    listeners_close(&first);
}

static void test_addresses_that_are_none_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *bind, *why;
    } table[] = {
        {"127.0.0.1:x", "the port is not a number"},
        {"127.0.0.1:", "the port is not a number"},
        {"127.0.0.1:65536", "the port is not a number"},
        {"127.0.0.1:-1", "the port is not a number"},
        {"127.0.0.1:0x50", "the port is not a number"},
        {"127.0.0.1:+0", "the port is not a number"},
        {"127.0.0.1: 0", "the port is not a number"},
        {"127.0.0.1:99999999999999999999", "the port is not a number"},
        {"[::1", "not of the form"},
        {"[::1]x", "not of the form"},
        {"[::1]80", "not of the form"},
        {"192.0.2.1:0", "Cannot assign requested address"}, /* not one of this machine's: RFC 5737 */
        {"unix:", "the path is empty"},
        {"unix:missing/x.sock", "No such file or directory"},
        {"fd://", "no listening socket"},
        {"fd://x", "no listening socket"},
        {"fd://3x", "no listening socket"},
        {"fd://-1", "no listening socket"},
        {"fd://60000", "no listening socket"},
        {"fd://99999999999999999999", "no listening socket"},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        refuses(table[i].bind, table[i].why);
    }
}

static void test_overlong_addresses_are_refused(void **state)
{
    (void)state;
    char text[400];
    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    refuses(text, "not of the form");
    memcpy(text, "unix:", 5);
    refuses(text, "too long");
    text[5 + sizeof(((struct sockaddr_un *)0)->sun_path)] = '\0'; /* no room for its NUL */
    refuses(text, "too long");
    text[5 + sizeof(((struct sockaddr_un *)0)->sun_path) - 1] = '\0';
    struct listeners ls;
    open_one(&ls, text);
    listeners_unlink(&ls);
    listeners_close(&ls);
}

static void test_descriptor_that_does_not_listen_is_refused(void **state)
{
    (void)state;
    char bind[32];
    int socket_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0),
        file = open("file", O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    snprintf(bind, sizeof(bind), "fd://%d", socket_fd);
    refuses(bind, "no listening socket");
    snprintf(bind, sizeof(bind), "fd://%d", file);
    refuses(bind, "no listening socket");
    close(socket_fd);
    close(file);
}

static void test_sockets_listen_and_do_not_block(void **state)
{
    (void)state;
    struct listeners ls;
    open_one(&ls, "127.0.0.1:0");
    int fd = ls.list[0].fd;
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(accept(fd, NULL, NULL), -1);
    assert_int_equal(errno, EAGAIN);
    assert_int_equal(connect_to(ls.list[0].port), 0);
    uint16_t port = ls.list[0].port;
    listeners_close(&ls);
    assert_int_equal(connect_to(port), -ECONNREFUSED);
    assert_int_equal(ls.n, 0);
    listeners_close(&ls);
}

static void test_certificate_makes_it_https(void **state)
{
    (void)state;
    char *binds[] = {"127.0.0.1:0"};
    struct settings s = {.bind = {.v = binds, .n = 1}, .backlog = 16, .certfile = "cert.pem"};
    struct listeners ls;
    struct buf error = {0};
    assert_int_equal(listeners_open(&ls, &s, NULL, &error), 0);
    assert_true(ls.list[0].tls);
    assert_memory_equal(ls.list[0].url, "https://127.0.0.1:", 18);
    listeners_close(&ls);
}

static void test_several_are_described_in_order(void **state)
{
    (void)state;
    static const char *const binds[] = {"unix:a.sock", "127.0.0.1:0", "unix:b.sock"};
    struct listeners ls;
    struct buf error = {0}, text = {0};
    char expected[128];
    assert_int_equal(try_all(&ls, binds, 3, NULL, &error), 0);
    assert_int_equal(listeners_describe(&ls, &text), 0);
    snprintf(expected, sizeof(expected), "unix:a.sock,http://127.0.0.1:%u,unix:b.sock", ls.list[1].port);
    assert_string_equal(buf_cstr(&text), expected);
    buf_finish(&text);
    listeners_close(&ls);
}

static void test_holder_of_a_port_is_named(void **state)
{
    (void)state;
    struct listeners first;
    char bind[32], why[64];
    open_one(&first, "127.0.0.1:0");
    snprintf(bind, sizeof(bind), "127.0.0.1:%u", first.list[0].port);
    snprintf(why, sizeof(why), "is already in use by process %d (", (int)getpid());
    refuses(bind, why);
    listeners_close(&first);
}

static void test_failure_of_one_closes_the_others(void **state)
{
    (void)state;
    struct listeners first, ls;
    struct buf error = {0};
    char taken[32], mine[32];
    open_one(&first, "127.0.0.1:0");
    snprintf(taken, sizeof(taken), "127.0.0.1:%u", first.list[0].port);
    snprintf(mine, sizeof(mine), "127.0.0.1:%u", free_port());
    const char *binds[] = {mine, taken};
    assert_int_equal(try_all(&ls, binds, 2, NULL, &error), -1);
    open_one(&ls, mine);
    listeners_close(&ls);
    listeners_close(&first);
    buf_finish(&error);
}

static void test_port_that_is_freed_in_a_moment_is_waited_for(void **state)
{
    (void)state;
    struct listeners first, ls;
    char bind[32];
    open_one(&first, "127.0.0.1:0");
    snprintf(bind, sizeof(bind), "127.0.0.1:%u", first.list[0].port);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        usleep(250 * 1000); /* an old master that is leaving */
        _exit(0);
    }
    listeners_close(&first);
    open_one(&ls, bind);
    listeners_close(&ls);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void test_stale_unix_socket_is_replaced(void **state)
{
    (void)state;
    struct listeners ls;
    open_one(&ls, "unix:here.sock");
    listeners_close(&ls);
    assert_int_equal(access("here.sock", F_OK), 0); /* as after kill -9 */
    open_one(&ls, "unix:here.sock");
    listeners_unlink(&ls);
    listeners_close(&ls);
    assert_int_equal(access("here.sock", F_OK), -1);
}

static void test_living_unix_socket_is_left_alone(void **state)
{
    (void)state;
    struct listeners first;
    struct sockaddr_un a = {.sun_family = AF_UNIX, .sun_path = "here.sock"};
    open_one(&first, "unix:here.sock");
    refuses("unix:here.sock", "is already in use");
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    close(fd);
    listeners_close(&first);
}

static int bind_at(const char *path, int type)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    return fd;
}

/* Its server does not accept, and no more clients can wait. */
static void test_unix_socket_of_a_server_that_hangs_is_left_alone(void **state)
{
    (void)state;
    struct sockaddr_un a = {.sun_family = AF_UNIX, .sun_path = "here.sock"};
    int fd = bind_at("here.sock", SOCK_STREAM), r = 0, waiting[8];
    size_t n = 0;
    assert_int_equal(listen(fd, 0), 0);
    while (r == 0 && n < sizeof(waiting) / sizeof(waiting[0])) {
        waiting[n] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        r = connect(waiting[n++], (struct sockaddr *)&a, sizeof(a));
    }
    assert_int_equal(r, -1);
    alarm(10);
    refuses("unix:here.sock", "is already in use");
    alarm(0);
    assert_int_equal(access("here.sock", F_OK), 0);
    while (n > 0) {
        close(waiting[--n]);
    }
    close(fd);
}

static void test_socket_of_another_kind_is_left_alone(void **state)
{
    (void)state;
    int fd = bind_at("here.sock", SOCK_DGRAM);
    refuses("unix:here.sock", "is already in use");
    assert_int_equal(access("here.sock", F_OK), 0);
    close(fd);
}

/* In a folder where it could be removed. */
static void test_unix_socket_that_may_not_be_asked_is_left_alone(void **state)
{
    (void)state;
    int fd = bind_at("here.sock", SOCK_STREAM);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(chmod("here.sock", 0), 0);
    assert_int_equal(chmod(folder, 0777), 0);
    uid_t me = geteuid();
    assert_int_equal(me == 0 ? seteuid(65534) : 0, 0); /* root may everything */
    refuses("unix:here.sock", "Permission denied");
    assert_int_equal(me == 0 ? seteuid(0) : 0, 0);
    assert_int_equal(access("here.sock", F_OK), 0);
    close(fd);
}

static void test_file_in_the_way_of_a_unix_socket_is_left_alone(void **state)
{
    (void)state;
    struct stat st;
    close(open("notes.txt", O_CREAT | O_WRONLY, 0600));
    refuses("unix:notes.txt", "is not a socket");
    assert_int_equal(stat("notes.txt", &st), 0);
    assert_true(S_ISREG(st.st_mode));
}

static void test_mode_of_a_unix_socket_follows_the_umask_setting(void **state)
{
    (void)state;
    char *binds[] = {"unix:here.sock"};
    struct settings s = {.bind = {.v = binds, .n = 1}, .backlog = 16, .umask = 0117};
    struct listeners ls;
    struct buf error = {0};
    struct stat st;
    mode_t before = umask(022);
    assert_int_equal(listeners_open(&ls, &s, NULL, &error), 0);
    assert_int_equal(umask(before), 022); /* and the process keeps its own */
    assert_int_equal(stat("here.sock", &st), 0);
    assert_int_equal(st.st_mode & 0777, 0660);
    listeners_close(&ls);
}

static void test_same_bind_is_taken_over_from_the_old_list(void **state)
{
    (void)state;
    static const char *const before[] = {"unix:a.sock", "127.0.0.1:0", "unix:b.sock"};
    static const char *const after[] = {"unix:c.sock", "127.0.0.1:0", "unix:a.sock"};
    struct listeners old, ls;
    struct buf error = {0};
    assert_int_equal(try_all(&old, before, 3, NULL, &error), 0);
    int a = old.list[0].fd, tcp = old.list[1].fd, b = old.list[2].fd;
    uint16_t port = old.list[1].port;

    assert_int_equal(try_all(&ls, after, 3, &old, &error), 0);
    assert_int_equal(ls.n, 3);
    assert_string_equal(ls.list[0].bind, "unix:c.sock");
    assert_int_equal(ls.list[1].fd, tcp);
    assert_int_equal(ls.list[1].port, port);
    assert_int_equal(ls.list[2].fd, a);
    assert_true(ls.list[2].ours);
    assert_int_equal(old.n, 1); /* what nobody wants any more */
    assert_int_equal(old.list[0].fd, b);
    listeners_unlink(&old);
    listeners_close(&old);
    assert_int_equal(access("b.sock", F_OK), -1);
    assert_int_equal(access("a.sock", F_OK), 0);
    assert_int_equal(connect_to(port), 0);
    listeners_close(&ls);
    buf_finish(&error);
}

/* One of the new addresses cannot be had, wherever it stands. */
static void test_order_stays_when_the_old_addresses_are_kept(void **state)
{
    (void)state;
    static const char *const before[] = {"unix:a.sock", "unix:b.sock", "unix:c.sock"};
    static const char *const after[][3] = {{"unix:missing/x.sock", "unix:b.sock", "unix:c.sock"},
                                           {"unix:b.sock", "unix:missing/x.sock", "unix:a.sock"},
                                           {"unix:a.sock", "unix:b.sock", "unix:missing/x.sock"}};
    struct listeners old, ls;
    struct buf error = {0};
    struct settings s = {0};
    assert_int_equal(try_all(&old, before, 3, NULL, &error), 0);
    for (size_t i = 0; i < sizeof(after) / sizeof(after[0]); i++) {
        assert_int_equal(try_all(&ls, after[i], 3, &old, &error), -1);
        assert_int_equal(listeners_keep(&ls, &s, &old), 0);
        assert_int_equal(old.n, 0);
        assert_int_equal(ls.n, 3);
        for (size_t k = 0; k < 3; k++) {
            assert_string_equal(ls.list[k].bind, before[k]);
        }
        old = ls;
    }
    listeners_close(&old);
    buf_finish(&error);
}

static void test_taken_over_listener_learns_of_tls(void **state)
{
    (void)state;
    char *binds[] = {"127.0.0.1:0"};
    struct settings s = {.bind = {.v = binds, .n = 1}, .backlog = 16, .certfile = "cert.pem"};
    struct listeners old, ls;
    struct buf error = {0};
    open_one(&old, binds[0]);
    assert_int_equal(listeners_open(&ls, &s, &old, &error), 0);
    assert_true(ls.list[0].tls);
    assert_memory_equal(ls.list[0].url, "https://", 8);
    assert_int_equal(old.n, 0);
    listeners_close(&old);
    listeners_close(&ls);
}

static void test_adopted_descriptor_is_known_by_its_bind(void **state)
{
    (void)state;
    struct listeners first, old = {0}, ls;
    struct buf error = {0};
    char name[] = "unix:here.sock";
    const char *bind = "unix:here.sock";
    open_one(&first, bind);
    int fd = dup(first.list[0].fd); /* as it comes through execve: without its flags */
    listeners_close(&first);
    assert_int_equal(listeners_adopt(&old, fd, name, true), 0);
    name[0] = '!'; /* the name was copied */
    assert_int_equal(old.n, 1);
    assert_string_equal(old.list[0].url, "unix:here.sock");
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);

    assert_int_equal(try_all(&ls, &bind, 1, &old, &error), 0);
    assert_int_equal(ls.list[0].fd, fd);
    assert_true(ls.list[0].ours);
    listeners_unlink(&ls);
    listeners_close(&ls);
    listeners_close(&old);
    buf_finish(&error);
}

static void test_what_is_no_socket_cannot_be_adopted(void **state)
{
    (void)state;
    struct listeners ls = {0};
    int fd = open("file", O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    assert_int_equal(listeners_adopt(&ls, fd, "127.0.0.1:80", false), -ENOTSOCK);
    assert_int_equal(fcntl(fd, F_GETFD), -1); /* taken over in any case */
    assert_int_equal(listeners_adopt(&ls, 60000, "127.0.0.1:80", false), -EBADF);
    assert_int_equal(ls.n, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(test_addresses_of_every_form_are_opened),
        TEST(test_a_client_is_handed_over_when_it_has_spoken),
        TEST(test_port_is_8000_when_none_is_given),
        TEST(test_unix_socket_has_a_path_of_ours),
        TEST(test_inherited_descriptor_is_described),
        TEST(test_addresses_that_are_none_are_refused),
        TEST(test_overlong_addresses_are_refused),
        TEST(test_descriptor_that_does_not_listen_is_refused),
        TEST(test_sockets_listen_and_do_not_block),
        TEST(test_certificate_makes_it_https),
        TEST(test_several_are_described_in_order),
        TEST(test_holder_of_a_port_is_named),
        TEST(test_failure_of_one_closes_the_others),
        TEST(test_port_that_is_freed_in_a_moment_is_waited_for),
        TEST(test_stale_unix_socket_is_replaced),
        TEST(test_living_unix_socket_is_left_alone),
        TEST(test_unix_socket_of_a_server_that_hangs_is_left_alone),
        TEST(test_socket_of_another_kind_is_left_alone),
        TEST(test_unix_socket_that_may_not_be_asked_is_left_alone),
        TEST(test_file_in_the_way_of_a_unix_socket_is_left_alone),
        TEST(test_mode_of_a_unix_socket_follows_the_umask_setting),
        TEST(test_same_bind_is_taken_over_from_the_old_list),
        TEST(test_order_stays_when_the_old_addresses_are_kept),
        TEST(test_taken_over_listener_learns_of_tls),
        TEST(test_adopted_descriptor_is_known_by_its_bind),
        TEST(test_what_is_no_socket_cannot_be_adopted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
