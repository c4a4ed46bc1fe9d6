/* frames.h - frames.py, which embed.py makes a C string when we are built. */
#pragma once

extern const char frames_source[];
