"""Pages that a test adds to a fresh Django project: its URLs and views."""

import hashlib
from pathlib import Path

from django import forms
from django.contrib import admin
from django.http import FileResponse, HttpResponse, JsonResponse, StreamingHttpResponse
from django.middleware.csrf import get_token
from django.urls import path

BIG = Path(__file__).with_name("big.bin")


class NameForm(forms.Form):
    name = forms.CharField(max_length=20)


def form(request):
    if request.method == "GET":
        return HttpResponse(get_token(request))
    form = NameForm(request.POST)
    return HttpResponse(f"Hello, {form.cleaned_data['name']}!" if form.is_valid() else "invalid")


def upload(request):
    file = request.FILES["file"]
    sha = hashlib.sha256()
    for piece in file.chunks():
        sha.update(piece)
    kind = type(file).__name__
    return JsonResponse({"name": file.name, "size": file.size, "sha": sha.hexdigest(), "kind": kind})


def stream(request):
    return StreamingHttpResponse((f"row {i}\n" for i in range(1000)), content_type="text/plain")


def file(request):
    return FileResponse(BIG.open("rb"), as_attachment=True, filename="big.bin")


urlpatterns = [
    path("admin/", admin.site.urls),
    path("form", form),
    path("upload", upload),
    path("stream", stream),
    path("file", file),
]
