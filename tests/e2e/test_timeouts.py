"""No wait on a peer is without end: each timeout of the configuration, by itself."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from spyhole.outcome import Reason
from support.backends import echo
from support.certificates import TLS_1_2
from support.clients import TlsClient, client_hello, connect
from support.front import (
    NO_HELLO,
    NOT_CARRIED,
    SHORT,
    Front,
    closing,
    logged,
    opened,
    refused,
    refusing_proxy,
    told,
    wait_for_reset,
)
from support.spyhole_process import SpyholeProcess

one_front = pytest.fixture(scope="module")(refusing_proxy)
front = pytest.fixture(closing)


def test_the_hello_is_late(front: Front) -> None:
    client = front.connect()
    client.sendall(client_hello("pass.test")[:50])
    record = refused(front, client, Reason.HELLO_TIMEOUT, server_name=None, **NO_HELLO)
    assert record["hello_ms"] >= SHORT * 1000


def test_a_byte_at_a_time_does_not_extend_it(front: Front) -> None:
    wire = client_hello("pass.test")
    client = front.connect()
    client.settimeout(SHORT / 8)
    sent, began, answer = 0, time.monotonic(), b"?"
    with suppress(ConnectionResetError, BrokenPipeError):
        while answer == b"?" and sent < len(wire):
            client.sendall(wire[sent : sent + 1])
            sent += 1
            with suppress(TimeoutError):
                answer = client.recv(100)
    assert answer == b""
    assert time.monotonic() - began >= SHORT
    record = logged(front, client, Reason.HELLO_TIMEOUT, **NO_HELLO)
    assert sent < len(wire), "the deadline is absolute"
    assert SHORT * 1000 <= record["hello_ms"] < SHORT / 8 * 1000 * len(wire)


def test_the_handshake_is_late(front: Front) -> None:
    client = front.connect()
    client.sendall(client_hello("end.test"))
    answer = told(client)
    assert answer[:1] == b"\x16", "a ServerHello, and then nothing"
    record = logged(front, client, Reason.HANDSHAKE_TIMEOUT, **{**NOT_CARRIED, "mode": "terminate"})
    assert record["total_ms"] >= SHORT * 1000
    assert record["handshake_ms"] is None


@pytest.mark.parametrize("tls", [False, True], ids=["passthrough", "terminate"])
def test_nothing_moves(front: Front, tls: bool) -> None:
    client, upstream = opened(front, tls)
    wait_for_reset(client)
    wait_for_reset(upstream)
    record = logged(front, client, Reason.IDLE_TIMEOUT)
    assert record["total_ms"] >= 4 * SHORT * 1000


def test_a_byte_now_and_then_is_not_idle(front: Front) -> None:
    client, upstream = opened(front, False)
    began = time.monotonic()
    client.settimeout(SHORT / 2)
    while time.monotonic() - began < 8 * SHORT:
        with pytest.raises(TimeoutError):
            client.recv(1)
        upstream.sendall(b"x")
        assert client.recv(1) == b"x"


@pytest.mark.parametrize("first", ["client", "upstream"])
def test_one_side_has_ended_and_the_other_does_not(front: Front, first: str) -> None:
    client, upstream = opened(front, False)
    ended, open_end = (client, upstream) if first == "client" else (upstream, client)
    ended.shutdown(socket.SHUT_WR)
    assert open_end.recv(1) == b""
    wait_for_reset(open_end)
    wait_for_reset(ended)
    record = logged(front, client, Reason.HALF_CLOSE_TIMEOUT)
    assert SHORT * 1000 <= record["total_ms"] < 4 * SHORT * 1000


@pytest.mark.parametrize("first", ["client", "upstream"])
def test_the_same_where_tls_ends(front: Front, first: str) -> None:
    client = TlsClient(front.connect(), front.authority.client_context(version=TLS_1_2), "end.test")
    upstream = front.accept()
    if first == "client":
        client.close_notify()
        assert upstream.recv(1) == b""
    else:
        upstream.shutdown(socket.SHUT_WR)
        assert client.receive() == b""
    wait_for_reset(client.sock)
    wait_for_reset(upstream)
    record = logged(front, client.sock, Reason.HALF_CLOSE_TIMEOUT)
    assert SHORT * 1000 <= record["total_ms"] < 4 * SHORT * 1000


def test_it_has_lived_long_enough(spyhole: Callable[..., SpyholeProcess], front: Front) -> None:
    with echo("git") as backend:
        proxy = spyhole(
            *("--listen", "127.0.0.1:0", "--route", f"*={backend.address}"),
            *("--max-lifetime", f"{SHORT}s", "--workers", "1"),
        )
        wire = client_hello("git.test")
        with connect(proxy.sockaddr()) as client:
            client.sendall(wire)
            with suppress(ConnectionResetError, BrokenPipeError):
                while client.recv(65536):
                    client.sendall(b"busy")
                raise AssertionError("a clean end, which it is not")
            record = proxy.record_of(client)
        assert backend.ended().how == "reset"
    assert (record["reason"], record["ended_by"]) == ("max_lifetime", "proxy")
    assert record["total_ms"] >= SHORT * 1000
    assert record["bytes_in"] > len(wire)
    assert record["bytes_out"] > len(wire)
