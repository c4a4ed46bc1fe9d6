/* human.h - amounts and times as people read them. Each appends: 0 or -ENOMEM. */
#pragma once

#include <stdint.h>

struct buf;

int human_bytes(struct buf *out, uint64_t n);   /* "512 B", "1.5 KB", "20 MB": of 1024 */
int human_seconds(struct buf *out, uint64_t n); /* "45 s", "2 min 5 s", "3 h 4 min", "12 d 3 h" */
int human_us(struct buf *out, uint64_t us);     /* "850 us", "2.5 ms", "25 ms", "1.25 s" */
int human_count(struct buf *out, uint64_t n);   /* "12,345" */
