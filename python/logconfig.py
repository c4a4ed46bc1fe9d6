"""The server's logs by way of Python's logging, for logconfig, logconfig_dict, logconfig_json and logger_class. Runs as
the module _cwsgi_logconfig, after the stand-ins; pylog.c calls the functions at the end."""

import datetime
import importlib
import json
import logging
import logging.config
import logging.handlers
import os
import socket
import sys
import time

from _cwsgi_hooks import LogFacts, Request, Response, server

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
METHODS = {level: name for name, level in LEVELS.items()}


def to_stream(stream):
    return {"class": "logging.StreamHandler", "formatter": "generic", "stream": "ext://sys." + stream}


def defaults():
    """What a dict may leave out."""
    loggers = {
        name: {"level": "INFO", "handlers": [handler], "propagate": True, "qualname": name}
        for name, handler in (("gunicorn.error", "error_console"), ("gunicorn.access", "console"))
    }
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "root": {"level": "INFO", "handlers": ["console"]},
        "loggers": loggers,
        "handlers": {"console": to_stream("stdout"), "error_console": to_stream("stderr")},
        "formatters": {"generic": {"class": "logging.Formatter", "format": Logger.error_fmt, "datefmt": Logger.datefmt}},
    }


class Atoms(dict):
    """Those that are not there print as "-"; no value ends its quotes."""

    def __init__(self, atoms):
        super().__init__((k, v.replace('"', '\\"') if isinstance(v, str) else v) for k, v in atoms.items())

    def __getitem__(self, name):
        return self.get(name.lower() if name.startswith("{") else name, "-")


class Logger(LogFacts):
    """gunicorn's, as far as configurations of logging meet it."""

    def __init__(self, cfg):
        self.cfg = cfg
        self.loglevel = LEVELS.get(cfg.loglevel.lower(), logging.INFO)
        self.error_log = logging.getLogger("gunicorn.error")
        self.access_log = logging.getLogger("gunicorn.access")
        self.error_log.propagate = self.access_log.propagate = False
        self.error_log.setLevel(self.loglevel)
        self.access_log.setLevel(logging.INFO)
        self.add(self.error_log, cfg.errorlog, logging.Formatter(self.error_fmt, self.datefmt), sys.stderr)
        if cfg.accesslog:
            self.add(self.access_log, cfg.accesslog, logging.Formatter(self.access_fmt), sys.stdout)
        if cfg.syslog:
            self.add_all_syslog()
        if cfg.logconfig_dict:
            logging.config.dictConfig({**defaults(), **cfg.logconfig_dict})
        elif cfg.logconfig_json:
            with open(cfg.logconfig_json, encoding="utf-8") as f:
                logging.config.dictConfig({**defaults(), **json.load(f)})
        elif cfg.logconfig:
            with open(cfg.logconfig):
                """Python would take one that cannot be read for an empty one."""
            about = {"__file__": cfg.logconfig, "here": os.path.dirname(cfg.logconfig)}
            logging.config.fileConfig(cfg.logconfig, defaults=about, disable_existing_loggers=False)

    @staticmethod
    def add(logger, path, formatter, stream):
        handler = logging.StreamHandler(stream) if path == "-" else logging.FileHandler(path)
        handler.setFormatter(formatter)
        logger.addHandler(handler)

    def add_all_syslog(self):
        self.add_syslog(self.error_log, "error")
        if not self.cfg.disable_redirect_access_to_syslog:
            self.add_syslog(self.access_log, "access")

    def add_syslog(self, logger, name):
        scheme, _, where = self.cfg.syslog_addr.partition("://")
        if scheme == "unix":
            address, _, kind = where.partition("#")
            kind = {"dgram": socket.SOCK_DGRAM}.get(kind)
        else:
            host, colon, port = where.rpartition(":")
            host, port = (host, port) if colon and port.isdigit() else (where, "514")
            address = (host.strip("[]") or "localhost", int(port))
            kind = socket.SOCK_STREAM if scheme == "tcp" else socket.SOCK_DGRAM
        handler = logging.handlers.SysLogHandler(address, self.cfg.syslog_facility.lower(), kind)
        prefix = self.cfg.syslog_prefix or self.cfg.proc_name.replace(":", ".")
        handler.setFormatter(logging.Formatter("gunicorn.%s.%s: [%%(process)d] %%(message)s" % (prefix, name)))
        logger.addHandler(handler)

    def log(self, level, msg, *args, **kw):
        if isinstance(level, str):
            level = LEVELS.get(level.lower(), logging.INFO)
        self.error_log.log(level, msg, *args, **kw)

    def __getattr__(self, name):  # debug, info, warning, error, critical, exception
        return getattr(self.error_log, name)

    @staticmethod
    def now():
        return time.strftime("[%d/%b/%Y:%H:%M:%S %z]")

    @staticmethod
    def user(environ):
        import base64
        import binascii

        scheme, _, text = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        try:
            return base64.b64decode(text).partition(b":")[0].decode() if scheme.lower() == "basic" else None
        except (binascii.Error, UnicodeDecodeError):
            return None

    def atoms(self, resp, req, environ, request_time):
        us = request_time // datetime.timedelta(microseconds=1)
        atoms = {
            "h": environ.get("REMOTE_ADDR", "-"),
            "l": "-",
            "u": self.user(environ) or "-",
            "t": self.now(),
            "r": "%s %s %s" % (environ["REQUEST_METHOD"], environ["RAW_URI"], environ["SERVER_PROTOCOL"]),
            "s": resp.status.split(None, 1)[0] if isinstance(resp.status, str) else resp.status,
            "m": environ["REQUEST_METHOD"],
            "U": environ["PATH_INFO"],
            "q": environ["QUERY_STRING"],
            "H": environ["SERVER_PROTOCOL"],
            "b": str(resp.sent),
            "B": resp.sent,
            "f": environ.get("HTTP_REFERER", "-"),
            "a": environ.get("HTTP_USER_AGENT", "-"),
            "T": us // 1000000,
            "D": us,
            "M": us // 1000,
            "L": "%d.%06d" % divmod(us, 1000000),
            "p": "<%s>" % os.getpid(),
        }
        for letter, pairs in ("i", req.headers), ("o", resp.headers), ("e", environ.items()):
            atoms.update({"{%s}%s" % (name.lower(), letter): value for name, value in pairs})
        return atoms

    def access(self, resp, req, environ, request_time):
        self.access_log.info(self.cfg.access_log_format, Atoms(self.atoms(resp, req, environ, request_time)))


class Adopted(Logger):
    """On the loggers as the configuration file, or the application, has left them."""

    def __init__(self, cfg):
        self.cfg = cfg
        self.error_log = logging.getLogger("gunicorn.error")
        self.access_log = logging.getLogger("gunicorn.access")
        self.access_log_enabled = bool(cfg.accesslog or cfg.syslog)
        if cfg.syslog:
            self.add_all_syslog()

    def access(self, *what):
        if self.access_log_enabled:
            super().access(*what)


def find(name):
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def make(name):
    """NAME: logger_class; None for one of our own; "": on what is there. From which level on it has records."""
    global logger
    try:
        make_one = find(name) if name else Logger if name is None else Adopted
        logger = server.log = make_one(server.cfg)
    except Exception as e:
        if e.__cause__ is None:
            raise
        raise RuntimeError("%s: %s" % (e, e.__cause__)) from None  # "Unable to configure handler 'x'" is not all
    log = getattr(logger, "error_log", None)
    return log.getEffectiveLevel() if log else LEVELS.get(server.cfg.loglevel.lower(), logging.INFO)


def record(level, text):
    getattr(logger, METHODS[level])(text)


def exception(level, title, value):
    """As an except clause would tell it."""
    method = logger.exception if level == 40 else getattr(logger, METHODS[level])
    method(title, exc_info=(type(value), value, value.__traceback__))


def access(request, environ, status, headers, sent, length, us):
    """The application has answered."""
    request = request or Request(environ)
    response = Response(request, status, headers, sent, length)
    logger.access(response, request, environ, datetime.timedelta(microseconds=us))


def refused(line):
    """The application has not seen this request; `line` has the values of KEYS."""
    atoms = dict(zip(KEYS, line.split("\x1f")))
    atoms["l"] = "-"
    for key in "B", "T", "D", "M":
        atoms[key] = int(atoms[key])
    if getattr(logger, "access_log_enabled", True):
        log = getattr(logger, "access_log", logging.getLogger("gunicorn.access"))
        log.info(server.cfg.access_log_format, Atoms(atoms))


KEYS = [*"hutrsmUqHbBfaTDMLp", "{host}i", "{user-agent}i", "{referer}i", "{x-forwarded-for}i"]
REFUSED_FORMAT = "\x1f".join("%%(%s)s" % key for key in KEYS)


def reopen():
    logger.reopen_files()
