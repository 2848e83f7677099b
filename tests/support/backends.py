"""Small real servers on loopback, in threads, for proxies under test to dial.

    with echo("git") as backend:    # on IPv4; or at="::1", or at=tmp_path / "git.sock"
        backend.address             # as in a route: "127.0.0.1:40123", "[::1]:40123", "unix:/…/git.sock"
        backend.sockaddr            # what socket.connect takes
        backend.ended()             # waits until a connection has ended, and tells what was seen of it

`echo`, `tls_echo` and `recorder` cover most tests; `Backend(serve)` runs any `serve(socket) -> bytes` per
connection. All of them respect half-close: they answer to the end after the client's FIN, then send their
own. Closing shuts every socket and joins every thread; an exception in `serve` other than a broken
connection fails the test (pytest turns an unhandled exception of a thread into an error).
"""

from __future__ import annotations

import queue
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

BOUND = 60.0
"""Seconds after which a wait that should be answered at once counts as hung."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How one connection ended, as the backend saw it."""

    received: bytes
    how: Literal["eof", "reset", "tls_error"]


class Backend:
    """A listening socket, a thread that accepts, and a thread for each connection running `serve`.

    `serve` gets the accepted, blocking socket, returns what it received once the peer has ended, and need
    not close. `at` is an IP address to bind (port 0) or the path of a unix socket.
    """

    def __init__(self, serve: Callable[[socket.socket], bytes], *, at: str | Path = "127.0.0.1") -> None:
        self._serve = serve
        if isinstance(at, Path):
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(str(at))
            self.address = f"unix:{at}"
        else:
            self._listener = socket.socket(socket.AF_INET6 if ":" in at else socket.AF_INET)
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._listener.bind((at, 0))
            self.port: int = self._listener.getsockname()[1]
            self.address = f"[{at}]:{self.port}" if ":" in at else f"{at}:{self.port}"
        self._listener.listen(1024)
        self.sockaddr = self._listener.getsockname()
        self.accepted = 0
        self._ended: queue.SimpleQueue[Ended] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._closing = False
        self._open: dict[threading.Thread, socket.socket] = {}
        self._acceptor = threading.Thread(target=self._accept, name=f"backend {self.address}")
        self._acceptor.start()

    def ended(self) -> Ended:
        """The next connection to have ended, in the order of their ends; waits for it."""
        return self._ended.get(timeout=BOUND)

    def close(self) -> None:
        with self._lock:
            self._closing = True
            threads = [self._acceptor, *self._open]
            for connection in self._open.values():
                _shut(connection)
        _shut(self._listener)  # wakes the accept, which a close alone would not
        for thread in threads:
            thread.join(BOUND)
            assert not thread.is_alive(), f"{thread.name} did not end"
        self._listener.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except ConnectionAbortedError:
                continue
            except OSError:
                return
            with self._lock:
                if self._closing:
                    connection.close()
                    return
                self.accepted += 1
                thread = threading.Thread(
                    target=self._run, args=(connection,), name=f"{self.address} connection"
                )
                self._open[thread] = connection
                thread.start()

    def _run(self, connection: socket.socket) -> None:
        how: Literal["eof", "reset", "tls_error"] = "eof"
        received = b""
        try:
            received = self._serve(connection)
        except _BrokenError as broken:
            received, how = broken.received, broken.how
        except ssl.SSLError:
            how = "tls_error"
        except OSError:
            how = "reset"
        finally:
            with self._lock:
                self._open.pop(threading.current_thread(), None)
                connection.close()
            self._ended.put(Ended(received, how))


def echo(
    name: str, *, greets: Literal["first", "reply"] = "reply", at: str | Path = "127.0.0.1"
) -> Backend:
    """Says `name` and a newline, at once or with its first reply, and sends back every byte."""

    def serve(connection: socket.socket) -> bytes:
        return _echo(connection, name, greets)

    return Backend(serve, at=at)


def tls_echo(
    name: str,
    context: ssl.SSLContext,
    *,
    greets: Literal["first", "reply"] = "reply",
    at: str | Path = "127.0.0.1",
) -> Backend:
    """`echo` over TLS, with `Leaf.server_context(…)`; it answers close_notify with its own."""

    def serve(connection: socket.socket) -> bytes:
        with context.wrap_socket(connection, server_side=True, suppress_ragged_eofs=False) as tls:
            received = _echo(tls, name, greets, shut=False)
            with suppress(OSError):  # the peer sent its close_notify and left without ours
                tls.unwrap()
            return received

    return Backend(serve, at=at)


def recorder(*, at: str | Path = "127.0.0.1") -> Backend:
    """Reads until the peer's FIN, only then sends all of it back, and ends."""

    def serve(connection: socket.socket) -> bytes:
        received = _read_all(connection)
        connection.sendall(received)
        connection.shutdown(socket.SHUT_WR)
        return received

    return Backend(serve, at=at)


class _BrokenError(Exception):
    def __init__(self, received: bytes, how: Literal["reset", "tls_error"]) -> None:
        self.received = received
        self.how: Literal["reset", "tls_error"] = how


def _echo(
    connection: socket.socket, name: str, greets: Literal["first", "reply"], *, shut: bool = True
) -> bytes:
    greeting = name.encode() + b"\n"
    received = bytearray()
    try:
        if greets == "first":
            connection.sendall(greeting)
            greeting = b""
        while data := connection.recv(65536):
            received += data
            connection.sendall(greeting + data)
            greeting = b""
        if shut:
            connection.shutdown(socket.SHUT_WR)
    except ssl.SSLError as error:
        raise _BrokenError(bytes(received), "tls_error") from error
    except OSError as error:
        raise _BrokenError(bytes(received), "reset") from error
    return bytes(received)


def _read_all(connection: socket.socket) -> bytes:
    received = bytearray()
    try:
        while data := connection.recv(65536):
            received += data
    except OSError as error:
        raise _BrokenError(bytes(received), "reset") from error
    return bytes(received)


def _shut(sock: socket.socket) -> None:
    with suppress(OSError):  # it had ended by itself
        sock.shutdown(socket.SHUT_RDWR)
