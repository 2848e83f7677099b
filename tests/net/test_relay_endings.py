"""How a relay can end: each story plays both ends, and reads what they saw and what the relay says."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import ssl
from collections.abc import Awaitable, Callable

import pytest
import trustme

from spyhole.net.direction import Direction
from spyhole.net.fiber import Fiber
from spyhole.net.handshake import serve_tls
from spyhole.net.loop import READABLE, run, running_loop
from spyhole.net.peek import peek
from spyhole.net.plain import PlainDirection
from spyhole.net.relay import Cut, Ending, Relay, relay
from spyhole.net.secure import DecryptDirection, EncryptDirection
from spyhole.net.stream import Stream
from spyhole.net.tls import TlsEngine
from spyhole.outcome import EndedBy, Reason
from spyhole.wire.client_hello import ClientHello
from support.backends import BOUND
from support.ends import End, TlsEnd, pair, stream_on
from support.openssl import BAD_RECORD
from support.play import until

AUTHORITY = trustme.CA()
CERTIFICATE = AUTHORITY.issue_cert("a.test", key_type=trustme.KeyType.ECDSA)
SERVER = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
CERTIFICATE.configure_cert(SERVER)
CLIENT = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
AUTHORITY.configure_trust(CLIENT)

Story = Callable[[End, End], Awaitable[None]]


def play(story: Story, *, tls: bool = False, **timeouts: float | None) -> tuple[Ending, End, End]:
    """The ending of a relay over TCP whose ends do what `story` says, until both have seen the end."""

    async def world() -> tuple[Ending, End, End]:
        loop = running_loop()
        one, ours = pair(socket.AF_INET)
        other, theirs = pair(socket.AF_INET)
        client = TlsEnd(one, CLIENT, "a.test") if tls else End(one)
        upstream = End(other)

        async def serve() -> Ending:
            stream = stream_on(loop, ours, "client")
            if tls:
                hello = await peek(stream)
                assert isinstance(hello, ClientHello)
                await serve_tls(stream, SERVER, hello)
            return await relay(stream, stream_on(loop, theirs, "upstream"), **timeouts)

        serving = loop.create_task(serve())
        telling = loop.create_task(story(client, upstream))  # type: ignore[arg-type]
        while not (serving.done() and telling.done()):
            for end in (client, upstream):
                if end.sock.fileno() >= 0:
                    end.push()
                    end.pull()
            await asyncio.sleep(0)
        await telling
        for end in (client, upstream):
            while end.sock.fileno() >= 0 and end.pull():
                pass
        return serving.result(), client, upstream

    ending, client, upstream = run(world())
    client.sock.close()
    upstream.sock.close()
    return ending, client, upstream


def test_a_fin_becomes_a_fin_and_the_other_way_goes_on() -> None:
    async def story(client: End, upstream: End) -> None:
        client.send(b"question")
        client.send_eof()
        await until(lambda: upstream.got_end)
        upstream.send(b"answer")
        upstream.send_eof()

    ending, client, upstream = play(story)
    assert (bytes(upstream.received), bytes(client.received)) == (b"question", b"answer")
    assert ending == Ending(EndedBy.CLIENT, Reason.CLOSED, None, 8, 6)


def test_the_upstream_may_be_the_first_to_end() -> None:
    async def story(client: End, upstream: End) -> None:
        upstream.send_eof()
        await until(lambda: client.got_end)
        client.send(b"still talking")
        client.send_eof()

    ending, _, upstream = play(story)
    assert bytes(upstream.received) == b"still talking"
    assert (ending.ended_by, ending.reason) == (EndedBy.UPSTREAM, Reason.CLOSED)


@pytest.mark.parametrize("who", ["client", "upstream"])
def test_a_reset_becomes_a_reset(who: str) -> None:
    async def story(client: End, upstream: End) -> None:
        ends = {"client": client, "upstream": upstream}
        client.send(b"x")
        await until(lambda: upstream.received)
        ends[who].reset()

    ending, client, upstream = play(story)
    assert (upstream if who == "client" else client).got_reset
    assert (ending.ended_by, ending.reason) == (EndedBy(who), Reason(f"{who}_reset"))


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_reset_that_a_send_is_told_of_is_a_reset(tls: bool) -> None:
    """The kernel tells of it once: what recv has to say after that is an end."""

    async def story(client: End, upstream: End) -> None:
        upstream.send(b"x")
        await until(lambda: client.received)
        _deaf(client)
        upstream.send(bytes(16 << 20))
        await until(lambda: not upstream.push())  # the relay waits for the client
        client.reset()

    ending, _, upstream = play(story, tls=tls)
    assert upstream.got_reset
    assert (ending.ended_by, ending.reason) == (EndedBy.CLIENT, Reason.CLIENT_RESET)


@pytest.mark.parametrize("size", [40_000, 400_000], ids=["small", "bulk"])
@pytest.mark.parametrize("who", ["client", "upstream"])
def test_a_reset_that_comes_along_with_more_than_the_other_takes(who: str, size: int) -> None:
    """One event tells of both. Nobody reads on, so nobody would be told of the reset a second time."""

    async def world() -> Ending:
        loop = running_loop()
        near, ours = pair(socket.AF_INET)
        far, theirs = pair(socket.AF_INET)
        reader, into_reader = (far, theirs) if who == "client" else (near, ours)
        sender, from_sender = (near, ours) if who == "client" else (far, theirs)
        into_reader.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while into_reader.send(bytes(65_536)):
                pass  # there is no room
        from_sender.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        sender.sendall(bytes(size))
        End(sender).reset()
        with reader:
            return await asyncio.wait_for(
                relay(stream_on(loop, ours, "client"), stream_on(loop, theirs, "upstream")), BOUND
            )

    ending = run(world())
    assert (ending.ended_by, ending.reason) == (EndedBy(who), Reason(f"{who}_reset"))


def test_what_an_upstream_said_before_its_reset_is_delivered() -> None:
    async def story(client: End, upstream: End) -> None:
        client.send(b"a long upload that nobody reads")
        await until(lambda: not client.to_send)
        upstream.sock.send(b"413 no thank you")
        upstream.sock.close()  # with unread bytes: a reset

    ending, client, _ = play(lambda client, upstream: story(client, _deaf(upstream)))
    assert bytes(client.received) == b"413 no thank you"
    assert client.got_reset
    assert ending.reason is Reason.UPSTREAM_RESET


def _deaf(end: End) -> End:
    end.pull = lambda most=0: False  # type: ignore[method-assign]
    return end


def test_a_client_that_resets_after_the_upstream_ended_has_closed() -> None:
    async def story(client: End, upstream: End) -> None:
        upstream.send(b"everything")
        upstream.send_eof()
        await until(lambda: client.got_end)
        client.reset()

    ending, _, upstream = play(story)
    assert upstream.got_reset
    assert (ending.ended_by, ending.reason) == (EndedBy.UPSTREAM, Reason.CLOSED)
    assert ending.detail == "the client reset the connection after the upstream had ended"


def test_an_upstream_that_resets_after_the_client_ended_is_no_clean_end() -> None:
    async def story(client: End, upstream: End) -> None:
        client.send_eof()
        await until(lambda: upstream.got_end)
        upstream.reset()

    ending, client, _ = play(story)
    assert client.got_reset
    assert (ending.ended_by, ending.reason) == (EndedBy.UPSTREAM, Reason.UPSTREAM_RESET)


def test_tls_cut_off_is_a_truncation() -> None:
    async def story(client: End, upstream: End) -> None:
        client.send(b"half a")
        await until(lambda: upstream.received)
        client.sock.shutdown(socket.SHUT_WR)  # a FIN, and no close_notify before it

    ending, _, upstream = play(story, tls=True)
    assert upstream.got_reset
    assert (ending.ended_by, ending.reason) == (EndedBy.CLIENT, Reason.CLIENT_TRUNCATED)


NOBODYS_RECORD = b"\x17\x03\x03\x00\x20" + bytes(32)


def assert_bad_record(ending: Ending, client: End, upstream: End) -> None:
    assert isinstance(client, TlsEnd)
    assert client.failure == "SSLV3_ALERT_BAD_RECORD_MAC"
    assert upstream.got_reset
    assert (ending.ended_by, ending.reason) == (EndedBy.CLIENT, Reason.CLIENT_BAD_RECORD)
    assert ending.detail == BAD_RECORD


def test_a_record_that_does_not_decrypt_gets_an_alert_and_resets_the_upstream() -> None:
    async def story(client: End, upstream: End) -> None:
        client.send(b"hello")
        await until(lambda: upstream.received)
        client.sock.send(NOBODYS_RECORD)

    ending, client, upstream = play(story, tls=True)
    assert_bad_record(ending, client, upstream)


@pytest.mark.parametrize("answer", [b"an answer", b""], ids=["an answer", "an end"])
def test_what_the_upstream_says_just_after_a_bad_record_does_not_hide_it(answer: bytes) -> None:
    async def story(client: End, upstream: End) -> None:
        client.send(b"hello")
        await until(lambda: upstream.received)
        client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.send(b"good")
        client.push()
        client.sock.send(NOBODYS_RECORD)
        await asyncio.sleep(0)  # the good record was passed on; the bad one is yet to be told of
        upstream.send(answer)
        if not answer:
            upstream.send_eof()
        upstream.push()

    ending, client, upstream = play(story, tls=True)
    assert_bad_record(ending, client, upstream)


def test_a_tls_client_that_only_writes_loses_nothing() -> None:
    async def story(client: End, upstream: End) -> None:
        client.send(b"all ")
        await until(lambda: client.sent and not client.to_send)
        client.pull = lambda most=0: False  # type: ignore[method-assign]
        await until(lambda: upstream.received)
        client.send(b"of it")
        client.send_eof()
        client.push()
        client.sock.close()  # a reset, if session tickets lay there unread
        await until(lambda: upstream.got_end or upstream.got_reset)
        upstream.send_eof()

    ending, _, upstream = play(story, tls=True)
    assert upstream.got_end
    assert upstream.received == b"all of it"
    assert (ending.ended_by, ending.reason) == (EndedBy.CLIENT, Reason.CLOSED)


class _Shaken:
    """A TLS client and an upstream before their relay begins: the handshake is over."""

    def __init__(self) -> None:
        one, ours = pair(socket.AF_INET)
        other, theirs = pair(socket.AF_INET)
        self.client, self.upstream = TlsEnd(one, CLIENT, "a.test"), End(other)
        self.inward = stream_on(running_loop(), ours, "client")
        self.outward = stream_on(running_loop(), theirs, "upstream")

    @classmethod
    async def hands(cls) -> _Shaken:
        made = cls()

        async def shake() -> None:
            hello = await peek(made.inward)
            assert isinstance(hello, ClientHello)
            await serve_tls(made.inward, SERVER, hello)

        shaking = asyncio.create_task(shake())
        await made.turn(shaking.done)
        await shaking
        return made

    async def turn(self, condition: Callable[[], object]) -> None:
        while not condition():
            for end in (self.client, self.upstream):
                if end.sock.fileno() >= 0:
                    end.push()
                    end.pull()
            await asyncio.sleep(0)

    async def arrives(self, words: bytes) -> None:
        self.inward.events &= ~READABLE
        self.client.send(words)
        await self.turn(lambda: self.inward.events & READABLE)

    async def arrives_with_the_handshake(self, words: bytes) -> None:
        await self.arrives(words)
        assert self.inward.tls is not None
        assert self.inward.tls.handshake(await self.inward.read_some())

    def relay(self) -> asyncio.Task[Ending]:
        return asyncio.create_task(relay(self.inward, self.outward))

    def close(self) -> None:
        self.client.sock.close()
        self.upstream.sock.close()


def test_what_the_engine_holds_does_not_hide_what_is_in_the_socket() -> None:
    async def world() -> None:
        ends = await _Shaken.hands()
        await ends.arrives_with_the_handshake(b"behind the Finished ")
        await ends.arrives(b"and in the socket")
        relaying = ends.relay()
        await ends.turn(lambda: ends.upstream.received == b"behind the Finished and in the socket")
        ends.client.send_eof()
        ends.upstream.send_eof()
        await ends.turn(relaying.done)
        ends.close()

    run(world())


def test_what_the_engine_holds_meets_an_upstream_that_has_reset() -> None:
    async def world() -> None:
        ends = await _Shaken.hands()
        await ends.arrives_with_the_handshake(b"x")
        ends.inward.events &= ~READABLE
        ends.upstream.reset()
        relaying = ends.relay()
        await ends.turn(relaying.done)
        ending = await relaying
        assert (ending.ended_by, ending.reason) == (EndedBy.UPSTREAM, Reason.UPSTREAM_RESET)
        ends.close()

    run(world())


def test_session_tickets_come_with_the_first_bytes_or_with_the_end() -> None:
    def resumed_after(answer: bytes) -> bool:
        async def story(client: End, upstream: End) -> None:
            client.send(b"hello")
            await until(lambda: upstream.received)
            upstream.send(answer)
            upstream.send_eof()
            await until(lambda: client.got_end)
            client.send_eof()

        _, client, _ = play(story, tls=True)
        assert isinstance(client, TlsEnd)
        assert client.received == answer
        session = client.session
        return session is not None and session.has_ticket

    assert resumed_after(b"answer")
    assert resumed_after(b"")


def test_the_upstreams_end_reaches_a_tls_client_as_close_notify() -> None:
    async def story(client: End, upstream: End) -> None:
        upstream.send(b"bye")
        upstream.send_eof()
        await until(lambda: client.got_end)
        client.send(b"last words")
        client.send_eof()

    ending, client, upstream = play(story, tls=True)
    assert bytes(client.received) == b"bye"
    assert bytes(upstream.received) == b"last words"
    assert not client.got_reset
    assert (ending.ended_by, ending.reason) == (EndedBy.UPSTREAM, Reason.CLOSED)


async def nothing(client: End, upstream: End) -> None:
    """Neither side says a word."""


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_silence_ends_at_the_idle_timeout(tls: bool) -> None:
    ending, client, upstream = play(nothing, tls=tls, idle_timeout=0.2)
    assert client.got_reset
    assert upstream.got_reset
    assert (ending.ended_by, ending.reason) == (EndedBy.PROXY, Reason.IDLE_TIMEOUT)


def test_a_half_closed_connection_has_a_timeout_of_its_own() -> None:
    async def story(client: End, upstream: End) -> None:
        client.send_eof()

    ending, client, _ = play(story, half_close_timeout=0.2)
    assert client.got_reset
    assert (ending.ended_by, ending.reason) == (EndedBy.PROXY, Reason.HALF_CLOSE_TIMEOUT)


def test_whoever_moves_a_byte_is_not_idle() -> None:
    beats = 40

    async def story(client: End, upstream: End) -> None:
        for count in range(1, beats):
            client.send(b".")
            await until(lambda count=count: len(upstream.received) == count)
            await asyncio.sleep(0.02)  # the time that passes is what this is about
        client.send_eof()
        upstream.send_eof()

    ending, *_ = play(story, idle_timeout=0.4)
    assert ending.reason is Reason.CLOSED


def test_a_cut_resets_both_and_says_why() -> None:
    async def world() -> tuple[list[Ending], End, End]:
        loop = running_loop()
        one, ours = pair(socket.AF_INET)
        other, theirs = pair(socket.AF_INET)
        endings: list[Ending] = []

        async def serve() -> None:
            endings.append(await relay(stream_on(loop, ours, "c"), stream_on(loop, theirs, "u")))

        fiber = Fiber(serve(), lambda fiber, defect: None)
        fiber.start()
        assert not endings
        fiber.abort(Cut(Reason.DRAIN_TIMEOUT))
        assert fiber.done
        return endings, End(one), End(other)

    endings, client, upstream = run(world())
    for end in (client, upstream):
        end.pull()
        assert end.got_reset
        end.sock.close()
    assert [(ending.ended_by, ending.reason) for ending in endings] == [
        (EndedBy.PROXY, Reason.DRAIN_TIMEOUT)
    ]


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("who", ["client", "upstream"])
def test_nothing_is_carried_after_bytes_that_a_defect_lost(
    monkeypatch: pytest.MonkeyPatch, who: str, tls: bool
) -> None:
    async def story(client: End, upstream: End) -> None:
        sender, receiver = (client, upstream) if who == "client" else (upstream, client)
        sender.send(b"begin")
        await until(lambda: receiver.received)
        reported: list[object] = []
        running_loop().set_exception_handler(lambda _, context: reported.append(context["exception"]))
        with monkeypatch.context() as patch:
            patch.setattr(PlainDirection, "begin_bulk", _no_memory)
            patch.setattr(DecryptDirection, "push", _no_memory)
            patch.setattr(EncryptDirection, "push", _no_memory)
            sender.send(bytes(300_000))
            await until(lambda: reported)
        assert isinstance(reported[0], MemoryError)
        sender.to_send.clear()
        with contextlib.suppress(OSError):  # it was reset already
            sender.sock.shutdown(socket.SHUT_WR)
        await until(lambda: receiver.got_end or receiver.got_reset)

    ending, client, upstream = play(story, tls=tls, half_close_timeout=2.0)
    receiver = upstream if who == "client" else client
    assert receiver.got_reset
    assert (ending.ended_by, ending.reason) == (EndedBy.PROXY, Reason.INTERNAL_ERROR)


def _no_memory(*_: object) -> None:
    raise MemoryError


async def clean(client: End, upstream: End) -> None:
    client.send_eof()
    upstream.send_eof()


async def reset_it(client: End, upstream: End) -> None:
    client.reset()


async def cut_it_off(client: End, upstream: End) -> None:
    client.sock.shutdown(socket.SHUT_WR)


async def send_no_record(client: End, upstream: End) -> None:
    client.sock.send(NOBODYS_RECORD)


async def reset_by_upstream(client: End, upstream: End) -> None:
    upstream.reset()


@pytest.mark.parametrize(
    ("end", "tls"),
    [
        (clean, False),
        (clean, True),
        (reset_it, False),
        (reset_it, True),
        (reset_by_upstream, False),
        (reset_by_upstream, True),
        (cut_it_off, True),
        (send_no_record, True),
    ],
)
def test_nothing_is_left_to_the_collector(end: Story, tls: bool) -> None:
    async def story(client: End, upstream: End) -> None:
        client.send(b"x")
        await until(lambda: upstream.received)
        await end(client, upstream)

    play(story, tls=tls)
    gc.collect()
    gc.disable()
    try:
        play(story, tls=tls)
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        connections = (Stream, Relay, Direction, Fiber, TlsEngine, BaseException)
        assert not [thing for thing in gc.garbage if isinstance(thing, connections)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
