"""Children that the application forks itself: whatever they do, there is one worker."""

import os

import pytest

from harness import ours, wait_until

APP = """
import os, sys

def body(status):
    yield b"status "
    if os.fork() == 0:
        raise SystemExit(status)
    yield str(os.waitstatus_to_exitcode(os.wait()[1])).encode()

class Closing:
    def __iter__(self):
        return iter([b"closing"])
    def close(self):
        if os.fork() == 0:
            raise SystemExit(5)
        print("status", os.waitstatus_to_exitcode(os.wait()[1]), flush=True)

def app(environ, start_response):
    path = environ["PATH_INFO"][1:]
    write = start_response("200 OK", [("Content-Type", "text/plain")])
    if path == "generator":
        return body(4)
    if path == "close":
        return Closing()
    if path and os.fork() == 0:
        if path == "exit":
            sys.exit(3)
        elif path == "plain-exit":
            sys.exit()
        elif path == "text":
            sys.exit("the reason")
        elif path == "raise":
            raise ValueError("in the child")
        elif path == "write":
            write(b"from the child")
        return [b"from the child"]
    if path:
        return [f"status {os.waitstatus_to_exitcode(os.wait()[1])}".encode()]
    return [str(os.getpid()).encode()]
"""

pytestmark = ours
STATUSES = {"exit": 3, "plain-exit": 0, "text": 1, "raise": 1, "return": 0, "write": 0, "generator": 4}


@pytest.fixture(params=((), ("--threads", "3")), ids=" ".join)
def site(request, server, tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "forks.py").write_text(APP)
    return server("forks:app", *request.param, folder=tmp_path / "site")


def check(site):
    """One worker answers, and goes when it is told to."""
    (worker,) = site.children()
    for _ in range(20):
        assert int(site.get("/", "Connection: close").text) == worker
    assert site.stop() == 0
    assert "was sent SIG" not in site.log(), "a child had to be killed"


@pytest.mark.parametrize("way", STATUSES)
def test_child_that_comes_back_ends(site, way):
    for _ in range(3):
        assert site.get("/" + way).text == f"status {STATUSES[way]}"
    check(site)
    log = site.log()
    site.tracebacks_expected = True
    assert log.count("ValueError: in the child") == (3 if way == "raise" else 0)
    assert log.count("comes back from it") == (3 if way in ("return", "write") else 0)
    assert log.count("the reason") == (3 if way == "text" else 0)


def test_child_that_comes_back_from_close_ends(site):
    assert site.get("/close").text == "closing"
    wait_until(lambda: os.path.getsize(site.dir / "stdout.txt"), "close() has returned")
    assert (site.dir / "stdout.txt").read_text() == "status 5\n"
    check(site)
