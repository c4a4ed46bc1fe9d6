/* ask.c - asks a server over its control socket. */
#include "server/ctl/ask.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "server/base/buf.h"
#include "server/base/runfolder.h"

#define ANSWER_MAX ((size_t)64 * 1024 * 1024)
#define CONNECT_SECONDS 5

static int set_patience(int fd, unsigned seconds)
{
    const struct timeval t = {.tv_sec = seconds};
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t)) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t)) < 0) {
        return -errno;
    }
    return 0;
}

int ask_open(struct ask *a, const char *path, bool any)
{
    struct sockaddr_un address;
    struct ucred peer = {0};
    socklen_t len, peer_len = sizeof(peer);
    int folder, r = runfolder_address(path, &address, &len, &folder);
    a->fd = -1;
    if (r < 0) {
        return r;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    r = fd < 0 ? -errno : set_patience(fd, CONNECT_SECONDS);
    if (r == 0 && connect(fd, (struct sockaddr *)&address, len) < 0) {
        r = -errno;
    }
    if (r == 0 && getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &peer_len) < 0) {
        r = -errno;
    }
    if (r == 0 && !any && peer.uid != geteuid() && peer.uid != 0) {
        r = -EPERM;
    }
    if (folder >= 0) {
        close(folder);
    }
    if (r < 0) {
        if (fd >= 0) {
            close(fd);
        }
        return r;
    }
    a->fd = fd;
    a->pid = peer.pid;
    return 0;
}

void ask_close(struct ask *a)
{
    if (a->fd >= 0) {
        close(a->fd);
        a->fd = -1;
    }
}

static int send_line(int fd, const char *line)
{
    char text[4096];
    int len = snprintf(text, sizeof(text), "%s\n", line);
    if (len >= (int)sizeof(text)) {
        return -E2BIG;
    }
    for (int sent = 0; sent < len;) {
        ssize_t n = send(fd, text + sent, (size_t)(len - sent), MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR) {
            return -errno;
        }
        sent += n > 0 ? (int)n : 0;
    }
    return 0;
}

static int read_all(int fd, char *to, size_t len)
{
    while (len > 0) {
        ssize_t n = recv(fd, to, len, 0);
        if (n == 0) {
            return -EPIPE;
        }
        if (n < 0 && errno != EINTR) {
            return errno == EAGAIN ? -ETIMEDOUT : -errno;
        }
        to += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
    }
    return 0;
}

/* "done STATUS LENGTH" */
static int read_head(int fd, int *status, size_t *len)
{
    char head[64];
    size_t n = 0;
    do {
        int r = n == sizeof(head) - 1 ? -EPROTO : read_all(fd, head + n, 1);
        if (r < 0) {
            return r;
        }
    } while (head[n++] != '\n');
    head[n] = '\0';
    bool good = sscanf(head, "done %d %zu", status, len) == 2;
    return good && *status >= 0 && *status <= 255 && *len <= ANSWER_MAX ? 0 : -EPROTO;
}

int ask_line(struct ask *a, const char *line, unsigned seconds, struct buf *out)
{
    int status = 0;
    size_t len = 0;
    struct buf text = {0};
    int r = set_patience(a->fd, seconds);
    r = r < 0 ? r : send_line(a->fd, line);
    r = r < 0 ? r : read_head(a->fd, &status, &len);
    r = r < 0 ? r : buf_reserve(&text, len + 1);
    r = r < 0 ? r : read_all(a->fd, text.data, len);
    r = r < 0 ? r : buf_append(out, text.data, len);
    buf_finish(&text);
    return r < 0 ? r : status;
}
