"""Flask, for each Python that the machine has."""

import hashlib
import json
import os

import pytest

from visitor import Visitor
from wire import chunked


@pytest.fixture(scope="module")
def flask(module_server, served):
    s = module_server("flask_site:app", "-w", "2", **served.options)
    s.tracebacks_expected = True  # one page fails as asked
    return s


@pytest.fixture
def visitor(flask):
    return Visitor(flask)


def test_pages_with_parameters(flask, visitor):
    assert visitor.open("/").data == b"Hello, World!"
    answer = visitor.open("/user/Zo%C3%AB%20K?q=a%26b").data.decode()
    assert answer == f"user Zoë K, a&b, http://localhost:{flask.port}/user/Zo%C3%AB%20K"


def test_form(visitor):
    assert visitor.submit("/form", {"name": "Zoë & co", "tag": ["a", "b"]}).data.decode() == "Zoë & co ['a', 'b']"


def test_upload(visitor):
    data = os.urandom(3_000_000)
    got = json.loads(visitor.upload("/upload", {"note": "hi"}, "file", "photo.jpg", data).data)
    assert got == {"name": "photo.jpg", "size": len(data), "sha": hashlib.sha256(data).hexdigest(), "note": "hi"}


def test_json(visitor):
    got = json.loads(visitor.open("/json", b'{"a": [1, null]}', Content_Type="application/json").data)
    assert got == {"got": {"a": [1, None]}, "type": "application/json"}


def test_chunked_body(flask):
    with flask.connect() as c:
        assert c.request("POST", "/raw", body=[b"one ", b"two"]).body == b"one two"
        headers = ["Content-Type: application/json", "Transfer-Encoding: chunked", "Connection: close"]
        head = "\r\n".join(["POST /json HTTP/1.1", "Host: localhost", *headers]).encode() + b"\r\n\r\n"
    assert b'"got":{"a":1}' in flask.send_raw(head + b"".join(chunked([b'{"a"', b":1}"])))


def test_streaming(visitor):
    lines = visitor.open("/stream").data.decode().splitlines()
    assert len(lines) == 1000 and lines[999] == "row 999 of /stream"


def test_session_and_redirect(visitor):
    assert [visitor.open("/visits").data for _ in range(3)] == [b"1", b"2", b"3"]
    after = visitor.open("/old")
    assert (after.data, after.url.endswith("/visits")) == (b"4", True)


def test_files_and_conditional_requests(visitor):
    assert visitor.open("/file").data == b"x" * 100_000
    part = visitor.open("/file", Range="bytes=10-19")
    assert (part.status, part.data, part.headers["Content-Range"]) == (206, b"x" * 10, "bytes 10-19/100000")
    assert b"A Flask application" in (own := visitor.open("/own-file")).data
    again = visitor.open("/own-file", If_None_Match=own.headers["ETag"])
    assert (again.status, again.data) == (304, b"")


@pytest.mark.parametrize("path, status", [("/nowhere", 404), ("/gone", 410), ("/fails", 500), ("/form", 405)])
def test_errors(visitor, path, status):
    assert visitor.open(path).status == status
