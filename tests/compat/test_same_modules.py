"""Files of the application that have names of the standard library's modules."""

import pytest

from sides import same

LIBRARY = """argparse array ast base64 binascii bisect bz2 collections contextlib copy copyreg datetime dis email enum
    fcntl fnmatch functools gettext glob grp heapq html importlib inspect io ipaddress keyword linecache logging lzma math
    ntpath opcode operator os pathlib posixpath queue random re reprlib select selectors shlex shutil signal socket ssl
    stat string struct tempfile textwrap threading token tokenize traceback types typing urllib warnings weakref zipfile
    zlib""".split()
OWN = "cmd secrets statistics wave".split()

APP = f"""
import importlib

found = []
for name in {LIBRARY + OWN}:
    if hasattr(importlib.import_module(name), "IS_A_FILE_OF_THE_APPLICATION"):
        found.append(name)

def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [" ".join(found).encode()]
"""


@pytest.mark.parametrize("workers", (1, 3))
def test_library_is_found_before_files_of_that_name(both, workers):
    def scenario(side):
        for name in LIBRARY + OWN:
            (side.folder / f"{name}.py").write_text("IS_A_FILE_OF_THE_APPLICATION = True")
        (side.folder / "finder.py").write_text(APP)
        s = side.server("finder:app", "-w", str(workers))
        return {"from the application": s.get("/").text.split()}

    seen = both(scenario)
    same(seen)
    assert seen.cwsgi["from the application"] == OWN
