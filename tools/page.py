"""Makes the status page a C string: page.py INPUT OUTPUT."""

import sys

source, output = sys.argv[1:]
with open(source, "rb") as f:
    values = [*f.read()]
with open(output, "w") as f:
    print('#include "server/http/statuspage.h"\n\nconst char statuspage_html[] = {', file=f)
    for i in range(0, len(values), 24):
        print("    " + " ".join(f"(char){v}," for v in values[i : i + 24]), file=f)
    print("};\nconst size_t statuspage_html_len = sizeof(statuspage_html);", file=f)
