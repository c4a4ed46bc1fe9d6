/* fold.c - equal lines in quick succession: the first ones pass, the others are counted. */
#include "server/base/fold.h"

#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "server/base/fnv.h"

#define ENTRIES 64
#define WINDOW_US UINT64_C(60000000)
#define LONG_WINDOW_US (10 * WINDOW_US)
#define STALE_US UINT64_C(1000000) /* who has had the lock for so long was killed with it */
#define SPINS 1000

struct entry {
    uint64_t hash; /* 0: free */
    uint64_t since, until;
    unsigned long count; /* in this window */
    int level;
    char text[FOLD_TEXT]; /* the first line's beginning */
};

struct fold {
    _Atomic uint64_t lock; /* when it was taken; 0: it is free */
    _Atomic uint64_t due;
    struct entry entries[ENTRIES];
};

struct fold *fold_create(void)
{
    void *p = mmap(NULL, sizeof(struct fold), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

void fold_destroy(struct fold *f)
{
    if (f) {
        munmap(f, sizeof(*f));
    }
}

/* False: it is not to be had, and everything passes. */
static bool take_lock(struct fold *f, uint64_t now)
{
    for (int i = 0; i < SPINS; i++) {
        uint64_t taken = atomic_load(&f->lock);
        bool gone = taken > 0 && now > taken + STALE_US;
        if ((taken == 0 || gone) && atomic_compare_exchange_strong(&f->lock, &taken, now)) {
            return true;
        }
        sched_yield(); /* who has it may be waiting for a processor */
    }
    return false;
}

static uint64_t hash_of(int level, const char *text, size_t len)
{
    uint64_t h = fnv_add(FNV_START ^ (uint64_t)level, text, len);
    return h ? h : 1;
}

static bool holds_back(const struct entry *e)
{
    return e->hash != 0 && e->count > FOLD_PASS;
}

static void find_due(struct fold *f)
{
    uint64_t due = 0;
    for (size_t i = 0; i < ENTRIES; i++) {
        if (holds_back(&f->entries[i]) && (due == 0 || f->entries[i].until < due)) {
            due = f->entries[i].until;
        }
    }
    atomic_store(&f->due, due);
}

static void begin(struct entry *e, uint64_t hash, int level, const char *text, size_t len, uint64_t now)
{
    bool again = e->hash == hash && now < e->until + LONG_WINDOW_US;
    const char *end = memchr(text, '\n', len);
    size_t n = end ? (size_t)(end - text) : len;
    n = n < FOLD_TEXT ? n : FOLD_TEXT - 1;
    *e = (struct entry){.hash = hash, .since = now, .level = level, .count = 1};
    e->until = now + (again ? LONG_WINDOW_US : WINDOW_US);
    memcpy(e->text, text, n);
}

bool fold_admit(struct fold *f, int level, const char *text, size_t len, uint64_t now)
{
    uint64_t hash = hash_of(level, text, len);
    struct entry *e = &f->entries[hash % ENTRIES];
    bool passes = true;
    if (!take_lock(f, now)) {
        return true;
    }
    if (e->hash == hash && (now < e->until || holds_back(e))) {
        e->count++;
        passes = !holds_back(e);
        if (e->count == FOLD_PASS + 1) {
            find_due(f);
        }
    } else if (!holds_back(e)) { /* else it has to be reported first: until then others in its place just pass */
        begin(e, hash, level, text, len, now);
    }
    atomic_store(&f->lock, 0);
    return passes;
}

uint64_t fold_due(const struct fold *f)
{
    return atomic_load(&f->due);
}

bool fold_take(struct fold *f, uint64_t now, bool all, struct fold_report *r)
{
    bool found = false;
    if (!take_lock(f, now)) {
        return false;
    }
    for (size_t i = 0; i < ENTRIES && !found; i++) {
        struct entry *e = &f->entries[i];
        if (holds_back(e) && (all || now >= e->until)) {
            *r = (struct fold_report){.level = e->level,
                                      .count = e->count - FOLD_PASS,
                                      .seconds = (unsigned)((now - e->since + 999999) / 1000000)};
            memcpy(r->text, e->text, sizeof(r->text));
            e->count = FOLD_PASS; /* remembered: if it goes on, the next window is longer */
            found = true;
        }
    }
    find_due(f);
    atomic_store(&f->lock, 0);
    return found;
}
