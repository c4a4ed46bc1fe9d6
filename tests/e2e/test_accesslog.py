"""The access log: gunicorn's default line, and every atom of --access-logformat."""

import re
import subprocess

import pytest

from harness import ours
from wire import encode

TIME = r"\[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\]"


def test_default_line_is_gunicorns(site):
    done = subprocess.run(
        ["curl", "-s", "--cacert", str(site.tls.cert) if site.tls else "/dev/null", site.url("/hello?a=1")],
        capture_output=True,
    )
    assert done.stdout == b"Hello, World!"
    site.wait_access(rf'^127\.0\.0\.1 - - {TIME} "GET /hello\?a=1 HTTP/1\.1" 200 13 "-" "curl/[\d.]+[^"]*"$')


def test_referer_agent_and_user_are_shown(site):
    site.get("/who", "Referer: http://a.test/?b", "User-Agent: x", "Authorization: Basic em9lOnNlY3JldA==")
    site.wait_access(rf'^127\.0\.0\.1 - zoe {TIME} "GET /who HTTP/1\.1" 200 13 "http://a\.test/\?b" "x"$')


def test_quotes_cannot_forge_a_line(site):
    site.get("/forged", 'User-Agent: x" 200 1 "')
    site.wait_access(r'"GET /forged HTTP/1\.1" 200 13 "-" "x\\" 200 1 \\""$')


@pytest.mark.parametrize(
    "method, path, expected",
    [
        ("HEAD", "/head", r'"HEAD /head HTTP/1\.1" 200 0 '),
        ("GET", "/status?line=204%20No%20Content", r'"GET /status\?line=204%20No%20Content HTTP/1\.1" 204 0 '),
        ("GET", "/pieces", r'"GET /pieces HTTP/1\.1" 200 13 '),
        ("GET", "/declared?length=5&body=Hello,%20World!", r'"GET /declared\S+ HTTP/1\.1" 200 5 '),
        ("GET", "/fails?logged", r'"GET /fails\?logged HTTP/1\.1" 500 '),
    ],
)
def test_status_and_length(site, method, path, expected):
    site.request(method, path)
    site.wait_access(expected)


def test_version_is_the_requests(site):
    site.request("GET", "/old", version="HTTP/1.0")
    site.wait_access(r'"GET /old HTTP/1\.0" 200 13 ')


def test_client_that_left_is_logged(site):
    with site.connect(rcvbuf=1 << 15) as c:
        c.send(encode("GET", "/large?size=200000000&logged"))
        c.head()
    site.wait_access(r'"GET /large\?size=200000000&logged HTTP/1\.1" 200 \d+ ')


ATOMS = {
    "%(h)s": r"127\.0\.0\.1",
    "%(l)s": "-",
    "%(u)s": "zoe",
    "%(t)s": TIME,
    "%(r)s": r"POST /echo\?a=1 HTTP/1\.1",
    "%(s)s": "200",
    "%(m)s": "POST",
    "%(U)s": "/echo",
    "%(q)s": "a=1",
    "%(H)s": r"HTTP/1\.1",
    "%(b)s": "5",
    "%(B)s": "5",
    "%(f)s": "http://a.test/",
    "%(a)s": "agent 1",
    "%(T)s": r"\d+",
    "%(D)s": r"\d+",
    "%(M)s": r"\d+",
    "%(L)s": r"\d+\.\d{6}",
    "%(p)s": r"<\d+>",
    "%({x-own}i)s": "own",
    "%({X-Own}i)s": "own",
    "%({content-type}o)s": "application/octet-stream",
    "%({REQUEST_METHOD}e)s": "POST",
    "%({request_method}e)s": "POST",
    "%({x-none}i)s": "-",
    "%({x-none}o)s": "-",
    "%({x-none}e)s": "-",
    "%(nonsense)s": "-",
    "100%%": "100%",
}


def test_every_atom(server):
    s = server("probe:app", "--access-logformat", "|".join(ATOMS))
    headers = ["Authorization: Basic em9lOnNlY3JldA==", "Referer: http://a.test/", "User-Agent: agent 1", "X-Own: own"]
    s.request("POST", "/echo?a=1", headers, body=b"12345")
    values = s.wait_access(".")[0].split("|")
    assert len(values) == len(ATOMS)
    assert [(a, v) for (a, expected), v in zip(ATOMS.items(), values) if not re.fullmatch(expected, v)] == []


def test_dash_is_stdout(server):
    s = server("probe:app", "--access-logfile", "-")
    s.get("/to-stdout")
    s.access_path = s.dir / "stdout.txt"
    s.wait_access(r'"GET /to-stdout HTTP/1\.1" 200 13 ')


@ours
def test_missing_folders_of_logs_are_made(server):
    s = server("probe:app", "--access-logfile", "a/b/access.log", "--log-file", "logs/server.log")
    s.get("/")
    s.access_path = s.dir / "a/b/access.log"
    s.wait_access('"GET / HTTP')
    assert "Listening at" in (s.dir / "logs" / "server.log").read_text()


def test_lines_of_many_workers_do_not_mix(server):
    s = server("probe:app", "-w", "3")
    agent = "x" * 3000
    futures = [s.background("get", f"/{i}", f"User-Agent: {agent}") for i in range(60)]
    assert all(f.result().status == 200 for f in futures)
    lines = s.wait_access(rf'^127\.0\.0\.1 - - {TIME} "GET /\d+ HTTP/1\.1" 200 13 "-" "{agent}"$', 60)
    assert len(lines) == len(s.access()) == 60
