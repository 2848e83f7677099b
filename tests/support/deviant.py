"""A TLS client that leaves the path at one point of the handshake or after it, and what it is told then.

deviant = Deviant(sockaddr, context, "a.test")      # the context has a keylog_filename
flight = deviant.second_flight()                    # ClientKeyExchange…, or Finished: not sent yet
deviant.send(flight[0], changed(flight[1]))
deviant.told()                                      # after a FIN of ours: the alert, and what else came
"""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Self

from support.clients import connect
from support.tls12 import Tls12Writer
from support.tls13 import Tls13Writer


class Told(NamedTuple):
    """What came back: an alert, in OpenSSL's words or by number, and whether an answer did."""

    alert: str | None
    answer: bytes


class Deviant:
    """The connection; its TLS is that of the standard library, until the case writes records itself."""

    def __init__(self, sockaddr: tuple[str, int], context: ssl.SSLContext, name: str) -> None:
        self.sock = connect(sockaddr)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)
        assert context.keylog_filename is not None
        self._keylog = Path(context.keylog_filename)
        self._server_random = b""
        with suppress(ssl.SSLWantReadError):
            self.tls.do_handshake()
        self.first_flight = self._outgoing.read()

    def send(self, *data: bytes) -> None:
        with suppress(ConnectionError):  # it has said all that it will, and what it said can be read
            for part in data:
                self.sock.sendall(part)

    def second_flight(self) -> list[bytes]:
        """Send the ClientHello, and return the records of what is to follow the server's answer."""
        self.send(self.first_flight)
        while not self._outgoing.pending:
            data = self.sock.recv(65_536)
            if not data:
                raise AssertionError("the server ended during an orderly handshake")
            self._server_random = self._server_random or data[11:43]
            self._incoming.write(data)
            with suppress(ssl.SSLWantReadError):
                self.tls.do_handshake()
        return split(self._outgoing.read())

    def shake_hands(self) -> None:
        """All of an orderly handshake."""
        self.send(*self.second_flight())
        while True:
            try:
                self.tls.do_handshake()
                return
            except ssl.SSLWantReadError:
                self._incoming.write(self.sock.recv(65_536))

    def writer13(self, *, handshake: bool = False) -> Tls13Writer:
        """Writes with the handshake's keys, or with the application's."""
        secret = "CLIENT_HANDSHAKE_TRAFFIC_SECRET" if handshake else "CLIENT_TRAFFIC_SECRET_0"
        return Tls13Writer(self.tls, self._keylog, secret)

    def writer12(self, count: int) -> Tls12Writer:
        """Writes with the connection's keys, after `count` records: the Finished is number 0."""
        randoms = (self.first_flight[11:43], self._server_random)
        return Tls12Writer(self.tls, self._keylog, randoms, count)

    def told(self) -> Told:
        """End our direction, and read all that there is to be told."""
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)
        alert, answer = None, bytearray()
        wire = bytearray()
        with suppress(ConnectionError):
            while data := self.sock.recv(65_536):
                wire += data
        for record in split(bytes(wire)):
            if record[0] == 21 and len(record) == 7:
                alert = alert or f"{record[5]}/{record[6]}"
                continue
            self._incoming.write(record)
            try:
                with suppress(ssl.SSLWantReadError):
                    self.tls.do_handshake()
                    while plain := self.tls.read(65_536):
                        answer += plain
            except ssl.SSLError as error:
                if "ALERT" in (error.reason or ""):
                    alert = alert or error.reason
        return Told(alert, bytes(answer))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()


def split(wire: bytes) -> list[bytes]:
    """Records, the last one perhaps cut short."""
    found = []
    while wire:
        size = 5 + int.from_bytes(wire[3:5])
        found.append(wire[:size])
        wire = wire[size:]
    return found
