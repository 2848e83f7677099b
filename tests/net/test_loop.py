"""The loop: an ordinary asyncio loop, and beside it descriptors that are called straight from the poll."""

from __future__ import annotations

import _socket
import asyncio
import fcntl
import os
import selectors
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spyhole.net.loop import EDGE, READABLE, WRITABLE, HotLoop, HotSelector, run, running_loop
from support.play import play, until

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
BOTH = EDGE | WRITABLE


@pytest.fixture
def hot() -> Iterator[HotSelector]:
    selector = HotSelector()
    yield selector
    selector.close()


@pytest.fixture
def closing() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def pair(closing: ExitStack) -> tuple[socket.socket, socket.socket]:
    one, other = socket.socketpair()
    one.setblocking(False)
    other.setblocking(False)
    return closing.enter_context(one), closing.enter_context(other)


def plain(sock: socket.socket, number: int = 0) -> _socket.socket:
    """The same connection as a socket of the streams' kind, on the first free descriptor from `number`."""
    return _socket.socket(fileno=fcntl.fcntl(sock, fcntl.F_DUPFD_CLOEXEC, number))


def by_number(ready: tuple[selectors.SelectorKey, int]) -> tuple[int, tuple[selectors.SelectorKey, int]]:
    return ready[0].fd, ready


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


# for asyncio it is a selector like any other

STEPS = st.tuples(
    st.sampled_from(["register", "modify", "unregister", "fill", "empty"]),
    st.integers(0, 2),
    st.sampled_from([READ, WRITE, READ | WRITE]),
)


@given(steps=st.lists(STEPS, max_size=30))
def test_what_asyncio_registers_is_served_as_by_the_standard_librarys_selector(
    steps: list[tuple[str, int, int]],
) -> None:
    with ExitStack() as closing:
        pairs = [pair(closing) for _ in range(3)]
        ours, theirs = HotSelector(), selectors.EpollSelector()
        closing.callback(ours.close)
        closing.callback(theirs.close)
        for step, which, events in steps:
            sock, peer = pairs[which]
            if step == "fill":
                peer.send(b"x")
            elif step == "empty":
                with suppress(BlockingIOError):
                    sock.recv(1000)
            else:
                arguments = (sock,) if step == "unregister" else (sock, events, step)
                outcomes = []
                for selector in (ours, theirs):
                    try:
                        outcomes.append(getattr(selector, step)(*arguments))
                    except KeyError:
                        outcomes.append("KeyError")
                assert outcomes[0] == outcomes[1]
            assert dict(map(by_number, ours.select(0))) == dict(map(by_number, theirs.select(0)))
            assert dict(ours.get_map()) == {key.fd: key for key in theirs.get_map().values()}


def test_a_descriptor_closed_before_it_was_unregistered(hot: HotSelector, closing: ExitStack) -> None:
    sock, _ = pair(closing)
    fd = sock.fileno()
    hot.register(fd, READ)
    sock.close()
    assert hot.unregister(fd).fd == fd
    assert not hot.get_map()


def test_whoever_waits_to_write_is_told_that_the_reader_has_gone(
    hot: HotSelector, closing: ExitStack
) -> None:
    read_end, write_end = os.pipe()
    closing.callback(os.close, write_end)
    os.set_blocking(write_end, False)
    with suppress(BlockingIOError):
        while True:
            os.write(write_end, bytes(65_536))
    key = hot.register(write_end, WRITE)
    assert hot.select(0) == []
    os.close(read_end)  # the pipe is full: an error is all that there is to tell
    assert hot.select(0) == [(key, WRITE)]


def test_a_hot_descriptor_is_not_asyncios_to_register(hot: HotSelector, closing: ExitStack) -> None:
    sock, _ = pair(closing)
    hot.watch(sock.fileno(), lambda _: None)
    with pytest.raises(KeyError, match="already registered"):
        hot.register(sock, READ)


# hot descriptors


def test_events_are_edges(hot: HotSelector, closing: ExitStack) -> None:
    sock, peer = pair(closing)
    seen: list[int] = []
    hot.watch(sock.fileno(), seen.append, BOTH)
    hot.select(0)
    assert seen == [WRITABLE], "a connected socket reports at once that it can be written to"
    peer.send(b"one")
    hot.select(0)
    assert seen[1:] == [READABLE | WRITABLE]
    hot.select(0)
    assert not seen[2:], "nothing new has happened"
    peer.send(b"two")
    hot.select(0)
    assert seen[2:] == [READABLE | WRITABLE], "although the first bytes were not read"


def test_the_callback_runs_within_the_poll_and_asyncio_is_told_nothing(
    hot: HotSelector, closing: ExitStack
) -> None:
    sock, peer = pair(closing)
    seen: list[int] = []

    def on_event(events: int) -> None:
        seen.append(events)
        peer.send(b"x")
        hot.recalled = len(seen) == 3

    hot.watch(sock.fileno(), on_event, BOTH)
    assert hot.select(None) == []
    assert len(seen) == 3, "it stays in the poll until asyncio has something to do"


def test_what_is_ready_when_it_is_rearmed_is_reported_anew(hot: HotSelector, closing: ExitStack) -> None:
    sock, peer = pair(closing)
    seen: list[int] = []
    hot.watch(sock.fileno(), seen.append, 0)
    peer.send(b"x")
    hot.select(0)
    assert seen == []
    hot.rearm(sock.fileno(), BOTH)
    hot.select(0)
    assert seen == [READABLE | WRITABLE]


def test_a_redirected_descriptor_calls_the_new_callback(hot: HotSelector, closing: ExitStack) -> None:
    sock, peer = pair(closing)
    old: list[int] = []
    new: list[int] = []
    hot.watch(sock.fileno(), old.append, BOTH)
    hot.select(0)
    hot.redirect(sock.fileno(), new.append)
    peer.send(b"x")
    hot.select(0)
    assert (old, new) == ([WRITABLE], [READABLE | WRITABLE])


def test_an_unwatched_descriptor_is_open_and_silent(hot: HotSelector, closing: ExitStack) -> None:
    sock, peer = pair(closing)
    seen: list[int] = []
    hot.watch(sock.fileno(), seen.append)
    hot.unwatch(sock.fileno())
    peer.send(b"x")
    hot.select(0)
    assert seen == []
    assert sock.recv(10) == b"x"
    hot.watch(sock.fileno(), seen.append, BOTH)
    hot.select(0)
    assert seen == [WRITABLE], "it can be watched again"


# the end of a socket


@pytest.mark.parametrize("reopen", [True, False], ids=["opened again", "left closed"])
def test_a_socket_that_ends_within_a_batch_is_closed_after_it(
    hot: HotSelector, closing: ExitStack, reopen: bool
) -> None:
    """Else its number could go to a new connection, which would get the events still due to the old one."""
    fresh_sock, _ = pair(closing)
    old: list[tuple[_socket.socket, socket.socket]] = []
    called: list[int] = []
    fresh_events: list[tuple[int, int]] = []

    def on_event(which: int) -> None:
        called.append(which)
        victim = old[1 - which][0]
        number = victim.fileno()
        hot.retire(victim)
        if reopen:
            fresh = plain(fresh_sock, number)  # takes the victim's number if that is free
            closing.callback(fresh.close)
            hot.watch(fresh.fileno(), lambda events: fresh_events.append((hot.turn, events)), BOTH)

    for which in range(2):
        sock, peer = pair(closing)
        old.append((plain(sock), peer))
        sock.close()
        hot.watch(old[which][0].fileno(), lambda _, which=which: on_event(which))  # type: ignore[misc]
        peer.send(b"both are ready in the same batch")
    numbers = [sock.fileno() for sock, _ in old]
    hot.select(0)
    assert len(called) == 1, "the one that was retired by the other heard no more"
    assert fresh_events == []
    victim = 1 - called[0]
    assert old[victim][0].fileno() == -1
    assert not is_open(numbers[victim])
    hot.select(0)
    assert fresh_events == ([(2, WRITABLE)] if reopen else []), "its own events, not those of the old one"
    hot.retire(old[called[0]][0])


def test_between_two_batches_a_socket_is_closed_at_once(hot: HotSelector, closing: ExitStack) -> None:
    sock, peer = pair(closing)
    hot.watch(sock.fileno(), lambda _: None)
    hot.retire(sock)
    assert sock.fileno() == -1
    assert peer.recv(1) == b""


def test_a_socket_that_was_never_watched_can_be_retired(hot: HotSelector, closing: ExitStack) -> None:
    sock, _ = pair(closing)
    hot.retire(sock)
    assert sock.fileno() == -1


def test_retired_sockets_are_closed_when_a_callback_failed(hot: HotSelector, closing: ExitStack) -> None:
    sock, _ = pair(closing)

    def on_event(_: int) -> None:
        hot.retire(sock)
        raise ValueError("a defect")

    hot.watch(sock.fileno(), on_event, BOTH)
    with pytest.raises(ValueError, match="a defect"):
        hot.select(0)
    assert sock.fileno() == -1


def test_a_socket_can_be_retired_when_the_loop_is_closed(closing: ExitStack) -> None:
    sock, _ = pair(closing)
    loop = HotLoop()
    loop.hot.watch(sock.fileno(), lambda _: None)
    loop.close()
    assert sock.fileno() >= 0, "it belongs to its connection"
    loop.hot.retire(sock)
    assert sock.fileno() == -1


# once again, in the next turn


def test_again_is_called_in_the_next_turn_after_whatever_else_is_ready(
    hot: HotSelector, closing: ExitStack
) -> None:
    one, _ = pair(closing)
    other, _ = pair(closing)
    order: list[tuple[int, str]] = []

    def greedy(_: int) -> None:
        order.append((hot.turn, "greedy"))
        hot.watch(other.fileno(), lambda _: order.append((hot.turn, "other")), BOTH)
        hot.pieces.put_off(lambda: order.append((hot.turn, "greedy again")))

    hot.watch(one.fileno(), greedy, BOTH)
    hot.select(0)
    assert order == [(1, "greedy")]
    hot.select(0)
    assert order[1:] == [(2, "other"), (2, "greedy again")]


def test_the_poll_does_not_wait_while_somebody_wants_to_be_called_again(hot: HotSelector) -> None:
    turns: list[int] = []

    def more() -> None:
        turns.append(hot.turn)
        hot.recalled = len(turns) == 3
        if len(turns) < 3:
            hot.pieces.put_off(more)

    hot.pieces.put_off(more)
    hot.select(None)  # nothing is watched: it would wait for ever
    assert turns == [1, 2, 3], "once a turn, however often it asks"


# failures


def test_an_error_in_a_callback_is_reported_and_the_others_are_called() -> None:
    async def story() -> None:
        loop = running_loop()
        with ExitStack() as closing:
            called: list[str] = []

            def failing(_: int) -> None:
                called.append("failing")
                raise ValueError("an event's")

            def failing_again() -> None:
                called.append("failing again")
                raise ValueError("again's")

            socks = [pair(closing)[0] for _ in range(3)]
            for sock in socks[:2]:
                loop.hot.watch(sock.fileno(), failing, BOTH)
            loop.hot.watch(socks[2].fileno(), lambda _: called.append("well"), BOTH)
            loop.hot.pieces.put_off(failing_again)
            loop.hot.pieces.put_off(lambda: called.append("well again"))
            await until(lambda: len(called) == 5)
            assert sorted(called) == ["failing", "failing", "failing again", "well", "well again"]
            for sock in socks:
                loop.hot.retire(sock)
        await asyncio.sleep(0.001)  # the loop goes on

    defects: list[BaseException | None] = []
    play(story(), defects=defects)
    assert [str(error) for error in defects] == ["an event's", "an event's", "again's"]


def test_without_a_loop_an_error_is_the_callers(hot: HotSelector) -> None:
    def failing() -> None:
        raise ValueError("a defect")

    hot.pieces.put_off(failing)
    with pytest.raises(ValueError, match="a defect"):
        hot.select(0)


# asyncio beside hot descriptors


def test_asyncios_own_things_work_beside_hot_descriptors() -> None:
    async def story() -> None:
        loop = running_loop()
        with ExitStack() as closing:
            one, other = pair(closing)
            beats: list[int] = []

            def beat(sock: socket.socket) -> None:
                with suppress(BlockingIOError):
                    beats.append(len(sock.recv(100)))
                    sock.send(b"x")

            loop.hot.watch(one.fileno(), lambda _: beat(one))
            loop.hot.watch(other.fileno(), lambda _: beat(other))
            one.send(b"x")  # from here on they never rest

            later = loop.create_future()
            loop.call_later(0.02, later.set_result, "later")
            assert await later == "later"

            read_end, write_end = os.pipe()
            closing.callback(os.close, read_end)
            piped: list[bytes] = []
            loop.add_reader(read_end, lambda: piped.append(os.read(read_end, 100)))
            os.write(write_end, b"through a pipe")
            os.close(write_end)
            await until(lambda: piped[:1] == [b"through a pipe"])
            assert loop.remove_reader(read_end)

            signalled = asyncio.Event()
            loop.add_signal_handler(signal.SIGUSR1, signalled.set)
            os.kill(os.getpid(), signal.SIGUSR1)
            await signalled.wait()
            assert loop.remove_signal_handler(signal.SIGUSR1)

            assert await asyncio.to_thread(lambda: "from a thread") == "from a thread"

            child = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", "print(input())"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
            said, _ = await child.communicate(b"to a child and back\n")
            assert said == b"to a child and back\n"
            assert child.returncode == 0

            count = len(beats)
            assert count
            await until(lambda: len(beats) > count + 10)
            loop.hot.retire(one)
            loop.hot.retire(other)

    play(story())


def test_streams_of_asyncio_work_on_it() -> None:
    async def story() -> None:
        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.read())
            writer.close()
            await writer.wait_closed()

        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(bytes(1_000_000))
            writer.write_eof()
            assert await reader.read() == bytes(1_000_000)
            writer.close()
            await writer.wait_closed()

    play(story())


def test_waiting_for_a_timer_does_not_spin() -> None:
    """epoll counts in milliseconds: rounded down, the rest of a millisecond would be a busy loop."""

    async def story() -> int:
        loop = running_loop()
        before = loop.hot.turn
        for _ in range(5):
            await asyncio.sleep(0.0029)
        return loop.hot.turn - before

    assert play(story()) <= 5 * 3


def test_run_returns_the_result_and_closes_the_loop() -> None:
    async def main() -> HotLoop:
        return running_loop()

    assert run(main()).is_closed()


def test_another_kind_of_loop_is_refused_with_the_way_out() -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError, match=r"start with spyhole\.run"):
            running_loop()

    asyncio.run(main())
