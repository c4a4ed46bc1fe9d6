"""Client certificates: who is asked, who is believed, and what the application hears of it."""

import datetime
import json
import os
import ssl

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from harness import environment, ours, run, wait_until
from test_tls import wrap
from wire import Broken, Connection

pytestmark = ours


class Authority:
    """Issues certificates to clients, and takes them back."""

    def __init__(self, folder, name):
        self.ca = trustme.CA(organization_name=name)
        self.file, self.crl = folder / f"{name}.pem", folder / f"{name}.crl"
        self.ca.cert_pem.write_to_path(self.file)
        self.folder = folder
        self.revoke()

    def issue(self, name):
        file = self.folder / f"{name}.pem"
        self.ca.issue_cert("client@example.org", common_name=name).private_key_and_cert_chain_pem.write_to_path(file)
        return file

    def revoke(self, *files):
        now = datetime.datetime.now(datetime.timezone.utc)
        key = serialization.load_pem_private_key(self.ca.private_key_pem.bytes(), None)
        issuer = x509.load_pem_x509_certificate(self.ca.cert_pem.bytes())
        crl = x509.CertificateRevocationListBuilder().issuer_name(issuer.subject).last_update(now)
        crl = crl.next_update(now + datetime.timedelta(days=1))
        for file in files:
            cert = x509.load_pem_x509_certificates(file.read_bytes())[0]
            gone = x509.RevokedCertificateBuilder().serial_number(cert.serial_number).revocation_date(now).build()
            crl = crl.add_revoked_certificate(gone)
        self.crl.write_bytes(crl.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"), "Example")


@pytest.fixture(scope="module")
def ann(authority):
    return authority.issue("Änn")


def client(certificate, own=None, version=None):
    ctx = ssl.create_default_context(cafile=str(certificate.cert))
    if own:
        ctx.load_cert_chain(own)
    if version:
        ctx.minimum_version = ctx.maximum_version = version
    return ctx


def visit(s, ctx, session=None):
    """environ, as the application sees it."""
    with wrap(s, ctx, session=session) as sock:
        environ = json.loads(Connection(sock).get("/environ").body)
        return {k: v for k, (_, v) in environ.items()}, sock.session, sock.session_reused


def is_refused(s, ctx, session=None):
    try:
        visit(s, ctx, session)
    except (ssl.SSLError, ConnectionError, Broken):
        return True
    return False


VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])


@VERSIONS
def test_application_sees_who_has_come(server, certificate, authority, ann, version):
    s = server("probe:app", "--cert-reqs", "2", "--ca-certs", authority.file, tls=certificate)
    ctx = client(certificate, ann, version)
    cert = x509.load_pem_x509_certificates(ann.read_bytes())[0]
    environ, session, _ = visit(s, ctx)
    resumed, _, was_resumed = visit(s, ctx, session)
    assert was_resumed
    for seen in (environ, resumed):
        assert seen["SSL_CLIENT_VERIFY"] == "SUCCESS"
        subject = seen["SSL_CLIENT_S_DN"].encode("latin-1").decode()
        assert subject == cert.subject.rfc4514_string() and "CN=Änn" in subject
        assert seen["SSL_CLIENT_I_DN"] == cert.issuer.rfc4514_string()
        assert int(seen["SSL_CLIENT_M_SERIAL"], 16) == cert.serial_number
        assert seen["SSL_CLIENT_V_END"].endswith(" GMT")
        assert x509.load_pem_x509_certificate(seen["SSL_CLIENT_CERT"].encode()) == cert


@VERSIONS
def test_who_has_none_or_a_foreign_one_is_refused(server, certificate, authority, tmp_path, version):
    foreign = Authority(tmp_path, "Foreign").issue("eve")
    s = server("probe:app", "--cert-reqs", "2", "--ca-certs", authority.file, tls=certificate)
    for own in (None, foreign):
        assert is_refused(s, client(certificate, own, version))
    assert s.calls() == []


def test_one_that_may_be_shown_has_to_be_good(server, certificate, authority, ann, tmp_path):
    foreign = Authority(tmp_path, "Foreign").issue("eve")
    s = server("probe:app", "--cert-reqs", "1", "--ca-certs", authority.file, tls=certificate)
    environ, _, _ = visit(s, client(certificate))
    assert environ["SSL_CLIENT_VERIFY"] == "NONE" and "SSL_CLIENT_S_DN" not in environ
    assert visit(s, client(certificate, ann))[0]["SSL_CLIENT_VERIFY"] == "SUCCESS"
    assert is_refused(s, client(certificate, foreign))


def test_nobody_is_asked_by_default(server, certificate, ann):
    s = server("probe:app", tls=certificate)
    environ, _, _ = visit(s, client(certificate, ann))
    assert not [k for k in environ if k.startswith("SSL_CLIENT")]


def test_header_is_no_certificate(server, certificate, authority):
    s = server("probe:app", "--cert-reqs", "1", "--ca-certs", authority.file, tls=certificate)
    with wrap(s, client(certificate)) as sock:
        c = Connection(sock)
        c.send(b"GET /environ HTTP/1.1\r\nHost: h\r\nSSL-Client-Verify: SUCCESS\r\nConnection: close\r\n\r\n")
        assert b'"SSL_CLIENT_VERIFY": ["str", "NONE"]' in c.take_rest()


def test_revoked_certificate_is_refused(server, certificate, tmp_path):
    authority = Authority(tmp_path, "Revoking")
    good, bad = authority.issue("good"), authority.issue("bad")
    s = server("probe:app", "--cert-reqs", "2", "--ca-certs", authority.file, "--ssl-crl", authority.crl,
               tls=certificate)  # fmt: skip
    contexts = {f: client(certificate, f, ssl.TLSVersion.TLSv1_2) for f in (good, bad)}
    sessions = {f: visit(s, ctx)[1] for f, ctx in contexts.items()}
    authority.revoke(bad)
    pid = s.workers(1)[0]
    s.signal("HUP")
    wait_until(lambda: pid not in s.children(), "the new list is used")
    assert is_refused(s, contexts[bad])
    assert is_refused(s, contexts[bad], sessions[bad])  # a session from before is no way around it
    assert visit(s, contexts[good])[0]["SSL_CLIENT_VERIFY"] == "SUCCESS"


def test_session_without_a_certificate_does_not_lead_in_later(server, certificate, authority, tmp_path):
    config = tmp_path / "config.py"
    config.write_text(f"ca_certs = {str(authority.file)!r}\ncert_reqs = 0\n")
    s = server("probe:app", "-c", config, tls=certificate)
    ctx = client(certificate, version=ssl.TLSVersion.TLSv1_2)
    _, session, _ = visit(s, ctx)
    assert visit(s, ctx, session)[2]
    config.write_text(config.read_text().replace("cert_reqs = 0", "cert_reqs = 2"))
    pid = s.workers(1)[0]
    s.signal("HUP")
    wait_until(lambda: pid not in s.children(), "certificates are asked for")
    assert is_refused(s, ctx, session)


@pytest.mark.parametrize(
    "options, said",
    [
        (["--cert-reqs", "2"], "cert_reqs is 2, but there is no ca_certs"),
        (["--cert-reqs", "1", "--ca-certs", "nowhere"], "ca_certs 'nowhere' cannot be read: No such file"),
        (["--cert-reqs", "1", "--ca-certs", "empty"], "ca_certs 'empty' holds no certificate in PEM format"),
        (["--cert-reqs", "1", "--ca-certs", "junk"], "ca_certs 'junk'"),
        (["--cert-reqs", "1", "--ca-certs", "good", "--ssl-crl", "good"], "ssl_crl 'good' holds no revocation list"),
        (["--cert-reqs", "1", "--ca-certs", "huge"], "ca_certs 'huge' is larger than 16 MiB"),
        (["--cert-reqs", "1", "--ca-certs", "good", "--ssl-crl", "huge"], "ssl_crl 'huge' is larger than 16 MiB"),
        (["--cert-reqs", "3"], "cert_reqs"),
    ],
)
def test_mistake_is_told_at_the_start(tmp_path, certificate, authority, options, said):
    (tmp_path / "empty").write_text("")
    (tmp_path / "junk").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    (tmp_path / "good").write_bytes(authority.file.read_bytes())
    (tmp_path / "huge").write_bytes(authority.file.read_bytes())
    os.truncate(tmp_path / "huge", 17 << 20)
    r = run("-b", "127.0.0.1:0", "--certfile", certificate.cert, "--keyfile", certificate.key, *options, "probe:app",
            cwd=tmp_path, env=environment())  # fmt: skip
    assert r.returncode == 1 and said in r.stderr
