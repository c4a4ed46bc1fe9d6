"""The wheel of tools/wheel: for hosts with neither a compiler nor the libraries that cwsgi is made of."""

import hashlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import venvs
from harness import BOUND, REPO, environment, folder_with_apps, run, wait_until

pytestmark = [pytest.mark.ours, pytest.mark.pythons]  # it is a build of its own


@pytest.fixture(scope="module")
def python():
    return venvs.linked_python()


@pytest.fixture(scope="module")
def wheel(python):
    tools = hashlib.sha256()
    for file in ("tools/wheel", "tools/wheel-requirements.txt"):
        tools.update((REPO / file).read_bytes())
    made_from = f"{python} {venvs.sources_digest()} {tools.hexdigest()}"
    with venvs.cached(f"wheel-{python.name}", made_from) as (folder, fresh):
        if fresh:
            command = [REPO / "tools/wheel", "-o", folder, python.executable]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode != 0 and venvs.OUT_OF_REACH.search(done.stderr):
                pytest.skip("the package index is out of reach")
            assert done.returncode == 0, done.stdout + done.stderr
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def unpacked(wheel, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unpacked")
    shutil.unpack_archive(wheel, folder, "zip")
    return folder


@pytest.fixture(scope="module")
def venv(python, wheel, tmp_path_factory):
    path = venvs.make_venv(python, tmp_path_factory.mktemp("wheel") / "venv")
    venvs.pip_install(path, wheel)
    venvs.let_see_frameworks(python, path)
    return path


def asks_for(file):
    """(libraries, the newest glibc) of an ELF file."""
    dynamic = subprocess.run(["readelf", "-d", file], capture_output=True, text=True, check=True).stdout
    symbols = subprocess.run(["readelf", "-V", file], capture_output=True, text=True, check=True).stdout
    versions = [tuple(map(int, v.split("."))) for v in re.findall(r"GLIBC_(\d+\.\d+)", symbols)]
    return set(re.findall(r"\(NEEDED\).*\[(\S+?)\.so", dynamic)), max(versions)


def test_nothing_but_an_old_c_library_is_asked_for(wheel, unpacked):
    assert "manylinux_2_28" in wheel.name
    files = [*unpacked.glob("*.data/scripts/*"), *unpacked.rglob("*.so")]
    assert sorted(f.name for f in files) == ["cwsgi", "cwsgi-core.so", "cwsgictl"]
    for file in files:
        libraries, glibc = asks_for(file)
        assert libraries <= {"libc", "libdl", "libm", "libpthread", "librt", "ld-linux-x86-64", "ld-linux-aarch64"}
        assert glibc <= (2, 28)


def test_licences_of_what_is_linked_in_are_there(unpacked):
    text = next(unpacked.glob("*.dist-info/**/LICENSE")).read_text()
    assert all(words in text for words in ("MIT License", "OpenSSL", "Apache", "libuv", "llhttp"))


def test_flask_over_tls(server, certificate, venv):
    s = server("flask_site:app", "-w", "2", exe=f"{venv}/bin/cwsgi", tls=certificate)
    assert s.get("/").text == "Hello, World!"
    pid = s.pid
    s.signal("HUP")
    wait_until(lambda: s.log().count("Booting worker") == 4, "new workers are there")
    assert s.get("/").text == "Hello, World!" and s.pid == pid


def test_pythons_own_ssl_keeps_its_library(server, tmp_path, python, venv):
    """The OpenSSL that is linked in must not stand in for the one that Python's modules were made for."""
    folder = folder_with_apps(tmp_path / "site")
    (folder / "tls.py").write_text(
        "import hashlib, ssl\n"
        "ssl.create_default_context()\n"
        "def app(environ, start_response):\n"
        "    start_response('200 OK', [])\n"
        "    return [ssl.OPENSSL_VERSION.encode(), b' ', hashlib.sha256(b'').hexdigest().encode()]\n"
    )
    said = subprocess.run([python.executable, "-c", "import ssl; print(ssl.OPENSSL_VERSION, end='')"], capture_output=True)
    got = server("tls:app", folder=folder, exe=f"{venv}/bin/cwsgi").get("/").body
    assert got == said.stdout + b" " + hashlib.sha256(b"").hexdigest().encode()


def test_environment_without_a_venv(server, tmp_path, python, unpacked):
    """As conda makes them: a prefix with Python, its library and all packages in it."""
    prefix = tmp_path / "miniconda3"
    name = f"python{'.'.join(python.version.split('.')[:2])}"
    packages = prefix / "lib" / name / "site-packages"
    base = Path(python.executable).parent.parent
    library = next(base.glob(f"lib/lib{name}*.so.1.0"), None)
    if not library:
        pytest.skip(f"{python.executable} has its library elsewhere")
    packages.mkdir(parents=True)
    for module in (base / "lib" / name).iterdir():
        if module.name != "site-packages":
            (packages.parent / module.name).symlink_to(module)
    (prefix / "lib" / library.name).symlink_to(library)
    (prefix / "bin").mkdir()
    shutil.copy2(python.executable, prefix / "bin" / name)
    (prefix / "bin" / "python").symlink_to(name)
    for file in unpacked.glob("*.data/scripts/*"):
        shutil.copy2(file, prefix / "bin")
        (prefix / "bin" / file.name).chmod(0o755)
    shutil.copy2(unpacked / "cwsgi-core.so", packages)
    (packages / "installed.py").write_text("")

    folder = folder_with_apps(tmp_path / "site")
    (folder / "where.py").write_text(
        "import sys, installed\n"
        "def app(environ, start_response):\n"
        "    start_response('200 OK', [])\n"
        "    return [sys.prefix.encode()]\n"
    )
    s = server("where:app", folder=folder, exe=f"{prefix}/bin/cwsgi")
    assert s.get("/").text == str(prefix)


def test_venv_of_another_version_is_refused(tmp_path, venv):
    other = tmp_path / "other"
    (other / "bin").mkdir(parents=True)
    (other / "pyvenv.cfg").write_text("home = /usr/bin\nversion = 3.4.10\n")
    shutil.copy2(venv / "bin" / "cwsgi", other / "bin")
    done = run("--version", exe=f"{other}/bin/cwsgi", cwd=tmp_path)
    assert done.returncode == 1 and "3.4" in done.stderr and done.stderr.count("\n") == 1


def test_half_of_an_installation_is_told_of(tmp_path, python, venv):
    broken = venvs.make_venv(python, tmp_path / "venv")
    shutil.copy2(venv / "bin" / "cwsgi", broken / "bin")
    done = run("--version", exe=f"{broken}/bin/cwsgi", cwd=tmp_path)
    assert done.returncode == 1 and "cwsgi-core.so is not where pip has put it" in done.stderr
    (venvs.site_packages(broken) / "cwsgi-core.so").write_text("half")
    done = run("--version", exe=f"{broken}/bin/cwsgi", cwd=tmp_path)
    assert done.returncode == 1 and "cwsgi-core.so cannot be loaded" in done.stderr


def test_file_that_is_missing_between_trial_and_reload_ends_nobody(server, tmp_path, python, wheel):
    """pip replaces one file after the other: the workers serve on until all are there."""
    own = venvs.make_venv(python, tmp_path / "venv")
    venvs.pip_install(own, wheel)
    core, away = venvs.site_packages(own) / "cwsgi-core.so", tmp_path / "away"
    folder = folder_with_apps(tmp_path / "site")
    (folder / "gunicorn.conf.py").write_text(
        "import os, sys\n"
        "if '--check-config' in sys.argv and os.path.exists('update'):\n"
        f"    os.rename({str(core)!r}, {str(away)!r})\n"
    )
    s = server("probe:app", "--log-file", "server.log", exe=f"{own}/bin/cwsgi", folder=folder)
    workers = s.workers(1)
    (folder / "update").touch()
    s.signal("HUP")
    s.wait_log("The new release is tried again in 2 s; 1 of 1 old workers serve meanwhile")
    assert "cwsgi-core.so is not where pip has put it" in (folder / "server.log").read_text()
    assert s.get("/").status == 200 and s.workers(1) == workers
    (folder / "update").unlink()
    away.rename(core)
    wait_until(lambda: s.children() != workers and len(s.children()) == 1, "the new image serves")
    assert s.get("/").status == 200


def test_python_dash_m(venv, tmp_path):
    done = subprocess.run(
        [venv / "bin" / "python", "-m", "cwsgi", "--version"], cwd=tmp_path, env=environment(), capture_output=True,
        text=True, timeout=BOUND, check=False,
    )  # fmt: skip
    assert done.stdout.startswith("cwsgi (version") and done.returncode == 0
