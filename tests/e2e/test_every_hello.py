"""Every hello that we have, cut in every way: routed the same, and at the upstream unchanged.

The upstream sends back all that it received, so a client sees whether its own bytes are what arrived, and
the log says how each was routed. Hundreds of connections at a time, all from one thread.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from spyhole.conformance.oracle import OpenSsl, Outcome
from spyhole.routing.host_names import InvalidServerName, parse_server_name
from spyhole.wire.client_hello import ClientHello, ClientHelloError, ClientHelloParser
from support.backends import BOUND
from support.clients import client_socket
from support.hellos import captured, records
from support.hostile_hellos import HOSTILE, ODD
from support.openssl import LATER
from support.parser_laws import REFUSED_LATER
from support.scale import scaled
from support.spyhole_process import SpyholeProcess

AT_ONCE = 64
CUTS = [1, 2, 3, 5, 16, 100]


def hello_of(wire: bytes) -> ClientHello:
    hello = ClientHelloParser().feed(wire)
    assert isinstance(hello, ClientHello)
    return hello


def route_of(hello: ClientHello) -> str | None:
    """The route that `Proxy` has for it: named as the server name; None for a name that is none."""
    if hello.server_name is None:
        return "any"
    try:
        return parse_server_name(hello.server_name) or "any"
    except InvalidServerName:
        return None


class Proxy:
    """A proxy with a route for every name, all to one upstream, which sends back whatever it gets."""

    def __init__(self, start: Callable[..., SpyholeProcess], hellos: Sequence[ClientHello]) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        upstream = f"127.0.0.1:{self._listener.getsockname()[1]}"
        lines = ['listeners = [{ bind = "127.0.0.1:0" }]', "workers = 1"]
        for name in sorted({route_of(hello) or "any" for hello in hellos} | {"any"}):
            sni = "*" if name == "any" else name
            lines += ["[[routes]]", f'name = "{name}"', f'sni = "{sni}"', f'upstream = "{upstream}"']
        self.process = start(config="\n".join(lines))
        self.address = self.process.sockaddr()

    def send(self, wires: Sequence[bytes], *, segments: bool = False) -> list[tuple[bytes, dict[str, Any]]]:
        """Each over a connection of its own: what came back, and its record in the log."""
        return asyncio.run(self._send_all(wires, segments))

    async def _send_all(self, wires: Sequence[bytes], segments: bool) -> list[tuple[bytes, dict[str, Any]]]:
        room = asyncio.Semaphore(AT_ONCE)
        server = await asyncio.start_server(_send_back, sock=self._listener.dup())
        async with server:
            done = await asyncio.wait_for(
                asyncio.gather(*(self._send_one(room, wire, segments) for wire in wires)), BOUND
            )
        return [(answer, self.process.record_of(client)) for answer, client in done]

    async def _send_one(self, room: asyncio.Semaphore, wire: bytes, segments: bool) -> tuple[bytes, str]:
        loop = asyncio.get_running_loop()
        async with room:
            with client_socket() as sock:
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                await loop.sock_connect(sock, self.address)
                host, port = sock.getsockname()
                try:
                    if segments:
                        for place in range(len(wire)):
                            await loop.sock_sendall(sock, wire[place : place + 1])
                            if place % 16 == 0:
                                await asyncio.sleep(0)  # the others' turn: sending does not wait
                    else:
                        await loop.sock_sendall(sock, wire)
                    sock.shutdown(socket.SHUT_WR)
                except (ConnectionResetError, BrokenPipeError):
                    assert not segments
                answer = b""
                while data := await loop.sock_recv(sock, 65536):
                    answer += data
        return answer, f"{host}:{port}"

    def close(self) -> None:
        self._listener.close()


async def _send_back(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    received = await reader.read()
    writer.write(received)
    await writer.drain()
    writer.close()
    await writer.wait_closed()


@pytest.fixture
def proxy_for(
    spyhole: Callable[..., SpyholeProcess],
) -> Iterator[Callable[[Sequence[ClientHello]], Proxy]]:
    started: list[Proxy] = []

    def start(hellos: Sequence[ClientHello]) -> Proxy:
        started.append(Proxy(spyhole, hellos))
        return started[-1]

    yield start
    for proxy in started:
        proxy.close()


ProxyFor = Callable[[Sequence[ClientHello]], Proxy]


def real_hellos() -> list[bytes]:
    """Our own captures: one record each."""
    return [real.wire for real in captured()]


def outside_hellos(vectors: Path) -> list[bytes]:
    """The captures of others: one record each."""
    rows = [json.loads(line) for line in (vectors / "clienthellos.jsonl").read_text().splitlines()]
    rows += json.loads((vectors / "browsers.json").read_text())
    return [bytes.fromhex(row["hex"]) for row in rows]


def assert_carried(wire: bytes, whole: ClientHello, answer: bytes, record: dict[str, Any]) -> None:
    """It went where the same hello in one piece goes, and arrived as it was sent."""
    route = route_of(whole)
    name = whole.server_name
    assert record["server_name"] == (None if name is None else name.decode("latin-1"))
    assert record["route"] == route
    if route is None:
        assert (record["reason"], record["alert"]) == ("invalid_server_name", "unrecognized_name")
        assert answer == bytes.fromhex("15030300020270")
        assert record["upstream"] is None
    else:
        assert record["reason"] == "closed", record
        assert answer == wire
        assert record["bytes_in"] == record["bytes_out"] == len(wire)


def assert_every_cut(proxy_for: ProxyFor, wires: Sequence[bytes], *, by_turns: int = 1) -> None:
    """Each whole, in records of each size, in segments of a byte; `by_turns` 3: every third of these."""
    hellos = [hello_of(wire) for wire in wires]
    proxy = proxy_for(hellos)
    fingerprints = []
    for wire, hello, (answer, record) in zip(wires, hellos, proxy.send(wires), strict=True):
        assert_carried(wire, hello, answer, record)
        fingerprints.append(record["ja4"])
    for turn, size in enumerate([*CUTS, None]):
        some = slice(turn % by_turns, None, by_turns)
        cut = [wire if size is None else records(wire[5:], [size]) for wire in wires[some]]
        for wire, hello, ja4, (answer, record) in zip(
            cut, hellos[some], fingerprints[some], proxy.send(cut, segments=size is None), strict=True
        ):
            assert_carried(wire, hello, answer, record)
            assert record["ja4"] == ja4


def test_real_clients_cut_in_every_way(proxy_for: ProxyFor) -> None:
    assert_every_cut(proxy_for, real_hellos())


def test_real_clients_from_outside_cut_in_every_way(proxy_for: ProxyFor, vectors: Path) -> None:
    assert_every_cut(proxy_for, outside_hellos(vectors), by_turns=scaled(1, small=6))


def test_records_and_segments_of_one_byte(proxy_for: ProxyFor) -> None:
    """Both at once: every byte of the handshake in a record of its own, every byte of that in a segment."""
    hellos = [hello_of(wire) for wire in real_hellos()]
    wires = [records(hello.raw, [1]) for hello in hellos]
    proxy = proxy_for(hellos)
    for wire, hello, (answer, record) in zip(wires, hellos, proxy.send(wires, segments=True), strict=True):
        assert_carried(wire, hello, answer, record)


def test_odd_hellos_are_carried(proxy_for: ProxyFor) -> None:
    wires = [*ODD.values()]
    hellos = [hello_of(wire) for wire in wires]
    answers = proxy_for(hellos).send(wires)
    for name, wire, hello, (answer, record) in zip(ODD, wires, hellos, answers, strict=True):
        try:
            assert_carried(wire, hello, answer, record)
        except AssertionError as error:
            raise AssertionError(name) from error


def test_hostile_hellos_are_not_forwarded(proxy_for: ProxyFor) -> None:
    proxy = proxy_for([])
    for (name, (_, fault)), (answer, record) in zip(
        HOSTILE.items(), proxy.send([wire for wire, _ in HOSTILE.values()]), strict=True
    ):
        assert record["reason"] in {"malformed_hello", "hello_too_large"}, (name, record)
        assert record["detail"].startswith(fault), (name, record)
        assert record["upstream"] is None, name
        assert record["route"] is None, name
        assert len(answer) in {0, 7}, (name, answer)
        assert answer[:6] == bytes.fromhex("150303000202")[: len(answer)], (name, answer)


def test_fuzz_seeds_from_outside_are_forwarded_when_openssl_takes_them(
    proxy_for: ProxyFor, vectors: Path
) -> None:
    """OpenSSL judges the very bytes; whatever it refuses, no upstream sees a byte of."""
    rows = [json.loads(line) for line in (vectors / "boringssl_seeds.jsonl").read_text().splitlines()]
    wires = list(dict.fromkeys(bytes.fromhex(row["hex"]) for row in rows))
    oracle = OpenSsl()
    verdicts = [oracle.judge(wire) for wire in wires]
    hellos = []
    for wire in wires:
        with suppress(ClientHelloError):
            hellos.append(ClientHelloParser().feed(wire))
    proxy = proxy_for([hello for hello in hellos if isinstance(hello, ClientHello)])
    refused = carried = 0
    for wire, verdict, (answer, record) in zip(wires, verdicts, proxy.send(wires), strict=True):
        if verdict.outcome is Outcome.REFUSED:
            refused += 1
            if LATER and verdict.reason in REFUSED_LATER:
                continue
            assert record["reason"] in {"malformed_hello", "hello_too_large"}
            assert record["upstream"] is None
            assert not answer or (answer[0] == 21 and len(answer) == 7), record
        elif verdict.outcome is Outcome.ACCEPTED:
            carried += 1
            assert_carried(wire, hello_of(wire), answer, record)
    assert refused > 30
    assert carried > 400
