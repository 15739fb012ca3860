"""The page on loopback: a few plain files and answers as JSON, for the browser of who started it and nobody else's.

The standard library's server is enough for one reader, and adds nothing to install. Every user of a machine reaches its
loopback, so nothing is answered without a key that is new in each process: the printed address hands it over once, and
from then on the browser has it as a cookie.
"""

import secrets
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from reasoning.core.errors import InputError
from reasoning.viewer.answers import json_lines, json_of, routes
from reasoning.viewer.runs import RunsFolder

FILES = {
    "/": ("index.html", "text/html"),
    "/viewer.css": ("viewer.css", "text/css"),
    "/viewer.js": ("viewer.js", "text/javascript"),
}
"""All that is served beside answers; no path of a request ever names a file."""

_KEY = "key"
_HOSTS = ("127.0.0.1", "localhost", "[::1]")
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def page_file(name: str) -> str:
    """One of the page's own files."""
    return files("reasoning.viewer").joinpath("page", name).read_text(encoding="utf-8")


def serve(folder: RunsFolder, port: int) -> tuple[ThreadingHTTPServer, str]:
    """A server on loopback that is bound and not yet running, and the address that opens it; port 0 takes any.

    Raises OSError where the port is taken.
    """
    key = secrets.token_urlsafe(24)
    server = ThreadingHTTPServer(("127.0.0.1", port), partial(_Handler, folder, key))
    return server, f"http://127.0.0.1:{server.server_address[1]}/?{_KEY}={key}"


@dataclass
class _Refused(Exception):
    status: HTTPStatus
    message: str


class _Handler(BaseHTTPRequestHandler):
    """Answers GET to who has the key; another host than loopback is refused, a name may be led here (rebinding)."""

    server_version, sys_version = "reasoning", ""

    def __init__(self, folder: RunsFolder, key: str, *arguments: Any) -> None:
        self.folder, self.key = folder, key
        super().__init__(*arguments)

    def do_GET(self) -> None:
        """One answer, or one line of what was wrong with the question."""
        try:
            self._check_host()
            address = urlsplit(self.path)
            query = dict(parse_qsl(address.query, keep_blank_values=True, max_num_fields=20))
            if address.path == "/" and self._is_key(query.get(_KEY, "")):
                return self._send(HTTPStatus.SEE_OTHER, "text/plain", [], self._handing_over())
            self._check_key()
            kind, content = self._content(address.path, query)
        except _Refused as refused:
            self._send(refused.status, "text/plain", [refused.message.encode()])
        except (InputError, ValueError) as error:
            self._send(HTTPStatus.BAD_REQUEST, "application/json", [json_of({"error": str(error)}).encode()])
        else:
            self._send(HTTPStatus.OK, kind, content)

    def _content(self, path: str, query: dict[str, str]) -> tuple[str, Iterable[bytes]]:
        if path in FILES:
            name, kind = FILES[path]
            return kind, [page_file(name).encode()]
        if path == "/selection.jsonl":
            rows = list(json_lines(self.folder.answers(query).selection(query)))
            return "application/jsonl", rows
        if path == "/answers/overview":
            return "application/json", [json_of(self.folder.overview(query)).encode()]
        name = path.removeprefix("/answers/")
        asked = None if name == path else routes(self.folder.answers(query)).get(name)
        if asked is None:
            raise _Refused(HTTPStatus.NOT_FOUND, "there is no such page")
        return "application/json", [json_of(asked(query)).encode()]

    def _check_host(self) -> None:
        port = self.connection.getsockname()[1]
        allowed = {f"{host}:{port}" for host in _HOSTS} | (set(_HOSTS) if port == 80 else set())
        if self.headers.get("Host", "").lower() not in allowed:
            raise _Refused(HTTPStatus.MISDIRECTED_REQUEST, "only loopback is answered: open the address as printed")

    def _handing_over(self) -> dict[str, str]:
        """Keeps the key where scripts and other sites don't reach, and takes it out of the address."""
        return {"Location": "/", "Set-Cookie": f"{self._cookie()}={self.key}; Path=/; HttpOnly; SameSite=Lax"}

    def _cookie(self) -> str:
        """Cookies know no ports, so two servers at once need two names."""
        return f"reasoning-{self.connection.getsockname()[1]}"

    def _is_key(self, given: str) -> bool:
        return secrets.compare_digest(given.encode(), self.key.encode())

    def _check_key(self) -> None:
        try:
            cookie = SimpleCookie(self.headers.get("Cookie", "")).get(self._cookie())
        except CookieError:
            cookie = None
        if cookie is None or not self._is_key(cookie.value):
            raise _Refused(HTTPStatus.FORBIDDEN, "open the address that was printed: it holds the key to this page")

    def _send(
        self, status: HTTPStatus, kind: str, content: Iterable[bytes], further: Mapping[str, str] | None = None
    ) -> None:
        parts = list(content)
        self.send_response(status)
        for name, value in {**_HEADERS, **(further or {})}.items():
            self.send_header(name, value)
        if kind == "application/jsonl":
            self.send_header("Content-Disposition", 'attachment; filename="selection.jsonl"')
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(sum(map(len, parts))))
        self.end_headers()
        with suppress(ConnectionError):  # A browser may have gone on before it has read an answer.
            self.wfile.writelines(parts)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: requests are no news, and a query may hold anything."""
