/* title.h - what `ps` shows of this process. Main thread. */
#pragma once

struct launch;

/* Must be the first thing in main. Makes room for titles of any usual length, however short the command line was (by
 * executing ourselves once with a padding variable when argv and environ are too small), moves environ away and keeps
 * copies of all that the titles will overwrite. What it returns lives as long as the process. NULL when memory is
 * short. */
const struct launch *title_init(int argc, char **argv);
void title_hide(void); /* "cwsgi: stopping": neither path nor application. Async-signal-safe */
void title_set(const char *format, ...) __attribute__((format(printf, 1, 2)));
