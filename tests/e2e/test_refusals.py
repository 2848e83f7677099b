"""Whoever is not carried is told why: by one alert where TLS is spoken, and the log has one line of it."""

from __future__ import annotations

import re
import socket
import ssl
import struct
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from spyhole.outcome import EndedBy, Reason
from spyhole.wire.alerts import Alert
from support.backends import echo
from support.certificates import TLS_1_2, TLS_1_3, Authority
from support.clients import Listener, TlsClient, client_hello, connect, read_to_end
from support.front import (
    NO_HELLO,
    NOT_CARRIED,
    SHORT,
    Front,
    closing,
    logged,
    refused,
    refusing_proxy,
    told,
    unused_port,
)
from support.hellos import hello, records, server_name
from support.proc import holders_of
from support.spyhole_process import SpyholeProcess

one_front = pytest.fixture(scope="module")(refusing_proxy)
front = pytest.fixture(closing)


class TestDecided:
    def test_no_route(self, front: Front) -> None:
        client = front.connect()
        client.sendall(client_hello("nowhere.test", alpn=("h2", "http/1.1"), version=TLS_1_3))
        record = refused(
            *(front, client, Reason.NO_ROUTE, Alert.UNRECOGNIZED_NAME),
            **{**NOT_CARRIED, "server_name": "nowhere.test", "route": None, "mode": None},
            alpn=["h2", "http/1.1"],
            tls_versions=["1.3"],
        )
        assert record["ja4"].startswith("t13d")

    def test_no_name_and_no_route_for_it(self, front: Front) -> None:
        client = front.connect()
        client.sendall(client_hello(None))
        refused(front, client, Reason.NO_ROUTE, Alert.UNRECOGNIZED_NAME, server_name=None, **NOT_CARRIED)

    def test_a_route_that_rejects(self, front: Front) -> None:
        client = front.connect()
        client.sendall(client_hello("a.b.reject.test"))
        refused(
            *(front, client, Reason.REJECTED, Alert.UNRECOGNIZED_NAME),
            **{**NOT_CARRIED, "route": "no entry", "mode": "reject"},
        )

    @pytest.mark.parametrize(
        "name",
        [
            b"pass.test\n",
            b"pass.test ",
            b"a..pass.test",
            b"*.pass.test",
            b"pass.test/",
            b"x" * 64 + b".test",
            b"\xff.test",
            b"\xc3\xa4.test",
            b"a%00.test",
        ],
    )
    def test_an_invalid_name(self, front: Front, name: bytes) -> None:
        client = front.connect()
        client.sendall(records(hello([server_name(name)])))
        refused(
            *(front, client, Reason.INVALID_SERVER_NAME, Alert.UNRECOGNIZED_NAME),
            **{**NOT_CARRIED, "route": None, "server_name": name.decode("latin-1")},
        )

    def test_no_certificate(self, front: Front) -> None:
        client = front.connect()
        client.sendall(client_hello("uncertified.test"))
        record = refused(
            *(front, client, Reason.NO_CERTIFICATE, Alert.UNRECOGNIZED_NAME),
            **{**NOT_CARRIED, "route": "end", "mode": "terminate", "handshake_ms": None},
        )
        assert "uncertified.test" in record["detail"]

    def test_the_alert_is_one_that_clients_understand(self, front: Front) -> None:
        for version in (TLS_1_2, TLS_1_3):
            context = front.authority.client_context(version=version)
            with front.connect() as client, pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
                context.wrap_socket(client, server_hostname="nowhere.test")


class TestHello:
    def test_a_malformed_one(self, front: Front) -> None:
        client = front.connect()
        client.sendall(records(hello([server_name(b"pass.test"), server_name(b"end.test")])))
        refused(front, client, Reason.MALFORMED_HELLO, Alert.ILLEGAL_PARAMETER, **NO_HELLO)

    def test_one_cut_short_by_its_own_lengths(self, front: Front) -> None:
        client = front.connect()
        client.sendall(records(hello(None, after=b"\0")))
        refused(front, client, Reason.MALFORMED_HELLO, Alert.DECODE_ERROR, **NO_HELLO)

    def test_one_that_is_too_large(self, front: Front) -> None:
        client = front.connect()
        client.sendall(records(hello([server_name(b"pass.test"), (0x1234, bytes(4096))])))
        expected = bytes.fromhex("150303000202")
        answer = told(client)
        record = front.proxy.record_of(client)
        assert record["reason"] == "hello_too_large"
        assert answer[:6] == expected
        assert record["alert"] == Alert(answer[6]).name.lower()
        client.close()

    def test_one_of_ssl_3(self, front: Front) -> None:
        """It would take an alert of another version for garbage."""
        client = front.connect()
        client.sendall(
            records(hello([server_name(b"pass.test")], legacy=0x0300)).replace(b"\3\1", b"\3\0", 1)
        )
        assert told(client) == Alert.HANDSHAKE_FAILURE.record(0x0300)
        logged(front, client, Reason.MALFORMED_HELLO, Alert.HANDSHAKE_FAILURE, **NO_HELLO)

    @pytest.mark.parametrize("first", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x00\x84", b"SSH-2.0-x\r\n"])
    def test_not_tls(self, front: Front, first: bytes) -> None:
        client = front.connect()
        client.sendall(first)
        refused(front, client, Reason.NOT_TLS, **{**NO_HELLO, "server_name": None})

    def test_not_tls_where_a_route_takes_it(self, front: Front) -> None:
        client = front.connect(1)
        client.sendall(b"SSH-2.0-x\r\n")
        upstream = front.accept()
        assert upstream.recv(100) == b"SSH-2.0-x\r\n"
        upstream.sendall(b"SSH-2.0-y\r\n")
        upstream.shutdown(socket.SHUT_WR)
        assert told(client) == b"SSH-2.0-y\r\n"
        client.shutdown(socket.SHUT_WR)
        assert upstream.recv(1) == b""
        logged(
            *(front, client, Reason.CLOSED),
            ended_by=EndedBy.UPSTREAM,
            route="not tls",
            mode="passthrough",
            bytes_in=11,
            bytes_out=11,
            ja4=None,
        )

    def test_tls_where_only_a_route_without_it_would_match(self, front: Front) -> None:
        client = front.connect(1)
        client.sendall(client_hello("nowhere.test"))
        refused(front, client, Reason.NO_ROUTE, Alert.UNRECOGNIZED_NAME, **NOT_CARRIED)

    @pytest.mark.parametrize("sent", [0, 1, 5, 60])
    def test_a_client_that_ends_early(self, front: Front, sent: int) -> None:
        client = front.connect()
        client.sendall(client_hello("pass.test")[:sent])
        client.shutdown(socket.SHUT_WR)
        alert = Alert.DECODE_ERROR if sent else None
        assert told(client) == (b"" if alert is None else alert.record())
        record = logged(
            *(front, client, Reason.CLIENT_CLOSED_EARLY, alert),
            **{**NO_HELLO, "ended_by": EndedBy.CLIENT, "server_name": None},
        )
        assert record["detail"] == f"{sent} bytes came"


class TestHandshake:
    def test_the_handshake_fails(self, front: Front, tmp_path: Path) -> None:
        context = Authority(tmp_path, "another").client_context(version=TLS_1_3)
        client = front.connect()
        with pytest.raises(ssl.SSLCertVerificationError):
            TlsClient(client, context, "end.test")
        record = logged(
            front, client, Reason.HANDSHAKE_FAILED, ended_by=EndedBy.CLIENT, **NOT_CARRIED, mode="terminate"
        )
        assert record["detail"] == "peer sent alert unknown_ca"

    def test_no_version_in_common(self, front: Front) -> None:
        client = front.connect()
        client.sendall(records(hello([server_name(b"end.test")], legacy=0x0302)))
        assert told(client) == Alert.PROTOCOL_VERSION.record(0x0302), "by OpenSSL, in the client's version"
        logged(
            *(front, client, Reason.HANDSHAKE_FAILED, Alert.PROTOCOL_VERSION),
            **{**NOT_CARRIED, "mode": "terminate", "tls_versions": ["1.1", "1.0"]},
        )


class TestUpstream:
    def test_dead(self, front: Front) -> None:
        client = front.connect()
        client.sendall(client_hello("dead.test"))
        record = refused(
            *(front, client, Reason.UPSTREAM_REFUSED, Alert.INTERNAL_ERROR),
            upstream=front.dead,
            connect_ms=None,
            mode="passthrough",
        )
        assert "refused" in record["detail"]

    def test_dead_behind_termination(self, front: Front) -> None:
        """There the handshake is done, and the standard library can't send an alert: a reset."""
        client = front.connect()
        TlsClient(client, front.authority.client_context(), "end-dead.test")
        with pytest.raises(ConnectionResetError):
            read_to_end(client)
        logged(front, client, Reason.UPSTREAM_REFUSED, upstream=front.dead, mode="terminate")

    def test_one_that_does_not_answer(self, front: Front) -> None:
        client = front.connect()
        client.sendall(client_hello("blackhole.test"))
        record = refused(
            *(front, client, Reason.UPSTREAM_TIMEOUT, Alert.INTERNAL_ERROR),
            upstream=front.blackhole,
            connect_ms=None,
        )
        assert record["total_ms"] >= SHORT * 1000

    def test_a_client_that_resets_is_not_waited_for(self, spyhole: Callable[..., SpyholeProcess]) -> None:
        with ExitStack() as stack:
            blackhole = stack.enter_context(Listener(backlog=0))
            stack.enter_context(socket.socket()).connect(blackhole.sockaddr)
            proxy = spyhole(
                *("--listen", "127.0.0.1:0", "--route", f"*={blackhole.address}", "--workers", "1"),
                *("--connect-timeout", "1h"),
            )
            client = connect(proxy.sockaddr())
            client.sendall(client_hello("a.test"))
            (worker,) = proxy.worker_pids()
            while None in holders_of([client], [worker]):
                pass
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
            (record,) = proxy.access_records(1)
            assert (record["reason"], record["ended_by"]) == ("client_closed_waiting", "client")
            assert record["upstream"] == blackhole.address

    def test_one_that_does_not_resolve(self, front: Front) -> None:
        client = front.connect()
        client.sendall(client_hello("unresolved.test"))
        refused(
            *(front, client, Reason.UPSTREAM_UNRESOLVED, Alert.INTERNAL_ERROR),
            upstream="no-such-host.invalid:443",
        )

    def test_a_unix_socket_that_is_not_there(
        self, spyhole: Callable[..., SpyholeProcess], tmp_path: Path
    ) -> None:
        proxy = spyhole("--listen", "127.0.0.1:0", "--route", f"*=unix:{tmp_path}/none.sock")
        with connect(proxy.sockaddr()) as client:
            client.sendall(client_hello("a.test"))
            assert read_to_end(client) == Alert.INTERNAL_ERROR.record()
            assert proxy.record_of(client)["reason"] == "upstream_refused"

    def test_the_next_server_is_tried(self, spyhole: Callable[..., SpyholeProcess]) -> None:
        with echo("alive") as alive, ExitStack() as stack:
            dead = f"127.0.0.1:{unused_port(stack)}"
            proxy = spyhole(
                config=f"""
                    workers = 1
                    listeners = [{{ bind = "127.0.0.1:0" }}]
                    routes = [{{ upstream = "two" }}]
                    upstreams.two.servers = ["{dead}", "{alive.address}"]
                """
            )
            for _ in range(4):
                with connect(proxy.sockaddr()) as client:
                    client.sendall(client_hello("a.test"))
                    assert client.recv(6) == b"alive\n"
            proxy.stop()
            assert {record["upstream"] for record in proxy.access_records(4)} == {alive.address}


def test_the_human_form(spyhole: Callable[..., SpyholeProcess]) -> None:
    proxy = spyhole(
        *("--listen", "127.0.0.1:0", "--route", "a.test=reject", "--workers", "1"),
        *("--access-log-format", "human"),
    )
    for first in (client_hello("a.test"), client_hello("b.test"), b"GET / HTTP/1.1\r\n\r\n"):
        with connect(proxy.sockaddr()) as client:
            client.sendall(first)
            read_to_end(client)
    lines = proxy.access_log_lines(3)
    when = r"\d\d:\d\d:\d\d\.\d{3} 127\.0\.0\.1:\d+ +"
    patterns = [
        when + r"a\.test +✕ \[routes\[1\]\] rejected.*, alert unrecognized_name, \d\.\d\d s",
        when + r"b\.test +✕ no_route.*, alert unrecognized_name, \d\.\d\d s",
        when + r"- +✕ not_tls.*, \d\.\d\d s",
    ]
    for pattern, line in zip(patterns, lines, strict=True):
        assert re.fullmatch(pattern, line), line
