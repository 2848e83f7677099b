"""Clients that begin a ClientHello and stall: each costs a bounded amount, and others notice nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from statistics import median, quantiles

import pytest

from support.backends import Backend, echo
from support.clients import client_hello, connect, read_exactly
from support.hellos import hello, records, server_name
from support.proc import all_queues, cpu_ticks, memory, open_files
from support.scale import many_files, scaled
from support.spyhole_process import SpyholeProcess
from support.waiting import assert_idle, until

STALLED = scaled(3000, small=300)
LARGE = scaled(1000, small=100)
KIB = 1 << 10
HELLO = client_hello("a.test")
LARGE_HELLO = records(hello([server_name(b"a.test"), (0x1234, bytes(17 * KIB))]))[: 16 * KIB]
# The most that `max_hello_size` allows, each byte in a record of its own.
COSTLIEST_HELLO = records(hello([server_name(b"a.test"), (0x1234, bytes(64 * KIB - 200))]), (1,))[:-6]

Start = Callable[..., SpyholeProcess]
Figure = Callable[[str], None]


@pytest.fixture
def backend() -> Iterator[Backend]:
    with echo("hi") as backend:
        yield backend


@pytest.fixture
def proxy(spyhole: Start, backend: Backend) -> Iterator[SpyholeProcess]:
    with many_files():
        yield spyhole(
            *("--listen", "127.0.0.1:0", "--route", f"*={backend.address}", "--workers", "1"),
            *("--hello-timeout", "1h"),
        )


def visit(proxy: SpyholeProcess) -> float:
    """A good client, from its connect to its answer: seconds."""
    began = time.perf_counter()
    with connect(proxy.sockaddr(), any_port=True) as client:
        client.sendall(HELLO)
        assert read_exactly(client, 3 + len(HELLO)) == b"hi\n" + HELLO
    return time.perf_counter() - began


def latency(proxy: SpyholeProcess) -> str:
    times = [visit(proxy) for _ in range(scaled(500, small=20))]
    return f"median {median(times) * 1e3:.2f} ms, p99 {quantiles(times, n=100)[98] * 1e3:.2f} ms"


@pytest.mark.parametrize(
    ("count", "begun", "most"),
    [
        (STALLED, HELLO[: len(HELLO) // 2], 8 * KIB),
        # as it came, and once more in the parser
        (LARGE, LARGE_HELLO, 44 * KIB),
        (scaled(100, small=5), COSTLIEST_HELLO, 600 * KIB),
    ],
    ids=["half a hello", "16 KiB of one", "64 KiB of one in records of one byte"],
)
def test_stalled(proxy: SpyholeProcess, count: int, begun: bytes, most: int, figure: Figure) -> None:
    (worker,) = proxy.worker_pids()
    sockets = len(open_files(worker))
    before_latency = latency(proxy)  # also warms up
    until(lambda: len(open_files(worker)) <= sockets)
    before = memory(worker)
    ticks = cpu_ticks(worker)
    with ExitStack() as stack:
        clients = []
        for _ in range(count):
            clients.append(stack.enter_context(connect(proxy.sockaddr(), any_port=True)))
            clients[-1].sendall(begun)
        until(lambda: len(open_files(worker)) >= sockets + count)
        pairs = [(client.getpeername()[1], client.getsockname()[1]) for client in clients]
        until(lambda: not any(queue.incoming for queue in all_queues(pairs).values()))
        each = (memory(worker) - before) / count
        figure(
            f"{count:,} clients stalled after {len(begun):,} bytes of hello: {each:,.0f} B of memory each, "
            f"{(cpu_ticks(worker) - ticks) * 1e4 / count:.0f} µs of CPU"
        )
        assert each < most
        assert_idle(worker)
        figure(f"good clients before: {before_latency}; meanwhile: {latency(proxy)}")
        # one that goes on after all is served
        clients[0].sendall(HELLO[len(begun) :])
    until(lambda: len(open_files(worker)) <= sockets)
    visit(proxy)
    figure(f"memory after all have left: {(memory(worker) - before) / KIB:+,.0f} KiB")
    assert proxy.worker_pids() == [worker]
