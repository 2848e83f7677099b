"""At the limit on open files, a worker waits instead of failing, and costs nothing while it waits."""

from __future__ import annotations

import resource
import select
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime
from itertools import pairwise

import pytest

from support.backends import BOUND, Backend, echo
from support.clients import STUCK, client_hello, connect, read_exactly
from support.proc import open_files
from support.scale import scaled
from support.spyhole_process import SpyholeProcess
from support.waiting import assert_idle

HELLO = client_hello("a.test")
ANSWER = b"hi\n" + HELLO
HELD = scaled(9000, small=3000)

Start = Callable[..., SpyholeProcess]


@pytest.fixture
def backend() -> Iterator[Backend]:
    with echo("hi") as backend:
        yield backend


@pytest.fixture
def file_limit() -> Iterator[Callable[[int, int], None]]:
    """Sets RLIMIT_NOFILE of this process, soft and hard; what it starts then inherits it."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)

    def limit(soft: int, hard: int) -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    yield limit
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def answered(clients: list[socket.socket], *, until: int | None = None) -> list[socket.socket]:
    """Those that have an answer to read: `until` so many, or else until none more comes for a while."""
    poll = select.poll()
    of = {client.fileno(): client for client in clients}
    for fd in of:
        poll.register(fd, select.POLLIN)
    found: list[socket.socket] = []
    while until is None or len(found) < until:
        ready = poll.poll(1000 * (STUCK if until is None else BOUND))
        assert ready or until is None, f"{len(found)} answers, not {until}"
        if not ready:
            break
        for fd, _ in ready:
            poll.unregister(fd)
            found.append(of[fd])
    return found


class TestFewDescriptors:
    FILES = 64

    def test_two_hundred_clients_are_all_served(self, spyhole: Start, backend: Backend) -> None:
        proxy = spyhole(
            *("--listen", "127.0.0.1:0", "--route", f"*={backend.address}", "--workers", "1"),
            prefix=("sh", "-c", f'ulimit -n {self.FILES} && exec "$@"', "sh"),
        )
        (worker,) = proxy.worker_pids()
        with ExitStack() as stack:
            clients = [stack.enter_context(connect(proxy.sockaddr())) for _ in range(200)]
            for client in clients:
                client.sendall(HELLO)
            served = answered(clients)
            assert 4 <= len(served) < self.FILES / 2, "two descriptors for each connection"
            assert len(open_files(worker)) < self.FILES, "some are left for the log and the resolver"
            assert_idle(worker)
            waiting = list(clients)
            while True:
                for client in served:
                    assert read_exactly(client, len(ANSWER)) == ANSWER
                    waiting.remove(client)
                    client.close()
                if not waiting:
                    break
                served = answered(waiting, until=1)  # it goes on as connections close
        assert backend.accepted == 200
        records = proxy.access_records(200)
        assert len(records) == 200
        assert {record["reason"] for record in records} <= {"closed", "client_reset"}
        assert proxy.stop() == 0
        said = [line for line in proxy.error_log_lines() if "are open, the most that" in line]
        owed = [line for line in said if line.endswith("like it)")]  # said at the end, how often it was not
        times = [datetime.fromisoformat(line.split()[0]) for line in said if line not in owed]
        assert times, "the operator is told"
        assert len(owed) <= 1
        apart = [(later - earlier).total_seconds() for earlier, later in pairwise(times)]
        assert all(seconds > 0.99 for seconds in apart), "once a second at most"

    def test_a_limit_that_is_set(self, spyhole: Start, backend: Backend) -> None:
        proxy = spyhole(
            *("--listen", "127.0.0.1:0", "--route", f"*={backend.address}", "--workers", "1"),
            *("--max-connections", "3"),
        )
        (worker,) = proxy.worker_pids()
        with ExitStack() as stack:
            clients = [stack.enter_context(connect(proxy.sockaddr())) for _ in range(7)]
            for client in clients:
                client.sendall(HELLO)
            served = answered(clients)
            assert_idle(worker)
            while clients:
                assert len(served) == min(3, len(clients))
                for client in served:
                    clients.remove(client)
                    client.close()
                served = answered(clients)

    def test_the_soft_limit_is_raised_to_the_hard_one(self, spyhole: Start, backend: Backend) -> None:
        proxy = spyhole(
            *("--listen", "127.0.0.1:0", "--route", f"*={backend.address}", "--workers", "1"),
            prefix=("sh", "-c", 'ulimit -S -n 64 && exec "$@"', "sh"),
        )
        with ExitStack() as stack:
            clients = [stack.enter_context(connect(proxy.sockaddr())) for _ in range(100)]
            for client in clients:
                client.sendall(HELLO)
            assert len(answered(clients, until=100)) == 100


@pytest.mark.skipif(
    resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 2 * HELD + 500,
    reason=f"needs a hard limit on open files (ulimit -Hn) of {2 * HELD + 500}, for {HELD} connections",
)
def test_thousands_of_connections_held_by_one_worker(
    spyhole: Start, file_limit: Callable[[int, int], None]
) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    file_limit(hard, hard)
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=4096))
        proxy = spyhole(
            *("--listen", "127.0.0.1:0", "--route", f"*=127.0.0.1:{listener.getsockname()[1]}"),
            *("--workers", "1", "--access-log", "off", "--hello-timeout", "1m", "--connect-timeout", "1m"),
        )
        (worker,) = proxy.worker_pids()
        clients: list[socket.socket] = []
        upstreams: list[socket.socket] = []
        for _ in range(HELD):
            client = stack.enter_context(socket.create_connection(proxy.sockaddr()))
            client.sendall(HELLO)
            clients.append(client)
            if len(clients) - len(upstreams) >= 100:  # no queue gets long
                upstreams.append(stack.enter_context(listener.accept()[0]))
        while len(upstreams) < HELD:
            upstreams.append(stack.enter_context(listener.accept()[0]))
        assert sum(name.startswith("socket:") for name in open_files(worker)) >= 2 * HELD
        assert_idle(worker)

        # Each upstream answers with its own number, so that a client knows whom it reached.
        for number, upstream in enumerate(upstreams):
            upstream.settimeout(BOUND)
            assert read_exactly(upstream, len(HELLO)) == HELLO
            upstream.sendall(number.to_bytes(4))
        reached = []
        for client in clients:
            client.settimeout(BOUND)
            reached.append(int.from_bytes(read_exactly(client, 4)))
        assert sorted(reached) == list(range(HELD)), "every connection has an upstream of its own"
        for client, number in list(zip(clients, reached, strict=True))[::90]:
            client.sendall(b"ping")
            assert read_exactly(upstreams[number], 4) == b"ping"
            upstreams[number].sendall(b"pong")
            assert read_exactly(client, 4) == b"pong"
        assert_idle(worker)
