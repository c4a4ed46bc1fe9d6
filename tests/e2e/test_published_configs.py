"""Idioms of published gunicorn.conf.py files: each does here what its author meant."""

import json
import os
import re
import textwrap
import urllib.request

import pytest

from harness import THREADED, environment, ours, wait_until


@pytest.fixture
def configured(server, folder):
    def start(config, *args, app="probe:app", **options):
        (folder / "gunicorn.conf.py").write_text(textwrap.dedent(config))
        return server(app, *args, folder=folder, **options)

    return start


def read(path):
    return path.read_text() if path.exists() else ""


def test_workers_from_the_number_of_processors(configured):
    s = configured("import multiprocessing\nworkers = min(multiprocessing.cpu_count() * 2 + 1, 3)\n")
    s.workers(min(os.cpu_count() * 2 + 1, 3))


def test_settings_from_environment_variables(configured):
    config = """
        import os
        for k, v in os.environ.items():
            if k.startswith("GUNICORN_") and k != "GUNICORN_CMD_ARGS":
                locals()[k.split("_", 1)[1].lower()] = v
        loglevel = os.getenv("LOG_LEVEL", "info")
    """
    s = configured(config, env=environment(GUNICORN_WORKERS="2", LOG_LEVEL="warning", GUNICORN_RAW_ENV="TIER=gold"))
    s.workers(2)
    assert "[INFO]" not in s.log()
    assert s.get("/variables?names=TIER").text == "gold"


def test_prometheus_marks_dead_processes(configured, folder):
    (folder / "prometheus_client").mkdir()
    (folder / "prometheus_client" / "__init__.py").write_text("")
    (folder / "prometheus_client" / "multiprocess.py").write_text(
        "def mark_process_dead(pid):\n    open('dead.txt', 'a').write('%d\\n' % pid)\n"
    )
    s = configured(
        """
        from prometheus_client import multiprocess

        def child_exit(server, worker):
            multiprocess.mark_process_dead(worker.pid)
        """
    )
    (worker,) = s.ready_workers(1)
    s.signal("HUP")
    wait_until(lambda: str(worker) in read(folder / "dead.txt").split(), "the worker that went is marked")


def test_monitoring_begins_in_the_worker(configured, folder):
    (folder / "agent.py").write_text(
        "import os\nstarted = []\ndef initialize(**options):\n    started.append(os.getpid())\n"
    )
    (folder / "monitored.py").write_text(
        "import agent\nassert agent.started\n"
        "def app(environ, start_response):\n"
        "    start_response('200 OK', [])\n    return [b'%d' % agent.started[0]]\n"
    )
    s = configured(
        """
        def post_fork(server, worker):
            import agent
            agent.initialize(dsn="https://key@host/1", release=worker.cfg.proc_name)
            server.log.info("Worker spawned (pid: %s)", worker.pid)
        """,
        app="monitored:app",
    )
    wait_until(lambda: "Worker spawned" in s.log(), "the hook has run")
    (worker,) = s.ready_workers(1)
    assert s.get("/").text == str(worker)


def test_ready_file(configured, folder):
    s = configured(
        """
        import os

        def when_ready(server):
            server.log.info("Server is ready. Spawning workers")
            open("app-initialized", "w").write(" ".join(str(a) for a in server.address))

        def on_exit(server):
            os.unlink("app-initialized")
        """
    )
    wait_until((folder / "app-initialized").exists, "the file is there")
    assert "Server is ready. Spawning workers\n" in s.log()
    assert read(folder / "app-initialized") == f"('127.0.0.1', {s.port})"
    s.stop()
    assert not (folder / "app-initialized").exists()


def test_time_of_a_request_is_kept_with_the_request(configured):
    s = configured(
        """
        import time

        def pre_request(worker, req):
            req.start_time = time.time()
            worker.log.debug("%s %s" % (req.method, req.path))

        def post_request(worker, req, environ, resp):
            took = time.time() - req.start_time
            agent = dict(req.headers).get("USER-AGENT")
            worker.log.info("%s %s?%s %s %s took %s", req.method, req.path, req.query, resp.status, agent, took >= 0)
        """
    )
    assert s.get("/page?a=1", "User-Agent: tester").status == 200
    s.wait_log("GET /page?a=1 200 OK tester took True\n")


@pytest.mark.parametrize("arguments", ["worker, req", "worker, req, environ", "worker, req, environ, resp"])
def test_post_request_takes_two_to_four_arguments(configured, arguments):
    s = configured(f"def post_request({arguments}):\n    worker.log.info('done %s', req.uri)\n")
    assert s.get("/x").status == 200
    s.wait_log("done /x\n")


def test_each_worker_gets_the_lowest_free_number(configured, folder):
    s = configured(
        """
        import os

        def on_starting(server):
            server._worker_id_overload = set()

        def nworkers_changed(server, new_value, old_value):
            server._worker_id_current_workers = new_value

        def _next_worker_id(server):
            if server._worker_id_overload:
                return server._worker_id_overload.pop()
            in_use = set(w._worker_id for w in tuple(server.WORKERS.values()) if w.alive)
            free = set(range(1, server._worker_id_current_workers + 1)) - in_use
            return free.pop()

        def on_reload(server):
            server._worker_id_overload = set(range(1, server.cfg.workers + 1))

        def pre_fork(server, worker):
            worker._worker_id = _next_worker_id(server)

        def post_fork(server, worker):
            os.environ["APP_WORKER_ID"] = str(worker._worker_id)
            with open("ids.txt", "a") as f:
                print(worker._worker_id, worker.pid, file=f)
        """,
        "-w", "3",
    )  # fmt: skip
    ids = lambda: [line.split() for line in read(folder / "ids.txt").splitlines()]  # noqa: E731
    wait_until(lambda: len(ids()) == 3, "three have one")
    assert sorted(i for i, _ in ids()) == ["1", "2", "3"]
    gone, pid = ids()[1]
    s.ready_workers(3)
    os.kill(int(pid), 9)
    wait_until(lambda: len(ids()) == 4, "another worker has come")
    assert ids()[3][0] == gone


def test_interrupted_worker_shows_its_threads(configured):
    s = configured(
        """
        def worker_int(worker):
            worker.log.info("worker received INT or QUIT signal")
            import threading, sys, traceback
            id2name = {th.ident: th.name for th in threading.enumerate()}
            code = []
            for thread_id, stack in sys._current_frames().items():
                code.append("\\n# Thread: %s(%d)" % (id2name.get(thread_id, ""), thread_id))
                for filename, lineno, name, line in traceback.extract_stack(stack):
                    code.append('File: "%s", line %d, in %s' % (filename, lineno, name))
            worker.log.info("\\n".join(code))
        """
    )
    (worker,) = s.ready_workers(1)
    assert s.get("/").status == 200  # so that it does listen to signals
    os.kill(worker, 2)
    s.wait_log("worker received INT or QUIT signal\n")
    s.wait_log("# Thread: MainThread(")


@ours
@pytest.mark.parametrize("threads", ["1", "2"])
def test_worker_that_takes_too_long_calls_its_hook(configured, folder, threads):
    (folder / "slow.py").write_text(
        "import time\ndef app(environ, start_response):\n    for _ in range(1000):\n        time.sleep(0.1)\n"
    )
    s = configured(
        """
        timeout = 1

        def worker_abort(worker):
            import sys, traceback
            worker.log.info("worker received SIGABRT signal: %s", worker.pid)
            for stack in sys._current_frames().values():
                worker.log.info("at %s", [f.name for f in traceback.extract_stack(stack)])

        def worker_exit(server, worker):
            server.log.info("farewell of %s", worker.pid)
        """,
        "--threads", threads,
        app="slow:app",
    )  # fmt: skip
    (worker,) = s.ready_workers(1)
    c = s.connect()
    c.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    s.wait_log(f"worker received SIGABRT signal: {worker}\n")
    s.wait_log(f"farewell of {worker}\n")
    s.wait_log(f"Worker (pid:{worker}) exited with code 1.\n")
    assert re.search(r"at \[.*'app'", s.log())
    c.close()
    s.tracebacks_expected = True


def test_each_worker_seeds_and_connects_for_itself(configured, folder):
    (folder / "pool.py").write_text("import os\npid = os.getpid()\ndef dispose():\n    global pid\n    pid = os.getpid()\n")
    (folder / "db.py").write_text(
        "import pool\ndef app(environ, start_response):\n"
        "    start_response('200 OK', [])\n    return [b'%d' % pool.pid]\n"
    )
    s = configured(
        """
        import random
        preload_app = True

        def post_fork(server, worker):
            random.seed()
            import pool
            pool.dispose()
        """,
        app="db:app",
    )
    (worker,) = s.ready_workers(1)
    assert s.get("/").text == str(worker)


def test_listening_sockets_and_settings_are_shown(configured, folder):
    s = configured(
        """
        import json, socket

        def when_ready(server):
            sock = server.LISTENERS[0]
            sock.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            facts = {
                "names": [list(l.getsockname()) for l in server.LISTENERS],
                "text": str(sock),
                "keepalive": sock.sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
                "bind": server.cfg.bind,
                "timeout": server.cfg.settings["timeout"].get(),
                "class": server.cfg.worker_class_str,
                "ssl": bool(server.cfg.is_ssl),
                "env": server.cfg.env,
                "pid": server.pid,
                "workers": server.num_workers,
            }
            json.dump(facts, open("facts.tmp", "w"))
            import os
            os.rename("facts.tmp", "facts.json")

        def on_exit(server):
            server.log.info("left: %d listeners, %d workers", len(server.LISTENERS), len(server.WORKERS))

        raw_env = ["A=b=c"]
        """
    )
    wait_until((folder / "facts.json").exists, "the hook has run")
    assert json.loads((folder / "facts.json").read_text()) == {
        "names": [["127.0.0.1", s.port]],
        "text": f"http://127.0.0.1:{s.port}",
        "keepalive": 1,
        "bind": [f"127.0.0.1:{s.port}"],
        "timeout": 30,
        "class": "gthread" if THREADED else "sync",
        "ssl": False,
        "env": {"A": "b=c"},
        "pid": s.pid,
        "workers": 1,
    }
    s.stop()
    assert "left: 0 listeners, 0 workers\n" in s.log()


def test_environment_names_the_server_software(configured):
    s = configured("import os\n")
    assert s.get("/variables?names=SERVER_SOFTWARE").text.startswith("gunicorn/")


def test_hook_before_a_request_that_raises_answers_500(configured):
    s = configured("def pre_request(worker, req):\n    raise RuntimeError('no')\n")
    s.tracebacks_expected = True
    assert s.get("/").status == 500
    assert "Error handling request GET /" in s.log()


def test_hook_after_a_request_that_raises_is_logged(configured):
    s = configured("def post_request(worker, req):\n    raise RuntimeError('no')\n")
    s.tracebacks_expected = True
    assert s.get("/").status == 200
    s.wait_log("Exception in post_request hook\n")
    assert s.get("/").status == 200


def test_hook_after_fork_that_raises_is_a_failed_boot(configured):
    s = configured("def post_fork(server, worker):\n    raise RuntimeError('no')\n", wait=False)
    s.status_expected, s.tracebacks_expected = 3, True
    assert s.wait() == 3


FLASK = """
import logging
log = logging.getLogger("shop")
gunicorn_logger = logging.getLogger("gunicorn.error")
log.handlers = gunicorn_logger.handlers
log.setLevel(gunicorn_logger.level)

def app(environ, start_response):
    log.debug("not shown")
    log.info("basket of %s", "Ann\u00e9")
    gunicorn_logger.error("from the server's own logger")
    start_response("200 OK", [])
    return [b"x"]
"""


@pytest.mark.parametrize("file", [None, "server.log"])
@pytest.mark.parametrize("preload", [False, True])
def test_application_logs_by_the_servers_logger(configured, folder, file, preload):
    (folder / "shop.py").write_text(FLASK, encoding="utf-8")
    args = (["--log-file", file] if file else []) + (["--preload"] if preload else [])
    s = configured("import os\n", *args, app="shop:app")
    (worker,) = s.ready_workers(1)
    if file:
        os.rename(folder / file, folder / "server-1.log")
        s.signal("USR1")
        wait_until((folder / file).exists, "the log is opened again")
    wait_until(lambda: s.get("/").status and "basket" in (read(folder / file) if file else s.log()), "it is logged")
    line = r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}\] \[%d\] \[INFO\] basket of Anné\n" % worker
    assert re.search(line, s.log())
    assert f"[{worker}] [ERROR] from the server's own logger\n" in s.log()
    assert "not shown" not in s.log()


def test_configuration_that_imports_logging_does_no_harm(configured, folder):
    (folder / "shop.py").write_text(FLASK, encoding="utf-8")
    s = configured("import logging\nlogging.basicConfig()\nloglevel = 'debug'\n", app="shop:app")
    assert s.get("/").status == 200
    s.wait_log("[INFO] basket of Anné\n")
    assert "[DEBUG] not shown\n" in s.log()


def test_profile_and_time_of_a_request_are_kept_with_the_worker(configured):
    s = configured(
        """
        import cProfile, io, pstats, time

        def pre_request(worker, req):
            worker.start_time = time.time()
            worker.profile = cProfile.Profile()
            worker.profile.enable()

        def post_request(worker, req, *args):
            worker.profile.disable()
            out = io.StringIO()
            pstats.Stats(worker.profile, stream=out).sort_stats("cumulative").print_stats(5)
            worker.log.info("[%s] [%s] took %s, profiled %s", worker.pid, req.method,
                            time.time() - worker.start_time >= 0, "function calls" in out.getvalue())
        """
    )
    (worker,) = s.ready_workers(1)
    assert s.get("/").status == 200
    s.wait_log(f"[{worker}] [GET] took True, profiled True\n")


def test_metrics_are_served_by_a_thread_of_the_master(configured, folder):
    s = configured(
        """
        import http.server, threading

        class Metrics(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"up 1")

            def log_message(self, *args):
                pass

        def when_ready(server):
            metrics = http.server.HTTPServer(("127.0.0.1", 0), Metrics)
            threading.Thread(target=metrics.serve_forever, daemon=True).start()
            with open("port.new", "w") as f:
                f.write(str(metrics.server_address[1]))
            import os
            os.rename("port.new", "port")
        """
    )
    port = int(wait_until(lambda: read(folder / "port"), "it is open"))
    s.ready_workers(1)
    for _ in range(3):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as answer:
            assert answer.read() == b"up 1"
    assert s.get("/").status == 200


def test_a_scheduler_runs_in_the_master_only(configured, folder):
    s = configured(
        """
        import os, threading
        preload_app = True

        def tick():
            while True:
                with open("ticks", "a") as f:
                    print(os.getpid(), file=f)
                threading.Event().wait(0.02)

        def on_starting(server):
            threading.Thread(target=tick, daemon=True).start()
        """,
        "-w", "2",
    )  # fmt: skip
    s.ready_workers(2)
    before = len(read(folder / "ticks"))
    wait_until(lambda: len(read(folder / "ticks")) > before + 50, "it goes on")
    assert set(read(folder / "ticks").split()) == {str(s.pid)}


def test_one_worker_of_several_has_the_background_thread(configured, folder):
    s = configured(
        """
        import fcntl, threading

        def post_fork(server, worker):
            lock = open("background.lock", "w")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, OSError):
                return
            worker.lock = lock

            def work():
                while True:
                    with open("work", "a") as f:
                        print(worker.pid, file=f)
                    threading.Event().wait(0.02)

            threading.Thread(target=work, daemon=True).start()
            worker.log.info("Background threads started in worker pid=%s", worker.pid)
        """,
        "-w", "3",
    )  # fmt: skip
    workers = s.ready_workers(3)
    wait_until(lambda: len(read(folder / "work")) > 50, "it works")
    assert s.log().count("Background threads started") == 1
    assert len(set(read(folder / "work").split())) == 1 and set(read(folder / "work").split()) < set(map(str, workers))


def test_gauge_of_living_workers(configured, folder):
    """prometheus_client's multiprocess mode, whose files are by process: up in post_worker_init, down in worker_exit."""
    s = configured(
        """
        import os

        def post_worker_init(worker):
            with open("gauge_livesum_%d.db" % os.getpid(), "w") as f:
                f.write("1")

        def worker_exit(server, worker):
            os.unlink("gauge_livesum_%d.db" % worker.pid)
        """,
        "-w", "2",
    )  # fmt: skip
    files = lambda: sorted(int(p.stem.rpartition("_")[2]) for p in folder.glob("gauge_livesum_*.db"))  # noqa: E731
    wait_until(lambda: files() == s.ready_workers(2), "each has its file")
    s.signal("TTOU")
    wait_until(lambda: len(files()) == 1 and files() == s.workers(1), "one has gone")
    s.stop()
    assert files() == []


def test_agent_wraps_the_application_that_the_worker_loads(configured, folder):
    """New Relic and others: an import hook, or a wrapper, that must be in place before the application is imported."""
    (folder / "newrelic").mkdir()
    (folder / "newrelic" / "__init__.py").write_text("")
    (folder / "newrelic" / "agent.py").write_text(
        "import builtins, os\nsettings = {}\n"
        "def initialize(config_file, environment=None):\n    settings.update(config=config_file, pid=os.getpid())\n"
        "def register_application(timeout=None):\n    settings['registered'] = timeout\n"
        "def WSGIApplicationWrapper(app):\n"
        "    def wrapped(environ, start_response):\n"
        "        return [b'%d %d ' % (settings['pid'], settings['registered'])] + app(environ, start_response)\n"
        "    return wrapped\n"
    )
    (folder / "shop.py").write_text(
        "import newrelic.agent\n"
        "def plain(environ, start_response):\n    start_response('200 OK', [])\n    return [b'shop']\n"
        "app = newrelic.agent.WSGIApplicationWrapper(plain)\n"
    )
    s = configured(
        """
        import newrelic.agent

        def post_fork(server, worker):
            newrelic.agent.initialize("newrelic.ini", environment="production")

        def post_worker_init(worker):
            newrelic.agent.register_application(timeout=10)
        """,
        app="shop:app",
    )
    (worker,) = s.ready_workers(1)
    assert s.get("/").text == f"{worker} 10 shop"


def test_telemetry_is_set_up_after_the_fork_with_arguments_of_its_own(configured, folder):
    """A base configuration that others import, with keyword-only arguments: OpenTelemetry, Sentry."""
    (folder / "company").mkdir()
    (folder / "company" / "__init__.py").write_text("")
    (folder / "company" / "gunicorn_config.py").write_text(
        "import os\nworkers = 1\ntimeout = 77\n"
        "def post_fork(server, worker, *, dsn=None, flask=True):\n"
        "    os.environ['TRACING'] = '%s/%s/%d' % (dsn, flask, worker.pid)\n"
    )
    s = configured(
        """
        from company.gunicorn_config import *
        from company.gunicorn_config import post_fork as _post_fork

        def post_fork(server, worker):
            _post_fork(server, worker, dsn="https://x", flask=False)
        """
    )
    (worker,) = s.ready_workers(1)
    assert s.get("/variables?names=TRACING").text == f"https://x/False/{worker}"


def test_base_file_is_run_and_extended(configured, folder):
    (folder / "base_conf.py").write_text("def when_ready(server):\n    server.log.info('base is ready')\ntimeout = 77\n")
    s = configured(
        """
        import runpy
        base = runpy.run_path("base_conf.py")
        globals().update({k: v for k, v in base.items() if not k.startswith("__")})

        def when_ready(server):
            base["when_ready"](server)
            server.log.warning("timeout %s of %s workers at %s", server.cfg.timeout, server.cfg.workers, server.address)
        """
    )
    s.wait_log("[INFO] base is ready\n")
    s.wait_log(f"[WARNING] timeout 77 of 1 workers at [('127.0.0.1', {s.port})]\n")


def test_database_connections_are_closed_around_the_fork(configured, folder):
    (folder / "db.py").write_text(
        "import os\nopened = os.getpid()\nclosed = []\n"
        "def close_all():\n    global opened\n    closed.append(os.getpid())\n    opened = None\n"
        "def app(environ, start_response):\n"
        "    start_response('200 OK', [])\n    return [repr((opened, closed)).encode()]\n"
    )
    s = configured(
        """
        preload_app = True

        def pre_fork(server, worker):
            import db
            db.close_all()

        def post_fork(server, worker):
            import db
            db.close_all()
            server.log.debug("Worker %s forked (pid=%d)", worker.age, worker.pid)
        """,
        app="db:app",
    )
    (worker,) = s.ready_workers(1)
    assert s.get("/").text == f"(None, [{s.pid}, {worker}])"


@pytest.mark.parametrize("hook", ["on_starting", "when_ready"])
def test_hook_that_exits_ends_the_start_with_its_status(configured, hook):
    s = configured(f"import sys\ndef {hook}(server):\n    print('no lock', file=sys.stderr)\n    sys.exit(7)\n", wait=False)
    s.status_expected = 7
    assert s.wait() == 7
    assert "no lock\n" in s.log()


def test_settings_of_many_kinds_as_people_write_them(configured):
    """Names that are none, None where it is the default, numbers as texts, empty hooks."""
    s = configured(
        """
        import os, multiprocessing
        port = 8000
        logfile = "-"
        command = "/venv/bin/gunicorn"
        workers = int(os.environ.get("WEB_CONCURRENCY", max(1, min(1, multiprocessing.cpu_count()))))
        worker_class = "sync"
        worker_connections = 1000
        timeout = int(os.environ.get("GUNICORN_TIMEOUT", "120"))
        keepalive = 5
        max_requests = 1000
        max_requests_jitter = 100
        spew = False
        daemon = False
        raw_env = "DJANGO_SETTINGS_MODULE=config.settings"
        pidfile = None
        umask = 0
        user = None
        group = None
        tmp_upload_dir = None
        worker_tmp_dir = "/dev/shm"
        logconfig = None
        keyfile = None
        certfile = None
        ssl_version = 2
        cert_reqs = 0
        ca_certs = None
        suppress_ragged_eofs = True
        do_handshake_on_connect = False
        ciphers = None
        ssl_session_cache = None
        statsd_host = os.getenv("STATSD_HOST", None)
        statsd_prefix = "shop"
        forwarded_allow_ips = "*"
        proxy_allow_ips = forwarded_allow_ips
        secure_scheme_headers = {"X-FORWARDED-PROTO": "https"}
        limit_request_line = 4096
        capture_output = True
        enable_stdio_inheritance = True
        proc_name = "shop_api"
        reload = os.environ.get("GUNICORN_RELOAD", "false").lower() == "true"

        def on_starting(server): pass
        def on_reload(server): pass
        def pre_fork(server, worker): pass
        def pre_exec(server): pass
        def child_exit(server, worker): pass
        def nworkers_changed(server, new_value, old_value): pass
        def worker_abort(worker): pass
        def on_exit(server): server.log.info("🛑 over")
        """
    )
    assert s.get("/variables?names=DJANGO_SETTINGS_MODULE").text == "config.settings"
    assert "no effect" not in s.log()
    s.stop()
    assert "🛑 over\n" in s.log()
