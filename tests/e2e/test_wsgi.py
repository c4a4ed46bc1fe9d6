"""What PEP 3333 promises to an application."""

import http.client
import json
import re

import pytest

from harness import IS_GUNICORN, THREADED, folder_with_apps, free_port, ours
from wire import encode


def environ_of(site, method="GET", target="/environ", headers=(), body=None, version="HTTP/1.1"):
    return json.loads(site.request(method, target, headers, body, version).text)


def values(environ):
    return {k: v for k, (_, v) in environ.items()}


def environ_by(host, port, method, target):
    connection = http.client.HTTPConnection(host, port, timeout=10)
    connection.request(method, target)
    environ = json.loads(connection.getresponse().read())
    connection.close()
    return values(environ)


@ours
def test_environ_is_that_of_its_request_whatever_came_before(server, certificate):
    others = [("127.0.0.1", free_port()), ("127.0.0.2", free_port())]
    binds = [a for host, port in others for a in ("-b", f"http://{host}:{port}")]
    site = server("probe:app", "-w", "1", *binds, tls=certificate)
    names = ["REQUEST_METHOD", "QUERY_STRING", "SERVER_NAME", "SERVER_PORT", "wsgi.url_scheme"]
    for i in range(12):
        method, query = ["GET", "DELETE", "POST"][i % 3], ["", "a=b"][i % 2]
        target = f"/environ?{query}"
        got = values(environ_of(site, method, target))
        assert [got[n] for n in names] == [method, query, "127.0.0.1", str(site.port), "https"]
        for host, port in others[: i % 3]:
            got = environ_by(host, port, method, target)
            assert [got[n] for n in names] == [method, query, host, str(port), "http"]


def test_environ_of_a_plain_get(site):
    environ = environ_of(site, target="/environ/a?x=1&y=2", headers=["User-Agent: test/1", "Connection: close"])
    got = values(environ)
    expected = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/environ/a",
        "QUERY_STRING": "x=1&y=2",
        "RAW_URI": "/environ/a?x=1&y=2",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_PORT": str(site.port),
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": "localhost",
        "HTTP_USER_AGENT": "test/1",
        "wsgi.url_scheme": "https" if site.tls else "http",
        "wsgi.version": [1, 0],
        "wsgi.run_once": False,
        "wsgi.multiprocess": False,
        "wsgi.input_terminated": True,
    }
    assert {k: got.get(k) for k in expected} == expected
    assert got["SERVER_SOFTWARE"].startswith("gunicorn/")
    assert got["SERVER_NAME"]
    assert got["REMOTE_PORT"].isdigit()
    for key in ("wsgi.input", "wsgi.errors", "wsgi.file_wrapper", "wsgi.multithread"):
        assert key in environ
    assert not got.get("CONTENT_LENGTH")


def test_environ_values_are_plain_strings(site):
    for key, (kind, _) in environ_of(site, headers=["X-A: 1"]).items():
        if not key.startswith(("wsgi.", "gunicorn.")):
            assert kind == "str", key


def test_requests_are_read_the_same_in_every_locale(server, folder, locales):
    """In a Turkish one, I is not the capital of i."""
    (folder / "turkish.py").write_text(
        "import locale\n"
        "locale.setlocale(locale.LC_ALL, 'tr_TR.UTF-8')\n"
        "def app(environ, start_response):\n"
        "    start_response('200 OK', [])\n"
        "    return [str('HTTP_X_API_ID' in environ).encode()]\n"
    )
    s = server("turkish:app", folder=folder, env=locales)
    headers = ["X-Api-Id: 1", "Authorization: BASIC YWRhOmxvdmVsYWNl"]
    assert s.request("GET", "http://localhost/?i", headers).text == "True"
    s.wait_access(r" ada \[")


def test_environ_of_a_post(site):
    got = values(environ_of(site, "POST", headers=["Content-Type: text/x; a=b"], body=b"abc"))
    assert (got["CONTENT_TYPE"], got["CONTENT_LENGTH"], got["REQUEST_METHOD"]) == ("text/x; a=b", "3", "POST")
    assert not {"HTTP_CONTENT_LENGTH", "HTTP_CONTENT_TYPE"} & set(got)


@pytest.mark.parametrize("workers", [1, 2])
def test_environ_says_how_it_is_run(server, workers):
    got = values(environ_of(server("probe:app", "-w", workers)))
    assert (got["wsgi.multithread"], got["wsgi.multiprocess"]) == (THREADED, workers > 1)


@pytest.mark.parametrize(
    "target, path, query",
    [
        ("/environ/caf%C3%A9", "/environ/caf\xc3\xa9", ""),
        ("/environ/a%2Fb%20c", "/environ/a/b c", ""),
        ("/environ/a+b", "/environ/a+b", ""),
        ("/environ/%zz%4", "/environ/%zz%4", ""),
        ("/environ/a//b/../c/.", "/environ/a//b/../c/.", ""),
        ("/environ;p=1", "/environ;p=1", ""),
        ("/environ?", "/environ", ""),
        ("/environ?a=%20&b=?/c", "/environ", "a=%20&b=?/c"),
    ],
)
def test_path_is_decoded_and_query_is_not(server_environ, target, path, query):
    got = values(environ_of(server_environ, target=target))
    assert (got["PATH_INFO"], got["QUERY_STRING"], got["RAW_URI"]) == (path, query, target)


@pytest.fixture(scope="module")
def server_environ(module_server, tmp_path_factory):
    """Answers every path with its environ."""
    folder = folder_with_apps(tmp_path_factory.mktemp("environ"))
    (folder / "always.py").write_text(
        "import probe\nprobe.PAGES.clear()\nprobe.hello = probe.environ_dump\napplication = probe.app\n"
    )
    return module_server("always", folder=folder)


def test_absolute_target_gives_host_and_path(server_environ):
    got = values(environ_of(server_environ, target="http://example.test:81/a?b=1", headers=["Host: example.test:81"]))
    assert (got["PATH_INFO"], got["QUERY_STRING"], got["HTTP_HOST"]) == ("/a", "b=1", "example.test:81")


@ours
def test_host_of_an_absolute_target_wins(server_environ):
    # RFC 9112 3.2.2.
    got = values(environ_of(server_environ, target="http://example.test/a", headers=["Host: other.test"]))
    assert got["HTTP_HOST"] == "example.test"


def test_asterisk_target(server_environ):
    got = values(environ_of(server_environ, "OPTIONS", target="*"))
    assert (got["REQUEST_METHOD"], got["PATH_INFO"]) in [("OPTIONS", "*"), ("OPTIONS", ""), ("OPTIONS", "/*")]


def test_repeated_headers_are_joined(site):
    got = values(environ_of(site, headers=["X-Many: 1", "X-Other: a", "X-Many: 2", "x-many:3"]))
    assert [v.strip() for v in got["HTTP_X_MANY"].split(",")] == ["1", "2", "3"]


def test_white_space_around_a_value_is_dropped_and_latin_1_kept(site):
    got = values(environ_of(site, headers=["X-A: \t caf\xe9 \t", "X-Empty:"]))
    assert (got["HTTP_X_A"], got["HTTP_X_EMPTY"]) == ("caf\xe9", "")


def test_names_with_underscores_cannot_pose_as_others(site):
    got = values(environ_of(site, headers=["X_Forwarded_For: 6.6.6.6", "X-Ok: 1"]))
    assert ("HTTP_X_FORWARDED_FOR" in got, got["HTTP_X_OK"]) == (False, "1")


def test_scheme_is_not_believed_from_a_stranger(server):
    s = server("probe:app", "--forwarded-allow-ips", "10.0.0.1")
    assert values(environ_of(s, headers=["X-Forwarded-Proto: https"]))["wsgi.url_scheme"] == "http"


def test_write_comes_before_what_is_returned(site):
    assert site.get("/write").body == b"written twice and returned"


@ours
def test_start_response_with_exc_info_replaces_the_first(site):
    reply = site.get("/twice")
    assert (reply.status, reply.reason, reply["X-First"], reply.body) == (503, "Sorry", None, b"second")


def test_repeated_response_headers_stay_apart(site):
    reply = site.get("/cookies")
    assert reply.all("Set-Cookie") == ["a=1", "b=2"]
    assert reply["X-Latin"] == "caf\xe9"


def test_hop_by_hop_headers_are_the_servers_business(site):
    reply = site.get("/hop_by_hop", "Connection: close")
    assert reply.all("Connection") == ["close"]
    assert (reply["Transfer-Encoding"], reply["Upgrade"], reply["Keep-Alive"]) == (None, None, None)
    assert (reply["X-Kept"], len(reply.all("Server")), reply.body) == ("1", 1, b"x")


@pytest.mark.parametrize(
    "what",
    [
        "value_crlf",
        "value_lf",
        "value_nul",
        "name_crlf",
        "name_space",
        "name_empty",
        "name_bytes",
        "value_int",
        pytest.param("value_not_latin", marks=ours),
        pytest.param("status_crlf", marks=ours),
        "status_number",
        pytest.param("status_word", marks=ours),
        "headers_none",
        "no_arguments",
    ],
)
def test_bad_head_is_a_500_and_nothing_slips_through(site, what):
    raw = site.send_raw(encode("GET", f"/bad_start?what={what}", ["Connection: close"]))
    assert not re.search(rb"(?im)^x.evil", raw)
    assert b"no client may see this" not in raw
    assert raw.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 500 ") if IS_GUNICORN else b"HTTP/1.1 500 "), raw
    assert site.get("/").status == 200


def test_errors_reach_the_log(site):
    site.get("/errors")
    for text in ("said to wsgi.errors: caf\xe9\n", "line one\nline two\n", "printed to stderr\n"):
        site.wait_log(text)


# wsgiref's validator around the application looks over the server's shoulder.


@pytest.fixture(scope="module")
def validated(module_server):
    return module_server("probe:validated")


@pytest.mark.parametrize(
    "method, target, body",
    [
        ("GET", "/", None),
        ("HEAD", "/", None),
        ("GET", "/environ?a=b", None),
        ("GET", "/pieces", None),
        ("GET", "/write", None),
        ("GET", "/errors", None),
        ("GET", "/cookies", None),
        ("GET", "/large?size=300000", None),
        ("GET", "/status?line=204%20No%20Content", None),
        ("POST", "/digest", b"abc" * 1000),
        ("POST", "/digest", [b"abc"] * 1000),
        ("POST", "/reading?how=readlines", b"a\nb\n"),
        ("POST", "/reading?how=iterate", b"a\nb\n"),
    ],
)
def test_validator_finds_no_fault(validated, method, target, body):
    assert validated.request(method, target, body=body).status in (200, 204)
    assert "AssertionError" not in validated.log()
