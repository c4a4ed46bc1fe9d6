/* stackdump.c - where the Python code of workers stands: asked one after the other. */
#include "server/process/stackdump.h"

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/buf.h"
#include "server/base/clock.h"
#include "server/base/log.h"

#define PATIENCE_US UINT64_C(2000000) /* with a worker that was asked */
#define FILE_MAX (1024 * 1024)        /* when the file is emptied */
#define READ_MAX (16 * 1024)

static const struct buf EMPTY;

struct stackdump {
    int fd;          /* owned */
    off_t at;        /* what lies before was read */
    pid_t asked;     /* whose answer is waited for; 0: nobody's */
    uint64_t due_us; /* until when */
    pid_t *waiting;  /* owned: who is asked next */
    size_t n_waiting;
    struct buf one;  /* owned: of who is asked, as far as it has come */
    struct buf text; /* owned: of all in this round */
    unsigned round;  /* that is complete, the text's */
    bool running;    /* the next one has begun: `text` is its */
};

struct stackdump *stackdump_create(int fd)
{
    struct stackdump *s = calloc(1, sizeof(*s));
    int file = fd >= 0 ? fd : memfd_create("cwsgi-stacks", MFD_CLOEXEC);
    if (!s || file < 0 || fcntl(file, F_SETFL, O_APPEND) < 0) {
        if (file >= 0) {
            close(file);
        }
        free(s);
        return NULL;
    }
    s->fd = file;
    struct stat st;
    s->at = fstat(file, &st) == 0 ? st.st_size : 0;
    return s;
}

void stackdump_destroy(struct stackdump *s)
{
    if (s) {
        close(s->fd);
        free(s->waiting);
        buf_finish(&s->one);
        buf_finish(&s->text);
        free(s);
    }
}

int stackdump_fd(const struct stackdump *s)
{
    return s ? s->fd : -1;
}

static void ask_next(struct stackdump *s, uint64_t now)
{
    pid_t worker = s->waiting[0];
    memmove(s->waiting, s->waiting + 1, --s->n_waiting * sizeof(*s->waiting));
    if (!s->running) {
        s->running = true;
        s->text.len = 0;
    }
    if (kill(worker, SIGURG) == 0) { /* else it is gone */
        s->asked = worker;
        s->due_us = now + PATIENCE_US;
    }
}

void stackdump_ask(struct stackdump *s, pid_t worker)
{
    for (size_t i = 0; s && i < s->n_waiting; i++) {
        if (s->waiting[i] == worker) {
            return;
        }
    }
    pid_t *more = s ? reallocarray(s->waiting, s->n_waiting + 1, sizeof(*more)) : NULL;
    if (more) {
        s->waiting = more;
        s->waiting[s->n_waiting++] = worker;
        if (s->asked == 0) {
            ask_next(s, clock_mono_us());
        }
    }
}

unsigned stackdump_listen(const struct stackdump *s)
{
    return !s ? 0 : s->running || s->n_waiting > 0 ? s->round + 1 : s->round;
}

const struct buf *stackdump_round(const struct stackdump *s, unsigned round)
{
    if (!s) {
        return &EMPTY;
    }
    return !s->running && s->n_waiting == 0 && s->round >= round ? &s->text : NULL;
}

/* The answer of who was asked, or of one that was told by somebody else, is whole. */
static void take(struct stackdump *s)
{
    struct buf head = {0};
    if (s->asked > 0) {
        buf_printf(&head, "Worker (pid:%ld)\n", (long)s->asked);
    }
    log_info("Where Python stands%s%.*s", head.len ? ": " : "", head.len ? (int)head.len - 1 : 0, head.data);
    log_lines(LOG_LEVEL_INFO, s->one.data, s->one.len);
    if (s->asked > 0) {
        buf_append(&s->text, head.data, head.len); /* without memory for it the log has it */
        buf_append(&s->text, s->one.data, s->one.len);
        buf_puts(&s->text, "\n");
    }
    buf_finish(&head);
    s->one.len = 0;
    s->asked = 0;
}

static void hear(struct stackdump *s)
{
    char text[READ_MAX];
    ssize_t n;
    while ((n = pread(s->fd, text, sizeof(text), s->at)) > 0) {
        s->at += n;
        for (char *from = text, *end = text + n; from < end;) {
            char *nul = memchr(from, '\0', (size_t)(end - from));
            buf_append(&s->one, from, (size_t)((nul ? nul : end) - from));
            from = nul ? nul + 1 : end;
            if (nul) {
                take(s);
            }
        }
    }
    if (s->at > FILE_MAX && s->one.len == 0 && ftruncate(s->fd, 0) == 0) {
        s->at = 0;
    }
}

void stackdump_tend(struct stackdump *s, uint64_t now)
{
    if (!s) {
        return;
    }
    hear(s);
    if (s->asked > 0 && now >= s->due_us) {
        buf_printf(&s->text, "Worker (pid:%ld) does not answer\n\n", (long)s->asked);
        s->asked = 0;
    }
    while (s->asked == 0 && s->n_waiting > 0) {
        ask_next(s, now);
    }
    if (s->running && s->asked == 0) {
        s->running = false;
        s->round++;
    }
}

uint64_t stackdump_deadline(const struct stackdump *s)
{
    return s && s->asked > 0 ? s->due_us : 0;
}
