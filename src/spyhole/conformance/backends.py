"""The backends: plain TCP servers that say who they are, and keep what they got.

A backend greets whoever connects with a line that names it and the connection. Through a proxy, the client
sees by that line where it was routed; and since both ends live in one process, it can then look at what
arrived there. When the client has ended its direction, the backend says goodbye and ends, too.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
from contextlib import suppress
from errno import errorcode
from struct import pack
from typing import TYPE_CHECKING, Final, Self

from spyhole.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

GREETING: Final = re.compile(rb"spyhole-conformance ([a-z]+) ([0-9]+)\n")
GOODBYE: Final = b"goodbye\n"
_MOST_BYTES: Final = 1 << 20


class CannotListen(OperatorError):
    """A backend's address is not to be had."""


def joined(host: str, port: int) -> str:
    """ "127.0.0.1:9801", "[::1]:9801"."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def why(error: OSError) -> str:
    """What the system says, without the words that asyncio puts around it. What asyncio says by itself, and
    what a name server says, has no number of the system's."""
    if error.errno is not None and error.errno in errorcode:
        return os.strerror(error.errno)
    return error.strerror or str(error) or "it takes too long"


class End(asyncio.Protocol):
    """One end of a connection: what it got, and how it ended."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.finished = False
        """The other side has ended its direction."""
        self.lost = False
        """The connection is gone."""
        self.reset = False
        """It was reset, or broke."""
        self._transport: asyncio.Transport | None = None
        self._silent = False
        self._waiters: list[asyncio.Future[None]] = []

    @property
    def ended(self) -> bool:
        return self.finished or self.lost

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if len(self.received) < _MOST_BYTES:
            self.received += data
        self._changed()

    def eof_received(self) -> bool:
        self.finished = True
        self._changed()
        return True  # our direction stays open

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self.reset = exc is not None
        self._changed()

    def send(self, data: bytes) -> None:
        """Nothing is sent on a connection that is gone, or whose direction we have ended."""
        if self._transport is not None and not self.lost and not self._silent:
            self._transport.write(data)

    def finish(self) -> None:
        """End our direction."""
        if self._transport is not None and not self.lost:
            self._silent = True
            with suppress(OSError):
                self._transport.write_eof()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Reset the connection."""
        if self._transport is not None and not self.lost:
            sock = self._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, pack("ii", 1, 0))
            self._transport.abort()

    async def until(self, holds: Callable[[], object], seconds: float) -> bool:
        """Wait until it holds, and say whether it came to that within so many seconds."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(seconds):
                while not holds():
                    waiter = loop.create_future()
                    self._waiters.append(waiter)
                    await waiter
        except TimeoutError:
            return False
        return True

    def _changed(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()


class Connection(End):
    """A connection that reached a backend."""

    def __init__(self, backend: Backend) -> None:
        super().__init__()
        self.label = backend.label
        self.number = len(backend.connections)
        self.claimed = False
        """A client has seen that it got here."""
        backend.connections.append(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.send(f"spyhole-conformance {self.label} {self.number}\n".encode())

    def eof_received(self) -> bool:
        self.send(GOODBYE)
        self.finish()
        return super().eof_received()


class Backend:
    """A server of one label, on 127.0.0.1 or where it is told."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.connections: list[Connection] = []
        self.address = ("", 0)
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> None:
        """Raises CannotListen."""
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(lambda: Connection(self), host, port, backlog=1024)
        except OSError as error:
            where = joined(host, port)
            raise CannotListen(
                f"backend {self.label!r} can't listen at {where}: {why(error)} (--backends)"
            ) from None
        self.address = self._server.sockets[0].getsockname()[:2]

    def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for connection in self.connections:
            connection.close()


class Backends:
    """All backends of one proxy. An asynchronous context manager."""

    def __init__(self, labels: Iterable[str], host: str = "127.0.0.1", first_port: int = 0) -> None:
        """They listen on consecutive ports from `first_port`; 0: on any that are free."""
        self._backends = {label: Backend(label) for label in labels}
        self._host = host
        self._first_port = first_port

    @property
    def addresses(self) -> dict[str, str]:
        """Label → "127.0.0.1:9801"."""
        return {label: joined(*backend.address) for label, backend in self._backends.items()}

    def greeted(self, data: bytes) -> Connection | None:
        """The connection of whose greeting `data` is the beginning."""
        match = GREETING.match(data)
        if match is None:
            return None
        backend = self._backends.get(match[1].decode())
        number = int(match[2])
        if backend is None or number >= len(backend.connections):
            return None
        return backend.connections[number]

    def unclaimed(self) -> list[Connection]:
        """Connections that got here and whose client never saw it: it had left."""
        return [c for backend in self._backends.values() for c in backend.connections if not c.claimed]

    async def __aenter__(self) -> Self:
        try:
            for offset, backend in enumerate(self._backends.values()):
                await backend.start(self._host, self._first_port + offset if self._first_port else 0)
        except CannotListen:
            self._stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop()

    def _stop(self) -> None:
        for backend in self._backends.values():
            backend.stop()
