/* test_log.c - the lines of the server log, and where they go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/base/log.h"
#include "tests/unit/folder.h"

/* Each test starts in an empty folder of its own. */
static int begin(void **state)
{
    (void)state;
    return folder_enter();
}

static int end(void **state)
{
    (void)state;
    log_close();
    return folder_leave();
}

static void assert_matches(const char *got, const char *pattern)
{
    regex_t r;
    assert_int_equal(regcomp(&r, pattern, REG_EXTENDED | REG_NOSUB), 0);
    if (regexec(&r, got, 0, NULL, 0) != 0) {
        fail_msg("'%s' is not of the form '%s'", got, pattern);
    }
    regfree(&r);
}

static void assert_line(const char *path, const char *level_and_text)
{
    char pattern[256];
    snprintf(pattern, sizeof(pattern),
             "^\\[[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2} [+-][0-9]{4}\\] \\[%d\\] %s\n$", (int)getpid(),
             level_and_text);
    assert_matches(folder_content(path), pattern);
}

static void test_line_has_gunicorns_form(void **state)
{
    (void)state;
    assert_int_equal(log_open("log", LOG_LEVEL_INFO), 0);
    log_info("Listening at: %s (%d)", "https://0.0.0.0:8080", 7);
    assert_line("log", "\\[INFO\\] Listening at: https://0\\.0\\.0\\.0:8080 \\(7\\)");
}

static void test_every_level_has_its_name(void **state)
{
    (void)state;
    static const char *const names[] = {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"};
    for (int level = LOG_LEVEL_DEBUG; level <= LOG_LEVEL_CRITICAL; level++) {
        char expected[64];
        unlink("log");
        assert_int_equal(log_open("log", LOG_LEVEL_DEBUG), 0);
        log_line((enum log_level)level, "text");
        snprintf(expected, sizeof(expected), "\\[%s\\] text", names[level]);
        assert_line("log", expected);
    }
}

static void test_lines_below_the_level_are_left_out(void **state)
{
    (void)state;
    for (int limit = LOG_LEVEL_DEBUG; limit <= LOG_LEVEL_CRITICAL; limit++) {
        for (int level = LOG_LEVEL_DEBUG; level <= LOG_LEVEL_CRITICAL; level++) {
            unlink("log");
            assert_int_equal(log_open("log", (enum log_level)limit), 0);
            log_line((enum log_level)level, "text");
            log_text((enum log_level)level, "text", 4);
            assert_int_equal(log_enabled((enum log_level)level), level >= limit);
            assert_int_equal(folder_content("log")[0] != '\0', level >= limit);
        }
    }
}

static void test_long_line_is_written_whole(void **state)
{
    (void)state;
    static const size_t lengths[] = {510, 511, 512, 513, 100000};
    char *long_text = malloc(100001);
    assert_non_null(long_text);
    memset(long_text, 'x', 100000);
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        unlink("log");
        assert_int_equal(log_open("log", LOG_LEVEL_INFO), 0);
        log_info("%.*s!", (int)lengths[i], long_text);
        const char *x = strchr(folder_content("log"), 'x');
        assert_int_equal(strspn(x, "x"), lengths[i]);
        assert_string_equal(x + lengths[i], "!\n");
    }
    free(long_text);
}

static void test_text_keeps_its_line_breaks_and_ends_in_one(void **state)
{
    (void)state;
    static const char traceback[] = "Traceback:\n  File x\nValueError\n\n";
    assert_int_equal(log_open("log", LOG_LEVEL_INFO), 0);
    log_text(LOG_LEVEL_ERROR, traceback, strlen(traceback));
    assert_line("log", "\\[ERROR\\] Traceback:\n  File x\nValueError");
}

static void test_errno_is_preserved(void **state)
{
    (void)state;
    assert_int_equal(log_open("/dev/full", LOG_LEVEL_INFO), 0);
    errno = ENOTTY;
    log_info("lost");
    log_debug("not even tried");
    log_text(LOG_LEVEL_INFO, "lost", 4);
    assert_int_equal(errno, ENOTTY);
}

static void test_missing_folder_is_made(void **state)
{
    (void)state;
    assert_int_equal(log_open("logs/of/today/error.log", LOG_LEVEL_INFO), 0);
    log_info("text");
    assert_line("logs/of/today/error.log", "\\[INFO\\] text");
}

static void test_lines_are_appended_to_what_is_there(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(log_open("log", LOG_LEVEL_INFO), 0);
        log_info("number %d", i);
    }
    assert_matches(folder_content("log"), "number 0\n.*number 1\n.*number 2\n$");
}

static void test_log_that_cannot_be_opened_leaves_the_old_one(void **state)
{
    (void)state;
    assert_int_equal(log_open("log", LOG_LEVEL_INFO), 0);
    assert_int_equal(log_open("log/below/a/file", LOG_LEVEL_CRITICAL), -ENOTDIR);
    assert_int_equal(log_open("/proc/nowhere/log", LOG_LEVEL_CRITICAL), -ENOENT);
    assert_int_equal(log_open(folder, LOG_LEVEL_CRITICAL), -EISDIR);
    log_info("still here");
    assert_line("log", "\\[INFO\\] still here");
}

static void test_reopen_follows_the_path_and_keeps_the_number(void **state)
{
    (void)state;
    assert_int_equal(log_open("log", LOG_LEVEL_INFO), 0);
    int fd = log_fd();
    log_info("old");
    assert_int_equal(rename("log", "log.1"), 0);
    log_info("late");
    assert_int_equal(log_reopen(), 0);
    log_info("new");
    assert_int_equal(log_fd(), fd);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_line("log", "\\[INFO\\] new");
    assert_matches(folder_content("log.1"), "old\n.*late\n$");
}

static void test_failed_reopen_keeps_the_old_file(void **state)
{
    (void)state;
    assert_int_equal(log_open("logs/log", LOG_LEVEL_INFO), 0);
    assert_int_equal(rename("logs", "moved"), 0);
    close(open("logs", O_CREAT | O_WRONLY, 0600)); /* a file where the folder was */
    assert_int_equal(log_reopen(), -ENOTDIR);
    log_info("kept");
    assert_line("moved/log", "\\[INFO\\] kept");
}

static void test_dash_is_standard_error(void **state)
{
    (void)state;
    assert_int_equal(log_fd(), STDERR_FILENO);
    assert_int_equal(log_open("log", LOG_LEVEL_INFO), 0);
    assert_int_not_equal(log_fd(), STDERR_FILENO);
    assert_int_equal(log_open("-", LOG_LEVEL_INFO), 0);
    assert_int_equal(log_fd(), STDERR_FILENO);
    assert_int_equal(log_reopen(), 0);
    assert_int_equal(log_open("log", LOG_LEVEL_INFO), 0);
    log_close();
    assert_int_equal(log_fd(), STDERR_FILENO);
    assert_true(fcntl(STDERR_FILENO, F_GETFD) >= 0); /* and it was not closed */
    log_close();
}

static void test_lines_of_several_processes_never_mix(void **state)
{
    (void)state;
    enum { PROCESSES = 4, LINES = 300 };
    assert_int_equal(log_open("log", LOG_LEVEL_INFO), 0);
    for (int p = 0; p < PROCESSES; p++) {
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            char letters[201];
            memset(letters, 'a' + p, 200);
            for (int i = 0; i < LINES; i++) {
                log_info("%.*s", 1 + i % 200, letters);
            }
            _exit(0);
        }
    }
    for (int p = 0; p < PROCESSES; p++) {
        int status;
        assert_true(wait(&status) > 0);
        assert_int_equal(status, 0);
    }
    int lines = 0;
    for (char *save, *line = strtok_r((char *)folder_content("log"), "\n", &save); line;
         line = strtok_r(NULL, "\n", &save)) {
        const char *letters = strstr(line, "[INFO] ");
        assert_int_equal(line[0], '[');
        assert_non_null(letters);
        letters += strlen("[INFO] ");
        char same[] = {letters[0], '\0'};
        assert_int_equal(strspn(letters, same), strlen(letters));
        lines++;
    }
    assert_int_equal(lines, PROCESSES * LINES);
}

static void test_json_is_an_object_a_record(void **state)
{
    (void)state;
    static const char traceback[] = "Error in \"x\"\nTraceback:\n  File x\nValueError\n";
    char pattern[512];
    log_set_form(LOG_FORM_JSON);
    assert_int_equal(log_open("log", LOG_LEVEL_INFO), 0);
    log_exception(LOG_LEVEL_ERROR, traceback, strlen(traceback));
    log_foreign("one\ntwo\n", 8);
    log_set_form(LOG_FORM_AUTO);
#define HEAD                                                                                                           \
    "\\{\"time\":\"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\\.[0-9]{6}[+-][0-9]{2}:[0-9]{2}\",\"level\":\"ERROR\","        \
    "\"pid\":[0-9]+,"
    snprintf(pattern, sizeof(pattern), "^%s%s%s%s%s%s$", HEAD,
             "\"message\":\"Error in \\\\\"x\\\\\"\",\"exception\":\"Traceback:\\\\n  File x\\\\nValueError\"\\}\n",
             HEAD, "\"message\":\"one\"\\}\n", HEAD, "\"message\":\"two\"\\}\n");
    assert_matches(folder_content("log"), pattern);
}

static void test_lines_of_another_process_are_records_of_json_once(void **state)
{
    (void)state;
    static const char lines[] = "{\"message\":\"a record\"}\n\nTraceback:\n";
    log_set_form(LOG_FORM_JSON);
    assert_int_equal(log_open("log", LOG_LEVEL_CRITICAL), 0);
    log_lines(LOG_LEVEL_ERROR, lines, strlen(lines));
    log_set_form(LOG_FORM_AUTO);
    assert_matches(folder_content("log"),
                   "^\\{\"message\":\"a record\"\\}\n"
                   "\\{\"time\":[^{}]*\"level\":\"ERROR\",[^{}]*\"message\":\"Traceback:\"\\}\n$");
}

static void test_foreign_lines_are_written_as_they_are(void **state)
{
    (void)state;
    assert_int_equal(log_open("log", LOG_LEVEL_CRITICAL), 0);
    for (int i = 0; i < 10; i++) {
        log_foreign("x\n", 2);
    }
    assert_string_equal(folder_content("log"), "x\nx\nx\nx\nx\nx\nx\nx\nx\nx\n");
}

static void test_equal_lines_are_folded(void **state)
{
    (void)state;
    assert_int_equal(log_open("log", LOG_LEVEL_INFO), 0);
    for (int i = 0; i < 2000; i++) {
        log_info("same");
    }
    log_info("other");
    assert_matches(folder_content("log"), "^([^\n]*same\n){5}[^\n]*other\n$");
    assert_true(log_deadline() > 0);
    log_close(); /* what is not told yet is told now */
    assert_matches(folder_content("log"), "\\[INFO\\] same \\.\\.\\. 1,995 more in [0-9]+ s\n$");
}

static void test_records_that_could_not_be_written_are_counted(void **state)
{
    (void)state;
    int fds[2], before = dup(STDERR_FILENO);
    static char got[200000];
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    dup2(fds[1], STDERR_FILENO); /* it blocks, and nobody reads */
    assert_int_equal(log_open("-", LOG_LEVEL_INFO), 0);
    for (int i = 0; i < 3000; i++) {
        log_info("number %d, %0100d", i, 0);
    }
    ssize_t n = read(fds[0], got, sizeof(got) - 1);
    assert_true(n > 0 && got[n - 1] == '\n');
    log_info("back");
    n = read(fds[0], got, sizeof(got) - 1);
    got[n] = '\0';
    dup2(before, STDERR_FILENO);
    close(before);
    assert_matches(got,
                   "\\[INFO\\] back\n.*\\[WARNING\\] This log could not be written for a while: [0-9]+ records are "
                   "missing before this one\n$");
    close(fds[0]);
    close(fds[1]);
}

/* Logs until there is a file of that name again: it is looked for twice a second. */
static void test_moved_file_is_opened_again_without_a_signal(void **state)
{
    (void)state;
    assert_int_equal(log_open("logs/log", LOG_LEVEL_INFO), 0);
    log_info("before");
    assert_int_equal(rename("logs", "moved"), 0);
    for (int i = 0; access("logs/log", F_OK) < 0; i++) {
        assert_true(i < 600);
        log_info("number %d", i);
        usleep(50000);
    }
    assert_matches(folder_content("moved/log"), "before\n");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(test_line_has_gunicorns_form),
        TEST(test_every_level_has_its_name),
        TEST(test_lines_below_the_level_are_left_out),
        TEST(test_long_line_is_written_whole),
        TEST(test_text_keeps_its_line_breaks_and_ends_in_one),
        TEST(test_errno_is_preserved),
        TEST(test_missing_folder_is_made),
        TEST(test_lines_are_appended_to_what_is_there),
        TEST(test_log_that_cannot_be_opened_leaves_the_old_one),
        TEST(test_reopen_follows_the_path_and_keeps_the_number),
        TEST(test_failed_reopen_keeps_the_old_file),
        TEST(test_dash_is_standard_error),
        TEST(test_lines_of_several_processes_never_mix),
        TEST(test_json_is_an_object_a_record),
        TEST(test_lines_of_another_process_are_records_of_json_once),
        TEST(test_foreign_lines_are_written_as_they_are),
        TEST(test_equal_lines_are_folded),
        TEST(test_records_that_could_not_be_written_are_counted),
        TEST(test_moved_file_is_opened_again_without_a_signal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
