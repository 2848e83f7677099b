"""Every accepted connection gets one line, whatever became of it, and no log makes a connection wait."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from support.backends import echo, recorder, tls_echo
from support.certificates import TLS_1_2, TLS_1_3, Authority
from support.spyhole_process import SpyholeProcess

Start = Callable[..., SpyholeProcess]
LISTEN = ("--listen", "127.0.0.1:0", "--workers", "1")


def talk(proxy: SpyholeProcess, context: ssl.SSLContext, name: str, message: bytes) -> bytes:
    """One TLS connection to its clean end; what was answered."""
    with (
        socket.create_connection(proxy.sockaddr()) as plain,
        context.wrap_socket(plain, server_hostname=name) as tls,
    ):
        tls.sendall(message)
        answer = b""
        while message not in answer:
            answer += tls.recv(65536)
        tls.unwrap()
        return answer


def knock(proxy: SpyholeProcess, data: bytes) -> None:
    """Send raw bytes and the FIN, and wait for the end."""
    with socket.create_connection(proxy.sockaddr()) as client:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        with suppress(ConnectionResetError):
            while client.recv(4096):
                pass


def test_a_connection_that_passed_through(spyhole: Start, authority: Authority) -> None:
    context = authority.issue("git.test").server_context()
    with tls_echo("git", context) as backend:
        proxy = spyhole(*LISTEN, "--route", f"git.test={backend.address}")
        assert (
            talk(proxy, authority.client_context(alpn=("h2", "http/1.1")), "git.test", b"hello")
            == b"git\nhello"
        )
        (line,) = proxy.access_records(1)
    assert line["client"].startswith("127.0.0.1:")
    assert line["server_name"] == "git.test"
    assert line["alpn"] == ["h2", "http/1.1"]
    assert line["tls_versions"][:2] == ["1.3", "1.2"]
    assert line["ja4"].startswith("t13d")
    assert (line["mode"], line["upstream"]) == ("passthrough", backend.address)
    assert line["bytes_in"] > 400  # a hello, at least
    assert line["bytes_out"] > 400  # a certificate, at least
    assert 0 <= line["hello_ms"] <= line["total_ms"]
    assert 0 <= line["connect_ms"] <= line["total_ms"]
    assert (line["handshake_ms"], line["tls_version"], line["cipher"], line["alert"]) == (None,) * 4
    # Which FIN is first is up to the two TLS stacks: each has had the other's close_notify.
    assert line["ended_by"] in {"client", "upstream"}
    assert line["reason"] == "closed"


@pytest.mark.parametrize(("version", "name"), [(TLS_1_2, "1.2"), (TLS_1_3, "1.3")])
def test_a_connection_that_was_terminated(
    spyhole: Start, authority: Authority, version: ssl.TLSVersion, name: str
) -> None:
    leaf = authority.issue("www.test")
    with echo("www") as backend:
        proxy = spyhole(
            *LISTEN,
            "--route",
            f"www.test=terminate:{backend.address}",
            "--cert",
            leaf.cert,
            "--key",
            leaf.key,
        )
        assert talk(proxy, authority.client_context(version=version), "www.test", b"hello") == b"www\nhello"
        (line,) = proxy.access_records(1)
    assert line["mode"] == "terminate"
    assert line["tls_versions"][0] == line["tls_version"] == name
    assert "GCM" in line["cipher"] or "CHACHA20" in line["cipher"]
    assert (line["bytes_in"], line["bytes_out"]) == (5, 9)
    assert 0 < line["handshake_ms"] <= line["total_ms"]
    assert (line["ended_by"], line["reason"]) == ("client", "closed")


def test_connections_that_were_refused(spyhole: Start, authority: Authority, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        nobody = f"127.0.0.1:{unused.getsockname()[1]}"
    proxy = spyhole(*LISTEN, "--route", f"git.test={nobody}", "--route", "no.test=reject")
    context = authority.client_context()
    for name, alert in (
        ("other.test", "UNRECOGNIZED_NAME"),
        ("no.test", "UNRECOGNIZED_NAME"),
        ("git.test", "INTERNAL_ERROR"),
    ):
        with socket.create_connection(proxy.sockaddr()) as plain, pytest.raises(ssl.SSLError, match=alert):
            context.wrap_socket(plain, server_hostname=name)
    knock(proxy, b"GET / HTTP/1.1\r\n\r\n")
    knock(proxy, b"\x16\x03\x01")
    knock(proxy, b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00")
    lines = {line["reason"]: line for line in proxy.access_records(6)}
    assert list(lines) == [
        "no_route", "rejected", "upstream_refused", "not_tls", "client_closed_early", "malformed_hello"
    ]  # fmt: skip
    assert lines["no_route"]["alert"] == lines["rejected"]["alert"] == "unrecognized_name"
    assert (lines["no_route"]["route"], lines["no_route"]["upstream"]) == (None, None)
    assert lines["upstream_refused"]["upstream"] == nobody
    assert lines["malformed_hello"]["alert"] is not None
    assert lines["malformed_hello"]["detail"]
    assert lines["client_closed_early"]["ended_by"] == "client"


def test_a_line_for_people(spyhole: Start, authority: Authority) -> None:
    context = authority.issue("git.test").server_context()
    with tls_echo("git", context) as backend:
        proxy = spyhole(*LISTEN, "--route", f"git.test={backend.address}", "--access-log-format", "human")
        talk(proxy, authority.client_context(), "git.test", b"hello")
        (line,) = proxy.access_log_lines(1)
    assert f" git.test                 → {backend.address} passthrough [" in line
    assert line.endswith((" s, closed by client", " s, closed by upstream"))


def test_connections_are_served_on_a_full_disk(spyhole: Start, authority: Authority) -> None:
    context = authority.issue("git.test").server_context()
    with tls_echo("git", context) as backend:
        proxy = spyhole(*LISTEN, "--route", f"git.test={backend.address}", "--access-log", "/dev/full")
        for _ in range(3):
            assert talk(proxy, authority.client_context(), "git.test", b"hello") == b"git\nhello"
        assert "No space left on device" in proxy.wait_for_error_log("access_log")
        assert proxy.stop() == 0


def test_a_reader_that_does_not_read_keeps_nobody_waiting(tmp_path: Path) -> None:
    """A pipe of one page holds a dozen lines; the fourth dozen is served as fast as the first."""
    reader, writer = os.pipe()
    with recorder() as backend:
        process = subprocess.Popen(
            [sys.executable, "-m", "spyhole", "run", *LISTEN, "--route", f"*={backend.address}"],
            stdout=writer, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
        )  # fmt: skip
        os.close(writer)
        try:
            assert process.stderr is not None
            ready = process.stderr.readline()
            address = ready.strip().rpartition(" ")[2].rpartition(":")
            os.set_blocking(reader, False)
            for _ in range(300):
                with socket.create_connection((address[0], int(address[2]))) as client:
                    client.sendall(b"not tls, and refused with a line of its own")
                    client.shutdown(socket.SHUT_WR)
                    with suppress(ConnectionResetError):
                        assert client.recv(1) == b""
            os.set_blocking(reader, True)
            process.terminate()
            with os.fdopen(reader, "rb") as stream:
                lines = [json.loads(line) for line in stream]
            assert [line["reason"] for line in lines] == ["not_tls"] * 300
            process.stderr.read()
            assert process.wait() == 0
        finally:
            process.kill()
            process.wait()
            if process.stderr is not None:
                process.stderr.close()
