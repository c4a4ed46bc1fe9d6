"""--preload: workers come from the loaded image; --preload=auto looks whether they can."""

import os
import re

import pytest

from harness import Load, environment, ours, run, wait_until

APP = """
import gc, os
loader = os.getpid()
with open("loads.txt", "a") as f:
    print(loader, file=f)
{more}
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{{loader}} {{os.getpid()}} {{gc.get_freeze_count()}} {{gc.isenabled()}}".encode()]
"""

pytestmark = ours


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "site").mkdir()
    write(tmp_path / "site")
    return tmp_path / "site"


def write(folder, more=""):
    (folder / "release.py").write_text(APP.format(more=more) + "#" * len(more))


def ask(server):
    """Who has loaded the application, who serves it, how many objects are frozen, whether garbage is collected."""
    reply = server.get("/", "Connection: close")
    assert reply.status == 200
    loader, pid, frozen, enabled = reply.text.split()
    return int(loader), int(pid), int(frozen), enabled == "True"


def loads(folder):
    return len((folder / "loads.txt").read_text().split())


def test_workers_come_from_the_loaded_image(server, folder):
    s = server("release:app", "--preload", "-w", "2", folder=folder)
    s.ready_workers(2)
    for _ in range(5):
        loader, pid, frozen, enabled = ask(s)
        assert loader == s.pid and pid in s.children()
        assert frozen > 1000 and enabled
    assert loads(folder) == 1


def test_broken_files_do_not_matter_to_workers_of_the_loaded_image(server, folder):
    s = server("release:app", "--preload", "-w", "2", "--max-requests", "10", folder=folder)
    first = s.ready_workers(2)
    (folder / "release.py").write_text("def app(:\n")
    with Load(s, 2, ask) as load:
        wait_until(lambda: not set(first) & set(s.children()), "all of them were replaced")
        load.wait_replies(20)
    assert load.failures == []
    assert "boot" not in s.log().replace("Booting", "")


def test_hup_brings_new_code_all_the_same(server, folder):
    s = server("release:app", "--preload", folder=folder)
    assert ask(s)[0] == s.pid
    write(folder, "loader = -1")
    s.signal("HUP")
    wait_until(lambda: ask(s)[0] == -1, "the new code serves")


@pytest.mark.parametrize("value", ["=auto", "=true", "=false"])
def test_value_stands_behind_an_equals_sign_only(server, folder, value):
    s = server(f"--preload{value}", "release:app", folder=folder) if value != "=true" else None
    s = s or server("--preload", "release:app", folder=folder)
    assert (ask(s)[0] == s.pid) == (value != "=false")


def test_auto_preloads_what_leaves_nothing_behind(server, folder):
    s = server("release:app", "--preload=auto", "-w", "2", folder=folder)
    s.ready_workers(2)
    assert ask(s)[0] == s.pid
    assert loads(folder) == 2, "once in the trial"
    assert "the application is loaded before workers are forked: loading it leaves no threads and no sockets" in s.log()


LEAVES = {
    "a thread": ("import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()", "1 thread and"),
    "a socket": ("import socket\ns = socket.create_server(('127.0.0.1', 0))", "0 threads and 1 socket behind"),
    "a connection": (
        "import socket\nl = socket.create_server(('127.0.0.1', 0))\n"
        "s = socket.create_connection(l.getsockname())",
        r"2 sockets behind, connected to 127\.0\.0\.1 port \d+",
    ),
    "a loop": ("import asyncio\nloop = asyncio.new_event_loop()", "2 sockets"),
}


@pytest.mark.parametrize("case", LEAVES)
def test_auto_leaves_the_rest_to_each_worker(server, folder, case):
    more, says = LEAVES[case]
    write(folder, more)
    s = server("release:app", "--preload=auto", "-w", "2", folder=folder)
    s.ready_workers(2)
    loader, pid, _, _ = ask(s)
    assert loader == pid
    assert re.search(rf"each worker loads the application: loading it leaves .*{says}", s.log())
    assert len(os.listdir(f"/proc/{s.pid}/task")) == 1


def test_auto_with_an_application_that_does_not_load(folder):
    (folder / "release.py").write_text("raise RuntimeError('no database')\n")
    done = run("--preload=auto", "release:app", cwd=folder)
    assert done.returncode == 3
    assert done.stderr.count("RuntimeError: no database") == 1


def test_auto_with_an_application_that_ends_the_process(server, folder):
    write(folder, "import os\nif os.getppid() != 1 and not os.path.exists('once'): open('once', 'w'); os._exit(5)")
    s = server("release:app", "--preload=auto", folder=folder)
    loader, pid, _, _ = ask(s)
    assert loader == pid
    assert "a trial did not come to an end" in s.log()


def test_auto_looks_again_at_each_reload(server, folder):
    s = server("release:app", "--preload=auto", folder=folder)
    assert ask(s)[0] == s.pid
    write(folder, LEAVES["a thread"][0])
    s.signal("HUP")
    wait_until(lambda: (a := ask(s)) and a[0] == a[1], "the worker has loaded it")
    write(folder, "again = True")
    s.signal("HUP")
    wait_until(lambda: ask(s)[0] == s.pid, "the master has loaded it")


def test_configuration_file_may_say_auto(server, folder):
    (folder / "gunicorn.conf.py").write_text("preload_app = 'auto'\ndef when_ready(server):\n"
                                             "    print('preload', repr(server.cfg.preload_app), flush=True)\n")
    s = server("release:app", folder=folder)
    assert ask(s)[0] == s.pid
    assert (folder / "stdout.txt").read_text() == "preload 'auto'\n"


def test_bad_value(folder):
    done = run("--preload=perhaps", "release:app", cwd=folder)
    assert done.returncode == 1 and "true, false or auto" in done.stderr


LOADED = """
import sys
loaded = {"email.message", "inspect", "ssl"} & set(sys.modules)
"""


@pytest.mark.parametrize("workers, loaded", ((2, 0), (3, 3)))
def test_many_workers_share_the_standard_library(server, folder, workers, loaded):
    (folder / "shares.py").write_text(LOADED + APP.format(more="").replace("{loader}", "{len(loaded)}"))
    s = server("shares:app", "-w", str(workers), folder=folder)
    s.ready_workers(workers)
    shared, pid, frozen, enabled = ask(s)
    assert (shared, frozen > 1000) == (loaded, loaded > 0)
    assert enabled and pid in s.children()
    assert loads(folder) == workers


@pytest.mark.parametrize("trouble", ("raise RuntimeError", "import sys; sys.exit(9)", "def broken(:"))
def test_module_that_cannot_be_shared_is_left_to_who_needs_it(server, folder, tmp_path, trouble):
    (tmp_path / "gettext.py").write_text(trouble)
    s = server("release:app", "-w", "3", folder=folder, env=environment(PYTHONPATH=str(tmp_path)))
    assert ask(s)[2] > 1000
    assert "gettext" not in s.log()
