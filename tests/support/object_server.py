"""Real servers of object stores on loopback, moto's S3 and an emulator of Google's, which fail as they are told to."""

import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import HTTPServer
from io import BytesIO
from unittest import mock
from urllib.request import Request, urlopen

from gcp_storage_emulator.server import RequestHandler
from gcp_storage_emulator.storage import Storage
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

_SLOW_DOWN = b'<?xml version="1.0"?><Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>'
_TRY_AGAIN = b'{"error": {"code": 503, "message": "Reduce your request rate."}}'


class Server:
    """What tests tell a server, and what it counts.

    ``failing``: so many requests to come are answered with 503. ``torn``: so many answers to come lose their second
    half. ``every``: each so-manieth request fails (0: none). ``requests`` counts. ``variables``: by these clients find
    it.
    """

    def __init__(self, http: HTTPServer) -> None:
        self.http = http
        self.failing = self.torn = self.every = self.requests = 0
        self.url = f"http://127.0.0.1:{http.server_address[1]}"

    @property
    def variables(self) -> Mapping[str, str]:
        keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}
        return keys | {"AWS_ENDPOINT_URL": self.url}

    def fails(self) -> bool:
        """Counts a request; whether it is to fail."""
        self.requests += 1
        told = self.failing > 0 or (self.every > 0 and self.requests % self.every == 0)
        self.failing = max(0, self.failing - told)
        return told

    def tears(self) -> bool:
        """Whether this answer is to lose its second half."""
        told, self.torn = self.torn > 0, max(0, self.torn - 1)
        return told

    def make_bucket(self, name: str) -> str:
        """A new bucket's address."""
        urlopen(Request(f"{self.url}/{name}", method="PUT")).close()
        return f"s3://{name}"


class _S3(Server):
    def __init__(self) -> None:
        self._app = DomainDispatcherApplication(create_backend_app)
        super().__init__(make_server("127.0.0.1", 0, self._answer, threaded=True))

    def _answer(self, environ, start_response):
        if self.fails():
            start_response("503 Slow Down", [("Content-Type", "application/xml"), ("Connection", "close")])
            return [_SLOW_DOWN]
        body = b"".join(self._app(environ, start_response))
        if environ["REQUEST_METHOD"] == "GET" and len(body) > 1 and self.tears():
            return [body[: len(body) // 2]]
        return [body]


class _Google(Server):
    def __init__(self) -> None:
        super().__init__(HTTPServer(("127.0.0.1", 0), partial(_GoogleHandler, self, Storage(use_memory_fs=True))))

    @property
    def variables(self) -> Mapping[str, str]:
        return {"CLOUD_STORAGE_EMULATOR_ENDPOINT": self.url}

    def make_bucket(self, name: str) -> str:
        told = json.dumps({"name": name}).encode()
        headers = {"Content-Type": "application/json"}
        urlopen(Request(f"{self.url}/storage/v1/b?project=some", told, headers)).close()
        return f"gs://anonymous@{name}"  # Whom nobody asks for a token.


class _GoogleHandler(RequestHandler):
    def __init__(self, told: Server, *given) -> None:
        self._told = told
        super().__init__(*given)

    def parse_request(self) -> bool:
        if not super().parse_request():
            return False
        if self._told.fails():
            self.send_response(503)
            self.send_header("Content-Length", str(len(_TRY_AGAIN)))
            self.end_headers()
            self.wfile.write(_TRY_AGAIN)
            return False
        if "alt=media" in self.path and self._told.tears():
            self.wfile = _Torn(self.wfile)
        return True


class _Torn(BytesIO):
    """What a client gets of an answer: its head, and half of its body."""

    def __init__(self, whole) -> None:
        super().__init__()
        self._whole, self._begun = whole, False

    def write(self, content) -> int:
        self._whole.write(content[: len(content) // 2] if self._begun else content)
        self._begun = True
        return len(content)


@contextmanager
def serving(scheme: str = "s3") -> Iterator[Server]:
    """A server, and an environment in which clients find it."""
    server = _S3() if scheme == "s3" else _Google()
    thread = threading.Thread(target=server.http.serve_forever, daemon=True)
    thread.start()
    with mock.patch.dict(os.environ, server.variables):
        yield server
    server.http.shutdown()
    server.http.server_close()
    thread.join()
