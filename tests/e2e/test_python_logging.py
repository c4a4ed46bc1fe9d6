"""logconfig, logconfig_dict, logconfig_json and logger_class: the logs by way of Python's logging."""

import json
import os
import re
import textwrap

import pytest

import venvs
from harness import IS_GUNICORN, PRODUCT, environment, ours, run, wait_until

# Records of both loggers as JSON, one a line; the access log's come with their atoms.
JSON_LINES = """
import json, logging

class Json(logging.Formatter):
    def format(self, record):
        atoms = record.args if isinstance(record.args, dict) else {}
        return json.dumps({
            "logger": record.name, "level": record.levelname, "pid": record.process, "text": record.getMessage(),
            "exception": record.exc_info and self.formatException(record.exc_info),
            "method": atoms.get("m"), "path": atoms.get("U"), "status": atoms.get("s"), "ours": atoms.get("{x-ours}o"),
            "variable": atoms.get("{mine}e"), "agent": atoms.get("{user-agent}i"), "user": atoms.get("u"),
            "bytes": atoms.get("B"), "ms": isinstance(atoms.get("M"), int),
        })
"""
DICT = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "json_lines.Json"}},
    "handlers": {
        "file": {"class": "logging.FileHandler", "formatter": "json", "filename": "records.txt"},
    },
    "root": {"level": "INFO", "handlers": ["file"]},
    "loggers": {
        "gunicorn.error": {"level": "DEBUG", "handlers": ["file"], "propagate": False},
        "gunicorn.access": {"level": "INFO", "handlers": ["file"], "propagate": False},
    },
}
INI = """
[loggers]
keys = root, gunicorn.error, gunicorn.access
[handlers]
keys = file
[formatters]
keys = json
[logger_root]
level = INFO
handlers = file
[logger_gunicorn.error]
level = DEBUG
handlers = file
propagate = 0
qualname = gunicorn.error
[logger_gunicorn.access]
level = INFO
handlers = file
propagate = 0
qualname = gunicorn.access
[handler_file]
class = FileHandler
formatter = json
args = ('%(here)srecords.txt',)
[formatter_json]
class = json_lines.Json
"""
APP = """
import logging

def app(environ, start_response):
    logging.getLogger("shop").info("sold %s", environ["PATH_INFO"])
    if environ["PATH_INFO"] == "/broken":
        raise RuntimeError("no such basket")
    environ["mine"] = "set by the application"
    start_response("200 OK", [("X-Ours", "yes"), ("Content-Length", "4")])
    return [b"done"]
"""


@pytest.fixture
def site(server, folder):
    """site(config, *args): a server whose configuration file has `config`; s.records() are what was logged."""
    (folder / "json_lines.py").write_text(JSON_LINES)
    (folder / "shop.py").write_text(APP)
    (folder / "log.ini").write_text(INI)
    (folder / "log.json").write_text(json.dumps(DICT))

    def start(config, *args, app="shop:app", **options):
        (folder / "gunicorn.conf.py").write_text(textwrap.dedent(config))
        s = server(app, *args, folder=folder, **options)
        s.records = lambda name="records.txt": [json.loads(line) for line in (folder / name).read_text().splitlines()]
        s.has = lambda name="records.txt", **what: [r for r in s.records(name) if what.items() <= r.items()]
        s.wait_record = lambda name="records.txt", **what: wait_until(lambda: s.has(name, **what), f"{what} is logged")
        return s

    return start


@pytest.mark.parametrize(
    "config, args",
    [
        (f"logconfig_dict = {DICT}", []),
        ("", ["--log-config", "log.ini"]),
        ("", ["--log-config-json", "log.json"]),
        (f"logconfig_dict = {DICT}", ["--threads", "2"]),
        (f"logconfig_dict = {DICT}", ["--preload"]),
    ],
)
def test_everything_goes_through_the_configured_handlers(site, config, args):
    s = site(config, *args)
    (worker,) = s.ready_workers(1)
    assert s.get("/book?x=1", "User-Agent: te\"st", "Authorization: Basic YW5uOnB3").status == 200
    (record,) = s.wait_record(logger="gunicorn.access", path="/book")
    assert record["pid"] == worker
    assert record["level"] == "INFO" and re.match(r'127\.0\.0\.1 - ann \[.*\] "GET /book\?x=1 HTTP/1\.1" 200 4 "-" "te\\"st"', record["text"])
    assert (record["method"], record["status"], record["bytes"], record["ms"]) == ("GET", "200", 4, True)
    assert (record["ours"], record["variable"], record["agent"]) == ("yes", "set by the application", 'te\\"st')
    assert s.has(logger="shop", text="sold /book", pid=worker)
    assert s.has(logger="gunicorn.error", level="INFO", text=f"Booting worker with pid: {worker}", pid=worker)
    assert [r for r in s.records() if r["text"].startswith(f"Starting {PRODUCT}") and r["pid"] == s.pid]
    assert not s.access()
    assert "Booting" not in s.log()
    s.stop()
    assert s.has(level="INFO", text="Shutting down: Master", pid=s.pid)


def test_exception_comes_as_one(site):
    s = site(f"logconfig_dict = {DICT}")
    assert s.get("/broken").status == 500
    (record,) = s.wait_record(logger="gunicorn.error", level="ERROR")
    assert record["text"] == "Error handling request GET /broken"
    assert "Traceback" in record["exception"] and record["exception"].endswith("RuntimeError: no such basket")
    (record,) = s.wait_record(logger="gunicorn.access", status="500")
    assert '"GET /broken HTTP/1.1" 500 ' in record["text"]


@ours
def test_request_that_no_application_sees_is_logged_too(site):
    s = site(f"logconfig_dict = {DICT}")
    s.send_raw(b"GET /x HTTP/1.1\r\nHost: a\r\nHost: \"b\r\n\r\n")
    (record,) = s.wait_record(logger="gunicorn.access", status="400")
    assert record["text"].startswith("127.0.0.1 - - [") and record["level"] == "INFO" and record["ms"]
    assert s.get("/").status == 200
    assert len(s.wait_record(logger="gunicorn.access", status="200")) == 1


@ours
def test_records_are_made_while_the_application_computes(site, folder):
    """By the thread that has the network meanwhile."""
    (folder / "busy.py").write_text(
        "import os, time\n"
        "def app(environ, start_response):\n"
        "    open('begun', 'w').close()\n"
        "    while not os.path.exists('enough'):\n        sum(range(1000))\n"
        "    start_response('200 OK', [])\n    return [b'x']\n"
    )
    s = site(f"logconfig_dict = {DICT}", app="busy:app")
    computing = s.background("get", "/")
    wait_until((folder / "begun").exists, "it computes")
    for _ in range(20):
        assert s.send_raw(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    wait_until(lambda: len(s.has(logger="gunicorn.access", status="400")) == 20, "all are logged")
    assert not computing.done()
    (folder / "enough").touch()
    assert computing.result().status == 200
    s.wait_record(logger="gunicorn.access", status="200")


def test_level_of_the_configuration_counts(site):
    quiet = {**DICT, "loggers": {**DICT["loggers"], "gunicorn.error": {"level": "ERROR", "handlers": ["file"]}}}
    s = site(f"logconfig_dict = {quiet}", "--log-level", "debug")
    assert s.get("/broken").status == 500
    s.wait_record(level="ERROR")
    assert not [r for r in s.records() if r["logger"] == "gunicorn.error" and r["level"] != "ERROR"]


def test_what_is_left_out_has_gunicorns_defaults(site):
    s = site("logconfig_dict = {'formatters': {'generic': {'format': 'MINE %(levelname)s %(message)s'}}}")
    assert s.get("/").status == 200
    s.wait_log("MINE INFO Starting ")
    wait_until(lambda: re.search(r'MINE INFO 127\.0\.0\.1 .*"GET / HTTP/1\.1" 200', (s.dir / "stdout.txt").read_text()), "access")


def test_files_are_opened_again(site, folder):
    s = site(f"logconfig_dict = {DICT}", "-w", "2")
    workers = s.ready_workers(2)
    assert s.get("/").status == 200
    s.wait_record(logger="gunicorn.access")
    (folder / "records.txt").rename(folder / "old.txt")
    s.signal("USR1")
    wait_until((folder / "records.txt").exists, "it is there again")
    pids = lambda: {r["pid"] for r in s.records() if r["logger"] == "gunicorn.access"}  # noqa: E731
    wait_until(lambda: s.get("/").status == 200 and pids() == set(workers), "both workers write there")
    s.signal("TTIN")
    wait_until(lambda: [r for r in s.records() if r["text"] == "Handling signal: ttin"], "the master, too")


@ours
@pytest.mark.parametrize(
    "config, args, says",
    [
        ("logconfig_dict = {'handlers': {'x': {'class': 'logging.FileHandler', 'filename': '/dev/null/x'}}}", [], "/dev/null/x"),
        ("logconfig_dict = {'formatters': 3}", [], "logging cannot be configured"),
        ("", ["--log-config", "nowhere.ini"], r"nowhere\.ini"),
        ("", ["--log-config-json", "nowhere.json"], r"nowhere\.json"),
        ("", ["--log-config-json", "shop.py"], "logging cannot be configured"),
        ("logger_class = 'nowhere.Logger'", [], "logger_class: nowhere.Logger.*No module named 'nowhere'"),
        ("logger_class = 'shop.Logger'", [], "logger_class: shop.Logger.*has no attribute"),
        ("", ["--logger-class", "Logger"], "logger_class: Logger"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("check", [[], ["--check-config"]])
def test_configuration_that_is_of_no_use_is_told_at_the_start(folder, config, args, says, check):
    (folder / "gunicorn.conf.py").write_text(config + "\n")
    (folder / "shop.py").write_text(APP)
    done = run(*check, "-b", "127.0.0.1:0", *args, "shop:app", cwd=folder)
    assert done.returncode == 1 and re.search(says, done.stderr), done.stderr
    assert "Traceback" not in done.stderr and len(done.stderr.strip().splitlines()) == 1


@ours
def test_reload_that_breaks_the_logging_is_refused(site, folder):
    s = site(f"logconfig_dict = {DICT}")
    workers = s.ready_workers(1)
    (folder / "gunicorn.conf.py").write_text("logconfig_dict = {'formatters': 3}\n")
    s.signal("HUP")
    wait_until(lambda: [r for r in s.records() if "refused" in r["text"]], "it is refused")
    assert s.ready_workers(1) == workers
    (folder / "gunicorn.conf.py").write_text(f"logconfig_dict = {DICT}\n")
    s.signal("HUP")
    wait_until(lambda: s.ready_workers(1) != workers, "the next one is taken")
    assert s.get("/again").status == 200
    s.wait_record(logger="gunicorn.access", path="/again")


def test_syslog_is_among_the_handlers(site, folder):
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as daemon:
        daemon.bind(("127.0.0.1", 0))
        daemon.settimeout(30)
        address = f"udp://127.0.0.1:{daemon.getsockname()[1]}"
        site(
            "logconfig_dict = {'root': {}, 'loggers': {}}",
            *("--log-syslog", "--log-syslog-to", address, "--log-syslog-facility", "local3", "--log-syslog-prefix", "shop"),
        )
        assert re.match(rb"<158>gunicorn\.shop\.error: \[\d+\] Starting ", daemon.recv(1000))


# Classes of one's own.


@pytest.fixture(scope="module")
def with_gunicorn():
    if IS_GUNICORN:
        return environment()
    return environment(VIRTUAL_ENV=str(venvs.beside_gunicorn(venvs.linked_python())))


HEALTH = """
    import logging
    from gunicorn import glogging

    class HealthCheckFilter(logging.Filter):
        def filter(self, record):
            return "/health" not in record.getMessage()

    class CustomLogger(glogging.Logger):
        def setup(self, cfg):
            super().setup(cfg)
            logging.getLogger("gunicorn.access").addFilter(HealthCheckFilter())

    logger_class = CustomLogger
"""


@pytest.mark.parametrize("threads", ["1", "2"])
def test_health_checks_are_left_out(site, with_gunicorn, threads):
    s = site(HEALTH, "--threads", threads, env=with_gunicorn)
    for path in "/health", "/page":
        assert s.get(path).status == 200
    assert len(s.wait_access('"GET /page HTTP/1.1" 200 4 ')) == 1
    assert len(s.access()) == 1
    assert re.search(r"^\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}\] \[\d+\] \[INFO\] Booting worker with pid", s.log(), re.MULTILINE)
    old = s.access_path.with_name("old.log")
    s.access_path.rename(old)
    s.signal("USR1")
    wait_until(lambda: s.get("/page").status == 200 and s.access(), "it is opened again")


def test_class_that_writes_access_records_itself(site, folder, with_gunicorn):
    s = site(
        """
        import json, os
        from gunicorn.glogging import Logger as Base

        class Own(Base):
            def access(self, resp, req, environ, request_time):
                entry = {
                    "status": resp.status, "code": resp.status_code, "sent": resp.sent, "length": resp.response_length,
                    "method": req.method, "path": req.path, "query": req.query, "remote": environ["REMOTE_ADDR"],
                    "variable": environ.get("mine"), "header": dict(resp.headers).get("X-Ours"),
                    "agent": dict(req.headers).get("USER-AGENT"), "positive": request_time.total_seconds() >= 0,
                }
                with open("own.txt", "a") as f:
                    print(json.dumps(entry), file=f)

            def info(self, msg, *args, **kw):
                super().info("(mine) " + msg, *args, **kw)

        logger_class = Own

        def post_fork(server, worker):
            server.log.info("forked %d", worker.pid)
            worker.log.error("%s", type(worker.log).__name__)
        """,
        env=with_gunicorn,
    )
    assert s.get("/a?b=c", "User-Agent: me").status == 200
    wait_until(lambda: (folder / "own.txt").exists() and "\n" in (folder / "own.txt").read_text(), "it is written")
    assert s.records("own.txt") == [
        {"status": "200 OK", "code": 200, "sent": 4, "length": 4, "method": "GET", "path": "/a", "query": "b=c"}
        | {"remote": "127.0.0.1", "variable": "set by the application", "header": "yes", "agent": "me", "positive": True}
    ]
    (worker,) = s.workers(1)
    for text in f"[INFO] (mine) Starting {PRODUCT}", f"[INFO] (mine) forked {worker}\n", "[ERROR] Own\n":
        assert text in s.log()


def test_class_with_a_logger_that_raises_stops_nothing(site, with_gunicorn):
    s = site(
        """
        from gunicorn.glogging import Logger

        class Broken(Logger):
            def atoms(self, *args):
                raise KeyError("no atoms")

        logger_class = Broken
        """,
        env=with_gunicorn,
    )
    s.tracebacks_expected = True
    for _ in range(3):
        assert IS_GUNICORN or s.get("/").status == 200


@ours
def test_class_that_is_not_derived_from_gunicorns(site, folder):
    s = site(
        """
        class Plain:
            def __init__(self, cfg):
                self.level = cfg.loglevel

            def say(self, text, *args, **kw):
                with open("plain.txt", "a") as f:
                    print(text % args if args else text, file=f)

            debug = info = warning = error = critical = exception = say

            def access(self, resp, req, environ, request_time):
                self.say("%s %s", req.path, resp.status)

            def reopen_files(self):
                self.say("opened again")

        logger_class = Plain
        """
    )
    assert s.get("/x").status == 200
    s.signal("USR1")
    said = lambda: (folder / "plain.txt").read_text().splitlines()  # noqa: E731
    wait_until(lambda: {"/x 200 OK", "opened again", "Handling signal: usr1"} <= set(said()), "all is said")
    assert "Booting" not in s.log()


@ours
def test_what_imports_gunicorn_needs_it(folder):
    (folder / "gunicorn.conf.py").write_text(textwrap.dedent(HEALTH))
    done = run("hello:app", cwd=folder, env=environment(VIRTUAL_ENV=str(venvs.frameworks(venvs.linked_python()))))
    assert done.returncode == 1 and "must be installed" in done.stderr.strip().splitlines()[-1]


@ours
def test_logs_of_a_daemon(site, folder):
    s = site(f"logconfig_dict = {DICT}", "-D", "-p", "pid", wait=False)
    pid = int(wait_until(lambda: (folder / "pid").exists() and (folder / "pid").read_text(), "it has a pid"))
    s.status_expected = 0
    assert s.wait() == 0
    s.pid, launcher = pid, s.pid
    assert s.get("/").status == 200
    s.wait_record(logger="gunicorn.access", status="200")
    os.kill(pid, 15)
    s.wait_record(text="Shutting down: Master", pid=pid)
    s.pid = launcher


# Loggers that are changed by hand, without any setting.

FILTER = """
import logging

class NoHealth(logging.Filter):
    def filter(self, record):
        return "/health" not in record.getMessage()
"""


@pytest.mark.parametrize(
    "config, app",
    [
        (FILTER + "logging.getLogger('gunicorn.access').addFilter(NoHealth())", ""),
        (FILTER + "def on_starting(server):\n    logging.getLogger('gunicorn.access').addFilter(NoHealth())", ""),
        (FILTER + "def post_fork(server, worker):\n    server.log.access_log.addFilter(NoHealth())", ""),
        ("", FILTER + "logging.getLogger('gunicorn.access').addFilter(NoHealth())"),
        ("preload_app = True", FILTER + "logging.getLogger('gunicorn.access').addFilter(NoHealth())"),
    ],
)
@pytest.mark.parametrize("threads", ["1", "2"])
def test_filter_on_the_access_log(site, folder, config, app, threads):
    (folder / "shop2.py").write_text(APP + app)
    s = site(config, "--threads", threads, app="shop2:app")
    for path in "/health", "/page":
        assert s.get(path).status == 200
    assert len(s.wait_access('"GET /page HTTP/1.1" 200 4 ')) == 1
    assert len(s.access()) == 1
    s.access_path.rename(s.access_path.with_name("old.log"))
    s.signal("USR1")
    wait_until(lambda: s.get("/page").status == 200 and s.access(), "it is opened again")


def test_handler_and_format_of_the_server_log(site, folder):
    s = site(
        """
        import logging

        def post_fork(server, worker):
            log = logging.getLogger("gunicorn.error")
            log.addHandler(logging.FileHandler("more.txt"))
            log.handlers[0].setFormatter(logging.Formatter("MINE %(levelname)s %(message)s"))
        """,
        "--log-level",
        "debug",
    )
    s.ready_workers(1)
    assert s.get("/broken").status == 500
    wait_until(lambda: "Error handling request GET /broken" in (folder / "more.txt").read_text(), "it is there, too")
    assert "MINE ERROR Error handling request GET /broken\n" in s.log()
    assert "no such basket" in (folder / "more.txt").read_text()
    s.tracebacks_expected = True


@ours
def test_loggers_that_are_only_read_change_nothing(site, folder):
    (folder / "flask_like.py").write_text(
        "import logging\n"
        "log = logging.getLogger('shop')\n"
        "log.handlers = logging.getLogger('gunicorn.error').handlers\n"
        "log.setLevel(logging.getLogger('gunicorn.error').level)\n"
        "logging.getLogger('gunicorn.error').info('read')\n"
        "def app(environ, start_response):\n"
        "    log.info('hello')\n"
        "    start_response('200 OK', [])\n"
        "    return [str('_cwsgi_logconfig' in __import__('sys').modules).encode()]\n"
    )
    s = site("import logging\nlogging.basicConfig()\n", app="flask_like:app")
    assert s.get("/").text == "False"
    s.wait_log("[INFO] hello\n")
