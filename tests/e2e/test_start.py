"""Starting: what stops it, what it says then, and with which status it ends."""

import os
import re
import shutil
import socket
import subprocess

import pytest

from harness import BOUND, PRODUCT, Certificate, command, environment, free_port, ipv6_or_skip, ours, run

NOTHING = {
    "broken.py": "import hello\n\ndef half(\n",
    "needs.py": "import no_such_module\n",
    "raises.py": "raise RuntimeError('no database')\n",
    "values.py": "number = 7\nnothing = None\ndef factory(a, key=None):\n    return None\n",
}


@pytest.fixture
def start(folder):
    """start(*args): the ended process; it never serves."""
    for name, text in NOTHING.items():
        (folder / name).write_text(text)

    def start(*args, bind=True, **env):
        address = ["-b", f"127.0.0.1:{free_port()}"] if bind else []
        return run(*address, *map(str, args), cwd=folder, env=environment(**env))

    return start


@pytest.mark.parametrize(
    "args, status, says",
    [
        pytest.param([], 1, "No application module specified", id="no application"),
        pytest.param(["--no-such-option", "hello:app"], 2, "no-such-option", id="unknown option"),
        pytest.param(["--workers"], 2, "workers", id="option without its value"),
        pytest.param(["-w", "three", "hello:app"], 1, "three", id="number", marks=ours),
        pytest.param(["-w", "-1", "hello:app"], 1, "-1", id="negative number"),
        pytest.param(["--log-level", "info", "--chdir", "nowhere", "hello:app"], 1, "nowhere", id="chdir"),
        pytest.param(["-c", "nowhere.py", "hello:app"], 1, "nowhere.py", id="no configuration file"),
        pytest.param(["-b", "127.0.0.1:99999", "hello:app"], 1, "99999", id="port out of range", marks=ours),
        pytest.param(["-b", "127.0.0.1:http?", "hello:app"], 1, r"http\?", id="port is no number"),
        pytest.param(["--user", "nobody-of-that-name", "hello:app"], 1, "nobody-of-that-name", id="user"),
        pytest.param(["-k", "gevent", "hello:app"], 1, "gevent", id="worker class"),
        pytest.param(["--log-file", "/dev/null/x.log", "hello:app"], 1, "/dev/null/x.log", id="log"),
        pytest.param(["--access-logfile", "/dev/null/x", "hello:app"], 1, "/dev/null/x", id="access log"),
        pytest.param(["-p", "/dev/null/x.pid", "hello:app"], 1, "/dev/null", id="pid file"),
    ],
)
def test_bad_usage(start, args, status, says):
    done = start(*args, bind="-b" not in args)
    assert (done.returncode, done.stdout) == (status, "")
    assert re.search(says, done.stderr)


@ours
def test_bad_usage_is_told_in_few_words(start):
    for args in (["-w", "three", "hello:app"], ["--log-file", "/dev/null/x.log", "hello:app"], []):
        assert "Traceback" not in (text := start(*args).stderr)
        assert len(text.strip().splitlines()) == 1, text


@pytest.mark.parametrize(
    "line, says", [("workers = 'many'\n", "workers"), ("workers = \n", "gunicorn.conf.py"), ("1 / 0\n", "ZeroDivision")]
)
def test_bad_configuration_file(start, folder, line, says):
    (folder / "gunicorn.conf.py").write_text(line)
    done = start("hello:app")
    assert done.returncode == 1 and says in done.stderr


# Applications that cannot be loaded.


@pytest.mark.parametrize("workers", [1, pytest.param(3, marks=ours)])
@pytest.mark.parametrize(
    "address, status, says",
    [
        ("nowhere:app", 3, ["No module named 'nowhere'"]),
        ("needs:app", 3, ["Traceback", "import no_such_module", "No module named 'no_such_module'"]),
        ("raises:app", 3, ["Traceback", "RuntimeError: no database"]),
        ("broken:app", 3, ["broken.py", "SyntaxError"]),
        ("hello:missing", 4, ["Failed to find attribute 'missing' in 'hello'"]),
        ("values", 4, ["Failed to find attribute 'application' in 'values'"]),
        ("values:number", 4, ["Application object must be callable"]),
        ("values:nothing", 4, ["Failed to find application object"]),
        ("values:factory('x')", 4, ["Failed to find application object"]),
        ("values:factory()", 4, ["factory() missing 1 required positional argument"]),
        ("values:factory(x)", 4, ["Failed to parse arguments as literal values"]),
        ("values:number + 1", 4, ["Failed to parse 'number + 1' as an attribute name or function call"]),
    ],
)
def test_application_that_cannot_be_loaded(start, address, status, says, workers):
    done = start("-w", workers, address)
    assert done.returncode == status, done.stderr
    for text in says:
        assert text in done.stderr


@ours
@pytest.mark.parametrize(
    "address, advice",
    [
        ("needs:app", r"no_such_module.*pip install"),
        ("nowhere:app", r"There is no module 'nowhere' in .*--chdir"),
        ("broken:app", r"broken\.py, line 3"),
        ("hello.py", r"did you mean 'hello:application'\?"),
    ],
)
def test_import_error_comes_with_advice(start, address, advice):
    lines = start(address).stderr.splitlines()
    assert any(re.search(r"\[ERROR\] .*" + advice, line) for line in lines), lines


@ours
@pytest.mark.parametrize("workers", [1, 3])
def test_failed_start_ends_without_a_flood(start, workers):
    assert len(start("-w", workers, "raises:app").stderr.splitlines()) < 30 * workers


def test_failed_start_leaves_no_pid_file(start, folder):
    assert start("-p", "x.pid", "raises:app").returncode == 3
    assert not (folder / "x.pid").exists()


# What only prints.


def test_help_names_the_options(start):
    done = start("--help")
    assert (done.returncode, done.stderr) == (0, "")
    for option in ("-b", "--bind", "--workers", "--certfile", "--access-logfile", "--limit-request-field_size"):
        assert option in done.stdout


def test_version(start):
    done = start("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.match(rf"{PRODUCT}\b.*\d+\.\d+", done.stdout)


def test_check_config(start):
    assert start("--check-config", "hello:app").returncode == 0
    done = start("--check-config", "raises:app")
    assert done.returncode != 0 and "RuntimeError: no database" in done.stderr


def test_print_config(start):
    done = start("--print-config", "-w", "5", "--env", "A=b", "hello:app")
    assert done.returncode == 0
    assert re.search(r"^workers +=+ 5$", done.stdout, re.MULTILINE)
    assert re.search(r"^timeout +=+ 30$", done.stdout, re.MULTILINE)
    names = [line.split()[0] for line in done.stdout.splitlines()]
    assert names == sorted(names)


@pytest.mark.parametrize(
    "variables, file, args, workers",
    [
        ({}, "", [], 1),
        ({"WEB_CONCURRENCY": "4"}, "", [], 4),
        ({"WEB_CONCURRENCY": "4"}, "workers = 7", [], 7),
        ({"GUNICORN_CMD_ARGS": "--workers 2"}, "workers = 7", [], 2),
        ({"GUNICORN_CMD_ARGS": "--workers 2"}, "workers = 7", ["-w", "3"], 3),
        ({}, "workers = 7", ["--workers=3"], 3),
    ],
)
def test_the_nearer_source_of_a_setting_wins(start, folder, variables, file, args, workers):
    (folder / "gunicorn.conf.py").write_text(file + "\n")
    shown = start("--print-config", *args, "hello:app", **variables).stdout
    assert re.search(rf"^workers +=+ {workers}$", shown, re.MULTILINE)


@ours
@pytest.mark.parametrize("args, variables", [(["-w", "auto"], {}), ([], {"WEB_CONCURRENCY": "auto"})])
def test_as_many_workers_as_suit_the_processors(start, args, variables):
    one = sorted(os.sched_getaffinity(0))[0]
    os_affinity = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {one})  # inherited
    try:
        shown = start("--print-config", *args, "hello:app", **variables).stdout
    finally:
        os.sched_setaffinity(0, os_affinity)
    assert re.search(r"^workers += 3$", shown, re.MULTILINE)


def test_file_to_watch_must_be_there_but_a_pattern_may_match_nothing(start):
    done = start("--check-config", "--reload-extra-file", "nowhere.html", "hello:app")
    assert done.returncode == 1 and "nowhere.html" in done.stderr
    assert start("--check-config", "--reload-extra-file", "*.nothing", "hello:app").returncode == 0


@pytest.mark.parametrize(
    "file, args, title",
    [
        ("", [], "hello:app"),
        ("default_proc_name = 'shop'\n", [], "shop"),
        ("default_proc_name = 'shop'\nproc_name = 'site'\n", [], "site"),
        ("proc_name = 'site'\n", ["-n", "front"], "front"),
    ],
)
@ours
def test_name_in_the_process_title(server, folder, file, args, title):
    (folder / "gunicorn.conf.py").write_text(file)
    s = server("hello:app", *args, folder=folder)
    assert command(s.pid).endswith(f": master [{title}]")


# Certificates: told apart before anything is bound.


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificates")
    good, other = Certificate(folder, "localhost"), Certificate(folder, "other")
    (folder / "text.crt").write_text("not a certificate\n")
    (folder / "empty.crt").write_text("")
    (folder / "cut.crt").write_text(good.cert.read_text()[:200])
    (folder / "empty").mkdir()
    (folder / "keyless").mkdir()
    shutil.copy(good.cert, folder / "keyless")
    lock = ["openssl", "pkey", "-in", good.key, "-aes128", "-passout", "pass:x", "-out", folder / "locked.key"]
    subprocess.run(lock, check=True)
    return {"good": good.cert, "key": good.key, "other key": other.key, "folder": folder}


CERTIFICATES = {
    "certificate missing": ("{folder}/none.crt", "{key}", r"none\.crt.*No such file"),
    "key missing": ("{good}", "{folder}/none.key", r"none\.key.*No such file"),
    "folder of certificates is empty": ("{folder}/empty", "{key}", r"/empty.*no certificate"),
    "no file suits the pattern": ("{folder}/*.none", "{key}", r"\*\.none.*No such file"),
    "folder of certificates has no key": ("{folder}/keyless", None, r"keyless.*no private key"),
    "key is encrypted": ("{good}", "{folder}/locked.key", r"locked\.key.*passphrase"),
    "certificate is no file": ("/dev/null", "{key}", r"/dev/null.*not a file"),
    "certificate is text": ("{folder}/text.crt", "{key}", r"text\.crt.*PEM"),
    "certificate is empty": ("{folder}/empty.crt", "{key}", r"empty\.crt.*PEM"),
    "certificate is cut": ("{folder}/cut.crt", "{key}", r"cut\.crt"),
    "key is a certificate": ("{good}", "{good}", r"localhost\.crt.*key"),
    "key of another": ("{good}", "{other key}", r"other\.key.*localhost\.crt"),
    "key not given": ("{good}", None, r"key"),
    "certificate not given": (None, "{key}", r"certfile"),
    "certificate empty": ("", "{key}", r"certfile"),
    "key empty": ("{good}", "", r"keyfile"),
}


@ours
@pytest.mark.parametrize("case", CERTIFICATES)
def test_bad_certificate(start, files, case):
    cert, key, says = CERTIFICATES[case]
    args = [f"--certfile={cert.format(**files)}"] if cert is not None else []
    args += [f"--keyfile={key.format(**files)}"] if key is not None else []
    done = start(*args, "hello:app")
    assert done.returncode == 1
    assert len(lines := done.stderr.strip().splitlines()) == 1 and re.search(says, lines[0]), lines
    assert "Listening" not in done.stderr


@ours
@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_certificate(start, files):
    key = files["folder"] / "secret.key"
    key.write_bytes(files["key"].read_bytes())
    key.chmod(0)
    done = start("--certfile", files["good"], "--keyfile", key, "hello:app")
    assert done.returncode == 1 and re.search(r"secret\.key.*Permission denied", done.stderr)


def test_key_may_be_in_the_certificates_file(server, tmp_path, certificate):
    both = tmp_path / "both.pem"
    both.write_text(certificate.key.read_text() + certificate.cert.read_text())
    s = server("probe:app", "--certfile", both)
    s.tls = certificate
    assert s.get("/environ").status == 200


# Addresses.


def test_port_taken(server, folder):
    first = server("hello:app")
    done = run("-b", f"127.0.0.1:{first.port}", "hello:app", cwd=folder)
    assert done.returncode == 1
    assert str(first.port) in done.stderr
    assert first.get("/").status == 200


@ours
def test_port_taken_names_the_address_and_who_has_it(server, folder):
    first = server("hello:app")
    done = run("-b", f"127.0.0.1:{first.port}", "hello:app", cwd=folder)
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, lines
    assert f"127.0.0.1:{first.port}" in lines[0] and re.search(rf"\b{first.pid}\b", lines[0]), lines


@ours
def test_port_taken_on_every_address(server, folder):
    first = server("hello:app")
    assert run("-b", f"0.0.0.0:{first.port}", "hello:app", cwd=folder).returncode == 1


def test_several_addresses(server):
    second = free_port()
    s = server("hello:app", "-b", f"127.0.0.1:{second}")
    assert s.get("/").status == 200
    s.port = second
    assert s.get("/").status == 200
    assert re.search(r"Listening at: http://127\.0\.0\.1:\d+,http://127\.0\.0\.1:\d+ \(\d+\)", s.log())


def test_unix_socket(server):
    s = server("hello:app", "-b", "unix:x.sock")
    s.wait_log("Listening at")  # on all addresses
    path = s.dir / "x.sock"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(BOUND)
        sock.connect(str(path))
        sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
        answer = b""
        while data := sock.recv(4096):
            answer += data
    assert answer.startswith(b"HTTP/1.0 200 OK") and answer.endswith(b"Hello, World!")
    assert s.stop() == 0
    assert not path.exists()


def test_ipv6(server):
    ipv6_or_skip()
    s = server("hello:app", host="[::1]")
    with socket.create_connection(("::1", s.port), timeout=BOUND) as sock:
        sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert sock.recv(100).startswith(b"HTTP/1.0 200 OK")
