"""A Flask application with a bit of everything."""

import hashlib
import io

from flask import Flask, Response, abort, jsonify, redirect, request, send_file, session, stream_with_context, url_for

app = Flask(__name__)
app.secret_key = "for tests"


@app.route("/")
def index():
    return "Hello, World!"


@app.route("/user/<name>")
def user(name):
    return f"user {name}, {request.args.get('q')}, {url_for('user', name=name, _external=True)}"


@app.post("/form")
def form():
    return f"{request.form['name']} {request.form.getlist('tag')}"


@app.post("/upload")
def upload():
    file = request.files["file"]
    data = file.read()
    return jsonify(name=file.filename, size=len(data), sha=hashlib.sha256(data).hexdigest(), note=request.form["note"])


@app.post("/json")
def echo_json():
    return jsonify(got=request.get_json(), type=request.content_type)


@app.post("/raw")
def raw():
    return request.get_data()


@app.route("/stream")
def stream():
    def rows():
        for i in range(1000):
            yield f"row {i} of {request.path}\n"

    return Response(stream_with_context(rows()), mimetype="text/plain")


@app.route("/visits")
def visits():
    session["visits"] = session.get("visits", 0) + 1
    return str(session["visits"])


@app.route("/old")
def old():
    return redirect("/visits")


@app.route("/file")
def file():
    return send_file(io.BytesIO(b"x" * 100_000), download_name="x.bin", conditional=True, etag="e1")


@app.route("/own-file")
def own_file():
    return send_file(__file__, mimetype="text/plain", conditional=True)


@app.route("/gone")
def gone():
    abort(410)


@app.route("/fails")
def fails():
    raise RuntimeError("fails as asked")
