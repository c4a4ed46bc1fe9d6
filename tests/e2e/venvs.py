"""Virtual environments for the tests. What takes long to make is kept from run to run, by what it was made from."""

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pytest

from harness import BINARY, BOUND, REPO, environment

CACHE = Path(os.environ.get("CWSGI_TEST_VENVS") or REPO / "build" / "test-venvs")
FRAMEWORKS = "flask flask-sock django bottle falcon pyramid whitenoise sqlalchemy psycopg[binary]".split()
OUT_OF_REACH = re.compile("Could not find a version|No matching distribution|Connection|Temporary failure|timed out")
# What a build of the project depends on.
SOURCES = "main.c meson.build meson_options.txt pyproject.toml program python server subprojects tools/describe wsgi".split()

WHO_ARE_YOU = """
import os, platform, sys
if sys.version_info < (3, 10) or sys.implementation.name != "cpython":
    sys.exit(1)
print(os.path.realpath(getattr(sys, "_base_executable", sys.executable)), platform.python_version())
"""


@dataclass(frozen=True)
class Python:
    executable: str
    version: str  # "3.12.1"

    @property
    def name(self):
        where = "" if ".pyenv" in self.executable else self.executable.replace("/", "-")
        return self.version + where


@lru_cache(maxsize=None)
def pythons():
    """Every Python from 3.10 on that the machine has, each once."""
    folders = [*os.environ.get("PATH", "").split(":"), "/usr/bin", "/usr/local/bin"]
    folders += sorted(map(str, Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv").glob("versions/*/bin")))
    found = {}
    for folder in dict.fromkeys(folders):
        if Path(folder).name == "shims":  # pyenv's: they lead to the others
            continue
        for program in sorted(Path(folder or ".").glob("python3*")):
            if not re.fullmatch(r"python3(\.\d+)?", program.name) or not os.access(program, os.X_OK):
                continue
            asked = subprocess.run([program, "-c", WHO_ARE_YOU], capture_output=True, text=True, timeout=BOUND)
            if asked.returncode == 0:
                executable, version = asked.stdout.split()
                found.setdefault(executable, Python(executable, version))
    return sorted(found.values(), key=lambda p: [int(n) for n in re.findall(r"\d+", p.version)][:3])


@lru_cache(maxsize=None)
def linked_python():
    """The Python that the binary is linked to, as the binary says itself."""
    folder = CACHE / f"linked-{os.getpid()}"
    folder.mkdir(parents=True)
    try:
        (folder / "tell.py").write_text(
            "import json, platform, sys\n"
            "told = {'version': platform.python_version(), 'prefix': sys.base_prefix}\n"
            "open('told.json', 'w').write(json.dumps(told))\n"
            "def application(environ, start_response): pass\n"
        )
        subprocess.run(
            [BINARY, "--check-config", "tell"], cwd=folder, env=environment(), check=True, capture_output=True,
            timeout=BOUND,
        )  # fmt: skip
        told = json.loads((folder / "told.json").read_text())
    finally:
        shutil.rmtree(folder)
    short = ".".join(told["version"].split(".")[:2])
    return Python(f"{told['prefix']}/bin/python{short}", told["version"])


def make_venv(python, path, *options):
    subprocess.run([python.executable, "-m", "venv", "--without-pip", *options, path], check=True, timeout=10 * BOUND)
    return path


def pip_install(venv, *what):
    """With the pip of the Python that runs the tests: a venv of ours has none."""
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--python", f"{venv}/bin/python", "install", "-q", *map(str, what)],
        capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode != 0 and OUT_OF_REACH.search(done.stderr):
        pytest.skip(f"the package index is out of reach: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stdout + done.stderr


@contextmanager
def cached(name, key):
    """A folder that is made once: yields (folder, whether it still has to be filled)."""
    CACHE.mkdir(parents=True, exist_ok=True)
    folder = CACHE / name
    with open(CACHE / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp = folder / "made-from"
        fresh = not stamp.exists() or stamp.read_text() != key
        if fresh:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        yield folder, fresh
        if fresh:
            stamp.write_text(key)  # last, so that a half-made one is made again


def with_packages(python, name, packages):
    with cached(f"{name}-{python.name}", f"{python} {packages}") as (folder, fresh):
        if fresh:
            make_venv(python, folder / "venv")
            pip_install(folder / "venv", *packages)
    return folder / "venv"


def frameworks(python):
    """A venv with the frameworks."""
    return with_packages(python, "frameworks", FRAMEWORKS)


def beside_gunicorn(python):
    """A venv with gunicorn in it, from which configuration files import, and with PasteDeploy."""
    return with_packages(python, "beside-gunicorn", ["gunicorn", "PasteDeploy"])


def site_packages(venv):
    return next(venv.glob("lib/python3*/site-packages"))


def let_see_frameworks(python, venv):
    (site_packages(venv) / "frameworks.pth").write_text(f"{site_packages(frameworks(python))}\n")


def sources_digest():
    sha = hashlib.sha256()
    for name in SOURCES:
        path = REPO / name
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and "__pycache__" not in file.parts:
                sha.update(f"{file} {file.stat().st_size}\0".encode() + file.read_bytes())
    return sha.hexdigest()


def with_project(python):
    """A venv into which this project was installed by pip, and that sees the frameworks."""
    with cached(f"project-{python.name}", f"{python} {sources_digest()}") as (folder, fresh):
        if fresh:
            make_venv(python, folder / "venv")
            pip_install(folder / "venv", f"--config-settings=build-dir={folder}/build", REPO)
            shutil.rmtree(folder / "build")
            let_see_frameworks(python, folder / "venv")
    return folder / "venv"


def with_binary(python, path):
    """A new venv at `path` that has a copy of the binary in its bin/ and sees the frameworks.

    With a build for any Python of its version (-Dlibpython=runtime), the program is in two files."""
    make_venv(python, path)
    let_see_frameworks(python, path)
    for file in (BINARY, Path(BINARY).with_name("cwsgi-core.so")):
        if Path(file).exists():
            shutil.copy2(file, path / "bin")
    return path
