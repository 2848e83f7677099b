"""An end arrives as what it was: a FIN as a FIN (or close_notify), a reset as a reset, a truncation too."""

from __future__ import annotations

import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from support.backends import BOUND
from support.carrying import Carrying, carrying_proxy
from support.certificates import TLS_1_2, TLS_1_3
from support.clients import (
    Listener,
    TlsClient,
    TruncatedError,
    client_hello,
    connect,
    read_exactly,
    read_to_end,
    reset,
    send_until_stuck,
)
from support.spyhole_process import SpyholeProcess

# More than the kernel keeps for one connection, in the receive buffers of the proxy and of the far end and
# in the send buffers of both.
MORE = 2 * sum(
    int(Path(f"/proc/sys/net/ipv4/tcp_{way}").read_text().split()[2]) for way in ("rmem", "wmem")
)
VERSIONS = pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3])


HELLO = client_hello("pass.test")


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Carrying]:
    with carrying_proxy(tmp_path_factory.mktemp("front")) as carrying:
        yield carrying


class Connection(NamedTuple):
    """A connection through the proxy, both ends of it, and how the log says that it ended."""

    client: socket.socket
    upstream: socket.socket
    ending: Callable[[], tuple[str, str]]


class TlsConnection(NamedTuple):
    """The same, where the client's TLS ends at the proxy."""

    client: TlsClient
    upstream: socket.socket
    ending: Callable[[], tuple[str, str]]


def ending_of(front: Carrying, client: socket.socket) -> Callable[[], tuple[str, str]]:
    host, port = client.getsockname()

    def ending() -> tuple[str, str]:
        record = front.proxy.record_of(f"{host}:{port}")
        return record["reason"], record["ended_by"]

    return ending


def passed(proxy: SpyholeProcess, listener: Listener) -> tuple[socket.socket, socket.socket]:
    """A connection that passes through, both ends of it; the hello has been read from the upstream's."""
    client = connect(proxy.sockaddr())
    client.sendall(HELLO)
    upstream = listener.accept()
    assert read_exactly(upstream, len(HELLO)) == HELLO
    return client, upstream


def terminated(
    proxy: SpyholeProcess, listener: Listener, context: ssl.SSLContext
) -> tuple[TlsClient, socket.socket]:
    """A connection whose TLS ends at the proxy, both ends of it."""
    client = TlsClient(connect(proxy.sockaddr()), context, "end.test")
    return client, listener.accept()


@pytest.fixture
def plain(front: Carrying) -> Iterator[Connection]:
    client, upstream = passed(front.proxy, front.listener)
    with client, upstream:
        yield Connection(client, upstream, ending_of(front, client))


@pytest.fixture(params=[TLS_1_2, TLS_1_3], ids=["1.2", "1.3"])
def secure(front: Carrying, request: pytest.FixtureRequest) -> Iterator[TlsConnection]:
    context = front.authority.client_context(version=request.param)
    client, upstream = terminated(front.proxy, front.listener, context)
    with client, upstream:
        yield TlsConnection(client, upstream, ending_of(front, client.sock))


class TestPlainEnds:
    def test_the_client_ends_first(self, plain: Connection) -> None:
        client, upstream, ending = plain
        client.sendall(b"question")
        client.shutdown(socket.SHUT_WR)
        assert read_to_end(upstream) == b"question"
        upstream.sendall(b"answer")
        assert client.recv(100) == b"answer"
        upstream.sendall(b", and more")
        upstream.shutdown(socket.SHUT_WR)
        assert read_to_end(client) == b", and more"
        assert ending() == ("closed", "client")

    def test_the_upstream_ends_first(self, plain: Connection) -> None:
        client, upstream, ending = plain
        upstream.sendall(b"greeting")
        upstream.shutdown(socket.SHUT_WR)
        assert read_to_end(client) == b"greeting"
        client.sendall(b"one")
        assert upstream.recv(100) == b"one"
        client.sendall(b"two")
        client.shutdown(socket.SHUT_WR)
        assert read_to_end(upstream) == b"two"
        assert ending() == ("closed", "upstream")

    def test_an_end_comes_after_all_that_was_sent(self, plain: Connection) -> None:
        client, upstream, _ = plain
        sent = os.urandom(MORE)
        stuck = send_until_stuck(client, sent)
        assert stuck < len(sent)
        rest = threading.Thread(target=send_rest_and_end, args=(client, sent[stuck:]))
        rest.start()
        assert read_to_end(upstream) == sent
        rest.join(BOUND)
        upstream.sendall(b"thanks")
        upstream.close()
        assert read_to_end(client) == b"thanks"

    def test_the_client_resets(self, plain: Connection) -> None:
        client, upstream, ending = plain
        reset(client)
        with pytest.raises(ConnectionResetError):
            upstream.recv(1)
        assert ending() == ("client_reset", "client")

    def test_the_upstream_resets(self, plain: Connection) -> None:
        client, upstream, ending = plain
        reset(upstream)
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        assert ending() == ("upstream_reset", "upstream")

    def test_a_reset_after_a_half_close(self, plain: Connection) -> None:
        client, upstream, ending = plain
        client.shutdown(socket.SHUT_WR)
        assert upstream.recv(1) == b""
        reset(upstream)
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        assert ending() == ("upstream_reset", "upstream")

    def test_a_reset_of_a_client_that_does_not_read(self, plain: Connection) -> None:
        """The proxy waits for room towards the client, and still learns that it is gone."""
        client, upstream, ending = plain
        assert send_until_stuck(upstream, bytes(MORE)) < MORE
        reset(client)
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            upstream.sendall(bytes(MORE))
        assert ending() == ("client_reset", "client")

    def test_a_reset_of_an_upstream_that_does_not_read(self, plain: Connection) -> None:
        client, upstream, ending = plain
        assert send_until_stuck(client, bytes(MORE)) < MORE
        reset(upstream)
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            client.sendall(bytes(MORE))
        assert ending() == ("upstream_reset", "upstream")

    def test_what_was_sent_before_a_reset_of_the_other_way_arrives(self, plain: Connection) -> None:
        """An upstream that answers and closes without reading everything: its answer gets through."""
        client, upstream, ending = plain
        client.sendall(b"more than the upstream cares for")
        upstream.sendall(b"too large")
        upstream.shutdown(socket.SHUT_WR)
        assert client.recv(100) == b"too large"
        upstream.close()  # with bytes unread: a reset
        with suppress(ConnectionResetError, BrokenPipeError):
            while True:
                client.sendall(b"more")
        assert ending()[0] in {"closed", "upstream_reset"}


def send_rest_and_end(sock: socket.socket, data: bytes) -> None:
    sock.sendall(data)
    sock.shutdown(socket.SHUT_WR)


class TestTlsEnds:
    def test_the_client_ends_first(self, secure: TlsConnection) -> None:
        client, upstream, ending = secure
        client.send(b"question")
        client.close_notify()
        assert read_to_end(upstream) == b"question"
        upstream.sendall(b"answer")
        assert client.receive() == b"answer"
        upstream.sendall(b", and more")
        upstream.shutdown(socket.SHUT_WR)
        assert client.receive_all() == b", and more"
        assert client.sock.recv(1) == b"", "after close_notify comes the FIN"
        assert ending() == ("closed", "client")

    def test_the_client_ends_first_with_a_fin_too(self, secure: TlsConnection) -> None:
        client, upstream, ending = secure
        client.send(b"question")
        client.close_notify()
        client.fin()
        assert read_to_end(upstream) == b"question"
        upstream.sendall(b"answer")
        upstream.close()
        assert client.receive_all() == b"answer"
        assert ending() == ("closed", "client")

    def test_the_upstream_ends_first(self, secure: TlsConnection) -> None:
        client, upstream, ending = secure
        upstream.sendall(b"greeting")
        upstream.shutdown(socket.SHUT_WR)
        assert client.receive_all() == b"greeting"
        client.send(b"one")
        assert upstream.recv(100) == b"one"
        client.send(b"two")
        client.close_notify()
        assert read_to_end(upstream) == b"two"
        assert ending() == ("closed", "upstream")

    def test_a_truncated_client_is_a_reset_to_the_upstream(self, secure: TlsConnection) -> None:
        client, upstream, ending = secure
        client.send(b"the first half")
        client.fin()
        assert read_exactly(upstream, 14) == b"the first half"
        with pytest.raises(ConnectionResetError):
            upstream.recv(1)
        assert ending() == ("client_truncated", "client")

    def test_so_is_one_cut_inside_a_record(self, secure: TlsConnection) -> None:
        client, upstream, ending = secure
        client.send(b"whole")
        client.sock.sendall(client.encrypt(b"half of this")[:-3])
        client.fin()
        assert read_exactly(upstream, 5) == b"whole"
        with pytest.raises(ConnectionResetError):
            upstream.recv(1)
        assert ending() == ("client_truncated", "client")

    def test_a_client_that_leaves_without_close_notify_once_it_has_everything(
        self, secure: TlsConnection
    ) -> None:
        """As many do. Nothing is cut off, and the log does not cry wolf."""
        client, upstream, ending = secure
        client.send(b"question")
        assert upstream.recv(100) == b"question"
        upstream.sendall(b"answer")
        upstream.shutdown(socket.SHUT_WR)
        assert client.receive_all() == b"answer"
        client.sock.close()
        assert ending() == ("closed", "upstream")

    def test_a_bad_record_is_answered_with_an_alert(self, secure: TlsConnection) -> None:
        client, upstream, ending = secure
        record = bytearray(client.encrypt(b"to be changed on the way"))
        record[-1] ^= 1
        client.sock.sendall(record)
        with pytest.raises(ssl.SSLError, match="BAD_RECORD_MAC"):
            client.receive()
        with pytest.raises(ConnectionResetError):
            upstream.recv(1)
        assert ending() == ("client_bad_record", "client")

    def test_the_client_resets(self, secure: TlsConnection) -> None:
        client, upstream, ending = secure
        upstream.sendall(b"220 ")  # before that the proxy may still be dialling
        assert client.receive() == b"220 "
        reset(client.sock)
        with pytest.raises(ConnectionResetError):
            upstream.recv(1)
        assert ending() == ("client_reset", "client")

    def test_the_upstream_resets(self, secure: TlsConnection) -> None:
        client, upstream, ending = secure
        upstream.sendall(b"the first half")
        assert client.receive() == b"the first half"
        reset(upstream)
        with pytest.raises((ConnectionResetError, TruncatedError)):  # but never a close_notify
            assert client.receive()
        assert ending() == ("upstream_reset", "upstream")

    def test_an_upstream_that_speaks_first(self, secure: TlsConnection) -> None:
        client, upstream, _ = secure
        upstream.sendall(b"220 mail.test\r\n")
        assert client.receive() == b"220 mail.test\r\n"
