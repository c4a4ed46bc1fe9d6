/* loggers.h - loggers.py, which embed.py makes a C string when we are built. */
#pragma once

extern const char loggers_source[];
