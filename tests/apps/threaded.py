"""What shows how threads run an application: a path is the name of a function below."""

import contextvars
import json
import os
import subprocess
import sys
import threading
import time
from urllib.parse import parse_qs

HERE = os.getcwd()
PIECE = b"x" * 65536
BOUND = 60
local = threading.local()
context = contextvars.ContextVar("context", default=0)
crowds = {}
lock = threading.Lock()


def app(environ, start_response):
    page = PAGES[environ["PATH_INFO"].strip("/")]
    query = {k: v[0] for k, v in parse_qs(environ["QUERY_STRING"]).items()}
    return page(environ, start_response, **query)


def note(file, text):
    with open(os.path.join(HERE, file), "a") as f:
        f.write(text + "\n")


def answer(start_response, value):
    body = json.dumps(value).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


def facts():
    local.calls = getattr(local, "calls", 0) + 1
    context.set(context.get() + 1)
    thread = threading.current_thread()
    return {
        "name": thread.name,
        "ident": threading.get_ident(),
        "main": thread is threading.main_thread(),
        "calls": local.calls,
        "context": context.get(),
        "pid": os.getpid(),
    }


def meet(environ, start_response, n, name):
    """Answers once `n` calls are here at the same time."""
    with lock:
        crowd = crowds.setdefault(name, threading.Barrier(int(n)))
    crowd.wait(BOUND)
    return answer(start_response, facts())


def who(environ, start_response):
    return answer(start_response, {**facts(), "multithread": environ["wsgi.multithread"]})


def wait_for(file):
    for _ in range(BOUND * 100):
        if os.path.exists(os.path.join(HERE, file)):
            break
        time.sleep(0.01)


def wait(environ, start_response, file):
    note("waiting.txt", f"/wait?file={file}")
    wait_for(file)
    return answer(start_response, "waited")


def spin(environ, start_response):
    """Never lets another thread have the interpreter."""
    note("calls.txt", "spin")
    sys.setswitchinterval(1000)
    while True:
        pass


class Pieces:
    def __init__(self, n, name):
        self.n, self.made, self.name = n, 0, name

    def __iter__(self):
        return self

    def __next__(self):
        if self.made == self.n:
            raise StopIteration
        self.made += 1
        note("made.txt", self.name)
        return PIECE

    def close(self):
        note("closed.txt", self.name)


def stream(environ, start_response, n, name):
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    return Pieces(int(n), name)


def write(environ, start_response, n, name):
    send = start_response("200 OK", [("Content-Type", "application/octet-stream")])
    for _ in range(int(n)):
        send(PIECE)
        note("made.txt", name)
    return []


def slow_to_close(environ, start_response, file):
    class Closing(list):
        def close(self):
            wait(None, lambda *a: None, file)
            note("closed.txt", "slow_to_close")

    return Closing(answer(start_response, "said"))


def says_more_in_close(environ, start_response):
    send = start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "3")])

    class Closing(list):
        def close(self):
            send(b"more")

    return Closing([b"all"])


def child(environ, start_response):
    """A program that is started from a thread can be ended by a signal."""
    with subprocess.Popen(["sleep", str(BOUND)]) as process:
        process.terminate()
        return answer(start_response, process.wait(BOUND))


PAGES = {name: f for name, f in globals().items() if isinstance(f, type(app)) and f.__module__ == __name__}
