/* clock.h - the time, and its text forms made once a second. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define SECOND_US UINT64_C(1000000)

#define CLOCK_HTTP_DATE_LEN 29 /* "Sun, 06 Nov 1994 08:49:37 GMT": RFC 9110 5.6.7 IMF-fixdate */
#define CLOCK_LOG_TIME_LEN 26  /* "22/Nov/2026:23:35:47 +0000": the access log's form, local time */
#define CLOCK_ISO_LEN 29       /* "2026-11-22T23:35:47.120+00:00": RFC 3339, local time */

struct clock {
    time_t now; /* the second that the texts stand for */
    char http_date[CLOCK_HTTP_DATE_LEN + 1];
    char log_time[CLOCK_LOG_TIME_LEN + 1];
    char iso_time[CLOCK_ISO_LEN + 1]; /* its milliseconds are those of `ms` at the second's first look */
    unsigned short ms;                /* as of the last update; some milliseconds behind the truth */
};

void clock_update(struct clock *c); /* reads the time; makes the texts anew when the second changed */

/* When it is "03:30" or "03:30:15" next after `now`, in local time; -1: `text` is no time of day. */
time_t clock_next(const char *text, time_t now);

size_t clock_iso(const struct clock *c, char text[CLOCK_ISO_LEN]); /* iso_time with `ms`; returns the length */

uint64_t clock_mono_us(void); /* CLOCK_MONOTONIC in microseconds: for durations, comparable between processes */
