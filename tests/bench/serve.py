"""serve.py SERVER MODULE:NAME PORT WORKERS THREADS [CERT KEY] - runs a server that is a library rather than a command."""

import importlib
import os
import sys


def fork_workers(workers, run):
    for _ in range(workers - 1):
        if os.fork() == 0:
            break
    run()


def fastpysgi(app, port, workers, threads, tls):
    import fastpysgi

    server = fastpysgi.server
    server.tcp_nodelay = 1
    if tls:
        server.tls_list = [(*tls, None)]
    fastpysgi.run(app, "127.0.0.1", port, workers=workers)


def fastwsgi(app, port, workers, threads, tls):
    import fastwsgi

    fastwsgi.server.tcp_nodelay = 1
    fastwsgi.run(app, "127.0.0.1", port, workers=workers)


def bjoern(app, port, workers, threads, tls):
    import bjoern

    bjoern.listen(app, "127.0.0.1", port)
    fork_workers(workers, bjoern.run)


def waitress(app, port, workers, threads, tls):
    import waitress

    waitress.serve(app, host="127.0.0.1", port=port, threads=max(threads, 4), connection_limit=20000)


def cheroot(app, port, workers, threads, tls):
    from cheroot import wsgi

    server = wsgi.Server(("127.0.0.1", port), app, numthreads=max(threads, 10), request_queue_size=1024, timeout=60)
    if tls:
        from cheroot.ssl.builtin import BuiltinSSLAdapter

        server.ssl_adapter = BuiltinSSLAdapter(*tls)
    server.start()


def main():
    name, application, port, workers, threads, *tls = sys.argv[1:]
    module, attribute = application.split(":")
    app = getattr(importlib.import_module(module), attribute)
    globals()[name](app, int(port), int(workers), int(threads), tls)


main()
