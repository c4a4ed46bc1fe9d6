"""A browser of sorts: keeps cookies, follows redirects, sends forms and files."""

import urllib.error
import urllib.parse
import urllib.request
from http.cookiejar import CookieJar

from harness import BOUND


class Visitor:
    def __init__(self, server):
        self.server = server
        self.jar = CookieJar()
        handlers = [urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(self.jar)]
        if server.tls:
            handlers.append(urllib.request.HTTPSHandler(context=server.tls.client))
        self.opener = urllib.request.build_opener(*handlers)

    def cookie(self, name):
        return next((c.value for c in self.jar if c.name == name), None)

    def open(self, path, data=None, **headers):
        """The response, read: .status, .headers, .data, .url; also for 4xx and 5xx."""
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(self.server.url(path), data, headers)
        try:
            response = self.opener.open(request, timeout=BOUND)
        except urllib.error.HTTPError as e:
            response = e
        with response:
            response.data = response.read()
        return response

    def submit(self, path, fields, **headers):
        return self.open(path, urllib.parse.urlencode(fields, doseq=True).encode(), **headers)

    def upload(self, path, fields, name, filename, data):
        boundary = "boundary7MA4YWxk"
        parts = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n' for k, v in fields.items()
        ]
        parts.append(
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="{filename}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        )
        body = "".join(parts).encode() + data + f"\r\n--{boundary}--\r\n".encode()
        return self.open(path, body, Content_Type=f"multipart/form-data; boundary={boundary}")
