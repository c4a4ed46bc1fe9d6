"""A Falcon application."""

import falcon


class User:
    def on_get(self, req, resp, name):
        resp.content_type = "text/plain"
        resp.text = f"user {name}, {req.get_param('q')}"


class Json:
    def on_post(self, req, resp):
        resp.media = {"got": req.media, "type": req.content_type}


class Upload:
    def on_post(self, req, resp):
        told = {}
        for part in req.get_media():
            if part.name == "file":
                told.update(name=part.filename, size=len(part.stream.read()))
            else:
                told[part.name] = part.text
        resp.media = told


class Stream:
    def on_get(self, req, resp):
        resp.content_type = "text/plain"
        resp.stream = (f"row {i}\n".encode() for i in range(1000))


class File:
    def on_get(self, req, resp):
        resp.content_type = "text/plain"
        resp.stream = open("hello.py", "rb")


class Gone:
    def on_get(self, req, resp):
        raise falcon.HTTPGone


class Fails:
    def on_get(self, req, resp):
        raise RuntimeError("fails as asked")


app = falcon.App()
app.add_route("/user/{name}", User())
app.add_route("/json", Json())
app.add_route("/upload", Upload())
app.add_route("/stream", Stream())
app.add_route("/file", File())
app.add_route("/gone", Gone())
app.add_route("/fails", Fails())
