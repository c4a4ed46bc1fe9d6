"""Takes connections over, as libraries for WebSocket do: by environ's "gunicorn.socket". What is said then need not be
WebSocket. A path is the name of a function below."""

import os
import time
from urllib.parse import parse_qs

HERE = os.getcwd()
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
PIECE = b"x" * 65536


def note(name, text):
    with open(os.path.join(HERE, name), "a") as f:
        f.write(f"{text}\n")


def wait_for(name):
    while not os.path.exists(os.path.join(HERE, name)):
        time.sleep(0.01)


def received(sock):
    while data := sock.recv(65536):
        yield data


def app(environ, start_response):
    query = {k: v[0] for k, v in parse_qs(environ["QUERY_STRING"]).items()}
    return globals()[environ["PATH_INFO"].strip("/")](environ, start_response, **query)


def answer(start_response, text, status="200 OK"):
    start_response(status, [("Content-Length", str(len(text)))])
    return [text.encode()]


def has(environ, start_response):
    return answer(start_response, str("gunicorn.socket" in environ))


def refuse(environ, start_response):
    assert "gunicorn.socket" in environ
    return answer(start_response, "not for you", "403 Forbidden")


def upper(environ, start_response):
    """Ends in gunicorn's way."""
    sock = environ["gunicorn.socket"]
    sock.sendall(SWITCH)
    for data in received(sock):
        sock.sendall(data.upper())
    note("ended.txt", "upper")
    raise StopIteration


def last_words(environ, start_response):
    """What it writes at the very end, and then an answer by WSGI as well."""
    environ["gunicorn.socket"].sendall(SWITCH + b"and out")
    return answer(start_response, "nobody sees this")


def late(environ, start_response, go):
    wait_for(go)
    return upper(environ, start_response)


def fail(environ, start_response):
    environ["gunicorn.socket"].sendall(SWITCH)
    raise ValueError("in the middle of a conversation")


def nothing(environ, start_response):
    """Ends like a conversation that has never begun."""
    raise StopIteration


def hang_up(environ, start_response, go):
    """Closes its socket, and stays."""
    sock = environ.pop("gunicorn.socket")
    sock.sendall(SWITCH + b"bye")
    sock.close()
    wait_for(go)
    raise StopIteration


def flood(environ, start_response, pieces):
    sock = environ["gunicorn.socket"]
    sock.sendall(SWITCH)
    for _ in range(int(pieces)):
        sock.sendall(PIECE)
        note("sent.txt", "piece")
    raise StopIteration


def deaf(environ, start_response, go):
    """Hears nothing for a while; then says how much was sent."""
    sock = environ["gunicorn.socket"]
    sock.sendall(SWITCH)
    wait_for(go)
    sock.sendall(b"%d" % sum(map(len, received(sock))))
    raise StopIteration
