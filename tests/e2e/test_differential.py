"""The same bytes through cwsgi and through h11, another strict parser. cwsgi may refuse more, for reasons that are listed
here; it may never accept what h11 refuses (but for empty lines before a request), and what both accept they must
read in the same way."""

import json
import random
import re
import socket

import h11
import pytest

from harness import ours

# What cwsgi refuses although h11 does not: its own words, and why.
STRICTER = {
    "A line ends in LF without CR": "RFC 9112 2.2 lets a recipient accept it, and smugglers live on that",
    "A header line is folded": "RFC 9112 5.2: a server may refuse; h11 unfolds",
    "A control character in the request head": "RFC 9110 5.5: invalid in values; h11 lets some through",
    "Invalid Content-Length": "h11 takes a repeated or listed one when all values are equal",
    "Invalid request method": "methods are case-sensitive, and none that is registered has lower-case letters",
    "Unknown request method": "llhttp knows the registered methods only",
    "Malformed Host": "h11 does not look into it",
    "Unknown expectation": "RFC 9110 10.1.1: 417",
    "The request target is neither a path nor an absolute URL": "RFC 9112 3.2; h11 takes any text",
    "The request target has a fragment": "RFC 9112 3.2 has none",
    "The host in the request target is malformed": "h11 does not look into targets",
    "Invalid character in the request target": "RFC 3986; h11 takes more",
    "Invalid HTTP version": "h11 takes any HTTP/1.x",
    "Only HTTP/1.0 and HTTP/1.1 are spoken here": "h11 takes any version",
    "Malformed chunk in the request body": "RFC 9112 7.1; h11 overlooks white space and what stands in extensions",
    "A trailer field that may stand in the head only": "RFC 9110 6.5.1; h11 hands them to the application",
}

HOST = "Host: localhost\r\n"
BASES = [
    f"GET / HTTP/1.1\r\n{HOST}\r\n",
    f"GET /a/b?c=d&e=%20f HTTP/1.1\r\n{HOST}Accept: */*\r\nX-Empty:\r\nX-Spaces:  a b  \r\n\r\n",
    "GET / HTTP/1.0\r\n\r\n",
    f"OPTIONS * HTTP/1.1\r\n{HOST}\r\n",
    f"GET http://example.test:80/x HTTP/1.1\r\n{HOST}\r\n",
    f"POST / HTTP/1.1\r\n{HOST}Content-Length: 5\r\nContent-Type: text/plain\r\n\r\nhello",
    f"POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;a=b\r\n world\r\n0\r\n\r\n",
    f"PUT /t HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n",
    f"DELETE /x HTTP/1.1\r\n{HOST}Connection: close\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx",
]
PIECES = [
    *["\r", "\n", "\r\n", " ", "\t", ":", ";", ",", "\0", "\x01", "\x7f", "\x80", "\xff", "#", "?", "%", "/", "*", "@"],
    *["Content-Length: 5\r\n", "Content-Length: 6\r\n", "Transfer-Encoding: chunked\r\n", "Transfer-Encoding: gzip\r\n"],
    *["Host: other\r\n", "X: y\r\n z\r\n", "\r\n\r\n", "0\r\n\r\n", "0", "1", "f", "-", "+", "0x", "HTTP/1.1", "HTTP/1.2"],
]
MUTANTS = 8000


def mutant(rng):
    text = rng.choice(BASES)
    for _ in range(rng.randint(0, 3)):
        at = rng.randint(0, len(text))
        cut = at + rng.choice([0, 0, 1, 1, 2, 5])
        text = text[:at] + rng.choice([*PIECES, "", text[at : at + 8]]) + text[cut:]
    return text.encode("latin-1")


def as_h11(data):
    """(method, target, body) of the first request, or None. Empty lines before it are taken away: RFC 9112 2.2 asks a
    server to overlook them, and h11 does not."""
    data = re.sub(rb"\A(\r\n){1,4}(?!\r)", b"", data)
    connection = h11.Connection(h11.SERVER)
    request, body = None, b""
    try:
        connection.receive_data(data)
        connection.receive_data(b"")
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                return request.method.decode("latin-1"), request.target.decode("latin-1"), body
            else:
                return None
    except h11.RemoteProtocolError:
        return None


def as_cwsgi(server, data):
    """The same, and the reason why it was refused ("": without a word)."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as s:
        s.sendall(data)
        s.shutdown(socket.SHUT_WR)
        raw = b""
        while piece := s.recv(65536):
            raw += piece
    raw = raw.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
    if not re.match(rb"HTTP/1\.[01] 200 ", raw):
        reason = re.search(rb"<p>(.*?)</p>", raw)
        return None, reason[1].decode() if reason else ""
    answer = raw.split(b"\r\n\r\n", 1)[1]
    length = re.search(rb"Content-Length: (\d+)", raw)
    method, target, body = json.loads(answer[: int(length[1])]) if length and answer else (None, None, "")
    return (method, target, bytes.fromhex(body)), None


@pytest.fixture(scope="module")
def mirror(module_server):
    return module_server("mirror:app")


@ours
@pytest.mark.parametrize("seed", range(4))
def test_reads_as_h11_does_or_refuses_for_a_known_reason(mirror, seed):
    rng = random.Random(seed)
    refused, wrong = {}, []
    for _ in range(MUTANTS // 4):
        data = mutant(rng)
        theirs, (mine, reason) = as_h11(data), as_cwsgi(mirror, data)
        if mine is None and theirs is not None:
            refused.setdefault(reason, data)
        elif mine is not None and mine != theirs:
            wrong.append((data, mine, theirs))
    assert not wrong, wrong[:5]
    unknown = {reason: data for reason, data in refused.items() if reason not in STRICTER}
    assert not unknown
