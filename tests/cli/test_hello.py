"""`spyhole hello`: what it shows of a file, and of the next connection on a real socket."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from spyhole.cli.hello import hello as command
from spyhole.wire.alerts import Alert
from support.backends import BOUND
from support.hellos import captured, hello, record, records, server_name, vector

CHROME = next(real for real in captured() if "chrome146" in real.client)
BROKEN = records(hello([server_name(b"a.test"), (10, b"\0\1\0")]))


def run(*arguments: str, data: bytes = b"") -> Result:
    return CliRunner().invoke(command, arguments, input=data)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "hello"


@pytest.mark.parametrize(
    "contents",
    [
        CHROME.wire,
        CHROME.wire.hex().encode(),
        CHROME.wire.hex(":").upper().encode() + b"\n",
        CHROME.wire.hex(" ", 2).encode() + b"\r\n",
        CHROME.raw,
        records(CHROME.raw, [1]),
        CHROME.wire + record(b"early data", 23),
    ],
    ids=["raw", "hex", "colons", "groups", "no record header", "one byte a record", "and more"],
)
def test_reads_a_file_however_it_is_written(file: Path, contents: bytes) -> None:
    file.write_bytes(contents)
    result = run(str(file), "--format", "json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["server_name"] == "shop.example.test"


def test_reads_standard_input() -> None:
    result = run("-", data=CHROME.wire)
    assert result.exit_code == 0
    assert "shop.example.test" in result.stdout


def test_text_shows_what_a_person_looks_for(file: Path) -> None:
    file.write_bytes(CHROME.wire)
    shown = run(str(file)).stdout
    for text in (
        "h2, http/1.1",
        "TLS 1.3, TLS 1.2",
        "yes: sends a key share of X25519MLKEM768",
        "probably GREASE",
        "t13d1516h2_8daaf6152771_",
        "0x1301  TLS_AES_128_GCM_SHA256",
        "application_layer_protocol_negotiation: h2, http/1.1",
        "X25519MLKEM768 (post-quantum), 1216 bytes",
        "ecdsa_secp256r1_sha256",
    ):
        assert text in shown


def test_a_malformed_hello_is_an_error_with_its_place_and_alert(file: Path) -> None:
    file.write_bytes(BROKEN)
    result = run(str(file))
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines() == [
        "error: bad_extension: supported_groups: an empty list, or lengths that disagree",
        "  at byte 68 of the handshake message",
        "  server name: a.test",
        "  the proxy answers with alert decode_error (50)",
    ]


def test_a_malformed_hello_as_json(file: Path) -> None:
    file.write_bytes(BROKEN)
    result = run(str(file), "--format", "json")
    assert result.exit_code == 1
    assert json.loads(result.stdout) == {
        "error": {
            "reason": "bad_extension",
            "detail": "supported_groups: an empty list, or lengths that disagree",
            "offset": 68,
            "alert": {"code": 50, "name": "decode_error"},
            "server_name": "a.test",
        }
    }


@pytest.mark.parametrize(
    ("contents", "reason"),
    [(b"GET / HTTP/1.1\r\n\r\n", "not_tls"), (CHROME.wire[:-1], "cut_short"), (b"\x1b[31m\x07", "not_tls")],
)
def test_what_is_no_hello_is_an_error(contents: bytes, reason: str) -> None:
    result = run("-", data=contents)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"error: {reason}: ")
    assert "\x1b" not in result.stderr


def test_names_are_shown_escaped() -> None:
    result = run("-", data=records(hello([server_name(b"\x1b[2Ja\nb\\c")])))
    assert result.exit_code == 0
    assert "\\x1b[2Ja\\x0ab\\x5cc" in result.stdout
    assert "\x1b" not in result.stdout


@pytest.mark.parametrize(
    "arguments", [[], ["FILE", "--listen", "127.0.0.1:0"], ["/nowhere/hello"], ["--listen", "x"]]
)
def test_a_wrong_command_line(arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2


def test_help_is_short_and_has_examples() -> None:
    shown = run("--help").output
    assert "spyhole hello --listen 127.0.0.1:8443" in shown
    assert len(shown.splitlines()) < 30


# on a real socket


@contextmanager
def listening(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], tuple[str, int]]]:
    """The command, waiting on a port of loopback that the kernel picked."""
    code = "from spyhole.cli.hello import hello; hello()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "--listen", "127.0.0.1:0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        said = process.stderr.readline()
        assert said.startswith("waiting for a ClientHello on 127.0.0.1:"), said
        yield process, ("127.0.0.1", int(said.rpartition(":")[2]))
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("pieces", "alert", "code"),
    [
        ([CHROME.wire], Alert.HANDSHAKE_FAILURE, 0),
        ([CHROME.wire[:7], CHROME.wire[7:]], Alert.HANDSHAKE_FAILURE, 0),
        ([BROKEN], Alert.DECODE_ERROR, 1),
        ([b"GET / HTTP/1.1\r\n\r\n"], None, 1),
    ],
    ids=["whole", "in two", "malformed", "not TLS"],
)
def test_the_next_connection_is_decoded_and_answered(
    pieces: list[bytes], alert: Alert | None, code: int
) -> None:
    with listening("--format", "json") as (process, address):
        with socket.create_connection(address) as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for piece in pieces:
                client.sendall(piece)
            answered = b"".join(iter(lambda: client.recv(100), b""))
        output, errors = process.communicate(timeout=BOUND)
        assert answered == (alert.record() if alert else b"")
        assert process.returncode == code, errors
        if code == 0:
            assert json.loads(output)["server_name"] == "shop.example.test"


def test_a_client_that_goes_away_early() -> None:
    with listening() as (process, address):
        with socket.create_connection(address) as client:
            client.sendall(CHROME.wire[:100])
        _, errors = process.communicate(timeout=BOUND)
        assert process.returncode == 1
        assert errors.startswith("error: cut_short: 100 bytes")


def test_ctrl_c_ends_it_neatly() -> None:
    with listening() as (process, _):
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=BOUND)
        assert (process.returncode, output, errors) == (130, "", "")


def test_waits_no_longer_than_told() -> None:
    with listening("--timeout", "0.01") as (process, _):
        _, errors = process.communicate(timeout=BOUND)
        assert process.returncode == 1
        assert "nobody connected" in errors


def test_the_address_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = run("--listen", f"127.0.0.1:{taken.getsockname()[1]}")
    assert result.exit_code == 2
    assert "can't listen" in result.stderr


def test_a_unix_socket_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    result = run("--listen", f"unix:{path}", "--timeout", "0.01")
    assert result.exit_code == 1
    assert not path.exists()


def test_an_ech_hello_is_told_apart_by_its_name() -> None:
    ech = (0xFE0D, b"\0\0\1\0\1\x07" + vector(bytes(32), 2) + vector(bytes(144), 2))
    for name, expected in ((b"cloudflare-ech.com", "probably real"), (b"a.test", "probably GREASE")):
        result = run("-", "--format", "json", data=records(hello([server_name(name), ech])))
        assert json.loads(result.stdout)["ech"]["kind"] == expected
