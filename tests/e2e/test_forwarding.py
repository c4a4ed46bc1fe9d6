"""What a front end may say about a request that it passes on: believed, dropped, or refused."""

import json
import re
import socket
from dataclasses import dataclass

import pytest

from harness import BOUND, environment, folder_with_apps, ipv6_or_skip, ours, run
from wire import Connection, encode

HERE = "127.0.0.1"
GONE = None  # no such key in environ
HTTP, HTTPS = {"wsgi.url_scheme": "http"}, {"wsgi.url_scheme": "https"}

STRANGER = "forwarded_allow_ips = '10.0.0.1'\n"
REFUSE = "header_map = 'refuse'\n"
DANGEROUS = "header_map = 'dangerous'\n"
CUSTOM = "secure_scheme_headers = {'X-SCHEME': 'secure', 'X_PLAN': 'b', 'X-EMPTY': ''}\n"


def allow(text):
    return f"forwarded_allow_ips = '{text}'\n"


def names(text):
    return f"forwarder_headers = '{text}'\n"


@dataclass
class Row:
    config: str
    headers: list
    expected: object  # what environ has, or the status of a refusal
    target: str = "/x"
    source: str = HERE


PROTO, SSL, PROTOCOL = "X-Forwarded-Proto", "X-Forwarded-Ssl", "X-Forwarded-Protocol"
SCRIPT = "SCRIPT_NAME: /app"

TABLE = {
    # The scheme, by the default settings: this host is a front end.
    "nothing is said": Row("", [], HTTP),
    "https": Row("", [f"{PROTO}: https"], {**HTTPS, "HTTP_X_FORWARDED_PROTO": "https"}),
    "https in small letters": Row("", ["x-forwarded-proto: https"], HTTPS),
    "http": Row("", [f"{PROTO}: http"], HTTP),
    "https in capital letters is not the value": Row("", [f"{PROTO}: HTTPS"], HTTP),
    "a list is not the value": Row("", [f"{PROTO}: https, http"], HTTP),
    "white space is no part of the value": Row("", [f"{PROTO}:\t https \t"], HTTPS),
    "nothing is not the value": Row("", [f"{PROTO}:"], HTTP),
    "ssl": Row("", [f"{PROTOCOL}: ssl"], HTTPS),
    "on": Row("", [f"{SSL}: on"], HTTPS),
    "off": Row("", [f"{SSL}: off"], HTTP),
    "three that agree on https": Row("", [f"{SSL}: on", f"{PROTO}: https", f"{PROTOCOL}: ssl"], HTTPS),
    "two that agree on http": Row("", [f"{SSL}: off", f"{PROTO}: anything"], HTTP),
    "two that disagree": Row("", [f"{SSL}: on", f"{PROTO}: http"], 400),
    "two that disagree, the other way round": Row("", [f"{PROTO}: http", f"{SSL}: on"], 400),
    "one that disagrees at the end": Row("", [f"{SSL}: on", f"{PROTO}: https", "X-A: 1", f"{PROTOCOL}: x"], 400),
    "twice the same": Row("", [f"{PROTO}: https"] * 2, {**HTTPS, "HTTP_X_FORWARDED_PROTO": "https,https"}),
    "https, then http": Row("", [f"{PROTO}: https", f"{PROTO}: http"], 400),
    "an empty one disagrees": Row("", [f"{SSL}: on", f"{PROTO}:"], 400),
    "with underscores it is another name": Row(
        "", ["X_Forwarded_Proto: https"], {**HTTP, "HTTP_X_FORWARDED_PROTO": GONE}
    ),
    "Forwarded is not read": Row("", ["Forwarded: proto=https;for=9.9.9.9"], {**HTTP, "REMOTE_ADDR": HERE}),
    "the address stays the front end's": Row(
        "", ["X-Forwarded-For: 9.9.9.9"], {"REMOTE_ADDR": HERE, "HTTP_X_FORWARDED_FOR": "9.9.9.9"}
    ),
    # Who is a front end.
    "a stranger's scheme": Row(STRANGER, [f"{PROTO}: https"], {**HTTP, "HTTP_X_FORWARDED_PROTO": "https"}),
    "a stranger may contradict himself": Row(STRANGER, [f"{PROTO}: https", f"{SSL}: off"], HTTP),
    "an empty list trusts nobody": Row(allow(""), [f"{PROTO}: https"], HTTP),
    "everybody": Row(allow("*"), [f"{PROTO}: https"], HTTPS, source="127.9.9.9"),
    "everybody among others": Row(allow("10.0.0.1, *"), [f"{PROTO}: https"], HTTPS),
    "one address": Row(allow("127.0.0.5"), [f"{PROTO}: https"], HTTPS, source="127.0.0.5"),
    "one address, and another comes": Row(allow("127.0.0.5"), [f"{PROTO}: https"], HTTP, source="127.0.0.4"),
    "the second of two": Row(allow("10.0.0.1,127.0.0.5"), [f"{PROTO}: https"], HTTPS, source="127.0.0.5"),
    "first of a network": Row(allow("127.0.0.8/29"), [f"{PROTO}: https"], HTTPS, source="127.0.0.8"),
    "last of a network": Row(allow("127.0.0.8/29"), [f"{PROTO}: https"], HTTPS, source="127.0.0.15"),
    "before a network": Row(allow("127.0.0.8/29"), [f"{PROTO}: https"], HTTP, source="127.0.0.7"),
    "behind a network": Row(allow("127.0.0.8/29"), [f"{PROTO}: https"], HTTP, source="127.0.0.16"),
    "in a network by its mask": Row(allow("127.0.0.8/255.255.255.248"), [f"{PROTO}: https"], HTTPS, source="127.0.0.9"),
    "all of IPv4": Row(allow("0.0.0.0/0"), [f"{PROTO}: https"], HTTPS),
    "all of IPv6 has no IPv4": Row(allow("::/0"), [f"{PROTO}: https"], HTTP),
    "a mapped address has no IPv4": Row(allow("::ffff:127.0.0.1"), [f"{PROTO}: https"], HTTP),
    # How it says so.
    "a field of one's own": Row(CUSTOM, ["X-Scheme: secure"], HTTPS),
    "a field of one's own in its place": Row(CUSTOM, [f"{PROTO}: https"], HTTP),
    "a field counts even if it is dropped": Row(CUSTOM, ["X_Plan: b"], {**HTTPS, "HTTP_X_PLAN": GONE}),
    "an empty value": Row(CUSTOM, ["X-Empty:"], HTTPS),
    "not that empty value": Row(CUSTOM, ["X-Empty: 1"], HTTP),
    "fields of one's own disagree": Row(CUSTOM, ["X-Scheme: secure", "X_Plan: c"], 400),
    "no field": Row("secure_scheme_headers = {}\n", [f"{PROTO}: https", f"{SSL}: off"], HTTP),
    "a setting in small letters": Row("secure_scheme_headers = {'X-Scheme': 'on'}\n", ["X-Scheme: on"], HTTP),
    # Names with underscores.
    "dropped": Row("", ["X_A: 1", "X-B: 2", "X_C: 3", "X-D: 4"], {"HTTP_X_A": GONE, "HTTP_X_C": GONE, "HTTP_X_D": "4"}),
    "dropped beside its double": Row("", ["X_A: 1", "X-A: 2", "x_a: 3"], {"HTTP_X_A": "2"}),
    "dropped to the last one": Row("", ["X_A: 1", "_: 2"], {"HTTP_X_A": GONE, "HTTP__": GONE}),
    "a dropped length is none": Row(
        "", ["Content_Length: 5", "Transfer_Encoding: chunked"], {"HTTP_CONTENT_LENGTH": GONE}
    ),
    "drop in capital letters": Row("header_map = 'DROP'\n", ["X_A: 1"], {"HTTP_X_A": GONE}),
    "refused": Row(REFUSE, ["X_A: 1"], 400),
    "nothing to refuse": Row(REFUSE, ["X-A: 1"], {"HTTP_X_A": "1"}),
    "a stranger's is refused": Row(REFUSE + STRANGER, [SCRIPT], 400),
    "passed": Row(DANGEROUS, ["X_A: 1"], {"HTTP_X_A": "1"}),
    "joined with its double": Row(DANGEROUS, ["X_A: 1", "X-A: 2", "x_a: 3"], {"HTTP_X_A": "1,2,3"}),
    "joined with a known name": Row(
        DANGEROUS, ["X_Forwarded_For: 1", "X-Forwarded-For: 2"], {"HTTP_X_FORWARDED_FOR": "1,2"}
    ),
    "joined with a known name, the other way round": Row(
        DANGEROUS, ["X-Forwarded-For: 2", "X_FORWARDED_FOR: 1", "X-FORWARDED_FOR: 3"], {"HTTP_X_FORWARDED_FOR": "2,1,3"}
    ),
    "a passed length is none": Row(
        DANGEROUS,
        ["Content_Length: 5", "Content_Type: a/b", "Content-Type: c/d"],
        {"HTTP_CONTENT_LENGTH": "5", "HTTP_CONTENT_TYPE": "a/b", "CONTENT_TYPE": "c/d"},
    ),
    "passed from a stranger": Row(DANGEROUS + STRANGER, ["X_A: 1"], {"HTTP_X_A": "1"}),
    # What only front ends may send.
    "a user": Row(names("REMOTE_USER"), ["Remote_User: ada"], {"HTTP_REMOTE_USER": "ada", "REMOTE_USER": GONE}),
    "a user where others are refused": Row(
        REFUSE + names("A_B, REMOTE_USER"), ["REMOTE_USER: ada"], {"HTTP_REMOTE_USER": "ada"}
    ),
    "no user by default": Row("", ["REMOTE_USER: ada"], {"HTTP_REMOTE_USER": GONE}),
    "any name": Row(names("*"), ["REMOTE_USER: ada", "X_A: 1"], {"HTTP_REMOTE_USER": "ada", "HTTP_X_A": "1"}),
    "any name, but not from a stranger": Row(names("*") + STRANGER, ["X_A: 1"], {"HTTP_X_A": GONE}),
    "a name in small letters": Row(names("remote_user"), ["remote_user: ada"], {"HTTP_REMOTE_USER": GONE}),
    "a list of no names": Row(names(""), [SCRIPT], {"HTTP_SCRIPT_NAME": GONE, "SCRIPT_NAME": ""}),
    "a path is not taken over": Row("", ["PATH_INFO: /other"], {"PATH_INFO": "/x", "HTTP_PATH_INFO": "/other"}),
    # Where the application is mounted.
    "mounted": Row(
        "",
        ["script_name: /app"],
        {"SCRIPT_NAME": "/app", "PATH_INFO": "/a b", "RAW_URI": "/app/a%20b?c=/app", "HTTP_SCRIPT_NAME": "/app"},
        "/app/a%20b?c=/app",
    ),
    "at the mount itself": Row("", [SCRIPT], {"SCRIPT_NAME": "/app", "PATH_INFO": ""}, "/app"),
    "beside the mount": Row("", [SCRIPT], 500, "/other/app"),
    "before the mount's end": Row("", [SCRIPT], 500, "/ap"),
    "by an empty name": Row("", ["SCRIPT_NAME:"], {"SCRIPT_NAME": "", "PATH_INFO": "/x"}),
    "compared as it was sent": Row(
        "", ["SCRIPT_NAME: /a%20b"], {"SCRIPT_NAME": "/a%20b", "PATH_INFO": "/c"}, "/a%20b/c"
    ),
    "never decoded": Row("", ["SCRIPT_NAME: /a b"], 500, "/a%20b/c"),
    "the last of two counts": Row(
        "",
        ["SCRIPT_NAME: /b", SCRIPT],
        {"SCRIPT_NAME": "/app", "PATH_INFO": "/x", "HTTP_SCRIPT_NAME": "/b,/app"},
        "/app/x",
    ),
    "a dash is not an underscore": Row("", ["Script-Name: /app"], {"SCRIPT_NAME": "", "HTTP_SCRIPT_NAME": "/app"}),
    "mounted by a stranger": Row(STRANGER, [SCRIPT], {"SCRIPT_NAME": "", "PATH_INFO": "/app/x"}, "/app/x"),
    "mounted by a stranger who is let": Row(
        STRANGER + DANGEROUS, [SCRIPT], {"SCRIPT_NAME": "/app", "PATH_INFO": "/x"}, "/app/x"
    ),
    "mounted where others are refused": Row(REFUSE, [SCRIPT], {"SCRIPT_NAME": "/app", "PATH_INFO": "/x"}, "/app/x"),
}


def folder_that_shows(folder, config):
    """Every path is answered with its environ."""
    folder_with_apps(folder)
    (folder / "gunicorn.conf.py").write_text(config)
    (folder / "always.py").write_text(
        "import probe\nprobe.PAGES.clear()\nprobe.hello = probe.environ_dump\napplication = probe.app\n"
    )
    return folder


@pytest.fixture(scope="module")
def configured(module_server, tmp_path_factory):
    """One server for each configuration of the table."""
    running = {}

    def get(config):
        if config not in running:
            folder = folder_that_shows(tmp_path_factory.mktemp("front"), config)
            running[config] = module_server("always", folder=folder)
        return running[config]

    return get


def connect(address, port, source):
    return Connection(socket.create_connection((address, port), BOUND, (source, 0)))


def environ_of(reply):
    assert reply.status == 200, reply
    return {k: v for k, (_, v) in json.loads(reply.text).items()}


def environ_over(connection, *headers, target="/x"):
    with connection:
        return environ_of(connection.get(target, *headers))


@pytest.mark.parametrize("row", [pytest.param(row, id=name) for name, row in TABLE.items()])
def test_front_end(configured, row):
    s = configured(row.config)
    calls = len(s.calls())
    with connect(HERE, s.port, row.source) as c:
        c.send(encode("GET", row.target, [*row.headers, "Connection: close"]))
        reply = c.reply()
        assert c.closed()
    if isinstance(row.expected, int):
        assert (reply.status, len(s.calls())) == (row.expected, calls)
    else:
        got = environ_of(reply)
        assert {k: got.get(k) for k in row.expected} == row.expected


@ours
def test_flag_of_https_goes_with_the_scheme(configured, server, certificate, tmp_path):
    assert environ_over(configured("").connect(), f"{PROTO}: https")["HTTPS"] == "on"
    s = server("always", folder=folder_that_shows(tmp_path / "tls", ""), tls=certificate)
    assert "HTTPS" not in environ_over(s.connect(), f"{PROTO}: http")


@ours
def test_each_request_of_a_connection_is_judged_by_itself(configured):
    with configured("keepalive = 10\n").connect() as c:
        got = [environ_of(c.get("/app", h)) for h in (f"{PROTO}: https", "X-A: 1", SCRIPT, f"{SSL}: on", "X_A: 1")]
    assert [g["wsgi.url_scheme"] for g in got] == ["https", "http", "http", "https", "http"]
    assert [g["SCRIPT_NAME"] for g in got] == ["", "", "/app", "", ""]


def test_tls_is_https_unless_a_front_end_says_otherwise(server, certificate, tmp_path):
    s = server("always", folder=folder_that_shows(tmp_path / "tls", ""), tls=certificate)
    assert environ_over(s.connect())["wsgi.url_scheme"] == "https"
    assert environ_over(s.connect(), f"{PROTO}: https")["wsgi.url_scheme"] == "https"
    assert environ_over(s.connect(), f"{PROTO}: http")["wsgi.url_scheme"] == "http"


def test_tls_is_https_whatever_a_stranger_says(server, certificate, tmp_path):
    s = server("always", folder=folder_that_shows(tmp_path / "tls", STRANGER), tls=certificate)
    assert environ_over(s.connect(), f"{PROTO}: http")["wsgi.url_scheme"] == "https"


def test_clients_of_a_unix_socket_are_front_ends(server, tmp_path):
    folder = folder_that_shows(tmp_path / "unix", allow("") + "bind = ['unix:x.sock']\n")
    s = server("always", "-b", "unix:x.sock", folder=folder)
    for headers, scheme, port in (([f"{PROTO}: https"], "https", "443"), ([], "http", "80")):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(BOUND)
        sock.connect(str(s.dir / "x.sock"))
        got = environ_over(Connection(sock), "Host: example.test", SCRIPT, *headers, target="/app/x")
        expected = {
            "wsgi.url_scheme": scheme,
            "SERVER_NAME": "example.test",
            "SERVER_PORT": port,
            "SCRIPT_NAME": "/app",
            "PATH_INFO": "/x",
        }
        assert {k: got[k] for k in expected} == expected
    assert environ_over(s.connect(), f"{PROTO}: https")["wsgi.url_scheme"] == "http"


@pytest.mark.parametrize(
    "allowed, scheme",
    [("::1", "https"), ("127.0.0.1,::1", "https"), ("::/64", "https"), ("fe80::/10", "http"), ("0.0.0.0/0", "http")],
)
def test_front_end_by_ipv6(server, tmp_path, allowed, scheme):
    ipv6_or_skip()
    s = server("always", folder=folder_that_shows(tmp_path / "v6", allow(allowed)), host="[::1]")
    assert environ_over(connect("::1", s.port, "::1"), f"{PROTO}: https")["wsgi.url_scheme"] == scheme


@pytest.mark.parametrize(
    "allowed, scheme",
    [
        pytest.param("127.0.0.1", "https", marks=ours),
        ("::ffff:127.0.0.1", "https"),
        ("::ffff:0:0/96", "https"),
        ("::/0", "https"),
        ("127.0.0.2", "http"),
    ],
)
def test_ipv4_on_an_ipv6_socket(server, tmp_path, allowed, scheme):
    ipv6_or_skip()
    s = server("always", folder=folder_that_shows(tmp_path / "v6", allow(allowed)), host="[::]")
    got = environ_over(connect(HERE, s.port, HERE), f"{PROTO}: https")
    assert (got["wsgi.url_scheme"], got["REMOTE_ADDR"]) == (scheme, "::ffff:127.0.0.1")


def test_header_overrides_the_mount_of_the_environment(server, tmp_path):
    folder = folder_that_shows(tmp_path / "mounted", "")
    s = server("always", folder=folder, env=environment(SCRIPT_NAME="/env"))
    got = environ_over(s.connect(), target="/env/x")
    assert (got["SCRIPT_NAME"], got["PATH_INFO"]) == ("/env", "/x")
    got = environ_over(s.connect(), SCRIPT, target="/app/x")
    assert (got["SCRIPT_NAME"], got["PATH_INFO"]) == ("/app", "/x")
    got = environ_over(s.connect(), "SCRIPT_NAME:", target="/other")
    assert (got["SCRIPT_NAME"], got["PATH_INFO"]) == ("", "/other")


@pytest.mark.parametrize("way", ["flag", "variable", "arguments"])
def test_front_ends_are_named_outside_the_file_too(server, way):
    value = "127.0.0.5, 127.0.0.8/29"
    changes = {"variable": {"FORWARDED_ALLOW_IPS": value}, "arguments": {}, "flag": {}}[way]
    if way == "arguments":
        changes = {"GUNICORN_CMD_ARGS": f"--forwarded-allow-ips='{value}'"}
    args = ["--forwarded-allow-ips", value] if way == "flag" else []
    s = server("probe:app", *args, env=environment(**changes))
    for source, scheme in (("127.0.0.5", "https"), ("127.0.0.9", "https"), (HERE, "http")):
        got = environ_over(connect(HERE, s.port, source), f"{PROTO}: https", target="/environ")
        assert got["wsgi.url_scheme"] == scheme


def test_names_and_map_are_set_by_flags(server):
    s = server("probe:app", "--forwarder-headers", "REMOTE_USER,X_B", "--header-map", "refuse")
    assert environ_over(s.connect(), "REMOTE_USER: ada", target="/environ")["HTTP_REMOTE_USER"] == "ada"
    assert s.get("/environ", "X_A: 1").status == 400


@ours
def test_refusals_are_logged_and_the_log_sees_what_the_application_sees(server):
    form = "%(r)s %(s)s %({wsgi.url_scheme}e)s %({HTTP_REMOTE_USER}e)s %({X_A}i)s"
    s = server("probe:app", "--forwarder-headers", "REMOTE_USER", "--access-logformat", form)
    assert s.get("/", f"{PROTO}: https", "REMOTE_USER: ada", "X_A: 1").status == 200
    assert s.get("/", f"{PROTO}: https", f"{SSL}: off").status == 400
    s.wait_access(r"^GET / HTTP/1\.1 200 https ada -$")
    s.wait_access(r"^GET / HTTP/1\.1 400 ")


@pytest.mark.parametrize(
    "line, name",
    [
        ("forwarded_allow_ips = 'localhost'", "forwarded_allow_ips"),
        ("forwarded_allow_ips = '10.0.0.300'", "forwarded_allow_ips"),
        ("forwarded_allow_ips = '127.0.0.1,10.0.0.1/8'", "forwarded_allow_ips"),
        ("forwarded_allow_ips = '10.0.0.0/33'", "forwarded_allow_ips"),
        ("header_map = 'keep'", "header_map"),
        ("secure_scheme_headers = 'X-FORWARDED-PROTO'", "secure_scheme_headers"),
        ("secure_scheme_headers = None", "secure_scheme_headers"),
        pytest.param("secure_scheme_headers = {'X-A': 1}", "secure_scheme_headers", marks=ours),
    ],
)
def test_what_cannot_be_understood_is_refused_at_the_start(tmp_path, line, name):
    folder = folder_that_shows(tmp_path / "bad", line + "\n")
    done = run("--check-config", "always", cwd=folder)
    assert done.returncode == 1 and f"Invalid value for {name}" in done.stdout + done.stderr


def test_settings_are_printed_as_python_writes_them(tmp_path):
    folder = folder_that_shows(tmp_path / "print", "secure_scheme_headers = {'X-A': \"it's\", 'X-B': 'a=b, c'}\n")
    shown = run("--print-config", "--forwarded-allow-ips", "::1,10.0.0.0/8", "always", cwd=folder).stdout
    assert re.search(r"""^secure_scheme_headers +=+ \{'X-A': "it's", 'X-B': 'a=b, c'\}$""", shown, re.MULTILINE)
    assert re.search(r"^forwarded_allow_ips +=+ \['::1', '10\.0\.0\.0/8'\]$", shown, re.MULTILINE)
