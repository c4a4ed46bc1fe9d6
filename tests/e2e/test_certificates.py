"""Certificates by folder: who gets which, and their renewal while the server serves."""

import os
import re
import shutil
import socket
import ssl
import subprocess
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
import trustme

from harness import BOUND, Load, ours, run, wait_until
from test_ctl import ask, status
from wire import Connection

pytestmark = ours


class Authority:
    """A certificate authority, and a client that trusts it alone."""

    def __init__(self):
        self.ca = trustme.CA()
        self.client = ssl.create_default_context()
        self.ca.configure_trust(self.client)

    def issue(self, *names, days=90, key_type=trustme.KeyType.ECDSA):
        now = datetime.now(timezone.utc)
        return self.ca.issue_cert(*names, not_before=now - timedelta(hours=1), not_after=now + timedelta(days=days), key_type=key_type)


def put(path, *blobs):
    """All at once, as a careful tool does it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.parent / f".{path.name}"
    half.write_bytes(b"".join(b.bytes() for b in blobs))
    half.rename(path)


def put_pair(folder, name, cert):
    put(folder / f"{name}.key", cert.private_key_pem)
    put(folder / f"{name}.crt", *cert.cert_chain_pems)


def serial(cert):
    pem = cert.cert_chain_pems[0].bytes().decode()
    done = subprocess.run(["openssl", "x509", "-noout", "-serial"], input=pem, capture_output=True, text=True, check=True)
    return done.stdout.strip().partition("=")[2]


def served(server, name="localhost", *options):
    """The serial number of the certificate that openssl gets which asks for `name`, and what kind of key it has."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", *options]
    command += ["-servername", name] if name else ["-noservername"]
    shown = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=BOUND).stdout
    pem = re.search(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", shown, re.DOTALL)
    done = subprocess.run(["openssl", "x509", "-noout", "-serial"], input=pem[0], capture_output=True, text=True, check=True)
    return done.stdout.strip().partition("=")[2]


def get(server, authority, name="localhost"):
    sock = socket.create_connection(("127.0.0.1", server.port), timeout=BOUND)
    with Connection(authority.client.wrap_socket(sock, server_hostname=name)) as c:
        return c.get("/").status


def everybody_serves(server, cert, name="localhost"):
    """All workers do: so many answers in a row."""
    wait_until(lambda: served(server, name) == serial(cert), f"{name} is served by the new certificate")
    assert {served(server, name) for _ in range(8)} == {serial(cert)}


@pytest.fixture(scope="module")
def authority():
    return Authority()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "ssl"


def test_folder_as_a_host_makes_it(server, authority, folder):
    """The story's: certificates in one folder, keys in another, under names that say nothing."""
    old, new = authority.issue("localhost", days=20), authority.issue("localhost")
    for number, cert in enumerate((old, new)):
        put(folder / "certs" / f"localhost_{number}_ab12.crt", *cert.cert_chain_pems)
        put(folder / "keys" / f"f0{7 - number}_99.key", cert.private_key_pem)
        os.utime(folder / "certs" / f"localhost_{number}_ab12.crt", (1e9 + number, 1e9 + number))
    (folder / "ssl.db").write_text("junk\n")
    s = server("probe:app", "--certfile", folder)
    assert get(s, authority) == 200
    line = re.search(r"Certificate for (.*)", s.log())[1]
    assert line.startswith("localhost (ECDSA P-256) until 20"), line
    assert f"{folder}/certs/localhost_" in line and f" with {folder}/keys/f0" in line, line


def test_each_host_gets_its_own(server, authority, folder):
    one, two = authority.issue("one.example", "localhost"), authority.issue("*.two.example")
    put_pair(folder, "one", one)
    put_pair(folder, "two", two)
    s = server("probe:app", "--certfile", folder, "--cert-host", "one.example")
    assert served(s, "one.example") == serial(one)
    assert served(s, "a.two.example") == serial(two)
    assert served(s, "unknown.example") == served(s, None) == serial(one)
    assert get(s, authority, "one.example") == get(s, authority, "b.two.example") == 200
    done = subprocess.run(
        ["curl", "-sS", "-k", "--resolve", f"a.two.example:{s.port}:127.0.0.1", f"https://a.two.example:{s.port}/"]
        + ["-o", "/dev/null", "-w", "%{http_code}"],
        capture_output=True, text=True, timeout=BOUND,
    )
    assert done.stdout == "200", done.stderr


def test_rsa_and_ecdsa_side_by_side(server, authority, folder):
    ec, rsa = authority.issue("localhost"), authority.issue("localhost", key_type=trustme.KeyType.RSA)
    put_pair(folder, "ec", ec)
    put_pair(folder, "rsa", rsa)
    s = server("probe:app", "--certfile", folder)
    assert served(s, "localhost", "-sigalgs", "ECDSA+SHA256") == serial(ec)
    assert served(s, "localhost", "-sigalgs", "RSA-PSS+SHA256") == serial(rsa)


def test_renewal_by_adding_files(server, authority, folder):
    old, new = authority.issue("localhost"), authority.issue("localhost")
    put_pair(folder, "old", old)
    s = server("probe:app", "-w", "2", "--certfile", folder)
    workers = s.ready_workers(2)
    with Load(s, 2, lambda s: get(s, authority)) as load:
        load.wait_replies(5)
        put_pair(folder, "new", new)
        everybody_serves(s, new)
        load.wait_replies(5)
    assert load.failures == [] and set(load.replies) == {200}
    assert s.workers(2) == workers
    assert s.log().count("Certificate for localhost") == 2


def test_renewal_in_place_certificate_first(server, authority, folder):
    """The key comes two seconds later: meanwhile the old pair serves, from memory."""
    old, new = authority.issue("localhost"), authority.issue("localhost")
    put_pair(folder, "site", old)
    s = server("probe:app", "-w", "2", "--certfile", folder / "site.crt", "--keyfile", folder / "site.key")
    s.ready_workers(2)
    with Load(s, 2, lambda s: get(s, authority)) as load:
        kept = socket.create_connection(("127.0.0.1", s.port), timeout=BOUND)
        with Connection(authority.client.wrap_socket(kept, server_hostname="localhost")) as c:
            assert c.get("/").status == 200
            load.wait_replies(5)
            with (folder / "site.crt").open("wb") as half:  # not a careful tool
                data = b"".join(b.bytes() for b in new.cert_chain_pems)
                half.write(data[:300])
                half.flush()
                time.sleep(0.5)
                half.write(data[300:])
            time.sleep(2)
            put(folder / "site.key", new.private_key_pem)
            everybody_serves(s, new)
            load.wait_replies(5)
            assert load.failures == [] and set(load.replies) == {200}
    assert len(re.findall("certificates in memory go on serving: .*does not belong", s.log())) <= 1


def test_trouble_is_told_once_and_the_pair_in_memory_serves(server, authority, folder):
    old, new = authority.issue("localhost"), authority.issue("localhost")
    put_pair(folder, "site", old)
    s = server("probe:app", "-w", "2", "--certfile", folder)
    s.ready_workers(2)
    (folder / "site.crt").write_bytes(new.cert_chain_pems[0].bytes()[:200])
    s.wait_log("The certificates in memory go on serving: ")
    assert served(s) == serial(old)
    (folder / "junk").write_text("changes the folder, not the trouble\n")
    os.kill(s.workers(2)[0], 9)  # the next worker serves it, too
    s.ready_workers(2)
    assert {served(s) for _ in range(8)} == {serial(old)}
    shutil.rmtree(folder)
    s.wait_log("No such file or directory")
    assert {served(s) for _ in range(8)} == {serial(old)}
    put_pair(folder, "site", new)
    everybody_serves(s, new)
    assert s.log().count("half-written") == 1


def test_deleted_pair_of_one_host_serves_on(server, authority, folder):
    one, two = authority.issue("one.example"), authority.issue("two.example")
    put_pair(folder, "one", one)
    put_pair(folder, "two", two)
    s = server("probe:app", "--certfile", folder)
    (folder / "one.crt").unlink()
    s.wait_log("one.crt is not there any more, nor another valid one for one.example: the one in memory goes on serving")
    assert served(s, "one.example") == serial(one)
    assert served(s, "two.example") == serial(two)


def test_status_tells_who_is_served_and_what_is_wrong(server, authority, folder):
    put_pair(folder, "one", authority.issue("one.example", days=20))
    put_pair(folder, "two", authority.issue("two.example", days=40))
    s = server("probe:app", "--certfile", folder)
    shown = status(s)
    by_name = {c["names"][0]: c for c in shown["certificates"]}
    assert shown["certificates_trouble"] is None
    assert by_name["one.example"]["path"] == f"{folder}/one.crt" and by_name["two.example"]["days_left"] == 40
    assert by_name["one.example"]["key_path"] == f"{folder}/one.key" and not by_name["one.example"]["from_memory"]
    (folder / "one.key").unlink()
    s.wait_log("the one in memory goes on serving")
    by_name = {c["names"][0]: c for c in status(s)["certificates"]}
    assert by_name["one.example"]["from_memory"] and not by_name["two.example"]["from_memory"]
    (folder / "two.key").unlink()
    s.wait_log("holds no private key in PEM format")
    assert "holds no private key" in status(s)["certificates_trouble"]
    assert "holds no private key" in ask(s, "status") and "one.example (ECDSA P-256) until 20" in ask(s, "status")


def test_chain_out_of_order_is_served_in_order(server, folder):
    root = trustme.CA()
    middle = root.create_child_ca()
    leaf = middle.issue_cert("localhost")
    put(folder / "site.crt", middle.cert_pem, leaf.cert_chain_pems[0])
    put(folder / "site.key", leaf.private_key_pem)
    s = server("probe:app", "--certfile", folder / "site.crt", "--keyfile", folder / "site.key")
    client = ssl.create_default_context()
    root.configure_trust(client)
    sock = socket.create_connection(("127.0.0.1", s.port), timeout=BOUND)
    with Connection(client.wrap_socket(sock, server_hostname="localhost")) as c:
        assert c.get("/").status == 200
    assert "[WARNING] The certificates in " in s.log() and "out of order" in s.log()


def test_incomplete_chain_is_served_with_a_warning(server, folder):
    leaf = trustme.CA().create_child_ca().issue_cert("localhost")
    put(folder / "site.crt", leaf.cert_chain_pems[0])
    put(folder / "site.key", leaf.private_key_pem)
    s = server("probe:app", "--certfile", folder / "site.crt", "--keyfile", folder / "site.key")
    assert served(s) == serial(leaf)
    assert re.search(r"\[WARNING\] The chain of the certificate in .*site\.crt is incomplete", s.log())


def test_hup_reads_again(server, authority, folder):
    """Also what the old image has only in memory is let go then."""
    one, two = authority.issue("one.example"), authority.issue("two.example")
    put_pair(folder, "one", one)
    put_pair(folder, "two", two)
    s = server("probe:app", "--certfile", folder, "--cert-host", "two.example")
    (old,) = s.ready_workers(1)
    (folder / "one.crt").unlink()
    s.signal("HUP")
    wait_until(lambda: old not in s.children() and len(s.children()) == 1, "the worker is replaced")
    assert served(s, "one.example") == serial(two)


def test_reload_is_refused_when_the_files_are_bad(server, authority, folder):
    cert = authority.issue("localhost")
    put_pair(folder, "site", cert)
    s = server("probe:app", "--certfile", folder)
    s.ready_workers(1)
    (folder / "site.key").write_text("gone\n")
    s.signal("HUP")
    s.wait_log("the old release keeps serving")
    assert served(s) == serial(cert)


def test_expired_pair_replaces_no_valid_one(server, authority, folder):
    """Hosts leave the old pair beside the new one: half a renewal, and a reload just then, must not bring it back."""
    put_pair(folder, "old", authority.issue("localhost", days=-0.01))
    good, new = authority.issue("localhost"), authority.issue("localhost")
    put_pair(folder, "site", good)
    s = server("probe:app", "--certfile", folder)
    (old,) = s.ready_workers(1)
    put(folder / "site.crt", *new.cert_chain_pems)
    (folder / "site.key").write_bytes(new.private_key_pem.bytes()[:100])
    s.wait_log("the one in memory goes on serving")
    assert get(s, authority) == 200 and served(s) == serial(good)
    s.signal("HUP")
    wait_until(lambda: old not in s.children() and len(s.children()) == 1, "the worker is replaced")
    assert get(s, authority) == 200 and served(s) == serial(good)
    put(folder / "site.key", new.private_key_pem)
    everybody_serves(s, new)


def test_sessions_survive_a_renewal(server, authority, folder):
    put_pair(folder, "old", authority.issue("localhost"))
    s = server("probe:app", "--certfile", folder)
    ctx = ssl.create_default_context()
    authority.ca.configure_trust(ctx)
    ctx.maximum_version = ssl.TLSVersion.TLSv1_2

    def wrap(session=None):
        sock = socket.create_connection(("127.0.0.1", s.port), timeout=BOUND)
        return ctx.wrap_socket(sock, server_hostname="localhost", session=session)

    with wrap() as first:
        assert Connection(first).get("/").status == 200
        session = first.session
    new = authority.issue("localhost")
    put_pair(folder, "new", new)
    everybody_serves(s, new)
    with wrap(session) as second:
        assert second.session_reused
        assert Connection(second).get("/").status == 200


@pytest.mark.parametrize("days, warned", [(60, 0), (29, 1), (6, 1), (0.5, 1)])
def test_end_is_warned_of(server, authority, folder, days, warned):
    put_pair(folder, "site", authority.issue("localhost", days=days))
    s = server("probe:app", "--certfile", folder)
    s.ready_workers(1)
    assert get(s, authority) == 200
    assert s.log().count("[WARNING] A certificate expires soon: localhost") == warned
    s.signal("HUP")  # which does not say it again
    wait_until(lambda: s.log().count("Certificate for localhost") == 2, "the next image serves")
    s.ready_workers(1)
    assert s.log().count("[WARNING] A certificate expires soon: localhost") == warned


def test_expired_certificate_is_served_with_a_warning(server, authority, folder):
    cert = authority.issue("localhost", days=-0.01)
    put_pair(folder, "site", cert)
    s = server("probe:app", "--certfile", folder)
    assert served(s) == serial(cert)
    assert "site.crt has expired: clients will refuse it" in s.log()


def test_certificate_whose_time_comes_takes_over(server, authority, folder):
    now = datetime.now(timezone.utc)
    old = authority.issue("localhost")
    new = authority.ca.issue_cert("localhost", not_before=now + timedelta(seconds=4), not_after=now + timedelta(days=90))
    put_pair(folder, "old", old)
    put_pair(folder, "new", new)
    s = server("probe:app", "--certfile", folder)
    everybody_serves(s, new)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start workers as another user")
def test_workers_that_may_not_read_the_key_are_renewed(server, authority, folder):
    old, new = authority.issue("localhost"), authority.issue("localhost")
    put_pair(folder, "old", old)
    folder.chmod(0o700)
    args = ["--user", "nobody", "--preload", "--log-file", "logs/server.log", "--access-logfile", "logs/access.log"]
    s = server("hello:app", *args, "--certfile", folder)
    s.ready_workers(1)
    put_pair(folder, "new", new)
    everybody_serves(s, new)


def test_folder_full_of_junk_blocks_nobody(server, authority, folder):
    cert = authority.issue("localhost")
    put_pair(folder, "site", cert)
    for i in range(3000):
        (folder / f"junk{i}").write_bytes(b"x")
    os.mkfifo(folder / "fifo.pem")
    (folder / "loop").symlink_to(folder)
    (folder / "self.pem").symlink_to("self.pem")
    with (folder / "huge.pem").open("wb") as f:
        f.truncate(1 << 40)
    s = server("probe:app", "--certfile", folder)
    assert served(s) == serial(cert)
    for i in range(3000):
        (folder / f"junk{i}").unlink()
    new = authority.issue("localhost")
    put_pair(folder, "new", new)
    everybody_serves(s, new)


def test_chain_is_completed(server, folder):
    root = trustme.CA()
    middle = root.create_child_ca()
    leaf = middle.issue_cert("localhost")
    put(folder / "leaf.crt", leaf.cert_chain_pems[0])
    put(folder / "leaf.key", leaf.private_key_pem)
    put(folder / "a.bundle", root.cert_pem)
    put(folder / "middle.pem", middle.cert_pem)
    s = server("probe:app", "--certfile", folder)
    client = ssl.create_default_context()
    root.configure_trust(client)
    sock = socket.create_connection(("127.0.0.1", s.port), timeout=BOUND)
    with Connection(client.wrap_socket(sock, server_hostname="localhost")) as c:
        assert c.get("/").status == 200
    assert "[WARNING]" not in s.log()


def test_check_config_says_what_is_wrong(folder):
    folder.mkdir()
    done = run("--check-config", "--certfile", folder, "hello:app")
    assert done.returncode == 1 and f"'{folder}' holds no certificate" in done.stderr
    assert Path(folder).is_dir()
