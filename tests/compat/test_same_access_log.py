"""The access log: the same line, for every atom."""

import base64
import re

import pytest

from sides import must_be_documented, same

ATOMS = [f"%({a})s" for a in "h l u t r s m U q H b B f a T D M L p".split()]
FIELDS = """
    {x-own}i {X-Own}i {cookie}i {x-twice}i {x-none}i {host}i {user-agent}i {content-length}i {x_under}i
    {content-type}o {Content-Length}o {x-none}o {server}o {date}o {connection}o
    {REQUEST_METHOD}e {request_method}e {PATH_INFO}e {QUERY_STRING}e {HTTP_X_OWN}e {REMOTE_ADDR}e {SERVER_PROTOCOL}e
    {RAW_URI}e {x-none}e {wsgi.url_scheme}e {SCRIPT_NAME}e
""".split()
EVERYTHING = ATOMS + [f"%({f})s" for f in FIELDS] + ["%(nonsense)s", "100%%", "%(h)15s.", "%(s)-6s.", "%(m)2s", "%({x-none}i)03s", "%(q)1s"]

# What is different in every run; its form must be the same.
FORMS = [
    (r"\[\d\d/[A-Z][a-z][a-z]/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\]", "TIME"),
    (r"[A-Z][a-z][a-z], \d\d [A-Z][a-z][a-z] \d{4} \d\d:\d\d:\d\d GMT", "DATE"),
    (r"<\d+>", "PID"),
    (r"\b\d\.\d{6}$", "SECONDS.MICROSECONDS"),
    (r"gunicorn|cwsgi", "PRODUCT"),
]

USER = ["Authorization: Basic " + base64.b64encode(b"zoe:secret").decode()]
MORE = ["Referer: http://a.test/?q=\"x\"", "User-Agent: agent \\ \"1\"", "X-Own: own", "X-Twice: a", "X-Twice: b"]
REQUESTS = {
    "get": ("GET", "/hello", []),
    "query": ("GET", "/hello?a=1&b=%22", ["Cookie: a=b; c=d", *MORE[2:]]),
    "post": ("POST", "/echo?a=1", [*USER, *MORE[2:]], b"12345"),
    "head": ("HEAD", "/hello", []),
    "nothing": ("GET", "/status?line=204+No+Content", []),
    "not found": ("GET", "/status?line=404+Not+Found", []),
    "escaped path": ("GET", "/hello/%C3%A4%20b", ["User-Agent: curl/7.88.1"]),
    "chunked": ("GET", "/pieces", []),
    "absolute": ("GET", "http://localhost/hello", []),
    "http/1.0": ("GET", "/hello", [], None, "HTTP/1.0"),
}


def forms(line, port):
    values = line.replace(f":{port}", ":PORT").split("|")
    for pattern, name in FORMS:
        values = [re.sub(pattern, name, v) for v in values]
    return values


@pytest.fixture
def logged(both):
    """logged(requests, *args): Both of the values of each request's line."""

    def scenario(side, requests, args):
        s = side.server("probe:app", *args)
        lines = []
        for n, request in enumerate(requests):
            s.request(*request)
            lines.append(forms(s.wait_access(".", n + 1)[n], s.port))
        s.stop()
        return lines

    return lambda requests, *args: both(lambda side: scenario(side, requests, args))


def test_default_format(logged):
    theirs, ours = logged(REQUESTS.values())
    assert ours == theirs
    assert ours[0] == ['127.0.0.1 - - TIME "GET /hello HTTP/1.1" 200 13 "-" "-"']


def test_every_atom(logged):
    seen = logged(REQUESTS.values(), "--access-logformat", "|".join(EVERYTHING))
    seen_atoms = set()
    times = [EVERYTHING.index(f"%({atom})s") for atom in "TDM"]
    for name, theirs, ours in zip(REQUESTS, *seen):
        assert len(theirs) == len(ours) == len(EVERYTHING)
        for i in times:
            assert theirs[i].isdigit() and ours[i].isdigit()
            theirs[i] = ours[i] = "NUMBER"
        differ = {atom: (g, c) for atom, g, c in zip(EVERYTHING, theirs, ours) if g != c}
        purpose = {
            "%({Content-Length}o)s": "%({content-length}o)s of an answer whose length cwsgi found out",
            "%(U)s": "%(U)s of an escaped path",
        }
        assert set(differ) <= set(purpose), (name, differ)
        must_be_documented(purpose[atom] for atom in differ)
        seen_atoms |= set(differ)
    assert seen_atoms == set(purpose), "they do not differ any more"


TOLD = """
access_log_format = "%(s)s %({content-length}o)s %({content-type}o)s"
logconfig_dict = {
    "version": 1,
    "root": {"level": "ERROR", "handlers": ["file"]},
    "handlers": {"file": {"class": "logging.FileHandler", "filename": "records.txt"}},
    "loggers": {"gunicorn.access": {"level": "INFO", "handlers": ["file"], "propagate": False}},
}

def post_request(worker, req, environ, resp):
    with open("hooks.txt", "a") as f:
        print(resp.status_code, sorted(resp.headers), file=f)
"""


def test_length_that_a_logger_of_python_and_a_hook_are_told(both):
    paths = ["/hello", "/cookies", "/declared?length=2&body=ok", "/pieces"]

    def scenario(side):
        s = side.server("probe:app", config=TOLD)
        for path in paths:
            assert s.get(path).status == 200
        assert s.request("HEAD", "/hello").status == 200
        s.stop()
        return {name: (side.folder / name).read_text().splitlines() for name in ("records.txt", "hooks.txt")}

    seen = both(scenario)
    same(seen)
    assert seen.cwsgi["records.txt"][0] == "200 13 text/plain"
    assert "('Content-Length', '13')" in seen.cwsgi["hooks.txt"][0]


USER_APP = """
class Odd:
    def __str__(self):
        raise ValueError

def app(environ, start_response):
    environ["REMOTE_USER"] = "zo\u00eb"
    environ["shop.user_id"] = 7
    environ["PATH_INFO"] = "/elsewhere"
    environ["odd"] = Odd()
    del environ["QUERY_STRING"]
    start_response("200 OK", [("Content-Length", "2")])
    yield b"o"
    environ["late"] = '"x'
    yield b"k"
"""


@pytest.mark.parametrize("threads", ["1", "2"])
def test_variables_that_the_application_sets(both, threads):
    names = ["REMOTE_USER", "remote_user", "shop.user_id", "PATH_INFO", "QUERY_STRING", "late", "HTTP_HOST"]

    def scenario(side):
        (side.folder / "user.py").write_text(USER_APP)
        log_format = "|".join(f"%({{{name}}}e)s" for name in names)
        s = side.server("user:app", "--threads", threads, "--access-logformat", log_format)
        assert s.get("/?a=1", "Host: x").text == "ok"
        line = s.wait_access(".")[0]
        s.stop()
        return dict(zip(names, line.split("|")))

    seen = both(scenario)
    same(seen)
    assert seen.cwsgi == {
        "REMOTE_USER": "zo\u00eb", "remote_user": "zo\u00eb", "shop.user_id": "7", "PATH_INFO": "/elsewhere",
        "QUERY_STRING": "-", "late": '\\"x', "HTTP_HOST": "x",
    }  # fmt: skip


def test_variable_that_cannot_be_text(server, folder):
    (folder / "user.py").write_text(USER_APP)
    s = server("user:app", "--access-logformat", "%({odd}e)s %({shop.user_id}e)s", folder=folder)
    assert s.get("/").text == "ok"
    assert s.wait_access(".") == ["- 7"]


def test_escapes(logged):
    (theirs,), (ours,) = logged([("GET", "/hello", MORE)])
    assert r"agent \ \"1" in theirs[0] and r"agent \x5C \"1" in ours[0]
    assert theirs[0].replace("\\ ", r"\x5C ") == ours[0]
    must_be_documented(["escapes in the access log"])


@pytest.mark.parametrize("sent", [b"FOO\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET /%s HTTP/1.1\r\n\r\n" % (b"a" * 5000)])
def test_request_that_cannot_be_understood(both, sent):
    def scenario(side):
        s = side.server("probe:app")
        s.send_raw(sent)
        s.get("/after")
        s.wait_access("/after")
        warned = [line for line in s.log().splitlines() if "[WARNING] Invalid request from ip=127.0.0.1: " in line]
        s.stop()
        return {"lines in the access log": len(s.access()), "warned": len(warned)}

    seen = both(scenario)
    same(seen, **{"lines in the access log": "a request that is refused"})
    assert seen.cwsgi == {"lines in the access log": 2, "warned": 1}
