/* logwork.c - finishes log files that were rotated away: compresses them and hands them to the archive command. */
#include "server/process/logwork.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/config/settings.h"
#include "server/process/oldlogs.h"

#define AGE_MS 1000        /* of a file before it is touched: where there are no locks, writers have gone by then */
#define RETRY_US SECOND_US /* while somebody still writes to it */
#define LIMIT_US (3600 * SECOND_US) /* for a child */
#define PAUSE_MIN_US (60 * SECOND_US)
#define PAUSE_MAX_US (3600 * SECOND_US)

void logwork_init(struct logwork *w, const struct settings *s, const char *const *paths, size_t n)
{
    bool gzip = strcmp(s->log_compress, "gzip") == 0, zstd = strcmp(s->log_compress, "zstd") == 0;
    *w = (struct logwork){.paths = paths,
                          .n = n,
                          .end = gzip   ? ".gz"
                                 : zstd ? ".zst"
                                        : "",
                          .archive = s->log_archive_command,
                          .owner = getpid(),
                          .due_us = 1,
                          .archive_pause_us = PAUSE_MIN_US};
}

bool logwork_is_needed(const struct logwork *w)
{
    return *w->end || w->archive;
}

/* Names: `path` with something behind it, owned by the caller; NULL when memory is short */

static char *joined(const char *path, const char *end, const char *more)
{
    char *name;
    return asprintf(&name, "%s%s%s", path, end, more) < 0 ? NULL : name;
}

static bool is_there(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

/* The child */

static void become_low(void)
{
    enum { WHO_PROCESS = 1, CLASS_IDLE = 3, CLASS_SHIFT = 13 };
    setpgid(0, 0); /* so that it can be ended with all that it starts */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setpriority(PRIO_PROCESS, 0, 19);
    syscall(SYS_ioprio_set, WHO_PROCESS, 0, CLASS_IDLE << CLASS_SHIFT);
    for (int sig = 1; sig < NSIG; sig++) {
        signal(sig, SIG_DFL);
    }
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Runs gzip or zstd, and then sees to it that the result is on the disk: the master must not wait for that. */
static _Noreturn void compress(const char *end, int from, int to)
{
    become_low();
    pid_t pid = fork();
    if (pid == 0) {
        bool gzip = strcmp(end, ".gz") == 0;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(from, STDIN_FILENO);
        dup2(to, STDOUT_FILENO);
        dup2(log_fd(), STDERR_FILENO);
        if (gzip) {
            execlp("gzip", "gzip", "-c", (char *)NULL);
        } else {
            execlp("zstd", "zstd", "-q", "-c", (char *)NULL);
        }
        _exit(127);
    }
    int status = 1;
    struct stat st;
    bool done = pid > 0 && waitpid(pid, &status, 0) == pid && status == 0 && fsync(to) == 0;
    if (done && fstat(from, &st) == 0) {
        const struct timespec times[] = {st.st_atim, st.st_mtim};
        futimens(to, times);
    }
    _exit(done ? 0 : WIFEXITED(status) && WEXITSTATUS(status) > 0 ? WEXITSTATUS(status) : 1);
}

static _Noreturn void archive(const char *command, const char *file)
{
    become_low();
    char *with_file = joined(command, " \"$1\"", "");
    int null = open("/dev/null", O_RDONLY);
    dup2(null, STDIN_FILENO);
    dup2(log_fd(), STDOUT_FILENO);
    dup2(log_fd(), STDERR_FILENO);
    if (with_file) {
        execl("/bin/sh", "sh", "-c", with_file, "sh", file, (char *)NULL);
    }
    _exit(127);
}

/* Steps */

static void forget(struct logwork *w)
{
    free(w->path);
    w->path = NULL;
    w->step = LOGWORK_NONE;
    w->pid = 0;
}

static void started(struct logwork *w, enum logwork_step step, pid_t pid, const char *path, uint64_t now)
{
    char *copy = strdup(path);
    if (pid < 0 || !copy) {
        log_error("Can't start to %s the old log %s: %s; it is tried again",
                  step == LOGWORK_COMPRESS ? "compress" : "archive", path, strerror(pid < 0 ? errno : ENOMEM));
        if (pid > 0) {
            kill(pid, SIGKILL); /* and it is reaped as a child that nobody knows */
        }
        free(copy);
        w->due_us = now + PAUSE_MIN_US;
        return;
    }
    w->path = copy;
    w->pid = pid;
    w->step = step;
    w->give_up_us = now + LIMIT_US;
}

/* The file alone for us, or -errno. -EAGAIN: somebody still writes to it, or another server has it in hand. */
static int take_alone(const char *raw, struct stat *st)
{
    int fd = open(raw, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0) {
        return -errno;
    }
    int r = fstat(fd, st) < 0 ? -errno : 0;
    if (r == 0 && !S_ISREG(st->st_mode)) {
        r = -EINVAL;
    }
    if (r == 0 && flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK) {
        r = -EAGAIN;
    }
    if (r == 0 && (fstat(fd, st) < 0 || st->st_nlink == 0)) {
        r = -ENOENT; /* another server has finished it meanwhile */
    }
    if (r < 0) {
        close(fd);
    }
    return r < 0 ? r : fd;
}

/* As private as the log, and its owner's. */
static int make_result(const char *tmp, const struct stat *st)
{
    unlink(tmp);
    int fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) {
        return -errno;
    }
    if (fchown(fd, st->st_uid, st->st_gid) < 0) {
        /* not root: it stays ours */
    }
    fchmod(fd, st->st_mode & 0777);
    return fd;
}

static int start_compressing(struct logwork *w, const char *path, const char *raw, uint64_t now)
{
    struct stat st = {0};
    char *tmp = joined(path, w->end, OLDLOG_TMP);
    int from = tmp ? take_alone(raw, &st) : -ENOMEM;
    int to = from < 0 ? from : make_result(tmp, &st);
    if (to >= 0) {
        pid_t pid = fork();
        if (pid == 0) {
            compress(w->end, from, to);
        }
        started(w, LOGWORK_COMPRESS, pid, path, now);
        close(to);
    }
    if (from >= 0) {
        close(from); /* the child has it, and so the lock */
    }
    free(tmp);
    return to < 0 ? to : 0;
}

/* The command inherits the lock, so that neither the next image of the master nor another server runs it, too. */
static int start_archiving(struct logwork *w, const char *path, const char *raw, const char *file, uint64_t now)
{
    struct stat st;
    int lock = take_alone(raw, &st);
    if (lock < 0) {
        return lock;
    }
    pid_t pid = fork();
    if (pid == 0) {
        fcntl(lock, F_SETFD, 0);
        archive(w->archive, file);
    }
    started(w, LOGWORK_ARCHIVE, pid, path, now);
    close(lock);
    return 0;
}

/* Without compression the finished file is the same one under its last name. */
static int rename_raw(const struct logwork *w, const char *path, const char *raw)
{
    struct stat st;
    int fd = take_alone(raw, &st);
    if (fd < 0) {
        return fd;
    }
    close(fd);
    int r = w->archive ? link(raw, path) : rename(raw, path);
    return r < 0 && errno != EEXIST ? -errno : 0;
}

/* What is to be done next with an unfinished file. 0: it is in hand, or finished; -EAGAIN: later; else -errno. */
static int go_on(struct logwork *w, const char *path, uint64_t now)
{
    char *raw = joined(path, OLDLOG_RAW, ""), *done = joined(path, w->end, "");
    int r = raw && done ? 0 : -ENOMEM;
    if (r == 0 && !is_there(done)) {
        r = *w->end ? start_compressing(w, path, raw, now) : rename_raw(w, path, raw);
        if (r < 0 || *w->end) {
            goto out;
        }
    }
    if (r == 0 && w->archive && now < w->archive_at_us) {
        r = -EAGAIN;
    } else if (r == 0 && w->archive) {
        r = start_archiving(w, path, raw, done, now);
    } else if (r == 0 && unlink(raw) < 0 && errno != ENOENT) {
        r = -errno;
    }
out:
    free(raw);
    free(done);
    return r;
}

static uint64_t age_ms(const char *stamp)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t then = (int64_t)oldlog_time(stamp) * 1000 + strtol(stamp + OLDLOG_STAMP - 4, NULL, 10);
    int64_t age = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000 - then;
    return age < 0 ? AGE_MS : (uint64_t)age; /* the clock was set back */
}

void logwork_turn(struct logwork *w, uint64_t now)
{
    if (w->step != LOGWORK_NONE && now >= w->give_up_us) {
        kill(-w->pid, SIGKILL); /* its end goes on from here */
        w->give_up_us = UINT64_MAX;
    }
    if (w->step != LOGWORK_NONE || w->due_us == 0 || now < w->due_us) {
        return;
    }
    struct oldlogs o = {0};
    w->due_us = 0;
    for (size_t i = 0; i < w->n; i++) {
        oldlogs_list(&o, w->paths[i]); /* what cannot be read now is seen later */
    }
    oldlogs_sort(&o);
    for (size_t i = 0; i < o.n && w->step == LOGWORK_NONE; i++) {
        if (!o.list[i].raw) {
            continue;
        }
        int r = age_ms(o.list[i].stamp) < AGE_MS ? -EAGAIN : go_on(w, o.list[i].path, now);
        if (r == -EAGAIN) {
            w->due_us = now + RETRY_US;
        } else if (r < 0 && r != -ENOENT) {
            log_error("Can't finish the old log %s: %s; it is tried again", o.list[i].path, strerror(-r));
            w->due_us = now + PAUSE_MIN_US;
        }
    }
    oldlogs_finish(&o);
}

uint64_t logwork_deadline(const struct logwork *w)
{
    return w->step != LOGWORK_NONE ? w->give_up_us : w->due_us;
}

/* Ends of children */

static void compressed(struct logwork *w, bool good, int status)
{
    char *tmp = joined(w->path, w->end, OLDLOG_TMP), *done = joined(w->path, w->end, "");
    if (!tmp || !done || !good || rename(tmp, done) < 0) {
        log_error("Can't compress the old log %s: %s ended with status %d; it is tried again in a minute", w->path,
                  strcmp(w->end, ".gz") == 0 ? "gzip" : "zstd", status);
        if (tmp) {
            unlink(tmp);
        }
        w->due_us = clock_mono_us() + PAUSE_MIN_US;
    }
    free(tmp);
    free(done);
}

static void archived(struct logwork *w, bool good, int status)
{
    char *raw = joined(w->path, OLDLOG_RAW, "");
    if (good && raw) {
        unlink(raw);
        w->archive_at_us = 0;
        w->archive_pause_us = PAUSE_MIN_US;
    } else {
        log_error("The archive command failed for the old log %s (status %d); it is tried again in %llu s", w->path,
                  status, (unsigned long long)(w->archive_pause_us / SECOND_US));
        w->archive_at_us = clock_mono_us() + w->archive_pause_us;
        w->archive_pause_us = 2 * w->archive_pause_us < PAUSE_MAX_US ? 2 * w->archive_pause_us : PAUSE_MAX_US;
    }
    free(raw);
}

bool logwork_ended(struct logwork *w, pid_t pid, int status)
{
    if (w->step == LOGWORK_NONE || pid != w->pid) {
        return false;
    }
    bool good = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    int said = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    w->due_us = clock_mono_us();
    (w->step == LOGWORK_COMPRESS ? compressed : archived)(w, good, said);
    forget(w);
    return true;
}

void logwork_stop(struct logwork *w)
{
    if (w->step == LOGWORK_NONE || w->owner != getpid()) { /* a worker inherits what the master knows */
        free(w->path);
        return;
    }
    kill(-w->pid, SIGKILL);
    kill(w->pid, SIGKILL); /* before it has a group of its own */
    while (waitpid(w->pid, NULL, 0) < 0 && errno == EINTR) {
    }
    forget(w);
}
