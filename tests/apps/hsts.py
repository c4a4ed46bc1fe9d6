"""Sets Strict-Transport-Security by itself."""


def app(environ, start_response):
    start_response("200 OK", [("strict-transport-security", "max-age=5; preload"), ("Content-Length", "0")])
    return []
