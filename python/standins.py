"""Stand-ins for gunicorn's arbiter, worker, request and response, and one caller for each server hook, which knows its
arguments. Runs as the module _cwsgi_hooks, made when there is a hook to call; pyhooks.c puts `log(level, text)` and
`settings`, a dict of all settings, into it before."""

import os
import sys
import time
import traceback
from types import SimpleNamespace

SCRIPT_NAME = "SCRIPT_NAME"


class LogFacts:
    """What gunicorn's logger has to show beside its methods; the handlers are lists that it does not fill either."""

    error_fmt = "%(asctime)s [%(process)d] [%(levelname)s] %(message)s"
    datefmt = "[%Y-%m-%d %H:%M:%S %z]"
    access_fmt = "%(message)s"
    error_handlers, access_handlers = [], []
    logfile = None

    def reopen_files(self):
        """Those of Python's logging. The server's own are reopened by USR1."""
        logging = sys.modules.get("logging")
        for name in (None, *logging.root.manager.loggerDict) if logging else ():
            for handler in logging.getLogger(name).handlers:
                if isinstance(handler, logging.FileHandler):
                    handler.acquire()
                    try:
                        if handler.stream:
                            handler.close()
                            handler.stream = handler._open()
                    finally:
                        handler.release()


class Log(LogFacts):
    """gunicorn's logger."""

    LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}

    def __init__(self, cfg):
        self.cfg = cfg
        self.loglevel = self.LEVELS.get(cfg.loglevel.lower(), 20)

    def log(self, level, msg, *args, exc_info=None, **ignored):
        if isinstance(level, str):
            level = self.LEVELS.get(level.lower(), 20)
        text = str(msg)
        if args:
            text %= args[0] if len(args) == 1 and isinstance(args[0], dict) and args[0] else args
        if exc_info:
            if isinstance(exc_info, BaseException):
                exc_info = type(exc_info), exc_info, exc_info.__traceback__
            elif not isinstance(exc_info, tuple):
                exc_info = sys.exc_info()
            text += "\n" + "".join(traceback.format_exception(*exc_info)).rstrip()
        log(min(max(level // 10 - 1, 0), 4), text)  # noqa: F821

    def debug(self, msg, *args, **kw):
        self.log(10, msg, *args, **kw)

    def info(self, msg, *args, **kw):
        self.log(20, msg, *args, **kw)

    def warning(self, msg, *args, **kw):
        self.log(30, msg, *args, **kw)

    warn = warning

    def error(self, msg, *args, **kw):
        self.log(40, msg, *args, **kw)

    def exception(self, msg, *args, **kw):
        self.log(40, msg, *args, **{"exc_info": True, **kw})

    def critical(self, msg, *args, **kw):
        self.log(50, msg, *args, **kw)

    @property
    def error_log(self):
        import logging

        return logging.getLogger("gunicorn.error")

    @property
    def access_log(self):
        import logging

        return logging.getLogger("gunicorn.access")


class Setting:
    def __init__(self, name, value):
        self.name = name
        self.value = value

    def get(self):
        return self.value


def address_of(text, default_port=8000):
    """What gunicorn makes of an address."""
    if text.startswith("unix:"):
        return text[7:] if text.startswith("unix://") else text[5:]
    if text.startswith("fd://"):
        return int(text[5:])
    host, colon, port = text.rpartition("://")[2].rpartition(":")
    if not colon or host.endswith(":") or not port.isdigit():
        host, port = text, default_port
    return host.strip("[]") or "0.0.0.0", int(port)


class Config(SimpleNamespace):
    def __init__(self, **values):
        super().__init__(**values)
        self.proc_name = self.proc_name or self.default_proc_name
        self.user = self.uid = self._number(self.user, os.geteuid(), "pwd", "getpwnam")
        self.group = self.gid = self._number(self.group, os.getegid(), "grp", "getgrnam")
        self.statsd_host = self.statsd_host and address_of(self.statsd_host, 8125)

    def set(self, name, value):
        """For those who ask this object afterwards: the server has read its settings."""
        if name not in settings:  # noqa: F821
            raise AttributeError("No configuration setting for: %s" % name)
        setattr(self, name, value)

    @property
    def settings(self):
        return {name: Setting(name, vars(self)[name]) for name in settings}  # noqa: F821

    @property
    def address(self):
        return [address_of(text) for text in self.bind]

    @property
    def env(self):
        return dict(pair.split("=", 1) for pair in self.raw_env)

    @property
    def is_ssl(self):
        return bool(self.certfile or self.keyfile)

    @staticmethod
    def _number(text, default, module, function):
        if text is None or text.isdigit():
            return default if text is None else int(text)
        return getattr(__import__(module), function)(text)[2]

    @property
    def worker_class_str(self):
        return "gthread" if self.threads > 1 else "sync"


class Listener:
    """A listening socket that is not Python's: any method of socket.socket, on an object that is gone afterwards."""

    def __init__(self, fd):
        self._fd = fd

    @property
    def sock(self):
        return self

    def fileno(self):
        return self._fd

    def __getattr__(self, name):
        import socket

        def call(*args):
            s = socket.socket(fileno=self._fd)
            try:
                return getattr(s, name)(*args)
            finally:
                s.detach()

        if callable(getattr(socket.socket, name)) and name != "detach":
            return call
        s = socket.socket(fileno=self._fd)
        try:
            return getattr(s, name)
        finally:
            s.detach()

    def __str__(self):
        name = self.getsockname()
        if not isinstance(name, tuple):
            return "unix:%s" % name
        host = "[%s]" % name[0] if ":" in name[0] else name[0]
        return "%s://%s:%d" % ("https" if server.cfg.is_ssl else "http", host, name[1])


class App:
    """gunicorn's Application."""

    callable = None  # once it is loaded here

    def __init__(self, cfg):
        self.cfg = cfg

    def wsgi(self):
        if self.callable is None:
            raise RuntimeError("the application is not loaded in this process yet: see --preload and post_worker_init")
        return self.callable


class Server:
    """gunicorn's arbiter."""

    master_name = "Master"
    master_pid = reexec_pid = 0
    worker_age = 0
    pidfile = None
    systemd = False

    def __init__(self, cfg):
        self.cfg = cfg
        self.app = App(cfg)
        self.log = Log(cfg)
        self.pid = os.getpid()
        self.address = cfg.address
        self.proc_name = cfg.proc_name
        self.num_workers = cfg.workers
        self.timeout = cfg.timeout
        self.WORKERS = {}  # pid: Worker; those that this image of the master has started
        self.LISTENERS = []


class Heartbeat:
    """gunicorn's file that a worker touches to show that it lives. The server sees by itself which worker hangs."""

    def notify(self):
        pass

    def last_update(self):
        return time.monotonic()


class Worker:
    pid = "[booting]"
    _alive = True
    booted = aborted = False
    nr = 0
    tmp = Heartbeat()
    reloader = None

    def __init__(self, age):
        self.age = age
        self.log = server.log
        self.cfg = server.cfg
        self.app = server.app
        self.ppid = server.pid
        self.timeout = server.timeout / 2
        self.max_requests = server.cfg.max_requests or sys.maxsize
        self.sockets = server.LISTENERS

    @property
    def wsgi(self):
        return self.app.callable

    @property
    def alive(self):
        return self._alive

    @alive.setter
    def alive(self, value):
        """A hook that sets it to False wants another worker: this one finishes what it has, and leaves."""
        if self._alive and not value and self.pid == os.getpid():
            import signal

            os.kill(self.pid, signal.SIGTERM)
        self._alive = bool(value)

    def notify(self):
        """There is no heartbeat that the application must keep up."""

    def __str__(self):
        return "<Worker %s>" % self.pid


class Request:
    """Made of the environ, which a hook may have for itself as well."""

    must_close = False
    req_number = 1  # which one of its connection it is, the server keeps to itself

    def __init__(self, environ):
        self.cfg = server.cfg
        self.method = environ["REQUEST_METHOD"]
        self.uri = environ["RAW_URI"]
        self.path = self.uri.partition("?")[0]
        if self.path[:1] not in "/*":
            self.path = "/" + self.path.partition("://")[2].partition("/")[2]
        self.query = environ["QUERY_STRING"]
        self.fragment = ""
        self.scheme = environ["wsgi.url_scheme"]
        self.version = tuple(map(int, environ["SERVER_PROTOCOL"][5:].split(".")))
        self.remote_addr = environ["REMOTE_ADDR"], int(environ.get("REMOTE_PORT") or 0)
        self.peer_addr = self.remote_addr
        self.body = environ["wsgi.input"]
        self.trailers = []
        self.proxy_protocol_info = proxied(environ)
        self.headers = [(key[5:].replace("_", "-"), value) for key, value in environ.items() if key[:5] == "HTTP_"]
        if mounted_by_header(environ):
            self.headers = [(SCRIPT_NAME if name == "SCRIPT-NAME" else name, v) for name, v in self.headers]
        for key in "CONTENT_TYPE", "CONTENT_LENGTH":
            if key in environ:
                self.headers.append((key.replace("_", "-"), environ[key]))

    def force_close(self):
        self.must_close = True

    def should_close(self):
        """Does the client want the connection closed after the answer?"""
        wish = next((value.lower().strip(" \t") for name, value in self.headers if name == "CONNECTION"), "")
        return self.must_close or wish == "close" or (wish != "keep-alive" and self.version <= (1, 0))

    def facts(self):
        """What the environ says of the request, to see whether a hook has changed it."""
        return self.method, self.uri, self.path, self.query, self.scheme, self.version, self.body, list(self.headers)

    def write_to(self, environ, old_path):
        """gunicorn makes the environ after the hook: what the hook leaves is what the application gets."""
        script = os.environ.get(SCRIPT_NAME, "") if mounted_by_header(environ) else environ[SCRIPT_NAME]
        for key in [key for key in environ if key[:5] == "HTTP_" or key in ("CONTENT_TYPE", "CONTENT_LENGTH")]:
            del environ[key]
        for name, value in self.headers:
            key = name.replace("-", "_")
            if name in ("CONTENT-TYPE", "CONTENT-LENGTH"):
                environ[key] = value
                continue
            if name == SCRIPT_NAME:
                script = value
            key = "HTTP_" + key
            environ[key] = "%s,%s" % (environ[key], value) if key in environ else value
        environ["REQUEST_METHOD"] = self.method
        environ["RAW_URI"] = self.uri
        environ["QUERY_STRING"] = self.query
        environ["SERVER_PROTOCOL"] = "HTTP/" + ".".join(map(str, self.version))
        environ["wsgi.input"] = self.body
        if (self.path, script) != (old_path, environ[SCRIPT_NAME]):
            environ["PATH_INFO"] = path_below(script, self.path)
            environ[SCRIPT_NAME] = script
        put_scheme(environ, self.scheme)


def mounted_by_header(environ):
    """Has a front end set SCRIPT_NAME? Its header is the only one that keeps its underscore."""
    return environ.get("HTTP_SCRIPT_NAME") == environ[SCRIPT_NAME]


def proxied(environ):
    """What a PROXY header has said. One without addresses leaves those of the front end."""
    if "PROXY_PROTOCOL" not in environ:
        return None
    info = {"proxy_protocol": environ["PROXY_PROTOCOL"]}
    known = "PROXY_ADDR" in environ
    for key, name in ("client", "REMOTE"), ("proxy", "PROXY"):
        info[key + "_addr"] = environ[name + "_ADDR"] if known else None
        info[key + "_port"] = int(environ[name + "_PORT"]) if known else None
    return info


def path_below(script, path):
    if not path.startswith(script):
        raise ValueError("the path %r does not start with SCRIPT_NAME, %r" % (path, script))
    from urllib.parse import unquote_to_bytes

    return unquote_to_bytes(path[len(script) :]).decode("latin-1")


def put_scheme(environ, scheme):
    environ["wsgi.url_scheme"] = scheme
    environ.pop("HTTPS", None)
    if scheme == "https":
        environ["HTTPS"] = "on"
    if "REMOTE_PORT" not in environ:  # a unix socket, which has neither name nor port: see environ.c
        name, colon, port = environ.get("HTTP_HOST", "").rpartition(":")
        if not colon or "]" in port:
            name, port = environ.get("HTTP_HOST"), None
        environ["SERVER_NAME"] = name or "localhost"
        environ["SERVER_PORT"] = port or ("443" if scheme == "https" else "80")


class Response:
    version = "cwsgi"

    def __init__(self, request, status, headers, sent, length):
        self.req = request
        self.cfg = server.cfg
        self.status = status
        self.status_code = int(status[:3] or 500)
        self.headers = headers
        self.headers_sent = bool(status)
        self.sent = sent
        self.response_length = length
        self.bodiless = request.method == "HEAD" or self.status_code in (204, 304)
        self.chunked = length is None and not self.bodiless and (1, 0) < request.version < (2, 0)

    def should_close(self):
        return self.req.should_close() or (self.response_length is None and not self.chunked and not self.bodiless)


server = Server(Config(**settings))  # noqa: F821
worker = None  # in a worker: itself; in the master: the one whose pre_fork was called last


def nothing(*args):
    """Stands for a hook that the configuration does not define."""


def loaded(callable):
    server.app.callable = callable


def listening(*fds):
    server.LISTENERS[:] = map(Listener, fds)


def forked(pid):
    """In the master and in the new worker: what pre_fork saw, and has perhaps put something into, is that worker."""
    worker.pid = pid
    if pid != os.getpid():
        server.WORKERS[pid] = worker


def on_starting(hook):
    hook(server)


when_ready = on_reload = pre_exec = on_exit = on_starting


def pre_fork(hook, age):
    global worker
    server.worker_age = age
    worker = Worker(age)
    hook(server, worker)


def child_exit(hook, pid, age):
    gone = server.WORKERS.pop(pid, None)
    if gone is None:
        gone = Worker(age)  # an earlier image of the master has started it
        gone.pid = pid
    hook(server, gone)


def nworkers_changed(hook, now, before):
    server.num_workers = now
    hook(server, now, before or None)


def post_fork(hook):
    if abort or at_exit:
        await_abort()
    hook(server, worker)


def post_worker_init(hook):
    hook(worker)
    worker.booted = True


def worker_int(hook):
    worker._alive = False  # it leaves already
    hook(worker)


def worker_exit(hook):
    hook(server, worker)


abort, at_exit = settings["worker_abort"], settings["worker_exit"]  # noqa: F821


def await_abort():
    """The master sends SIGABRT when a request takes too long. In the main thread, so that the hook sees where the
    application is; that thread runs no Python when others run the application, and then one of its own waits."""
    import signal

    def on_abort(*ignored):
        worker._alive, worker.aborted = False, True
        for hook, args in (abort or nothing, (worker,)), (at_exit or nothing, (server, worker)):
            try:
                hook(*args)
            except Exception:
                server.log.exception("Exception in worker process")
        server.log.info("Worker exiting (pid: %s)", worker.pid)
        sys.stdout.flush()
        os._exit(1)

    def watch():
        while signal.SIGABRT not in os.read(ours, 1):
            pass
        on_abort()

    if server.cfg.threads == 1:
        signal.signal(signal.SIGABRT, on_abort)
        return
    import threading

    ours, python = os.pipe()
    os.set_blocking(python, False)
    signal.signal(signal.SIGABRT, lambda *ignored: None)
    signal.set_wakeup_fd(python, warn_on_full_buffer=False)
    threading.Thread(target=watch, daemon=True, name="worker_abort").start()


def pre_request(hook):
    def call(environ):
        request = Request(environ)
        before, path = request.facts(), request.path
        hook(worker, request)
        if request.facts() != before:
            request.write_to(environ, path)
        return request

    return call


def post_request(hook):
    code = getattr(hook, "__code__", None)
    bound = getattr(hook, "__self__", None) is not None
    count = code.co_argcount - bound if code and not code.co_flags & 4 else 4

    def call(request, environ, *response):
        worker.nr += 1
        request = request or Request(environ)
        hook(*(worker, request, environ, Response(request, *response))[:count])

    return call
