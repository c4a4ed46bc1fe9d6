"""Answers that have to be whole, or be seen to be cut, at awkward moments."""

import os
import socket
import time

import pytest

from harness import BOUND, ours, wait_until
from wire import Broken, Connection, encode

APP = """
import os, time

def body(go):
    yield b"first"
    while not os.path.exists(go):
        time.sleep(0.01)
    yield b"last"

class Reentrant:
    def __init__(self, start_response):
        self.start_response = start_response
    def __iter__(self):
        yield ("X-First", "1")
        self.start_response("200 OK", [("Content-Type", "text/plain")])(b"written")
        yield ("X-Second", "2")

def app(environ, start_response):
    name, _, rest = environ["PATH_INFO"][1:].partition("/")
    plain = [("Content-Type", "text/plain")]
    if name == "pieces":
        start_response("200 OK", plain)
        return body(rest)
    if name == "written":
        write = start_response("200 OK", plain)
        write(b"x")
        return environ["wsgi.file_wrapper"](open(rest, "rb"))
    if name == "reentrant":
        start_response("200 OK", Reentrant(start_response))
        return [b"ok"]
    start_response("200 OK", plain)
    return [environ["wsgi.input"].read() or b"ok"]
"""

pytestmark = ours


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "awkward.py").write_text(APP)
    return tmp_path / "site"


@pytest.mark.parametrize("threads", ("1", "2"))
def test_requests_that_were_read_are_answered_though_the_worker_leaves(server, folder, threads):
    s = server("awkward:app", "--threads", threads, folder=folder)
    with s.connect() as c:
        c.send(encode("GET", "/pieces/go") + encode("POST", "/", body=b"sent") + encode("GET", "/"))
        head = c.head()
        assert head.status == 200 and c.chunk() == b"first"
        s.signal("TERM")
        s.wait_log("Handling signal: term")
        (folder / "go").touch()
        assert c.chunk() == b"last" and c.chunk() == b""
        reply = c.reply()
        assert (reply.status, reply.body, reply["Connection"]) == (200, b"sent", "close")
    assert s.wait() == 0


def test_file_behind_what_was_written_is_whole_however_the_client_reads(server, folder):
    """Over a Unix socket, which is often full at the very end of a file."""
    path = folder / "s.sock"
    s = server("awkward:app", "-b", f"unix:{path}", folder=folder)
    wait_until(path.exists, "it listens")
    for size in range(20_000, 820_000, 8192):
        (folder / "data").write_bytes(os.urandom(size))
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(BOUND)
            sock.connect(str(path))
            c = Connection(sock)
            c.send(encode("GET", "/written/data"))
            time.sleep(0.01)
            assert c.reply().body == b"x" + (folder / "data").read_bytes(), size


@pytest.mark.parametrize("threads", ("1", "2"))
def test_file_that_shrinks_while_it_is_sent_does_not_look_whole(server, folder, threads):
    s = server("awkward:app", "--threads", threads, folder=folder)
    with open(folder / "data", "wb") as f:
        f.truncate(50_000_000)
    with s.connect(rcvbuf=65536) as c:
        c.send(encode("GET", "/written/data", version="HTTP/1.0"))
        assert c.head().status == 200
        c.take(100_000)  # so its size is known
        os.truncate(folder / "data", 20_000_000)
        with pytest.raises(ConnectionResetError):
            while c.sock.recv(1 << 20):
                pass


def test_headers_that_call_back_do_not_end_the_worker(server, folder):
    s = server("awkward:app", folder=folder)
    s.tracebacks_expected = True
    (worker,) = s.ready_workers(1)
    with s.connect() as c:
        c.send(encode("GET", "/reentrant"))
        assert c.head().status == 200 and c.chunk() == b"written"
        with pytest.raises(Broken):
            c.chunk()
    assert s.get("/").text == "ok"
    assert s.children() == [worker]
