"""Tells what it was asked: method, target and body, as JSON."""

import json


def app(environ, start_response):
    seen = [environ["REQUEST_METHOD"], environ["RAW_URI"], environ["wsgi.input"].read().hex()]
    start_response("200 OK", [("Content-Type", "application/json"), ("Connection", "close")])
    return [json.dumps(seen).encode()]
