/* master_inside.h - what the files that make up the master share: master.c (the loop, its life), crew.c (how many
 * workers there are), recycle.c, orders.c (signals), commands.c and what tells of it (facts.c, status.c, statusjson.c).
 * For nobody else. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/clock.h"
#include "server/process/children.h"
#include "server/process/history.h"
#include "server/process/master.h"
#include "server/process/metrics.h"
#include "server/process/reload.h"
#include "server/process/upgrade.h"

enum stage { NEW, SERVING, STOPPING, STOPPING_QUICKLY };

struct backoff {
    uint64_t at_us;   /* no worker is started before */
    uint64_t wait_us; /* the next wait */
};

struct master {
    struct master_deps deps;
    enum stage stage;
    int wanted;   /* workers */
    bool served;  /* a worker was ready once, in this image or an earlier one */
    unsigned age; /* of the youngest worker */
    struct children children;
    struct metrics metrics;
    struct history history;
    struct logrotate *logrotate; /* owned; NULL: none */

    int wake_fd[2];   /* owned: bytes from ready workers and from the signal handler */
    int master_fd[2]; /* owned: tells workers of our end; the write end is only ours */

    struct backoff boot, crash; /* of workers that could not be started, and of those that ended soon after */
    uint64_t crashed_us;        /* when one crashed last; 0: never */
    uint64_t scout_us;          /* until then the very first worker starts alone */

    struct recycle recycle;
    struct reload reload;
    struct upgrade upgrade;
    struct stapler *stapler; /* owned; NULL: no TLS */
    bool up;                 /* systemd knows that this image's workers serve */

    int status;          /* to leave with */
    const char *reason;  /* why, when not 0 */
    uint64_t give_up_us; /* 0 until we stop */

    uint64_t watchdog_us, alive_us; /* how often systemd is told that we live, 0: never; when it is next */
};

void master_stop(struct master *m, bool quickly);                   /* begins to stop, or hastens it */
void master_fail(struct master *m, int status, const char *reason); /* the server cannot go up */
void master_tell_up(struct master *m);                              /* systemd: we serve */
void master_stay(struct master *m);                                 /* a reload was refused */
void master_reap(struct master *m);                                 /* children that ended */
