/* systemd.c - what systemd gives a service, and wants to hear from it. */
#include "server/process/systemd.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "server/base/buf.h"
#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/config/settings.h"

#define FIRST_FD 3 /* SD_LISTEN_FDS_START */
#define MOST_FDS 1024

/* A number from the environment; 0: there is none. */
static unsigned long long number(const char *name)
{
    const char *text = getenv(name);
    return text && text[0] >= '0' && text[0] <= '9' ? strtoull(text, NULL, 10) : 0;
}

int systemd_sockets(struct settings *s, struct buf *error)
{
    char *binds[MOST_FDS];
    unsigned long long n = number("LISTEN_FDS");
    if (n == 0 || number("LISTEN_PID") != (unsigned long long)getpid()) {
        return 0;
    }
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    if (n > MOST_FDS) {
        buf_printf(error, "LISTEN_FDS has %llu sockets; %d are the most", n, MOST_FDS);
        return -1;
    }
    size_t made = 0;
    while (made < n && asprintf(&binds[made], "fd://%zu", FIRST_FD + made) >= 0) {
        made++;
    }
    int r = made == n ? settings_set(s, "bind", (const char *const *)binds, made, SETTINGS_COMMAND_LINE, error) : -1;
    while (made > 0) {
        free(binds[--made]);
    }
    return r;
}

static void send_text(const char *text, size_t len)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (!path || !path[0] || strlen(path) >= sizeof(address.sun_path)) {
        return;
    }
    memcpy(address.sun_path, path, strlen(path));
    socklen_t address_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    if (path[0] == '@') {
        address.sun_path[0] = '\0'; /* no file, but a name in the kernel */
    }
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || sendto(fd, text, len, MSG_NOSIGNAL | MSG_DONTWAIT, (struct sockaddr *)&address, address_len) < 0) {
        log_warning("Can't tell systemd (NOTIFY_SOCKET=%s): %s", path, strerror(errno));
    }
    if (fd >= 0) {
        close(fd);
    }
}

void systemd_notify(const char *format, ...)
{
    char text[256];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (n > 0 && (size_t)n < sizeof(text)) {
        send_text(text, (size_t)n);
    }
}

void systemd_notify_reloading(void)
{
    systemd_notify("RELOADING=1\nMONOTONIC_USEC=%llu\nSTATUS=Reloading", (unsigned long long)clock_mono_us());
}

uint64_t systemd_watchdog_us(void)
{
    unsigned long long pid = number("WATCHDOG_PID");
    return pid == 0 || pid == (unsigned long long)getpid() ? number("WATCHDOG_USEC") / 2 : 0;
}
