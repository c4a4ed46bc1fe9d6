"""Requests of every kind, and how much Python holds: a path is the name of a function below."""

import gc
import io
import json
import os
import sys

HERE = os.getcwd()
TEXT = [("Content-Type", "text/plain")]
kept = []


def app(environ, start_response):
    return PAGES[environ["PATH_INFO"].strip("/")](environ, start_response)


def answer(start_response, body):
    start_response("200 OK", [*TEXT, ("Content-Length", str(len(body)))])
    return [body]


def held(environ, start_response):
    """References where this Python counts them, else blocks of memory; objects; resident kilobytes."""
    kept.clear()
    gc.collect()
    count = getattr(sys, "gettotalrefcount", sys.getallocatedblocks)()
    with open("/proc/self/statm") as f:
        resident = int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024
    return answer(start_response, json.dumps([count, len(gc.get_objects()), resident]).encode())


def small(environ, start_response):
    return answer(start_response, b"Hello, World!")


def large(environ, start_response):
    return answer(start_response, bytes(20000))


def pieces(environ, start_response):
    start_response("200 OK", list(TEXT))
    return (bytes(n) for n in (0, 10, 2000, 5000))


def write(environ, start_response):
    send = start_response("200 OK", list(TEXT))
    send(b"written")
    send(bytes(3000))
    return []


def file(environ, start_response):
    start_response("200 OK", list(TEXT))
    return environ["wsgi.file_wrapper"](open(__file__, "rb"))


def in_memory(environ, start_response):
    start_response("200 OK", list(TEXT))
    return environ["wsgi.file_wrapper"](io.BytesIO(bytes(20000)), 8192)


def body(environ, start_response):
    stream = environ["wsgi.input"]
    found = [stream.readline(), stream.read(100), *stream.readlines(1000), next(iter(stream), b""), stream.read()]
    return answer(start_response, b"%d" % sum(map(len, found)))


def errors(environ, start_response):
    environ["wsgi.errors"].write("part of a line, ")
    environ["wsgi.errors"].writelines(["and its end\n"])
    return answer(start_response, b"said")


def headers(environ, start_response):
    start_response("200 OK", [*TEXT, ("Connection", "close"), *((f"X-{n}", "v" * n) for n in range(50))])
    return (b"x",)


def replaced(environ, start_response):
    start_response("200 OK", list(TEXT))
    try:
        raise LookupError("meant to be")
    except LookupError:
        start_response("404 Not Found", list(TEXT), sys.exc_info())
    return [b"second"]


def keeps(environ, start_response):
    """What belongs to the request outlives it."""
    kept[:] = [environ, environ["wsgi.input"], start_response, start_response("200 OK", list(TEXT))]
    return [b"kept"]


def cycle(environ, start_response):
    environ["itself"] = environ
    environ["wrapper"] = environ["wsgi.file_wrapper"](io.BytesIO())
    return answer(start_response, b"x")


def fails(environ, start_response):
    raise RuntimeError("fails as asked")


def fails_in_start(environ, start_response):
    start_response("200 OK", [("X-Bad", "\r\n")])


def fails_late(environ, start_response):
    start_response("200 OK", list(TEXT))
    yield bytes(2000)
    raise RuntimeError("fails as asked")


def too_short(environ, start_response):
    start_response("200 OK", [("Content-Length", "100000")])
    return [bytes(2000)]


def too_long(environ, start_response):
    start_response("200 OK", [("Content-Length", "10")])
    return [bytes(2000), bytes(2000)]


def no_bytes(environ, start_response):
    start_response("200 OK", list(TEXT))
    return ["text"]


def endless(environ, start_response):
    start_response("200 OK", list(TEXT))
    while True:
        yield bytes(5000)


PAGES = {name: f for name, f in globals().items() if isinstance(f, type(app)) and f.__module__ == __name__}
