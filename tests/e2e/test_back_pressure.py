"""A reader that does not read costs a bounded amount, slows its sender, and loses nothing; nobody starves.

What the proxy holds is what the sender could send, less what lies in the kernel's own queues: those of the
sender's socket, of the proxy's two, and of the reader's.
"""

from __future__ import annotations

import os
import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from support.backends import BOUND
from support.carrying import Carrying, carrying_proxy
from support.certificates import TLS_1_2, TLS_1_3
from support.clients import (
    STUCK,
    TlsClient,
    client_hello,
    client_socket,
    connect,
    read_exactly,
    read_to_end,
    send_until_stuck,
)
from support.proc import cpu_ticks, queues
from support.tls13 import Tls13Writer

KIB, MIB = 1 << 10, 1 << 20
OURS = 256 * KIB
OURS_OF_FEW = MIB  # while no more than a few connections stall
HELLO = client_hello("pass.test")
MORE_THAN_ALL_QUEUES = 64 * MIB


class Front(Carrying):
    """What it holds is told by the kernel's queues around it."""

    @property
    def worker(self) -> int:
        (worker,) = self.proxy.worker_pids()
        return worker

    def passed(self) -> tuple[socket.socket, socket.socket]:
        """A connection that passes through, both of its ends, the hello read from the upstream's."""
        client = connect(self.proxy.sockaddr())
        client.sendall(HELLO)
        upstream = self.listener.accept()
        assert read_exactly(upstream, len(HELLO)) == HELLO
        return client, upstream

    def in_kernel(self, client: socket.socket, upstream: socket.socket) -> tuple[int, int, int, int]:
        """Bytes towards the upstream in the queues of the client, the proxy (in, out), and the upstream."""
        here, front = client.getsockname()[1], client.getpeername()[1]
        there, back = upstream.getpeername()[1], upstream.getsockname()[1]
        return (
            queues(here, front).outgoing,
            queues(front, here).incoming,
            queues(there, back).outgoing,
            queues(back, there).incoming,
        )

    def in_kernel_back(self, client: socket.socket, upstream: socket.socket) -> tuple[int, int, int, int]:
        """The same towards the client: in the queues of the upstream, the proxy (in, out), the client."""
        return self.in_kernel(upstream, client)


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    with carrying_proxy(tmp_path_factory.mktemp("front")) as carrying:
        yield Front(*carrying)


def assert_slowed(front: Front, sender: socket.socket, data: bytes) -> int:
    """The sender is stopped before it has sent all, and waiting costs no CPU; how much it sent."""
    sent = send_until_stuck(sender, data)
    assert sent < len(data), "the sender is slowed"
    before = cpu_ticks(front.worker)
    assert send_until_stuck(sender, data[sent:]) == 0
    assert cpu_ticks(front.worker) - before <= STUCK * 100 / 10
    return sent


def steady(look: Callable[[], object]) -> None:
    """Wait until what `look` sees has not changed for a while."""
    seen = None
    while seen != (seen := look()):
        select.select([], [], [], STUCK)


def send_rest(sock: socket.socket, data: bytes) -> threading.Thread:
    """Send the rest and a FIN, in a thread: the other end is read meanwhile."""

    def run() -> None:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


class TestPassthrough:
    def test_the_upstream_does_not_read(self, front: Front) -> None:
        data = os.urandom(MIB) * (MORE_THAN_ALL_QUEUES // MIB)
        client, upstream = front.passed()
        with client, upstream:
            sent = assert_slowed(front, client, data)
            held = sent - sum(front.in_kernel(client, upstream))
            assert 0 <= held <= OURS_OF_FEW
            # A sip: then the proxy has megabytes to read from the kernel, and room for one or two.
            read = read_exactly(upstream, 2 * MIB)
            steady(lambda: front.in_kernel(client, upstream))
            held = sent - len(read) - sum(front.in_kernel(client, upstream))
            assert 0 <= held <= OURS_OF_FEW
            rest = send_rest(client, data[sent:])
            assert read + read_to_end(upstream) == data
            rest.join(BOUND)

    def test_the_client_does_not_read(self, front: Front) -> None:
        data = os.urandom(MIB) * (MORE_THAN_ALL_QUEUES // MIB)
        client, upstream = front.passed()
        with client, upstream:
            sent = assert_slowed(front, upstream, data)
            held = sent - sum(front.in_kernel(upstream, client))
            assert 0 <= held <= OURS_OF_FEW
            # A sip: then the proxy has megabytes to read from the kernel, and room for one or two.
            read = read_exactly(client, 2 * MIB)
            steady(lambda: front.in_kernel(upstream, client))
            held = sent - len(read) - sum(front.in_kernel(upstream, client))
            assert 0 <= held <= OURS_OF_FEW
            rest = send_rest(upstream, data[sent:])
            assert read + read_to_end(client) == data
            rest.join(BOUND)

    def test_small_pieces_cost_no_more(self, front: Front) -> None:
        """Too small for bulk, so the receive buffer's way, not the pipe's."""
        client, upstream = front.passed()
        with client, upstream:
            sent = 0
            while count := send_until_stuck(client, b"small piece " * 20):
                sent += count
            held = sent - sum(front.in_kernel(client, upstream))
            assert 0 <= held <= OURS
            client.shutdown(socket.SHUT_WR)
            assert read_to_end(upstream) == (b"small piece " * (sent // 12 + 1))[:sent]

    def test_the_other_way_goes_on(self, front: Front) -> None:
        client, upstream = front.passed()
        with client, upstream:
            assert send_until_stuck(client, bytes(MORE_THAN_ALL_QUEUES)) < MORE_THAN_ALL_QUEUES
            for number in range(100):
                upstream.sendall(number.to_bytes(4))
                assert read_exactly(client, 4) == number.to_bytes(4)


@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3], ids=["1.2", "1.3"])
class TestTerminate:
    @pytest.fixture
    def ends(self, front: Front, version: ssl.TLSVersion) -> Iterator[tuple[TlsClient, socket.socket]]:
        context = front.authority.client_context(version=version)
        with (
            TlsClient(connect(front.proxy.sockaddr()), context, "end.test") as client,
            front.listener.accept() as upstream,
        ):
            yield client, upstream

    def test_the_upstream_does_not_read(self, front: Front, ends: tuple[TlsClient, socket.socket]) -> None:
        client, upstream = ends
        data = os.urandom(MIB) * (MORE_THAN_ALL_QUEUES // MIB)
        records = client.encrypt(data)
        overhead = len(records) / len(data)
        sent = assert_slowed(front, client.sock, records)
        encrypted, decrypted = split(front.in_kernel(client.sock, upstream))
        held = (sent - encrypted) / overhead - decrypted
        assert -KIB <= held <= OURS
        rest = send_rest_of_tls(client, records[sent:])
        assert read_to_end(upstream) == data
        rest.join(BOUND)

    def test_the_client_does_not_read(self, front: Front, ends: tuple[TlsClient, socket.socket]) -> None:
        client, upstream = ends
        data = os.urandom(MIB) * (MORE_THAN_ALL_QUEUES // MIB)
        sent = assert_slowed(front, upstream, data)
        decrypted, encrypted = split(front.in_kernel(upstream, client.sock))
        # Records are of 16 KiB at most, and the proxy makes the largest that it can.
        held = sent - decrypted - encrypted / (1 + 22 / 16384)
        assert -8 * KIB <= held <= OURS
        rest = send_rest(upstream, data[sent:])
        assert client.receive_all() == data
        rest.join(BOUND)


def test_answers_that_a_client_does_not_read(front: Front, tmp_path: Path) -> None:
    """It asks for new keys again and again: each request is answered, and the answers pile up with us."""
    context = front.authority.client_context(version=TLS_1_3)
    context.keylog_filename = str(tmp_path / "keys")
    sock = client_socket()
    sock.settimeout(BOUND)
    # little room in the kernel, so that a few requests are enough
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(front.proxy.sockaddr())
    with TlsClient(sock, context, "end.test") as client, front.listener.accept() as upstream:
        writer = Tls13Writer(client.tls, tmp_path / "keys")
        requests = b"".join(writer.key_update() for _ in range(20_000))
        sent = send_until_stuck(sock, requests)
        steady(lambda: front.in_kernel(sock, upstream))
        asked, answered = front.in_kernel(sock, upstream), front.in_kernel_back(sock, upstream)
        # a request and its answer have the same size
        held = (sent - sum(asked[:2])) - sum(answered[2:])
        assert held <= OURS
        assert sum(asked[:2]) > 0, "it is slowed"
        last = writer.application_data(b"and now for something else")
        rest = threading.Thread(target=sock.sendall, args=(requests[sent:] + last,))
        rest.start()
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        poll.register(upstream, select.POLLIN)
        while upstream.fileno() not in {fd for fd, _ in poll.poll(BOUND * 1000)}:
            assert sock.recv(65536)
        assert upstream.recv(100) == b"and now for something else"
        rest.join(BOUND)


def split(amounts: tuple[int, int, int, int]) -> tuple[int, int]:
    """Before the proxy, and after it."""
    return amounts[0] + amounts[1], amounts[2] + amounts[3]


def send_rest_of_tls(client: TlsClient, data: bytes) -> threading.Thread:
    def run() -> None:
        client.sock.sendall(data)
        client.close_notify()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


@pytest.mark.parametrize("kind", ["passthrough", "terminate"])
def test_a_request_is_answered_while_bulk_runs(front: Front, kind: str) -> None:
    """Between a question and its answer, the loop's turns give each bulk connection its portion only.

    Counted in bytes, not in seconds, so that a slow machine fails no sooner than a fast one. Where TLS
    ends, encrypting is slower than the upstream sends and than the client, which need not decrypt, takes:
    the worker never runs out of bytes to move.
    """
    stop = threading.Event()
    received = [0] * 4
    with ExitStack() as stack:
        small, small_upstream = map(stack.enter_context, front.passed())
        threads = []
        for number in range(4):
            if kind == "passthrough":
                source, sink = map(stack.enter_context, front.passed())
            else:
                context = front.authority.client_context()
                tls = stack.enter_context(TlsClient(connect(front.proxy.sockaddr()), context, "end.test"))
                source, sink = stack.enter_context(front.listener.accept()), tls.sock
            threads.append(threading.Thread(target=pour, args=(source, stop)))
            threads.append(threading.Thread(target=drain, args=(sink, received, number)))
        for thread in threads:
            thread.start()
        try:
            between = []
            for number in range(100):
                before = sum(received)
                small.sendall(number.to_bytes(4))
                assert read_exactly(small_upstream, 4) == number.to_bytes(4)
                small_upstream.sendall(b"answer")
                assert read_exactly(small, 6) == b"answer"
                between.append(sum(received) - before)
        finally:
            stop.set()
            for thread in threads:
                thread.join(BOUND)
    assert all(received), "each bulk connection moves, too"
    assert sum(between) > 0, "the bulk was under way meanwhile"
    # A round trip takes some four turns, of 256 KiB for each of four; the kernel's queues come on top.
    assert sorted(between)[len(between) // 2] <= 64 * MIB


def pour(sock: socket.socket, stop: threading.Event) -> None:
    block = bytes(MIB)
    while not stop.is_set():
        sock.sendall(block)
    sock.shutdown(socket.SHUT_WR)


def drain(sock: socket.socket, received: list[int], number: int) -> None:
    buffer = bytearray(MIB)
    while count := sock.recv_into(buffer):
        received[number] += count
