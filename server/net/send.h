/* send.h - takes chunks as far as a socket takes them at once, in the clear or encrypted.
 * Both functions send the chunks v[*i], v[*i + 1], … v[n - 1], releasing each that is wholly sent and leaving *i at the
 * first one that is not (advanced by what was sent of it). They answer 0 when all is sent, -EAGAIN when the socket is
 * full, else -errno: then the connection is of no use any more. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

struct buf;
struct chunk;
struct tls;

#define SEND_RECORD_SIZE (16 * 1024) /* the most that one TLS record carries */

/* `ends`: the stream is shut or closed right after it, so that the last of it may wait for that. */
int send_plain(uv_stream_t *stream, struct chunk *v, size_t *i, size_t n, bool ends);

/* Ciphertext goes through `cipher`, of which the first *cipher_sent bytes are sent already; what the socket does not
 * take stays there, some `most` bytes. A chunk counts as sent once it is encrypted. `gather`: SEND_RECORD_SIZE bytes of
 * scratch space. `goodbye`: close_notify follows the last chunk. */
int send_encrypted(uv_stream_t *stream, struct tls *tls, struct buf *cipher, size_t *cipher_sent, size_t most,
                   char *gather, struct chunk *v, size_t *i, size_t n, bool goodbye);

int send_cipher(uv_stream_t *stream, struct buf *cipher, size_t *cipher_sent); /* only what is in `cipher` */
