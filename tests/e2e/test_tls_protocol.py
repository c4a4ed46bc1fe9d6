"""What is negotiated: Mozilla's intermediate profile, and sessions that any worker of any generation resumes."""

import secrets
import ssl
import subprocess
import warnings

import pytest

from harness import BOUND, Certificate, environment, ours, run, wait_until
from test_tls import context, wrap
from wire import Connection

pytestmark = ours

# https://ssl-config.mozilla.org, intermediate, by OpenSSL's names
INTERMEDIATE = {
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
    "DHE-RSA-AES128-GCM-SHA256",
    "DHE-RSA-AES256-GCM-SHA384",
    "DHE-RSA-CHACHA20-POLY1305",
}
SUITES = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"]


def openssl(*args, stdin=""):
    r = subprocess.run(["openssl", *map(str, args)], input=stdin, text=True, capture_output=True, timeout=BOUND)
    return r.stdout + r.stderr


def s_client(s, *args, stdin="Q\n"):
    return openssl("s_client", "-connect", f"127.0.0.1:{s.port}", "-servername", "localhost", *args, stdin=stdin)


def negotiated(output):
    line = next((line for line in output.splitlines() if "Cipher is " in line), "Cipher is (NONE)")
    return line.rpartition("Cipher is ")[2]


@pytest.fixture(scope="module", params=["ec", "rsa"])
def key_type(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    c = Certificate(folder)
    if request.param == "rsa":
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "9", "-subj", "/CN=localhost", "-addext",
                "subjectAltName=DNS:localhost", "-keyout", c.key, "-out", c.cert)  # fmt: skip
        c.client = ssl.create_default_context(cafile=str(c.cert))
    return request.param, c


@pytest.fixture(scope="module")
def offered(module_server, key_type):
    return key_type[0], module_server("probe:app", tls=key_type[1])


def test_ciphers_of_1_2_are_those_of_the_profile(offered):
    kind, s = offered
    every = openssl("ciphers", "-tls1_2", "-s", "ALL:eNULL:@SECLEVEL=0").strip().split(":")
    assert INTERMEDIATE <= set(every) and len(every) > 20
    accepted = {
        c for c in every if negotiated(s_client(s, "-tls1_2", "-cipher", f"{c}:@SECLEVEL=0")) != "(NONE)"
    }  # fmt: skip
    assert accepted == {c for c in INTERMEDIATE if ("ECDSA" in c) == (kind == "ec")}


def test_suites_of_1_3_are_those_of_the_profile(offered):
    _, s = offered
    every = [*SUITES, "TLS_AES_128_CCM_SHA256", "TLS_AES_128_CCM_8_SHA256"]
    accepted = [c for c in every if negotiated(s_client(s, "-tls1_3", "-ciphersuites", c)) != "(NONE)"]
    assert accepted == SUITES


def test_groups_are_those_of_the_profile(offered):
    _, s = offered
    every = ["X25519", "P-256", "P-384", "P-521", "X448", "ffdhe2048"]
    accepted = [g for g in every if negotiated(s_client(s, "-tls1_3", "-groups", g)) != "(NONE)"]
    assert accepted == ["X25519", "P-256", "P-384"]


def test_client_chooses_among_the_good_ciphers(offered):
    _, s = offered
    for wanted in SUITES:
        rest = [c for c in SUITES if c != wanted]
        assert negotiated(s_client(s, "-tls1_3", "-ciphersuites", ":".join([wanted, *rest]))) == wanted


@pytest.mark.parametrize("version", ["-tls1", "-tls1_1"])
def test_old_versions_are_refused(offered, version):
    assert negotiated(s_client(offered[1], version, "-cipher", "ALL:@SECLEVEL=0")) == "(NONE)"


def test_nothing_is_compressed_nor_renegotiated(offered):
    _, s = offered
    assert "Compression: NONE" in s_client(s, "-tls1_2", "-comp")
    again = s_client(s, "-tls1_2", stdin="R\nGET / HTTP/1.0\n\n")
    assert "no renegotiation" in again or "ssl handshake failure" in again


def test_oldest_version_is_set(server, certificate):
    s = server("probe:app", "--ssl-min-version", "1.3", tls=certificate)
    assert negotiated(s_client(s, "-tls1_2")) == "(NONE)"
    assert negotiated(s_client(s, "-tls1_3")) in SUITES


def test_suites_are_set(server, certificate):
    s = server("probe:app", "--ciphersuites", SUITES[2], "--ciphers", "ECDHE+AESGCM", tls=certificate)
    assert negotiated(s_client(s, "-tls1_3")) == SUITES[2]
    assert negotiated(s_client(s, "-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305")) == "(NONE)"


@pytest.mark.parametrize(
    "option, value, said",
    [
        ("--ciphersuites", "nonsense", "ciphersuites 'nonsense'"),
        ("--ciphers", "nonsense", "nonsense"),
        ("--ssl-min-version", "1.1", "ssl_min_version"),
        ("--ssl-ticket-keys", "nowhere", "ssl_ticket_keys 'nowhere' cannot be read: No such file"),
    ],
)
def test_nonsense_is_refused_at_the_start(tmp_path, certificate, option, value, said):
    r = run("-b", "127.0.0.1:0", "--certfile", certificate.cert, "--keyfile", certificate.key, option, value,
            "probe:app", cwd=tmp_path)  # fmt: skip
    assert r.returncode == 1 and said in r.stderr


# Sessions


def client(certificate, version):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return context(certificate, minimum_version=version, maximum_version=version)


def visit(s, ctx, session=None):
    """The session of a visit, whether it was resumed, and the worker that answered."""
    with wrap(s, ctx, session=session) as sock:
        pid = int(Connection(sock).get("/pid").body)
        return sock.session, sock.session_reused, pid


VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])


@VERSIONS
def test_every_worker_resumes_a_session(server, certificate, version):
    s = server("probe:app", "-w", "3", tls=certificate)
    s.ready_workers(3)
    ctx = client(certificate, version)
    session, resumed, first = visit(s, ctx)
    assert not resumed
    pids = set()
    for _ in range(300):
        after, resumed, pid = visit(s, ctx, session)
        assert resumed
        session = after if version == ssl.TLSVersion.TLSv1_3 else session
        pids.add(pid)
        if len(pids) == 3:
            break
    assert len(pids) > 1


def test_ticket_of_tls_1_3_is_good_for_one_visit(server, certificate):
    """Browsers show each ticket once, so that nobody can tell two visits for the same (RFC 8446 C.4)."""
    s = server("probe:app", tls=certificate)
    ctx = client(certificate, ssl.TLSVersion.TLSv1_3)
    session, seen = None, set()
    for visits in range(1, 4):
        session, resumed, _ = visit(s, ctx, session)
        assert resumed == (visits > 1)
        seen.add(session.id)
        assert len(seen) == visits


@VERSIONS
def test_next_generation_resumes_a_session(server, certificate, version):
    s = server("probe:app", tls=certificate)
    ctx = client(certificate, version)
    session, _, pid = visit(s, ctx)
    s.signal("HUP")
    wait_until(lambda: pid not in s.children(), "the old worker has gone")
    _, resumed, other = visit(s, ctx, session)
    assert resumed and other != pid


def write_keys(path, *keys):
    path.write_text("# newest first\n\n" + "".join(f"{k}\n" for k in keys))


@VERSIONS
def test_servers_with_the_same_keys_resume_each_other_s_sessions(server, certificate, tmp_path, version):
    ours, older, foreign = (secrets.token_hex(80) for _ in range(3))
    here, there, elsewhere = (tmp_path / name for name in ("here", "there", "elsewhere"))
    write_keys(here, ours, older)
    write_keys(there, older)
    write_keys(elsewhere, foreign)
    a, b, c = (server("probe:app", "--ssl-ticket-keys", f, tls=certificate) for f in (here, there, elsewhere))
    ctx = client(certificate, version)
    session, _, _ = visit(b, ctx)
    assert visit(a, ctx, session)[1]
    assert not visit(c, ctx, session)[1]
    session, _, _ = visit(a, ctx)
    assert not visit(b, ctx, session)[1]

    write_keys(there, ours)
    b.signal("HUP")
    b.wait_log("Hang up")
    wait_until(lambda: visit(b, ctx, session)[1], "the new key is used")


@pytest.mark.parametrize(
    "text, said",
    [
        ("", "holds no key"),
        ("# only this\n", "holds no key"),
        ("abc\n", "line 1: not 160 hexadecimal digits"),
        ("0" * 160 + "\n" + "g" * 160 + "\n", "line 2: not 160 hexadecimal digits"),
        ("0" * 161 + "\n", "line 1: not 160 hexadecimal digits"),
        (("0" * 160 + "\n") * 9, "line 9: too many keys"),
    ],
)
def test_bad_file_of_keys_is_refused_at_the_start(tmp_path, certificate, text, said):
    (tmp_path / "keys").write_text(text)
    r = run("-b", "127.0.0.1:0", "--certfile", certificate.cert, "--keyfile", certificate.key, "--ssl-ticket-keys",
            "keys", "probe:app", cwd=tmp_path, env=environment())  # fmt: skip
    assert r.returncode == 1 and said in r.stderr


