"""`python -m cwsgi ...` is the cwsgi of that Python's environment."""

import os
import sys
import sysconfig

if __name__ == "__main__":
    program = os.path.join(sysconfig.get_path("scripts"), "cwsgi")
    os.execv(program, [program, *sys.argv[1:]])
