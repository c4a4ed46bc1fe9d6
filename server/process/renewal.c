/* renewal.c - the server's certificates, from start to stop. */
#include "server/process/renewal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "server/base/buf.h"
#include "server/base/log.h"
#include "server/config/settings.h"
#include "server/net/certload.h"
#include "server/net/certs.h"
#include "server/net/tls.h"

struct renewal {
    char *certfile, *keyfile; /* owned; absolute: a hook may change the working directory */
    struct certload from;
    struct certloaded loaded; /* owned */
    struct tls_context *tls;  /* owned */
};

/* "~/" is left for the store to expand. NULL when memory is short, or for NULL. */
static char *make_absolute(const char *path)
{
    char *cwd = NULL, *absolute = NULL;
    if (!path || *path == '/' || *path == '~' || !(cwd = getcwd(NULL, 0))) {
        return path ? strdup(path) : NULL;
    }
    if (asprintf(&absolute, "%s/%s", cwd, path) < 0) {
        absolute = NULL;
    }
    free(cwd);
    return absolute;
}

/* Each line of the text to the log. */
static void log_lines(enum log_level level, const char *before, struct buf *text)
{
    const char *line = text->len > 0 ? buf_cstr(text) : NULL;
    for (; line && *line; line += strcspn(line, "\n") + 1) {
        log_line(level, "%s%.*s", before, (int)strcspn(line, "\n"), line);
    }
}

int renewal_create(struct renewal **out, const struct settings *s, struct buf *error)
{
    struct buf warnings = {0};
    struct renewal *r = calloc(1, sizeof(*r));
    int result = -1;
    if (!r) {
        buf_puts(error, "out of memory");
        return -1;
    }
    r->certfile = make_absolute(s->certfile);
    r->keyfile = make_absolute(s->keyfile);
    r->from =
        (struct certload){.certfile = r->certfile, .keyfile = r->keyfile, .host = s->cert_host, .ciphers = s->ciphers};
    if (!r->certfile || (s->keyfile && !r->keyfile)) {
        buf_puts(error, "out of memory");
    } else if (certload(&r->loaded, &r->from, NULL, time(NULL), &warnings, error) == 0 &&
               tls_context_create(&r->tls, s, r->loaded.certs, error) == 0) {
        log_lines(LOG_LEVEL_WARNING, "", &warnings);
        result = 0;
    }
    buf_finish(&warnings);
    if (result < 0) {
        renewal_destroy(r);
        return result;
    }
    *out = r;
    return 0;
}

void renewal_destroy(struct renewal *r)
{
    if (!r) {
        return;
    }
    tls_context_destroy(r->tls);
    certs_destroy(r->loaded.certs);
    free(r->certfile);
    free(r->keyfile);
    free(r);
}

struct tls_context *renewal_tls(struct renewal *r)
{
    return r->tls;
}

const struct certs *renewal_certs(const struct renewal *r)
{
    return r->loaded.certs;
}

void renewal_announce(const struct renewal *r)
{
    struct buf text = {0};
    if (r && certs_describe(r->loaded.certs, time(NULL), &text) == 0) {
        log_lines(LOG_LEVEL_INFO, "Certificate for ", &text);
    }
    buf_finish(&text);
}
