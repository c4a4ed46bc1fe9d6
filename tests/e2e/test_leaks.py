"""Nothing is left over of a request. tools/leaks runs this for long, with a Python that counts its references."""

import json
import os

import pytest

from harness import SANITIZED, THREADED, ours, wait_until
from wire import Broken, encode

pytestmark = ours
COUNT = int(os.environ.get("CWSGI_TEST_LEAKS", "400"))  # requests of each kind
BATCH = 50
LINES = b"line one\nline two\n" * 200

# Kind: method, page, headers, body; whether the connection goes on, ends with the answer, or the client cuts it.
KINDS = {
    "small": ("GET", "small", [], None, "goes on"),
    "http_1_0": ("GET", "small", [], None, "ends"),
    "head": ("HEAD", "large", [], None, "goes on"),
    "large": ("GET", "large", [], None, "goes on"),
    "pieces": ("GET", "pieces", [], None, "goes on"),
    "write": ("GET", "write", [], None, "goes on"),
    "file": ("GET", "file", [], None, "goes on"),
    "in_memory": ("GET", "in_memory", [], None, "goes on"),
    "body": ("POST", "body", ["Content-Type: text/plain"], LINES, "goes on"),
    "chunked_body": ("POST", "body", [], [LINES] * 3, "goes on"),
    "body_in_a_file": ("POST", "body", [], LINES * 50, "goes on"),
    "unread_body": ("POST", "small", [], LINES, "goes on"),
    "errors": ("GET", "errors", [], None, "goes on"),
    "headers": ("GET", "headers?a=b", ["X-Odd: 1", "X-Odd: 2", "Cookie: a=b", f"X-Long: {'l' * 500}"], None, "goes on"),
    "replaced": ("GET", "replaced", [], None, "goes on"),
    "keeps": ("GET", "keeps", [], None, "goes on"),
    "cycle": ("GET", "cycle", [], None, "goes on"),
    "too_long": ("GET", "too_long", [], None, "goes on"),
    "fails": ("GET", "fails", [], None, "ends"),
    "fails_in_start": ("GET", "fails_in_start", [], None, "ends"),
    "fails_late": ("GET", "fails_late", [], None, "breaks"),
    "too_short": ("GET", "too_short", [], None, "ends"),
    "no_bytes": ("GET", "no_bytes", [], None, "ends"),
    "client_leaves": ("GET", "endless", [], None, "is cut"),
    "refused": ("GET", "small", ["Host: a b"], None, "ends"),
}


@pytest.fixture(scope="module", params=[pytest.param(1, marks=pytest.mark.skipif(THREADED, reason="threads")), 3])
def site(request, module_server):
    s = module_server("leaks:app", "-w", "1", "--threads", request.param)
    s.tracebacks_expected = True
    return s


def send(site, kind, count):
    method, page, headers, body, how = KINDS[kind]
    request = encode(method, f"/{page}", headers, body, "HTTP/1.0" if kind == "http_1_0" else "HTTP/1.1")
    if how == "goes on":
        with site.connect() as c:
            for _ in range(count // BATCH):
                n = BATCH if len(request) < 1000 else 1
                for _ in range(BATCH // n):
                    c.send(request * n)
                    for _ in range(n):
                        assert c.reply(method).status in (200, 404)
        return
    for _ in range(count):
        with site.connect() as c:
            c.send(request)
            if how == "is cut":
                c.take(100)
            elif how == "breaks":
                with pytest.raises((Broken, ConnectionResetError)):
                    c.reply(method)
            else:
                assert c.reply(method).status in (200, 400, 500)


# The address sanitizer keeps what was freed for a while: 256 MiB of it.
RESIDENT_KIB = (1 << 19) if SANITIZED else 4096


def held(site):
    with site.connect() as c:
        for _ in range(20):  # every thread has its own small change
            c.get("/held")
        return min(json.loads(c.get("/held").body) for _ in range(5))


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_left_of(site, kind):
    """Whatever a request leaves would be there as often as there were requests; caches fill up once."""
    send(site, kind, max(COUNT // 4, BATCH))
    before = held(site)
    send(site, kind, COUNT)
    more = []

    def little():  # what is still on its way goes in a moment, a leak never
        more[:] = [a - b for a, b in zip(held(site), before)]
        return more[0] < 300 + COUNT / 50 and more[1] < 20 + COUNT / 50 and more[2] < RESIDENT_KIB

    try:
        wait_until(little, "it is gone")
    finally:
        print(f"{kind}: {COUNT} requests, {more[0]:+} references or blocks, {more[1]:+} objects, {more[2]:+} KiB resident")
