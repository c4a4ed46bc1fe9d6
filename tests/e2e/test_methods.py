"""Methods that are none of the registered ones, and what the settings make of them."""

import pytest

from harness import ours


def ask(s, method, body=b"", more=b""):
    framing = b"Content-Length: %d\r\n" % len(body) if body else b""
    return s.send_raw(method + b" /environ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + framing + b"\r\n" + body)


@pytest.fixture(scope="module")
def by_default(module_server):
    return module_server("probe:app")


@pytest.fixture(scope="module")
def any_method(module_server):
    return module_server("probe:app", "--permit-unconventional-http-method")


@pytest.fixture(scope="module")
def folded(module_server):
    return module_server("probe:app", "--permit-unconventional-http-method", "--casefold-http-method")


@ours
@pytest.mark.parametrize("method, status", [(b"get", 400), (b"Get", 501), (b"G", 501), (b"BREW", 501), (b"GE(T", 400)])
def test_by_default_they_are_refused(by_default, method, status):
    assert ask(by_default, method).startswith(b"HTTP/1.1 %d " % status)


@pytest.mark.parametrize("method", [b"get", b"BREW", b"G", b"M-SEARCH", b"head", b"x" * 40, b"$%&'*"])
@pytest.mark.parametrize("body", [b"", b"some bytes"])
def test_permitted_ones_reach_the_application(any_method, method, body):
    answer = ask(any_method, method, body)
    assert answer.startswith(b"HTTP/1.1 200 ") and any_method.calls()[-1].split()[1] == method.decode()


@pytest.mark.parametrize("method", [b"GE(T", b"G\xe4", b"", b"a@b"])
def test_what_is_no_name_is_refused_even_so(any_method, method):
    assert ask(any_method, method).startswith(b"HTTP/1.1 400 ")


@ours
def test_permitted_ones_may_follow_one_another(any_method):
    """Keep-alive, chunked bodies and what comes behind are framed as ever."""
    one = b"BREW /environ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    last = b"brew /environ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    assert any_method.send_raw(one + one + last).count(b"HTTP/1.1 200 OK") == 3


def test_capital_letters(folded):
    assert ask(folded, b"get").startswith(b"HTTP/1.1 200 ")
    assert folded.calls()[-1].split()[1] == "GET"
    assert ask(folded, b"Head").partition(b"\r\n\r\n")[2] == b""  # it is one


@ours
def test_capital_letters_alone_permit_nothing_more(module_server):
    s = module_server("probe:app", "--casefold-http-method")
    assert ask(s, b"get").startswith(b"HTTP/1.1 200 ")
    assert ask(s, b"brew").startswith(b"HTTP/1.1 501 ")
