/* shortage.c - preloaded into the server by tests: what is short is named by files in the current folder. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <unistd.h>

static bool is_short(const char *name)
{
    return access(name, F_OK) == 0;
}

pid_t fork(void)
{
    pid_t (*real)(void) = (pid_t(*)(void))dlsym(RTLD_NEXT, "fork");
    if (is_short("no-processes")) {
        errno = EAGAIN;
        return -1;
    }
    return real();
}

/* The file has the number of threads that a process may start. */
int pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*run)(void *), void *arg)
{
    static int started;
    int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *) =
        (int (*)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *))dlsym(RTLD_NEXT, "pthread_create");
    int most = -1;
    FILE *f = fopen("few-threads", "re");
    if (f) {
        if (fscanf(f, "%d", &most) != 1) {
            most = 0;
        }
        fclose(f);
    }
    return most >= 0 && started++ >= most ? EAGAIN : real(t, a, run, arg);
}

int inotify_init1(int flags)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "inotify_init1");
    if (is_short("no-inotify")) {
        errno = EMFILE;
        return -1;
    }
    return real(flags);
}

int flock(int fd, int operation)
{
    int (*real)(int, int) = (int (*)(int, int))dlsym(RTLD_NEXT, "flock");
    if (is_short("no-locks")) {
        errno = ENOLCK;
        return -1;
    }
    return real(fd, operation);
}

/* A full socket, for what is not application data where the kernel encrypts: OpenSSL says which with control data. */
ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    ssize_t (*real)(int, const struct msghdr *, int) =
        (ssize_t(*)(int, const struct msghdr *, int))dlsym(RTLD_NEXT, "sendmsg");
    if (message->msg_control && is_short("no-room")) {
        errno = EAGAIN;
        return -1;
    }
    return real(fd, message, flags);
}
