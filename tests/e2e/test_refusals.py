"""Requests that are refused: a clean 4xx, an end of the connection, a line in the access log, and the application is
never called, neither for them nor for what follows. Each in one piece, byte by byte, and cut at random."""

import random
import re
import socket
import zlib

import pytest

from harness import IS_GUNICORN, ours, wait_until

HOST = "Host: localhost\r\n"


def with_head(lines, body=""):
    return f"POST /refused HTTP/1.1\r\n{HOST}{lines}\r\n{body}"


def ours_(name, status, request):
    return pytest.param(status, request, id=name, marks=ours)


def row(name, status, request):
    return pytest.param(status, request, id=name)


LENGTH = "Content-Length: 3\r\n"
CHUNKED = "Transfer-Encoding: chunked\r\n"

TABLE = [
    row("one word", 400, "FOO\r\n\r\n"),
    row("two words", 400, f"GET /refused\r\n{HOST}\r\n"),
    row("four words", 400, f"GET /refused HTTP/1.1 x\r\n{HOST}\r\n"),
    row("version 9.9", (400, 505), f"GET /refused HTTP/9.9\r\n{HOST}\r\n"),
    ours_("version 2.0", (400, 505), f"GET /refused HTTP/2.0\r\n{HOST}\r\n"),
    ours_("version 0.9", (400, 505), f"GET /refused HTTP/0.9\r\n{HOST}\r\n"),
    ours_("no version, as in HTTP/0.9", 400, "GET /refused\r\n\r\n"),
    row("version in lower case", 400, f"GET /refused http/1.1\r\n{HOST}\r\n"),
    row("version without a point", 400, f"GET /refused HTTP/11\r\n{HOST}\r\n"),
    row("method in lower case", 400, f"get /refused HTTP/1.1\r\n{HOST}\r\n"),
    row("space before the method", 400, f" GET /refused HTTP/1.1\r\n{HOST}\r\n"),
    ours_("two spaces in the request line", 400, f"GET  /refused HTTP/1.1\r\n{HOST}\r\n"),
    ours_("tab in the request line", 400, f"GET\t/refused HTTP/1.1\r\n{HOST}\r\n"),
    ours_("space behind the version", 400, f"GET /refused HTTP/1.1 \r\n{HOST}\r\n"),
    row("method with a colon", 400, f"G:T /refused HTTP/1.1\r\n{HOST}\r\n"),
    ours_("target without a slash", 400, f"GET refused HTTP/1.1\r\n{HOST}\r\n"),
    ours_("target with a control character", 400, f"GET /refu\x01sed HTTP/1.1\r\n{HOST}\r\n"),
    ours_("target with a NUL", 400, f"GET /refu\0sed HTTP/1.1\r\n{HOST}\r\n"),
    ours_("target with DEL", 400, f"GET /refu\x7fsed HTTP/1.1\r\n{HOST}\r\n"),
    ours_("target with a fragment", 400, f"GET /refused#top HTTP/1.1\r\n{HOST}\r\n"),
    ours_("authority as the target of GET", 400, f"GET localhost:80 HTTP/1.1\r\n{HOST}\r\n"),
    ours_("path as the target of CONNECT", (400, 501), f"CONNECT /refused HTTP/1.1\r\n{HOST}\r\n"),
    ours_("asterisk as the target of GET", 400, f"GET * HTTP/1.1\r\n{HOST}\r\n"),
    ours_("relative target with dots", 400, f"GET ../refused HTTP/1.1\r\n{HOST}\r\n"),
    ours_("absolute target without a host", 400, f"GET http:///refused HTTP/1.1\r\n{HOST}\r\n"),
    ours_("absolute target of another scheme", 400, f"GET ftp://localhost/refused HTTP/1.1\r\n{HOST}\r\n"),
    row("request line of 5014 bytes", 414, f"GET /{'a' * 5000} HTTP/1.1\r\n{HOST}\r\n"),
    ours_("no host", 400, "GET /refused HTTP/1.1\r\n\r\n"),
    row("two hosts", 400, f"GET /refused HTTP/1.1\r\n{HOST}{HOST}\r\n"),
    ours_("host with a space", 400, "GET /refused HTTP/1.1\r\nHost: a b\r\n\r\n"),
    ours_("host with a path", 400, "GET /refused HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    ours_("host with a user", 400, "GET /refused HTTP/1.1\r\nHost: me@localhost\r\n\r\n"),
    ours_("host with two ports", 400, "GET /refused HTTP/1.1\r\nHost: a:1:2\r\n\r\n"),
    ours_("host with a port beyond 16 bits", 400, "GET /refused HTTP/1.1\r\nHost: a:65536\r\n\r\n"),
    ours_("host that is a port only", 400, "GET /refused HTTP/1.1\r\nHost: :80\r\n\r\n"),
    ours_("host with a malformed IPv6 address", 400, "GET /refused HTTP/1.1\r\nHost: [1::zz]\r\n\r\n"),
    ours_("host with half an IPv6 address", 400, "GET /refused HTTP/1.1\r\nHost: [::1\r\n\r\n"),
    ours_("host with a letter beyond ASCII", 400, "GET /refused HTTP/1.1\r\nHost: \xe4.test\r\n\r\n"),
    ours_("host with a NUL", 400, "GET /refused HTTP/1.1\r\nHost: a\0b\r\n\r\n"),
    ours_("absolute target with a user", 400, f"GET http://me@localhost/refused HTTP/1.1\r\n{HOST}\r\n"),
    ours_("absolute target with a password", 400, f"GET http://me:x@localhost/refused HTTP/1.1\r\n{HOST}\r\n"),
    ours_("absolute target with a port beyond 16 bits", 400, f"GET http://a:99999/refused HTTP/1.1\r\n{HOST}\r\n"),
    ours_("absolute target with a malformed IPv6 address", 400, f"GET http://[zz]/refused HTTP/1.1\r\n{HOST}\r\n"),
    ours_("absolute target with a fragment", 400, f"GET http://localhost/refused#x HTTP/1.1\r\n{HOST}\r\n"),
    ours_("asterisk with a query", 400, f"OPTIONS *?x HTTP/1.1\r\n{HOST}\r\n"),
    ours_("host and port as the target of CONNECT", (400, 501), f"CONNECT localhost:80 HTTP/1.1\r\n{HOST}\r\n"),
    ours_("method of another protocol", 501, f"DESCRIBE /refused HTTP/1.1\r\n{HOST}\r\n"),
    ours_("another protocol", 400, f"GET /refused RTSP/1.0\r\n{HOST}\r\n"),
    ours_("beginning of HTTP/2", 505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ours_("two content types", 400, with_head("Content-Type: a/b\r\nContent-Type: text/html\r\n")),
    row("header without a colon", 400, with_head("X-A\r\n")),
    row("header without a name", 400, with_head(": 1\r\n")),
    row("header name with @", 400, with_head("X@A: 1\r\n")),
    row("header name with a space", 400, with_head("X A: 1\r\n")),
    row("space before the colon", 400, with_head("X-A : 1\r\n")),
    row("tab before the colon", 400, with_head("X-A\t: 1\r\n")),
    row("NUL in a header's name", 400, with_head("X\0A: 1\r\n")),
    row("control character in a header's name", 400, with_head("X\x01A: 1\r\n")),
    ours_("CR in a header's name", 400, with_head("X-A\r: 1\r\n")),
    ours_("letter beyond ASCII in a header's name", 400, with_head("X-\xe4: 1\r\n")),
    row("folded header", 400, with_head("X-A: 1\r\n 2\r\n")),
    row("first header folded", 400, f"GET /refused HTTP/1.1\r\n {HOST}\r\n"),
    row("NUL in a value", 400, with_head("X-A: 1\0\r\n")),
    ours_("control character in a value", 400, with_head("X-A: 1\x01\r\n")),
    row("bare CR in a value", 400, with_head("X-A: 1\rX-B: 2\r\n")),
    row("bare LF in a value", 400, with_head("X-A: 1\nX-B: 2\r\n")),
    ours_("line that ends in CR alone hides a length", 400, with_head("X-A: 1\rContent-Length: 3\r\n", "abc")),
    ours_("two CR before the LF", 400, with_head("X-A: 1\r\r\n")),
    ours_("DEL in a value", 400, with_head("X-A: 1\x7f\r\n")),
    ours_("bare LF everywhere", 400, "GET /refused HTTP/1.1\nHost: localhost\n\n"),
    ours_("bare LF after the request line", 400, f"GET /refused HTTP/1.1\n{HOST}\r\n"),
    row("header of 9000 bytes", 431, with_head(f"X-A: {'a' * 9000}\r\n")),
    row("101 headers", 431, with_head("X-A: 1\r\n" * 101)),
    row("head without an end", 431, f"GET /refused HTTP/1.1\r\n{HOST}" + f"X-A: {'a' * 1000}\r\n" * 1000),
    row("both lengths", 400, with_head(LENGTH + CHUNKED, "3\r\nabc\r\n0\r\n\r\n")),
    row("both lengths, the other way round", 400, with_head(CHUNKED + LENGTH, "3\r\nabc\r\n0\r\n\r\n")),
    row("two different lengths", 400, with_head(LENGTH + "Content-Length: 4\r\n", "abcd")),
    row("two equal lengths", 400, with_head(LENGTH + LENGTH, "abc")),
    row("a list of lengths", 400, with_head("Content-Length: 3, 3\r\n", "abc")),
    row("signed length", 400, with_head("Content-Length: +3\r\n", "abc")),
    row("negative length", 400, with_head("Content-Length: -3\r\n", "abc")),
    row("hexadecimal length", 400, with_head("Content-Length: 0x3\r\n", "abc")),
    row("length with a space", 400, with_head("Content-Length: 3 3\r\n", "abc")),
    row("empty length", 400, with_head("Content-Length: \r\n")),
    ours_("length beyond 64 bits", (400, 413), with_head("Content-Length: 99999999999999999999\r\n")),
    row("chunked twice", 400, with_head(CHUNKED + CHUNKED, "0\r\n\r\n")),
    row("chunked is not last", (400, 501), with_head("Transfer-Encoding: chunked, gzip\r\n", "0\r\n\r\n")),
    row("unknown coding", (400, 501), with_head("Transfer-Encoding: foo\r\n", "0\r\n\r\n")),
    ours_("gzip before chunked", (400, 501), with_head("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n")),
    ours_("chunked twice in a list", (400, 501), with_head("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n")),
    ours_("chunked with a parameter", (400, 501), with_head("Transfer-Encoding: chunked;a=b\r\n", "0\r\n\r\n")),
    ours_("chunked behind a vertical tab", (400, 501), with_head("Transfer-Encoding: \x0bchunked\r\n", "0\r\n\r\n")),
    ours_("chunked before a form feed", (400, 501), with_head("Transfer-Encoding: chunked\x0c\r\n", "0\r\n\r\n")),
    ours_("chunked behind a no-break space", (400, 501), with_head("Transfer-Encoding: \xa0chunked\r\n", "0\r\n\r\n")),
    ours_("chunked in quotes", (400, 501), with_head('Transfer-Encoding: "chunked"\r\n', "0\r\n\r\n")),
    ours_("chunked behind a comma", (400, 501), with_head("Transfer-Encoding: ,chunked\r\n", "0\r\n\r\n")),
    ours_("identity", (400, 501), with_head("Transfer-Encoding: identity\r\n" + LENGTH, "abc")),
    ours_("chunked on a folded line", 400, with_head("Transfer-Encoding:\r\n chunked\r\n", "0\r\n\r\n")),
    ours_("coding's name before a space", 400, with_head("Transfer-Encoding : chunked\r\n", "0\r\n\r\n")),
    ours_("coding behind a bare LF", 400, with_head("X-A: 1\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")),
    ours_("empty coding", (400, 501), with_head("Transfer-Encoding: \r\n", "0\r\n\r\n")),
    ours_("gzip alone", (400, 501), with_head("Transfer-Encoding: gzip\r\n", "0\r\n\r\n")),
    ours_("misspelt chunked", (400, 501), with_head("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n")),
    row("chunked in HTTP/1.0", 400, f"POST /refused HTTP/1.0\r\n{HOST}{CHUNKED}\r\n0\r\n\r\n"),
    ours_("chunk size in other letters", 400, with_head(CHUNKED, "zz\r\nabc\r\n0\r\n\r\n")),
    ours_("chunk size missing", 400, with_head(CHUNKED, "\r\nabc\r\n0\r\n\r\n")),
    ours_("chunk size negative", 400, with_head(CHUNKED, "-3\r\nabc\r\n0\r\n\r\n")),
    ours_("chunk size with a plus", 400, with_head(CHUNKED, "+3\r\nabc\r\n0\r\n\r\n")),
    ours_("chunk size behind a space", 400, with_head(CHUNKED, " 3\r\nabc\r\n0\r\n\r\n")),
    ours_("chunk size before a space", 400, with_head(CHUNKED, "3 \r\nabc\r\n0\r\n\r\n")),
    ours_("chunk size with an underscore", 400, with_head(CHUNKED, "0_3\r\nabc\r\n0\r\n\r\n")),
    ours_("chunk extension behind a space", 400, with_head(CHUNKED, "3 ;a=b\r\nabc\r\n0\r\n\r\n")),
    ours_("chunk size then bare CR", 400, with_head(CHUNKED, "3\rabc\r\n0\r\n\r\n")),
    ours_("chunk size with 0x", 400, with_head(CHUNKED, "0x3\r\nabc\r\n0\r\n\r\n")),
    ours_("chunk size beyond 64 bits", (400, 413), with_head(CHUNKED, "fffffffffffffffff\r\nabc")),
    ours_("chunk larger than any body may be", 413, with_head(CHUNKED, "ffffffffffffffff\r\nabc")),
    ours_("chunk size before a tab", 400, with_head(CHUNKED, "3\t\r\nabc\r\n0\r\n\r\n")),
    ours_("chunk size with leading zeros beyond 64 bits", 400, with_head(CHUNKED, "00000000000000003\r\nabc\r\n0\r\n\r\n")),
    ours_("line break in a quoted chunk extension", 400, with_head(CHUNKED, '3;a="\r\n"\r\nabc\r\n0\r\n\r\n')),
    ours_("chunk size then bare LF", 400, with_head(CHUNKED, "3\nabc\r\n0\r\n\r\n")),
    ours_("trailer that frames", 400, with_head(CHUNKED, "3\r\nabc\r\n0\r\nContent-Length: 3\r\n\r\n")),
    ours_("trailer that routes", 400, with_head(CHUNKED, "3\r\nabc\r\n0\r\nHost: other\r\n\r\n")),
    ours_("trailer that authenticates", 400, with_head(CHUNKED, "3\r\nabc\r\n0\r\nAuthorization: x\r\n\r\n")),
    ours_("trailer that forwards", 400, with_head(CHUNKED, "3\r\nabc\r\n0\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n")),
    ours_("trailer that is a condition", 400, with_head(CHUNKED, "3\r\nabc\r\n0\r\nIf-Match: x\r\n\r\n")),
    ours_("trailer then bare LF", 400, with_head(CHUNKED, "3\r\nabc\r\n0\r\nX-A: 1\n\r\n")),
    ours_("bare LF ends the trailers", 400, with_head(CHUNKED, "3\r\nabc\r\n0\r\n\n")),
    ours_("bare LF behind the last chunk", 400, with_head(CHUNKED, "3\r\nabc\r\n0\n\r\n")),
    ours_("bare LF behind a chunk", 400, with_head(CHUNKED, "3\r\nabc\n0\r\n\r\n")),
    ours_("bare CR in a trailer", 400, with_head(CHUNKED, "3\r\nabc\r\n0\r\nX-A: 1\rX-B: 2\r\n\r\n")),
    ours_("folded trailer", 400, with_head(CHUNKED, "3\r\nabc\r\n0\r\nX-A: 1\r\n 2\r\n\r\n")),
    ours_("endless trailers", 431, with_head(CHUNKED, "3\r\nabc\r\n0\r\n" + "X-A: 12345678\r\n" * 1000 + "\r\n")),
    ours_("chunk extension with a bare CR", 400, with_head(CHUNKED, "3;a=b\rc\r\nabc\r\n0\r\n\r\n")),
    ours_("chunk extension with a bare LF", 400, with_head(CHUNKED, "3;a=b\nabc\r\n0\r\n\r\n")),
    ours_("chunk extension with a NUL", 400, with_head(CHUNKED, "3;a=\0\r\nabc\r\n0\r\n\r\n")),
    ours_("chunk extension without a name", 400, with_head(CHUNKED, "3;=b\r\nabc\r\n0\r\n\r\n")),
    ours_("chunk extension whose quotes do not end", 400, with_head(CHUNKED, '3;a="b\r\nabc\r\n0\r\n\r\n')),
    ours_("white space in a chunk extension", 400, with_head(CHUNKED, "3;a= b\r\nabc\r\n0\r\n\r\n")),
    ours_("endless chunk extension", (400, 431), with_head(CHUNKED, "3;" + "a" * 100000 + "\r\nabc\r\n0\r\n\r\n")),
    ours_("chunk longer than its size", 400, with_head(CHUNKED, "3\r\nabcd\r\n0\r\n\r\n")),
    ours_("bad trailer", 400, with_head(CHUNKED, "0\r\nX A: 1\r\n\r\n")),
    row("unknown expectation", 417, with_head("Expect: foo\r\n" + LENGTH, "abc")),
    ours_("another expectation beside the known one", 417, with_head("Expect: 100-continue, foo\r\n" + LENGTH, "abc")),
    ours_("length beyond the limit", 413, with_head("Content-Length: 99999999999\r\n", "abc")),
    row("TLS bytes on a plain port", 400, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
]


NEXT = b"GET /next HTTP/1.1\r\nHost: localhost\r\n\r\n"
SINGLE_BYTES_MAX = 2000  # what is longer comes in that many pieces


def pieces(data, cut):
    """The bytes as they are sent; at random means the same in each run."""
    if cut == "whole":
        return [data]
    if cut == "bytes":
        step = -(-len(data) // SINGLE_BYTES_MAX)
        return [data[i : i + step] for i in range(0, len(data), step)]
    dice = random.Random(zlib.crc32(data))
    marks = sorted({0, len(data), *(dice.randrange(len(data)) for _ in range(dice.randrange(1, 12)))})
    return [data[a:b] for a, b in zip(marks, marks[1:])]


def answer_to(site, data, cut):
    """All that comes back: the server may end the connection before it has seen everything."""
    with site.connect() as c:
        try:
            for piece in pieces(data, cut):
                c.send(piece)
        except OSError:
            pass
        return c.take_rest()


@pytest.mark.parametrize("cut", ["whole", "bytes", "random"])
@pytest.mark.parametrize("status, request_text", TABLE)
def test_is_refused(site, status, request_text, cut):
    lines, calls = len(site.access()), len(site.calls())
    statuses = (status,) if isinstance(status, int) else status
    raw = answer_to(site, request_text.encode("latin-1") + NEXT, cut)
    head, _, body = raw.partition(b"\r\n\r\n")
    found = re.match(rb"HTTP/1\.[01] (\d{3}) [^\r\n]+\r\n", raw)
    assert found and int(found[1]) in statuses, raw
    assert len(re.findall(rb"(?m)^HTTP/1\.", raw)) == 1, "one answer and no second one"
    assert b"\r\nconnection: close" in head.lower()
    assert f"\r\ncontent-length: {len(body)}".encode() in head.lower() + b"\r\n"
    assert len(site.calls()) == calls
    assert site.get("/").status == 200
    if not IS_GUNICORN:  # which writes no line for what it could not parse
        wait_until(lambda: any(f'" {int(found[1])} ' in a for a in site.access()[lines:]), "the refusal is logged")


@ours
@pytest.mark.parametrize("body", [LENGTH + "\r\nab", CHUNKED + "\r\n3\r\nab", CHUNKED + "\r\n3\r\nabc\r\n0\r\n"])
def test_body_cut_short_is_refused(server, body):
    s = server("probe:app")
    with s.connect() as c:
        c.send(f"POST /refused HTTP/1.1\r\n{HOST}{body}".encode())
        c.sock.shutdown(socket.SHUT_WR)
        raw = c.take_rest()
    assert raw.startswith(b"HTTP/1.1 400 ") and b"\r\nConnection: close\r\n" in raw
    s.wait_access(r'"POST /refused HTTP/1\.1" 400 ')
    assert s.calls() == []


def test_refusal_is_logged_with_what_was_asked(site):
    site.send_raw(b"GET /refused HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n")
    site.wait_access(r'^127\.0\.0\.1 - - \[.*\] "GET /refused HTTP/1\.1" 400 \d+ "-" "-"$')


@ours
@pytest.mark.parametrize("cut", ["whole", "bytes", "random"])
@pytest.mark.parametrize(
    "request_text, line",
    [
        (f"HEAD /what\x01ever HTTP/1.1\r\n{HOST}\r\n", "HEAD /what HTTP/1.1"),
        (f"HEAD /{'b' * 5000} HTTP/1.1\r\n{HOST}\r\n", f"HEAD /{'b' * 4089} HTTP/1.1"),
        (f"HEAD /folded HTTP/1.0\r\n{HOST}X-A: 1\r\n 2\r\n\r\n", "HEAD /folded HTTP/1.0"),
    ],
)
def test_refusal_does_not_depend_on_how_the_bytes_are_cut(site, request_text, line, cut):
    lines = len(site.access())
    raw = answer_to(site, request_text.encode("latin-1"), cut)
    assert raw.endswith(b"\r\n\r\n") and raw.count(b"\r\n\r\n") == 1, "no body to HEAD"
    wait_until(lambda: any(f'"{line}" 4' in a for a in site.access()[lines:]), "the refusal is logged")


def test_longest_head_that_is_taken(site):
    fields = [f"X-{i}: 1" for i in range(97)]
    reply = site.get("/" + "a" * 4000, f"X-Long: {'a' * 8000}", "Connection: close", *fields)
    assert (reply.status, reply.body) == (200, b"Hello, World!")


@pytest.mark.parametrize(
    "option, request_text, status",
    [
        (["--limit-request-line", "50"], f"GET /{'a' * 50} HTTP/1.1\r\n{HOST}\r\n", (400, 414)),
        (["--limit-request-fields", "2"], with_head("X-A: 1\r\nX-B: 1\r\n"), 431),
        (["--limit-request-field_size", "50"], with_head(f"X-A: {'a' * 60}\r\n"), 431),
    ],
)
def test_limit_can_be_set(server, option, request_text, status):
    s = server("probe:app", *option)
    assert s.get("/", "Connection: close").status == 200
    statuses = (status,) if isinstance(status, int) else status
    assert int(s.send_raw(request_text.encode())[9:12]) in statuses
    assert len(s.calls()) == 1


@ours
def test_request_line_limit_may_be_above_gunicorns_cap(server):
    s = server("probe:app", "--limit-request-line", "20000")
    assert s.get("/" + "a" * 15000).status == 200


def test_plain_request_on_a_tls_port_leaves_it_well(server, certificate):
    s = server("probe:app", tls=certificate)
    s.tls = None
    s.send_raw(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    s.tls = certificate
    assert s.get("/").status == 200
    assert s.calls() and len(s.calls()) == 1
