/* test_daemon.c - titles, program paths, pid files, reports. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/base/buf.h"
#include "server/process/daemon.h"
#include "server/process/pidfile.h"
#include "server/process/title.h"

static const struct launch *launch;

static size_t read_proc(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    ssize_t n = read(fd, text, size - 1);
    assert_true(n >= 0);
    text[n] = '\0';
    close(fd);
    return (size_t)n;
}

/* Title */

static void test_title_shows_in_the_process_table(void **state)
{
    (void)state;
    char got[4096];
    title_set("%s: master [%s]", "/home/u/venv/bin/cwsgi", "hello:app");
    read_proc("/proc/self/cmdline", got, sizeof(got));
    assert_string_equal(got, "/home/u/venv/bin/cwsgi: master [hello:app]");
}

static void test_long_title_is_shown_whole_though_the_command_line_was_short(void **state)
{
    (void)state;
    char want[600], got[4096];
    memset(want, 'x', sizeof(want) - 1);
    want[sizeof(want) - 1] = '\0';
    title_set("%s", want);
    read_proc("/proc/self/cmdline", got, sizeof(got));
    assert_string_equal(got, want);
}

static void test_shorter_title_leaves_nothing_of_the_longer(void **state)
{
    (void)state;
    char got[4096];
    title_set("%0500d", 1);
    title_set("cwsgi: stopping");
    size_t n = read_proc("/proc/self/cmdline", got, sizeof(got));
    assert_string_equal(got, "cwsgi: stopping");
    for (size_t i = strlen(got); i < n; i++) {
        assert_int_equal(got[i], '\0');
    }
}

static void test_endless_title_is_cut(void **state)
{
    (void)state;
    char got[8192];
    title_set("%09000d", 1);
    assert_true(read_proc("/proc/self/cmdline", got, sizeof(got)) <= 4096);
    assert_memory_equal(got, "0000", 4);
}

static void test_environment_and_arguments_survive_titles(void **state)
{
    (void)state;
    title_set("%0800d", 1);
    assert_string_equal(getenv("TEST_DAEMON"), "yes");
    assert_string_equal(launch->argv[1], "short");
    assert_int_equal(launch->argc, 2);
    assert_null(launch->argv[2]);
    assert_null(getenv("CWSGI_TITLE_PAD"));
}

static void test_launch_keeps_the_environment_of_the_start(void **state)
{
    (void)state;
    setenv("TEST_DAEMON", "changed", 1);
    setenv("TEST_DAEMON_NEW", "1", 1);
    bool kept = false;
    for (char **e = launch->env; *e; e++) {
        kept = kept || strcmp(*e, "TEST_DAEMON=yes") == 0;
        assert_int_not_equal(strncmp(*e, "TEST_DAEMON_NEW", 15), 0);
    }
    assert_true(kept);
    setenv("TEST_DAEMON", "yes", 1);
}

static void test_process_keeps_its_name(void **state)
{
    (void)state;
    char got[64];
    read_proc("/proc/self/comm", got, sizeof(got));
    assert_string_equal(got, "test_daemon\n");
}

/* Program path */

static void assert_program(const char *argv0, const char *want)
{
    char *got = program_path(argv0);
    assert_non_null(got);
    assert_string_equal(got, want);
    free(got);
}

static void test_program_is_found_on_path_through_links(void **state)
{
    (void)state;
    char path[PATH_MAX], link[] = "current";
    char *cwd = getcwd(NULL, 0);
    assert_int_equal(symlink(launch->program, link), 0);
    snprintf(path, sizeof(path), "/nonexistent:%s:/bin", cwd);
    setenv("PATH", path, 1);
    snprintf(path, sizeof(path), "%s/current", cwd);
    setenv("PWD", cwd, 1);

    assert_program("current", path); /* not what it leads to: a reload follows the link anew */
    assert_program(path, path);
    snprintf(path, sizeof(path), "%s/./current", cwd);
    assert_program("./current", path);
    setenv("PATH", "/bin::/nonexistent", 1); /* an empty entry is the current directory */
    snprintf(path, sizeof(path), "%s/current", cwd);
    assert_program("current", path);

    setenv("PATH", "/bin", 1);
    unlink(link);
    free(cwd);
}

static void test_false_argv0_leads_to_ourselves(void **state)
{
    (void)state;
    char real[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", real, sizeof(real) - 1);
    assert_true(n > 0);
    real[n] = '\0';
    assert_program("sh", real); /* there is one, but it is not us */
    assert_program("/bin/sh", real);
    assert_program("not-there", real);
    assert_program("", real);
}

/* Pid file */

static void test_pid_file_holds_our_pid_and_goes_with_us(void **state)
{
    (void)state;
    struct pidfile *p;
    struct buf error = {0};
    char got[32], want[32];
    struct stat st;
    umask(077);
    assert_int_equal(pidfile_create(&p, "a.pid", NULL, NULL, &error), 0);
    umask(022);
    read_proc("a.pid", got, sizeof(got));
    snprintf(want, sizeof(want), "%ld\n", (long)getpid());
    assert_string_equal(got, want);
    assert_int_equal(stat("a.pid", &st), 0);
    assert_int_equal(st.st_mode & 0777, 0644);
    assert_int_equal(pidfile_path(p)[0], '/');
    pidfile_remove(p);
    assert_int_equal(access("a.pid", F_OK), -1);
    buf_finish(&error);
}

static void test_second_start_is_refused_and_leaves_the_file(void **state)
{
    (void)state;
    struct pidfile *p, *second;
    struct buf error = {0};
    char want[128];
    assert_int_equal(pidfile_create(&p, "a.pid", NULL, NULL, &error), 0);
    assert_true(pidfile_create(&second, "a.pid", NULL, NULL, &error) < 0);
    snprintf(want, sizeof(want), "Already running on PID %ld (or pid file 'a.pid' is stale)", (long)getpid());
    assert_string_equal(buf_cstr(&error), want);
    assert_int_equal(access("a.pid", F_OK), 0);
    pidfile_remove(p);
    buf_finish(&error);
}

static void test_released_file_may_be_had_by_another_and_is_removed_by_who_has_it(void **state)
{
    (void)state;
    struct pidfile *p, *second;
    struct buf error = {0};
    assert_int_equal(pidfile_create(&p, "a.pid", NULL, NULL, &error), 0);
    pidfile_release(p);
    assert_int_equal(access("a.pid", F_OK), 0);
    assert_int_equal(pidfile_create(&second, "a.pid", NULL, NULL, &error), 0);
    pidfile_remove(p);
    assert_int_equal(access("a.pid", F_OK), 0);
    pidfile_release(second);
    pidfile_remove(second);
    assert_int_equal(access("a.pid", F_OK), -1);
}

static void write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static void test_only_what_a_dead_process_has_left_is_seized(void **state)
{
    (void)state;
    struct pidfile *p;
    struct buf error = {0};
    const char *const others[] = {"", "notes\n", "0\n"};
    assert_null(pidfile_seize("a.pid"));
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        write_file("a.pid", others[i]);
        assert_null(pidfile_seize("a.pid"));
    }
    unlink("a.pid");
    assert_int_equal(pidfile_create(&p, "a.pid", NULL, NULL, &error), 0);
    assert_null(pidfile_seize(pidfile_path(p)));
    write_file("a.pid.2", "77\n");
    pidfile_clear(p, ".2");
    assert_int_equal(access("a.pid.2", F_OK), -1);
    pidfile_clear(p, ".2");
    pidfile_remove(p);
    pidfile_clear(NULL, ".2");
}

static void test_recycled_pid_does_not_block_a_start(void **state)
{
    (void)state;
    const char *const stale[] = {"1\n", "", "rubbish", "99999999999999999999\n"};
    for (size_t i = 0; i < sizeof(stale) / sizeof(stale[0]); i++) {
        struct pidfile *p;
        struct buf error = {0};
        write_file("a.pid", stale[i]);
        assert_int_equal(pidfile_create(&p, "a.pid", NULL, NULL, &error), 0);
        pidfile_remove(p);
    }
}

static void test_file_of_a_successor_is_not_removed(void **state)
{
    (void)state;
    struct pidfile *p;
    struct buf error = {0};
    assert_int_equal(pidfile_create(&p, "a.pid", NULL, NULL, &error), 0);
    unlink("a.pid");
    write_file("a.pid", "77\n");
    pidfile_remove(p);
    assert_int_equal(access("a.pid", F_OK), 0);
    unlink("a.pid");
}

static void test_missing_directory_is_told(void **state)
{
    (void)state;
    struct pidfile *p;
    struct buf error = {0};
    assert_true(pidfile_create(&p, "no/such/a.pid", NULL, NULL, &error) < 0);
    assert_string_equal(buf_cstr(&error), "Can't write the pid file 'no/such/a.pid': No such file or directory");
    buf_finish(&error);
}

static void test_lock_ends_with_the_owner_though_children_live(void **state)
{
    (void)state;
    struct pidfile *p;
    struct buf error = {0};
    int fds[2];
    pid_t child;
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    pid_t owner = fork();
    if (owner == 0) {
        struct pidfile *mine;
        assert_int_equal(pidfile_create(&mine, "a.pid", NULL, NULL, &error), 0);
        if (fork() == 0) {
            pidfile_forget(mine);
            child = getpid();
            assert_int_equal(write(fds[1], &child, sizeof(child)), sizeof(child));
            pause();
        }
        struct pollfd told = {.fd = fds[0], .events = POLLIN};
        poll(&told, 1, 5000);
        _exit(0); /* without removing it: as if killed */
    }
    assert_int_equal(waitpid(owner, NULL, 0), owner);
    assert_int_equal(pidfile_create(&p, "a.pid", NULL, NULL, &error), 0);
    pidfile_remove(p);
    assert_int_equal(read(fds[0], &child, sizeof(child)), sizeof(child));
    kill(child, SIGKILL);
    close(fds[0]);
    close(fds[1]);
}

static void test_next_image_keeps_the_locked_file(void **state)
{
    (void)state;
    struct pidfile *p, *next, *second;
    struct buf error = {0};
    struct stat before, after;
    assert_int_equal(pidfile_create(&p, "a.pid", NULL, NULL, &error), 0);
    assert_int_equal(stat("a.pid", &before), 0);

    struct pidfile *adopted = pidfile_adopt(fcntl(pidfile_fd(p), F_DUPFD_CLOEXEC, 0), pidfile_path(p));
    pidfile_forget(p);
    assert_int_equal(pidfile_create(&next, "a.pid", adopted, NULL, &error), 0);
    assert_int_equal(stat("a.pid", &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    assert_true(pidfile_create(&second, "a.pid", NULL, NULL, &error) < 0);
    buf_finish(&error);

    struct pidfile *moved; /* the setting has changed */
    assert_int_equal(pidfile_create(&moved, "b.pid", next, NULL, &error), 0);
    assert_int_equal(access("a.pid", F_OK), -1);
    assert_int_equal(access("b.pid", F_OK), 0);
    pidfile_remove(moved);
    buf_finish(&error);
}

static void test_no_pid_file_is_fine(void **state)
{
    (void)state;
    pidfile_remove(NULL);
    pidfile_release(NULL);
    pidfile_forget(NULL);
    assert_int_equal(pidfile_fd(NULL), -1);
    assert_null(pidfile_path(NULL));
}

/* Reports */

static void test_report_is_told_once(void **state)
{
    (void)state;
    int fds[2];
    char got[4];
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    daemon_report(&fds[1], 3);
    assert_int_equal(fds[1], -1);
    daemon_report(&fds[1], 4);
    assert_int_equal(read(fds[0], got, sizeof(got)), 1);
    assert_int_equal(got[0], 3);
    close(fds[0]);
}

/* Started by anyone, it executes itself as a server is started at its worst: with next to no arguments and variables.
 */
int main(int argc, char **argv)
{
    if (argc == 1) {
        char *again[] = {argv[0], (char *)"short", NULL};
        char *env[] = {(char *)"TEST_DAEMON=yes", (char *)"PATH=/bin", (char *)"PWD=/", NULL};
        execve(argv[0], again, env);
        return 1;
    }
    launch = title_init(argc, argv);
    char tmp[] = "/tmp/test_daemon.XXXXXX";
    if (!launch || !mkdtemp(tmp) || chdir(tmp) < 0) {
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_title_shows_in_the_process_table),
        cmocka_unit_test(test_long_title_is_shown_whole_though_the_command_line_was_short),
        cmocka_unit_test(test_shorter_title_leaves_nothing_of_the_longer),
        cmocka_unit_test(test_endless_title_is_cut),
        cmocka_unit_test(test_environment_and_arguments_survive_titles),
        cmocka_unit_test(test_launch_keeps_the_environment_of_the_start),
        cmocka_unit_test(test_process_keeps_its_name),
        cmocka_unit_test(test_program_is_found_on_path_through_links),
        cmocka_unit_test(test_false_argv0_leads_to_ourselves),
        cmocka_unit_test(test_pid_file_holds_our_pid_and_goes_with_us),
        cmocka_unit_test(test_second_start_is_refused_and_leaves_the_file),
        cmocka_unit_test(test_released_file_may_be_had_by_another_and_is_removed_by_who_has_it),
        cmocka_unit_test(test_recycled_pid_does_not_block_a_start),
        cmocka_unit_test(test_only_what_a_dead_process_has_left_is_seized),
        cmocka_unit_test(test_file_of_a_successor_is_not_removed),
        cmocka_unit_test(test_missing_directory_is_told),
        cmocka_unit_test(test_lock_ends_with_the_owner_though_children_live),
        cmocka_unit_test(test_next_image_keeps_the_locked_file),
        cmocka_unit_test(test_no_pid_file_is_fine),
        cmocka_unit_test(test_report_is_told_once),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(tmp);
    return failed;
}
