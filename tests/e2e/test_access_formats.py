"""The access log for machines: what a client sends comes back out of each format as it was sent, whatever it is; and
every connection that has sent a byte has a line."""

import json
import re
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from harness import IS_GUNICORN, Server, folder_with_apps, ours, wait_until

# Values that a client may send in a header field, as bytes.
HOSTILE = [
    b"plain",
    b'" 200 1 "-" "-',
    b"\\",
    b'\\"',
    b'x\\x22"',
    b"a=b c=d",
    b'","status":500,"x":"',
    b'"} {"a":"b',
    b"\ttab\tinside",
    "Zürich – 日本 🦊".encode(),
    bytes(range(0x80, 0x100)),
    b"\xed\xa0\x80 \xc0\xaf \xf4\x90\x80\x80 \xe2\x80\xa8",
    b"status=999",
    b"=",
    b"%(h)s %% %s",
    b"${jndi:ldap://x/a}",
    b"x" * 6000,
]
PATHS = ["/", "/a?b=c", '/%22%0a%0d"', "/a\\b", "/a=b;c d".replace(" ", "%20"), "/'`{}|^", "/%00", "/x?a=%(h)s&\\"]


def parse_logfmt(line):
    """As go-logfmt and Loki read it: name=word or name="JSON string"."""
    fields, at = {}, 0
    while at < len(line):
        m = re.compile(r'([^\s="]+)=("(?:[^"\\]|\\.)*"|[^\s="\\]*)( |$)').match(line, at)
        assert m, f"no pair at {line[at:at + 60]!r}"
        name, value = m[1], m[2]
        assert name not in fields
        fields[name] = json.loads(value) if value.startswith('"') else value
        at = m.end()
    return fields


COMBINED = re.compile(
    r'(?P<client>\S+) - (?P<user>\S+) \[(?P<time>[^\]]+)\] "(?P<request>(?:[^"\\]|\\.)*)" (?P<status>\d+) '
    r'(?P<bytes>\d+) "(?P<referer>(?:[^"\\]|\\.)*)" "(?P<user_agent>(?:[^"\\]|\\.)*)"'
)


def parse_combined(line):
    m = COMBINED.fullmatch(line)
    assert m, line
    fields = m.groupdict()
    for name in ("request", "referer", "user_agent"):
        raw = re.sub(rb'\\(?:x([0-9A-F]{2})|(["]))', lambda e: bytes([int(e[1], 16)]) if e[1] else e[2], fields[name].encode("utf-8", "surrogateescape"))
        fields[name] = raw.decode("utf-8", "surrogateescape")
    return fields


def lines_of(s, n):
    def enough():
        raw = Path(s.access_path).read_bytes()
        return raw if raw.count(b"\n") >= n else None

    raw = wait_until(enough, f"there are {n} lines")
    assert raw.endswith(b"\n")
    return raw[:-1].split(b"\n")


def hostile_requests(s):
    """Sends them; what was sent, in order: (target, referer and agent)."""
    sent = []
    for value in HOSTILE:
        sent.append(("/", value))
    for path in PATHS:
        sent.append((path, b"plain"))
    for path, value in sent:
        with s.connect() as c:
            c.send(b"GET %s HTTP/1.1\r\nHost: x\r\nReferer: %s\r\nUser-Agent: %s\r\nConnection: close\r\n\r\n" % (path.encode(), value, value))
            c.take_rest()
    return sent


@ours
@pytest.mark.parametrize("format", ["json", "logfmt"])
def test_hostile_values_come_back_as_they_were_sent(server, format):
    s = server("hello:app", "--access-logformat", format)
    sent = hostile_requests(s)
    lines = lines_of(s, len(sent))
    assert len(lines) == len(sent)
    for (target, value), line in zip(sent, lines):
        text = line.decode("utf-8")  # always valid
        fields = json.loads(text) if format == "json" else parse_logfmt(text)
        assert int(fields["status"]) in (200, 400), text
        if int(fields["status"]) == 200:
            assert fields["method"] == "GET" and fields["target"] == target
            expected = value.decode("utf-8", "replace").strip(" \t")
            assert fields["referer"] == fields["user_agent"] == expected
        assert int(fields["connection"]) > 0 and int(fields["duration_us"]) >= 0
        assert len(text.splitlines()) == 1, "no line end of any kind"


@ours
def test_hostile_values_come_back_out_of_a_combined_line(server):
    s = server("hello:app", "--access-logformat", "combined")
    sent = hostile_requests(s)
    lines = lines_of(s, len(sent))
    assert len(lines) == len(sent)
    for (target, value), line in zip(sent, lines):
        fields = parse_combined(line.decode("utf-8", "surrogateescape"))
        if fields["status"] == "200":
            assert fields["request"] == f"GET {target} HTTP/1.1"
            expected = value.strip(b" \t").decode("utf-8", "surrogateescape")
            assert fields["referer"] == fields["user_agent"] == expected


@ours
def test_a_format_that_is_an_object_stays_one(server):
    s = server("hello:app", "--access-logformat", '{"agent": "%(a)s", "line": "%(r)s", "status": %(s)s}')
    sent = hostile_requests(s)
    for (target, value), line in zip(sent, lines_of(s, len(sent))):
        fields = json.loads(line)
        if fields["status"] == 200:
            assert fields["agent"] == value.decode("utf-8", "replace").strip(" \t")
            assert fields["line"] == f"GET {target} HTTP/1.1"


# Everything that is told of a request.


@ours
def test_json_tells_all_of_a_request(server, certificate):
    s = server("probe:app", "--access-logformat", "json", tls=certificate)
    with s.connect() as c:
        c.request("POST", "/echo?a=1", ["Authorization: Basic em9lOnNlY3JldA==", "X-Request-ID: abc-1"], body=b"12345")
        c.request("GET", "/", ["Referer: http://a.test/"])
    first, second = (json.loads(line) for line in lines_of(s, 2))
    assert first["client"] == "127.0.0.1" and first["user"] == "zoe" and second["user"] is None
    assert (first["method"], first["target"], first["protocol"], first["status"]) == ("POST", "/echo?a=1", "HTTP/1.1", 200)
    assert first["bytes"] == 5 and first["bytes_in"] > 100
    assert 0 <= first["queue_us"] <= first["ttfb_us"] <= first["duration_us"]
    assert first["request_id"] == "abc-1" and re.fullmatch(r"[0-9a-f]{16}-1-2", second["request_id"])
    assert (first["connection"], second["connection"]) == (1, 1)
    assert (first["connection_requests"], second["connection_requests"]) == (1, 2)
    assert first["tls"] == "TLSv1.3" and first["cipher"].startswith("TLS_")
    assert first["worker"] == 1 and first["pid"] in s.children()
    assert second["referer"] == "http://a.test/" and second["user_agent"] is None
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d", first["time"])


@ours
def test_time_in_the_queue_is_told(server):
    s = server("probe:app", "--access-logformat", "json", "--threads", "2")
    busy = [s.background("get", "/pid?sleep=1") for _ in range(4)]
    for b in busy:
        assert b.result().status == 200
    waits = sorted(json.loads(line)["queue_us"] for line in lines_of(s, 4))
    assert waits[1] < 900_000 < waits[2], waits


# Every connection that has sent a byte has a line.


def reset(c):
    c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    c.sock.close()


@ours
def test_every_refusal_has_a_line(server):
    s = server("probe:app", "--access-logformat", "%(s)s %(r)s", "--limit-request-body", "10", "--header-timeout", "1")
    cases = [
        (b"nonsense\r\n\r\n", "400 -"),
        (b"GET / HTTP/1.1\r\n\r\n", "400 GET / HTTP/1.1"),
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", "414 GET /x*.*"),
        (b"POST /big HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n", "413 POST /big HTTP/1.1"),
        (b"GET /many HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 200 + b"\r\n", "431 GET /many HTTP/1.1"),
        (b"BREW /pot HTTP/1.1\r\nHost: x\r\n\r\n", "501 BREW /pot HTTP/1.1"),
        (b"GET /slow HTTP/1.1\r\nHos", "408 .*"),
    ]
    for i, (data, expected) in enumerate(cases):
        assert s.send_raw(data).startswith(b"HTTP/1.1 " + expected[:2].encode())
        last = lines_of(s, i + 1)[-1].decode()
        assert re.fullmatch(expected, last), (last, expected)


@ours
def test_request_that_hangs_has_a_line(server):
    s = server("probe:app", "--access-logformat", "%(s)s %(r)s %(conn_requests)s", "--timeout", "2")
    s.tracebacks_expected = True  # where it hangs
    assert s.get("/pid?sleep=60").status == 504
    assert [line.decode() for line in lines_of(s, 1)] == ["504 GET /pid?sleep=60 HTTP/1.1 1"]


@ours
def test_clients_that_leave_have_a_line(server):
    s = server("probe:app", "--access-logformat", "%(s)s %(r)s %(bytes_in)s")
    with s.connect() as c:
        c.send(b"G")
    lines_of(s, 1)
    with s.connect() as c:
        c.send(b"GET /left HTTP/1.1\r\nHost: x\r\n")
    lines_of(s, 2)
    c = s.connect()
    c.send(b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
    reset(c)
    lines_of(s, 3)
    c = s.connect()
    c.send(b"GET /pid?sleep=1 HTTP/1.1\r\nHost: x\r\n\r\n")
    s.wait_call("/pid")
    reset(c)
    expected = [
        "499 - 1",
        "499 GET /left HTTP/1.1 29",
        "(400|499) POST /body HTTP/1.1 55",  # the reset may be seen as an end
        r"499 GET /pid\?sleep=1 HTTP/1.1 38",
    ]
    lines = [line.decode() for line in lines_of(s, 4)]
    assert all(re.fullmatch(e, line) for e, line in zip(expected, lines)), lines


@ours
def test_no_byte_no_line(server):
    s = server("probe:app")
    for _ in range(3):
        s.connect().close()
    with s.connect() as c:
        c.request("POST", "/echo", body=b"x")
        c.send(b"\r\n")  # as old clients do
    s.get("/last")
    s.wait_access("/last")
    assert len(s.access()) == 2


@ours
def test_connections_that_never_became_tls_have_a_line(server, certificate):
    s = server("probe:app", "--access-logformat", "%(s)s %(r)s %(conn)s", "--handshake-timeout", "1", tls=certificate)

    def plain(data):
        sock = socket.create_connection(("127.0.0.1", s.port))
        sock.sendall(data)
        return sock

    with plain(b"\x00\x01 neither TLS nor HTTP"):
        lines_of(s, 1)
    with plain(b"\x16\x03\x01"):
        lines_of(s, 2)
    plain(b"\x16\x03\x01").close()
    assert [line.decode() for line in lines_of(s, 3)] == ["400 - 1", "408 - 2", "499 - 3"]


# gunicorn, the same requests.

REQUESTS = [
    ("GET", "/hello?a=1", []),
    ("HEAD", "/head", ["User-Agent: x y"]),
    ("POST", "/echo", ["Content-Type: text/plain"]),
    ("GET", "/status?line=404%20Not%20Found", ["Referer: http://a.test/?b=%20c"]),
    ("GET", "/status?line=204%20No%20Content", ["Authorization: Basic em9lOnNlY3JldA=="]),
    ("GET", "/pieces", ['User-Agent: a "quoted" one', 'Referer: "']),
    ("GET", "/large?size=70000", ["Authorization: Bearer em9lOnNlY3JldA=="]),
    ("DELETE", "/%41%2f?x=%22", ["User-Agent:"]),
    ("GET", "/pieces", ["Authorization: Basic bm9jb2xvbg=="]),
]


@ours
@pytest.mark.skipif(IS_GUNICORN, reason="compares with it")
def test_default_format_is_gunicorns_line(server, tmp_path_factory):
    theirs_exe = Path(sys.executable).parent / "gunicorn"
    mine = server("probe:app")
    theirs = server("probe:app", "--keep-alive", "5", exe=str(theirs_exe))
    for method, path, headers in REQUESTS:
        for s in (mine, theirs):
            s.request(method, path, [*headers, "Connection: close"], body=b"12345" if method == "POST" else None)
    both = [
        [re.sub(r"\[[^\]]*\]", "[time]", line.decode()) for line in lines_of(s, len(REQUESTS))] for s in (mine, theirs)
    ]
    assert both[0] == both[1]
