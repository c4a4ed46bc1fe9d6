/* test_sink.c - collected lines, and how they reach a file, a pipe or nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/base/buf.h"
#include "server/base/linefd.h"
#include "server/base/log.h"
#include "server/base/sink.h"
#include "tests/unit/folder.h"

/* Each test starts in an empty folder of its own; what is logged goes to `errors` there. */
static int begin(void **state)
{
    (void)state;
    return folder_enter() == 0 ? log_open("errors", LOG_LEVEL_WARNING) : -1;
}

static int end(void **state)
{
    (void)state;
    log_close();
    return folder_leave();
}

static int count(const char *haystack, const char *needle)
{
    int n = 0;
    for (const char *p = haystack; (p = strstr(p, needle)); p++) {
        n++;
    }
    return n;
}

static struct sink *open_sink(const char *path, int std_fd)
{
    struct sink *s = NULL;
    assert_int_equal(sink_open(&s, path, std_fd), 0);
    return s;
}

static void append_bytes(struct sink *s, const char *data, size_t len)
{
    sink_added(s, buf_append(sink_lines(s), data, len));
}

static void append(struct sink *s, const char *line)
{
    append_bytes(s, line, strlen(line));
}

static void test_lines_reach_the_file_at_the_flush(void **state)
{
    (void)state;
    struct sink *s = open_sink("access.log", 1);
    append(s, "one\n");
    append(s, "two\n");
    assert_string_equal(folder_content("access.log"), "");
    sink_flush(s);
    assert_string_equal(folder_content("access.log"), "one\ntwo\n");
    sink_flush(s);
    append(s, "three\n");
    sink_close(s);
    assert_string_equal(folder_content("access.log"), "one\ntwo\nthree\n");
}

static void test_flush_is_one_write(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(pipe2(fds, O_DIRECT | O_NONBLOCK), 0); /* keeps each write apart */
    struct sink *s = open_sink("-", fds[1]);
    append(s, "one\n");
    append(s, "two\n");
    sink_flush(s);
    assert_int_equal(read(fds[0], folder_text, sizeof(folder_text)), 8);
    assert_memory_equal(folder_text, "one\ntwo\n", 8);
    assert_int_equal(read(fds[0], folder_text, sizeof(folder_text)), -1);
    sink_close(s);
    close(fds[0]);
    close(fds[1]);
}

static void test_much_is_written_without_a_flush(void **state)
{
    (void)state;
    struct sink *s = open_sink("access.log", 1);
    char line[1000];
    memset(line, 'x', sizeof(line));
    line[sizeof(line) - 1] = '\n';
    for (int i = 0; i < 100; i++) {
        append_bytes(s, line, sizeof(line));
    }
    size_t written = strlen(folder_content("access.log"));
    assert_true(written > 0 && written < 100000);
    assert_int_equal(written % sizeof(line), 0); /* whole lines only */
    sink_close(s);
    assert_int_equal(strlen(folder_content("access.log")), 100000);
}

static void test_dash_is_the_given_descriptor_and_stays_open(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    struct sink *s = open_sink("-", fds[1]);
    append(s, "line\n");
    assert_int_equal(sink_reopen(s), 0);
    sink_close(s);
    assert_int_equal(read(fds[0], folder_text, sizeof(folder_text)), 5);
    assert_true(fcntl(fds[1], F_GETFD) >= 0);
    close(fds[0]);
    close(fds[1]);
}

static void test_missing_folders_are_made_less_the_umask(void **state)
{
    (void)state;
    struct stat st;
    mode_t before = umask(027);
    struct sink *s = open_sink("logs//of/today/access.log", 1);
    umask(before);
    append(s, "line\n");
    sink_close(s);
    assert_string_equal(folder_content("logs/of/today/access.log"), "line\n");
    assert_int_equal(stat("logs/of", &st), 0);
    assert_int_equal(st.st_mode & 0777, 0750);
    assert_int_equal(stat("logs/of/today/access.log", &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
}

static void test_file_is_appended_to_and_closed_on_exec(void **state)
{
    (void)state;
    int fd = linefd_open_file("log");
    assert_true(fd >= 0);
    assert_true(fcntl(fd, F_GETFL) & O_APPEND);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    close(fd);
}

static void test_paths_that_cannot_be_opened_say_why(void **state)
{
    (void)state;
    close(open("file", O_CREAT | O_WRONLY, 0600));
    const char *const paths[] = {"", folder, "file/log", "/proc/nowhere/log"};
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        struct sink *s = open_sink(paths[i], 1);
        append(s, "lost\n");
        sink_close(s);
    }
    folder_content("errors");
    assert_int_equal(count(folder_text, "\n"), 8);
    assert_non_null(strstr(folder_text, "[ERROR] Cannot write to the access log : No such file or directory"));
    assert_non_null(strstr(folder_text, ": Is a directory;"));
    assert_non_null(strstr(folder_text, "[ERROR] Cannot write to the access log file/log: Not a directory"));
    assert_non_null(strstr(folder_text, "[ERROR] 1 lines of the access log file/log were lost"));
    assert_non_null(strstr(folder_text, "[ERROR] Cannot write to the access log /proc/nowhere/log: No such file or "));
}

static void test_reopen_follows_the_path(void **state)
{
    (void)state;
    struct sink *s = open_sink("access.log", 1);
    append(s, "before\n");
    assert_int_equal(rename("access.log", "access.log.1"), 0);
    assert_int_equal(sink_reopen(s), 0);
    append(s, "after\n");
    sink_close(s);
    assert_string_equal(folder_content("access.log.1"), "before\n");
    assert_string_equal(folder_content("access.log"), "after\n");
}

static void test_failed_reopen_keeps_the_old_file(void **state)
{
    (void)state;
    struct sink *s = open_sink("logs/access.log", 1);
    assert_int_equal(rename("logs", "moved"), 0);
    close(open("logs", O_CREAT | O_WRONLY, 0600)); /* a file where the folder was */
    assert_int_equal(sink_reopen(s), -ENOTDIR);
    append(s, "kept\n");
    sink_close(s);
    assert_string_equal(folder_content("moved/access.log"), "kept\n");
}

static void test_full_disk_drops_lines_and_is_told_of_once(void **state)
{
    (void)state;
    struct sink *s = open_sink("/dev/full", 1);
    for (int i = 0; i < 5; i++) {
        append(s, "lost\n");
        sink_flush(s);
    }
    sink_close(s);
    folder_content("errors");
    assert_int_equal(count(folder_text, "\n"), 2);
    assert_non_null(strstr(folder_text, "[ERROR] Cannot write to the access log /dev/full: No space left on device"));
    assert_non_null(strstr(folder_text, "[ERROR] 5 lines of the access log /dev/full were lost"));
}

/* Fills a pipe that nobody reads from: so much went in. */
static size_t fill(int fd)
{
    char page[4096];
    size_t n = 0;
    memset(page, '-', sizeof(page));
    while (write(fd, page, sizeof(page)) == sizeof(page)) {
        n += sizeof(page);
    }
    return n;
}

/* A pipe that holds `size` bytes, and a sink that writes to it. fds[0]: where to read, without waiting. */
static struct sink *open_pipe(int fds[2], int size, int flags)
{
    assert_int_equal(pipe2(fds, flags), 0);
    assert_int_equal(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
    assert_true(fcntl(fds[1], F_SETPIPE_SZ, size) >= size);
    return open_sink("-", fds[1]);
}

/* What is in the pipe, as a string. */
static size_t take(int fd)
{
    size_t n = 0;
    ssize_t r;
    while ((r = read(fd, folder_text + n, sizeof(folder_text) - 1 - n)) > 0) {
        n += (size_t)r;
    }
    folder_text[n] = '\0';
    return n;
}

static void test_lines_wait_for_a_slow_reader(void **state)
{
    (void)state;
    int fds[2];
    struct sink *s = open_pipe(fds, 4096, O_NONBLOCK);
    size_t n = fill(fds[1]);
    append(s, "one\n");
    assert_true(sink_flush(s)); /* and it can be told */
    append(s, "two\n");
    assert_true(sink_flush(s));
    assert_int_equal(take(fds[0]), n);
    assert_false(sink_flush(s));
    take(fds[0]);
    assert_string_equal(folder_text, "one\ntwo\n");
    sink_close(s);
    assert_string_equal(folder_content("errors"), "");
    close(fds[0]);
    close(fds[1]);
}

static void test_lines_that_nobody_reads_are_counted(void **state)
{
    (void)state;
    enum { LINES = 3000, SIZE = 1000 };
    int fds[2];
    struct sink *s = open_pipe(fds, 4096, O_NONBLOCK);
    size_t n = fill(fds[1]);
    char line[SIZE];
    memset(line, 'x', sizeof(line));
    line[SIZE - 1] = '\n';
    for (int i = 0; i < LINES; i++) {
        append_bytes(s, line, sizeof(line));
        sink_flush(s);
    }
    folder_content("errors");
    assert_int_equal(count(folder_text, "\n"), 1);
    assert_non_null(strstr(folder_text, "[ERROR] Cannot write to the access log on a standard stream: its reader is "
                                        "too slow; "));
    assert_int_equal(take(fds[0]), n);
    size_t got = 0;
    while (sink_flush(s)) {
        size_t piece = take(fds[0]);
        assert_int_equal(piece % SIZE, 0); /* whole lines */
        got += piece / SIZE;
    }
    got += take(fds[0]) / SIZE;
    sink_close(s);
    assert_in_range(got, 1, LINES - 1);
    char expected[128];
    snprintf(expected, sizeof(expected), "can be written again; %zu lines were lost", LINES - got);
    assert_non_null(strstr(folder_content("errors"), expected));
    close(fds[0]);
    close(fds[1]);
}

/* stdout is mostly given to us as a pipe that blocks. */
static void test_pipe_that_blocks_makes_nobody_wait(void **state)
{
    (void)state;
    int fds[2];
    struct sink *s = open_pipe(fds, 4096, 0);
    char line[] = "0123456789\n";
    for (int i = 0; i < 1000; i++) {
        append(s, line);
        sink_flush(s);
    }
    assert_false(fcntl(fds[1], F_GETFL) & O_NONBLOCK); /* others share it */
    size_t n = take(fds[0]);
    while (sink_flush(s)) {
        n += take(fds[0]);
    }
    n += take(fds[0]);
    assert_int_equal(n, 1000 * strlen(line));
    sink_close(s);
    close(fds[0]);
    close(fds[1]);
}

static void test_pipe_takes_whole_lines_only(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, fds), 0); /* keeps each write apart */
    struct sink *s = open_sink("-", fds[1]);
    char line[1501];
    memset(line, 'x', sizeof(line));
    line[1500] = '\n';
    for (int i = 0; i < 8; i++) {
        append_bytes(s, line, sizeof(line));
    }
    sink_flush(s);
    for (ssize_t n; (n = read(fds[0], folder_text, sizeof(folder_text))) > 0;) {
        assert_int_equal(n, 2 * sizeof(line)); /* not more than PIPE_BUF */
    }
    sink_close(s);
    close(fds[0]);
    close(fds[1]);
}

static void test_line_longer_than_a_pipe_takes_at_once(void **state)
{
    (void)state;
    static char line[20000];
    int fds[2];
    memset(line, 'x', sizeof(line));
    line[sizeof(line) - 1] = '\n';
    struct sink *s = open_pipe(fds, 65536, O_NONBLOCK);
    append(s, "before\n");
    append_bytes(s, line, sizeof(line));
    append(s, "after\n");
    assert_false(sink_flush(s));
    assert_int_equal(take(fds[0]), 7 + sizeof(line) + 6);
    sink_close(s);
    close(fds[0]);
    close(fds[1]);

    s = open_pipe(fds, 4096, O_NONBLOCK); /* it could never go in whole */
    append(s, "before\n");
    append_bytes(s, line, sizeof(line));
    append(s, "after\n");
    assert_false(sink_flush(s));
    take(fds[0]);
    assert_string_equal(folder_text, "before\nafter\n");
    sink_close(s);
    assert_non_null(strstr(folder_content("errors"), "; 1 lines were lost"));
    close(fds[0]);
    close(fds[1]);
}

static void test_pipe_without_a_reader_is_told_of_once(void **state)
{
    (void)state;
    int fds[2];
    struct sink *s = open_pipe(fds, 4096, O_NONBLOCK);
    signal(SIGPIPE, SIG_IGN);
    close(fds[0]);
    for (int i = 0; i < 5; i++) {
        append(s, "lost\n");
        assert_false(sink_flush(s));
    }
    sink_close(s);
    folder_content("errors");
    assert_int_equal(count(folder_text, "\n"), 2);
    assert_non_null(strstr(folder_text, "on a standard stream: Broken pipe; "));
    assert_non_null(strstr(folder_text, "[ERROR] 5 lines of the access log on a standard stream were lost"));
    close(fds[1]);
}

static void test_named_pipe_needs_no_reader(void **state)
{
    (void)state;
    assert_int_equal(mkfifo("access.log", 0600), 0);
    struct sink *s = open_sink("access.log", 1);
    append(s, "line\n");
    assert_false(sink_flush(s));
    int fd = open("access.log", O_RDONLY | O_NONBLOCK);
    take(fd);
    assert_string_equal(folder_text, "line\n");
    close(fd);
    append(s, "nobody\n");
    assert_false(sink_flush(s));
    sink_close(s);
    assert_string_equal(folder_content("errors"), "");
}

/* Writes lines until one is found in the file of that name: it is looked for twice a second. */
static void append_until_in(struct sink *s, const char *path)
{
    for (int i = 0; access(path, F_OK) < 0; i++) {
        assert_true(i < 600);
        append(s, "line\n");
        sink_flush(s);
        usleep(50000);
    }
}

static void test_file_that_was_moved_or_removed_is_made_again(void **state)
{
    (void)state;
    struct sink *s = open_sink("logs/access.log", 1);
    assert_int_equal(rename("logs/access.log", "logs/access.log.1"), 0);
    append_until_in(s, "logs/access.log");
    assert_int_equal(unlink("logs/access.log"), 0);
    append_until_in(s, "logs/access.log");
    assert_int_equal(rename("logs", "moved"), 0);
    append_until_in(s, "logs/access.log");
    assert_non_null(strstr(folder_content("logs/access.log"), "line\n"));
    sink_close(s);
    assert_string_equal(folder_content("errors"), "");
}

static void test_file_that_cannot_be_opened_is_tried_again(void **state)
{
    (void)state;
    close(open("logs", O_CREAT | O_WRONLY, 0600)); /* a file where the folder should be */
    struct sink *s = open_sink("logs/access.log", 1);
    append(s, "lost\n");
    assert_false(sink_flush(s));
    assert_int_equal(sink_reopen(s), -ENOTDIR);
    assert_int_equal(unlink("logs"), 0);
    append_until_in(s, "logs/access.log");
    sink_close(s);
    folder_content("errors");
    assert_int_equal(count(folder_text, "\n"), 2);
    assert_non_null(strstr(folder_text, "[WARNING] The access log logs/access.log can be written again; "));
    assert_string_equal(folder_content("logs/access.log"), "line\n");
}

static void test_file_that_was_replaced_is_followed(void **state)
{
    (void)state;
    struct sink *s = open_sink("access.log", 1);
    close(open("new", O_CREAT | O_WRONLY, 0600));
    assert_int_equal(rename("new", "access.log"), 0);
    for (int i = 0; folder_content("access.log")[0] == '\0'; i++) {
        assert_true(i < 600);
        append(s, "line\n");
        sink_flush(s);
        usleep(50000);
    }
    sink_close(s);
}

/* So that who rotates it knows when nobody writes to it any more. */
static void test_open_file_carries_a_lock(void **state)
{
    (void)state;
    struct sink *s = open_sink("access.log", 1);
    int fd = open("access.log", O_RDONLY);
    assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), -1);
    assert_int_equal(rename("access.log", "access.log.1"), 0);
    assert_int_equal(sink_reopen(s), 0);
    assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
    close(fd);
    sink_close(s);
}

static void test_several_processes_append_whole_lines(void **state)
{
    (void)state;
    enum { PROCESSES = 4, LINES = 500 };
    for (int p = 0; p < PROCESSES; p++) {
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            struct sink *s;
            if (sink_open(&s, "access.log", 1) < 0) {
                _exit(1);
            }
            char line[202];
            memset(line, 'a' + p, 200);
            for (int i = 0; i < LINES; i++) {
                size_t len = 1 + (size_t)i % 200;
                line[len] = '\n';
                append_bytes(s, line, len + 1);
                line[len] = (char)('a' + p);
                if (i % 7 == 0) {
                    sink_flush(s);
                }
            }
            sink_close(s);
            _exit(0);
        }
    }
    for (int p = 0; p < PROCESSES; p++) {
        int status;
        assert_true(wait(&status) > 0);
        assert_int_equal(status, 0);
    }
    int lines = 0;
    folder_content("access.log");
    for (char *save, *line = strtok_r(folder_text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char same[] = {line[0], '\0'};
        assert_int_equal(strspn(line, same), strlen(line));
        lines++;
    }
    assert_int_equal(lines, PROCESSES * LINES);
}

static void test_closing_nothing_is_fine(void **state)
{
    (void)state;
    sink_close(NULL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(test_lines_reach_the_file_at_the_flush),
        TEST(test_flush_is_one_write),
        TEST(test_much_is_written_without_a_flush),
        TEST(test_dash_is_the_given_descriptor_and_stays_open),
        TEST(test_missing_folders_are_made_less_the_umask),
        TEST(test_file_is_appended_to_and_closed_on_exec),
        TEST(test_paths_that_cannot_be_opened_say_why),
        TEST(test_reopen_follows_the_path),
        TEST(test_failed_reopen_keeps_the_old_file),
        TEST(test_full_disk_drops_lines_and_is_told_of_once),
        TEST(test_lines_wait_for_a_slow_reader),
        TEST(test_lines_that_nobody_reads_are_counted),
        TEST(test_pipe_that_blocks_makes_nobody_wait),
        TEST(test_pipe_takes_whole_lines_only),
        TEST(test_line_longer_than_a_pipe_takes_at_once),
        TEST(test_pipe_without_a_reader_is_told_of_once),
        TEST(test_named_pipe_needs_no_reader),
        TEST(test_file_that_was_moved_or_removed_is_made_again),
        TEST(test_file_that_cannot_be_opened_is_tried_again),
        TEST(test_file_that_was_replaced_is_followed),
        TEST(test_open_file_carries_a_lock),
        TEST(test_several_processes_append_whole_lines),
        TEST(test_closing_nothing_is_fine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
