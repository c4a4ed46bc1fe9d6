/* fold.h - equal lines in quick succession: the first ones pass, the others are counted.
 *
 * One table in shared memory for the master and its workers: the traceback of a worker that dies at boot again and
 * again is the same line, whichever process says it. A text may pass FOLD_PASS times in a window; what is held back is
 * told of when the window ends. The first window is a minute; that of a text that goes on coming is ten. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FOLD_PASS 5
#define FOLD_TEXT 200

struct fold;

struct fold_report {
    int level;
    unsigned long count; /* held back */
    unsigned seconds;    /* in that time */
    char text[FOLD_TEXT];
};

struct fold *fold_create(void); /* NULL: no memory; shared with all processes that are forked from here on */
void fold_destroy(struct fold *f);

/* True: it passes. `now`: clock_mono_us(). */
bool fold_admit(struct fold *f, int level, const char *text, size_t len, uint64_t now);

uint64_t fold_due(const struct fold *f);                                       /* when there is a report; 0: none */
bool fold_take(struct fold *f, uint64_t now, bool all, struct fold_report *r); /* the next one; all: before it is due */
