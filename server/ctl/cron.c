/* cron.c - the lines of a crontab that keep a server running. */
#include "server/ctl/cron.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "server/base/buf.h"

/* One argument for the shell, and for cron, which takes a bare % for the end of the command. */
static int quote(struct buf *out, const char *text)
{
    static const char PLAIN[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:=,@+";
    bool plain = *text && strspn(text, PLAIN) == strlen(text);
    int r = plain ? 0 : buf_puts(out, "'");
    for (const char *c = text; *c && r == 0; c++) {
        r = *c == '\'' ? buf_puts(out, "'\\''") : *c == '%' ? buf_puts(out, "'\\%'") : buf_append(out, c, 1);
    }
    return r < 0 || plain ? r : buf_puts(out, "'");
}

static int write_line(struct buf *out, const char *when, const char *ctl, const char *folder, const char *command,
                      char *const *args, size_t n)
{
    int r = buf_printf(out, "%s cd ", when);
    r = r < 0 ? r : quote(out, folder);
    r = r < 0 ? r : buf_puts(out, " && ");
    r = r < 0 ? r : quote(out, ctl);
    r = r < 0 ? r : buf_printf(out, " --quiet %s", command);
    for (size_t i = 0; i < n && r == 0; i++) {
        r = buf_puts(out, " ");
        r = r < 0 ? r : quote(out, args[i]);
    }
    return r < 0 ? r : buf_puts(out, "\n");
}

/* What is ours in a crontab, by its first and last line. */
static int write_marks(struct buf *begin, struct buf *end, const char *folder)
{
    int r = buf_printf(begin, "# cwsgi in %s: begin\n", folder);
    r = r < 0 ? r : buf_printf(end, "# cwsgi in %s: end\n", folder);
    return r < 0 || (buf_cstr(begin) && buf_cstr(end)) ? r : -ENOMEM;
}

static int write_lines(struct buf *out, const char *ctl, const char *folder, char *const *args, size_t n)
{
    int r = write_line(out, "@reboot", ctl, folder, "start", args, n);
    r = r < 0 ? r : write_line(out, "*/10 * * * *", ctl, folder, "start", args, n);
    return r < 0 ? r : write_line(out, "1 0 * * *", ctl, folder, "restart", args, n);
}

/* What a command prints, as a C string in `out`. Its exit status, or -1. */
static int read_from(const char *command, struct buf *out)
{
    FILE *f = popen(command, "re");
    char text[4096];
    size_t n;
    int r = f ? 0 : -1;
    out->len = 0;
    while (r == 0 && (n = fread(text, 1, sizeof(text), f)) > 0) {
        r = buf_append(out, text, n) < 0 ? -1 : 0;
    }
    r = r == 0 && ferror(f) ? -1 : r;
    int status = f ? pclose(f) : -1;
    return r < 0 || !WIFEXITED(status) || !buf_cstr(out) ? -1 : WEXITSTATUS(status);
}

/* Nothing when the user has none, as crontabs of several kinds say it. What cannot be read is not overwritten. 0 or -1;
 * then the reason was said. */
static int read_crontab(struct buf *out)
{
    if (read_from("crontab -l 2>/dev/null", out) == 0) {
        return 0;
    }
    int r = read_from("LC_ALL=C crontab -l 2>&1 >/dev/null", out);
    bool none = r > 0 && r < 126 && (strstr(out->data, "no crontab") || strstr(out->data, "No such file"));
    if (!none) {
        fprintf(stderr, "cwsgictl: the crontab cannot be read, and stays as it is: %s\n",
                r < 0 || out->len == 0 ? "crontab -l failed" : out->data);
    }
    out->len = 0;
    return none && buf_cstr(out) ? 0 : -1;
}

static int write_crontab(const struct buf *text)
{
    FILE *f = popen("crontab -", "we");
    if (!f) {
        return -1;
    }
    signal(SIGPIPE, SIG_IGN); /* one that refuses does not read: its status says so */
    size_t written = fwrite(text->data, 1, text->len, f);
    int status = pclose(f);
    return written == text->len && status == 0 ? 0 : -1;
}

static int install_lines(const struct buf *lines, const char *begin, const char *end)
{
    struct buf old = {0}, text = {0};
    if (read_crontab(&old) < 0) {
        buf_finish(&old);
        return 1;
    }
    const char *from = strstr(old.data, begin);
    const char *behind = from ? strstr(from, end) : NULL;
    size_t head = behind ? (size_t)(from - old.data) : old.len;
    int r = buf_append(&text, old.data, head);
    if (r == 0 && head > 0 && old.data[head - 1] != '\n') {
        r = buf_puts(&text, "\n");
    }
    r = r < 0 ? r
              : buf_printf(&text, "%s%.*s%s%s", begin, (int)lines->len, lines->data, end,
                           behind ? behind + strlen(end) : "");
    r = r < 0 ? r : write_crontab(&text);
    if (r < 0) {
        fprintf(stderr, "cwsgictl: the crontab cannot be changed: is there a program `crontab`, and may you use it?\n");
    } else {
        printf("The crontab has these lines now:\n%.*s", (int)lines->len, lines->data);
    }
    buf_finish(&old);
    buf_finish(&text);
    return r < 0 ? 1 : 0;
}

int cron_write(const char *ctl, const char *folder, char *const *args, size_t n, bool install)
{
    struct buf lines = {0}, begin = {0}, end = {0};
    int r = write_marks(&begin, &end, folder);
    r = r < 0 ? r : write_lines(&lines, ctl, folder, args, n);
    int status = 1;
    if (r < 0) {
        fprintf(stderr, "cwsgictl: %s\n", strerror(-r));
    } else if (install) {
        status = install_lines(&lines, begin.data, end.data);
    } else {
        status = fwrite(lines.data, 1, lines.len, stdout) == lines.len ? 0 : 1;
    }
    buf_finish(&lines);
    buf_finish(&begin);
    buf_finish(&end);
    return status;
}
