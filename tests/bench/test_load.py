"""The load generator on the wire, seen by a server that keeps what comes."""

from __future__ import annotations

import socketserver
import threading
from pathlib import Path

from bench.hello import hello
from bench.programs import LOAD, Program, build

from spyhole.wire.client_hello import ClientHello, ClientHelloParser
from spyhole.wire.describe import Description, describe
from support.tools import needs

pytestmark = needs("gcc")

CONNECTIONS = 64


class Keeper(socketserver.ThreadingTCPServer):
    """Answers each connection with 100 bytes, and keeps the 517 that it began with."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.kept: list[bytes] = []


class Answer(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, Keeper)
        self.server.kept.append(self.rfile.read(517))
        self.wfile.write(bytes(100))
        self.rfile.read()


def test_permuted_hellos_are_as_good_and_no_two_have_one_order(tmp_path: Path) -> None:
    made = hello("a.test", grease=1)
    path = tmp_path / "hello"
    path.write_bytes(made.wire)
    with Keeper() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        host, port = server.server_address[:2]
        flags = ("--hello", made.word(path), "--open", "2", "--close", "fin", "--count", str(CONNECTIONS))
        build()
        with Program([str(LOAD), "setup", "--to", f"{host!s}:{port}", *flags]) as program:
            program.go(30_000)
        server.shutdown()
    assert len(server.kept) >= CONNECTIONS
    as_made = [extension.name.code for extension in said(made.wire).extensions]
    orders = {tuple(extension.name.code for extension in said(wire).extensions) for wire in server.kept}
    assert len(orders) == len(server.kept)
    assert all(sorted(order) == sorted(as_made) for order in orders)


def said(wire: bytes) -> Description:
    parsed = ClientHelloParser().feed(wire)
    assert isinstance(parsed, ClientHello)
    assert parsed.server_name == b"a.test"
    return describe(parsed)
