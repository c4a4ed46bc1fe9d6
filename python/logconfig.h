/* logconfig.h - logconfig.py, which embed.py makes a C string when we are built. */
#pragma once

extern const char logconfig_source[];
