"""Request bodies: lengths and chunks, large and small, Expect, and clients that leave halfway."""

import contextlib
import hashlib
import json
import os
from pathlib import Path
from urllib.parse import quote

import pytest

from harness import environment, ours, wait_until
from wire import encode

BIG = os.urandom(1 << 20) * 5


def pieces(data, size):
    return [data[i : i + size] for i in range(0, len(data), size)]


@pytest.mark.parametrize(
    "body",
    [b"", b"x", b"\r\n\r\n", bytes(range(256)) * 300, [], [b"x"], [b"one", b"two", b"\r\n0\r\n\r\n"], [b"a"] * 2000],
    ids=["empty", "byte", "line breaks", "75 KiB", "no chunk", "chunk", "chunks", "2000 chunks"],
)
def test_body_is_echoed(site, body):
    whole = body if isinstance(body, bytes) else b"".join(body)
    assert site.request("POST", "/echo", body=body).body == whole


@pytest.mark.parametrize(
    "body", [BIG, pieces(BIG, 100_000), pieces(BIG, 1000)], ids=["length", "chunks", "tiny chunks"]
)
def test_large_body_arrives_whole(site, body):
    reply = site.request("POST", "/digest", body=body)
    assert reply.text == f"{len(BIG)} {hashlib.sha256(BIG).hexdigest()}"


def test_large_body_is_echoed(site):
    assert hashlib.sha256(site.request("POST", "/echo", body=BIG).body).digest() == hashlib.sha256(BIG).digest()


def test_trailers_and_extensions_of_chunks_are_dropped(site):
    body = b'3;ext=1\r\nabc\r\n003;a="b"\r\ndef\r\n0\r\nX-Trailer: 1\r\nX-Other: 2\r\n\r\n'
    raw = site.send_raw(encode("POST", "/echo", ["Connection: close", "Transfer-Encoding: chunked"]) + body)
    assert raw.endswith(b"\r\n\r\nabcdef")


@ours
def test_unread_body_does_not_hurt_the_next_request(site):
    with site.connect() as c:
        for body in (b"x" * 300_000, [b"y" * 1000] * 300):
            assert c.request("POST", "/hello", body=body).body == b"Hello, World!"
        assert c.request("POST", "/echo", body=b"mine").body == b"mine"


@ours  # gunicorn tells no length
@pytest.mark.parametrize("body", [[], [b"abc"], [b"ab", b"c" * 300_000]], ids=["empty", "small", "large"])
def test_chunked_body_has_its_length_told(site, body):
    """Frameworks read as much as CONTENT_LENGTH says, and nothing without it."""
    got = json.loads(site.request("POST", "/environ", body=body).text)
    assert got["CONTENT_LENGTH"] == ["str", str(sum(map(len, body)))]
    assert got["wsgi.input_terminated"] == ["bool", True]


LINES = b"one\ntwo\n\nlast"

READING = {
    "read": [LINES, b"", b""],
    "read_none": [LINES],
    "read_some": [b"one", b"", b"\ntwo", b"\n\nlast", b""],
    "readline": [b"one\n", b"tw", b"o\n", b"\n"],
    "readline_end": [b"one\n", b"two\n", b"\n", b"last", b"", b""],
    "readlines": [b"one\n", b"two\n", b"\n", b"last"],
    "iterate": [b"one\n", b"two\n", b"\n", b"last"],
    "mixed": [b"one\n", b"tw", b"o\n", b"\nlast"],
}


@pytest.mark.parametrize("body", [LINES, pieces(LINES, 2)], ids=["length", "chunks"])
@pytest.mark.parametrize("how", READING)
def test_input_is_read_by(site, how, body):
    assert site.request("POST", f"/reading?how={how}", body=body).text == repr(READING[how])


def test_readlines_with_a_hint_loses_nothing(site):
    lines = eval(site.request("POST", "/reading?how=readlines_hint", body=LINES).text)
    assert [line for line in lines if line != b"|"] == READING["readlines"]


def test_input_without_a_body_is_empty(site):
    assert site.get("/reading?how=read").text == repr([b"", b"", b""])


# Expect.


def test_continue_comes_before_the_body(site):
    with site.connect() as c:
        c.send(encode("POST", "/echo", ["Expect: 100-continue", "Content-Length: 4", "Connection: close"]))
        assert c.head().status == 100
        c.send(b"body")
        reply = c.reply()
        assert (reply.status, reply.body) == (200, b"body")


@ours
def test_body_that_is_there_already_needs_no_continue(site):
    # RFC 9110 10.1.1: the interim answer may be left out once some of the body has come.
    with site.connect() as c:
        reply = c.request("POST", "/echo", ["Expect: 100-continue"], body=b"body")
        assert (reply.status, reply.body) == (200, b"body")
        assert c.request("POST", "/echo", body=b"next").body == b"next"


def test_expect_is_ignored_on_http_1_0(site):
    # RFC 9110 10.1.1.
    with site.connect() as c:
        reply = c.request("POST", "/echo", ["Expect: 100-continue"], body=b"body", version="HTTP/1.0")
        assert (reply.interim, reply.body) == ([], b"body")


@pytest.fixture(scope="module")
def limited(module_server):
    return module_server("probe:app", "--limit-request-body", "1000")


@ours
def test_too_large_body_is_refused_before_it_is_sent(limited):
    with limited.connect() as c:
        c.send(encode("POST", "/echo", ["Expect: 100-continue", "Content-Length: 1001"]))
        reply = c.reply()
        assert (reply.status, reply.interim, reply["Connection"]) == (413, [], "close")
        assert c.closed()


@ours
@pytest.mark.parametrize("body", [b"x" * 1001, [b"x" * 500] * 3], ids=["length", "chunks"])
def test_too_large_body_is_refused(limited, body):
    before = len(limited.calls())
    assert limited.request("POST", "/echo", body=body).status == 413
    assert limited.request("POST", "/echo", body=b"x" * 1000).body == b"x" * 1000
    assert len(limited.calls()) == before + 1


# Clients that leave.


@pytest.mark.parametrize(
    "start", [encode("POST", "/left", ["Content-Length: 1000"]) + b"x" * 10,
              encode("POST", "/left", ["Transfer-Encoding: chunked"]) + b"a\r\n" + b"x" * 10],
    ids=["length", "chunks"],
)  # fmt: skip
@ours
def test_client_that_leaves_in_its_body_reaches_no_application(site, start):
    with site.connect() as c:
        c.send(start)
    for _ in range(3):
        assert site.request("POST", "/echo", body=b"still well").body == b"still well"
    assert not any("/left" in call for call in site.calls())


@ours
def test_bodies_sent_slowly_by_many_block_nobody(site):
    slow = [site.connect() for _ in range(8)]
    for c in slow:
        c.send(encode("POST", "/echo", ["Content-Length: 4"]) + b"ab")
    assert site.get(f"/hello?{quote('x y')}").status == 200
    for c in slow:
        c.send(b"cd")
    assert [c.reply().body for c in slow] == [b"abcd"] * 8
    for c in slow:
        c.close()


@pytest.fixture
def spilling(server, tmp_path):
    """A server with tmp_upload_dir, its one worker, and that folder."""
    spill = tmp_path / "spill"
    spill.mkdir()
    (tmp_path / "upload.conf.py").write_text(f"tmp_upload_dir = {str(spill)!r}\n")
    s = server("probe:app", "-c", tmp_path / "upload.conf.py")
    (worker,) = s.ready_workers(1)
    return s, worker, spill


@ours
def test_large_body_waits_in_the_folder_of_the_setting_and_has_no_name(spilling):
    s, worker, spill = spilling

    def open_there():
        found = []
        for fd in Path(f"/proc/{worker}/fd").iterdir():
            with contextlib.suppress(OSError):
                found += [t] if (t := os.readlink(fd)).startswith(str(spill)) else []
        return found

    with s.connect() as c:
        c.send(encode("POST", "/digest", [f"Content-Length: {len(BIG)}"]) + BIG[:1_000_000])
        wait_until(open_there, "the body is in a file")
        assert all(f.endswith(" (deleted)") for f in open_there())
        assert list(spill.iterdir()) == []
        c.send(BIG[1_000_000:])
        assert c.reply().text == f"{len(BIG)} {hashlib.sha256(BIG).hexdigest()}"
    wait_until(lambda: not open_there(), "the file is gone")


@ours
def test_folder_that_is_gone_fails_the_request_alone_and_the_log_says_why(spilling):
    s, _, spill = spilling
    spill.rmdir()
    with s.connect() as c:
        c.send(encode("POST", "/echo", body=BIG[:1_000_000]))  # no more than is thrown away behind a refusal
        reply = c.reply()
        assert (reply.status, reply["Connection"]) == (500, "close")
    s.wait_log("Cannot keep the body of POST /echo: No such file or directory; see the setting tmp_upload_dir")
    s.wait_log("[ERROR] Cannot take a request from ip=127.0.0.1: The server cannot store the request")
    assert "Invalid request" not in s.log()
    assert s.request("POST", "/echo", body=b"small").body == b"small"
    assert len(s.calls()) == 1


@ours
def test_application_that_changes_tmpdir_does_not_move_bodies(server, folder):
    (folder / "moves.py").write_text(
        "import os\nfrom probe import app as probe\n"
        "def app(environ, start_response):\n"
        "    os.environ['TMPDIR'] = '/nonexistent'\n"
        "    return probe(environ, start_response)\n"
    )
    s = server("moves:app", folder=folder)
    for _ in range(2):
        assert s.request("POST", "/digest", body=BIG).status == 200


def test_spilled_bodies_leave_no_file_behind(server, tmp_path):
    spill = tmp_path / "spill"
    spill.mkdir()
    s = server("probe:app", env=environment(TMPDIR=str(spill)))
    assert s.request("POST", "/digest", body=BIG).status == 200
    wait_until(lambda: not list(spill.iterdir()), "no file is left")
