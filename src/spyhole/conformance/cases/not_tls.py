"""Other protocols on the same port, and whether the proxy still serves after all of it."""

from __future__ import annotations

import hashlib
from typing import Final

from spyhole.conformance.case import Case, Group, Severity
from spyhole.conformance.cases.plain import WIRE

_NOT_TLS: Final = "not TLS, so nothing that routes by server name may take it for a client of a backend"


def cases() -> list[Case]:
    noise = hashlib.shake_256(b"spyhole").digest
    first = {
        "HTTP/1.1": b"GET / HTTP/1.1\r\nHost: alpha.conformance.test\r\n\r\n",
        "HTTP CONNECT": b"CONNECT alpha.conformance.test:443 HTTP/1.1\r\n\r\n",
        "HTTP/2 in plaintext": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000"),
        "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
        "SMTP": b"EHLO client.test\r\n",
        "IMAP": b"a1 STARTTLS\r\n",
        "PostgreSQL, asking for TLS": bytes.fromhex("0000000804d2162f"),
        "MySQL, asking for TLS": bytes.fromhex(
            "2000000185ae7f0000000001210000000000000000000000000000000000000000000000"
        ),
        "RDP": bytes.fromhex("030000130ee000000000000100080003000000"),
        "Redis": b"*1\r\n$4\r\nPING\r\n",
        "SOCKS5": bytes.fromhex("050100"),
        "OpenVPN": bytes.fromhex("000e38") + noise(8) + bytes(5),
        "the PROXY protocol, version 1": b"PROXY TCP4 192.0.2.1 192.0.2.2 1 443\r\n" + WIRE,
        "the PROXY protocol, version 2": bytes.fromhex("0d0a0d0a000d0a515549540a20000000") + WIRE,
        "16 00 84, which is no record": b"\x16\x00\x84" + noise(200),
        "16 and nothing that fits": b"\x16" * 64,
        "16 03 and text": b"\x16\x03GET / HTTP/1.1\r\n\r\n",
        "zeros": bytes(1024),
        "ones": b"\xff" * 1024,
        "random bytes": noise(1024),
        "64 KiB of random bytes": noise(65_536),
        "an empty line, and then a hello": b"\r\n" + WIRE,
        "a hello without its first byte": WIRE[1:],
        "a hello without its record": WIRE[5:],
    }
    return [
        Case(Group.NOT_TLS, name, _NOT_TLS, wire, Severity.LOW, tls=False) for name, wire in first.items()
    ]


def afterwards(routes: int) -> Case:
    """Asked of every proxy at its end."""
    return Case(
        Group.AFTERWARDS,
        f"a hello after all that, {routes:,} route{'s' * (routes != 1)}",
        "whatever strangers send, the next client is served, and at once",
        WIRE,
        Severity.HIGH,
    )
