"""Workers are killed again and again, and the supervisor: service goes on, and nobody stays behind."""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import pytest

from support.backends import BOUND, Backend, echo
from support.clients import EndError, Listener, client_hello, connect, read_exactly, read_to_end
from support.proc import memory, open_files
from support.scale import scaled
from support.spyhole_process import SpyholeProcess
from support.waiting import until

KILLS = scaled(100, small=6)
HELLO = client_hello("a.test")

Start = Callable[..., SpyholeProcess]
Figure = Callable[[str], None]


@pytest.fixture
def backend() -> Iterator[Backend]:
    with echo("hi") as backend:
        yield backend


def visit(proxy: SpyholeProcess) -> bool:
    """Whether a client was served. One whose worker is killed is not, and is told so."""
    try:
        with connect(proxy.sockaddr(), any_port=True) as client:
            client.sendall(HELLO)
            return read_exactly(client, 3 + len(HELLO)) == b"hi\n" + HELLO
    except (ConnectionResetError, BrokenPipeError, EndError):
        return False


def test_workers_killed_in_a_loop(spyhole: Start, backend: Backend, figure: Figure) -> None:
    proxy = spyhole("--listen", "127.0.0.1:0", "--route", f"*={backend.address}", "--workers", "2")
    before, files = memory(proxy.pid), len(open_files(proxy.pid))
    stop = threading.Event()
    served, lost = [0] * 4, [0] * 4

    def load(number: int) -> None:
        while not stop.is_set():
            if visit(proxy):
                served[number] += 1
            else:
                lost[number] += 1

    threads = [threading.Thread(target=load, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    try:
        for number in range(KILLS):
            until(lambda: len(proxy.worker_pids()) == 2)
            killed = proxy.worker_pids()[number % 2]
            os.kill(killed, signal.SIGKILL)
            until(lambda killed=killed: killed not in proxy.worker_pids())  # type: ignore[misc]
            seen = sum(served)
            until(lambda seen=seen: sum(served) > seen)  # type: ignore[misc]
    finally:
        stop.set()
        for thread in threads:
            thread.join(BOUND)
    until(lambda: len(proxy.worker_pids()) == 2)
    assert all(visit(proxy) for _ in range(20))
    assert len(open_files(proxy.pid)) == files
    figure(
        f"{KILLS} workers of 2 killed under load: {sum(served):,} clients served, {sum(lost)} lost with a"
        f" worker; the supervisor's memory {memory(proxy.pid) - before:+,} B, its descriptors unchanged"
    )
    assert proxy.stop() == 0
    said = proxy.error_log_lines()
    assert sum("was killed by SIGKILL; another takes its place" in line for line in said) == KILLS


class TestTheSupervisorIsKilled:
    """Workers drain by themselves. Clients that would never leave do not keep them."""

    def test_connections_that_never_end(self, spyhole: Start) -> None:
        """One in each stage, from the hello to a transfer that nobody reads."""
        with ExitStack() as stack:
            listener = stack.enter_context(Listener())
            proxy = spyhole(
                *("--listen", "127.0.0.1:0", "--route", f"*={listener.address}", "--workers", "2"),
                *("--drain-timeout", "500ms", "--hello-timeout", "1h"),
            )
            clients = []
            for number in range(20):
                client = stack.enter_context(connect(proxy.sockaddr(), any_port=True))
                client.sendall(HELLO[: 100 if number % 2 else None])
                clients.append(client)
                if not number % 2:
                    upstream = stack.enter_context(listener.accept())
                    with suppress(BlockingIOError):
                        upstream.setblocking(False)
                        while upstream.send(bytes(1 << 20)):
                            pass
            self.end_with(proxy, stack)
            for client in clients:
                with suppress(ConnectionResetError):
                    read_to_end(client)

    def test_while_it_drains(self, spyhole: Start, backend: Backend) -> None:
        proxy = spyhole(
            *("--listen", "127.0.0.1:0", "--route", f"*={backend.address}", "--workers", "2"),
            *("--drain-timeout", "1s"),
        )
        with ExitStack() as stack:
            client = stack.enter_context(connect(proxy.sockaddr(), any_port=True))
            client.sendall(HELLO)
            read_exactly(client, 3 + len(HELLO))
            proxy.signal(signal.SIGTERM)
            proxy.wait_for_error_log("accepting no more")
            self.end_with(proxy, stack)

    def test_while_workers_are_killed_too(self, spyhole: Start, backend: Backend) -> None:
        """The first to go is a worker: the supervisor may be forking another at that moment."""
        for _ in range(scaled(20, small=1)):
            proxy = spyhole(
                *("--listen", "127.0.0.1:0", "--route", f"*={backend.address}", "--workers", "4"),
                *("--drain-timeout", "500ms"),
            )
            with ExitStack() as stack:
                os.kill(proxy.worker_pids()[0], signal.SIGKILL)
                self.end_with(proxy, stack)
                with pytest.raises(ConnectionRefusedError), socket.socket() as sock:
                    sock.connect(proxy.sockaddr())

    @staticmethod
    def end_with(proxy: SpyholeProcess, stack: ExitStack) -> None:
        """Kill the supervisor, and wait until no process of its session is left."""
        ends = []
        for pid in proxy.worker_pids():
            with suppress(ProcessLookupError):
                ends.append(os.pidfd_open(pid))
                stack.callback(os.close, ends[-1])
        proxy.signal(signal.SIGKILL)
        for pidfd in ends:
            poll = select.poll()
            poll.register(pidfd, select.POLLIN)
            assert poll.poll(BOUND * 1000), "a worker lingers"
        assert proxy.wait() == -signal.SIGKILL  # and nobody holds its output open
