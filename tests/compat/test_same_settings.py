"""Settings: the same names, the same values of them, whatever the source: shown by --print-config."""

import pytest

from sides import Both, must_be_documented, same

NO_SOCKET = "default of control_socket"
OUR_OWN = "settings of its own"
BY_SYSTEM = "a default that depends on the system"

# What both are given, beyond what is told to settings by other tests.
OPTIONS = """
    -w 3 --threads 4 -k gthread --worker-connections 77 --max-requests 5 --max-requests-jitter 2 -t 9
    --graceful-timeout 8 --keep-alive 7 --limit-request-line 4000 --limit-request-fields 99
    --limit-request-field_size 4001 --backlog 10 -b 127.0.0.1:8001 -b [::1]:8002 --bind unix:/tmp/x.sock
    --access-logfile - --access-logformat %(h)s --error-logfile x.log --log-level debug --capture-output -R
    --log-syslog --log-syslog-to udp://localhost:514 --log-syslog-prefix pre --log-syslog-facility local0
    --disable-redirect-access-to-syslog --statsd-host localhost:8125 --statsd-prefix st --dogstatsd-tags a:b
    --enable-backlog-metric -n name --preload --no-sendfile --reuse-port -D -e A=1 --env B=2 -p x.pid
    --worker-tmp-dir /dev/shm -m 022 --initgroups --pythonpath /usr,/var
    --forwarded-allow-ips 10.0.0.1,10.1.0.0/16 --forwarder-headers X_A,X_B --header-map refuse --proxy-protocol
    --proxy-allow-from 10.0.0.2 --reload --reload-engine poll --reload-extra-file hello.py
    --http-parser fast --check-config --ssl-version 2 --do-handshake-on-connect --suppress-ragged-eofs
    --no-control-socket --ciphers ECDHE --log-file y.log --umask 0o77 --user 0 --group 0
""".split()

FILE = """
import multiprocessing
workers = 2 * multiprocessing.cpu_count() + 1
bind = ["127.0.0.1:8001", "unix:/tmp/y.sock"]
worker_class = "gthread"
threads = "4"
timeout = 60
accesslog = errorlog = "-"
loglevel = "WARNING"
access_log_format = '%(h)s "%(r)s" %({x-request-id}i)s'
raw_env = ["A=1"]
proc_name = "shop"
default_proc_name = "other"
umask = 0o027
secure_scheme_headers = {"X-FORWARDED-PROTO": "https", "X-A": "b"}
forwarded_allow_ips = "*"
pythonpath = "/usr"
tmp_upload_dir = None
preload_app = True
max_requests = 1000
max_requests_jitter = 50
worker_tmp_dir = "/dev/shm"
reload_extra_files = ["hello.py"]
wsgi_app = "hello:app"
logconfig_dict = {}
statsd_host = None
keepalive = 5
initgroups = False
proxy_protocol = False
"""

VARIABLES = {
    "WEB_CONCURRENCY": "7",
    "PORT": "9001",
    "FORWARDED_ALLOW_IPS": "10.0.0.9",
    "SENDFILE": "0",
    "GUNICORN_CMD_ARGS": "--timeout 12 --name 'my shop' -e A=1",
}


@pytest.fixture
def settings(both):
    """settings(*args): Both of {name: value}."""

    def shown(side, args, file, variables):
        (side.folder / "gunicorn.conf.py").write_text(file)
        done = side.run("--print-config", *args, env=variables)
        assert done.returncode == 0, (side.name, done.stderr)
        lines = [line.partition(" = ") for line in done.stdout.splitlines() if " = " in line]
        home = str(side.folder)
        return {name.strip(): value.strip().replace(home, "HOME") for name, _, value in lines}

    def settings(*args, file="", variables=None):
        seen = both(lambda side: shown(side, args, file, variables or {}))
        own = set(seen.cwsgi) - set(seen.gunicorn)
        assert own, "none of its own any more"
        must_be_documented([OUR_OWN])
        return Both(seen.gunicorn, {k: v for k, v in seen.cwsgi.items() if k not in own})

    return settings


def test_defaults(settings):
    seen = settings("hello:app")
    assert len(seen.gunicorn) > 100
    same(seen, control_socket=NO_SOCKET, sendfile=BY_SYSTEM)


def test_command_line(settings):
    seen = settings(*OPTIONS, "hello:app")
    same(seen, control_socket=NO_SOCKET)


def test_configuration_file(settings):
    seen = settings(file=FILE)
    same(seen, control_socket=NO_SOCKET, sendfile=BY_SYSTEM)


def test_environment(settings):
    same(settings("hello:app", variables=VARIABLES), control_socket=NO_SOCKET, sendfile=BY_SYSTEM)


@pytest.mark.parametrize(
    "args", [["-k", "sync", "--threads", "2"], ["--proxy-protocol", "v2"], ["--log-level", "INFO"], ["-m", "18"]]
)
def test_value_that_is_seen_otherwise_than_it_was_given(settings, args):
    same(settings(*args, "hello:app"), control_socket=NO_SOCKET, sendfile=BY_SYSTEM)
