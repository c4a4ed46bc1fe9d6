/* memory.h - how much memory a process uses, as the kernel tells. */
#pragma once

#include <stddef.h>
#include <sys/types.h>

/* Bytes that are resident, pages that it shares with others counted whole: cheap. 0: not known. */
size_t memory_rss(pid_t pid);

/* The same with what is shared counted in parts: the sum over processes is what they use together. The kernel walks
 * all pages for it, some 10 µs for a megabyte. Where it does not tell (before 4.14, in some sandboxes): as memory_rss.
 */
size_t memory_pss(pid_t pid);
