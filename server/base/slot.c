/* slot.c - the request that a worker shows. */
#include "server/base/slot.h"

#include <string.h>

#define READS 100 /* that meet the writer in the middle: it writes for some nanoseconds, unless it is dead */

static size_t keep(char *to, size_t room, struct str from)
{
    size_t n = from.len < room ? from.len : room;
    if (n > 0) {
        memcpy(to, from.p, n);
    }
    return n;
}

void slot_show(struct slot *s, uint64_t began_us, struct str method, struct str target, struct str client)
{
    struct shown *shown = &s->shown;
    /* A writer that was here before was killed at the most: the slot has been cleared since. */
    uint32_t version = atomic_load_explicit(&s->shown_version, memory_order_relaxed);
    atomic_store_explicit(&s->shown_version, version + 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release); /* who sees what follows sees the odd version as well */

    shown->began_us = began_us;
    shown->method_len = (uint8_t)keep(shown->method, sizeof(shown->method), method);
    shown->target_len = (uint16_t)keep(shown->target, sizeof(shown->target), target);
    shown->client_len = (uint8_t)keep(shown->client, sizeof(shown->client), client);
    shown->cut = target.len > sizeof(shown->target);

    atomic_store_explicit(&s->shown_version, version + 2, memory_order_release);
}

static bool is_sound(const struct shown *s)
{
    return s->method_len <= sizeof(s->method) && s->target_len <= sizeof(s->target) &&
           s->client_len <= sizeof(s->client);
}

bool slot_read_shown(const struct slot *s, struct shown *out)
{
    for (int i = 0; i < READS; i++) {
        uint32_t version = atomic_load_explicit(&s->shown_version, memory_order_acquire);
        if (version == 0) {
            return false;
        }
        memcpy(out, &s->shown, sizeof(*out));
        atomic_thread_fence(memory_order_acquire);
        if (version % 2 == 0 && version == atomic_load_explicit(&s->shown_version, memory_order_relaxed)) {
            return is_sound(out); /* a worker gone mad may have written anything */
        }
    }
    return false;
}
