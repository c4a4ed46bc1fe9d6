/* library.h - the standard library comes before files of the application. */
#pragma once

extern const char library_source[];

/* As in gunicorn, which has them loaded before the application's folder is in sys.path: modules of the standard library
 * are found before files of the same name there. To be called between interp_start and interp_set_paths. What keeps it
 * from that is logged. */
void library_first(void);
