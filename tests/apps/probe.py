"""One WSGI application that does on request whatever a test has to see: a path is the name of a function below.

Each call adds a line to calls.txt first, so that a test can tell that the application was not called."""

import hashlib
import io
import json
import os
import random
import sys
import time
from urllib.parse import parse_qs
from wsgiref.validate import validator

HERE = os.getcwd()
PIECE = bytes(range(256)) * 256  # 64 KiB


def app(environ, start_response):
    note("calls.txt", f"{os.getpid()} {environ['REQUEST_METHOD']} {environ['RAW_URI']}")
    name = environ["PATH_INFO"].lstrip("/").partition("/")[0] or "hello"
    page = PAGES.get(name, hello)
    known = page.__code__.co_varnames[2 : page.__code__.co_argcount]
    query = {k: v[0] for k, v in parse_qs(environ["QUERY_STRING"]).items() if k in known}
    return page(environ, start_response, **query)


validated = validator(app)


def note(file, text):
    with open(os.path.join(HERE, file), "a") as f:
        f.write(text + "\n")


def wait_for(file):
    """Until a test makes `file`; not for ever, should it have failed meanwhile."""
    for _ in range(30000):
        if os.path.exists(os.path.join(HERE, file)):
            return
        time.sleep(0.01)


def answer(start_response, body, kind="text/plain", status="200 OK", headers=()):
    body = body if isinstance(body, bytes) else body.encode()
    start_response(status, [("Content-Type", kind), ("Content-Length", str(len(body))), *headers])
    return [body]


def hello(environ, start_response):
    return answer(start_response, "Hello, World!")


def pid(environ, start_response, sleep="0"):
    time.sleep(float(sleep))
    return answer(start_response, str(os.getpid()))


def wait(environ, start_response, file):
    wait_for(file)
    return answer(start_response, "waited")


def stream_hangs(environ, start_response, file):
    start_response("200 OK", [("Content-Type", "text/plain"), ("X-Kind", "stream")])
    yield b"first\n"
    wait_for(file)
    yield b"last\n"


def write_hangs(environ, start_response, file):
    start_response("200 OK", [("Content-Type", "text/plain")])(b"first\n")
    wait_for(file)
    return []


def close_hangs(environ, start_response, file):
    class Closing(list):
        def close(self):
            wait_for(file)

    return Closing(answer(start_response, "complete"))


def iterating_hangs(environ, start_response, file):
    start_response("200 OK", [("Content-Type", "text/plain")])
    pieces = Closing(1, environ["RAW_URI"])
    pieces.__class__ = type("Hanging", (Closing,), {"__next__": lambda self: wait_for(file) or b"late"})
    return pieces


def slow_pieces(environ, start_response, n, sleep):
    """Each piece takes its time, and all together more than any one may."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    for _ in range(int(n)):
        time.sleep(float(sleep))
        yield b"piece\n"


def slow_whole(environ, start_response, n, sleep):
    """The same, but what its length says is there half-way."""
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(int(n) // 2 * 6))])
    for _ in range(int(n)):
        time.sleep(float(sleep))
        yield b"piece\n"


def slow_writes(environ, start_response, n, sleep):
    send = start_response("200 OK", [("Content-Type", "text/plain")])
    for _ in range(int(n)):
        time.sleep(float(sleep))
        send(b"piece\n")
    return []


def keeps_interpreter(environ, start_response):
    """For longer than any test waits: a C call that does not give the interpreter's lock up."""
    import re

    re.match(r"(a+)+$", "a" * 60 + "b")
    return answer(start_response, "never")


def environ_dump(environ, start_response):
    shown = {k: [type(v).__name__, v if isinstance(v, (str, bool, int, tuple)) else None] for k, v in environ.items()}
    return answer(start_response, json.dumps(shown), "application/json")


def variables(environ, start_response, names):
    return answer(start_response, "|".join(os.environ[name] for name in names.split(",")))


def interpreter(environ, start_response):
    from interpreter import facts

    return answer(start_response, json.dumps(facts()), "application/json")


# Request bodies.


def echo(environ, start_response):
    return answer(start_response, environ["wsgi.input"].read(), "application/octet-stream")


def digest(environ, start_response):
    sha, size = hashlib.sha256(), 0
    while piece := environ["wsgi.input"].read(40000):
        sha.update(piece)
        size += len(piece)
    return answer(start_response, f"{size} {sha.hexdigest()}")


def reading(environ, start_response, how):
    """The same body, taken with each method of wsgi.input."""
    source = environ["wsgi.input"]
    got = {
        "read": lambda: [source.read(), source.read(), source.read(5)],
        "read_none": lambda: [source.read(-1)],
        "read_some": lambda: [source.read(3), source.read(0), source.read(4), source.read(1000), source.read(1)],
        "readline": lambda: [source.readline(), source.readline(2), source.readline(), source.readline(-1)],
        "readline_end": lambda: [source.readline() for _ in range(6)],
        "readlines": lambda: source.readlines(),
        "readlines_hint": lambda: source.readlines(1) + [b"|"] + source.readlines(),
        "iterate": lambda: list(source),
        "mixed": lambda: [source.readline(), source.read(2), next(iter(source)), source.read()],
    }[how]()
    assert all(type(piece) is bytes for piece in got)
    return answer(start_response, repr(got))


# Responses.


def stream(environ, start_response, file):
    """The second piece is not made before the test has made `file`."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"first\n"
    wait_for(file)
    yield b"second\n"


def quick_then(environ, start_response, file):
    """Ten pieces at once; the last one is not made before the test has made `file`."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    for i in range(10):
        yield b"%d\n" % i
    wait_for(file)
    yield b"last\n"


def jitter(environ, start_response, seed):
    """Pieces that take up to three milliseconds, the end of them included."""
    chance = random.Random(seed)
    start_response("200 OK", [("Content-Type", "text/plain")])
    for i in range(chance.randrange(1, 8)):
        end = time.perf_counter() + chance.choice([0, 0, 0, 0.0005, 0.001, 0.002, 0.003])
        while time.perf_counter() < end:
            pass
        yield b"%d\n" % i
    time.sleep(chance.choice([0, 0.0005, 0.001, 0.002, 0.003]))


def pieces(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b""
    yield b"one "
    yield b""
    yield b"two "
    yield b"three"


def late_start(environ, start_response):
    return pieces(environ, start_response)


def large(environ, start_response, size, length="0"):
    """`size` bytes in pieces of 64 KiB, with a Content-Length if wanted; notes that it was closed."""
    headers = [("Content-Type", "application/octet-stream")]
    if length == "1":
        headers.append(("Content-Length", size))
    start_response("200 OK", headers)
    return Closing(int(size), environ["RAW_URI"])


class Closing:
    def __init__(self, size, name):
        self.left, self.name = size, name

    def __iter__(self):
        return self

    def __next__(self):
        if not self.left:
            raise StopIteration
        n = min(self.left, len(PIECE))
        self.left -= n
        return PIECE[:n]

    def close(self):
        note("closed.txt", self.name)


def file(environ, start_response, offset="0", length=""):
    """big.bin through wsgi.file_wrapper; with a length shorter than the file if wanted."""
    f = open(os.path.join(HERE, "big.bin"), "rb")
    f.seek(int(offset))
    headers = [("Content-Type", "application/octet-stream")]
    if length:
        headers.append(("Content-Length", length))
    start_response("200 OK", headers)
    return environ["wsgi.file_wrapper"](f, 8192)


def file_of_kernel(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return environ["wsgi.file_wrapper"](open("/proc/meminfo", "rb"))


def file_in_memory(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    return environ["wsgi.file_wrapper"](io.BytesIO(PIECE * 3))


def file_closing(environ, start_response):
    class Noted(io.BytesIO):
        def close(self):
            note("closed.txt", environ["RAW_URI"])
            super().close()

    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    return environ["wsgi.file_wrapper"](Noted(b"abc"))


def declared(environ, start_response, length, body):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", length)])
    return [body.encode()]


def declared_in_pieces(environ, start_response, length):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", length)])
    yield b"Hello"
    yield b", World!"


def status(environ, start_response, line):
    start_response(line, [])
    return []


def status_with_body(environ, start_response, line):
    start_response(line, [("Content-Type", "text/plain")])
    return [b"no client may see this"]


def write_fails(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])(b"written")
    raise RuntimeError("after writing")


def write(environ, start_response):
    send = start_response("200 OK", [("Content-Type", "text/plain")])
    send(b"written ")
    send(b"twice ")
    return [b"and returned"]


def twice(environ, start_response):
    """start_response called again with exc_info: what was said before is forgotten."""
    start_response("200 OK", [("X-First", "1")])
    try:
        raise ValueError("expected")
    except ValueError:
        return answer(lambda s, h: start_response(s, h, sys.exc_info()), "second", status="503 Sorry")


def twice_without(environ, start_response):
    start_response("200 OK", [])
    start_response("200 OK", [])
    return [b"no client may see this"]


def cookies(environ, start_response):
    return answer(start_response, "x", headers=[("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("X-Latin", "caf\xe9")])


def hop_by_hop(environ, start_response):
    mine = [("Connection", "keep-alive, x"), ("Keep-Alive", "timeout=99"), ("Server", "mine"), ("X-Kept", "1")]
    return answer(start_response, "x", headers=[*mine, ("Transfer-Encoding", "chunked"), ("Upgrade", "h9")])


def errors(environ, start_response):
    environ["wsgi.errors"].write("said to wsgi.errors: caf\xe9\n")
    environ["wsgi.errors"].writelines(["line one\n", "line two\n"])
    environ["wsgi.errors"].flush()
    print("printed to stderr", file=sys.stderr, flush=True)
    return answer(start_response, "x")


# Faults of the application.


def early_hints(environ, start_response, wait=""):
    hint = environ["wsgi.early_hints"]
    hint([("Link", "</a.css>; rel=preload; as=style"), ("X-More", "1")])
    hint([["Link", "</b.css>; rel=preload; as=style"]])
    if wait:
        wait_for(wait)
    for bad in [("Link", "a\r\nX: forged")], [("a b", "c")], [("Link",)], 5, [("Link", 5)]:
        try:
            hint(bad)
        except Exception as e:
            assert "\r" not in str(e)
        else:
            assert environ["SERVER_PROTOCOL"] == "HTTP/1.0", bad
    start_response("200 OK", [("Content-Length", "4")])
    yield b"do"
    hint([("Link", "too late")])
    yield b"ne"


def fails(environ, start_response):
    raise RuntimeError("fails as asked")


def fails_after_start(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    raise RuntimeError("fails as asked")


def fails_late(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"part\n"
    raise RuntimeError("fails as asked")


def fails_late_with_length(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "100")])
    yield b"part\n"
    raise RuntimeError("fails as asked")


def fails_in_close(environ, start_response):
    class Iterable(list):
        def close(self):
            raise RuntimeError("close fails as asked")

    return Iterable(answer(start_response, "complete"))


def exits(environ, start_response):
    sys.exit(7)


def never_starts(environ, start_response):
    return [b"no client may see this"]


def returns(environ, start_response, what):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return {"none": None, "number": 7, "str": "text", "list_of_str": ["text"], "list_of_int": [1]}[what]


def bad_start(environ, start_response, what):
    calls = {
        "value_crlf": lambda: start_response("200 OK", [("X-A", "1\r\nX-Evil: 1")]),
        "value_lf": lambda: start_response("200 OK", [("X-A", "1\nX-Evil: 1")]),
        "value_nul": lambda: start_response("200 OK", [("X-A", "1\0")]),
        "name_crlf": lambda: start_response("200 OK", [("X-A: 1\r\nX-Evil", "1")]),
        "name_space": lambda: start_response("200 OK", [("X Evil", "1")]),
        "name_empty": lambda: start_response("200 OK", [("", "1")]),
        "name_bytes": lambda: start_response("200 OK", [(b"X-Evil", "1")]),
        "value_int": lambda: start_response("200 OK", [("X-Evil", 1)]),
        "value_not_latin": lambda: start_response("200 OK", [("X-Evil", "\u20ac")]),
        "status_crlf": lambda: start_response("200 OK\r\nX-Evil: 1", []),
        "status_number": lambda: start_response(200, []),
        "status_word": lambda: start_response("OK", []),
        "headers_none": lambda: start_response("200 OK", None),
        "no_arguments": lambda: start_response(),
    }
    calls[what]()
    return [b"no client may see this"]


PAGES = {name: f for name, f in globals().items() if isinstance(f, type(app)) and f.__module__ == __name__}
PAGES["environ"] = environ_dump
