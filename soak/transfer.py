"""What a connection carries: so many bytes each way, different for each connection, verified by hash.

The client sends a head, its bytes, and ends. The upstream sends its bytes, then the hash of what it
received, and ends. Before the head there may be a ClientHello, which passed through.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from enum import IntEnum
from hashlib import sha256
from random import Random
from typing import Final, NamedTuple

from support.clients import EndError, read_exactly, reset

MAGIC: Final = b"SOAK"
_HEAD: Final = struct.Struct(">4sQIIB")
_NOISE: Final = Random(3).randbytes(1 << 20)
_PIECE: Final = 65_536
HASH: Final = 32


class WrongBytesError(Exception):
    """Bytes arrived that were not sent. Nothing excuses it."""


class Manner(IntEnum):
    """How the upstream behaves."""

    AFTER = 0  # it answers when the client has ended
    AT_ONCE = 1  # it sends while it receives
    FIRST = 2  # it ends before the client does
    DIES = 3  # it resets in the middle of its answer


class Transfer(NamedTuple):
    """Sizes are in bytes."""

    number: int
    up: int
    down: int
    manner: Manner

    @property
    def head(self) -> bytes:
        return _HEAD.pack(MAGIC, *self)


def noise(number: int, size: int) -> Iterator[bytes]:
    """The bytes of one way of a transfer, in pieces."""
    at = number * 7919 % len(_NOISE)
    while size:
        piece = _NOISE[at : at + min(size, _PIECE)]
        yield piece
        size -= len(piece)
        at = (at + len(piece)) % len(_NOISE)


def hash_of(number: int, size: int) -> bytes:
    hashed = sha256()
    for piece in noise(number, size):
        hashed.update(piece)
    return hashed.digest()


def converse(
    transfer: Transfer,
    send: Callable[[bytes], object],
    receive: Callable[[], bytes],
    end: Callable[[], object],
    pause: Callable[[], object],
) -> None:
    """The client's side. Raises WrongBytesError, and EndError for an end that comes too early."""
    send(transfer.head)
    for piece in noise(transfer.number, transfer.up):
        send(piece)
    if transfer.manner is not Manner.FIRST:
        end()
    got, hashed, said = 0, sha256(), b""
    while data := receive():
        pause()
        got += len(data)
        fresh = data[: max(0, transfer.down - got + len(data))]
        hashed.update(fresh)
        said += data[len(fresh) :]
    if got < transfer.down + HASH:
        raise EndError(f"an end after {got} of {transfer.down + HASH} bytes")
    if hashed.digest() != hash_of(~transfer.number, transfer.down):
        raise WrongBytesError("the client received other bytes")
    if said != hash_of(transfer.number, transfer.up):
        raise WrongBytesError("the upstream received other bytes")
    if transfer.manner is Manner.FIRST:
        end()


def serve(connection: socket.socket, on_short: Callable[[int], object] = lambda _: None) -> bytes:
    """The upstream's side, for `support.backends.Backend`; what it received is the client's to verify.

    `on_short` is told the number of a transfer that ended as if it were whole, and was not.
    """
    with suppress(EndError):
        _serve(connection, on_short)
    return b""


def _serve(connection: socket.socket, on_short: Callable[[int], object]) -> None:
    first = read_exactly(connection, 5)
    if first[:2] == b"\x16\x03":
        read_exactly(connection, int.from_bytes(first[3:5]))
        first = b""
    magic, number, up, down, manner = _HEAD.unpack(
        first + read_exactly(connection, _HEAD.size - len(first))
    )
    assert magic == MAGIC
    transfer = Transfer(number, up, down, Manner(manner))
    if transfer.manner is Manner.DIES:
        _answer(connection, ~number, down // 2, [])
        reset(connection)
        return
    failures: list[OSError] = []
    sending = threading.Thread(target=_answer, args=(connection, ~number, down, failures))
    if transfer.manner is Manner.AT_ONCE:
        sending.start()
    try:
        hashed, left = sha256(), up
        while left and (data := connection.recv(min(left, _PIECE))):
            hashed.update(data)
            left -= len(data)
        if transfer.manner is not Manner.FIRST and connection.recv(1):
            hashed.update(b"more than was sent")
    finally:
        if transfer.manner is Manner.AT_ONCE:
            sending.join()
    if transfer.manner is not Manner.AT_ONCE:
        _answer(connection, ~number, down, failures)
    elif failures:  # of a reset the kernel tells once: to the recv above it looked like an end
        return
    if left:
        on_short(number)
    connection.sendall(hashed.digest())
    connection.shutdown(socket.SHUT_WR)
    while connection.recv(_PIECE):
        pass


def _answer(connection: socket.socket, number: int, size: int, failures: list[OSError]) -> None:
    try:
        for piece in noise(number, size):
            connection.sendall(piece)
    except OSError as error:
        failures.append(error)
