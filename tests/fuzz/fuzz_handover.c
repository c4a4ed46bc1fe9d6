/* fuzz_handover.c - what an earlier image of the master may have left: any text in the memory file, which names any
 * descriptors. It is taken or refused; nothing leaks, and what is taken is complete.
 * A handover closes what it names. So that the fuzzer keeps its own files, descriptors live in a range of their own
 * here, and close and fcntl see no others meanwhile. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "server/base/buf.h"
#include "server/process/reexec.h"
#include "tests/fuzz/check.h"

#define FIRST 500 /* 500 and 501 listen, the rest are plain files */
#define LAST 509

static bool fenced;

static bool may_touch(int fd)
{
    return !fenced || (fd >= FIRST && fd <= LAST);
}

int __real_close(int fd);
int __wrap_close(int fd);
int __wrap_close(int fd)
{
    if (fenced) {
        errno = may_touch(fd) ? 0 : EBADF;
        return may_touch(fd) ? 0 : -1; /* the descriptors are used again */
    }
    return __real_close(fd);
}

int __real_fcntl64(int fd, int command, ...);
int __wrap_fcntl64(int fd, int command, ...);
int __wrap_fcntl64(int fd, int command, ...)
{
    va_list args;
    va_start(args, command);
    long arg = va_arg(args, long);
    va_end(args);
    if (!may_touch(fd)) {
        errno = EBADF;
        return -1;
    }
    return __real_fcntl64(fd, command, arg);
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    int file = memfd_create("file", MFD_CLOEXEC);
    CHECK(file >= 0, "memfd");
    for (int fd = FIRST; fd <= LAST; fd++) {
        int from = fd < FIRST + 2 ? socket(AF_UNIX, SOCK_STREAM, 0) : file;
        CHECK(dup3(from, fd, O_CLOEXEC) == fd, "dup3");
    }
    const struct sockaddr_un any = {.sun_family = AF_UNIX};
    CHECK(bind(FIRST, (const struct sockaddr *)&any, sizeof(any.sun_family)) == 0, "bind");
    return 0;
}

static void check_handover(const struct handover *h)
{
    CHECK(h->elder >= 0 && h->younger >= 0, "pids");
    CHECK(h->newborn || (h->master_fd[0] >= 0 && h->master_fd[1] >= 0 && h->wake_fd[0] >= 0 && h->wake_fd[1] >= 0),
          "no pipes");
    for (size_t i = 0; i < h->listeners.n; i++) {
        const struct listener *l = &h->listeners.list[i];
        CHECK(l->fd >= FIRST && l->bind && l->url && l->address, "listener %zu", i);
    }
}

/* The writer never tells of two pid files; the reader keeps the last one's name and forgets the memory of the first. */
static bool has_two_pidfiles(const struct buf *text)
{
    static const char LINE[] = "pidfile ";
    const char *first = text->len ? memmem(text->data, text->len, LINE, sizeof(LINE) - 1) : NULL;
    return first && memmem(first + 1, text->len - (size_t)(first + 1 - text->data), LINE, sizeof(LINE) - 1);
}

/* The first character of the input says whether the first line is the right one. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct buf text = {0};
    struct handover *h = NULL;
    char number[16];
    int r = len > 0 && data[0] == '0' ? buf_printf(&text, "cwsgi-handover 1 %ld\n", (long)getpid()) : 0;
    CHECK((r | buf_append(&text, len ? data + 1 : data, len ? len - 1 : 0)) == 0, "memory");
    if (has_two_pidfiles(&text)) {
        buf_finish(&text);
        return 0;
    }
    int fd = memfd_create("handover", 0);
    CHECK(fd >= 0 && write(fd, text.data, text.len) == (ssize_t)text.len, "memfd");
    snprintf(number, sizeof(number), "%d", fd);
    setenv("CWSGI_HANDOVER", number, 1);

    fenced = true;
    r = handover_read(&h);
    CHECK(r <= 0 && (r == 0) == (h != NULL), "%d", r);
    CHECK(!getenv("CWSGI_HANDOVER"), "the variable is still there");
    if (h) {
        check_handover(h);
        handover_destroy(h);
    }
    fenced = false;
    close(fd);
    buf_finish(&text);
    return 0;
}
