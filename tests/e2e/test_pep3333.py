"""PEP 3333, what it says of servers; docs/testing.md has the table of its sections. On one thread and on several."""

import json
import os
import re
import sys

import pytest

from harness import REPO, THREADED, environment, ours, wait_until
from wire import Broken, encode

sys.path.append(str(REPO / "tests" / "apps"))
import letter  # noqa: E402

MADE = os.urandom(1000) * 300
EXECUTORS = [pytest.param(1, marks=pytest.mark.skipif(THREADED, reason="it has threads of its own"), id="inline"), 3]


@pytest.fixture(scope="module", params=EXECUTORS)
def site(request, module_server):
    s = module_server("letter:app", "-w", "1", "--threads", request.param)
    (s.dir / "made.bin").write_bytes(MADE)
    s.tracebacks_expected = True
    return s


@pytest.fixture(scope="module", params=["letter:app", "letter:validated"], ids=["bare", "validated"])
def entry(request):
    """The application, and the same with wsgiref's validator looking over the server's shoulder."""
    return request.param


@pytest.fixture(scope="module", params=EXECUTORS)
def both(request, module_server, entry):
    s = module_server(entry, "-w", "1", "--threads", request.param)
    (s.dir / "made.bin").write_bytes(MADE)
    s.is_bare = entry == "letter:app"
    return s


def value(reply):
    assert reply.status == 200
    return json.loads(reply.body)


def lines(site, file, name):
    path = site.dir / file
    return path.read_text().splitlines().count(name) if path.exists() else 0


# "environ Variables", "Unicode Issues".


def test_environ_is_a_dict_of_the_request(site):
    assert [value(site.get("/own_environ")) for _ in range(3)] == [[True, True]] * 3


def test_environ_has_plain_strings_of_bytes(both):
    kinds, wide = value(both.get("/environ_types?", "X-Latin: \xff", "Cookie: \xe2\x82\xac"))
    assert not wide
    required = "REQUEST_METHOD SCRIPT_NAME PATH_INFO QUERY_STRING SERVER_NAME SERVER_PORT SERVER_PROTOCOL SERVER_SOFTWARE"
    offered = "REMOTE_ADDR REMOTE_PORT RAW_URI HTTP_HOST HTTP_COOKIE wsgi.url_scheme"
    assert {kinds[k] for k in (required + " " + offered).split()} == {"str"}
    assert (kinds["wsgi.version"], kinds["wsgi.multithread"], kinds["wsgi.run_once"]) == ("tuple", "bool", "bool")


def test_environ_tells_of_tls(server, certificate):
    s = server("probe:app", tls=certificate)
    got = {k: v for k, (_, v) in json.loads(s.get("/environ").body).items()}
    with s.connect() as c:
        assert (got["HTTPS"], got["SSL_PROTOCOL"], got["SSL_CIPHER"]) == ("on", c.sock.version(), c.sock.cipher()[0])


def test_environ_tells_of_no_tls_where_a_front_end_has_it(server):
    s = server("probe:app", "--forwarded-allow-ips", "*")
    got = json.loads(s.get("/environ", "X-Forwarded-Proto: https").body)
    assert got["HTTPS"][1] == "on"
    assert not {"SSL_PROTOCOL", "SSL_CIPHER"} & set(got)


def test_script_name_comes_from_the_environment(server):
    s = server("probe:app", env=environment(SCRIPT_NAME="/mounted"))
    got = {k: v for k, (_, v) in json.loads(s.get("/mounted/environ?a").body).items()}
    assert (got["SCRIPT_NAME"], got["PATH_INFO"], got["RAW_URI"]) == ("/mounted", "/environ", "/mounted/environ?a")


# "Input and Error Streams".


@pytest.mark.parametrize("size", [0, 1, 1000, 131072, 131073, 1_000_000])
@pytest.mark.parametrize("seed", range(3))
def test_input_is_like_a_bytesio(both, seed, size):
    body = letter.made_body(seed, size)
    assert value(both.request("POST", f"/like_bytesio?seed={seed}&size={size}", body=body)) is None


def test_errors_are_a_text_stream_into_the_log(both):
    assert value(both.get("/errors")) is None
    both.wait_log("written\none of two\ntwo of two\nflushed")


# "The start_response() Callable".


def test_headers_are_taken_when_they_are_given(both):
    reply = both.get("/changed_later")
    assert (reply["X-Before"], reply["X-After"]) == ("1", None)


@pytest.mark.parametrize(
    "what, said",
    [
        ("value_crlf", r"ValueError: .* header 'X-A' has control characters: '1\\r\\nX-Evil: 1'"),
        ("value_lf", r"ValueError: .* header 'X-A' has control characters"),
        ("value_nul", r"ValueError: .* header 'X-A' has control characters"),
        ("name_crlf", r"ValueError: .*'X-A: 1\\r\\nX-Evil' is not a header name"),
        ("name_space", r"ValueError: .*'X Evil' is not a header name"),
        ("name_empty", r"ValueError: .*'' is not a header name"),
        ("name_bytes", r"TypeError: .*the name of a header must be str, not bytes: b'X-Evil'"),
        ("value_int", r"TypeError: .*header X-Evil must be str, not int: 1"),
        ("value_not_latin", r"ValueError: .*header X-Evil has characters outside latin-1"),
        ("status_crlf", r"ValueError: .*the status must read like '200 OK', not '200 OK\\r\\nX-Evil: 1'"),
        ("status_number", r"TypeError: .*the status must be str, not int: 200"),
        ("status_word", r"ValueError: .*the status must read like '200 OK', not 'OK'"),
        ("headers_none", r"TypeError: .*the headers must be a list"),
        ("no_arguments", r"TypeError: start_response takes 2 or 3 arguments \(0 given\)"),
    ],
)
@ours
def test_bad_head_is_told_by_its_name(bad_heads, what, said):
    assert bad_heads.get(f"/bad_start?what={what}").status == 500
    record = bad_heads.log().rpartition(f"Error handling request GET /bad_start?what={what}\n")[2]
    assert re.search(said, record), record


@pytest.fixture(scope="module")
def bad_heads(module_server):
    s = module_server("probe:app")
    s.tracebacks_expected = True
    return s


@ours
def test_hop_by_hop_headers_are_left_out_and_told_of_once(server):
    s = server("probe:app", "-w", "1")
    for _ in range(3):
        assert s.get("/hop_by_hop").status == 200
    for name in "Connection", "Keep-Alive", "Transfer-Encoding", "Upgrade":
        assert s.log().count(f"The header {name} in the answer to GET /hop_by_hop is left out") == 1
    assert "The header Server" not in s.log()


def test_head_that_has_not_gone_out_is_replaced(both):
    reply = both.get("/replaced")
    assert (reply.status, reply["X-First"], reply["X-Second"], reply.body) == (404, None, "1", b"second")


@pytest.mark.parametrize("by", ["write", "yield"])
def test_head_that_is_gone_brings_the_exception_back(site, by):
    with site.connect() as c:
        c.send(encode("GET", f"/head_is_gone?by={by}"))
        assert c.head().status == 200
        with pytest.raises((Broken, ConnectionResetError)):
            while c.chunk():
                pass
    site.wait_log(f"Error handling request GET /head_is_gone?by={by}\n")
    record = site.log().rpartition(f"GET /head_is_gone?by={by}\n")[2]
    assert "LookupError: the one that was handed over" in record


# "Handling the Content-Length Header": also in test_responses.py.


@pytest.mark.parametrize(
    "kind, body, length",
    [
        ("list", b"ab", "2"),
        ("tuple", b"ab", "2"),
        ("generator", b"ab", None),
        ("iterator", b"ab", None),
        ("map", b"ab", None),
        ("dict", b"ab", None),
        ("old", b"ab", None),
        ("subclass", b"ab", None),
        ("empty_list", b"", "0"),
        ("empty_tuple", b"", "0"),
        ("empty_generator", b"", "0"),
        ("empty_pieces", b"", "0"),
        ("many", b"a" * 10000 + b"b", "10001"),
        ("large", b"a" * 1_000_000 + b"b" * 3_000_000, "4000000"),
    ],
)
def test_iterables_of_any_kind(both, kind, body, length):
    reply = both.get(f"/iterable?kind={kind}")
    assert reply.body == body
    if both.is_bare:  # the validator's own iterable is a plain iterator
        assert reply["Content-Length"] == length
        assert bool(reply["Transfer-Encoding"]) == (length is None)


# "The write() Callable".


def test_what_was_written_comes_first(both):
    assert both.get("/writes").body == b"a" + b"b" * 100_000 + b"c"


@ours
@pytest.mark.parametrize("what", ["write", "start_response"])
def test_another_thread_may_not_meddle_with_the_answer(site, what):
    body = site.get(f"/elsewhere?what={what}").body
    assert body == b"x" * 1_000_000 + b"RuntimeError"


# "Optional Platform-Specific File Handling".


@pytest.mark.parametrize(
    "kind, body",
    [
        ("file", MADE),
        ("raw", MADE),
        ("read_ahead", MADE[3:]),
        ("offset", MADE[200_000:]),
        ("at_end", b""),
        ("behind_end", b""),
        ("empty", b""),
        ("bytesio", b"in memory" * 10_000),
        ("reader", MADE),
        ("moved", MADE),
        ("pipe", b"piped"),
        ("gzip", b"unpacked" * 1000),
        ("spooled_in_memory", b"s" * 10),
        ("spooled_in_file", b"s" * 100_000),
        ("temporary", b""),
        ("random", MADE),
    ],
)
def test_files_of_any_kind(both, kind, body):
    with both.connect() as c:
        assert c.get(f"/wrapped?kind={kind}").body == body
        assert c.get("/own_environ").status == 200


def test_file_is_sent_by_its_descriptor(site):
    assert site.get("/wrapped?kind=told").body == MADE
    assert lines(site, "reads.txt", "told") == 0


@ours
def test_method_read_of_a_class_of_its_own_is_believed(site):
    assert site.get("/wrapped?kind=masked").body == bytes(b ^ 1 for b in MADE)


@pytest.mark.parametrize("offset, length", [(0, 10), (1000, 200_000), (299_999, 1)])
def test_file_is_cut_at_its_content_length(both, offset, length):
    with both.connect() as c:
        reply = c.get(f"/wrapped_range?offset={offset}&length={length}")
        assert (reply.status, reply.body) == (206, MADE[offset : offset + length])
        assert c.get("/own_environ").status == 200


@ours
def test_file_that_is_shorter_than_its_content_length_is_an_error(site):
    assert site.get("/wrapped_range?offset=299999&length=2").status == 500


def test_wrapper_is_an_iterator_for_middleware(both):
    assert both.get("/wrapped_in_middleware").body == b"ABCDEF"


# close(): "Specification Details", called exactly once whatever happens.


@pytest.mark.parametrize("kind", ["whole", "none", "fails"])
def test_close_is_called_once(site, kind):
    name = f"once_{kind}"
    try:
        site.get(f"/closing?name={name}&kind={kind}")
    except Broken:
        assert kind == "fails"
    assert_closed_once(site, name)


def assert_closed_once(site, name):
    wait_until(lambda: lines(site, "closed.txt", name), "it was closed")
    site.get("/own_environ")
    assert lines(site, "closed.txt", name) == 1


@pytest.mark.parametrize("kind", ["no_iterator", "fails_in_close", "never_starts", "too_short", "no_bytes"])
def test_close_is_called_once_after_a_fault(site, kind):
    name = f"once_{kind}"
    try:
        site.get(f"/closing_and?name={name}&kind={kind}")
    except Broken:
        assert kind == "too_short"
    assert_closed_once(site, name)


def test_close_is_called_once_when_the_client_leaves(site):
    with site.connect(rcvbuf=4096) as c:
        c.send(encode("GET", "/closing?name=once_left&kind=endless"))
        c.head()
        c.chunk()
    assert_closed_once(site, "once_left")


@ours
@pytest.mark.parametrize("end", ["ends", "fails", "more", "restarts"])
def test_whole_body_reaches_the_client_whatever_its_iterator_does_then(site, end):
    name = f"whole_{end}"
    with site.connect() as c:
        assert c.request("GET", f"/whole_then?name={name}&end={end}").body == b"whole"
        assert lines(site, "closed.txt", name) == 0
        (site.dir / name).touch()
        assert c.request("GET", "/own_environ").status == 200
    assert_closed_once(site, name)
    if end in ("fails", "restarts"):
        site.wait_log(f"Error handling request GET /whole_then?name={name}&end={end}\n")


@ours
@pytest.mark.parametrize("threads", EXECUTORS)
@pytest.mark.parametrize("name", ["TERM", "INT"])
def test_close_is_called_once_when_the_worker_is_told_to_stop(server, threads, name):
    s = server("letter:app", "-w", "1", "--threads", threads, "--graceful-timeout", "1")
    with s.connect(rcvbuf=4096) as c:
        c.send(encode("GET", "/closing?name=stopped&kind=endless"))
        c.head()
        c.chunk()
        assert s.stop(name) == 0
    assert lines(s, "closed.txt", "stopped") == 1


# "Error Handling".

RAISED = ["SystemExit", "KeyboardInterrupt", "MemoryError", "RecursionError", "BadStr", "Rude", "GeneratorExit", "Surrogate"]


@pytest.mark.parametrize("where", ["call", "iteration", "generator"])
@pytest.mark.parametrize("what", RAISED)
def test_whatever_is_raised_is_a_500_and_logged_once(site, what, where):
    [worker] = site.workers(1)
    target = f"/raises?what={what}&where={where}"
    before = site.log().count("Traceback")
    assert site.get(target).status == 500
    site.wait_log(f"Error handling request GET {target}\nTraceback (most recent call last):\n")
    assert site.log().count(f"GET {target}\n") == 1
    assert site.log().count("Traceback (most recent call last):") == before + 1
    assert site.workers(1) == [worker], "the worker lives on"
    assert value(site.get("/own_environ")) == [True, True]


@pytest.mark.parametrize("what", RAISED)
def test_whatever_is_raised_by_close_is_logged_once_and_hurts_nobody(site, what):
    [worker] = site.workers(1)
    target = f"/raises?what={what}&where=close"
    with site.connect() as c:
        assert c.get(target).body == b"whole"
        assert c.get("/own_environ").status == 200
    site.wait_log(f"Error handling request GET {target}\n")
    assert lines(site, "closed.txt", f"{what} close") == 1
    assert site.workers(1) == [worker]


# "Thread Support"; more of it in test_threads.py.

BACKGROUND = """
import os, threading, time
from letter import app

def answer():
    for _ in range(60000):
        if os.path.exists("question"):
            open("answer", "w").close()
            return
        time.sleep(0.001)

threading.Thread(target=answer, daemon=True).start()
"""


@pytest.mark.parametrize("threads", EXECUTORS)
@pytest.mark.parametrize("waits_for", ["requests", "a_slow_client"])
def test_background_threads_run_while_the_worker_waits(server, folder, threads, waits_for):
    (folder / "background.py").write_text(BACKGROUND)
    s = server("background:app", "-w", "1", "--threads", threads, folder=folder)
    with s.connect(rcvbuf=4096) as c:
        if waits_for == "a_slow_client":
            c.send(encode("GET", "/closing?name=slow&kind=endless"))
            c.head()
        else:
            assert c.get("/own_environ").status == 200
        (folder / "question").touch()
        wait_until((folder / "answer").exists, "the background thread has run")


@pytest.mark.skipif(THREADED, reason="it is about one thread")
def test_one_thread_is_the_main_thread_and_keeps_what_is_local(server):
    s = server("threaded:app", "-w", "1")
    found = [value(s.get("/who")) for _ in range(3)]
    assert [(f["name"], f["main"], f["calls"], f["context"]) for f in found] == [("MainThread", True, n, n) for n in (1, 2, 3)]


# The table in docs/testing.md.


def test_table_of_sections_names_tests_that_are_there():
    text = (REPO / "docs" / "testing.md").read_text()
    table = text[text.index("## PEP 3333") :].partition("\n## ")[0]
    named = set(re.findall(r"`(test_\w+)`", table))
    files = list((REPO / "tests" / "e2e").glob("test_*.py"))
    there = {f.stem for f in files} | {n for f in files for n in re.findall(r"^def (test_\w+)", f.read_text(), re.M)}
    assert len(named) > 40 and named <= there, named - there
