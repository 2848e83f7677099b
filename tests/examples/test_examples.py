"""The talk's five steps, each run as a program and met over real sockets."""

from __future__ import annotations

import signal
import socket
import ssl
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from support.backends import BOUND, echo, tls_echo
from support.certificates import TLS_1_2, TLS_1_3, Authority
from support.hellos import captured
from support.program import Program

EXAMPLES = Path(__file__).parents[2] / "examples"
STEPS = sorted(EXAMPLES.glob("step*.py"))

Start = Callable[..., tuple[Program, tuple[str, int]]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Runs an example on a free port; each ends by Ctrl-C, quietly."""
    running: list[Program] = []

    def run(name: str, *arguments: str | Path) -> tuple[Program, tuple[str, int]]:
        program = stack.enter_context(
            Program(sys.executable, "-Wd", "-u", EXAMPLES / f"{name}.py", "127.0.0.1:0", *arguments)
        )
        running.append(program)
        host, _, port = program.wait_for(r"listening on (\S+)")[1].rpartition(":")
        return program, (host, int(port))

    with ExitStack() as stack:
        yield run
        for program in running:
            program.signal(signal.SIGINT)
            assert program.wait() == 0
            assert "Traceback" not in program.text
            assert "Warning" not in program.text


def connect(address: tuple[str, int]) -> socket.socket:
    return socket.create_connection(address, BOUND)


def read_all(sock: socket.socket) -> bytes:
    return b"".join(iter(lambda: sock.recv(65536), b""))


def test_there_are_five_of_fewer_than_forty_lines() -> None:
    assert [step.name[:5] for step in STEPS] == ["step1", "step2", "step3", "step4", "step5"]
    for step in STEPS:
        assert len(step.read_text().splitlines()) < 40, step.name
        assert f"examples/{step.name}" in step.read_text()


def test_step1_serves_one_while_others_wait(start: Start) -> None:
    program, address = start("step1_accept_loop")
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(address)) for _ in range(5)]
        # the last to come is the first to be answered
        for number, client in reversed(list(enumerate(clients))):
            client.sendall(f"client {number}".encode())
            assert client.recv(100) == f"client {number}".encode()
        clients[0].shutdown(socket.SHUT_WR)
        assert read_all(clients[0]) == b""
        here = clients[0].getsockname()
        program.wait_for(f"{here[0]}:{here[1]} left")


def test_step2_carries_both_ways_and_the_client_ends_it(start: Start) -> None:
    with echo("upstream", greets="first") as backend:
        program, address = start("step2_simple_proxy", backend.address)
        with connect(address) as client:
            assert client.recv(100) == b"upstream\n"
            client.sendall(b"to and fro")
            assert client.recv(100) == b"to and fro"
        assert backend.ended().received == b"to and fro"
        program.wait_for("10 bytes up, 19 down, ended by the client: closed")


def test_step2_the_upstream_ends_it(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        program, address = start("step2_simple_proxy", f"127.0.0.1:{server.getsockname()[1]}")
        with connect(address) as client:
            upstream, _ = server.accept()
            upstream.sendall(b"good night")
            upstream.close()
            assert read_all(client) == b"good night"
        program.wait_for("ended by the upstream: closed")


def test_step2_nobody_at_the_upstream(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        nobody = f"127.0.0.1:{server.getsockname()[1]}"
    program, address = start("step2_simple_proxy", nobody)
    with connect(address) as client, pytest.raises(ConnectionResetError):
        client.recv(1)
    program.wait_for(f"DialError: {nobody}: Connection refused")


def test_step3_logs_the_name_and_says_no(start: Start) -> None:
    program, address = start("step3_server_name")
    context = ssl.create_default_context()
    context.set_alpn_protocols(["h2"])
    with connect(address) as client, pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"):
        context.wrap_socket(client, server_hostname="who.test")
    program.wait_for(r"asks for b'who.test' and offers \(b'h2',\)")


def test_step3_whatever_else_comes(start: Start) -> None:
    program, address = start("step3_server_name")
    with connect(address) as client:
        client.sendall(b"GET / HTTP/1.1\r\n")
        program.wait_for("does not speak TLS: b'GET / HTTP/1.1")
    with connect(address) as client:
        client.sendall(bytes.fromhex("1603010004 02000000"))
        assert read_all(client) == b"\x15\x03\x03\x00\x02\x02\x0a"
    program.wait_for("speaks broken TLS")
    with connect(address) as client:
        client.sendall(b"\x16\x03")
        program.wait_for(r"said too little for too long: b'\\x16\\x03'")  # after five seconds
        assert read_all(client) == b""


def test_step4_routes_by_name_and_keeps_the_bytes(start: Start, authority: Authority) -> None:
    one, two = authority.issue("one.test"), authority.issue("two.test")
    with (
        tls_echo("first", one.server_context()) as first,
        tls_echo("second", two.server_context()) as second,
    ):
        program, address = start(
            "step4_route_by_name", f"one.test={first.address}", f"two.test={second.address}"
        )
        for name, says in [("one.test", b"first\n"), ("TWO.test", b"second\n")]:
            with (
                connect(address) as plain,
                authority.client_context().wrap_socket(plain, server_hostname=name) as client,
            ):
                client.sendall(b"?")
                assert client.recv(100) == says + b"?"
        program.wait_for("one.test to .* bytes up, .* down")
        program.wait_for("two.test to .* bytes up, .* down")


def test_step4_the_upstream_gets_what_was_sent(start: Start) -> None:
    hello = next(each for each in captured() if each.server_name)
    assert hello.server_name is not None
    with echo("") as backend:
        _, address = start("step4_route_by_name", f"{hello.server_name.decode()}={backend.address}")
        with connect(address) as client:
            for byte in hello.wire:
                client.sendall(bytes([byte]))
            client.shutdown(socket.SHUT_WR)
            assert read_all(client) == b"\n" + hello.wire


def test_step4_refuses_strangers(start: Start) -> None:
    program, address = start("step4_route_by_name", "one.test=127.0.0.1:1")
    for name in ("three.test", None):
        context = ssl.create_default_context()
        context.check_hostname = False
        with connect(address) as client, pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"):
            context.wrap_socket(client, server_hostname=name)
        program.wait_for(f"asks for {name} and is refused")
    with connect(address) as client:
        client.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
        program.wait_for("does not speak TLS")
    with connect(address) as client:
        client.sendall(bytes.fromhex("1603010004 02000000"))
        assert read_all(client) == b"\x15\x03\x03\x00\x02\x02\x0a"
    program.wait_for("ClientHelloError")


@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3])
def test_step5_holds_the_key(start: Start, authority: Authority, version: ssl.TLSVersion) -> None:
    leaf = authority.issue("www.test")
    with echo("plain") as backend:
        program, address = start("step5_serve_tls", backend.address, leaf.cert, leaf.key)
        with (
            connect(address) as plain,
            authority.client_context(version=version).wrap_socket(plain, server_hostname="www.test") as tls,
        ):
            tls.sendall(b"in the clear")
            assert tls.recv(100) == b"plain\nin the clear"
            tls.unwrap()
        assert backend.ended().received == b"in the clear"
        program.wait_for(f"asks for b'www.test' by {'TLSv1.2' if version is TLS_1_2 else 'TLSv1.3'}")
        program.wait_for("12 bytes up, 18 down, ended by the client: closed")


def test_step5_a_failed_handshake_gets_its_alert(start: Start, authority: Authority) -> None:
    leaf = authority.issue("www.test")
    program, address = start("step5_serve_tls", "127.0.0.1:1", leaf.cert, leaf.key)
    context = authority.client_context(version=TLS_1_2)
    context.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256")  # the certificate is ECDSA
    outgoing = ssl.MemoryBIO()
    tls = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="www.test")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    with connect(address) as client:
        client.sendall(outgoing.read())
        assert read_all(client) == b"\x15\x03\x03\x00\x02\x02\x28"  # and then an end, no reset
    program.wait_for("TlsError")
