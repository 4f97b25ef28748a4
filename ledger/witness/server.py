"""A witness over HTTP: one path, `POST /add-checkpoint`. Put a TLS proxy in front of it if it is not local."""

from __future__ import annotations

import logging
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from ledger.witness.core import Answer, Witness
from ledger.witness.errors import StateError
from ledger.witness.protocol import MAX_REQUEST_BYTES, PATH

logger = logging.getLogger(__name__)

CONNECTIONS: Final = 32  # served at once; more wait in the kernel's queue
IDLE_SECONDS: Final = 30.0


class WitnessServer(ThreadingHTTPServer):
    """Listens on (host, port); port 0 takes a free one, see `url`."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], witness: Witness) -> None:
        self.witness = witness
        self._free = threading.BoundedSemaphore(CONNECTIONS)
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, _Handler)

    @property
    def url(self) -> str:
        """Where it listens: the submission prefix to configure at the log."""
        host, port = str(self.server_address[0]), self.server_address[1]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread for a connection, when one is free."""
        self._free.acquire()
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection in its thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "unlearning-witness"
    sys_version = ""
    timeout = IDLE_SECONDS
    server: WitnessServer

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit() and len(length) < 10):
            self._answer(Answer(411, b"a request needs a Content-Length\n"), close=True)
        elif int(length) > MAX_REQUEST_BYTES:
            self._answer(Answer(413, b"a request has at most %d bytes\n" % MAX_REQUEST_BYTES), close=True)
        else:
            body = self.rfile.read(int(length))
            self._answer(self._add_checkpoint(body) if self.path == PATH else _nothing_here())

    def do_GET(self) -> None:
        self._answer(_nothing_here())

    def _add_checkpoint(self, body: bytes) -> Answer:
        try:
            return self.server.witness.add_checkpoint(body)
        except (OSError, StateError):
            # Without a state that can be read and kept nothing is cosigned.
            logger.exception("the witness's state cannot be used")
            return Answer(500, b"the witness cannot use its state: its operator finds the reason in its log\n")

    def _answer(self, answer: Answer, *, close: bool = False) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        if close:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        logger.info("%s %s", self.address_string(), format % args)


def _nothing_here() -> Answer:
    return Answer(404, b"a witness answers POST %s only\n" % PATH.encode())
