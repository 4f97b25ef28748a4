"""Something between agents and server that sees everything, and can lie, delay, or pull the plug.

Requests are forwarded unchanged, with the Host that the client used, so signatures over the target still hold.
"""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

_PER_HOP = {"connection", "keep-alive", "transfer-encoding", "server", "date"}


@dataclass
class Request:
    """What a client sent, and when."""

    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes
    at: float = field(default_factory=time.monotonic)

    @property
    def sent(self) -> bytes:
        """All of it, as bytes."""
        head = "".join(f"{name}: {value}\r\n" for name, value in self.headers)
        return f"{self.method} {self.path}\r\n{head}\r\n".encode() + self.body

    @property
    def uploads(self) -> bool:
        return self.method in {"PUT", "PATCH", "POST"} and ("blobs" in self.path or "uploads" in self.path)

    @property
    def states(self) -> bool:
        return self.method == "POST" and self.path.endswith("/statements")


@dataclass
class Answer:
    """What the server answers."""

    status: int
    body: bytes
    headers: list[tuple[str, str]] = field(default_factory=list)


class Proxy:
    """Context manager. `before(request)` may answer instead of the server; `after(request, answer)` may change."""

    def __init__(self, port: int) -> None:
        self.requests: list[Request] = []
        self.before: Callable[[Request], Answer | None] = lambda _request: None
        self.after: Callable[[Request, Answer], Answer] = lambda _request, answer: answer
        self._port = port
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                proxy._handle(self)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = handle_any  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handle(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        request = Request(handler.command, handler.path, list(handler.headers.items()), body)
        self.requests.append(request)
        answer = self.before(request) or self.after(request, self._forward(request))
        try:
            handler.send_response(answer.status)
            for name, value in answer.headers:
                if name.lower() not in _PER_HOP | {"content-length"}:
                    handler.send_header(name, value)
            handler.send_header("Content-Length", str(len(answer.body)))
            handler.end_headers()
            if request.method != "HEAD":
                handler.wfile.write(answer.body)
        except OSError:  # the client is gone: somebody pulled the plug
            handler.close_connection = True

    def _forward(self, request: Request) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        try:
            connection.request(request.method, request.path, request.body or None, dict(request.headers))
            response = connection.getresponse()
            return Answer(response.status, response.read(), response.getheaders())
        except OSError:
            return Answer(502, b"")
        finally:
            connection.close()
