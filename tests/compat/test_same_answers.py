"""Requests that the server answers itself: the same statuses."""

import re

import pytest

from sides import must_be_documented, same

LONG = b"a" * 9000

SAME = {
    "no request line": (b"FOO\r\n\r\n", 400),
    "small method": (b"get / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "bad header name": (b"GET / HTTP/1.1\r\nHost: x\r\nB@d: 1\r\n\r\n", 400),
    "folded header": (b"GET / HTTP/1.1\r\nHost: x\r\nA: 1\r\n 2\r\n\r\n", 400),
    "space before the colon": (b"GET / HTTP/1.1\r\nHost: x\r\nA : 1\r\n\r\n", 400),
    "no colon": (b"GET / HTTP/1.1\r\nHost: x\r\nA\r\n\r\n", 400),
    "long request line": (b"GET /%s HTTP/1.1\r\nHost: x\r\n\r\n" % LONG, 414),
    "long header": (b"GET / HTTP/1.1\r\nHost: x\r\nA: %s\r\n\r\n" % LONG, 431),
    "many headers": (b"GET / HTTP/1.1\r\nHost: x\r\n%s\r\n" % (b"A: 1\r\n" * 101), 431),
    "both lengths": (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "two lengths": (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
    "length is no number": (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
    "unknown transfer coding": (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: odd, chunked\r\n\r\n0\r\n\r\n", 501),
    "unknown expectation": (b"GET / HTTP/1.1\r\nHost: x\r\nExpect: foo\r\n\r\n", 417),
    "application raises": (b"GET /fails HTTP/1.1\r\nHost: x\r\n\r\n", 500),
    "plain request": (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 200),
    "HTTP/1.0": (b"GET / HTTP/1.0\r\n\r\n", 200),
}

HOST = "a malformed Host, such as evil host, a@b, \u00e9.org or a port above 65535"
FRAGMENT = "a request target with a #fragment"

# The name of the difference, gunicorn's status, ours.
OTHERWISE = {
    "unknown version": (b"GET / HTTP/9.9\r\nHost: x\r\n\r\n", "an unknown version of HTTP", 400, 505),
    "no host": (b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n", "HTTP/1.1 without Host", 200, 400),
    "host with a blank": (b"GET / HTTP/1.1\r\nHost: evil host\r\nConnection: close\r\n\r\n", HOST, 200, 400),
    "host with a user": (b"GET / HTTP/1.1\r\nHost: a@b\r\nConnection: close\r\n\r\n", HOST, 200, 400),
    "host in UTF-8": ("GET / HTTP/1.1\r\nHost: \u00e9.org\r\nConnection: close\r\n\r\n".encode(), HOST, 200, 400),
    "host with a large port": (b"GET / HTTP/1.1\r\nHost: a:65536\r\nConnection: close\r\n\r\n", HOST, 200, 400),
    "fragment": (b"GET /#a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", FRAGMENT, 200, 400),
    "unknown method": (b"ODD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "an unknown method", 200, 501),
}


@pytest.fixture(scope="module")
def answers(gunicorn, module_server, tmp_path_factory):
    """answers(bytes): Both of (status, reason, content type)."""
    from harness import BINARY, environment

    servers = []
    for exe in (gunicorn, BINARY):
        folder = tmp_path_factory.mktemp("server")
        env = environment(HOME=str(folder))
        servers.append(module_server("probe:app", exe=exe, env=env))
        servers[-1].tracebacks_expected = True

    def answer(server, data):
        head = server.send_raw(data).split(b"\r\n\r\n")[0].decode("latin-1")
        status, reason = re.match(r"HTTP/1\.[01] (\d+) ([^\r]*)", head).groups()
        kind = re.search(r"(?im)^content-type: ([^;\r]+)", head)
        return int(status), reason, kind and kind[1]

    return lambda data: [answer(s, data) for s in servers]


@pytest.mark.parametrize("case", SAME)
def test_same(answers, case):
    data, status = SAME[case]
    theirs, ours = answers(data)
    assert (theirs[0], ours[0]) == (status, status), (theirs, ours)
    assert theirs[2] == ours[2]


@pytest.mark.parametrize("case", OTHERWISE)
def test_otherwise_on_purpose(answers, case):
    data, name, *statuses = OTHERWISE[case]
    assert [status for status, _, _ in answers(data)] == statuses
    must_be_documented([name])


PADDED = """
def app(environ, start_response):
    fields = [("Content-Type", " text/plain\\t"), ("Content-Length", " 2 "), ("X-Pad", "\\t a  b "), ("X-Blank", "  ")]
    start_response("200 OK", fields)
    return [b"ok"]
"""


def test_blanks_around_values_are_not_sent(both):
    def scenario(side):
        (side.folder / "padded.py").write_text(PADDED)
        reply = side.server("padded:app").get("/")
        lines = reply.head.decode("latin-1").split("\r\n")
        return {"fields": sorted(line for line in lines if line.startswith(("Content-", "X-"))), "body": reply.body}

    same(both(scenario))
