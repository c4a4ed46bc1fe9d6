/* standins.h - standins.py, which embed.py makes a C string when we are built. */
#pragma once

extern const char standins_source[];
