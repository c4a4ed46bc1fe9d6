"""Bottle, Falcon, Pyramid, WhiteNoise, and Flask with a database, for each Python that the machine has."""

import json
import os
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

from harness import BOUND, Load, environment, ours, wait_until
from visitor import Visitor


@pytest.fixture(scope="module", params=["bottle", "falcon", "pyramid"])
def framework(request, module_server, served):
    s = module_server(f"{request.param}_site:app", "-w", "2", **served.options)
    s.tracebacks_expected = True  # /fails
    return s


@pytest.fixture
def visitor(framework):
    return Visitor(framework)


def test_pages_with_parameters(visitor):
    page = visitor.open("/user/J%C3%BCrgen?q=a%20b")
    assert page.data.decode() == "user Jürgen, a b"


def test_json(visitor):
    sent = {"a": [1, None, "ü"]}
    page = visitor.open("/json", json.dumps(sent).encode(), Content_Type="application/json")
    assert json.loads(page.data) == {"got": sent, "type": "application/json"}


def test_upload(visitor):
    page = visitor.upload("/upload", {"note": "hello"}, "file", "a.bin", b"x" * 3_000_000)
    assert json.loads(page.data) == {"name": "a.bin", "size": 3_000_000, "note": "hello"}


def test_stream(visitor):
    assert visitor.open("/stream").data.decode() == "".join(f"row {i}\n" for i in range(1000))


def test_file(visitor, framework):
    assert visitor.open("/file").data == (framework.dir / "hello.py").read_bytes()


@pytest.mark.parametrize("path, status", [("/gone", 410), ("/nowhere", 404), ("/fails", 500)])
def test_errors(visitor, path, status):
    assert visitor.open(path).status == status
    assert visitor.open("/user/x?q=y").status == 200


def test_debugger_of_werkzeug_is_off(module_server, served):
    s = module_server("flask_site:app", **served.options)
    s.tracebacks_expected = True
    page = Visitor(s).open("/fails")
    assert page.status == 500 and b"Werkzeug" not in page.data and b"Traceback" not in page.data
    assert Visitor(s).open("/fails?__debugger__=yes&cmd=resource&f=style.css").status == 500
    assert Visitor(s).open("/console").status == 404


WHITENOISE = """
from whitenoise import WhiteNoise
from hello import app as hello

app = WhiteNoise(hello, root="static", prefix="assets/")
"""


def test_whitenoise_serves_static_files(module_server, served, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whitenoise")
    (folder / "static").mkdir()
    style = b"body { color: red }\n" * 10_000
    (folder / "static" / "style.css").write_bytes(style)
    (folder / "noise.py").write_text(WHITENOISE)
    shutil.copy2(Path(__file__).parent.parent / "apps" / "hello.py", folder)
    v = Visitor(module_server("noise:app", folder=folder, **served.options))
    whole = v.open("/assets/style.css")
    assert whole.data == style and whole.headers["Content-Type"].startswith("text/css")
    part = v.open("/assets/style.css", Range="bytes=5-14")
    assert part.status == 206 and part.data == style[5:15]
    assert v.open("/assets/style.css", If_Modified_Since=whole.headers["Last-Modified"]).status == 304
    assert v.open("/assets/none.css").status == 200  # the application's


# Databases


def binaries():
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)
    return found[0].parent if found else None


@pytest.fixture(scope="session")
def postgresql():
    """A server of our own, in a folder of its own, that is reached by a unix socket only: its URL."""
    bin_folder = binaries()
    if not bin_folder:
        pytest.skip("no PostgreSQL here")
    # Not pytest's folder, which others may not enter: it does not run as root.
    folder = Path(subprocess.run(["mktemp", "-d", "/tmp/cwsgi-pg-XXXXXX"], text=True, capture_output=True).stdout.strip())
    as_user = []
    if os.getuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
        as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]
    data = folder / "data"
    options = ["-A", "trust", "-U", "tester", "--no-sync", "-E", "UTF8", "--locale=C"]
    subprocess.run([*as_user, bin_folder / "initdb", "-D", data, *options], check=True, capture_output=True, cwd=folder)
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(
            [*as_user, bin_folder / "postgres", "-D", data, "-k", folder, "-c", "listen_addresses=", "-c", "fsync=off"],
            cwd=folder, stdout=log, stderr=log)  # fmt: skip
    try:
        ready = "database system is ready to accept connections"
        wait_until(lambda: ready in (folder / "log").read_text(), "PostgreSQL is up")
        yield f"postgresql+psycopg://tester@/postgres?host={folder}"
    finally:
        process.terminate()
        process.wait(BOUND)
        shutil.rmtree(folder)


def visit_all(s, workers):
    """Visits until every worker has been seen: which backends each of them used."""
    seen = defaultdict(set)

    def one_visit(server):
        told = json.loads(server.get("/visit").body)
        seen[told["worker"]].add(told["backend"])

    with Load(s, 4, one_visit) as load:
        load.wait_replies(50)
        wait_until(lambda: len(seen) == workers or load.failures, "every worker was seen")
    assert not load.failures, load.failures
    counted = {int(worker): n for worker, n in json.loads(s.get("/visits").body).items()}
    assert sum(counted.values()) == len(load.replies)
    return seen


def options_for(served, url):
    options = dict(served.options)
    env = dict(options.get("env") or environment())
    return {**options, "env": {**env, "DATABASE_URL": url}}


def test_sqlite(server, served, tmp_path):
    s = server("database_site:app", "-w", "2", **options_for(served, f"sqlite:///{tmp_path}/site.db"))
    s.ready_workers(2)
    visit_all(s, 2)


@pytest.mark.parametrize("options", [(), ("--threads", "4")], ids=["one thread", "threads"])
def test_postgresql_connections_are_not_shared_by_workers(server, served, postgresql, options):
    s = server("database_site:app", "-w", "3", *options, **options_for(served, postgresql))
    s.ready_workers(3)
    empty = [binaries() / "psql", "-h", postgresql.partition("host=")[2], "-U", "tester", "postgres", "-c"]
    subprocess.run([*empty, "delete from visits"], check=True, capture_output=True, cwd="/")
    seen = visit_all(s, 3)
    backends = [b for of_worker in seen.values() for b in of_worker]
    assert len(backends) == len(set(backends)), "two workers talk over one connection"


@ours
def test_application_that_connects_is_not_preloaded_by_itself(server, served, postgresql):
    s = server("database_site:app", "-w", "2", "--preload=auto", **options_for(served, postgresql))
    s.wait_log("each worker loads the application: loading it leaves 0 threads and 1 socket behind")
