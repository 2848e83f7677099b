"""The law of the relay as a machine of rules: what holds after every step, however the steps are ordered.

After each step, each way: what was received is a prefix of what was sent, and an end is seen only after
the other's end and all that came before it. When everything is over: all of it was received, or both were
reset and nobody took a part for the whole.
"""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
from collections.abc import Coroutine
from typing import Any, NamedTuple

import trustme
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from spyhole.net.handshake import serve_tls
from spyhole.net.loop import HotLoop
from spyhole.net.peek import peek
from spyhole.net.pipes import close_idle
from spyhole.net.relay import Ending, relay
from spyhole.net.stream import Stream
from spyhole.outcome import EndedBy, Reason
from spyhole.wire.client_hello import ClientHello
from support.backends import BOUND
from support.ends import End, TlsEnd, pair, stream_on
from support.play import descriptors

AUTHORITY = trustme.CA()
CERTIFICATE = AUTHORITY.issue_cert("a.test", key_type=trustme.KeyType.ECDSA)
SERVER = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
CERTIFICATE.configure_cert(SERVER)

SIDES = ("client", "upstream")
# Around the receive buffer and what a splice takes; the largest fills every queue on the way.
SIZES = (1, 2, 100, 4096, 16_384, 65_535, 65_536, 65_537, 262_144, 300_000, 1_500_000)
SMALLEST = 4608  # the kernel's least for SO_SNDBUF: it takes some 2 KiB at a time
NOISE = random.Random(7).randbytes(1 << 21) * 2


class World(NamedTuple):
    """Sockets of a family, TLS served on the client's or not."""

    family: int
    tls: ssl.TLSVersion | None = None


WORLDS = {
    "unix": World(socket.AF_UNIX),
    "tcp": World(socket.AF_INET),
    "tls1.2": World(socket.AF_INET, ssl.TLSVersion.TLSv1_2),
    "tls1.3": World(socket.AF_INET, ssl.TLSVersion.TLSv1_3),
}


class RelayMachine(RuleBasedStateMachine):
    """Plays the client and the upstream of one relay."""

    @initialize(
        world=st.sampled_from(sorted(WORLDS)),
        narrow=st.sets(st.sampled_from(["client out", "client in", "upstream out", "upstream in"])),
        ahead=st.tuples(st.sampled_from([0, 0, 1, 500, 70_000]), st.sampled_from([0, 0, 1, 500, 70_000])),
    )
    def begin(self, world: str, narrow: set[str], ahead: tuple[int, int]) -> None:
        close_idle()
        self.before = descriptors()
        self.world = WORLDS[world]
        self.told: list[object] = []
        self.seen = dict.fromkeys(SIDES, 0)
        self.was_reset: str | None = None
        self.urgent_sent = False
        self.runner = asyncio.Runner(loop_factory=HotLoop)
        self.run(self.open(narrow, ahead))

    async def open(self, narrow: set[str], ahead: tuple[int, int]) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, HotLoop)
        loop.set_exception_handler(lambda _, context: self.told.append(context))
        pairs = {side: pair(self.world.family) for side in SIDES}
        for side, (theirs, ours) in pairs.items():
            for way, sock in (
                ("in", theirs),
                ("out", ours),
            ):  # towards this side, through the proxy's socket
                if f"{side} {way}" in narrow:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALLEST)
        client, upstream = (stream_on(loop, pairs[side][1], side) for side in SIDES)
        if self.world.tls is None:
            self.ends: dict[str, End] = {side: End(pairs[side][0]) for side in SIDES}
            for end, stream, size in zip(self.ends.values(), (client, upstream), ahead, strict=True):
                stream.ahead = NOISE[:size]
                end.sent += stream.ahead
        else:
            trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            trusting.minimum_version = trusting.maximum_version = self.world.tls
            AUTHORITY.configure_trust(trusting)
            self.ends = {
                "client": TlsEnd(pairs["client"][0], trusting, "a.test"),
                "upstream": End(pairs["upstream"][0]),
            }
        self.serving = loop.create_task(self.serve(client, upstream))

    async def serve(self, client: Stream, upstream: Stream) -> Ending | None:
        if self.world.tls is not None:
            try:
                hello = await peek(client)
                assert isinstance(hello, ClientHello)
                await serve_tls(client, SERVER, hello)
            except OSError:  # the client was reset in its handshake: the session's business
                client.reset()
                upstream.reset()
                return None
        return await relay(client, upstream, idle_timeout=BOUND, half_close_timeout=BOUND)

    def run(self, step: Coroutine[Any, Any, None]) -> None:
        self.runner.run(step)

    @property
    def open_ends(self) -> list[End]:
        return [end for end in self.ends.values() if end.sock.fileno() >= 0]

    # steps

    @rule(side=st.sampled_from(SIDES), size=st.sampled_from(SIZES))
    def send(self, side: str, size: int) -> None:
        end = self.ends[side]
        at = len(end.sent) % (len(NOISE) // 2)
        if end in self.open_ends:
            end.send(NOISE[at : at + size])
        self.turn(1)

    @rule(side=st.sampled_from(SIDES), size=st.sampled_from(SIZES))
    def read(self, side: str, size: int) -> None:
        if self.ends[side] in self.open_ends:
            self.ends[side].pull(size)
        self.turn(1)

    @rule(side=st.sampled_from(SIDES))
    def end(self, side: str) -> None:
        self.ends[side].send_eof()
        self.turn(1)

    @rule(turns=st.integers(1, 20))
    def turn(self, turns: int) -> None:
        self.run(self.turns(turns))

    @precondition(lambda self: self.world == WORLDS["tcp"] and not self.urgent_sent)
    @rule(side=st.sampled_from(SIDES))
    def urgent(self, side: str) -> None:
        end = self.ends[side]
        if end in self.open_ends and not end.closed:
            self.urgent_sent = True  # a second one before the first was read would make that one data
            end.send_urgent()
        self.turn(1)

    @precondition(lambda self: self.world.family == socket.AF_INET and self.was_reset is None)
    @rule(side=st.sampled_from(SIDES), surely=st.integers(0, 3))
    def reset(self, side: str, surely: int) -> None:
        if surely == 3:  # now and then only: little can be told of what comes after it
            self.was_reset = side
            self.ends[side].reset()
        self.turn(1)

    async def turns(self, count: int) -> None:
        for _ in range(count):
            for end in self.open_ends:
                end.push()
            await asyncio.sleep(0)

    # what holds

    @invariant()
    def a_prefix_arrives(self) -> None:
        if not hasattr(self, "ends"):
            return
        for side, other in (SIDES, SIDES[::-1]):
            received, sent = self.ends[side].received, self.ends[other].sent
            at = self.seen[side]
            assert received[at:] == sent[at : len(received)], f"the {side} received something else"
            self.seen[side] = len(received)
            if self.ends[side].got_end:
                assert self.ends[other].closed, f"the {side} was told of an end that was none"
                assert len(received) == len(sent), f"the {side} took a part for the whole"

    @invariant()
    def nothing_failed(self) -> None:
        assert not getattr(self, "told", None)

    def teardown(self) -> None:
        if not hasattr(self, "ends"):
            return
        try:
            self.run(self.finish())
            self.a_prefix_arrives()
            self.nothing_failed()
            self.judge(self.serving.result())
        finally:
            for end in self.open_ends:
                end.sock.close()
            self.runner.close()
            close_idle()
        assert not descriptors() - self.before, "descriptors are left open"

    async def finish(self) -> None:
        for end in self.open_ends:
            end.send_eof()
        async with asyncio.timeout(BOUND):
            while not (self.serving.done() and all(e.got_end or e.got_reset for e in self.open_ends)):
                for end in self.open_ends:
                    end.push()
                    end.pull()
                await asyncio.sleep(0)

    def judge(self, ending: Ending | None) -> None:
        if self.was_reset is None:
            assert ending is not None
            assert all(end.got_end and not end.got_reset for end in self.ends.values())
            assert ending.reason is Reason.CLOSED
            assert ending.ended_by in {EndedBy.CLIENT, EndedBy.UPSTREAM}
            moved = (ending.bytes_up, ending.bytes_down)
            assert moved == tuple(len(self.ends[side].sent) for side in SIDES)
        elif ending is not None:
            # the one that lives on was reset, or had the whole before: a_prefix_arrives has looked
            assert ending.reason in {Reason.CLIENT_RESET, Reason.UPSTREAM_RESET, Reason.CLOSED}
            up, down = ending.bytes_up, ending.bytes_down
            assert len(self.ends["upstream"].received) <= up <= len(self.ends["client"].sent)
            assert len(self.ends["client"].received) <= down <= len(self.ends["upstream"].sent)


RelayMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=40)
test_whatever_the_order_of_steps = RelayMachine.TestCase
