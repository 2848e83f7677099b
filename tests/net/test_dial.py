"""Dialling: every way in which no connection comes about has its reason, and leaves no descriptor open."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from spyhole.net.dial import DialError, dial
from spyhole.net.fiber import Fiber
from spyhole.net.loop import running_loop
from spyhole.net.stream import Stream
from spyhole.outcome import Reason
from spyhole.upstreams.address import TcpAddress
from support.ends import End
from support.play import play, until


@contextmanager
def listening(family: int = socket.AF_INET, at: str | tuple[str, int] = ("127.0.0.1", 0)) -> Iterator[str]:
    """An address that is listened on."""
    with socket.socket(family) as sock:
        sock.bind(at)
        sock.listen()
        yield written(sock)


def written(sock: socket.socket) -> str:
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        return f"unix:{name}"
    return f"[{name[0]}]:{name[1]}" if sock.family == socket.AF_INET6 else f"{name[0]}:{name[1]}"


@contextmanager
def refusing() -> Iterator[str]:
    """An address that nobody listens on, and nobody else will."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield written(sock)


@contextmanager
def silent() -> Iterator[str]:
    """An address that neither accepts nor refuses: its queue is full, so the kernel drops what comes."""
    with ExitStack() as stack:
        sock = stack.enter_context(socket.socket())
        sock.bind(("127.0.0.1", 0))
        sock.listen(0)
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(sock.getsockname())
        yield written(sock)


def names(patch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Have every name resolve to these addresses, ports and all."""
    split = [address.rpartition(":") for address in addresses]
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, int(port))) for host, _, port in split]
    patch.setattr(socket, "getaddrinfo", lambda *_, **__: found)


def refusal(address: str, timeout: float = 5.0) -> DialError:
    async def story() -> DialError:
        with pytest.raises(DialError) as caught:
            await dial(address, timeout)
        return caught.value

    return play(story())


# it connects


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_a_connection_by_tcp(family: int, host: str) -> None:
    async def story(sock: socket.socket) -> None:
        stream = await dial(written(sock), keepalive=77.4)
        accepted, _ = sock.accept()
        with accepted:
            assert stream.peer == written(sock)
            assert stream.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert stream.sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert stream.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 77
            assert not os.get_inheritable(stream.fd)
            await stream.send_all(b"question")
            assert accepted.recv(100) == b"question"
            accepted.send(b"answer")
            assert await stream.receive() == b"answer"
        assert await stream.receive() == b""
        stream.close()

    with socket.create_server((host, 0), family=family) as sock:
        play(story(sock))


def test_a_connection_by_unix_socket(tmp_path: Path) -> None:
    async def story(address: str) -> None:
        stream = await dial(address)
        assert stream.peer == address
        await stream.send_all(b"x")
        stream.close()

    with listening(socket.AF_UNIX, str(tmp_path / "s")) as address:
        play(story(address))


def test_keepalive_may_be_off() -> None:
    async def story(address: str) -> None:
        stream = await dial(address, keepalive=None)
        assert not stream.sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        stream.close()

    with listening() as address:
        play(story(address))


def test_an_address_may_be_a_value() -> None:
    async def story(port: int) -> None:
        (await dial(TcpAddress("127.0.0.1", port))).close()

    with listening() as address:
        play(story(int(address.rpartition(":")[2])))


def test_an_address_that_is_none_is_an_error_at_once() -> None:
    async def story() -> None:
        with pytest.raises(ValueError, match="expected 'host:port'"):
            _ = dial("nonsense")  # it is not awaited

    play(story())


def test_a_fiber_dials_as_a_task_does(tmp_path: Path) -> None:
    async def story(addresses: Sequence[str]) -> None:
        loop = running_loop()
        ended: list[Exception | None] = []

        async def body() -> None:
            for address in addresses:
                (await dial(address, loop=loop)).close()

        Fiber(body(), lambda _, defect: ended.append(defect)).start()
        await until(lambda: ended)
        assert ended == [None]

    with listening() as tcp, listening(socket.AF_UNIX, str(tmp_path / "s")) as unix:
        play(story([tcp, unix, tcp.replace("127.0.0.1", "localhost")]))


def test_an_upstream_that_accepts_and_ends_at_once_has_accepted() -> None:
    async def story(sock: socket.socket) -> None:
        loop = running_loop()
        loop.add_reader(sock, lambda: sock.accept()[0].close())
        for _ in range(20):
            stream = await dial(written(sock))
            assert await stream.receive() == b""
            stream.close()
        loop.remove_reader(sock)

    with socket.create_server(("127.0.0.1", 0)) as sock:
        play(story(sock))


# it does not


def test_refused() -> None:
    with refusing() as address:
        error = refusal(address)
    assert (error.reason, error.detail) == (Reason.UPSTREAM_REFUSED, f"{address}: Connection refused")
    assert str(error) == error.detail


def test_no_answer() -> None:
    with silent() as address:
        error = refusal(address, 0.05)
    assert error.reason is Reason.UPSTREAM_TIMEOUT
    assert error.detail == f"{address}: no connection within 0.05 s"


def test_unreachable() -> None:
    error = refusal("255.255.255.255:443")
    assert error.reason is Reason.UPSTREAM_UNREACHABLE
    assert error.detail == "255.255.255.255:443: Network is unreachable"


def test_a_unix_socket_that_is_not_there(tmp_path: Path) -> None:
    error = refusal(f"unix:{tmp_path}/absent")
    assert error.reason is Reason.UPSTREAM_REFUSED
    assert error.detail == f"unix:{tmp_path}/absent: No such file or directory"


def test_a_unix_socket_that_nobody_listens_on(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "s"))
        assert refusal(written(sock)).reason is Reason.UPSTREAM_REFUSED


def test_a_unix_socket_of_another_kind(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "s"))
        assert refusal(written(sock)).reason is Reason.UPSTREAM_UNREACHABLE


@contextmanager
def full(path: Path) -> Iterator[socket.socket]:
    """A unix socket whose queue is full."""
    with ExitStack() as stack:
        sock = stack.enter_context(socket.socket(socket.AF_UNIX))
        sock.bind(str(path))
        sock.listen(0)
        while True:
            filler = stack.enter_context(socket.socket(socket.AF_UNIX))
            filler.setblocking(False)
            try:
                filler.connect(str(path))
            except BlockingIOError:
                break
        yield sock


def test_a_unix_socket_with_a_full_queue_is_tried_again(tmp_path: Path) -> None:
    async def story(sock: socket.socket) -> None:
        task = asyncio.ensure_future(dial(written(sock)))
        turn = running_loop().hot.turn
        await until(lambda: running_loop().hot.turn > turn + 10)
        assert not task.done()
        sock.accept()[0].close()
        (await task).close()

    with full(tmp_path / "s") as sock:
        play(story(sock))


def test_a_unix_socket_whose_queue_stays_full(tmp_path: Path) -> None:
    with full(tmp_path / "s") as sock:
        error = refusal(written(sock), 0.05)
    assert error.reason is Reason.UPSTREAM_TIMEOUT


def test_no_descriptor_left() -> None:
    async def story() -> DialError:
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
        try:
            with pytest.raises(DialError) as caught:
                await dial("127.0.0.1:443")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        return caught.value

    error = play(story())
    assert error.reason is Reason.NO_DESCRIPTORS, "our limit, not the upstream's fault"
    assert error.detail == "127.0.0.1:443: Too many open files"


# names


def test_the_next_address_of_a_name_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        stream = await dial("a.test:443")
        assert stream.peer == "a.test:443 (127.0.0.1)"
        stream.close()

    with refusing() as first, listening() as second:
        names(monkeypatch, first, second)
        play(story())


def test_an_address_that_does_not_answer_leaves_time_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        (await dial("a.test:443", 2)).close()

    with silent() as first, listening() as second:
        names(monkeypatch, first, second)
        play(story())


def test_when_every_address_fails_the_last_failure_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with refusing() as first, refusing() as second:
        names(monkeypatch, "255.255.255.255:1", first, second)
        error = refusal("a.test:443")
    assert error.reason is Reason.UPSTREAM_REFUSED
    assert error.detail == "a.test:443 (127.0.0.1): Connection refused"


def test_a_name_that_does_not_resolve(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    error = refusal("a.test:443")
    assert error.reason is Reason.UPSTREAM_UNRESOLVED
    assert error.detail == "a.test: Name or service not known"


def test_a_name_that_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()

    async def story() -> None:
        try:
            with pytest.raises(DialError) as caught:
                await dial("a.test:443", 0.05)
        finally:
            answered.set()
        assert caught.value.reason is Reason.UPSTREAM_UNRESOLVED
        assert caught.value.detail == "a.test: no answer for 'a.test' within 0.05 s"

    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answered.wait() and [])
    play(story())


def test_dialling_names_for_different_times_keeps_few_queues_of_deadlines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def story() -> None:
        tasks = [asyncio.ensure_future(dial("a.test:443", 2)) for _ in range(300)]
        for _ in range(50):
            await asyncio.sleep(0)
        assert 0 < len(running_loop().deadlines) <= 30
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    with silent() as address:
        names(monkeypatch, address)
        play(story())


# given up


async def cancelled_while_it_dials(address: str) -> None:
    task = asyncio.ensure_future(dial(address))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_cancelling_closes_what_was_begun(tmp_path: Path) -> None:
    with silent() as address:
        play(cancelled_while_it_dials(address))
    with full(tmp_path / "s") as sock:
        play(cancelled_while_it_dials(written(sock)))


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_a_fiber_that_is_aborted_closes_what_was_begun(kind: str, tmp_path: Path) -> None:
    async def story(address: str) -> None:
        ended: list[Exception | None] = []

        async def body() -> None:
            await dial(address)

        fiber = Fiber(body(), lambda _, defect: ended.append(defect))
        fiber.start()
        cut = RuntimeError("cut")
        fiber.abort(cut)
        assert ended == [cut]

    if kind == "tcp":
        with silent() as address:
            play(story(address))
    else:
        with full(tmp_path / "s") as sock:
            play(story(written(sock)))


def test_what_was_dialled_can_be_reset() -> None:
    async def story(sock: socket.socket) -> None:
        stream: Stream = await dial(written(sock))
        accepted, _ = sock.accept()
        with accepted:
            stream.reset()
            peer = End(accepted)
            await until(peer.pull)
            assert peer.got_reset

    with socket.create_server(("127.0.0.1", 0)) as sock:
        play(story(sock))
