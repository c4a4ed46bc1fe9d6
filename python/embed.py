"""Makes a text a C string: embed.py NAME INPUT OUTPUT."""

import sys

name, source, output = sys.argv[1:]
with open(source, "rb") as f:
    values = [*f.read(), 0]
with open(output, "w") as f:
    print('#include "python/%s.h"\n\nconst char %s_source[] = {' % (name, name), file=f)
    for i in range(0, len(values), 24):
        print("    " + ", ".join(map(str, values[i : i + 24])) + ",", file=f)
    print("};", file=f)
