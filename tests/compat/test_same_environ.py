"""What environ says of a request."""

import json

from sides import same

APP = """
import json

def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    texts = {key: value for key, value in environ.items() if isinstance(value, str)}
    return [json.dumps(texts).encode()]
"""
VARY = {"REMOTE_PORT", "SERVER_PORT", "HTTP_HOST"}


def seen_of(side, *headers):
    (side.folder / "texts.py").write_text(APP)
    texts = json.loads(side.server("texts:app").get("/a?b=c", *headers).text)
    return {key: value for key, value in texts.items() if key not in VARY}


def test_plain_request(both):
    same(both(lambda side: seen_of(side, "A: 1", "A: 2")), SERVER_SOFTWARE="Server and SERVER_SOFTWARE")


def test_two_cookie_fields(both):
    seen = both(lambda side: seen_of(side, "Cookie: a=1", "Cookie: b=2"))
    same(seen, SERVER_SOFTWARE="Server and SERVER_SOFTWARE", HTTP_COOKIE="two Cookie fields")
    assert (seen.gunicorn["HTTP_COOKIE"], seen.cwsgi["HTTP_COOKIE"]) == ("a=1,b=2", "a=1; b=2")


def test_trusted_front_end_that_speaks_tls(both):
    seen = both(lambda side: seen_of(side, "X-Forwarded-Proto: https"))
    same(seen, SERVER_SOFTWARE="Server and SERVER_SOFTWARE", HTTPS="TLS in environ")
    assert seen.cwsgi["HTTPS"] == "on"
