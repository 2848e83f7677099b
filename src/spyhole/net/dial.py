"""Connect to an address."""

from __future__ import annotations

import errno
import os
from _socket import socket
from socket import (
    AF_INET,
    AF_INET6,
    AF_UNIX,
    IPPROTO_TCP,
    SO_ERROR,
    SO_KEEPALIVE,
    SOCK_CLOEXEC,
    SOCK_NONBLOCK,
    SOCK_STREAM,
    SOL_SOCKET,
    TCP_KEEPIDLE,
    TCP_NODELAY,
)
from typing import TYPE_CHECKING, Any, Final

from spyhole.errors import PeerError
from spyhole.net.fiber import Waiter
from spyhole.net.loop import BROKEN, WRITABLE, running_loop
from spyhole.net.stream import SEND_FLAGS, Stream
from spyhole.outcome import Reason
from spyhole.upstreams.address import Address, TcpAddress, UnixAddress, parse_address

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from spyhole.net.loop import HotLoop

_UNIX_RETRY = 0.01  # seconds
_FAMILIES: Final = {4: AF_INET, 6: AF_INET6}
_REFUSED = frozenset({errno.ECONNREFUSED, errno.ECONNRESET, errno.ENOENT})
_NO_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class DialError(PeerError):
    """No connection came about: `reason` is one of the `UPSTREAM_…` ones, or NO_DESCRIPTORS, our limit."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def dial(
    address: Address | str,
    timeout: float = 5.0,
    *,
    first: bytes = b"",
    keepalive: float | None = 120.0,
    before_wait: Callable[[], None] | None = None,
    loop: HotLoop | None = None,
) -> Coroutine[Any, Any, Stream]:
    """Return a stream connected to `address` ("10.0.0.5:443", "[::1]:443", "name:443", "unix:/path").

    `timeout`, in seconds, covers the resolution of a host name and every address it resolves to, tried in
    the resolver's order. `first` is sent as soon as there is a connection: `Stream.sent` says how much of
    it, the rest is the caller's. `keepalive` is the seconds of silence before TCP probes begin, None for
    never. `before_wait` is called each time that it has to wait. `loop`: the running one.

    To be awaited; raises `DialError` then, and ValueError at once for an address that is none. The caller
    ends the stream; cancelling resets it.
    """
    if isinstance(address, str):
        address = parse_address(address)
    loop = loop or running_loop()
    options = first, keepalive, before_wait
    if isinstance(address, UnixAddress):
        return _connect(loop, AF_UNIX, address.path, address.text, timeout, *options)
    if address.family is None:
        return _dial_name(loop, address, timeout, *options)
    return _connect(
        loop, _FAMILIES[address.family], (address.host, address.port), address.text, timeout, *options
    )


async def _dial_name(
    loop: HotLoop,
    address: TcpAddress,
    timeout: float,
    first: bytes,
    keepalive: float | None,
    before_wait: Callable[[], None] | None,
) -> Stream:
    ends = loop.time() + timeout
    if before_wait is not None:
        before_wait()
    try:
        targets = await loop.resolver.resolve(address.host, address.port, timeout)
    except OSError as error:  # gaierror and TimeoutError alike
        raise DialError(Reason.UPSTREAM_UNRESOLVED, f"{address.host}: {error.strerror or error}") from None
    # Not the errors themselves: their tracebacks lead here, and back to themselves.
    reason, detail = Reason.UPSTREAM_TIMEOUT, f"{address}: no connection within {timeout:g} s"
    for number, target in enumerate(targets):
        left = ends - loop.time()
        if left > 0:
            # One that does not answer leaves the others their share. Rounded, since deadlines are kept by
            # duration.
            share = max(0.1, round(left / (len(targets) - number), 1))
            try:
                name = f"{address} ({target.sockaddr[0]})"
                return await _connect(loop, *target, name, share, first, keepalive, before_wait)
            except DialError as error:
                reason, detail = error.reason, error.detail
    raise DialError(reason, detail)


async def _connect(
    loop: HotLoop,
    family: int,
    sockaddr: Any,
    name: str,
    timeout: float,
    first: bytes,
    keepalive: float | None,
    before_wait: Callable[[], None] | None,
) -> Stream:
    try:
        sock = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)
    except OSError as error:
        raise _failure(error.errno or 0, name) from None
    stream = Stream(sock, loop, name)
    try:
        if family == AF_UNIX:
            await _connect_unix(stream, sockaddr, timeout, before_wait)
            _send(stream, first)
            return stream
        sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        if keepalive is not None:
            sock.setsockopt(SOL_SOCKET, SO_KEEPALIVE, 1)
            sock.setsockopt(IPPROTO_TCP, TCP_KEEPIDLE, int(keepalive) or 1)
        code = sock.connect_ex(sockaddr)
        if code and code != errno.EINPROGRESS:
            raise _failure(code, name)
        # A server on this machine has answered by now. To send is to ask, and spares a wake.
        if not _send(stream, first):
            if before_wait is not None:
                before_wait()
            with stream.within(timeout):
                await stream.event(WRITABLE)
            # HUP without an error: connected and ended already, which the reader finds out
            code = sock.getsockopt(SOL_SOCKET, SO_ERROR) if stream.events & BROKEN else 0
            if code:
                raise _failure(code, name)
            _send(stream, first)
    except BaseException as error:
        # not close(): the server may have accepted already, and would take a FIN for a clean end
        stream.reset()
        if isinstance(error, TimeoutError):
            raise DialError(
                Reason.UPSTREAM_TIMEOUT, f"{name}: no connection within {timeout:g} s"
            ) from None
        if isinstance(error, OSError):
            raise _failure(error.errno or 0, name) from None
        raise
    return stream


async def _connect_unix(
    stream: Stream, path: str, timeout: float, before_wait: Callable[[], None] | None
) -> None:
    ends = stream.loop.time() + timeout
    while True:
        try:
            stream.sock.connect(path)
        except BlockingIOError:
            # the listener's queue is full, and nothing tells when it has room again
            if stream.loop.time() > ends:
                raise TimeoutError from None
            if before_wait is not None:
                before_wait()
            pause = Waiter()
            stream.loop.call_later(_UNIX_RETRY, pause.wake)
            await pause.wait()
        else:
            return


def _send(stream: Stream, first: bytes) -> bool:
    """Send the first bytes, as far as they fit. False when there is no connection yet."""
    try:
        stream.sent = stream.sock.send(first, SEND_FLAGS)
    except BlockingIOError:
        return False
    except BrokenPipeError:
        pass  # connected, and ended already: its reader finds out
    return True


def _failure(code: int, name: str) -> DialError:
    if code in _REFUSED:
        reason = Reason.UPSTREAM_REFUSED
    elif code in _NO_DESCRIPTORS:
        reason = Reason.NO_DESCRIPTORS
    elif code == errno.ETIMEDOUT:
        reason = Reason.UPSTREAM_TIMEOUT
    else:
        reason = Reason.UPSTREAM_UNREACHABLE
    return DialError(reason, f"{name}: {os.strerror(code)}")
