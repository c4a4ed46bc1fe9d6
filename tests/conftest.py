"""Fixtures of the end-to-end tests. What they start and look at is in e2e/harness.py, venvs are in e2e/venvs.py."""

import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

import harness
import venvs
from harness import (
    APPS,
    EXTRA_ARGS,
    IS_GUNICORN,
    REPO,
    SANITIZED,
    SLOW,
    Certificate,
    Server,
    environment,
    folder_with_apps,
)


def pytest_configure():
    if not os.access(harness.BINARY, os.X_OK):
        pytest.exit(f"{harness.BINARY} is not there: build it, or name another one in CWSGI", returncode=1)


def pytest_collection_modifyitems(items):
    for item in items:
        if IS_GUNICORN and (item.get_closest_marker("ours") or item.get_closest_marker("pythons")):
            item.add_marker(pytest.mark.skip(reason="gunicorn does it otherwise"))
        # A last resort: every wait has its own bound. Building for another Python takes its time.
        minutes = 15 if item.get_closest_marker("pythons") else 4
        item.add_marker(pytest.mark.timeout(minutes * 60 * SLOW))


def pytest_report_header():
    return f"server: {harness.BINARY} {' '.join(EXTRA_ARGS)}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed:
        for server in Server.live:
            report.sections.append((f"log of the server in {server.dir}", server.log()[-3000:]))
    return report


def start_in(make_folder):
    """server(app, *args, **options) starts one; all of them are stopped and judged at the end."""
    started = []

    def start(app, *args, folder=None, **options):
        s = Server(folder or folder_with_apps(make_folder()), app, *args, **options)
        started.append(s)
        return s

    yield start
    faults = []
    for s in reversed(started):
        try:
            s.close()
        except AssertionError as e:
            faults.append(str(e))
    assert not faults, "\n".join(faults)


@pytest.fixture
def server(tmp_path):
    counter = iter(range(100))
    yield from start_in(lambda: tmp_path / f"server{next(counter)}")


@pytest.fixture(scope="module")
def module_server(tmp_path_factory):
    yield from start_in(lambda: tmp_path_factory.mktemp("server"))


@pytest.fixture(scope="session")
def shortage(tmp_path_factory):
    """Environment variables with which files in the server's folder say what is short."""
    if not shutil.which("cc") or SANITIZED:
        pytest.skip("no C compiler, or a sanitizer, which must be loaded first")
    library = tmp_path_factory.mktemp("shortage") / "shortage.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, APPS / "shortage.c", "-ldl"], check=True)
    return environment(LD_PRELOAD=str(library))


@pytest.fixture(scope="session")
def locales():
    """Environment variables with which tr_TR and de_DE can be set."""
    with venvs.cached("locales", " ".join(platform.libc_ver())) as (folder, fresh):
        for name in ("tr_TR", "de_DE") if fresh else ():
            command = ["localedef", "-i", name, "-f", "UTF-8", folder / f"{name}.UTF-8"]
            if not shutil.which("localedef") or subprocess.run(command, capture_output=True).returncode != 0:
                pytest.skip("no localedef, or nothing to make locales from")
    return environment(LOCPATH=str(folder))


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    return Certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module", params=["plain", "tls"])
def site(request, module_server, certificate):
    """apps/probe.py, plain and over TLS: one server for all tests of a module."""
    s = module_server("probe:app", tls=certificate if request.param == "tls" else None)
    s.tracebacks_expected = True  # probe.py fails when it is asked to
    return s


@dataclass
class Served:
    """A Python to serve from: options for server(...), and its venv."""

    python: venvs.Python
    venv: Path
    options: dict


def every_python():
    yield pytest.param(None, id="linked")
    for python in venvs.pythons():
        yield pytest.param(python, id=python.name, marks=pytest.mark.pythons)


@pytest.fixture(scope="module", params=every_python())
def served(request):
    """The Python that the binary is linked to, by VIRTUAL_ENV; then every Python, with the project installed by pip."""
    if request.param is None:
        python = venvs.linked_python()
        venv = venvs.frameworks(python)
        return Served(python, venv, {"env": environment(VIRTUAL_ENV=str(venv))})
    venv = venvs.with_project(request.param)
    return Served(request.param, venv, {"exe": str(venv / "bin" / "cwsgi")})


@pytest.fixture(scope="session")
def hello_flask(tmp_path_factory):
    """~/public_html/hello_flask of the story: the example's application, and a venv that the binary lives in."""
    folder = tmp_path_factory.mktemp("home") / "public_html" / "hello_flask"
    folder.mkdir(parents=True)
    shutil.copy2(REPO / "examples" / "hello_flask" / "hello.py", folder)
    venvs.with_binary(venvs.linked_python(), folder / "venv")
    return folder


@pytest.fixture
def folder(tmp_path):
    """A folder with all of tests/apps in it, for what is run without `server`."""
    return folder_with_apps(tmp_path / "folder")
