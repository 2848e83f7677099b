"""The demo's two backends, small web servers in threads: one does TLS itself, one is given plaintext."""

from __future__ import annotations

import ssl
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    import socket
    from types import TracebackType
    from typing import Any

_PATIENCE: Final = 10.0  # seconds


class Backend(ThreadingTCPServer):
    """Answers every request with one line that says who it is, and whether it was the one to decrypt.

    A context manager: it serves from the start, and is closed at the end.
    """

    daemon_threads = True
    block_on_close = False  # somebody's idle connection must not keep the demo from ending

    def __init__(self, name: str, context: ssl.SSLContext | None = None) -> None:
        """Listens on a free port of 127.0.0.1; speaks TLS if there is a `context`."""
        super().__init__(("127.0.0.1", 0), _Handler)
        self.name = name
        self._context = context
        self._thread = threading.Thread(target=self.serve_forever, args=(0.1,), name=name)
        self._thread.start()

    @property
    def address(self) -> str:
        """As a route's upstream: "127.0.0.1:40123"."""
        host, port = self.socket.getsockname()
        return f"{host}:{port}"

    def answer(self, version: str | None) -> str:
        """What it says to one who came over TLS `version`, or in the clear."""
        if version is None:
            return f"hello from {self.name}: plain HTTP reached me, Spyhole decrypted it"
        return f"hello from {self.name}: {version} ended here, with my own key"

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Serve one connection, in a thread of its own: so a slow handshake holds up nobody."""
        request.settimeout(_PATIENCE)
        if self._context is None:
            super().finish_request(request, client_address)
            return
        with self._context.wrap_socket(request, server_side=True) as tls:
            super().finish_request(tls, client_address)
            with suppress(OSError):  # the client may leave without a close_notify
                tls.unwrap()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that breaks off is no news."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()

    def __enter__(self) -> Self:
        return self


class _Handler(BaseHTTPRequestHandler):
    server: Backend
    request: socket.socket
    server_version = "spyhole-demo"
    sys_version = ""
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        version = self.request.version() if isinstance(self.request, ssl.SSLSocket) else None
        body = f"{self.server.answer(version)}\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """The proxy's access log is the one to look at."""
