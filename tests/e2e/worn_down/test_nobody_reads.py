"""Eighty readers that never read, and as many senders that never stop: what each costs of ours is bounded.

What the proxy holds of a connection is what its sender could send, less what lies in the kernel's queues of
the four sockets that it goes through: our own buffers and the pipe of a splice. What its process grows by
is measured, too: no copy may hide from that count.
"""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import NamedTuple

import pytest

from spyhole.net.pipes import FEW
from support.certificates import TLS_1_2, TLS_1_3, Authority
from support.clients import STUCK, Listener, TlsClient, client_hello, connect, read_exactly
from support.proc import all_queues, memory, open_files
from support.scale import many_files, scaled
from support.spyhole_process import SpyholeProcess
from support.waiting import assert_idle, until

COUNT = scaled(80, small=4)
KIB, MIB = 1 << 10, 1 << 20
OURS = 256 * KIB
OURS_OF_FEW = MIB
HELLO = client_hello("pass.test")
MORE_THAN_ALL_QUEUES = 64 * MIB

Figure = Callable[[str], None]


class Pair(NamedTuple):
    """A connection's two ends; `tls` is the client where TLS ends at the proxy."""

    client: socket.socket
    upstream: socket.socket
    tls: TlsClient | None

    def ports(self, down: bool) -> list[tuple[int, int]]:
        """Of the sockets that a byte goes through, in that order."""
        here, front = self.client.getsockname()[1], self.client.getpeername()[1]
        there, back = self.upstream.getpeername()[1], self.upstream.getsockname()[1]
        up = [(here, front), (front, here), (there, back), (back, there)]
        return up[::-1] if down else up


@pytest.fixture(params=scaled(["passthrough", "1.2", "1.3"], small=["passthrough", "1.3"]))
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def listener() -> Iterator[Listener]:
    with Listener() as listener:
        yield listener


@pytest.fixture
def proxy(
    spyhole: Callable[..., SpyholeProcess], authority: Authority, listener: Listener
) -> Iterator[SpyholeProcess]:
    leaf = authority.issue("end.test")
    with many_files():
        yield spyhole(
            *("--listen", "127.0.0.1:0", "--workers", "1", "--cert", leaf.cert, "--key", leaf.key),
            *("--route", f"pass.test={listener.address}"),
            *("--route", f"end.test=terminate:{listener.address}"),
        )


@pytest.mark.parametrize("down", [True, False], ids=["the clients", "the upstream"])
def test_nobody_reads(
    proxy: SpyholeProcess, listener: Listener, authority: Authority, mode: str, down: bool, figure: Figure
) -> None:
    (worker,) = proxy.worker_pids()
    descriptors = len(open_files(worker))

    def opened(stack: ExitStack) -> Pair:
        client = stack.enter_context(connect(proxy.sockaddr()))
        tls = None
        if mode == "passthrough":
            client.sendall(HELLO)
        else:
            version = {"1.2": TLS_1_2, "1.3": TLS_1_3}[mode]
            tls = TlsClient(client, authority.client_context(version=version), "end.test")
        upstream = stack.enter_context(listener.accept())
        if tls is None:
            assert read_exactly(upstream, len(HELLO)) == HELLO
        return Pair(client, upstream, tls)

    with ExitStack() as stack:
        opened(stack)  # warms up
    until(lambda: len(open_files(worker)) <= descriptors)
    with ExitStack() as stack:
        pairs = [opened(stack) for _ in range(COUNT)]
        before = memory(worker)
        sent = pour(pairs, down)
        assert_idle(worker)
        looked_at = all_queues([ports for pair in pairs for ports in pair.ports(down)])
        held = []
        for pair, count in zip(pairs, sent, strict=True):
            sender, received, to_send, reader = (looked_at[ports] for ports in pair.ports(down))
            before_us = sender.outgoing + received.incoming
            after_us = to_send.outgoing + reader.incoming
            held.append(count - before_us - after_us)
        grown = (memory(worker) - before) / COUNT
        who = "the clients read" if down else "the upstream reads"
        figure(
            f"{COUNT} connections, {mode}, {who} nothing: {max(held) / KIB:,.0f} KiB of ours at most in"
            f" buffers and pipes, {sum(held) / KIB / COUNT:,.0f} on average; the process grew by"
            f" {grown / KIB:,.0f} KiB each"
        )
        # Records are longer than what is in them; the rest is the same bytes, before and after us.
        slack = 0 if mode == "passthrough" else max(sent) // 500
        held.sort(reverse=True)
        if mode == "passthrough":
            few, held = held[:FEW], held[FEW:]
            assert few[0] <= OURS_OF_FEW
        assert all(one <= OURS + slack for one in held)
        assert grown <= OURS
    until(lambda: len(open_files(worker)) <= descriptors + 40)  # a few idle pipes are kept
    assert len(proxy.access_records(COUNT + 1)) == COUNT + 1


def pour(pairs: list[Pair], down: bool) -> list[int]:
    """Let all send at once until nobody has got rid of a byte for a while; how much each has sent."""
    block = os.urandom(MIB)
    poll = select.poll()
    senders = [pair.upstream if down else pair.client for pair in pairs]
    number_of = {sock.fileno(): number for number, sock in enumerate(senders)}
    for sock in senders:
        poll.register(sock, select.POLLOUT)
    sent = [0] * len(pairs)
    left = [memoryview(b"")] * len(pairs)
    while ready := poll.poll(STUCK * 1000):
        for fd, _ in ready:
            number = number_of[fd]
            if not left[number]:
                tls = None if down else pairs[number].tls
                left[number] = memoryview(block if tls is None else tls.encrypt(block))
            with suppress(BlockingIOError):
                count = senders[number].send(left[number], socket.MSG_DONTWAIT)
                left[number] = left[number][count:]
                sent[number] += count
        assert sum(sent) < MORE_THAN_ALL_QUEUES * len(pairs), "they are never slowed"
    return sent
