"""The helpers of other tests, tested: a helper that lies makes every test that uses it lie."""

from __future__ import annotations

import socket
import ssl
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from support import backends
from support.certificates import TLS_1_2, TLS_1_3, Authority
from support.spyhole_process import SpyholeProcess
from support.tools import needs, nginx_stream_prelude, tool

IPV4_AND_IPV6 = pytest.mark.parametrize("at", ["127.0.0.1", "::1"])


def dial(backend: backends.Backend) -> socket.socket:
    family = socket.AF_UNIX if isinstance(backend.sockaddr, str) else socket.AF_INET
    sock = socket.socket(
        socket.AF_INET6 if len(backend.sockaddr) == 4 and family != socket.AF_UNIX else family
    )
    sock.connect(backend.sockaddr)
    return sock


def read_all(sock: socket.socket) -> bytes:
    return b"".join(iter(lambda: sock.recv(65536), b""))


class TestBackends:
    @IPV4_AND_IPV6
    def test_echo_names_itself_in_its_reply_and_ends_after_the_peer(self, at: str) -> None:
        with backends.echo("git", at=at) as backend, dial(backend) as client:
            client.sendall(b"hello")
            client.shutdown(socket.SHUT_WR)
            assert read_all(client) == b"git\nhello"
            assert backend.ended() == backends.Ended(b"hello", "eof")

    def test_echo_can_speak_first(self) -> None:
        with backends.echo("smtp", greets="first") as backend, dial(backend) as client:
            assert client.recv(100) == b"smtp\n"

    def test_a_unix_socket(self, tmp_path: Path) -> None:
        with backends.recorder(at=tmp_path / "b.sock") as backend, dial(backend) as client:
            assert backend.address == f"unix:{tmp_path}/b.sock"
            client.sendall(b"abc")
            client.shutdown(socket.SHUT_WR)
            assert read_all(client) == b"abc"

    def test_the_recorder_is_silent_until_the_end(self) -> None:
        with backends.recorder() as backend, dial(backend) as client:
            client.sendall(b"x" * 300_000)
            with pytest.raises(BlockingIOError):
                client.recv(1, socket.MSG_DONTWAIT)
            client.shutdown(socket.SHUT_WR)
            assert read_all(client) == b"x" * 300_000

    def test_a_reset_is_told_from_an_end(self) -> None:
        with backends.recorder() as backend, dial(backend) as client:
            client.sendall(b"abc")
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
            assert backend.ended().how == "reset"

    def test_closing_ends_connections_that_are_open(self) -> None:
        with backends.echo("git") as backend, dial(backend) as client:
            client.sendall(b"x")
            client.recv(100)
            backend.close()
            assert client.recv(100) == b""

    @pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3])
    @pytest.mark.parametrize("key", ["ecdsa", "rsa"])
    def test_tls_echo_shows_its_certificate(
        self, authority: Authority, version: ssl.TLSVersion, key: str
    ) -> None:
        leaf = authority.issue("www.test", key=key)  # type: ignore[arg-type]
        context = authority.client_context(alpn=("h2", "http/1.1"), version=version)
        with (
            backends.tls_echo("www", leaf.server_context(alpn=("http/1.1",))) as backend,
            context.wrap_socket(dial(backend), server_hostname="www.test") as client,
        ):
            client.sendall(b"hello")
            assert client.recv(100) == b"www\nhello"
            assert client.selected_alpn_protocol() == "http/1.1"
            assert client.version() == {TLS_1_2: "TLSv1.2", TLS_1_3: "TLSv1.3"}[version]
            client.unwrap().close()
            assert backend.ended() == backends.Ended(b"hello", "eof")

    def test_tls_cut_off_is_told_from_close_notify(self, authority: Authority) -> None:
        context = authority.issue("www.test").server_context()
        with backends.tls_echo("www", context) as backend:
            client = authority.client_context().wrap_socket(dial(backend), server_hostname="www.test")
            client.sendall(b"hello")
            client.recv(100)
            client.close()
            assert backend.ended() == backends.Ended(b"hello", "tls_error")


def test_an_expired_certificate_is_refused(authority: Authority) -> None:
    context = authority.issue("old.test", expired=True).server_context()
    with backends.tls_echo("old", context) as backend, dial(backend) as plain:
        with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
            authority.client_context().wrap_socket(plain, server_hostname="old.test")
        assert backend.ended().how == "tls_error"


FAKE = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
print("spyhole: ready, listening on 127.0.0.1:4431, [::1]:4432, unix:/run/x", file=sys.stderr, flush=True)
for n in (1, 2):
    print('{"n":%d}' % n, flush=True)
if len(sys.argv) > 1:
    print("Traceback (most recent call last):", file=sys.stderr, flush=True)
signal.pause()
"""


class TestSpyholeProcess:
    def start(self, directory: Path, *arguments: str) -> SpyholeProcess:
        return SpyholeProcess(*arguments, directory=directory, command=(sys.executable, "-c", FAKE))

    def test_it_reads_addresses_log_and_status(self, tmp_path: Path) -> None:
        process = self.start(tmp_path)
        try:
            assert process.addresses == ["127.0.0.1:4431", "[::1]:4432", "unix:/run/x"]
            assert [process.sockaddr(n) for n in range(3)] == [("127.0.0.1", 4431), ("::1", 4432), "/run/x"]
            assert process.access_records(2) == [{"n": 1}, {"n": 2}]
            assert process.stop() == 3
        finally:
            process.finish()

    def test_a_traceback_fails_the_test(self, tmp_path: Path) -> None:
        process = self.start(tmp_path, "trace")
        process.wait_for_error_log("Traceback")
        with pytest.raises(AssertionError, match="Traceback"):
            process.finish()

    def test_one_that_does_not_get_ready_is_told_with_its_stderr(self, tmp_path: Path) -> None:
        with pytest.raises(AssertionError, match="no such flag"):
            SpyholeProcess(
                directory=tmp_path, command=(sys.executable, "-c", "raise SystemExit('no such flag')")
            )


class TestTools:
    def test_a_tool_without_a_package_is_a_mistake(self) -> None:
        with pytest.raises(KeyError, match="unknown tool"):
            needs("nosuchtool")

    @needs("nginx-stream")
    def test_the_stream_module_loads(self, tmp_path: Path) -> None:
        config = tmp_path / "nginx.conf"
        files = f"pid {tmp_path}/pid; error_log {tmp_path}/log;"
        config.write_text(f"{nginx_stream_prelude()}{files} events {{}} stream {{}}\n")
        subprocess.run([tool("nginx"), "-t", "-q", "-c", config], check=True, capture_output=True)
