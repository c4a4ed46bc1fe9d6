/* send.c - takes chunks as far as a socket takes them at once, in the clear or encrypted. */
#include "server/net/send.h"

#include <errno.h>
#include <sys/sendfile.h>
#include <sys/socket.h>

#include "server/base/buf.h"
#include "server/net/chunk.h"
#include "server/net/tls.h"

#define BUFS 64 /* pieces of one writev */

static int send_file(uv_stream_t *stream, struct chunk *chunk)
{
    uv_os_fd_t fd;
    int r = uv_fileno((uv_handle_t *)stream, &fd);
    while (r == 0 && chunk->len > 0) {
        ssize_t n = sendfile(fd, chunk->fd, &chunk->offset, chunk->len);
        if (n > 0) {
            chunk->len -= (size_t)n; /* sendfile has moved the offset */
        } else if (n == 0) {
            r = -EIO; /* the file has become shorter than what was announced */
        } else if (errno == EINVAL || errno == ENOSYS) {
            r = -EAGAIN; /* not from this kind of file: the writer copies the next piece (conn_start_writer) */
        } else if (errno != EINTR) {
            r = -errno;
        }
    }
    return r;
}

static bool is_file(const struct chunk *chunk)
{
    return chunk->fd >= 0 && chunk->len > 0;
}

/* What fits into the socket, which is not pushed out to the client before its end follows. How much, or -errno. */
static int write_before_end(uv_stream_t *stream, uv_buf_t *bufs, unsigned n)
{
    uv_os_fd_t fd;
    int r = uv_fileno((uv_handle_t *)stream, &fd);
    if (r < 0) {
        return r;
    }
    struct msghdr message = {.msg_iov = (struct iovec *)bufs,
                             .msg_iovlen = n}; /* libuv: the two are the same on Unix */
    ssize_t sent;
    do {
        sent = sendmsg(fd, &message, MSG_MORE | MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : (int)sent;
}

int send_plain(uv_stream_t *stream, struct chunk *v, size_t *i, size_t n, bool ends)
{
    while (*i < n) {
        if (is_file(&v[*i])) {
            int r = send_file(stream, &v[*i]);
            if (r < 0) {
                return r;
            }
            chunk_release(&v[(*i)++]); /* before the socket can be full again */
            continue;
        }
        uv_buf_t bufs[BUFS];
        unsigned n_bufs = 0;
        for (size_t k = *i; k < n && n_bufs < BUFS && !is_file(&v[k]); k++) {
            if (v[k].len > 0) {
                bufs[n_bufs++] = (uv_buf_t){.base = (char *)v[k].data, .len = v[k].len};
            }
        }
        int r = 0;
        if (n_bufs > 0) {
            r = ends ? write_before_end(stream, bufs, n_bufs) : uv_try_write(stream, bufs, n_bufs);
        }
        if (r < 0) {
            return r;
        }
        size_t sent = (size_t)r;
        while (*i < n && v[*i].len <= sent && !is_file(&v[*i])) {
            sent -= v[*i].len;
            chunk_release(&v[(*i)++]);
        }
        if (*i < n && sent > 0) {
            chunk_advance(&v[*i], sent);
        }
    }
    return 0;
}

int send_cipher(uv_stream_t *stream, struct buf *cipher, size_t *cipher_sent)
{
    while (*cipher_sent < cipher->len) {
        uv_buf_t b = {.base = cipher->data + *cipher_sent, .len = cipher->len - *cipher_sent};
        int n = uv_try_write(stream, &b, 1);
        if (n < 0) {
            return n;
        }
        *cipher_sent += (size_t)n;
    }
    cipher->len = *cipher_sent = 0;
    return 0;
}

/* Encrypts from v[*i] on until `most` bytes of ciphertext wait; small pieces share a record. 0 or -errno. */
static int encrypt(struct tls *tls, struct buf *cipher, size_t most, char *gather, struct chunk *v, size_t *i, size_t n)
{
    size_t gathered = 0;
    int r = 0;
    while (*i < n && cipher->len < most && r == 0) {
        struct chunk *chunk = &v[*i];
        if (gathered == 0 && chunk->fd < 0 && chunk->len >= SEND_RECORD_SIZE) {
            r = tls_write(tls, chunk->data, SEND_RECORD_SIZE, cipher);
            chunk_advance(chunk, SEND_RECORD_SIZE);
        } else if (chunk->len > 0) {
            ssize_t got = chunk_peek(chunk, gather + gathered, SEND_RECORD_SIZE - gathered);
            if (got < 0) {
                return (int)got;
            }
            gathered += (size_t)got;
            chunk_advance(chunk, (size_t)got);
        }
        if (gathered == SEND_RECORD_SIZE && r == 0) {
            r = tls_write(tls, gather, gathered, cipher);
            gathered = 0;
        }
        if (chunk->len == 0) {
            chunk_release(chunk);
            (*i)++;
        }
    }
    return gathered > 0 && r == 0 ? tls_write(tls, gather, gathered, cipher) : r;
}

int send_encrypted(uv_stream_t *stream, struct tls *tls, struct buf *cipher, size_t *cipher_sent, size_t most,
                   char *gather, struct chunk *v, size_t *i, size_t n, bool goodbye)
{
    int r = 0;
    while (*i < n && r == 0) {
        r = encrypt(tls, cipher, most, gather, v, i, n);
        if (r == 0 && goodbye && *i == n) {
            tls_close(tls, cipher);
        }
        if (r == 0) {
            r = send_cipher(stream, cipher, cipher_sent);
        }
    }
    return r;
}
