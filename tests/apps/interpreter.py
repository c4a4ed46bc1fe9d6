"""What an interpreter says of itself: the same in cwsgi and in its venv's python."""

import json
import os
import site
import sys


def facts():
    names = "prefix exec_prefix base_prefix base_exec_prefix executable path version pycache_prefix".split()
    said = {name: getattr(sys, name) for name in names}
    said["flags"] = list(sys.flags)
    said["encodings"] = [sys.getfilesystemencoding(), sys.getfilesystemencodeerrors(), sys.stderr.encoding]
    said["user site"] = [site.ENABLE_USER_SITE, site.getusersitepackages()]
    said["site-packages"] = site.getsitepackages()
    said["from .pth"] = os.environ.get("FROM_PTH")
    return said


if __name__ == "__main__":
    print(json.dumps(facts()))
