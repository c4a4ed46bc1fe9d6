/* sources.h - sources.py, which embed.py makes a C string when we are built. */
#pragma once

extern const char sources_source[];
