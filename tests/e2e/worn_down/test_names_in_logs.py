"""A client chooses bytes that end up in the logs: each connection stays one line, and no line acts."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest

from support.certificates import Authority
from support.clients import connect, read_to_end
from support.hellos import alpn, hello, records, server_name
from support.spyhole_process import SpyholeProcess

NAMES = {
    "newline": b'a.test\n{"time":"2026-01-01T00:00:00.000Z","client":"192.0.2.1:1"}',
    "carriage return": b"a.test\r\rforged",
    "escape sequence": b"\x1b[2J\x1b]0;owned\x07\x1b[31ma.test",
    "quotes": b'a.test","reason":"closed","x":"',
    "backslashes": b"a.test\\\\\\n\\u0000\\",
    "NUL": b"a.test\x00.evil.test",
    "every byte": bytes(range(1, 256)),
    "UTF-8": "ä.test\u2028\u2029\u202e\u200b\U0001f600".encode(),
    "broken UTF-8": b"\xff\xfe\xc3\x28\xed\xa0\x80\xf8",
    "C1 controls": b"\x80\x85\x9b31m\x9d0;x\x9c",
    "percents": b"%s%n%(message)s{0}{time}%00",
    "markup": b"<script>alert(1)</script>'; --",
    "spaces": b" a.test 127.0.0.1:1 closed by client ",
    "64 KiB": b'\n\x1b"\\' * 16_250,
    "64 KiB of one label": b"a" * 65_000,
}


def knocks() -> list[bytes]:
    """What the clients send: each name as server name, as ALPN, and as the first bytes of all."""
    sent = [records(hello([server_name(name)])) for name in NAMES.values()]
    sent += [
        records(
            hello([server_name(b"a.test"), alpn(*(name[i : i + 255] for i in range(0, len(name), 255)))])
        )
        for name in NAMES.values()
    ]
    return [*sent, *NAMES.values()]


@pytest.mark.parametrize("form", ["json", "human"])
def test_one_line_for_each(spyhole: Callable[..., SpyholeProcess], authority: Authority, form: str) -> None:
    leaf = authority.issue("b.test")
    proxy = spyhole(
        *("--listen", "127.0.0.1:0", "--workers", "1", "--access-log-format", form, "--log-level", "debug"),
        *("--route", "a.test=reject", "--route", "b.test=terminate:127.0.0.1:1"),
        *("--cert", leaf.cert, "--key", leaf.key),
    )
    clients = []
    for data in knocks():
        with connect(proxy.sockaddr()) as client:
            clients.append("{}:{}".format(*client.getsockname()))
            client.sendall(data)
            read_to_end(client)
    lines = proxy.access_log_lines(len(clients))
    assert proxy.stop() == 0
    assert len(proxy.access_log_lines(0)) == len(clients)
    for client, line in zip(clients, lines, strict=True):
        assert client in line
        assert line.isprintable(), "nothing that a terminal would act on"
        assert len(line.encode()) < 4096
    if form == "json":
        for line in lines:
            assert line.isascii()
            assert re.fullmatch(r"127\.0\.0\.1:\d+", json.loads(line)["client"])
        for name, line in zip(NAMES.values(), lines, strict=False):
            record = json.loads(line)
            if record["server_name"] is None:  # OpenSSL refuses it: not even a name
                assert record["reason"] == "malformed_hello"
                continue
            shown, _, cut = record["server_name"].partition("…(+")
            assert shown.encode("latin-1") == name[: len(shown)]
            assert len(shown) + int(cut[:-1] or 0) == len(name)
    said = proxy.error_log_lines()
    assert all(line.isprintable() for line in said)
    assert all(re.match(r"(\S+Z (debug|info|warning|error) \S+ |spyhole: )", line) for line in said)
