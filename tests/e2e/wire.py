"""A strict HTTP/1.1 client on a bare socket: what was sent is exact, what came back is kept byte for byte."""

import ssl
from dataclasses import dataclass, field

MAX_HEAD = 1 << 20


class Broken(Exception):
    """The server closed the connection before the response was complete."""


@dataclass
class Reply:
    version: str
    status: int
    reason: str
    headers: list
    head: bytes
    body: bytes = b""
    interim: list = field(default_factory=list)  # statuses of 1xx answers before this one

    def __getitem__(self, name):
        found = self.all(name)
        return found[0] if found else None

    def all(self, name):
        return [v for n, v in self.headers if n.lower() == name.lower()]

    @property
    def text(self):
        return self.body.decode("utf-8")


def parse_head(head):
    lines = head[:-4].decode("latin-1").split("\r\n")
    version, status, reason = lines[0].split(" ", 2)
    headers = []
    for line in lines[1:]:
        assert "\r" not in line and "\n" not in line, f"stray line break in {head!r}"
        name, colon, value = line.partition(":")
        assert colon and name and name == name.strip(), f"bad header line {line!r}"
        headers.append((name, value.strip()))
    return Reply(version, int(status), reason, headers, head)


class Connection:
    def __init__(self, sock):
        self.sock = sock
        self.seen = b""  # received, not yet taken

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data)

    def more(self):
        try:
            data = self.sock.recv(1 << 16)
        except ssl.SSLEOFError:  # closed without close_notify: an end that the framing has to judge
            data = b""
        self.seen += data
        return data

    def take(self, n):
        parts, have = [self.seen], len(self.seen)
        while have < n:
            self.seen = b""
            data = self.more()
            if not data:
                self.seen = b"".join(parts)
                raise Broken(f"{have} of {n} bytes")
            parts.append(data)
            have += len(data)
        whole = b"".join(parts)
        self.seen = whole[n:]
        return whole[:n]

    def take_until(self, mark):
        while mark not in self.seen:
            assert len(self.seen) < MAX_HEAD
            if not self.more():
                raise Broken(f"closed after {self.seen!r}")
        end = self.seen.index(mark) + len(mark)
        taken, self.seen = self.seen[:end], self.seen[end:]
        return taken

    def take_rest(self):
        parts = [self.seen]
        self.seen = b""
        while self.more():
            parts.append(self.seen)
            self.seen = b""
        return b"".join(parts)

    def head(self):
        return parse_head(self.take_until(b"\r\n\r\n"))

    def chunk(self):
        """The next chunk's data; b"" for the last one (its trailer section is taken, too)."""
        size = int(self.take_until(b"\r\n")[:-2].split(b";")[0], 16)
        if size == 0:
            while self.take_until(b"\r\n") != b"\r\n":
                pass
            return b""
        data = self.take(size)
        assert self.take(2) == b"\r\n"
        return data

    def reply(self, method="GET"):
        interim = []
        reply = self.head()
        while reply.status < 200:
            interim.append(reply.status)
            reply = self.head()
        reply.interim = interim
        if method == "HEAD" or reply.status in (204, 304):
            return reply
        if reply["Transfer-Encoding"]:
            assert reply["Transfer-Encoding"].lower() == "chunked" and not reply["Content-Length"]
            parts = []
            while data := self.chunk():
                parts.append(data)
            reply.body = b"".join(parts)
        elif reply["Content-Length"] is not None:
            reply.body = self.take(int(reply["Content-Length"]))
        else:
            reply.body = self.take_rest()
        return reply

    def closed(self):
        """True when the server ends the connection without another byte."""
        return self.seen == b"" and self.more() == b""

    def request(self, method, path, headers=(), body=None, version="HTTP/1.1"):
        self.send(encode(method, path, headers, body, version))
        return self.reply(method)

    def get(self, path, *headers):
        return self.request("GET", path, headers)


def encode(method, path, headers=(), body=None, version="HTTP/1.1"):
    """`headers`: lines such as "X-A: 1". A list or iterator as `body` goes out in chunks."""
    lines = [f"{method} {path} {version}"]
    if not any(h.lower().startswith("host:") for h in headers):
        lines.append("Host: localhost")
    lines += headers
    if body is None:
        payload = b""
    elif isinstance(body, bytes):
        lines.append(f"Content-Length: {len(body)}")
        payload = body
    else:
        lines.append("Transfer-Encoding: chunked")
        payload = b"".join(chunked(body))
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + payload


def chunked(pieces):
    for piece in pieces:
        yield b"%x\r\n%s\r\n" % (len(piece), piece)
    yield b"0\r\n\r\n"
