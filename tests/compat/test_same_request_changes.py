"""pre_request: what a hook changes in a request is what the application gets."""

import json
import socket

import pytest

from harness import BOUND
from sides import same
from wire import Connection

# A request says in X-Changes what the hook does to it.
CHANGES = """
def pre_request(worker, req):
    for change in dict(req.headers).get("X-CHANGES", "").split():
        CHANGES[change](req)

def mount(req):
    req.headers.append(("SCRIPT_NAME", "/hello"))

def unmount(req):
    req.headers = [(name, value) for name, value in req.headers if name != "SCRIPT_NAME"]

def remove(req):
    for header in list(req.headers):
        if header[0] in ("X-SECRET", "CONTENT-TYPE"):
            req.headers.remove(header)

def replace(req):
    req.headers = [(name, "mine" if name == "X-SECRET" else value) for name, value in req.headers]

def path(req):
    req.path = "/caf%C3%A9/b%20c"

def body(req):
    import io
    req.body = io.BytesIO(b"another")

CHANGES = {
    "https": lambda req: setattr(req, "scheme", "https"),
    "append": lambda req: req.headers.append(("X-FORWARDED-PROTO", "https")),
    "again": lambda req: req.headers.extend([("X-SECRET", "more"), ("CONTENT-TYPE", "text/plain")]),
    "mixed": lambda req: req.headers.append(("X-Mixed", "1")),
    "remove": remove,
    "replace": replace,
    "path": path,
    "target": lambda req: (setattr(req, "uri", "/u?u=1"), setattr(req, "query", "q=1")),
    "method": lambda req: setattr(req, "method", "PUT"),
    "address": lambda req: setattr(req, "remote_addr", ("9.9.9.9", 9)),
    "body": body,
    "mount": mount,
    "unmount": unmount,
    "absolute": lambda req: req.headers.append(("X-PATH", req.path)),
    "own": lambda req: setattr(req, "started", 1),
}
"""
SHOWN = """
import json

def app(environ, start_response):
    keys = [k for k in environ if k.startswith(("HTTP_", "CONTENT_", "REQUEST_", "SERVER_P", "SERVER_N"))]
    keys += ["wsgi.url_scheme", "PATH_INFO", "SCRIPT_NAME", "QUERY_STRING", "RAW_URI", "REMOTE_ADDR"]
    shown = {k: environ[k] for k in keys} | {"body": environ["wsgi.input"].read().decode()}
    body = json.dumps(shown).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
"""


def unix(path):
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(BOUND)
    sock.connect(str(path))
    return Connection(sock)


@pytest.mark.parametrize("listens", ["tcp", "unix"])
def test_changes_of_a_request_reach_the_application(both, listens):
    changes = [
        "own", "https", "append", "again", "mixed", "remove", "replace", "path", "target", "method", "address", "body",
        "mount", "mount path", "unmount", "remove append https target", "absolute",
    ]  # fmt: skip

    def scenario(side):
        (side.folder / "shown.py").write_text(SHOWN)
        s = side.server("shown:app", "-b", "unix:x.sock", config=CHANGES)
        s.tracebacks_expected = True  # of a path beside the mount
        facts = {}
        for change in changes:
            mounted = ["SCRIPT_NAME: /hello"] if change == "unmount" else []
            fields = [f"X-Changes: {change}", "X-Secret: s", "Content-Type: text/html", *mounted]
            target = "http://localhost" * (change == "absolute") + "/hello/%C3%A4?a=1"
            with s.connect() if listens == "tcp" else unix(side.folder / "x.sock") as c:
                reply = c.request("POST", target, fields, b"12345")
            facts[change] = reply.status, reply.status == 200 and json.loads(reply.text)
            if listens == "tcp" and reply.status == 200:
                del facts[change][1]["SERVER_PORT"]
        return facts

    seen = both(scenario)
    same(seen)
    assert "HTTP_X_SECRET" not in seen.cwsgi["remove"][1]
    assert seen.cwsgi["https"][1]["wsgi.url_scheme"] == "https"
    assert seen.cwsgi["mount"][1]["SCRIPT_NAME"] == "/hello" and seen.cwsgi["mount path"][0] == 500


def test_access_log_of_a_changed_request(both):
    """Without a logger of one's own it is written by C, which has what was received."""
    row = "%(m)s, %(U)s, %(q)s, %(r)s and %({…}i)s of a request that pre_request changes"

    def scenario(side):
        atoms = {"m": "m", "U": "U", "q": "q", "field": "{x-secret}i", "key": "{HTTP_X_SECRET}e", "path": "{PATH_INFO}e"}
        form = "|".join(f"%({atom})s" for atom in atoms.values())
        s = side.server("probe:app", "--access-logformat", form, config=CHANGES)
        s.get("/hello?a=1", "X-Changes: replace path target method", "X-Secret: s")
        (line,) = s.wait_access(".", 1)
        return dict(zip(atoms, line.split("|")))

    same(both(scenario), **dict.fromkeys(("m", "U", "q", "field"), row))
