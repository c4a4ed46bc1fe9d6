/* certsource.c - the files that one setting names, read. */
#include "server/net/certsource.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/buf.h"
#include "server/net/certpair.h"

#define BYTES_MAX (32 * 1024 * 1024) /* that are read in all */
#define CERTS_MAX 2000
#define KEYS_MAX 500
#define FAULTS_SHOWN 5

static int out_of_memory(struct buf *error)
{
    error->len = 0;
    buf_puts(error, "out of memory");
    return -1;
}

/* Why nothing can be read there, and what to do. */
static void explain_read(struct buf *b, const char *path, int r)
{
    if (r == -ENOTSUP) {
        cert_say(b, "'", path, "' is not a file; name a file in PEM format, or a folder of such files");
        return;
    }
    cert_say(b, "'", path, "' cannot be read: ");
    buf_puts(b, r == -EFBIG ? "it is too large for a certificate" : strerror(-r));
    if (r == -EACCES) {
        buf_puts(b, "; run cwsgi as a user who may read it, or change its rights");
    } else if (r == -ENOENT) {
        buf_puts(b, "; name a file, a folder or a pattern of files that are there");
    }
}

static void explain_locked(struct buf *b, const char *path)
{
    cert_say(b, "the private key in '", path, "' is encrypted with a passphrase");
    cert_say(b, ": store it without one, by openssl pkey -in ", path, " -out NEWFILE");
}

/* A sentence about a file that holds something for us that cannot be used. False: there is none to say. */
static bool explain_content(struct buf *b, const struct pemfile *f, const char *path, bool keys)
{
    if (f->cert_fault) {
        cert_say(b, "the certificate in '", path, "' cannot be used: ");
        buf_puts(b, f->cert_fault);
        buf_puts(b, "; it may be half-written or damaged: get a whole copy");
    } else if (keys && f->key_fault) {
        cert_say(b, "the private key in '", path, "' cannot be used: ");
        buf_puts(b, f->key_fault);
        buf_puts(b, "; it may be half-written or damaged: get a whole copy");
    } else if (keys && f->locked) {
        explain_locked(b, path);
    } else {
        return false;
    }
    return true;
}

/* In a folder, a line for the log; at most a few. */
static void note_fault(struct certsource *s, struct buf *warnings, const char *path, const struct pemfile *f, int r)
{
    struct buf text = {0};
    bool any = true;
    if (r < 0) {
        explain_read(&text, path, r);
    } else {
        any = explain_content(&text, f, path, true);
    }
    if (any && s->faults++ < FAULTS_SHOWN) {
        buf_printf(warnings, "Not used: %s\n", buf_cstr(&text) ? text.data : path);
    }
    buf_finish(&text);
}

/* What the setting names just so must be good. */
static int check_given(const struct certsource *s, const char *path, const struct pemfile *f, int r, struct buf *error)
{
    if (r < 0) {
        buf_printf(error, "%s ", s->setting);
        explain_read(error, path, r);
        return -1;
    }
    if (s->certs && f->n_certs == 0 && !f->cert_fault) {
        buf_printf(error, "%s ", s->setting);
        cert_say(error, "'", path, "' holds no certificate in PEM format");
        if (f->der) {
            cert_say(error, "; it looks like DER: convert it by openssl x509 -inform der -in ", path, " -out NEWFILE");
            cert_say(error, ", or if it is PKCS#12 by openssl pkcs12 -nodes -in ", path, " -out NEWFILE");
        } else {
            buf_puts(error, "; name one that has a line -----BEGIN CERTIFICATE-----");
        }
        return -1;
    }
    if ((s->certs && f->cert_fault) || (s->keys && f->n_keys == 0 && (f->key_fault || f->locked))) {
        struct pemfile part = *f;
        part.cert_fault = s->certs ? f->cert_fault : NULL;
        buf_printf(error, "%s: ", s->setting);
        explain_content(error, &part, path, s->keys);
        return -1;
    }
    if (s->keys && f->n_keys == 0) {
        cert_say(error, "'", path, "' holds no private key in PEM format");
        buf_puts(error, !s->certs ? "; name one that has a line -----BEGIN PRIVATE KEY-----"
                                  : "; name the file that holds it with keyfile");
        return -1;
    }
    return 0;
}

static int read_files(struct certsource *s, struct buf *warnings, struct buf *error)
{
    int r = certfiles_find(&s->files, s->where);
    if (r < 0) {
        if (r == -ENOMEM) {
            return out_of_memory(error);
        }
        buf_printf(error, "%s ", s->setting);
        explain_read(error, s->where, r);
        return -1;
    }
    s->read = calloc(s->files.n + 1, sizeof(*s->read));
    if (!s->read) {
        return out_of_memory(error);
    }
    size_t bytes = 0;
    for (size_t i = 0; i < s->files.n; i++) {
        const struct certfile *file = &s->files.list[i];
        struct pemfile *f = &s->read[i];
        if (bytes > BYTES_MAX || s->n_certs > CERTS_MAX || s->n_keys > KEYS_MAX) {
            s->files.cut = true;
            break;
        }
        bytes += file->size;
        r = pemfile_read(f, file->path);
        s->n_certs += f->n_certs;
        s->n_keys += f->n_keys;
        if (r == -ENOMEM) {
            return out_of_memory(error);
        }
        if (file->given) {
            if (check_given(s, file->path, f, r, error) < 0) {
                return -1;
            }
        } else {
            note_fault(s, warnings, file->path, f, r);
        }
    }
    return 0;
}

static void note_bounds(const struct certsource *s, struct buf *warnings)
{
    if (s->faults > FAULTS_SHOWN) {
        buf_printf(warnings, "Not used: %zu more files in %s\n", s->faults - FAULTS_SHOWN, s->where);
    }
    if (s->files.cut) {
        cert_say(warnings, "There are more files in ", s->where,
                 " than cwsgi looks at, and old ones are left out: delete what is not used, or give it a folder that "
                 "holds certificates and keys only\n");
    }
    if (s->files.unreadable) {
        cert_say(warnings, "The folder ", s->files.unreadable, " cannot be read\n");
    }
}

void certsource_finish(struct certsource *s)
{
    for (size_t i = 0; s->read && i < s->files.n; i++) {
        pemfile_finish(&s->read[i]);
    }
    free(s->read);
    certfiles_finish(&s->files);
}

int certsource_read(struct certsource *s, struct buf *warnings, struct buf *error)
{
    int r = read_files(s, warnings, error);
    if (r == 0) {
        note_bounds(s, warnings);
    }
    return r;
}
