/* library.h - the standard library, which files of an application do not hide and which workers may share. */
#pragma once

extern const char library_source[];

/* As in gunicorn, which has them loaded before the application's folder is in sys.path: modules of the standard library
 * are found before files of the same name there. To be called between interp_start and interp_set_paths. What keeps it
 * from that is logged. */
void library_first(void);

#define LIBRARY_SHARED_BY 3 /* workers: with fewer, what the master keeps for itself is more than what they share */

/* Before workers are forked: what nearly every application needs. What cannot be loaded is left to who needs it. */
void library_load(void);
