"""Reset, silence and half-close of either side, at every stage of a connection's life, in both modes.

Each leaves one record with the right reason, and nothing else: no descriptor, no memory, no CPU time. What
the other side sees of it is in test_ends_arrive, test_refusals and test_timeouts. The table's cells are
played at once, each in a thread of its own. A cell in which somebody waits is played on a proxy on which
only the timeout in question is short, so that a slow machine fails none.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest

from support.certificates import TLS_1_2, TLS_1_3, Authority
from support.clients import Listener, TlsClient, client_hello, connect, read_to_end, reset
from support.front import fill, unused_port
from support.proc import memory, open_files, queues
from support.scale import scaled
from support.spyhole_process import SpyholeProcess
from support.waiting import assert_idle, until

ROUNDS = scaled(40, small=2)
SHORT = 0.5
MUCH = 8 << 20
TIMEOUTS = ("hello_timeout", "handshake_timeout", "connect_timeout", "idle_timeout", "half_close_timeout")

Figure = Callable[[str], None]
Client = socket.socket | TlsClient
Deed = Callable[[Client, Client | None], None]
Records = dict[str, dict[str, Any] | Exception]


@dataclass
class Place:
    """Where a cell is played: a proxy, an upstream and names of its own."""

    proxy: SpyholeProcess
    authority: Authority
    listener: Listener
    number: int
    stack: ExitStack
    address: str = field(default="", init=False)

    def connected(self) -> socket.socket:
        client = self.stack.enter_context(connect(self.proxy.sockaddr()))
        self.address = "{}:{}".format(*client.getsockname())
        return client

    def told(self, name: str, size: int | None = None) -> socket.socket:
        """A client that has sent its hello, or the beginning of it."""
        client = self.connected()
        client.sendall(client_hello(name)[:size])
        return client

    def shaken(self, name: str) -> TlsClient:
        """A client that has shaken hands: every other cell in TLS 1.2."""
        context = self.authority.client_context(version=TLS_1_2 if self.number % 2 else TLS_1_3)
        return TlsClient(self.connected(), context, name)


class Ends(NamedTuple):
    """Both ends of a connection, as far as there are two."""

    client: Client
    upstream: socket.socket | None = None


Reach = Callable[[Place], Ends]


# the stages


def connected(place: Place) -> Ends:
    return Ends(place.connected())


def in_hello(place: Place) -> Ends:
    return Ends(place.told("pass.test", 100))


def in_handshake(place: Place) -> Ends:
    client = place.told("end.test")
    assert client.recv(1) == b"\x16", "a ServerHello"
    return Ends(client)


def refused(place: Place) -> Ends:
    client = place.told("nowhere.test")
    assert client.recv(1) == b"\x15", "an alert"
    return Ends(client)


def dialling(place: Place) -> Ends:
    client = place.told("slow.pass.test")
    here, front = client.getsockname()[1], client.getpeername()[1]
    until(lambda: not queues(front, here).incoming)  # or a reset would overtake the hello
    return Ends(client)


def dialling_dead(place: Place) -> Ends:
    return Ends(place.told("dead.pass.test"))


def tls_dialling(place: Place) -> Ends:
    return Ends(place.shaken("slow.end.test"))


def tls_dialling_dead(place: Place) -> Ends:
    return Ends(place.shaken("dead.end.test"))


def relayed(place: Place) -> Ends:
    client = place.told(f"s{place.number}.pass.test")
    upstream = place.stack.enter_context(place.listener.accept())
    assert upstream.recv(65_536)
    upstream.sendall(b"hi")
    assert client.recv(2, socket.MSG_WAITALL) == b"hi"
    return Ends(client, upstream)


def tls_relayed(place: Place) -> Ends:
    client = place.shaken(f"s{place.number}.end.test")
    upstream = place.stack.enter_context(place.listener.accept())
    upstream.sendall(b"hi")
    assert client.receive() == b"hi"
    return Ends(client, upstream)


def then(relayed: Reach, happens: Callable[[Client, socket.socket], None]) -> Reach:
    """Something happens once both sides are there."""

    def reach(place: Place) -> Ends:
        client, upstream = ends = relayed(place)
        assert upstream is not None
        happens(client, upstream)
        return ends

    return reach


def client_sends(client: Client, _: socket.socket) -> None:
    """It is in the middle of it."""
    data = bytes(MUCH)
    pour(socket_of(client), client.encrypt(data) if isinstance(client, TlsClient) else data)


def upstream_sends(_: Client, upstream: socket.socket) -> None:
    pour(upstream, bytes(MUCH))


def client_has_ended(client: Client, upstream: socket.socket) -> None:
    end(client)
    assert upstream.recv(1) == b""


def upstream_has_ended(client: Client, upstream: socket.socket) -> None:
    end(upstream)
    assert (client.receive() if isinstance(client, TlsClient) else client.recv(1)) == b""


def pour(sock: socket.socket, data: bytes) -> None:
    """Send until the kernel takes no more for now: the other end does not read."""
    poll = select.poll()
    poll.register(sock, select.POLLOUT)
    left = memoryview(data)
    while left and poll.poll(0):
        left = left[sock.send(left[:65_536], socket.MSG_DONTWAIT) :]


def socket_of(end: Client) -> socket.socket:
    return end.sock if isinstance(end, TlsClient) else end


# the deeds


def end(side: Client) -> None:
    if isinstance(side, TlsClient):
        side.close_notify()
    else:
        side.shutdown(socket.SHUT_WR)


def resets(side: Client, _: Client | None) -> None:
    reset(socket_of(side))


def is_silent(_side: Client, _: Client | None) -> None:
    pass


def ends(side: Client, _: Client | None) -> None:
    end(side)


def finishes(side: Client, other: Client | None) -> None:
    """Its FIN is behind what it has sent; the other takes it all, and ends too."""
    assert other is not None
    socket_of(side).shutdown(socket.SHUT_WR)
    with suppress(ConnectionResetError):  # a FIN without close_notify is no clean end
        if isinstance(other, TlsClient):
            other.receive_all()
        else:
            read_to_end(other)
        end(other)


class Cell(NamedTuple):
    stage: Reach
    side: str
    deed: Deed
    reasons: tuple[str, ...]

    @property
    def timeout(self) -> str | None:
        """The timeout that ends it, if one does."""
        if self.reasons[0] == "upstream_timeout":
            return "connect_timeout"
        return self.reasons[0] if self.reasons[0] in TIMEOUTS else None


Row = tuple[str, Reach, str, Deed, str]
"""The name of the stage, how it is reached, who does what, and the reason or reasons that may be."""


def rows_of_relay(relayed: Reach, name: str) -> list[Row]:
    """Once both sides are there, the same in both modes."""
    receiving, sending = then(relayed, upstream_sends), then(relayed, client_sends)
    by_client, by_upstream = then(relayed, client_has_ended), then(relayed, upstream_has_ended)
    # in the middle of a record there is no room for a close_notify
    truncated = "client_truncated" if relayed is tls_relayed else "closed"
    # it may reset between the close_notify and the FIN
    closed = "closed or client_reset" if relayed is tls_relayed else "closed"
    return [
        (f"{name}, idle", relayed, "client", resets, "client_reset"),
        (f"{name}, idle", relayed, "client", is_silent, "idle_timeout"),
        (f"{name}, idle", relayed, "client", ends, "half_close_timeout"),
        (f"{name}, idle", relayed, "upstream", resets, "upstream_reset"),
        (f"{name}, idle", relayed, "upstream", ends, "half_close_timeout"),
        (f"{name}, receiving", receiving, "client", resets, "client_reset"),
        (f"{name}, receiving", receiving, "client", is_silent, "idle_timeout"),
        (f"{name}, receiving", receiving, "client", ends, "half_close_timeout"),
        (f"{name}, receiving", receiving, "upstream", resets, "upstream_reset"),
        (f"{name}, receiving", receiving, "upstream", is_silent, "idle_timeout"),
        (f"{name}, receiving", receiving, "upstream", finishes, "closed"),
        (f"{name}, sending", sending, "client", resets, "client_reset"),
        (f"{name}, sending", sending, "client", is_silent, "idle_timeout"),
        (f"{name}, sending", sending, "client", finishes, truncated),
        (f"{name}, sending", sending, "upstream", resets, "upstream_reset"),
        (f"{name}, sending", sending, "upstream", ends, "half_close_timeout"),
        (f"{name}, ended by the client", by_client, "client", resets, "client_reset"),
        (f"{name}, ended by the client", by_client, "client", is_silent, "half_close_timeout"),
        (f"{name}, ended by the client", by_client, "upstream", resets, "upstream_reset"),
        (f"{name}, ended by the client", by_client, "upstream", ends, "closed"),
        # it has all that there was, and many close with something left unread
        (f"{name}, ended by the upstream", by_upstream, "client", resets, closed),
        (f"{name}, ended by the upstream", by_upstream, "client", ends, "closed"),
        (f"{name}, ended by the upstream", by_upstream, "upstream", resets, "upstream_reset"),
        (f"{name}, ended by the upstream", by_upstream, "upstream", is_silent, "half_close_timeout"),
    ]


ROWS: list[Row] = [
    ("connected", connected, "client", resets, "client_reset"),
    ("connected", connected, "client", is_silent, "hello_timeout"),
    ("connected", connected, "client", ends, "client_closed_early"),
    ("in the hello", in_hello, "client", resets, "client_reset"),
    ("in the hello", in_hello, "client", is_silent, "hello_timeout"),
    ("in the hello", in_hello, "client", ends, "client_closed_early"),
    ("refused", refused, "client", resets, "no_route"),
    ("refused", refused, "client", is_silent, "no_route"),
    ("refused", refused, "client", ends, "no_route"),
    ("dialling", dialling, "client", resets, "client_closed_waiting"),
    ("dialling", dialling, "client", is_silent, "upstream_timeout"),
    ("dialling", dialling, "client", ends, "upstream_timeout"),
    ("dialling who refuses", dialling_dead, "client", is_silent, "upstream_refused"),
    ("handshake", in_handshake, "client", resets, "client_reset"),
    ("handshake", in_handshake, "client", is_silent, "handshake_timeout"),
    ("handshake", in_handshake, "client", ends, "handshake_failed"),
    # a reset may overtake the last bytes of the handshake
    ("terminate, dialling", tls_dialling, "client", resets, "client_closed_waiting or client_reset"),
    ("terminate, dialling", tls_dialling, "client", is_silent, "upstream_timeout"),
    ("terminate, dialling", tls_dialling, "client", ends, "upstream_timeout"),
    ("terminate, dialling who refuses", tls_dialling_dead, "client", is_silent, "upstream_refused"),
    *rows_of_relay(relayed, "passthrough"),
    *rows_of_relay(tls_relayed, "terminate"),
]

CELLS = {
    f"{stage}: the {side} {deed.__name__}": Cell(reach, side, deed, tuple(reasons.split(" or ")))
    for stage, reach, side, deed, reasons in ROWS
}
assert len(CELLS) == len(ROWS), "two rows of one name"


@dataclass
class Stage:
    """The proxies, by the timeout that is short on them (None: on none), and the upstreams of the cells."""

    proxies: dict[str | None, SpyholeProcess]
    authority: Authority
    listeners: list[Listener]

    def play(self, only: Callable[[Cell], bool]) -> Records:
        """Play all cells that are wanted, at once: for each its record, or what went wrong."""
        wanted = [(name, number) for number, name in enumerate(CELLS) if only(CELLS[name])]
        with ThreadPoolExecutor(len(wanted)) as pool:
            return dict(pool.map(lambda job: (job[0], self._play(*job)), wanted))

    def _play(self, name: str, number: int) -> dict[str, Any] | Exception:
        cell = CELLS[name]
        proxy = self.proxies[cell.timeout]
        with ExitStack() as stack:
            place = Place(proxy, self.authority, self.listeners[number], number, stack)
            try:
                # a slow machine may be overtaken by the timeout that is short
                with suppress(*([ConnectionError] if cell.timeout else [])):
                    client, upstream = cell.stage(place)
                    side, other = (client, upstream) if cell.side == "client" else (upstream, client)
                    assert side is not None
                    cell.deed(side, other)
                return proxy.record_of(place.address)
            except Exception as error:
                return error


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    directory = tmp_path_factory.mktemp("stages")
    authority = Authority(directory)
    leaf = authority.issue("end.test", "*.end.test")
    with ExitStack() as stack:
        listeners = [stack.enter_context(Listener()) for _ in CELLS]
        blackhole = stack.enter_context(Listener(backlog=0))
        fill(blackhole, stack)
        dead = f"127.0.0.1:{unused_port(stack)}"

        def config(short: str | None) -> str:
            routes = [("slow", blackhole.address), ("dead", dead)]
            routes += [(f"s{number}", listener.address) for number, listener in enumerate(listeners)]
            return "\n".join(
                [
                    "workers = 1",
                    *(f'{timeout} = "{SHORT if timeout == short else 3600}s"' for timeout in TIMEOUTS),
                    f"certificates = [{{ cert = {str(leaf.cert)!r}, key = {str(leaf.key)!r} }}]",
                    'listeners = [{ bind = "127.0.0.1:0" }]',
                    # with this, a connection is accepted before its first byte
                    f'[[routes]]\ntls = false\nupstream = "{dead}"',
                    f'[[routes]]\nsni = "end.test"\nmode = "terminate"\nupstream = "{dead}"',
                    *(f'[[routes]]\nsni = "{n}.pass.test"\nupstream = "{to}"' for n, to in routes),
                    *(
                        f'[[routes]]\nsni = "{n}.end.test"\nmode = "terminate"\nupstream = "{to}"'
                        for n, to in routes
                    ),
                ]
            )

        def start(short: str | None) -> SpyholeProcess:
            place = directory / str(short)
            place.mkdir()
            proxy = SpyholeProcess(directory=place, config=config(short))
            stack.callback(proxy.finish)
            return proxy

        yield Stage({short: start(short) for short in (None, *TIMEOUTS)}, authority, listeners)


def sockets(pid: int) -> int:
    return sum(name.startswith("socket:") for name in open_files(pid))


@pytest.fixture(scope="module")
def before(stage: Stage) -> dict[str | None, int]:
    """The sockets of each worker before anything happened."""
    return {short: sockets(proxy.worker_pids()[0]) for short, proxy in stage.proxies.items()}


@pytest.fixture(scope="module")
def records(stage: Stage, before: object) -> Records:
    """Of one round of all cells."""
    return stage.play(lambda _: True)


@pytest.mark.parametrize("name", CELLS)
def test_one_record_with_the_reason(stage: Stage, records: Records, name: str) -> None:
    record = records[name]
    if isinstance(record, Exception):
        raise record
    assert record["reason"] in CELLS[name].reasons
    lines = stage.proxies[CELLS[name].timeout].access_log_lines(0)
    assert sum(f'"client":"{record["client"]}"' in line for line in lines) == 1


def test_no_socket_is_left(stage: Stage, before: dict[str | None, int], records: Records) -> None:
    for short, proxy in stage.proxies.items():
        (worker,) = proxy.worker_pids()
        until(lambda worker=worker, short=short: sockets(worker) <= before[short])  # type: ignore[misc]


def test_silence_costs_nothing(stage: Stage) -> None:
    """All the stages at once, on a proxy whose timeouts are far away: no CPU time, and no record."""
    proxy = stage.proxies[None]
    (worker,) = proxy.worker_pids()
    before, logged = sockets(worker), len(proxy.access_log_lines(0))
    waiting = {CELLS[name].stage: number for number, name in enumerate(CELLS) if CELLS[name].timeout}
    with ExitStack() as stack:
        reached = [
            reach(Place(proxy, stage.authority, stage.listeners[number], number, stack))
            for reach, number in waiting.items()
        ]
        assert sockets(worker) >= before + len(waiting)
        assert_idle(worker)
        assert len(proxy.access_log_lines(0)) == logged
        for client, _ in reached:
            reset(socket_of(client))
    until(lambda: sockets(worker) <= before)
    assert len(proxy.access_log_lines(logged + len(waiting))) == logged + len(waiting)


def test_again_and_again_leaves_nothing(stage: Stage, figure: Figure) -> None:
    """Memory and descriptors after many rounds of all that ends without a timeout."""
    proxy = stage.proxies[None]
    (worker,) = proxy.worker_pids()
    before, seen = sockets(worker), []
    for _ in range(ROUNDS):
        played = stage.play(lambda cell: cell.timeout is None)
        for name, record in played.items():
            assert not isinstance(record, Exception), (name, record)
            assert record["reason"] in CELLS[name].reasons
        until(lambda: sockets(worker) <= before)
        seen.append(memory(worker))
    assert proxy.worker_pids() == [worker]
    # whatever the allocator keeps for later, it keeps after the first rounds
    half = seen[len(seen) // 2]
    figure(
        f"{ROUNDS} rounds of {len(played)} connections that end in every way: memory {seen[0]:,} B after "
        f"the first, {half:,} B after half of them, {seen[-1]:,} B after the last"
    )
    assert seen[-1] - half < 1 << 20
