/* product.h - what we say that we are: gunicorn, to who asks for it, and cwsgi. Interpreter held. */
#pragma once

#include <stdbool.h>

struct buf;
struct settings;

extern const char product_source[];

/* The module gunicorn is in sys.modules, the installed one or a stand-in: some applications do what belongs to a server
 * only when they find it. To be called between interp_start and interp_set_paths. What keeps it from that is logged. */
void product_appear(void);

/* Is the exception that is set an import of a part of gunicorn, which is not installed? */
bool product_is_missed(void);

/* After the configuration file, which may have changed gunicorn.SERVER and gunicorn.SERVER_SOFTWARE: sets server_field
 * and server_software of the settings, and os.environ. 0, or -1 with a sentence. */
int product_settle(struct settings *s, struct buf *error);
