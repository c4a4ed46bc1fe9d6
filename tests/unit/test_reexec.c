/* test_reexec.c - what one image of the master leaves to the next. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/base/log.h"
#include "server/process/daemon.h"
#include "server/process/reexec.h"

static char *self; /* this program */
static char *no[] = {NULL};

static bool has_cloexec(int fd)
{
    return fcntl(fd, F_GETFD) & FD_CLOEXEC;
}

static int unix_socket(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(fd >= 0);
    unlink(path);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(fd, 5), 0);
    return fd;
}

/* Runs in the image that reexec made: its exit status is the test's answer. */
static int next_image(void)
{
    struct handover *h;
    if (handover_read(&h) != 0 || !h || getenv("CWSGI_HANDOVER")) {
        return 10;
    }
    bool good = h->n_workers == 2 && h->workers[1].pid == 77 && h->workers[1].slot == HANDOVER_NO_SLOT &&
                h->workers[0].slot == 3 && h->workers[0].age == 9 && h->workers[0].retiring &&
                !h->workers[1].retiring && h->age == 12 && h->served && h->listeners.n == 1 &&
                strcmp(h->listeners.list[0].bind, "unix:odd\nname 7") == 0 && h->listeners.list[0].ours &&
                strcmp(h->pidfile_path, "/run/a b\n.pid") == 0 && strcmp(h->counts, "some\ncounts\n") == 0 &&
                !h->newborn && h->elder == 0 && h->younger == 78 && strcmp(h->log_path, "/logs/of the\nserver") == 0 &&
                h->log_form == LOG_FORM_JSON && h->failed == 0;
    if (!good) {
        return 11;
    }
    if (!has_cloexec(h->wake_fd[0]) || !has_cloexec(h->master_fd[1]) || !has_cloexec(h->scoreboard_fd) ||
        !has_cloexec(h->pidfile_fd) || !has_cloexec(h->listeners.list[0].fd)) {
        return 12;
    }
    char byte = 0;
    if (read(h->wake_fd[0], &byte, 1) != 1 || byte != 'x') {
        return 13; /* what was in the pipe before must still be there */
    }
    char cwd[PATH_MAX];
    if (!getcwd(cwd, sizeof(cwd)) || strcmp(cwd, "/usr") != 0 || !getenv("OF_THE_START") || getenv("LATER")) {
        return 14;
    }
    handover_destroy(h);
    return 0;
}

static struct handover sample(struct listener *listener, struct handover_worker workers[2])
{
    struct handover h;
    handover_init(&h);
    assert_int_equal(pipe2(h.wake_fd, O_CLOEXEC), 0);
    assert_int_equal(pipe2(h.master_fd, O_CLOEXEC), 0);
    h.scoreboard_fd = memfd_create("board", MFD_CLOEXEC);
    h.pidfile_fd = memfd_create("pid", MFD_CLOEXEC);
    h.pidfile_path = (char *)"/run/a b\n.pid";
    h.counts = (char *)"some\ncounts\n";
    h.age = 12;
    h.served = true;
    h.younger = 78;
    h.log_path = (char *)"/logs/of the\nserver";
    h.log_form = LOG_FORM_JSON;
    workers[0] = (struct handover_worker){.pid = 70, .slot = 3, .age = 9, .retiring = true};
    workers[1] = (struct handover_worker){.pid = 77, .slot = HANDOVER_NO_SLOT, .age = 11};
    h.workers = workers;
    h.n_workers = 2;
    *listener = (struct listener){.fd = unix_socket("odd\nname 7"), .bind = (char *)"unix:odd\nname 7", .ours = true};
    h.listeners = (struct listeners){.list = listener, .n = 1};
    return h;
}

static void close_sample(const struct handover *h)
{
    const int fds[] = {h->wake_fd[0],    h->wake_fd[1], h->master_fd[0],        h->master_fd[1],
                       h->scoreboard_fd, h->pidfile_fd, h->listeners.list[0].fd};
    for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
        close(fds[i]);
    }
    unlink("odd\nname 7");
}

static void test_next_image_reads_what_was_written(void **state)
{
    (void)state;
    struct listener listener;
    struct handover_worker workers[2];
    struct handover h = sample(&listener, workers);
    assert_int_equal(write(h.wake_fd[1], "x", 1), 1);

    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        char *argv[] = {self, (char *)"next-image", NULL};
        char *env[] = {(char *)"OF_THE_START=1", (char *)"CWSGI_HANDOVER=99", NULL};
        setenv("LATER", "1", 1);
        const struct launch l = {.program = self, .cwd = (char *)"/usr", .argc = 2, .argv = argv, .env = env};
        reexec(&l, &h);
        _exit(99);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    close_sample(&h);
}

static void test_failed_exec_leaves_all_as_it_was(void **state)
{
    (void)state;
    struct listener listener;
    struct handover_worker workers[2];
    struct handover h = sample(&listener, workers);
    char *argv[] = {(char *)"x", NULL}, before[PATH_MAX], after[PATH_MAX];
    const struct launch l = {
        .program = (char *)"/nonexistent", .cwd = (char *)"/usr", .argc = 1, .argv = argv, .env = no};

    assert_non_null(getcwd(before, sizeof(before)));
    assert_int_equal(reexec(&l, &h), -ENOENT);
    assert_non_null(getcwd(after, sizeof(after)));
    assert_string_equal(before, after);
    assert_true(has_cloexec(h.wake_fd[0]));
    assert_true(has_cloexec(listener.fd));
    close_sample(&h);
}

static void test_first_start_finds_no_handover(void **state)
{
    (void)state;
    struct handover *h;
    unsetenv("CWSGI_HANDOVER");
    assert_int_equal(handover_read(&h), 0);
    assert_null(h);
}

static int read_into(struct handover **h, const char *text)
{
    char number[16];
    int fd = memfd_create("text", 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    snprintf(number, sizeof(number), "%d", fd);
    setenv("CWSGI_HANDOVER", number, 1);
    int r = handover_read(h);
    assert_null(getenv("CWSGI_HANDOVER"));
    close(fd);
    return r;
}

static int read_of_text(const char *text)
{
    struct handover *h;
    int r = read_into(&h, text);
    handover_destroy(h);
    return r;
}

/* What a handover must have; 0 stands for any descriptor that is open. */
#define HEAD "cwsgi-handover 1 %ld\nmaster 0 0\nwake 0 0\n"

static void test_handover_of_another_process_is_refused(void **state)
{
    (void)state;
    assert_int_equal(read_of_text("cwsgi-handover 1 1\n"), -EINVAL);
}

static void test_torn_handover_is_refused(void **state)
{
    (void)state;
    char text[128];
    const char *const torn[] = {"worker 1 1", "pidfile -1 30\nshort\n", "pidfile -1 2\nlong\n", "listener 1 0 9\nx\n"};
    for (size_t i = 0; i < sizeof(torn) / sizeof(torn[0]); i++) {
        snprintf(text, sizeof(text), HEAD "%s", (long)getpid(), torn[i]);
        assert_int_equal(read_of_text(text), -EINVAL);
    }
    snprintf(text, sizeof(text), "cwsgi-handover 1 %ld\n", (long)getpid());
    assert_int_equal(read_of_text(text), -EINVAL);
    assert_int_equal(read_of_text(""), -EINVAL);
}

static void test_impossible_handover_is_refused(void **state)
{
    (void)state;
    char text[128];
    const char *const impossible[] = {"worker 0 1 1 0\n", "worker -1 1 1 0\n", "worker 4294967297 1 1 0\n",
                                      "pidfile -1 1\na\npidfile -1 1\nb\n", "pidfile -1 2\nab\npidfile -1 1\nb\n"};
    for (size_t i = 0; i < sizeof(impossible) / sizeof(impossible[0]); i++) {
        snprintf(text, sizeof(text), HEAD "%s", (long)getpid(), impossible[i]);
        assert_int_equal(read_of_text(text), -EINVAL);
    }
}

static void test_fields_of_a_line_are_not_sought_on_the_next(void **state)
{
    (void)state;
    char text[128];
    struct handover *h;
    int own[4]; /* closed with the handover */
    assert_int_equal(pipe(own), 0);
    assert_int_equal(pipe(own + 2), 0);
    snprintf(text, sizeof(text), "cwsgi-handover 1 %ld\nmaster %d %d\nwake %d %d\nage\n7\nserved\n1\n", (long)getpid(),
             own[0], own[1], own[2], own[3]);
    assert_int_equal(read_into(&h, text), 0);
    assert_int_equal(h->age, 0);
    assert_false(h->served);
    handover_destroy(h);
}

static void test_variable_that_names_no_file_is_an_error(void **state)
{
    (void)state;
    struct handover *h;
    setenv("CWSGI_HANDOVER", "987", 1);
    assert_int_equal(handover_read(&h), -EBADF);
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "next-image") == 0) {
        return next_image();
    }
    char tmp[] = "/tmp/test_reexec_dir.XXXXXX";
    self = program_path(argv[0]);
    if (!self || !mkdtemp(tmp) || chdir(tmp) < 0) {
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_next_image_reads_what_was_written),
        cmocka_unit_test(test_failed_exec_leaves_all_as_it_was),
        cmocka_unit_test(test_first_start_finds_no_handover),
        cmocka_unit_test(test_handover_of_another_process_is_refused),
        cmocka_unit_test(test_torn_handover_is_refused),
        cmocka_unit_test(test_impossible_handover_is_refused),
        cmocka_unit_test(test_fields_of_a_line_are_not_sought_on_the_next),
        cmocka_unit_test(test_variable_that_names_no_file_is_an_error),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(tmp);
    free(self);
    return failed;
}
