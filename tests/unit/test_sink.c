/* test_sink.c - collected lines, and how they reach a file, a pipe or nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

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

static void append(struct sink *s, const char *line)
{
    sink_append(s, line, strlen(line));
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
        sink_append(s, line, sizeof(line));
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
    assert_int_equal(sink_fd(s), fds[1]);
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
    int fd = sink_open_file("log");
    assert_true(fd >= 0);
    assert_true(fcntl(fd, F_GETFL) & O_APPEND);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    close(fd);
}

static void test_paths_that_cannot_be_opened_say_why(void **state)
{
    (void)state;
    struct sink *s = NULL;
    close(open("file", O_CREAT | O_WRONLY, 0600));
    assert_int_equal(sink_open(&s, "", 1), -ENOENT);
    assert_int_equal(sink_open(&s, folder, 1), -EISDIR);
    assert_int_equal(sink_open(&s, "file/log", 1), -ENOTDIR);
    assert_int_equal(sink_open(&s, "/proc/nowhere/log", 1), -ENOENT);
    assert_null(s);
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
    assert_int_equal(count(folder_text, "\n"), 1);
    assert_non_null(strstr(folder_text, "[ERROR] Cannot write to the access log /dev/full: No space left on device"));
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

static void test_full_pipe_holds_nobody_up(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(pipe2(fds, O_NONBLOCK), 0);
    assert_in_range(fcntl(fds[1], F_SETPIPE_SZ, 4096), 4096, sizeof(folder_text));
    struct sink *s = open_sink("-", fds[1]);
    size_t n = fill(fds[1]);
    append(s, "lost\n");
    sink_flush(s);
    assert_int_equal(read(fds[0], folder_text, sizeof(folder_text)), n);
    append(s, "line\n");
    sink_flush(s);
    assert_int_equal(read(fds[0], folder_text, sizeof(folder_text)), 5);
    assert_memory_equal(folder_text, "line\n", 5);
    sink_close(s);
    folder_content("errors");
    assert_int_equal(count(folder_text, "\n"), 2);
    assert_non_null(
        strstr(folder_text, "[WARNING] The access log on a standard stream can be written again; 5 bytes were lost"));
    close(fds[0]);
    close(fds[1]);
}

static void test_line_cut_by_a_full_pipe_is_not_mixed_with_the_next(void **state)
{
    (void)state;
    static char line[100000];
    int fds[2];
    memset(line, 'x', sizeof(line));
    line[sizeof(line) - 1] = '\n';
    assert_int_equal(pipe2(fds, O_NONBLOCK), 0);
    assert_in_range(fcntl(fds[1], F_SETPIPE_SZ, 4096), 4096, sizeof(line) - 1); /* a page, whatever its size */
    struct sink *s = open_sink("-", fds[1]);
    sink_append(s, line, sizeof(line));
    sink_flush(s); /* some of it went in */
    ssize_t before = read(fds[0], folder_text, sizeof(folder_text));
    append(s, "line\n");
    sink_flush(s);
    ssize_t n = before + read(fds[0], folder_text + before, sizeof(folder_text) - (size_t)before);
    sink_close(s);
    assert_true(n >= 5);
    assert_memory_equal(folder_text + n - 5, "line\n", 5);
    assert_true(n == 5 || folder_text[n - 6] == '\n');
    close(fds[0]);
    close(fds[1]);
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
                sink_append(s, line, len + 1);
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
        TEST(test_full_pipe_holds_nobody_up),
        TEST(test_line_cut_by_a_full_pipe_is_not_mixed_with_the_next),
        TEST(test_several_processes_append_whole_lines),
        TEST(test_closing_nothing_is_fine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
