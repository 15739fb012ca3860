"""A real S3 server on loopback (moto's), which fails as it is told to, for tests of object stores."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock
from urllib.request import Request, urlopen

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

_SLOW_DOWN = b'<?xml version="1.0"?><Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>'


class Server:
    """The server's application, between it and its clients.

    ``failing``: so many requests to come are answered with 503. ``torn``: so many answers to come lose their second
    half. ``every``: each so-manieth request fails (0: none). ``requests`` counts.
    """

    def __init__(self) -> None:
        self._app = DomainDispatcherApplication(create_backend_app)
        self.failing = self.torn = self.every = self.requests = 0
        self.url = ""

    def __call__(self, environ, start_response):
        self.requests += 1
        if self.failing or (self.every and self.requests % self.every == 0):
            self.failing = max(0, self.failing - 1)
            start_response("503 Slow Down", [("Content-Type", "application/xml"), ("Connection", "close")])
            return [_SLOW_DOWN]
        body = b"".join(self._app(environ, start_response))
        if self.torn and environ["REQUEST_METHOD"] == "GET" and len(body) > 1:
            self.torn -= 1
            return [body[: len(body) // 2]]
        return [body]

    def make_bucket(self, name: str) -> str:
        """A new bucket's address."""
        urlopen(Request(f"{self.url}/{name}", method="PUT")).close()
        return f"s3://{name}"


@contextmanager
def serving() -> Iterator[Server]:
    """A server, and an environment in which clients find it."""
    server = Server()
    http = make_server("127.0.0.1", 0, server, threaded=True)
    server.url = f"http://127.0.0.1:{http.port}"
    keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    with mock.patch.dict(os.environ, keys | {"AWS_ENDPOINT_URL": server.url}):
        yield server
    http.shutdown()
    thread.join()
