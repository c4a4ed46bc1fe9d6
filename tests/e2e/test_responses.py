"""How what the application returns becomes a response."""

import hashlib
import os
import re
import shutil
import socket
import subprocess
import time

import pytest

from harness import PRODUCT, environment, ours, wait_until
from wire import Broken, encode

HELLO = b"Hello, World!"
PIECE = bytes(range(256)) * 256
BIG = os.urandom(1 << 20) * 10


@pytest.fixture(scope="module")
def big_file(site):
    (site.dir / "big.bin").write_bytes(BIG)


def sha(data):
    return hashlib.sha256(data).hexdigest()


def test_head_of_a_response(site):
    reply = site.get("/", "Connection: close")
    assert (reply.version, reply.status, reply.reason) == ("HTTP/1.1", 200, "OK")
    assert reply["Content-Type"] == "text/plain"
    assert reply["Server"] == PRODUCT
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", reply["Date"])
    assert reply.all("Content-Length") == ["13"]


def test_generator_is_chunked_on_http_1_1(site):
    with site.connect() as c:
        c.send(encode("GET", "/pieces"))
        assert c.head()["Transfer-Encoding"] == "chunked"
        parts = []
        while part := c.chunk():
            parts.append(part)
        assert b"".join(parts) == b"one two three"


def test_application_may_start_when_it_is_iterated(site):
    assert site.get("/late_start").body == b"one two three"


def test_first_piece_arrives_before_the_second_is_made(site):
    file = f"go{site.port}"
    with site.connect() as c:
        c.send(encode("GET", f"/stream?file={file}"))
        assert c.head()["Transfer-Encoding"] == "chunked"
        assert c.chunk() == b"first\n"
        (site.dir / file).touch()
        assert c.chunk() == b"second\n"
        assert c.chunk() == b""


def test_stream_arrives_as_it_is_made_on_http_1_0(site):
    file = f"go10{site.port}"
    with site.connect() as c:
        c.send(encode("GET", f"/stream?file={file}", version="HTTP/1.0"))
        c.head()
        assert c.take(6) == b"first\n"
        (site.dir / file).touch()
        assert c.take_rest() == b"second\n"


@pytest.mark.parametrize("length", [0, 1], ids=["chunked", "length"])
def test_large_response_arrives_whole(site, length):
    size = 20_000_000
    with site.connect() as c:
        body = c.get(f"/large?size={size}&length={length}").body
    assert len(body) == size
    assert sha(body) == sha((PIECE * (size // len(PIECE) + 1))[:size])


@ours
def test_slow_reader_blocks_nobody(site):
    size = 20_000_000
    with site.connect(rcvbuf=1 << 15) as slow:
        slow.send(encode("GET", f"/large?size={size}&length=1&slow"))
        slow.head()
        for _ in range(10):
            assert site.get("/").body == HELLO
        assert len(slow.take(size)) == size
        assert slow.get("/").body == HELLO


def test_client_that_leaves_halfway_has_its_iterable_closed(site):
    with site.connect(rcvbuf=1 << 15) as c:
        c.send(encode("GET", f"/large?size=200000000&left{site.port}"))
        c.head()
        c.chunk()
    closed = site.dir / "closed.txt"
    wait_until(lambda: closed.exists() and f"left{site.port}" in closed.read_text(), "close() was called")
    assert site.get("/").body == HELLO


def test_client_that_resets_leaves_the_server_well(site):
    for _ in range(20):
        with site.connect() as c:
            c.send(encode("GET", "/large?size=3000000"))
            c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    assert site.get("/").body == HELLO


def test_iterable_is_closed_once(site):
    assert site.get("/large?size=10&once").body == PIECE[:10]
    closed = site.dir / "closed.txt"
    wait_until(lambda: "once" in closed.read_text(), "close() was called")
    site.get("/")
    assert closed.read_text().count("&once") == 1


# wsgi.file_wrapper.


@pytest.mark.parametrize(
    "query, start, end",
    [
        ("", 0, len(BIG)),
        (f"length={len(BIG)}", 0, len(BIG)),
        ("offset=12345", 12345, len(BIG)),
        (f"offset=12345&length={len(BIG) - 12345}", 12345, len(BIG)),
        ("offset=100&length=1000", 100, 1100),
        (f"offset={len(BIG)}", len(BIG), len(BIG)),
    ],
)
def test_file_is_sent(site, big_file, query, start, end):
    with site.connect() as c:
        reply = c.get(f"/file?{query}")
    assert sha(reply.body) == sha(BIG[start:end])


def test_file_in_memory_is_sent(site):
    assert site.get("/file_in_memory").body == PIECE * 3


@ours
def test_connection_lives_on_after_a_file(site, big_file):
    with site.connect() as c:
        assert sha(c.get("/file").body) == sha(BIG)
        assert c.get("/file?offset=0&length=5").body == BIG[:5]
        assert c.request("HEAD", "/file?length=5")["Content-Length"] == "5"
        assert c.get("/").body == HELLO


# What a file system without sendfile says; both names of the function, for it depends on how the server was compiled.
SENDFILE_SHIM = """
#include <errno.h>
#include <sys/types.h>
ssize_t sendfile(int out, int in, off_t *offset, size_t n) { errno = EINVAL; return -1; }
ssize_t sendfile64(int out, int in, off_t *offset, size_t n) { errno = EINVAL; return -1; }
"""


@ours
@pytest.mark.skipif(not shutil.which("cc"), reason="no C compiler")
def test_file_arrives_whole_from_where_sendfile_does_not_work(server, tmp_path):
    (tmp_path / "shim.c").write_text(SENDFILE_SHIM)
    shim = tmp_path / "shim.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", shim, tmp_path / "shim.c"], check=True)
    s = server("probe:app", env=environment(LD_PRELOAD=str(shim), ASAN_OPTIONS="verify_asan_link_order=0"))
    (s.dir / "big.bin").write_bytes(BIG)
    with s.connect() as c:
        assert sha(c.get(f"/file?length={len(BIG)}").body) == sha(BIG)
        assert c.get("/file?offset=100&length=1000").body == BIG[100:1100]


def test_file_of_the_kernel_is_sent_though_its_size_is_0(site):
    assert b"MemTotal" in site.get("/file_of_kernel").body


def test_file_is_closed_after_it_was_sent(site):
    assert site.get("/file_closing").body == b"abc"
    closed = site.dir / "closed.txt"
    wait_until(lambda: closed.exists() and "file_closing" in closed.read_text(), "the file was closed")


# Before the answer.


def test_early_hints(site):
    with site.connect() as c:
        c.send(encode("GET", "/early_hints?wait=hinted"))
        first, second = c.head(), c.head()
        (site.dir / "hinted").touch()
        reply = c.reply()
    (site.dir / "hinted").unlink()
    assert (first.status, first.reason) == (second.status, second.reason) == (103, "Early Hints")
    assert first.headers == [("Link", "</a.css>; rel=preload; as=style"), ("X-More", "1")]
    assert second.headers == [("Link", "</b.css>; rel=preload; as=style")]
    assert (reply.status, reply.interim, reply.body) == (200, [], b"done")


def test_http_1_0_gets_no_early_hints(site):
    reply = site.request("GET", "/early_hints", version="HTTP/1.0")
    assert (reply.status, reply.interim, reply.body) == (200, [], b"done")


# Lengths that are not true.


def test_body_longer_than_declared_is_cut(site):
    with site.connect() as c:
        assert c.get("/declared?length=5&body=Hello,%20World!", "Connection: close").body == b"Hello"
        assert c.closed()


@ours
def test_connection_lives_on_after_a_cut(site):
    with site.connect() as c:
        assert c.get("/declared?length=5&body=Hello,%20World!").body == b"Hello"
        assert c.get("/").body == HELLO


def test_body_shorter_than_declared_breaks_the_connection(site):
    with site.connect() as c, pytest.raises((Broken, ConnectionResetError)):
        c.get("/declared_in_pieces?length=50")
    assert site.get("/").body == HELLO


@ours
def test_what_is_put_right_is_reported_once(server):
    s = server("probe:app")
    for i in range(3):
        assert s.get(f"/declared?length=5&body=Hello,%20World!&n={i}").body == b"Hello"
        assert s.get(f"/status_with_body?line=204%20No%20Content&n={i}").status == 204
        assert s.get(f"/status_with_body?line=304%20Not%20Modified&n={i}").status == 304
        assert s.request("HEAD", f"/?n={i}").status == 200
    s.wait_log("GET /declared?length=5&body=Hello,%20World!&n=0 is 8 bytes longer than its Content-Length")
    s.wait_log("GET /status_with_body?line=204%20No%20Content&n=0 has status 204, with which no body goes")
    assert s.log().count("[WARNING]") == 2, s.log()


@ours  # gunicorn sends what there is
def test_short_body_that_is_given_at_once_is_an_error(site):
    with site.connect() as c:
        reply = c.get("/declared?length=50&body=Hello")
        assert (reply.status, reply["Connection"]) == (500, "close")
        assert "Hello" not in reply.text
        assert c.closed()


# Errors of the application.


def test_error_page_is_complete(site):
    with site.connect() as c:
        reply = c.get("/fails", "Connection: close")
        assert (reply.status, reply.reason) == (500, "Internal Server Error")
        assert reply["Content-Type"].startswith("text/html")
        assert "Internal Server Error" in reply.text
        assert "RuntimeError" not in reply.text
        assert c.closed()


@pytest.mark.parametrize(
    "page",
    [
        "fails",
        "fails_after_start",
        "twice_without",
        "returns?what=none",
        "returns?what=number",
        pytest.param("never_starts", marks=ours),
        pytest.param("returns?what=str", marks=ours),
        pytest.param("returns?what=list_of_str", marks=ours),
        pytest.param("returns?what=list_of_int", marks=ours),
    ],
)
def test_fault_before_the_head_is_sent_is_a_500(site, page):
    worker = site.get("/pid").text
    with site.connect() as c:
        reply = c.get(f"/{page}")
    assert reply.status == 500
    assert b"no client may see this" not in reply.body
    assert site.get("/pid").text == worker, "the worker lives"
    assert "Traceback" in site.log()


@pytest.mark.parametrize("page", ["fails_late", "fails_late_with_length"])
def test_fault_after_the_head_breaks_the_connection(site, page):
    worker = site.get("/pid").text
    with site.connect() as c, pytest.raises((Broken, ConnectionResetError)):
        c.get(f"/{page}")
    assert site.get("/pid").text == worker


@ours
def test_fault_hurts_neither_what_was_sent_nor_answers_before_it(site):
    with site.connect() as c:
        c.send(encode("GET", "/large?size=3000000") + encode("GET", "/fails_late") + 5000 * encode("GET", "/never"))
        time.sleep(0.2)  # all of it waits for us
        assert len(c.reply().body) == 3000000
        assert c.head().status == 200
        assert c.chunk()
        with pytest.raises(Broken):
            c.chunk()


@ours
def test_fault_after_the_head_is_seen_in_http_1_0_too(server):
    """Where the end of the connection is the end of the answer, only a reset says that something is missing. (Over TLS
    it is that no close_notify comes.)"""
    s = server("probe:app")
    s.tracebacks_expected = True
    with s.connect() as c, pytest.raises(ConnectionResetError):
        c.request("GET", "/fails_late", version="HTTP/1.0")


def test_traceback_names_the_request(site):
    site.get("/fails?named")
    site.wait_log("Error handling request GET /fails?named\nTraceback (most recent call last):\n")
    site.wait_log("RuntimeError: fails as asked")


def test_fault_in_close_comes_too_late_to_hurt(site):
    assert site.get("/fails_in_close").body == b"complete"
    site.wait_log("close fails as asked")
    assert site.get("/").body == HELLO


def test_application_that_exits_gets_a_500_and_the_worker_lives(site):
    worker = site.get("/pid").text
    assert site.get("/exits").status == 500
    assert site.get("/pid").text == worker
