/* human.c - amounts and times as people read them. */
#include "server/base/human.h"

#include <stdio.h>

#include "server/base/buf.h"

int human_bytes(struct buf *out, uint64_t n)
{
    static const char *const UNITS[] = {"B", "KB", "MB", "GB", "TB", "PB", "EB"};
    double x = (double)n;
    size_t unit = 0;
    while (x >= 1000 && unit + 1 < sizeof(UNITS) / sizeof(UNITS[0])) { /* not 1024: three digits at the most */
        x /= 1024;
        unit++;
    }
    return buf_printf(out, unit > 0 && x < 9.95 ? "%.1f %s" : "%.0f %s", x, UNITS[unit]);
}

int human_seconds(struct buf *out, uint64_t n)
{
    static const struct {
        uint64_t seconds;
        const char *name;
    } UNITS[] = {{86400, "d"}, {3600, "h"}, {60, "min"}, {1, "s"}};
    size_t i = 0;
    while (n < UNITS[i].seconds && UNITS[i].seconds > 1) {
        i++;
    }
    int r = buf_printf(out, "%llu %s", (unsigned long long)(n / UNITS[i].seconds), UNITS[i].name);
    uint64_t rest = n % UNITS[i].seconds;
    if (r == 0 && UNITS[i].seconds > 1 && rest >= UNITS[i + 1].seconds) {
        r = buf_printf(out, " %llu %s", (unsigned long long)(rest / UNITS[i + 1].seconds), UNITS[i + 1].name);
    }
    return r;
}

int human_us(struct buf *out, uint64_t us)
{
    double ms = (double)us / 1000;
    if (us < 1000) {
        return buf_printf(out, "%llu us", (unsigned long long)us);
    }
    if (ms < 1000) {
        return buf_printf(out, ms < 9.95 ? "%.1f ms" : "%.0f ms", ms);
    }
    return ms < 100000 ? buf_printf(out, ms < 9950 ? "%.2f s" : "%.1f s", ms / 1000) : human_seconds(out, us / 1000000);
}

int human_count(struct buf *out, uint64_t n)
{
    char digits[32];
    size_t len = (size_t)snprintf(digits, sizeof(digits), "%llu", (unsigned long long)n);
    int r = 0;
    for (size_t i = 0; i < len && r == 0; i++) {
        r = i > 0 && (len - i) % 3 == 0 ? buf_puts(out, ",") : 0;
        r = r == 0 ? buf_append(out, &digits[i], 1) : r;
    }
    return r;
}
