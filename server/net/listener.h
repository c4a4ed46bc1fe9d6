/* listener.h - the listening sockets: bind, adopt inherited ones, describe.
 * Made by the master before workers exist; workers inherit the descriptors. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct settings;

enum listener_kind { LISTENER_TCP, LISTENER_UNIX };

struct listener {
    int fd; /* owned; close-on-exec, non-blocking */
    enum listener_kind kind;
    bool tls;            /* handshake first */
    uint16_t https_port; /* > 0: nothing is served here, clients are led to https on that port (http_redirect) */
    bool metrics;        /* nothing is served here but the metrics */
    char *bind;          /* owned: as the setting spelt it: how a reload knows it again */
    char *url;           /* owned: "https://0.0.0.0:8080", "http://[::1]:80", "unix:/run/x.sock" */
    char *address;       /* owned: of the local end, numeric: SERVER_NAME; the path of a unix socket */
    uint16_t port;       /* 0 on a unix socket */
    bool inherited;      /* taken over from `old`: goes back there when the others cannot be opened */
    bool ours;           /* a unix socket whose path is ours to unlink */
};

struct listeners {
    struct listener *list; /* owned */
    size_t n;
};

/* One listener for each `bind` of the settings: HOST:PORT, [V6]:PORT, :PORT, HOST, unix:PATH, fd://N, each with http://
 * or https:// before it if need be, and one for http_redirect. Listeners of `old` with the same bind are taken over
 * from there (removed from `old`); pass NULL for none. An address in use is tried again for about a second, since an
 * old master may be leaving. 0, or -1 with one sentence in `error` that names the address and, if it can be found, who
 * holds it. */
int listeners_open(struct listeners *ls, const struct settings *s, struct listeners *old, struct buf *error);

/* Takes over all of `old`, in its order, whatever the settings' binds are: when listeners_open could not have the new
 * ones. `old` is empty afterwards. 0 or -errno. */
int listeners_keep(struct listeners *ls, const struct settings *s, struct listeners *old);

/* Adds an inherited descriptor (taken over, `bind` is copied): for the next image of the master. 0 or -errno. */
int listeners_adopt(struct listeners *ls, int fd, const char *bind, bool ours);

/* "url,url" as in the log line "Listening at:". 0 or -ENOMEM. */
int listeners_describe(const struct listeners *ls, struct buf *out);

/* Connections that wait to be accepted; unix sockets do not tell. */
unsigned long listeners_waiting(const struct listeners *ls);

void listeners_close(struct listeners *ls);  /* closes the sockets; unix paths stay */
void listeners_unlink(struct listeners *ls); /* removes the unix paths: the master does it at its end */
