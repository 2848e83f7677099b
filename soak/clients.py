"""What clients do, each kind one function; a thread picks one after the other until it is told to stop."""

from __future__ import annotations

import itertools
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import Final

from soak.tally import Connection, Tally
from soak.transfer import HASH, Manner, Transfer, WrongBytesError, converse
from spyhole.wire.alerts import Alert
from support.backends import BOUND
from support.certificates import TLS_1_2, TLS_1_3, Authority
from support.clients import EndError, TlsClient, TruncatedError, client_hello, read_to_end, reset

SIZES: Final = (0, 1, 300, 300, 5_000, 5_000, 70_000, 70_000, 400_000, 3_000_000)
PER_ADDRESS: Final = 5_000
"""Connections from one loopback address, so that the kernel need give no port out twice."""

_numbers = itertools.count(1)
_used: set[tuple[str, int]] = set()


@dataclass
class World:
    """What a client needs."""

    sockaddr: tuple[str, int]
    authority: Authority
    tally: Tally
    stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.hellos = {n: client_hello(n) for n in ("pass.test", "mortal.test", "dead.test", "none.test")}
        self.contexts = [self.authority.client_context(version=version) for version in (TLS_1_2, TLS_1_3)]


def churn(world: World, seed: int) -> None:
    """One connection after the other, of all kinds, until it is time to stop."""
    random = Random(seed)
    kinds, weights = zip(*KINDS.items(), strict=True)
    while not world.stop.is_set():
        kind = random.choices(kinds, weights)[0]
        number = next(_numbers)
        sock = _bound(number)
        connection = world.tally.add(kind.__name__, sock.getsockname(), number)
        try:
            with sock:
                sock.connect(world.sockaddr)
                kind(world, sock, connection, random, number)
        except (OSError, EndError, TruncatedError, AssertionError, WrongBytesError) as error:
            connection.failure = f"{type(error).__name__}: {error}"
            connection.wrong = isinstance(error, WrongBytesError)
        connection.ended = time.monotonic()


def _bound(number: int) -> socket.socket:
    """A socket of which nobody in this run has had the address and port."""
    at = number // PER_ADDRESS + 1
    while True:
        sock = socket.socket()
        sock.bind((f"127.0.{at >> 8}.{at & 255}", 0))
        if sock.getsockname() not in _used:
            _used.add(sock.getsockname())
            sock.settimeout(BOUND)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
        sock.close()


def _transfer(random: Random, number: int) -> Transfer:
    manner = random.choice((Manner.AFTER, Manner.AT_ONCE, Manner.FIRST))
    return Transfer(number, random.choice(SIZES), random.choice(SIZES), manner)


def passed(world: World, sock: socket.socket, connection: Connection, random: Random, number: int) -> None:
    """Passthrough, verified both ways."""
    _pass(world, sock, connection, _transfer(random, number), "pass.test")


def passed_slowly(
    world: World, sock: socket.socket, connection: Connection, random: Random, number: int
) -> None:
    """Passthrough to a client that reads a little at a time, so the upstream is held up."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32_768)
    transfer = _transfer(random, number)._replace(down=random.choice((70_000, 1_000_000)))
    _pass(world, sock, connection, transfer, "pass.test", slow=True)


def passed_to_mortal(
    world: World, sock: socket.socket, connection: Connection, random: Random, number: int
) -> None:
    """Passthrough to the upstream that is killed now and then."""
    connection.mortal = True
    _pass(world, sock, connection, _transfer(random, number), "mortal.test")


def _pass(
    world: World,
    sock: socket.socket,
    connection: Connection,
    transfer: Transfer,
    name: str,
    *,
    slow: bool = False,
) -> None:
    wire = world.hellos[name]
    sock.sendall(wire)
    converse(
        transfer,
        sock.sendall,
        lambda: sock.recv(16_384 if slow else 65_536),
        lambda: sock.shutdown(socket.SHUT_WR),
        (lambda: time.sleep(0.001)) if slow else lambda: None,
    )
    connection.carried = len(wire) + len(transfer.head) + transfer.up, transfer.down + HASH


def terminated(
    world: World, sock: socket.socket, connection: Connection, random: Random, number: int
) -> None:
    """TLS that the proxy ends, 1.2 or 1.3, verified both ways."""
    transfer = _transfer(random, number)
    client = TlsClient(sock, random.choice(world.contexts), "end.test", hold=random.random() < 0.5)

    def end() -> None:
        client.close_notify()
        if transfer.number % 2:
            client.fin()

    converse(transfer, client.send, client.receive, end, lambda: None)
    connection.carried = len(transfer.head) + transfer.up, transfer.down + HASH


def resets(world: World, sock: socket.socket, connection: Connection, random: Random, number: int) -> None:
    """It goes in the middle of an upload or a download."""
    transfer = Transfer(number, 500_000, 500_000, random.choice((Manner.AFTER, Manner.AT_ONCE)))
    sock.sendall(world.hellos["pass.test"] + transfer.head + bytes(random.randrange(400_000)))
    if random.random() < 0.5:
        sock.settimeout(0.05)
        with suppress(OSError):
            sock.recv(65_536)
    reset(sock)


def resets_under_tls(
    world: World, sock: socket.socket, connection: Connection, random: Random, number: int
) -> None:
    """The same under TLS that the proxy ends; or it ends without close_notify, or sends no record."""
    client = TlsClient(sock, random.choice(world.contexts), "end.test")
    client.send(Transfer(number, 500_000, 500_000, Manner.AT_ONCE).head + bytes(random.randrange(100_000)))
    choice = random.randrange(3)
    if choice == 0:
        reset(sock)
    elif choice == 1:
        sock.shutdown(socket.SHUT_WR)
        _expect_no_clean_end(client.receive)
    else:
        sock.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
        _expect_no_clean_end(client.receive)


def stalls(world: World, sock: socket.socket, connection: Connection, random: Random, number: int) -> None:
    """It sends a part of its hello and waits for the proxy to have enough."""
    wire = world.hellos["pass.test"]
    sock.sendall(wire[: random.randrange(1, len(wire))])
    assert read_to_end(sock) == b""


def sends_garbage(
    world: World, sock: socket.socket, connection: Connection, random: Random, number: int
) -> None:
    """What is no TLS, a hello that is broken, or a name that nobody has."""
    broken = bytearray(world.hellos["pass.test"])
    broken[5] = 2
    wire, said = random.choice(
        [
            (b"GET / HTTP/1.1\r\n\r\n", b""),
            (bytes(broken), Alert.UNEXPECTED_MESSAGE.record()),
            (world.hellos["none.test"], Alert.UNRECOGNIZED_NAME.record()),
        ]
    )
    sock.sendall(wire)
    assert read_to_end(sock) == said


def finds_nobody(
    world: World, sock: socket.socket, connection: Connection, random: Random, number: int
) -> None:
    """Its upstream refuses the connection."""
    sock.sendall(world.hellos["dead.test"])
    assert read_to_end(sock) == Alert.INTERNAL_ERROR.record()


def upstream_dies(
    world: World, sock: socket.socket, connection: Connection, random: Random, number: int
) -> None:
    """The upstream resets in the middle of its answer: no client may take that for an end."""
    transfer = Transfer(number, 0, random.choice((2, 100_000, 1_000_000)), Manner.DIES)
    if random.random() < 0.5:
        client = TlsClient(sock, random.choice(world.contexts), "end.test")
        client.send(transfer.head)
        _expect_no_clean_end(client.receive)
    else:
        sock.sendall(world.hellos["pass.test"] + transfer.head)
        _expect_no_clean_end(lambda: sock.recv(65_536))


def holds(world: World, sock: socket.socket, connection: Connection, random: Random, number: int) -> None:
    """It is quiet for seconds in the middle, while others are killed around it."""
    transfer = Transfer(number, 5_000, 5_000, Manner.AFTER)
    wire = world.hellos["pass.test"]
    sock.sendall(wire)
    quiet = iter([random.uniform(1.0, 8.0)])

    def send(data: bytes) -> None:
        sock.sendall(data)
        world.stop.wait(next(quiet, 0.0))

    converse(
        transfer,
        send,
        lambda: sock.recv(65_536),
        lambda: sock.shutdown(socket.SHUT_WR),
        lambda: None,
    )
    connection.carried = len(wire) + len(transfer.head) + transfer.up, transfer.down + HASH


def _expect_no_clean_end(receive: Callable[[], bytes]) -> None:
    try:
        while receive():
            pass
    except (ConnectionError, TruncatedError, ssl.SSLError):
        return
    raise AssertionError("a part passed for the whole")


KINDS: Final = {
    passed: 30,
    passed_slowly: 3,
    passed_to_mortal: 6,
    terminated: 25,
    resets: 5,
    resets_under_tls: 5,
    stalls: 2,
    sends_garbage: 4,
    finds_nobody: 3,
    upstream_dies: 5,
    holds: 6,
}
