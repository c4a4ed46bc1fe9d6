"""What is measured."""

from dataclasses import dataclass, field, replace

from measure import Load


@dataclass
class Workload:
    key: str
    title: str
    app: str = "plain:hello"
    load: Load = field(default_factory=Load)
    workers: int = 1
    threads: int = 1
    tls: bool = False
    idle: int = 0  # connections that are only held


BASE = [
    Workload("hello", "hello, 13 bytes"),
    Workload("flask", "Flask hello", "flask_hello:app"),
    Workload("django", "Django view with a template", "django_hello:app"),
    Workload("echo", "POST, 64 KiB echoed", "plain:echo", Load(post="body")),
    Workload("megabyte", "1 MiB of bytes", "plain:megabyte"),
    Workload("pieces", "generator, 50 × 1 KiB", "plain:pieces"),
    Workload("file", "10 MiB by wsgi.file_wrapper", "plain:file", Load(connections=4)),
    Workload("close", "hello, a connection each", load=Load(close=True)),
    Workload("pipelined", "hello, 16 pipelined", load=Load(pipelined=16)),
]

# With a connection each, h2load resumes the session of the one before if the server has ended TLS as it should. What a
# full handshake costs is measured in memory.py.
OVER_TLS = [
    replace(w, key=f"{w.key}-tls", title=f"{w.title}, TLS", tls=True) for w in BASE if w.key != "pipelined"
]

THREE = [
    replace(w, key=f"{w.key}-3", title=f"{w.title}, 3 workers", workers=3) for w in [*BASE[:3], *OVER_TLS[:2]]
]

THREADS = [
    Workload("threads", "hello, 4 threads", threads=4),
    Workload("flask-threads", "Flask hello, 4 threads", "flask_hello:app", threads=4),
    Workload("sleep", "10 ms of sleep, 32 threads", "plain:sleeper", Load(connections=64), threads=32),
]

WORKLOADS = [*BASE, *OVER_TLS, *THREE, *THREADS]
