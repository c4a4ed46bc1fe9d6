/* scoreboard.c - a shared page, one slot a worker, and what the server has counted. */
#include "server/base/scoreboard.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "server/base/buf.h"
#include "server/base/fnv.h"
#include "server/base/memfile.h"

#define READS 1000 /* that meet the master in the middle of scoreboard_vacate */

/* What the file begins with. */
struct head {
    uint64_t layout; /* a new image of the master may be another build */
    struct board board;
    _Alignas(64) _Atomic uint32_t version; /* odd while a slot is being moved to the totals */
    _Atomic uint64_t counters[COUNTERS];   /* of workers that ended */
    _Atomic uint64_t latency[LATENCY_BUCKETS];
};

union cell { /* one slot's room */
    struct head head;
    struct slot slot;
};

struct scoreboard {
    int fd;            /* owned */
    size_t n;          /* slots, the head not counted */
    union cell *cells; /* mapping of n + 1 */
};

const char *const scoreboard_counters[COUNTERS] = {
#define COUNTER(name, help) #name,
#include "server/base/scoreboard.def"
};

const char *const scoreboard_gauges[GAUGES] = {
#define GAUGE(name, help) #name,
#include "server/base/scoreboard.def"
};

const char *const scoreboard_events[EVENTS] = {
#define EVENT(name, help) #name,
#include "server/base/scoreboard.def"
};

/* Differs between builds that would misread each other's slots: what stands where, and what is counted. */
static uint64_t layout(void)
{
    static const char NAMES[] =
#define COUNTER(name, help) #name ","
#define GAUGE(name, help) #name ","
#define EVENT(name, help) #name ","
#include "server/base/scoreboard.def"
        ;
    uint64_t hash = UINT64_C(0x6377736769303032); /* "cwsgi002": the last digits count changes of meaning */
    hash = fnv_add(hash, NAMES, sizeof(NAMES));
    const size_t places[] = {sizeof(union cell),
                             offsetof(struct slot, state),
                             offsetof(struct slot, counters),
                             offsetof(struct slot, latency),
                             offsetof(struct slot, shown),
                             offsetof(struct slot, spawned_us),
                             offsetof(struct slot, generation),
                             offsetof(struct head, counters)};
    return fnv_add(hash, places, sizeof(places));
}

static size_t bytes(size_t slots)
{
    return (slots + 1) * sizeof(union cell);
}

/* Maps `slots` of the file in place of the mapping that was there. */
static int map(struct scoreboard *sb, size_t slots)
{
    void *p = mmap(NULL, bytes(slots), PROT_READ | PROT_WRITE, MAP_SHARED, sb->fd, 0);
    if (p == MAP_FAILED) {
        return -errno;
    }
    if (sb->cells) {
        munmap(sb->cells, bytes(sb->n));
    }
    sb->cells = p;
    sb->n = slots;
    return 0;
}

int scoreboard_create(struct scoreboard **out, size_t slots)
{
    assert(slots >= 1);
    struct scoreboard *sb = calloc(1, sizeof(*sb));
    if (!sb) {
        return -ENOMEM;
    }
    sb->fd = memfile_create("cwsgi-scoreboard", bytes(slots));
    int r = sb->fd < 0 ? sb->fd : map(sb, slots);
    if (r < 0) {
        scoreboard_destroy(sb);
        return r;
    }
    assert(sb->cells);
    sb->cells->head.layout = layout();
    atomic_store(&sb->cells->head.board.started, (int64_t)time(NULL));
    *out = sb;
    return 0;
}

int scoreboard_adopt(struct scoreboard **out, int fd)
{
    struct stat st;
    if (fstat(fd, &st) < 0) {
        return -errno;
    }
    if (st.st_size < (off_t)bytes(1)) {
        return -EINVAL;
    }
    struct scoreboard *sb = calloc(1, sizeof(*sb));
    if (!sb) {
        return -ENOMEM;
    }
    sb->fd = fd;
    int r = map(sb, (size_t)st.st_size / sizeof(union cell) - 1);
    assert(r < 0 || sb->cells);
    if (r == 0 && sb->cells->head.layout != layout()) {
        r = -EINVAL;
    }
    if (r < 0) {
        sb->fd = -1; /* still the caller's */
        scoreboard_destroy(sb);
        return r;
    }
    *out = sb;
    return 0;
}

int scoreboard_grow(struct scoreboard *sb, size_t slots)
{
    assert(slots >= sb->n);
    if (ftruncate(sb->fd, (off_t)bytes(slots)) < 0) {
        return -errno;
    }
    return map(sb, slots); /* a longer file behind a failed mapping does no harm: the next image sees free slots */
}

void scoreboard_destroy(struct scoreboard *sb)
{
    if (!sb) {
        return;
    }
    if (sb->cells) {
        munmap(sb->cells, bytes(sb->n));
    }
    if (sb->fd >= 0) {
        close(sb->fd);
    }
    free(sb);
}

int scoreboard_fd(const struct scoreboard *sb)
{
    return sb->fd;
}

size_t scoreboard_size(const struct scoreboard *sb)
{
    return sb->n;
}

struct slot *scoreboard_slot(const struct scoreboard *sb, size_t i)
{
    assert(i < sb->n);
    return &sb->cells[i + 1].slot;
}

struct board *scoreboard_board(const struct scoreboard *sb)
{
    return &sb->cells->head.board;
}

/* What was counted */

static void add(_Atomic uint64_t *to, uint64_t n)
{
    atomic_store_explicit(to, atomic_load_explicit(to, memory_order_relaxed) + n, memory_order_relaxed);
}

static void move(_Atomic uint64_t *to, _Atomic uint64_t *from)
{
    add(to, atomic_load_explicit(from, memory_order_relaxed));
    atomic_store_explicit(from, 0, memory_order_relaxed);
}

void scoreboard_event(struct scoreboard *sb, enum event e)
{
    add(&scoreboard_board(sb)->events[e], 1);
}

void scoreboard_note_minute(struct scoreboard *sb, int64_t number)
{
    struct minute *m = &scoreboard_board(sb)->minutes[number % MINUTES];
    struct tally t;
    scoreboard_tally(sb, &t);
    atomic_store(&m->number, 0); /* nobody takes it for another one meanwhile */
    atomic_store(&m->requests, t.counters[COUNT_requests]);
    atomic_store(&m->errors, t.counters[COUNT_status_5xx] + t.counters[COUNT_broken_off]);
    atomic_store(&m->number, number);
}

void scoreboard_begin_generation(struct scoreboard *sb)
{
    struct board *b = scoreboard_board(sb);
    unsigned last = atomic_load(&b->generation);
    atomic_store(&b->generation, last + 1);
    if (last > 0) {
        scoreboard_event(sb, EVENT_reloads);
    }
    atomic_store(&b->loaded, (int64_t)time(NULL));
}

void scoreboard_vacate(struct scoreboard *sb, size_t i)
{
    struct head *head = &sb->cells->head;
    struct slot *s = scoreboard_slot(sb, i);
    uint32_t version = atomic_load_explicit(&head->version, memory_order_relaxed) | 1; /* odd if we were killed here */
    atomic_store_explicit(&head->version, version, memory_order_relaxed);
    atomic_thread_fence(memory_order_release); /* who sees what follows sees the odd version as well */
    for (size_t c = 0; c < COUNTERS; c++) {
        move(&head->counters[c], &s->counters[c]);
    }
    for (size_t b = 0; b < LATENCY_BUCKETS; b++) {
        move(&head->latency[b], &s->latency[b]);
    }
    atomic_store_explicit(&head->version, version + 1, memory_order_release);

    for (size_t g = 0; g < GAUGES; g++) {
        atomic_store(&s->gauges[g], 0);
    }
    atomic_store(&s->busy_since_us, 0);
    atomic_store(&s->shown_version, 0);
    if (atomic_load(&s->slow_version) % 2 == 1) { /* for ever: the worker was killed while it wrote */
        memset(s->slow, 0, sizeof(s->slow));
        atomic_store(&s->slow_from_us, 0);
        atomic_store(&s->slow_until_us, 0);
        atomic_store(&s->slow_version, 0);
    } /* else its slow requests are told of for an hour, like those of others */
    atomic_store(&s->pid, 0);
    atomic_store(&s->state, SLOT_FREE);
}

static void sum(const struct scoreboard *sb, struct tally *t)
{
    const struct head *head = &sb->cells->head;
    for (size_t c = 0; c < COUNTERS; c++) {
        t->counters[c] = atomic_load_explicit(&head->counters[c], memory_order_relaxed);
    }
    for (size_t b = 0; b < LATENCY_BUCKETS; b++) {
        t->latency[b] = atomic_load_explicit(&head->latency[b], memory_order_relaxed);
    }
    for (size_t i = 0; i < sb->n; i++) {
        const struct slot *s = scoreboard_slot(sb, i);
        for (size_t c = 0; c < COUNTERS; c++) {
            t->counters[c] += atomic_load_explicit(&s->counters[c], memory_order_relaxed);
        }
        for (size_t b = 0; b < LATENCY_BUCKETS; b++) {
            t->latency[b] += atomic_load_explicit(&s->latency[b], memory_order_relaxed);
        }
    }
}

void scoreboard_tally(const struct scoreboard *sb, struct tally *out)
{
    const _Atomic uint32_t *version = &sb->cells->head.version;
    for (int i = 0; i < READS; i++) {
        uint32_t before = atomic_load_explicit(version, memory_order_acquire);
        sum(sb, out);
        atomic_thread_fence(memory_order_acquire);
        if (before % 2 == 0 && before == atomic_load_explicit(version, memory_order_relaxed)) {
            return;
        }
    } /* the master was killed in the middle: something may be counted twice */
}

int scoreboard_save(const struct scoreboard *sb, struct buf *out)
{
    const struct board *b = scoreboard_board(sb);
    struct tally t;
    scoreboard_tally(sb, &t);
    int r = buf_printf(out, "started %lld\ngeneration %u\n", (long long)atomic_load(&b->started),
                       atomic_load(&b->generation));
    for (size_t c = 0; c < COUNTERS && r == 0; c++) {
        r = buf_printf(out, "counter %s %llu\n", scoreboard_counters[c], (unsigned long long)t.counters[c]);
    }
    for (size_t e = 0; e < EVENTS && r == 0; e++) {
        r = buf_printf(out, "event %s %llu\n", scoreboard_events[e], (unsigned long long)atomic_load(&b->events[e]));
    }
    for (size_t i = 0; i < LATENCY_BUCKETS && r == 0; i++) {
        if (t.latency[i] > 0) {
            r = buf_printf(out, "latency %llu %llu\n", (unsigned long long)latency_floor(i),
                           (unsigned long long)t.latency[i]);
        }
    }
    return r;
}

static void restore_named(_Atomic uint64_t *values, const char *const *names, size_t n, const char *name,
                          uint64_t value)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(names[i], name) == 0) {
            atomic_store(&values[i], value);
        }
    }
}

void scoreboard_restore(struct scoreboard *sb, const char *text)
{
    struct head *head = &sb->cells->head;
    struct board *b = &head->board;
    for (const char *end; (end = strchr(text, '\n')); text = end + 1) {
        char line[96], name[64];
        unsigned long long value, floor;
        long long started;
        unsigned generation;
        snprintf(line, sizeof(line), "%.*s", (int)(end - text), text);
        if (sscanf(line, "started %lld", &started) == 1) {
            atomic_store(&b->started, started);
        } else if (sscanf(line, "generation %u", &generation) == 1) {
            atomic_store(&b->generation, generation);
        } else if (sscanf(line, "counter %63s %llu", name, &value) == 2) {
            restore_named(head->counters, scoreboard_counters, COUNTERS, name, value);
        } else if (sscanf(line, "event %63s %llu", name, &value) == 2) {
            restore_named(b->events, scoreboard_events, EVENTS, name, value);
        } else if (sscanf(line, "latency %llu %llu", &floor, &value) == 2) {
            add(&head->latency[latency_bucket(floor)], value);
        }
    }
}
