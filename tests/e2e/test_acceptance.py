"""Requests that are taken, however unusual: what the application sees of them, in one piece, byte by byte, and cut at
random; and what follows them on the connection is read right."""

import json
import socket

import pytest

from harness import ours
from test_refusals import pieces
from wire import encode

HOST = "Host: localhost\r\n"
CHUNKED = f"POST /a HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n"

# name: what is sent, and method, target and body as the application sees them
TABLE = {
    "plain": (f"GET /a?b=c HTTP/1.1\r\n{HOST}\r\n", "GET", "/a?b=c", ""),
    "empty lines before it": (f"\r\n\r\nGET /a HTTP/1.1\r\n{HOST}\r\n", "GET", "/a", ""),
    "names in any case": (f"POST /a HTTP/1.1\r\nhOsT: x\r\ncOnTeNt-LeNgTh: 3\r\n\r\nabc", "POST", "/a", "abc"),
    "no white space": ("POST /a HTTP/1.1\r\nHost:x\r\nContent-Length:3\r\n\r\nabc", "POST", "/a", "abc"),
    "white space around values": (
        "POST /a HTTP/1.1\r\nHost: \t x \t\r\nContent-Length:\t3 \r\n\r\nabc", "POST", "/a", "abc"
    ),
    "an empty value": (f"GET /a HTTP/1.1\r\n{HOST}X-Empty:\r\nX-Blank: \t \r\n\r\n", "GET", "/a", ""),
    "a value in latin-1": (f"GET /a HTTP/1.1\r\n{HOST}X-A: caf\xe9\r\n\r\n", "GET", "/a", ""),
    "a name of signs": (f"GET /a HTTP/1.1\r\n{HOST}!#$%&'*+-.^`|~0: 1\r\n\r\n", "GET", "/a", ""),
    "an absolute target": ("GET http://b.test:81/a?c HTTP/1.1\r\nHost: b.test:81\r\n\r\n", "GET", "http://b.test:81/a?c", ""),
    "an absolute target without a path": (f"GET http://b.test HTTP/1.1\r\n{HOST}\r\n", "GET", "http://b.test", ""),
    "an asterisk": (f"OPTIONS * HTTP/1.1\r\n{HOST}\r\n", "OPTIONS", "*", ""),
    "an encoded NUL": (f"GET /a%00b HTTP/1.1\r\n{HOST}\r\n", "GET", "/a%00b", ""),
    "two slashes": (f"GET //other.test/a HTTP/1.1\r\n{HOST}\r\n", "GET", "//other.test/a", ""),
    "an IPv6 host": ("GET /a HTTP/1.1\r\nHost: [2001:db8::1]:8000\r\n\r\n", "GET", "/a", ""),
    "an empty host": ("GET /a HTTP/1.1\r\nHost:\r\n\r\n", "GET", "/a", ""),
    "a body of a GET": (f"GET /a HTTP/1.1\r\n{HOST}Content-Length: 3\r\n\r\nabc", "GET", "/a", "abc"),
    "a body like a request": (f"POST /a HTTP/1.1\r\n{HOST}Content-Length: 18\r\n\r\nGET / HTTP/1.1\r\n\r\n", "POST", "/a", "GET / HTTP/1.1\r\n\r\n"),
    "length 0": (f"POST /a HTTP/1.1\r\n{HOST}Content-Length: 0\r\n\r\n", "POST", "/a", ""),
    "a length with zeros": (f"POST /a HTTP/1.1\r\n{HOST}Content-Length: 0003\r\n\r\nabc", "POST", "/a", "abc"),
    "chunks": (CHUNKED + "3\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n", "POST", "/a", "abc0123456789abcdef"),
    "no chunk": (CHUNKED + "0\r\n\r\n", "POST", "/a", ""),
    "sizes with zeros and capitals": (CHUNKED + "000A\r\n0123456789\r\n000\r\n\r\n", "POST", "/a", "0123456789"),
    "line breaks in a chunk": (CHUNKED + "7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n", "POST", "/a", "\r\n0\r\n\r\n"),
    "extensions of chunks": (CHUNKED + '3;a;b=c;d="e f"\r\nabc\r\n0;last\r\n\r\n', "POST", "/a", "abc"),
    "trailers": (CHUNKED + "3\r\nabc\r\n0\r\nX-Sum: 1\r\nX-Other:\r\n\r\n", "POST", "/a", "abc"),
    "chunked in capitals behind a tab": (
        f"POST /a HTTP/1.1\r\n{HOST}TRANSFER-ENCODING:\tCHUNKED\r\n\r\n3\r\nabc\r\n0\r\n\r\n", "POST", "/a", "abc"
    ),
    "names with underscores frame nothing": (
        f"POST /a HTTP/1.1\r\n{HOST}Transfer_Encoding: chunked\r\nContent_Length: 9\r\nContent-Length: 3\r\n\r\nabc",
        "POST", "/a", "abc",
    ),
    "a wish for HTTP/2": (
        f"GET /a HTTP/1.1\r\n{HOST}Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n\r\n",
        "GET", "/a", "",
    ),
    "a wish for another protocol, and a body": (
        f"POST /a HTTP/1.1\r\n{HOST}Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 3\r\n\r\nabc",
        "POST", "/a", "abc",
    ),
    "a wish for another protocol, and chunks": (
        f"POST /a HTTP/1.1\r\n{HOST}Connection: upgrade\r\nUpgrade: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        "POST", "/a", "abc",
    ),
    "HTTP/1.0 that stays": ("GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "GET", "/a", ""),
    "an expectation and its body at once": (
        f"POST /a HTTP/1.1\r\n{HOST}Expect: 100-Continue\r\nContent-Length: 3\r\n\r\nabc", "POST", "/a", "abc"
    ),
}  # fmt: skip
NEXT = ("PUT", "/next", b"more")


@pytest.fixture(scope="module", params=["plain", "tls"])
def mirror(request, module_server, certificate):
    return module_server("mirror:app", tls=certificate if request.param == "tls" else None)


@ours
@pytest.mark.parametrize("cut", ["whole", "bytes", "random"])
@pytest.mark.parametrize("name", TABLE)
def test_is_taken(mirror, name, cut):
    request_text, method, target, body = TABLE[name]
    with mirror.connect() as c:
        for piece in pieces(request_text.encode("latin-1") + encode(NEXT[0], NEXT[1], body=NEXT[2]), cut):
            c.send(piece)
        replies = [c.reply(), c.reply()]
    assert [r.status for r in replies] == [200, 200]
    assert json.loads(replies[0].text) == [method, target, body.encode().hex()]
    assert json.loads(replies[1].text) == [NEXT[0], NEXT[1], NEXT[2].hex()]
    assert all(r["Upgrade"] is None for r in replies)


# Clients that have said all they will say.


@ours
@pytest.mark.parametrize("count", [1, 3, 50])
def test_half_closed_client_gets_all_its_answers(mirror, count):
    if mirror.tls:
        pytest.skip("the client's library cannot read behind its own close_notify")
    with mirror.connect() as c:
        c.send(b"".join(encode("POST", f"/{i}", body=b"x" * i) for i in range(count)))
        c.sock.shutdown(socket.SHUT_WR)
        assert [json.loads(c.reply().text)[1] for _ in range(count)] == [f"/{i}" for i in range(count)]
        assert c.closed()


@ours
def test_half_closed_client_gets_a_long_answer(server):
    s = server("probe:app")
    with s.connect(rcvbuf=1 << 15) as c:
        c.send(encode("GET", "/large?size=5000000&length=1"))
        c.sock.shutdown(socket.SHUT_WR)
        assert len(c.reply().body) == 5000000


@ours
def test_client_that_closes_in_the_middle_of_its_head_is_not_answered(mirror):
    with mirror.connect() as c:
        c.send(b"GET / HTTP/1.1\r\nHost: x\r\n")
        if mirror.tls:
            c.sock.unwrap()
            return
        c.sock.shutdown(socket.SHUT_WR)
        assert c.closed()
