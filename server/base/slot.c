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

static void fill(struct shown *shown, uint64_t began_us, struct str method, struct str target, struct str client)
{
    shown->began_us = began_us;
    shown->method_len = (uint8_t)keep(shown->method, sizeof(shown->method), method);
    shown->target_len = (uint16_t)keep(shown->target, sizeof(shown->target), target);
    shown->client_len = (uint8_t)keep(shown->client, sizeof(shown->client), client);
    shown->cut = target.len > sizeof(shown->target);
}

void slot_show(struct slot *s, uint64_t began_us, struct str method, struct str target, struct str client)
{
    /* A writer that was here before was killed at the most: the slot has been cleared since. */
    uint32_t version = atomic_load_explicit(&s->shown_version, memory_order_relaxed);
    atomic_store_explicit(&s->shown_version, version + 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release); /* who sees what follows sees the odd version as well */

    fill(&s->shown, began_us, method, target, client);

    atomic_store_explicit(&s->shown_version, version + 2, memory_order_release);
}

/* The one that is to make room: one that is too old, else the quickest. */
static struct slow *place_for(struct slow *list, uint64_t now_us)
{
    struct slow *best = &list[0];
    for (size_t i = 0; i < SLOW_MAX; i++) {
        if (list[i].ended_us == 0 || now_us > list[i].ended_us + SLOW_FOR_US) {
            return &list[i];
        }
        best = list[i].took_us < best->took_us ? &list[i] : best;
    }
    return best;
}

void slot_note_slow(struct slot *s, uint64_t began_us, uint64_t ended_us, int status, struct str method,
                    struct str target, struct str client)
{
    struct slow *place = place_for(s->slow, ended_us);
    uint32_t version = atomic_load_explicit(&s->slow_version, memory_order_relaxed);
    atomic_store_explicit(&s->slow_version, version + 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    fill(&place->request, began_us, method, target, client);
    place->took_us = ended_us - began_us;
    place->ended_us = ended_us;
    place->status = status;
    atomic_store_explicit(&s->slow_version, version + 2, memory_order_release);

    uint64_t from = UINT64_MAX, until = UINT64_MAX;
    for (size_t i = 0; i < SLOW_MAX; i++) {
        uint64_t old_at = s->slow[i].ended_us > 0 ? s->slow[i].ended_us + SLOW_FOR_US : 0;
        from = s->slow[i].took_us < from ? s->slow[i].took_us : from;
        until = old_at < until ? old_at : until;
    }
    atomic_store_explicit(&s->slow_from_us, from, memory_order_relaxed);
    atomic_store_explicit(&s->slow_until_us, until, memory_order_relaxed);
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

size_t slot_read_slow(const struct slot *s, struct slow out[SLOW_MAX])
{
    struct slow copy[SLOW_MAX];
    size_t n = 0;
    for (int i = 0; i < READS; i++) {
        uint32_t version = atomic_load_explicit(&s->slow_version, memory_order_acquire);
        memcpy(copy, s->slow, sizeof(copy));
        atomic_thread_fence(memory_order_acquire);
        if (version % 2 == 1 || version != atomic_load_explicit(&s->slow_version, memory_order_relaxed)) {
            continue;
        }
        for (size_t k = 0; k < SLOW_MAX; k++) {
            if (copy[k].ended_us > 0 && is_sound(&copy[k].request)) {
                out[n++] = copy[k];
            }
        }
        return n;
    }
    return 0;
}
