"""Clients that begin TLS handshakes as fast as they can and never finish one: a process of its own.

    with HandshakeFlood(proxy.sockaddr(), client_hello("end.test"), 64, tmp_path) as flood:
        flood.begun()       # handshakes so far

The server has signed and answered by the time that such a client resets, having done nothing itself.
"""

from __future__ import annotations

import mmap
import os
import select
import socket
import struct
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Self

RESET = struct.pack("ii", 1, 0)


class HandshakeFlood:
    """`clients` of them at a time, from the beginning of the `with` to its end."""

    def __init__(self, sockaddr: tuple[str, int], hello: bytes, clients: int, directory: Path) -> None:
        self._file = directory / "flood"
        self._file.write_bytes(bytes(8))
        words = [sys.executable, __file__, sockaddr[0], str(sockaddr[1]), hello.hex(), str(clients)]
        self._process = subprocess.Popen([*words, str(self._file)], stdin=subprocess.PIPE)

    def begun(self) -> int:
        return int.from_bytes(self._file.read_bytes(), sys.byteorder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdin is not None
        self._process.stdin.close()


def main(host: str, port: str, hello: str, clients: str, file: str) -> None:
    descriptor = os.open(file, os.O_RDWR)
    counter = memoryview(mmap.mmap(descriptor, 8)).cast("Q")
    poll, wire, address = select.poll(), bytes.fromhex(hello), (host, int(port))
    poll.register(sys.stdin, select.POLLHUP)  # when the test is gone
    knocking: dict[int, socket.socket] = {}

    def knock() -> None:
        sock = socket.create_connection(address)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        sock.sendall(wire)
        poll.register(sock, select.POLLIN)
        knocking[sock.fileno()] = sock

    for _ in range(int(clients)):
        knock()
    while True:
        for fd, _ in poll.poll():
            if fd not in knocking:
                return
            poll.unregister(fd)
            with knocking.pop(fd) as sock, suppress(ConnectionError):
                if sock.recv(1) == b"\x16":  # of a ServerHello
                    counter[0] += 1
            knock()


if __name__ == "__main__":
    main(*sys.argv[1:])
