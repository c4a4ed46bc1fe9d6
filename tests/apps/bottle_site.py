"""A Bottle application."""

from bottle import Bottle, abort, request, response, static_file

app = Bottle()


@app.get("/user/<name>")
def user(name):
    return f"user {name}, {request.query.q}"


@app.post("/json")
def echo_json():
    return {"got": request.json, "type": request.content_type}


@app.post("/upload")
def upload():
    file = request.files["file"]
    return {"name": file.raw_filename, "size": len(file.file.read()), "note": request.forms.note}


@app.get("/stream")
def stream():
    response.content_type = "text/plain"
    for i in range(1000):
        yield f"row {i}\n"


@app.get("/file")
def file():
    return static_file("hello.py", root=".", mimetype="text/plain")


@app.get("/gone")
def gone():
    abort(410, "gone")


@app.get("/fails")
def fails():
    raise RuntimeError("fails as asked")
