"""`spyhole explain` promises what `spyhole run` does: each knock gets the route and reason foretold."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from spyhole.cli.explain import explain
from spyhole.wire.alerts import Alert
from support.backends import echo
from support.certificates import Authority
from support.spyhole_process import SpyholeProcess

CONFIG = """
workers = 1

[[listeners]]
name = "public"
bind = "127.0.0.1:0"

[[listeners]]
name = "admin"
bind = "127.0.0.1:0"

[[routes]]
name = "git"
sni = "git.example.com"
upstream = "{backend}"

[[routes]]
name = "h2 only"
sni = "*.example.com"
alpn = "h2"
upstream = "{backend}"

[[routes]]
name = "elsewhere"
sni = "**.example.com"
from = "10.0.0.0/8"
upstream = "{backend}"

[[routes]]
name = "here"
sni_regex = "[a-z]+[.]b[.]example[.]com"
from = "127.0.0.0/8"
upstream = "{backend}"

[[routes]]
name = "uncovered"
sni = "uncovered.test"
mode = "terminate"
upstream = "{backend}"

[[routes]]
name = "old"
sni = "old.test"
mode = "reject"

[[routes]]
name = "rest of admin"
listener = "admin"
upstream = "{backend}"

[[routes]]
name = "plain"
tls = false
listener = "admin"
upstream = "{backend}"

[[certificates]]
cert = "covered.pem"
key = "covered.key"
"""


def hello(name: str | None, *alpn: str) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    if alpn:
        context.set_alpn_protocols(list(alpn))
    sent = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname=name).do_handshake()
    return sent.read()


KNOCKS = [
    hello("git.example.com"),
    hello("GIT.Example.com.", "h2"),
    hello("www.example.com", "h2", "http/1.1"),
    hello("www.example.com", "http/1.1"),
    hello("a.b.example.com", "h2"),
    hello("a.b.example.com", *(f"{number}{'x' * 200}" for number in range(50))),
    hello("example.com"),
    hello("uncovered.test"),
    hello("old.test"),
    hello(None),
    hello("10.0.0.1"),
    hello("git.example.com").replace(b"git.example", b"git\nexample"),
    hello("git.example.com")[:43] + b"\xff" + hello("git.example.com")[44:],
    b"SSH-2.0-OpenSSH_9.2\r\n",
]


def foretold(config: Path, data: bytes, listener: str) -> dict[str, Any]:
    arguments = ["-c", str(config), "--hello", "-", "--from", "127.0.0.1", "--listener", listener]
    result = CliRunner().invoke(explain, [*arguments, "--format", "json"], input=data)
    [answer] = json.loads(result.stdout)["answers"]
    assert result.exit_code == (0 if answer["reason"] is None else 1)
    return {
        "route": answer["route"],
        "mode": answer["mode"],
        "reason": answer["reason"] or "closed",
        "detail": answer["detail"] if answer["reason"] else None,
        "alert": answer["alert"]["name"] if answer["alert"] else None,
    }


def knock(address: Any, data: bytes) -> tuple[str, bytes]:
    """Send, end, and read to the end: who knocked, and what came back."""
    with socket.create_connection(address, timeout=60) as client:
        host, port = client.getsockname()
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        return f"{host}:{port}", b"".join(iter(lambda: client.recv(65536), b""))


def test_what_explain_says_is_what_happens(
    spyhole: Callable[..., SpyholeProcess], authority: Authority, tmp_path: Path
) -> None:
    authority.issue("covered.test", file="covered")
    with echo("backend") as backend:
        proxy = spyhole(config=CONFIG.format(backend=backend.address))
        promises = {}
        for index, listener in enumerate(("public", "admin")):
            for data in KNOCKS:
                expected = foretold(proxy.config_file, data, listener)
                client, answered = knock(proxy.sockaddr(index), data)
                promises[client] = expected
                if expected["reason"] == "closed":
                    assert data in answered
                elif expected["alert"] is not None:
                    assert answered == Alert[expected["alert"].upper()].record()
                else:
                    assert answered == b""
        # the log is written in batches: look once for all
        for record in proxy.access_records(len(promises)):
            expected = promises.pop(record["client"])
            assert {key: record.get(key) for key in expected} == expected
        assert not promises
