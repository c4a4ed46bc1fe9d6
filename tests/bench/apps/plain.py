"""Applications that do next to nothing, so that what is measured is the server."""

import os
import tempfile
import time

HELLO = b"Hello, World!"
MEGABYTE = bytes(range(256)) * 4096
PIECE = b"x" * 1024
PIECES = 50


def _start(start_response, length=None):
    headers = [("Content-Type", "text/plain")]
    if length is not None:
        headers.append(("Content-Length", str(length)))
    start_response("200 OK", headers)


def hello(environ, start_response):
    _start(start_response, len(HELLO))
    return [HELLO]


def echo(environ, start_response):
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    _start(start_response, len(body))
    return [body]


def megabyte(environ, start_response):
    _start(start_response, len(MEGABYTE))
    return [MEGABYTE]


def pieces(environ, start_response):
    _start(start_response)
    return (PIECE for _ in range(PIECES))


def file(environ, start_response):
    f = open(os.environ["BENCH_FILE"], "rb")
    _start(start_response, os.fstat(f.fileno()).st_size)
    wrapper = environ.get("wsgi.file_wrapper")
    return wrapper(f, 65536) if wrapper else iter(lambda: f.read(65536), b"")


def sleeper(environ, start_response):
    time.sleep(0.01)
    return hello(environ, start_response)
