"""The TLS engine's receiving side, driven by a client that does what the fuzzer says."""

from __future__ import annotations

import contextlib
import functools
import ssl
import tempfile
from pathlib import Path
from typing import Final

from spyhole.net.tls import TlsEngine, TlsError, prepare_context
from support.certificates import Authority

_NAME: Final = "a.test"
_VERSIONS: Final = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
_BUFFER: Final = memoryview(bytearray(65_536))


def tls(data: bytes) -> None:
    """A script for the client: a version, where its handshake is disturbed, then what it sends after it.

    Two bytes an operation, what and how much: write, send garbage, change a record, lose a part of one,
    close, end. Whatever comes: what is read is a prefix of what was written, an end only after a
    close_notify, and nothing but `TlsError` is raised, which stays.
    """
    script = data[2:]
    client, engine = _Client(_VERSIONS[data[0] & 1] if data else _VERSIONS[1]), _engine()
    disturbed = data[1] if len(data) > 1 and data[0] & 2 else 0
    if not client.shake_hands(engine, disturbed, script):
        return
    read = bytearray()
    failed = False
    pos = 0
    while pos + 2 <= len(script) and not failed:
        what, size = script[pos], script[pos + 1]
        pos += 2
        wire = client.play(what, size, script[pos : pos + size])
        if what % 8 == 1:
            pos += size
        if wire is None:
            engine.receive_eof()
        if what & 64 and not engine.closed:
            with contextlib.suppress(TlsError):
                engine.write(b"an answer")
            engine.take()
        if what & 128:
            with contextlib.suppress(TlsError):
                engine.send_close_notify()
        failed = _read(engine, read, 1 + size if what & 32 else len(_BUFFER), wire or b"")
    assert client.written.startswith(read)
    if engine.peer_closed:
        assert client.closed
        assert read == client.written
    if failed:
        assert _read(engine, read, len(_BUFFER)), "a failure that did not stay"


def _read(engine: TlsEngine, read: bytearray, size: int, received: bytes = b"") -> bool:
    """Read all there is, with what was `received` now; whether the connection has failed."""
    try:
        while count := engine.read_into(_BUFFER[:size], received):
            read += _BUFFER[:count]
            received = b""
    except TlsError as error:
        assert error.detail
        assert error.alert is None or 0 <= error.alert < 256
        return True
    return False


class _Client:
    def __init__(self, version: ssl.TLSVersion) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = _contexts()[version].wrap_bio(self._incoming, self._outgoing, server_hostname=_NAME)
        self.written = bytearray()
        self.closed = False

    def shake_hands(self, engine: TlsEngine, disturbed: int, garbage: bytes) -> bool:
        """False when it failed, as it may if it is `disturbed`, in which flight."""
        for flight in range(1, 6):
            done = False
            try:
                self._tls.do_handshake()
                done = True
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError:
                assert disturbed, "a sound handshake failed for the client"
                return False
            wire = bytearray(self._outgoing.read())
            if disturbed and flight == 1 + disturbed % 2 and wire:
                at = disturbed % len(wire)
                wire[at : at + len(garbage)] = garbage
            try:
                ready = engine.handshake(wire)
            except TlsError as error:
                assert disturbed, f"a sound handshake failed: {error.detail}"
                assert error.detail
                return False
            if disturbed and flight > 2:
                return False
            self._incoming.write(engine.take())
            if done and ready:
                return not disturbed
        return False

    def play(self, what: int, size: int, garbage: bytes) -> bytes | None:
        """What to send next; None for the end of the connection."""
        kind = what % 8
        if kind == 1:
            return garbage
        if kind == 2:
            return None
        if kind == 3 and not self.closed:
            self.closed = True
            with contextlib.suppress(ssl.SSLError):
                self._tls.unwrap()
        elif not self.closed:
            text = bytes([size]) * (1 + size * (64 if kind == 4 else 1))
            self._tls.write(text)
            self.written += text
        wire = bytearray(self._outgoing.read())
        if wire and kind == 5:
            wire[size % len(wire)] ^= 1 << (what >> 3 & 3)
        elif kind == 6:
            del wire[size:]
        return bytes(wire)


def _engine() -> TlsEngine:
    return TlsEngine(_server(), server_name=_NAME.encode())


@functools.cache
def _authority() -> tuple[ssl.SSLContext, dict[ssl.TLSVersion, ssl.SSLContext]]:
    with tempfile.TemporaryDirectory() as directory:
        authority = Authority(Path(directory))
        server = authority.issue(_NAME).server_context()
        prepare_context(server)
        return server, {version: authority.client_context(version=version) for version in _VERSIONS}


def _server() -> ssl.SSLContext:
    return _authority()[0]


def _contexts() -> dict[ssl.TLSVersion, ssl.SSLContext]:
    return _authority()[1]
