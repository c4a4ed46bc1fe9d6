/* stapler.h - gets OCSP answers for the certificates that serve, so that workers can send them along.
 * Asking may take long, so a child of the master does it, one certificate at a time. Whatever goes wrong is worth a
 * line for debugging only: clients then ask by themselves, or do not. Master only. */
#pragma once

#include <stdint.h>

struct news;
struct renewal;
struct stapler;

struct stapler *stapler_create(struct renewal *renewal); /* borrowed. NULL when memory is short */
void stapler_destroy(struct stapler *s);                 /* ends what is going on; NULL is fine, here and below */

uint64_t stapler_deadline(const struct stapler *s); /* when stapler_turn wants to be called; 0: not yet known */
void stapler_await(const struct stapler *s, struct news *news);
void stapler_turn(struct stapler *s, uint64_t now); /* clock_mono_us */
