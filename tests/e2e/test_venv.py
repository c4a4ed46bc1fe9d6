"""Which Python environment is served: as under that environment's own python."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import venvs
from harness import BINARY, BOUND, environment, folder_with_apps, ours, run

pytestmark = ours  # gunicorn is run by that python


def python_says(python, folder, env):
    done = subprocess.run(
        [python, "-c", f"__name__ = '__main__'; exec(open({str(folder / 'interpreter.py')!r}).read())"],
        cwd="/", env=env, check=True, capture_output=True, text=True, timeout=BOUND,
    )  # fmt: skip
    said = json.loads(done.stdout)
    # gunicorn, and so cwsgi, puts the application's folder in front itself.
    return {**said, "path": [str(folder), *filter(None, said["path"])]}


def compare(server, folder, python, env, **options):
    folder_with_apps(folder)
    shown = json.loads(server("probe:app", folder=folder, env=env, **options).get("/interpreter").text)
    assert shown == python_says(python, folder, {**env, "HOME": str(folder)})  # as the server was started
    return shown


VARIABLES = [
    {},
    {"PYTHONPATH": "/somewhere:/else"},
    {"PYTHONOPTIMIZE": "1", "PYTHONUTF8": "1", "PYTHONNOUSERSITE": "1", "PYTHONHASHSEED": "7", "PYTHONUNBUFFERED": "1"},
    {"PYTHONSAFEPATH": "1"},
    {"LC_ALL": "C", "PYTHONDEVMODE": "1", "PYTHONPYCACHEPREFIX": "/nowhere"},
]


@pytest.mark.parametrize("variables", VARIABLES, ids=lambda v: "+".join(v) or "none")
def test_interpreter_is_the_venvs(server, tmp_path, served, variables):
    """By VIRTUAL_ENV for the linked Python, by the venv around the binary for the others."""
    env = environment(**{**served.options.get("env", environment()), **variables})
    options = {k: v for k, v in served.options.items() if k == "exe"}
    shown = compare(server, tmp_path / "site", f"{served.venv}/bin/python", env, **options)
    assert shown["version"].startswith(served.python.version)
    assert shown["prefix"] == str(served.venv)


@pytest.fixture(scope="module")
def own_venv(tmp_path_factory):
    """With the binary in it, and a .pth file."""
    folder = tmp_path_factory.mktemp("own")
    venv = venvs.with_binary(venvs.linked_python(), folder / "venv")
    (folder / "extra").mkdir()
    pth = venvs.site_packages(venv) / "extra.pth"
    pth.write_text(f"{folder}/extra\nimport os; os.environ['FROM_PTH'] = 'it was run'\n")
    return venv


def test_binary_in_a_venv_serves_it(server, tmp_path, own_venv):
    shown = compare(server, tmp_path / "site", own_venv / "bin/python", environment(), exe=f"{own_venv}/bin/cwsgi")
    assert shown["from .pth"] == "it was run"
    assert str(own_venv.parent / "extra") in shown["path"]


def test_binary_in_a_venv_cares_for_no_other(server, tmp_path, own_venv):
    env = environment(VIRTUAL_ENV=str(venvs.frameworks(venvs.linked_python())))
    compare(server, tmp_path / "site", own_venv / "bin/python", env, exe=f"{own_venv}/bin/cwsgi")


def test_binary_is_found_by_path_and_by_relative_name(server, tmp_path, own_venv):
    env = environment(PATH=f"{own_venv}/bin:{os.environ['PATH']}")
    compare(server, tmp_path / "site", own_venv / "bin/python", env, exe="cwsgi")
    folder = folder_with_apps(tmp_path / "second")
    (folder / "venv").symlink_to(own_venv)
    shown = json.loads(server("probe:app", folder=folder, exe="venv/bin/cwsgi").get("/interpreter").text)
    assert shown["prefix"] == f"{folder}/venv"


def test_link_to_a_binary_in_a_venv(server, tmp_path, own_venv):
    (tmp_path / "cwsgi").symlink_to(own_venv / "bin/cwsgi")
    compare(server, tmp_path / "site", own_venv / "bin/python", environment(), exe=str(tmp_path / "cwsgi"))


def test_venv_with_system_packages(server, tmp_path):
    python = venvs.linked_python()
    venv = venvs.make_venv(python, tmp_path / "venv", "--system-site-packages")
    compare(server, tmp_path / "site", venv / "bin/python", environment(VIRTUAL_ENV=str(venv)))


@pytest.mark.skipif((Path(BINARY).parent.parent / "pyvenv.cfg").exists(), reason="the binary lives in a venv")
def test_without_a_venv_it_is_the_python_of_the_build(server, tmp_path):
    folder = folder_with_apps(tmp_path / "site")
    shown = json.loads(server("probe:app", folder=folder).get("/interpreter").text)
    assert os.path.samefile(shown["executable"], venvs.linked_python().executable)
    assert shown == python_says(shown["executable"], folder, {**environment(), "HOME": str(folder)})


def test_pip_installed_module_can_be_run(served):
    if served.options.get("exe") is None:
        pytest.skip("not installed by pip")
    for start in ([served.options["exe"]], [f"{served.venv}/bin/python", "-m", "cwsgi"]):
        done = subprocess.run([*start, "--version"], capture_output=True, text=True, env=environment(), timeout=BOUND)
        assert done.returncode == 0 and done.stdout.startswith("cwsgi")
    assert (served.venv / "share/man/man1/cwsgi.1").is_file()  # `man` looks beside the folders of PATH
    assert (served.venv / "share/bash-completion/completions/cwsgi.bash").is_file()


# Environments that cannot be served.


def one_line(done, *texts):
    lines = done.stderr.strip().splitlines()
    assert (done.returncode, len(lines)) == (1, 1), done.stderr
    for text in texts:
        assert re.search(text, lines[0]), lines[0]


@pytest.fixture
def other_version(tmp_path):
    """A venv that says that it is for Python 3.8."""
    venv = venvs.make_venv(venvs.linked_python(), tmp_path / "other")
    config = venv / "pyvenv.cfg"
    config.write_text(re.sub(r"(?m)^version = .*$", "version = 3.8.18", config.read_text()))
    return venv


def linked_version():
    return r"\b" + re.escape(".".join(venvs.linked_python().version.split(".")[:2])) + r"\b"


def test_active_venv_of_another_version(folder, other_version):
    done = run("hello:app", cwd=folder, env=environment(VIRTUAL_ENV=str(other_version)))
    one_line(done, r"\b3\.8\b", linked_version(), str(other_version))


def test_own_venv_of_another_version(folder, other_version):
    shutil.copy2(BINARY, other_version / "bin" / "cwsgi")
    done = run("hello:app", cwd=folder, exe=f"{other_version}/bin/cwsgi")
    one_line(done, r"\b3\.8\b", linked_version())


def test_real_venv_of_another_version(folder, tmp_path):
    linked = venvs.linked_python().version.split(".")[:2]
    others = [p for p in venvs.pythons() if p.version.split(".")[:2] != linked]
    if not others:
        pytest.skip("there is no other Python here")
    venv = venvs.make_venv(others[0], tmp_path / "venv")
    done = run("hello:app", cwd=folder, env=environment(VIRTUAL_ENV=str(venv)))
    one_line(done, re.escape(".".join(others[0].version.split(".")[:2])), linked_version())


@pytest.mark.parametrize("break_it", ["no venv", "no folder", "no python"])
def test_venv_that_is_none(folder, tmp_path, break_it):
    venv = tmp_path / "venv"
    if break_it == "no venv":
        venv.mkdir()
    elif break_it == "no python":
        venvs.make_venv(venvs.linked_python(), venv)
        for python in venv.glob("bin/python*"):
            python.unlink()
    one_line(run("hello:app", cwd=folder, env=environment(VIRTUAL_ENV=str(venv))), re.escape(str(venv)))


def test_help_and_version_need_no_venv(folder):
    for option in ("--help", "--version"):
        assert run(option, cwd=folder, env=environment(VIRTUAL_ENV="/nowhere")).returncode == 0
