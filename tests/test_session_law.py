"""The law of a session: any bytes from a client, however cut, have the one ending that is theirs.

The upstream gets all that the client sent, or nothing; the client gets the answer, or the alert that the
parser foretold; nothing stays open.
"""

from __future__ import annotations

import asyncio
import operator
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spyhole.config.loader import load
from spyhole.net.fiber import Fiber
from spyhole.net.loop import running_loop
from spyhole.observe.record import ConnectionRecord
from spyhole.outcome import EndedBy, Reason
from spyhole.routing.host_names import InvalidServerName, parse_server_name
from spyhole.session import session
from spyhole.snapshot import Snapshot
from spyhole.wire.alerts import Alert
from spyhole.wire.client_hello import ClientHello, ClientHelloError, NotTls
from support.certificates import Authority
from support.clients import client_hello
from support.ends import End, pair, stream_on
from support.hellos import TLS13_NEEDS, captured, hello, records, server_name
from support.mutations import changed_anywhere, mutated
from support.parser_laws import Answer, answer, cut
from support.play import play

ANSWER = b"an answer" * 10_000


@dataclass
class Front:
    """What a connection is served by, and the upstream's listening socket behind it."""

    snapshot: Snapshot
    listening: socket.socket


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    directory = tmp_path_factory.mktemp("front")
    leaf = Authority(directory).issue("end.test")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        config = directory / "spyhole.toml"
        upstream = f"127.0.0.1:{listening.getsockname()[1]}"
        config.write_text(f"""
            certificates = [{{ cert = {str(leaf.cert)!r}, key = {str(leaf.key)!r} }}]
            listeners = [{{ name = "tls", bind = "127.0.0.1:0" }}, {{ name = "any", bind = "127.0.0.1:0" }}]
            routes = [
                {{ sni = ["pass.test", "shop.example.test"], upstream = "{upstream}" }},
                {{ sni = "end.test", mode = "terminate", upstream = "{upstream}" }},
                {{ name = "not tls", tls = false, listener = "any", upstream = "{upstream}" }},
            ]
        """)
        yield Front(Snapshot.build(load(config)), listening)


class Visit(NamedTuple):
    """What a client sends, where it is cut, how often the loop turns in between, and to which listener."""

    wire: bytes
    at: list[int]
    turns: int
    listener: str


@dataclass
class Seen:
    """What the outside saw of one connection."""

    client: End
    upstream: End | None = None
    records: list[ConnectionRecord] = field(default_factory=list)
    defects: list[Exception] = field(default_factory=list)


async def see(front: Front, visit: Visit, reset: bool) -> Seen:
    """One connection: the client sends the pieces, ends or resets; the upstream answers when all is in."""
    loop = running_loop()
    one, ours = pair(socket.AF_INET)
    seen = Seen(End(one))
    over = asyncio.Event()

    def ended(_: Fiber, defect: Exception | None) -> None:
        seen.defects += [] if defect is None else [defect]
        over.set()

    def upstream() -> End | None:
        if seen.upstream is None:
            with suppress(BlockingIOError):
                seen.upstream = End(front.listening.accept()[0])
        return seen.upstream

    Fiber(
        session(stream_on(loop, ours, "client"), visit.listener, front.snapshot, seen.records.append), ended
    ).start()
    client, answered = seen.client, False
    for piece in cut(visit.wire, visit.at):
        client.send(piece)
        for _ in range(visit.turns):
            client.push()
            await asyncio.sleep(0)
    if not reset:
        client.send_eof()
    # one that was dialled and reset waits in the queue when all is over
    while not over.is_set() or ((there := upstream()) and not (there.got_end or there.got_reset)):
        if client.sock.fileno() >= 0:
            client.push()
            client.pull()
            if reset and not client.to_send:
                client.reset()
        if (there := upstream()) is not None:
            there.pull()
            if there.got_end and not answered:
                answered = True
                there.send(ANSWER)
                there.send_eof()
            there.push()
        await asyncio.sleep(0)
    while client.sock.fileno() >= 0 and client.pull():
        pass
    for end in filter(None, (client, seen.upstream)):
        end.sock.close()
    return seen


def sound(name: bytes) -> bytes:
    return records(hello([*TLS13_NEEDS, server_name(name)]))


FIRST_BYTES = st.one_of(
    mutated(captured()),
    changed_anywhere(captured()),
    st.binary(max_size=100),
    st.binary(max_size=100).map(lambda tail: b"\x16\x03\x01" + tail),
    st.sampled_from([client_hello(name) for name in ("pass.test", "end.test", "none.test", None)]),
    st.sampled_from([b"pass.test\n", b"a..b", b"PASS.test.", b"\xffpass.test", b"127.0.0.1"]).map(sound),
)
TAILS = st.one_of(st.just(b""), st.binary(max_size=60), st.just(bytes(200_000)))
VISITS = st.builds(
    Visit,
    wire=st.builds(operator.add, FIRST_BYTES, TAILS),
    at=st.lists(st.integers(0, 3000), max_size=5),
    turns=st.integers(0, 3),
    listener=st.sampled_from(["tls", "any"]),
)


@settings(max_examples=400)
@given(VISITS)
def test_any_bytes_have_the_ending_that_the_parser_foretells(front: Front, visit: Visit) -> None:
    seen = play(see(front, visit, reset=False))
    (record,) = seen.records
    assert not seen.defects
    reasons, alert, carried = foretold(answer(visit.wire), visit.listener)
    assert record.reason in reasons, record
    if carried:
        assert seen.upstream is not None
        assert seen.upstream.received == visit.wire
        assert seen.client.received == ANSWER
        assert (record.bytes_in, record.bytes_out) == (len(visit.wire), len(ANSWER))
        assert record.ended_by is EndedBy.CLIENT
    else:
        assert seen.upstream is None
        assert (record.bytes_in, record.bytes_out) == (0, 0)
        if alert is not None and visit.wire:
            of_ssl3 = visit.wire[1:3] == b"\3\0"
            assert seen.client.received == alert.record(0x0300 if of_ssl3 else 0x0303)
            assert record.alert == alert
        elif record.reason is not Reason.HANDSHAKE_FAILED:
            assert seen.client.received == b""


@settings(max_examples=200)
@given(VISITS)
def test_a_client_that_resets_has_one_record_too(front: Front, visit: Visit) -> None:
    seen = play(see(front, visit, reset=True))
    (record,) = seen.records
    assert not seen.defects
    reasons, _, carried = foretold(answer(visit.wire), visit.listener)
    assert record.reason in reasons | {
        Reason.CLIENT_RESET,
        Reason.CLIENT_CLOSED_EARLY,
        Reason.CLIENT_CLOSED_WAITING,
    }
    if seen.upstream is not None:
        assert carried
        assert visit.wire.startswith(seen.upstream.received)
        assert not seen.upstream.got_end


def foretold(said: Answer, listener: str) -> tuple[set[Reason], Alert | None, bool]:
    """The reasons that may be, the alert that is due, and whether the upstream gets the bytes."""
    if said is None:
        return {Reason.CLIENT_CLOSED_EARLY}, Alert.DECODE_ERROR, False
    if isinstance(said, ClientHelloError):
        return {Reason.MALFORMED_HELLO, Reason.HELLO_TOO_LARGE}, said.alert, False
    if isinstance(said, NotTls):
        return ({Reason.CLOSED}, None, True) if listener == "any" else ({Reason.NOT_TLS}, None, False)
    assert isinstance(said, ClientHello)
    try:
        name = parse_server_name(said.server_name) if said.server_name is not None else None
    except InvalidServerName:
        return {Reason.INVALID_SERVER_NAME}, Alert.UNRECOGNIZED_NAME, False
    if name in {"pass.test", "shop.example.test"}:
        return {Reason.CLOSED}, None, True
    if name == "end.test":
        return {Reason.HANDSHAKE_FAILED}, None, False
    return {Reason.NO_ROUTE}, Alert.UNRECOGNIZED_NAME, False
