"""What one side sends the other receives, bit for bit and to the end."""

from __future__ import annotations

import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator

import pytest

from support.backends import BOUND, Backend, Ended, recorder
from support.certificates import TLS_1_2, TLS_1_3, Authority
from support.clients import (
    Listener,
    TlsClient,
    client_hello,
    connect,
    read_exactly,
    read_to_end,
    send_until_stuck,
)
from support.proc import open_files
from support.scale import scaled
from support.spyhole_process import SpyholeProcess

MIB = 1 << 20
MUCH = scaled(1024, small=256)
"""MiB; far more than all queues on the way."""
MUCH_TLS = scaled(128, small=64)
VERSIONS = pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3])


class Flood:
    """So many MiB that nobody holds in memory: each differs from the others, and is known by its place."""

    def __init__(self, mebibytes: int) -> None:
        self.mebibytes = mebibytes
        self._block = os.urandom(MIB)

    def __iter__(self) -> Iterator[bytes]:
        for number in range(self.mebibytes):
            yield number.to_bytes(8) + self._block[8:]

    def send(self, send: Callable[[bytes], object]) -> None:
        for piece in self:
            send(piece)

    def check(self, receive_into: Callable[[memoryview], int], *, ends: bool = True) -> None:
        """Receive all of it, then the end. Raises AssertionError at the first MiB that is another."""
        buffer = memoryview(bytearray(MIB))
        for number, piece in enumerate(self):
            filled = 0
            while filled < MIB:
                count = receive_into(buffer[filled:])
                assert count, f"an end after {number} MiB and {filled} bytes"
                filled += count
            assert buffer == piece, f"MiB {number} is another"
        assert not ends or receive_into(buffer) == 0, "more than was sent"


def send_and_end(flood: Flood, sock: socket.socket) -> None:
    flood.send(sock.sendall)
    sock.shutdown(socket.SHUT_WR)


@pytest.fixture
def proxy_to(
    spyhole: Callable[..., SpyholeProcess], authority: Authority
) -> Callable[[str], SpyholeProcess]:
    """Starts one worker in front of an upstream: pass.test goes through, end.test is terminated."""
    leaf = authority.issue("end.test")

    def start(upstream: str) -> SpyholeProcess:
        return spyhole(
            *("--listen", "127.0.0.1:0", "--workers", "1", "--cert", leaf.cert, "--key", leaf.key),
            *("--route", f"pass.test={upstream}", "--route", f"end.test=terminate:{upstream}"),
        )

    return start


ProxyTo = Callable[[str], SpyholeProcess]
HELLO = client_hello("pass.test")


class TestBulk:
    def test_bulk_each_way_through_passthrough(self, proxy_to: ProxyTo) -> None:
        up, down = Flood(MUCH), Flood(MUCH)
        pipes: list[int] = []

        def count_pipes() -> int:
            return sum(name.startswith("pipe:") for name in open_files(worker))

        def serve(connection: socket.socket) -> bytes:
            assert read_exactly(connection, len(HELLO)) == HELLO
            up.check(connection.recv_into)
            for number, piece in enumerate(down):
                connection.sendall(piece)
                if number == MUCH // 2:
                    pipes.append(count_pipes())
            connection.shutdown(socket.SHUT_WR)
            return b"all"

        with Backend(serve) as backend:
            proxy = proxy_to(backend.address)
            (worker,) = proxy.worker_pids()
            at_rest = count_pipes()
            with connect(proxy.sockaddr()) as client:
                client.sendall(HELLO)
                up.send(client.sendall)
                client.shutdown(socket.SHUT_WR)
                down.check(client.recv_into)
            assert backend.ended() == Ended(b"all", "eof")
        assert pipes[0] > at_rest, "the kernel carries bulk, through a pipe"
        (record,) = proxy.access_records(1)
        assert (record["bytes_in"], record["bytes_out"]) == (MUCH * MIB + len(HELLO), MUCH * MIB)
        assert (record["reason"], record["ended_by"]) == ("closed", "client")

    @VERSIONS
    def test_bulk_each_way_through_termination(
        self, proxy_to: ProxyTo, authority: Authority, version: ssl.TLSVersion
    ) -> None:
        up, down = Flood(MUCH_TLS), Flood(MUCH_TLS)

        def serve(connection: socket.socket) -> bytes:
            up.check(connection.recv_into, ends=False)
            down.send(connection.sendall)
            connection.shutdown(socket.SHUT_WR)
            return read_to_end(connection)

        context = authority.client_context(version=version)
        with Backend(serve) as backend:
            proxy = proxy_to(backend.address)
            with context.wrap_socket(
                connect(proxy.sockaddr()), server_hostname="end.test", suppress_ragged_eofs=False
            ) as client:
                up.send(client.sendall)
                down.check(client.recv_into)
                assert client.unwrap().recv(1) == b""
            assert backend.ended() == Ended(b"", "eof")
        (record,) = proxy.access_records(1)
        assert (record["bytes_in"], record["bytes_out"]) == (MUCH_TLS * MIB, MUCH_TLS * MIB)
        assert (record["reason"], record["ended_by"]) == ("closed", "upstream")

    def test_both_ways_at_once(self, proxy_to: ProxyTo) -> None:
        up, down = Flood(MUCH // 2), Flood(MUCH // 2)

        def serve(connection: socket.socket) -> bytes:
            assert read_exactly(connection, len(HELLO)) == HELLO
            sender = threading.Thread(target=send_and_end, args=(down, connection))
            sender.start()
            up.check(connection.recv_into)
            sender.join(BOUND)
            return b"all"

        with Backend(serve) as backend:
            proxy = proxy_to(backend.address)
            with connect(proxy.sockaddr()) as client:
                client.sendall(HELLO)
                sender = threading.Thread(target=send_and_end, args=(up, client))
                sender.start()
                down.check(client.recv_into)
                sender.join(BOUND)
            assert backend.ended() == Ended(b"all", "eof")

    def test_megabytes_right_behind_the_handshake(self, proxy_to: ProxyTo, authority: Authority) -> None:
        """The upstream is slow from the start, and takes so little that the first portion is too much."""
        narrow = [(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536), (socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)]
        flood = Flood(4)
        with Listener(options=narrow) as listener:
            proxy = proxy_to(listener.address)
            context = authority.client_context(version=TLS_1_3)
            with TlsClient(connect(proxy.sockaddr()), context, "end.test", hold=True) as client:
                records = b"".join(map(client.encrypt, flood))
                sent = send_until_stuck(client.sock, records)
                assert 0 < sent < len(records)
                with listener.accept() as upstream:
                    rest = threading.Thread(target=client.sock.sendall, args=(records[sent:],))
                    rest.start()
                    flood.check(upstream.recv_into, ends=False)
                    rest.join(BOUND)


class TestAtOnce:
    def test_bytes_right_behind_the_hello(self, proxy_to: ProxyTo) -> None:
        with recorder() as backend:
            proxy = proxy_to(backend.address)
            with connect(proxy.sockaddr()) as client:
                client.sendall(HELLO + b"early" * 50_000)
                client.shutdown(socket.SHUT_WR)
                assert read_to_end(client) == HELLO + b"early" * 50_000
            assert backend.ended().received == HELLO + b"early" * 50_000

    def test_everything_and_the_end_behind_the_handshake(
        self, proxy_to: ProxyTo, authority: Authority
    ) -> None:
        """Finished, a request, close_notify and FIN at once; the upstream has hardly been dialled."""
        context = authority.client_context(version=TLS_1_3)
        with recorder() as backend:
            proxy = proxy_to(backend.address)
            for number in range(50):
                with TlsClient(connect(proxy.sockaddr()), context, "end.test", hold=True) as client:
                    client.tls.write(b"question")
                    client.close_notify()
                    if number % 2:
                        client.fin()
                    assert client.receive_all() == b"question"
                assert backend.ended() == Ended(b"question", "eof")
            records = proxy.access_records(50)
        assert {(record["reason"], record["ended_by"]) for record in records} == {("closed", "client")}
