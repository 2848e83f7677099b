"""Listening sockets: one of each address for each worker, all bound before any worker starts."""

from __future__ import annotations

import errno
import socket
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from spyhole.errors import OperatorError
from spyhole.upstreams.address import ANY_HOST, Address, TcpAddress, UnixAddress

BACKLOG: Final = 4096  # the kernel lowers it to net.core.somaxconn
_DEFER_SECONDS: Final = 1


class BindError(OperatorError):
    """An address can't be listened on; the message says why, and what to change."""


def bind(
    address: Address, copies: int = 1, *, defer_accept: bool = False, keepalive: float | None = 120.0
) -> list[list[socket.socket]]:
    """Listen on `address`: one list of sockets for each of `copies` workers.

    The copies of a TCP address share it by SO_REUSEPORT, and the kernel spreads connections over them; a
    unix socket has one accept queue, which the workers share. `*` as the host is two sockets, IPv4 and
    IPv6. Port 0 is one that the kernel picks, the same for all. `defer_accept` leaves a connection with
    the kernel until its first bytes are there (not for protocols in which the server speaks first).
    Socket options are set here, once: accepted sockets inherit them.

    The caller closes the sockets, and removes a unix socket's file by `unlink`. Raises `BindError`.
    """
    if isinstance(address, UnixAddress):
        listening = _bind_unix(address)
        return [[listening] if copy == 0 else [listening.dup()] for copy in range(copies)]
    sets: list[list[socket.socket]] = [[] for _ in range(copies)]
    port = address.port
    try:
        for family, host in _families(address):
            if port:
                _refuse_if_taken(family, host, port, address)
            for copy in range(copies):
                sock = _bind_tcp(family, host, port, address, defer_accept, keepalive)
                sets[copy].append(sock)
                port = port or sock.getsockname()[1]
    except BaseException:
        for sockets in sets:
            for sock in sockets:
                sock.close()
        raise
    return sets


def address_of(sock: socket.socket) -> str:
    """The address that a socket listens on, as an operator would write it."""
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        return f"unix:{name}"
    return str(TcpAddress(name[0], name[1]))


def unlink(address: UnixAddress) -> None:
    """Remove a unix socket's file, if it is still there."""
    with suppress(OSError):
        Path(address.path).unlink()


def _families(address: TcpAddress) -> list[tuple[int, str]]:
    if address.host == ANY_HOST:
        families: list[tuple[int, str]] = [(socket.AF_INET, "0.0.0.0")]
        return [*families, (socket.AF_INET6, "::")] if _has_ipv6() else families
    if address.family is not None:
        return [(socket.AF_INET if address.family == 4 else socket.AF_INET6, address.host)]
    try:
        found = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise BindError(f"can't listen on {str(address)!r}: {error.strerror or error}") from None
    return list(dict.fromkeys((family, str(sockaddr[0])) for family, _, _, _, sockaddr in found))


def _has_ipv6() -> bool:
    # `socket.has_ipv6` knows Python, not the kernel, which may have been started with ipv6.disable=1.
    try:
        socket.socket(socket.AF_INET6, socket.SOCK_STREAM).close()
    except OSError as error:
        return error.errno != errno.EAFNOSUPPORT
    return True


def _refuse_if_taken(family: int, host: str, port: int, address: Address) -> None:
    # With SO_REUSEPORT a second proxy of the same user would get half of the connections and no error.
    with _socket(family, address) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError as error:
            raise _explain(error, address) from None


def _bind_tcp(
    family: int, host: str, port: int, address: Address, defer_accept: bool, keepalive: float | None
) -> socket.socket:
    sock = _socket(family, address)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if keepalive is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, max(1, round(keepalive)))
        if defer_accept:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, _DEFER_SECONDS)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, port))
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise _explain(error, address) from None
    return sock


def _bind_unix(address: UnixAddress) -> socket.socket:
    sock = _socket(socket.AF_UNIX, address)
    try:
        _remove_stale(address)
        sock.setblocking(False)
        sock.bind(address.path)
        sock.listen(BACKLOG)
    except BaseException as error:
        sock.close()
        if isinstance(error, OSError):
            raise _explain(error, address) from None
        raise
    return sock


def _socket(family: int, address: Address) -> socket.socket:
    try:
        return socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise _explain(error, address) from None


def _remove_stale(address: UnixAddress) -> None:
    # A process that was killed leaves its socket's file, and nobody can bind to the name again.
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(Path(address.path).stat().st_mode):
            raise BindError(f"can't listen on {str(address)!r}: the file is there and is not a socket")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)
            try:
                probe.connect(address.path)
            except ConnectionRefusedError:
                Path(address.path).unlink()
            except OSError:
                pass  # bind says what is wrong
            else:
                raise BindError(f"can't listen on {str(address)!r}: another process listens there")


def _explain(error: OSError, address: Address) -> BindError:
    text = f"can't listen on {str(address)!r}: {(error.strerror or str(error)).lower()}"
    if error.errno == errno.EADDRINUSE:
        text += "; another process listens there: stop it, or change `bind` (--listen)"
    elif error.errno == errno.EACCES and isinstance(address, TcpAddress):
        text += "; a port below 1024 needs CAP_NET_BIND_SERVICE or root"
    elif error.errno == errno.EADDRNOTAVAIL:
        text += "; no interface of this machine has that address"
    return BindError(text)
