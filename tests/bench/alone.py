"""alone.py MODULE:NAME COUNT [FILE] - processor time that the application takes by itself: microseconds a request.

It is called in a loop with the environ that a server would give it; FILE is a request body."""

import importlib
import io
import sys
import time

BASE = {
    "REQUEST_METHOD": "GET",
    "SCRIPT_NAME": "",
    "PATH_INFO": "/",
    "QUERY_STRING": "",
    "SERVER_NAME": "127.0.0.1",
    "SERVER_PORT": "8000",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "SERVER_SOFTWARE": "alone",
    "REMOTE_ADDR": "127.0.0.1",
    "REMOTE_PORT": "40000",
    "HTTP_HOST": "127.0.0.1:8000",
    "HTTP_USER_AGENT": "h2load",
    "wsgi.version": (1, 0),
    "wsgi.url_scheme": "http",
    "wsgi.errors": sys.stderr,
    "wsgi.multithread": False,
    "wsgi.multiprocess": False,
    "wsgi.run_once": False,
}


def start_response(status, headers, exc_info=None):
    return None


def main():
    module, attribute = sys.argv[1].split(":")
    app = getattr(importlib.import_module(module), attribute)
    count = int(sys.argv[2])
    body = b""
    if len(sys.argv) > 3:
        with open(sys.argv[3], "rb") as f:
            body = f.read()
        BASE.update(REQUEST_METHOD="POST", CONTENT_LENGTH=str(len(body)))

    def call():
        result = app({**BASE, "wsgi.input": io.BytesIO(body)}, start_response)
        for _ in result:
            pass
        if hasattr(result, "close"):
            result.close()

    for _ in range(max(count // 10, 10)):
        call()
    start = time.process_time()
    for _ in range(count):
        call()
    print((time.process_time() - start) / count * 1e6)


main()
