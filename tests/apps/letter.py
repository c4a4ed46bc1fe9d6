"""What PEP 3333 says of servers, asked for page by page: a path is the name of a function below.

Those under "Forbidden" break the PEP themselves, to see what the server makes of it; wsgiref's validator would not let
them through. The others are served with the validator around them by `validated`."""

import gzip
import io
import os
import random
import sys
import tempfile
import threading
from urllib.parse import parse_qs
from wsgiref.validate import validator

from threaded import answer, note, wait_for

HERE = os.getcwd()
TEXT = [("Content-Type", "text/plain")]


def app(environ, start_response):
    page = PAGES[environ["PATH_INFO"].strip("/")]
    return page(environ, start_response, **{k: v[0] for k, v in parse_qs(environ["QUERY_STRING"]).items()})


validated = validator(app)


# environ and its streams.


def own_environ(environ, start_response):
    """It is a dict, exactly, and this request's alone."""
    clean = "changed" not in environ and environ["wsgi.version"] == (1, 0)
    environ["changed"] = "yes"
    environ["wsgi.version"] = None
    return answer(start_response, [type(environ) is dict, clean])


def environ_types(environ, start_response):
    kinds = {k: type(v).__name__ for k, v in environ.items()}
    return answer(start_response, [kinds, [v for v in environ.values() if type(v) is str and any(map(wide, v))]])


def wide(char):
    return ord(char) > 255


def made_body(seed, size):
    """Lines of all lengths, the last one without an end."""
    r = random.Random(int(seed))
    data = bytearray()
    while len(data) < int(size):
        data += r.randbytes(r.choice([0, 1, 10, 100, 5000, 40000])).replace(b"\n", b"n") + b"\n" * r.randrange(3)
    return bytes(data[: int(size)])


def like_bytesio(environ, start_response, seed, size):
    """The same calls on wsgi.input and on a BytesIO of the same bytes; the first that differs, or null."""
    r = random.Random(int(seed) + 1)
    ours, theirs = environ["wsgi.input"], io.BytesIO(made_body(seed, size))
    for _ in range(200):
        n = r.choice([0, 1, 2, 7, 100, 8192, 50000, 200000])
        calls = [lambda f: f.read(n), lambda f: f.readline(), lambda f: f.readlines(n + 1), lambda f: next(iter(f), b"")]
        call = r.choice(calls)
        got, expected = call(ours), call(theirs)
        if got != expected:
            return answer(start_response, repr((got, expected)))
    return answer(start_response, None if ours.read(10_000_000) == theirs.read() else "the rest")


def errors(environ, start_response):
    stream = environ["wsgi.errors"]
    stream.write("written\n")
    stream.writelines(["one of two\n", "two of two\n"])
    stream.write("flushed")
    stream.flush()
    return answer(start_response, None)


# start_response and what comes back.


def changed_later(environ, start_response):
    """What the application does to its list afterwards is its own affair."""
    headers = [("X-Before", "1"), *TEXT]
    start_response("200 OK", headers)
    headers[:] = [("X-After", "1")]
    return [b"x"]


def iterable(environ, start_response, kind):
    class Old:
        def __getitem__(self, i):
            return [b"a", b"", b"b"][i]

    made = {
        "list": lambda: [b"a", b"", b"b"],
        "tuple": lambda: (b"a", b"b"),
        "generator": lambda: (c for c in [b"", b"a", b"", b"b", b""]),
        "iterator": lambda: iter([b"a", b"b"]),
        "map": lambda: map(bytes, [b"a", b"b"]),
        "dict": lambda: {b"a": 1, b"b": 2},
        "old": Old,
        "subclass": lambda: type("L", (list,), {})([b"a", b"b"]),
        "empty_list": lambda: [],
        "empty_tuple": lambda: (),
        "empty_generator": lambda: iter(()),
        "empty_pieces": lambda: [b""] * 10000,
        "many": lambda: [b"a"] * 10000 + [b"b"],
        "large": lambda: [b"a" * 1_000_000, b"b" * 3_000_000],
    }[kind]()
    start_response("200 OK", list(TEXT))
    return made


def writes(environ, start_response):
    send = start_response("200 OK", list(TEXT))
    send(b"a")
    send(b"b" * 100_000)
    return [b"c"]


def replaced(environ, start_response):
    """The head has not gone out: another one takes its place."""
    start_response("200 OK", [*TEXT, ("X-First", "1")])
    try:
        raise LookupError("meant to be")
    except LookupError:
        start_response("404 Not Found", [*TEXT, ("X-Second", "1")], sys.exc_info())
    return [b"second"]


def wrapped(environ, start_response, kind):
    """Through wsgi.file_wrapper; made.bin has 300,000 bytes."""
    path = os.path.join(HERE, "made.bin")

    class Reader:
        def __init__(self, f):
            self.read = f.read

    class Moved(Reader):
        """Has a descriptor, but is no file of its own."""

        def __init__(self, f):
            super().__init__(f)
            self.fileno = f.fileno

    class Told(Moved):
        """Looks like a file in every way."""

        def __init__(self, f):
            super().__init__(f)
            self.tell = f.tell
            self.read = lambda n: note("reads.txt", "told") or f.read(n)

    class Masked(io.FileIO):
        def read(self, n=-1):
            return bytes(b ^ 1 for b in super().read(n))

    def seeked(f, n):
        f.seek(n)
        return f

    def pipe():
        r, w = os.pipe()
        threading.Thread(target=lambda: (os.write(w, b"piped"), os.close(w))).start()
        return os.fdopen(r, "rb")

    def spooled(size):
        f = tempfile.SpooledTemporaryFile(max_size=1000)
        f.write(b"s" * size)
        return seeked(f, 0)

    def packed():
        with gzip.open(path + ".gz", "wb") as f:
            f.write(b"unpacked" * 1000)
        return gzip.open(path + ".gz", "rb")

    f = {
        "file": lambda: open(path, "rb"),
        "raw": lambda: open(path, "rb", buffering=0),
        "read_ahead": lambda: seeked(open(path, "rb"), 0),
        "offset": lambda: seeked(open(path, "rb"), 200_000),
        "at_end": lambda: seeked(open(path, "rb"), 300_000),
        "behind_end": lambda: seeked(open(path, "rb"), 400_000),
        "empty": lambda: open(os.devnull, "rb"),
        "bytesio": lambda: io.BytesIO(b"in memory" * 10_000),
        "reader": lambda: Reader(open(path, "rb")),
        "told": lambda: Told(open(path, "rb")),
        "masked": lambda: Masked(path),
        "moved": lambda: Moved(open(path, "rb")),
        "pipe": pipe,
        "gzip": packed,
        "spooled_in_memory": lambda: spooled(10),
        "spooled_in_file": lambda: spooled(100_000),
        "temporary": lambda: seeked(tempfile.TemporaryFile(), 0),
        "random": lambda: open(path, "r+b"),
    }[kind]()
    if kind == "read_ahead":
        f.read(3)
    start_response("200 OK", list(TEXT))
    return environ["wsgi.file_wrapper"](f, 8192)


def wrapped_range(environ, start_response, offset, length):
    f = open(os.path.join(HERE, "made.bin"), "rb")
    f.seek(int(offset))
    start_response("206 Partial Content", [*TEXT, ("Content-Length", length)])
    return environ["wsgi.file_wrapper"](f)


def wrapped_in_middleware(environ, start_response):
    start_response("200 OK", list(TEXT))
    wrapper = environ["wsgi.file_wrapper"](io.BytesIO(b"abcdef"), 2)
    return [piece.upper() for piece in wrapper]


class Closing:
    """Notes in closed.txt each time that it is closed."""

    def __init__(self, name, pieces):
        self.name, self.pieces = name, iter(pieces)

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.pieces)

    def close(self):
        note("closed.txt", self.name)


def closing(environ, start_response, name, kind):
    def fails():
        yield b"one"
        raise RuntimeError("in the midst")

    def endless():
        while True:
            yield b"x" * 65536

    pieces = {"whole": lambda: [b"one", b"two"], "none": lambda: [], "fails": fails, "endless": endless}[kind]()
    start_response("200 OK", list(TEXT))
    return Closing(name, pieces)


# Forbidden.


def closing_and(environ, start_response, name, kind):
    class Noted(Closing):
        def __iter__(self):
            if kind == "no_iterator":
                raise RuntimeError("no iterator")
            return self

        def close(self):
            super().close()
            if kind == "fails_in_close":
                raise RuntimeError("in close")

    if kind != "never_starts":
        start_response("200 OK", [*TEXT, ("Content-Length", "100")] if kind == "too_short" else list(TEXT))
    return Noted(name, ["text"] if kind == "no_bytes" else [b"one"])


def whole_then(environ, start_response, name, end):
    """As many bytes as Content-Length says; the rest is nobody's business."""

    def pieces():
        yield b"whole"
        wait_for(name)
        if end == "fails":
            raise RuntimeError("after the whole")
        if end == "more":
            yield b"more"
            yield b"and more"
        if end == "restarts":
            try:
                raise LookupError("after the whole")
            except LookupError:
                start_response("500 Sorry", list(TEXT), sys.exc_info())

    start_response("200 OK", [*TEXT, ("Content-Length", "5")])
    return Closing(name, pieces())


def head_is_gone(environ, start_response, by):
    """start_response with exc_info after the head went out: the exception comes back."""
    send = start_response("200 OK", list(TEXT))
    if by == "write":
        send(b"part\n")
    else:
        yield b"part\n"
    try:
        raise LookupError("the one that was handed over")
    except LookupError:
        start_response("500 Sorry", list(TEXT), sys.exc_info())
    yield b"never seen"


def raises(environ, start_response, what, where):
    class BadStr(Exception):
        def __str__(self):
            raise RuntimeError("no text")

    class Rude(BaseException):
        pass

    def deep(n):
        return deep(n + 1)

    def fail():
        if what == "RecursionError":
            deep(0)
        raise {
            "SystemExit": SystemExit(3),
            "KeyboardInterrupt": KeyboardInterrupt(),
            "MemoryError": MemoryError("all of it"),
            "BadStr": BadStr("x"),
            "Rude": Rude("x"),
            "GeneratorExit": GeneratorExit(),
            "StopIteration": StopIteration("x"),
            "Surrogate": ValueError("\ud800 \0 \n"),
        }[what]

    class Fails:
        def __iter__(self):
            return self

        def __next__(self):
            fail()

        def close(self):
            note("closed.txt", f"{what} {where}")
            if where == "close":
                fail()

    if where == "call":
        fail()
    start_response("200 OK", list(TEXT))
    if where == "generator":
        return (fail() for _ in [1])
    if where == "close":
        return type("Whole", (Fails,), {"__iter__": lambda self: iter([b"whole"])})()
    return Fails()


def elsewhere(environ, start_response, what):
    """start_response and write called by another thread, while this one is in the midst of an answer."""
    send = start_response("200 OK", list(TEXT))
    found = []
    stop = threading.Event()

    def meddle():
        while not found or not stop.is_set():
            try:
                if what == "write":
                    send(b"meddled" * 1000)
                else:
                    start_response("500 Meddled", [], (LookupError, LookupError("meddled"), None))
                found.append("nothing")
            except Exception as e:
                found.append(type(e).__name__)

    thread = threading.Thread(target=meddle)
    thread.start()
    for _ in range(100):
        yield b"x" * 10_000
    stop.set()
    thread.join()
    yield ",".join(sorted(set(found))).encode()


PAGES = {name: f for name, f in globals().items() if isinstance(f, type(app)) and f.__module__ == __name__}
