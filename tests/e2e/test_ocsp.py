"""OCSP stapling: the authority's word on the certificate goes along, where there is one."""

import datetime
import http.server
import subprocess
import threading
import time
from contextlib import suppress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ocsp

from harness import BOUND, ours, wait_until

pytestmark = ours
NOW = datetime.datetime.now(datetime.timezone.utc)
DAY = datetime.timedelta(days=1)


def name(text):
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def certificate(subject, issuer, key, signer, *extensions):
    cert = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    cert = cert.serial_number(x509.random_serial_number()).not_valid_before(NOW - DAY).not_valid_after(NOW + 90 * DAY)
    for extension in extensions:
        cert = cert.add_extension(extension, critical=False)
    return cert.sign(signer, hashes.SHA256())


class Authority(http.server.ThreadingHTTPServer):
    """Issues one certificate, and answers for it as it is told to: good, revoked, forged, stale, huge, silent, broken."""

    daemon_threads = True

    def __init__(self, folder, mood):
        super().__init__(("127.0.0.1", 0), Responder)
        self.mood, self.asked = mood, []
        self.ca_key, self.key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        ca_name = name("Authority")
        self.ca = certificate(ca_name, ca_name, self.ca_key, self.ca_key, x509.BasicConstraints(True, None))
        where = x509.AccessDescription(
            x509.AuthorityInformationAccessOID.OCSP,
            x509.UniformResourceIdentifier(f"http://127.0.0.1:{self.server_port}/ocsp"),
        )
        names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
        aia = x509.AuthorityInformationAccess([where])
        self.leaf = certificate(name("localhost"), ca_name, self.key, self.ca_key, names, aia)
        self.cert_file, self.ca_file = folder / "leaf.pem", folder / "ca.pem"
        pem, key_format = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        self.ca_file.write_bytes(self.ca.public_bytes(pem))
        self.cert_file.write_bytes(
            self.key.private_bytes(pem, key_format, serialization.NoEncryption())
            + self.leaf.public_bytes(pem)
            + self.ca.public_bytes(pem)
        )
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def answer(self):
        if self.mood == "broken":
            return b"\x30\x03\x0a\x01\x06"  # unauthorized
        signer = ec.generate_private_key(ec.SECP256R1()) if self.mood == "forged" else self.ca_key
        revoked = self.mood == "revoked"
        ends = NOW - DAY if self.mood == "stale" else NOW + DAY
        builder = ocsp.OCSPResponseBuilder().add_response(
            cert=self.leaf, issuer=self.ca, algorithm=hashes.SHA1(),
            cert_status=ocsp.OCSPCertStatus.REVOKED if revoked else ocsp.OCSPCertStatus.GOOD,
            this_update=NOW - 2 * DAY, next_update=ends, revocation_time=NOW if revoked else None,
            revocation_reason=x509.ReasonFlags.key_compromise if revoked else None,
        ).responder_id(ocsp.OCSPResponderEncoding.HASH, self.ca)  # fmt: skip
        return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


class Responder(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        request = ocsp.load_der_ocsp_request(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(request.serial_number)
        if self.server.mood == "silent":
            time.sleep(BOUND)
        body = b"\x30\x84\x00\xff\xff\xf0" + b"x" * 0xFFFFF0 if self.server.mood == "huge" else self.server.answer()
        self.send_response(200)
        self.send_header("Content-Type", "application/ocsp-response")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with suppress(ConnectionError):  # who asked may have had enough
            self.wfile.write(body)

    def log_message(self, *_):
        pass


def handshake(s, authority, *options):
    r = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{s.port}", "-servername", "localhost", "-status", "-CAfile",
         authority.ca_file, "-verify_return_error", *options],
        input="Q\n", text=True, capture_output=True, timeout=BOUND)  # fmt: skip
    assert "Verify return code: 0 (ok)" in r.stdout, r.stdout + r.stderr
    return r.stdout


@pytest.fixture
def start(server, tmp_path):
    def start(mood, *options):
        authority = Authority(tmp_path, mood)
        return authority, server("probe:app", "--certfile", authority.cert_file, *options)

    return start


def test_good_word_goes_along(start):
    authority, s = start("good", "-w", "2")
    s.ready_workers(2)
    wait_until(lambda: "OCSP Response Status: successful" in handshake(s, authority), "it is stapled")
    for version in ("-tls1_2", "-tls1_3"):
        for _ in range(8):  # whichever worker it is
            out = handshake(s, authority, version)
            assert "OCSP Response Status: successful" in out and "Cert Status: good" in out
    assert authority.asked == [authority.leaf.serial_number]


@pytest.mark.parametrize("mood", ["revoked", "forged", "stale", "huge", "broken"])
def test_any_other_word_does_not(start, mood):
    authority, s = start(mood, "--log-level", "debug")
    s.wait_log("OCSP: no answer to send along from http://127.0.0.1")
    assert "OCSP response: no response sent" in handshake(s, authority)
    assert "[WARNING]" not in s.log() and "[ERROR]" not in s.log()


def test_silent_responder_delays_nothing(start):
    authority, s = start("silent")
    wait_until(lambda: authority.asked, "it is asked")
    assert "OCSP response: no response sent" in handshake(s, authority)
    assert s.stop() == 0


def test_answer_is_asked_for_anew_by_the_next_generation(start):
    authority, s = start("good")
    wait_until(lambda: "OCSP Response Status: successful" in handshake(s, authority), "it is stapled")
    s.signal("HUP")
    wait_until(lambda: len(authority.asked) == 2, "it is asked for anew")
    wait_until(lambda: "OCSP Response Status: successful" in handshake(s, authority), "it is stapled again")
