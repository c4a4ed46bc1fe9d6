#!/usr/bin/env python3
"""Holds the layers: a file includes only its own folder and those below, every include starts at the root, and the file
map in docs/architecture.md has every file. And it keeps out what the C library knows of characters: that follows the
locale, which an application may set."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# From the bottom up. A folder may include itself and every one of server/ before it.
SERVER = ["server/base", "server/config", "server/net", "server/http", "server/exec", "server/process"]
ALLOWED = {folder: SERVER[: i + 1] for i, folder in enumerate(SERVER)}
ALLOWED["server/ctl"] = ["server/ctl", "server/base"]
ALLOWED["python"] = ["python", "server/base", "server/config", "server/process/hooks.h"]
ALLOWED["wsgi"] = [
    "wsgi",
    "python",
    "server/base",
    "server/config",
    "server/net/chunk.h",
    "server/net/clientcert.h",
    "server/net/peer.h",
    "server/http",
    "server/exec/app.h",
]
ALLOWED["program"] = ALLOWED["."] = ["program", *SERVER, "python", "wsgi"]
INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]', re.MULTILINE)
BY_LOCALE = re.compile(
    r"\b(?:to(?:upper|lower)"
    r"|is(?:alnum|alpha|blank|cntrl|digit|graph|lower|print|punct|space|upper|xdigit)"
    r"|strn?casecmp|strcasestr|strcoll|strxfrm)\s*\("
)


def faults():
    files = []
    for folder in ALLOWED:
        files += sorted(p for p in (ROOT / folder).iterdir() if p.suffix in (".c", ".h", ".def"))
    for top in ("server", "python", "wsgi", "program"):
        for path in sorted((ROOT / top).rglob("*.[ch]")):
            if path not in files:
                yield path, f"is in a folder that no layer is named for: {path.parent.relative_to(ROOT)}"

    text = (ROOT / "docs/architecture.md").read_text()
    in_map = set(re.findall(r"\w+", text.partition("\n## File map\n")[2].partition("\n## ")[0]))
    seen = {}
    for path in files:
        if path.stem not in in_map:
            yield path, "is not in the file map of docs/architecture.md"
        name = path.relative_to(ROOT)
        folder = str(name.parent)
        if path.name in seen:
            yield path, f"has the same name as {seen[path.name]}"
        seen[path.name] = name
        if path.suffix == ".c" and path.name not in ("main.c", "launcher.c") and not path.with_suffix(".h").exists():
            yield path, f"has no header {path.stem}.h"

        text = path.read_text()
        for call in sorted(set(BY_LOCALE.findall(text))):
            yield path, f"calls {call[:-1].rstrip()}, which follows the locale: see server/base/ascii.h and str.h"

        allowed = ALLOWED[folder]
        for kind, target in INCLUDE.findall(text):
            if kind == "<":
                if target == "ctype.h":
                    yield path, "includes ctype.h, which follows the locale: see server/base/ascii.h"
                if folder.startswith("server") and Path(target).name == "Python.h":
                    yield path, "includes Python.h: server/ knows no Python"
                continue
            if not (ROOT / target).is_file():
                yield path, f'includes "{target}", which does not start at the root'
            elif str(Path(target).parent) not in allowed and target not in allowed:
                yield path, f'includes "{target}", which is not below {folder}'


def main():
    found = [f"{path.relative_to(ROOT)}: {text}" for path, text in faults()]
    print("\n".join(found) if found else "includes: the layers hold, and no text is read by locale")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
