"""The servers that are measured: how each is started, and what it cannot do."""

import os
import shutil
import sys
from pathlib import Path

from measure import Server, free_port

HERE = Path(__file__).resolve().parent


class Place:
    """Where everything is: binaries, the virtual environment, the certificate, a folder for what servers write."""

    def __init__(self, build, folder, cert, key):
        self.build, self.folder, self.cert, self.key = Path(build).resolve(), Path(folder), cert, key
        self.bin = Path(sys.prefix, "bin")
        self.env = {
            **os.environ,
            "PATH": f"{self.bin}:{os.environ['PATH']}:/usr/sbin",
            "VIRTUAL_ENV": sys.prefix,
            "PYTHONPATH": str(HERE / "apps"),
            "BENCH_FILE": str(self.folder / "file"),
        }


class Peer:
    name = ""
    command = ""  # that must be there
    tls = True
    workers = True  # can have more than one
    keepalive = True
    python = True  # runs the application, so that it counts as a competitor

    def missing(self, place):
        """Why it cannot be measured here, or None."""
        if self.command and not shutil.which(self.command, path=place.env["PATH"]):
            return f"{self.command} is not installed"
        return None

    def suits(self, workload):
        return (self.tls or not workload.tls) and (self.workers or workload.workers == 1)

    def argv(self, place, app, port, workload):
        raise NotImplementedError

    def server(self, place, workload):
        port = free_port()
        argv = [str(a) for a in self.argv(place, workload.app, port, workload)]
        return Server(self.name, argv, port, workload.tls, place.env, place.folder)


def _tls(place, workload):
    return ["--certfile", place.cert, "--keyfile", place.key] if workload.tls else []


class Cwsgi(Peer):
    def __init__(self, name="cwsgi", *more):
        self.name, self.more = name, more

    def argv(self, place, app, port, workload):
        argv = [place.build / "cwsgi", "-b", f"127.0.0.1:{port}", "-w", workload.workers, "--log-level", "warning"]
        argv += ["--keep-alive", "60", "--worker-connections", "20000", "--threads", workload.threads]
        return [*argv, *_tls(place, workload), *self.more, app]


class Gunicorn(Peer):
    command = "gunicorn"

    def __init__(self, kind, *more):
        self.name, self.kind, self.more = " ".join([f"gunicorn {kind}", *more]), kind, more
        self.keepalive = kind != "sync"

    def argv(self, place, app, port, workload):
        argv = ["gunicorn", "-b", f"127.0.0.1:{port}", "-w", workload.workers, "--log-level", "warning"]
        argv += ["-k", self.kind, "--keep-alive", "60", "--worker-connections", "20000"]
        argv += ["--threads", max(workload.threads, 4)] if self.kind == "gthread" else []
        return [*argv, *_tls(place, workload), *self.more, app]

    def suits(self, workload):
        return self.kind == "gthread" or (workload.threads == 1 and not workload.idle)


class Granian(Peer):
    name = command = "granian"

    def argv(self, place, app, port, workload):
        argv = ["granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", port, "--no-ws"]
        argv += ["--log-level", "warning", "--workers", workload.workers, "--blocking-threads", workload.threads]
        argv += ["--ssl-certificate", place.cert, "--ssl-keyfile", place.key] if workload.tls else []
        return [*argv, app]


class Library(Peer):
    def __init__(self, name, tls, workers):
        self.name, self.tls, self.workers = name, tls, workers

    def missing(self, place):
        import importlib.util

        return None if importlib.util.find_spec(self.name) else f"{self.name} cannot be installed"

    def suits(self, workload):
        threaded = self.name in ("waitress", "cheroot")
        return super().suits(workload) and (workload.threads == 1 or threaded)

    def argv(self, place, app, port, workload):
        tls = [place.cert, place.key] if workload.tls else []
        return [sys.executable, HERE / "serve.py", self.name, app, port, workload.workers, workload.threads, *tls]


class Uwsgi(Peer):
    name = "uWSGI"
    command = "uwsgi"
    tls = False  # only through its router process

    def argv(self, place, app, port, workload):
        argv = ["uwsgi", "--http11-socket", f"127.0.0.1:{port}", "--master", "--processes", workload.workers]
        argv += ["--module", app, "--disable-logging", "--die-on-term", "--venv", sys.prefix]
        argv += ["--threads", workload.threads] if workload.threads > 1 else []
        return argv


class ModWsgi(Peer):
    name = "mod_wsgi"
    command = "mod_wsgi-express"
    tls = False  # its HTTPS wants a host name of its own

    def missing(self, place):
        apache = shutil.which("apache2", path=place.env["PATH"]) or shutil.which("httpd", path=place.env["PATH"])
        return super().missing(place) or (None if apache else "Apache is not installed")

    def argv(self, place, app, port, workload):
        module, attribute = app.split(":")
        argv = ["mod_wsgi-express", "start-server", "--port", port, "--processes", workload.workers]
        argv += ["--threads", workload.threads, "--application-type", "module", module]
        argv += ["--callable-object", attribute, "--server-root", place.folder / f"apache-{port}"]
        argv += ["--python-path", HERE / "apps", "--keep-alive-timeout", "60", "--max-clients", "256"]
        argv += ["--setenv", "BENCH_FILE", place.env["BENCH_FILE"]]
        argv += ["--user", "www-data", "--group", "www-data"] if os.getuid() == 0 else []
        return argv


class Nginx(Peer):
    """A ceiling: it answers by itself."""

    name = command = "nginx"
    python = False

    def suits(self, workload):
        return workload.app == "plain:hello" and workload.threads == 1

    def argv(self, place, app, port, workload):
        folder = place.folder / f"nginx-{port}"
        folder.mkdir(exist_ok=True)
        ssl = " ssl" if workload.tls else ""
        certificate = f"ssl_certificate {place.cert}; ssl_certificate_key {place.key};" if workload.tls else ""
        (folder / "nginx.conf").write_text(
            f"worker_processes {workload.workers}; daemon off; pid {folder}/pid; error_log {folder}/error.log;\n"
            "worker_rlimit_nofile 30000; events { worker_connections 20000; }\n"
            "http { access_log off; keepalive_requests 1000000000; keepalive_timeout 60;\n"
            + "".join(
                f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
            )
            + f"\nserver {{ listen 127.0.0.1:{port}{ssl}; {certificate}\n"
            "ssl_session_cache shared:s:4m; ssl_protocols TLSv1.2 TLSv1.3;\n"
            "location / { default_type text/plain; return 200 'Hello, World!'; } } }\n"
        )
        return ["nginx", "-c", folder / "nginx.conf", "-p", folder, "-e", folder / "error.log"]


class Yardstick(Peer):
    """Without Python: cwsgi's network part alone, and the least that libuv and llhttp can do."""

    python = False

    def __init__(self, name):
        self.name = name

    def suits(self, workload):
        return workload.app == "plain:hello" and not workload.tls and workload.workers == workload.threads == 1

    def missing(self, place):
        return None if (place.build / self.name).exists() else f"{self.name} was not built"

    def argv(self, place, app, port, workload):
        program = place.build / self.name
        if self.name == "bare":
            return [program, port]
        return [program, "-b", f"127.0.0.1:{port}", "--keep-alive", "60", "--worker-connections", "20000", "x"]


PEERS = [
    Cwsgi(),
    Gunicorn("sync"),
    Gunicorn("gthread"),
    Granian(),
    Library("fastpysgi", tls=True, workers=True),
    Library("fastwsgi", tls=False, workers=True),
    Library("bjoern", tls=False, workers=True),
    Uwsgi(),
    ModWsgi(),
    Library("waitress", tls=False, workers=False),
    Library("cheroot", tls=True, workers=False),
    Nginx(),
    Yardstick("floor"),
    Yardstick("bare"),
]
