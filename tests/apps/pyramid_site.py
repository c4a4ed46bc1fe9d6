"""A Pyramid application."""

from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPGone
from pyramid.response import FileResponse, Response


def user(request):
    return Response(f"user {request.matchdict['name']}, {request.GET.get('q')}")


def echo_json(request):
    return {"got": request.json_body, "type": request.content_type}


def upload(request):
    file = request.POST["file"]
    return {"name": file.filename, "size": len(file.file.read()), "note": request.POST["note"]}


def stream(request):
    return Response(app_iter=(f"row {i}\n".encode() for i in range(1000)), content_type="text/plain")


def file(request):
    return FileResponse("hello.py", request=request, content_type="text/plain")


def gone(request):
    raise HTTPGone


def fails(request):
    raise RuntimeError("fails as asked")


def make():
    with Configurator() as config:
        for view, path, renderer in (
            (user, "/user/{name}", None),
            (echo_json, "/json", "json"),
            (upload, "/upload", "json"),
            (stream, "/stream", None),
            (file, "/file", None),
            (gone, "/gone", None),
            (fails, "/fails", None),
        ):
            config.add_route(view.__name__, path)
            config.add_view(view, route_name=view.__name__, renderer=renderer)
        return config.make_wsgi_app()


app = make()
