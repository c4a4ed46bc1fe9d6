/* clock.c - the time, and its text forms made once a second. */
#include "server/base/clock.h"

#include <stdio.h>
#include <string.h>

/* Names are fixed by the formats, whatever the locale says. */
static const char *const DAYS[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
static const char *const MONTHS[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

void clock_update(struct clock *c)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME_COARSE, &ts);
    c->ms = (unsigned short)(ts.tv_nsec / 1000000);
    if (ts.tv_sec == c->now) {
        return;
    }
    c->now = ts.tv_sec;

    struct tm tm;
    char text[96]; /* room for what the compiler can imagine in a struct tm */
    gmtime_r(&c->now, &tm);
    snprintf(text, sizeof(text), "%s, %02d %s %04d %02d:%02d:%02d GMT", DAYS[tm.tm_wday], tm.tm_mday, MONTHS[tm.tm_mon],
             tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
    memcpy(c->http_date, text, CLOCK_HTTP_DATE_LEN);
    c->http_date[CLOCK_HTTP_DATE_LEN] = '\0';

    localtime_r(&c->now, &tm);
    long offset = tm.tm_gmtoff / 60;
    long minutes = offset < 0 ? -offset : offset;
    snprintf(text, sizeof(text), "%02d/%s/%04d:%02d:%02d:%02d %c%02ld%02ld", tm.tm_mday, MONTHS[tm.tm_mon],
             tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec, offset < 0 ? '-' : '+', minutes / 60, minutes % 60);
    memcpy(c->log_time, text, CLOCK_LOG_TIME_LEN);
    c->log_time[CLOCK_LOG_TIME_LEN] = '\0';

    snprintf(text, sizeof(text), "%04d-%02d-%02dT%02d:%02d:%02d.%03u%c%02ld:%02ld", tm.tm_year + 1900, tm.tm_mon + 1,
             tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, c->ms, offset < 0 ? '-' : '+', minutes / 60, minutes % 60);
    memcpy(c->iso_time, text, CLOCK_ISO_LEN);
    c->iso_time[CLOCK_ISO_LEN] = '\0';
}

size_t clock_iso(const struct clock *c, char text[CLOCK_ISO_LEN])
{
    memcpy(text, c->iso_time, CLOCK_ISO_LEN);
    text[20] = (char)('0' + c->ms / 100);
    text[21] = (char)('0' + c->ms / 10 % 10);
    text[22] = (char)('0' + c->ms % 10);
    return CLOCK_ISO_LEN;
}

time_t clock_next(const char *text, time_t now)
{
    struct tm at;
    localtime_r(&now, &at);
    at.tm_sec = 0;
    const char *end = strptime(text, "%H:%M", &at);
    if (end && *end == ':') {
        end = strptime(end, ":%S", &at);
    }
    if (!end || *end) {
        return -1;
    }
    at.tm_isdst = -1;
    struct tm tomorrow = at;
    time_t next = mktime(&at);
    if (next <= now) {
        tomorrow.tm_mday++;
        next = mktime(&tomorrow);
    }
    return next;
}

uint64_t clock_mono_us(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}
