"""A client of TLS 1.3 that does what no library's client does: it changes its hello when asked for another.

It knows X25519 and TLS_AES_128_GCM_SHA256, believes every certificate, and is good for one request.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from spyhole.conformance.hello import (
    X25519,
    Extension,
    Vector,
    client_hello,
    encode,
    key_share,
    server_name,
    signature_algorithms,
    supported_groups,
    supported_versions,
    u16s,
)
from spyhole.conformance.records import APPLICATION_DATA, CHANGE_CIPHER_SPEC, HANDSHAKE, record

CIPHER: Final = 0x1301
RETRY_RANDOM: Final = hashlib.sha256(b"HelloRetryRequest").digest()
"""The random of a ServerHello that is a HelloRetryRequest (RFC 8446, 4.1.3)."""
_COOKIE, _KEY_SHARE = 44, 51
_FINISHED: Final = 20


class TlsFailure(Exception):
    """The server ended it, or said what does not belong here."""


def hello(name: bytes, share: bytes | None, *more: Extension) -> bytes:
    """A hello message; without a share the server has to ask for one."""
    return encode(
        client_hello(
            [
                server_name(name),
                supported_versions(0x0304),
                supported_groups(X25519),
                signature_algorithms(0x0403, 0x0804, 0x0805, 0x0806),
                key_share() if share is None else key_share((X25519, share)),
                *more,
            ],
            ciphers=u16s(CIPHER),
        )
    )


class Tls13Client:
    """One handshake, and then a little more: bytes in, bytes out; what the server sends, record by record.

    Raises TlsFailure when the server does what does not belong here.
    """

    def __init__(self) -> None:
        self._private = X25519PrivateKey.generate()
        self._transcript = b""
        self._handshake = b""
        """What came of the handshake and is not yet a whole message."""
        self._reader: _Keys | None = None
        self._writer: _Keys | None = None

    def first_hello(self, name: bytes) -> bytes:
        """As a record: it offers no share, so that the server asks for one."""
        message = hello(name, None)
        self._transcript = message
        return record(message)

    def second_hello(self, name: bytes, retry: bytes) -> bytes:
        """As a record: the answer to the server's HelloRetryRequest message, perhaps for another name."""
        cookie = _extensions(retry).get(_COOKIE)
        more = [] if cookie is None else [Extension(_COOKIE, "cookie", (cookie,))]
        message = hello(name, self._private.public_key().public_bytes_raw(), *more)
        # the first hello counts as its hash only (RFC 8446, 4.4.1)
        first = hashlib.sha256(self._transcript).digest()
        self._transcript = encode((b"\xfe", Vector("", 3, (first,)))) + retry + message
        return record(message, version=0x0303)

    def on_server_hello(self, message: bytes) -> None:
        """From here on, what the server sends is encrypted."""
        self._transcript += message
        share = _extensions(message).get(_KEY_SHARE)
        if share is None or message[6:38] == RETRY_RANDOM:
            raise TlsFailure("the server asks for another share again")
        peer = X25519PublicKey.from_public_bytes(share[4:])
        early = _extract(bytes(32), bytes(32))
        secret = _extract(self._derive(early, b"derived", b""), self._private.exchange(peer))
        self._client = self._derive(secret, b"c hs traffic", self._transcript)
        self._server = self._derive(secret, b"s hs traffic", self._transcript)
        self._master = _extract(self._derive(secret, b"derived", b""), bytes(32))
        self._reader = _Keys(self._server)

    def on_record(self, kind: int, head: bytes, body: bytes) -> bytes | None:
        """Take one of the server's records; the client's last flight, once the server has finished."""
        if kind == CHANGE_CIPHER_SPEC:
            return None
        assert self._reader is not None
        if kind != APPLICATION_DATA:
            raise TlsFailure(f"a record of type {kind}")
        kind, content = self._reader.open(head, body)
        if kind != HANDSHAKE:
            raise TlsFailure(f"a message of type {kind} in the handshake")
        self._handshake += content
        while len(self._handshake) >= 4:
            end = 4 + int.from_bytes(self._handshake[1:4])
            if len(self._handshake) < end:
                return None
            message, self._handshake = self._handshake[:end], self._handshake[end:]
            self._transcript += message
            if message[0] == _FINISHED:
                return self._finish()
        return None

    def write(self, data: bytes) -> bytes:
        """A record of application data, once the handshake is done."""
        assert self._writer is not None
        return self._writer.seal(data, APPLICATION_DATA)

    def read(self, kind: int, head: bytes, body: bytes) -> bytes:
        """The application data in one of the server's records; none for a session ticket."""
        assert self._reader is not None
        if kind != APPLICATION_DATA:
            raise TlsFailure("")
        kind, content = self._reader.open(head, body)
        if kind not in (APPLICATION_DATA, HANDSHAKE):
            raise TlsFailure("the server ended it after the handshake")
        return content if kind == APPLICATION_DATA else b""

    def _finish(self) -> bytes:
        application = self._derive(self._master, b"c ap traffic", self._transcript)
        self._reader = _Keys(self._derive(self._master, b"s ap traffic", self._transcript))
        key = _expand_label(self._client, b"finished", b"", 32)
        verify = hmac.digest(key, hashlib.sha256(self._transcript).digest(), "sha256")
        flight = _Keys(self._client).seal(encode((b"\x14", Vector("", 3, (verify,)))), HANDSHAKE)
        self._writer = _Keys(application)
        return record(b"\1", CHANGE_CIPHER_SPEC, 0x0303) + flight

    def _derive(self, secret: bytes, label: bytes, transcript: bytes) -> bytes:
        return _expand_label(secret, label, hashlib.sha256(transcript).digest(), 32)


class _Keys:
    """One direction's key, and the count of its records (RFC 8446, 5.3)."""

    def __init__(self, secret: bytes) -> None:
        self._aead = AESGCM(_expand_label(secret, b"key", b"", 16))
        self._iv = int.from_bytes(_expand_label(secret, b"iv", b"", 12))
        self._count = 0

    def open(self, head: bytes, body: bytes) -> tuple[int, bytes]:
        inner = self._aead.decrypt(self._nonce(), body, head).rstrip(b"\0")
        return inner[-1], inner[:-1]

    def seal(self, content: bytes, kind: int) -> bytes:
        head = u16s(0x1703, 0x0300)[:3] + u16s(len(content) + 17)
        return head + self._aead.encrypt(self._nonce(), content + bytes([kind]), head)

    def _nonce(self) -> bytes:
        nonce = (self._iv ^ self._count).to_bytes(12)
        self._count += 1
        return nonce


def _extensions(message: bytes) -> dict[int, bytes]:
    """Of a ServerHello."""
    at = 4 + 2 + 32
    at += 1 + message[at] + 2 + 1
    end = at + 2 + int.from_bytes(message[at : at + 2])
    at += 2
    found = {}
    while at + 4 <= end:
        size = int.from_bytes(message[at + 2 : at + 4])
        found[int.from_bytes(message[at : at + 2])] = message[at + 4 : at + 4 + size]
        at += 4 + size
    return found


def _extract(salt: bytes, material: bytes) -> bytes:
    return hmac.digest(salt, material, "sha256")


def _expand_label(secret: bytes, label: bytes, context: bytes, size: int) -> bytes:
    """HKDF-Expand-Label (RFC 8446, 7.1)."""
    label = b"tls13 " + label
    info = u16s(size) + bytes([len(label)]) + label + bytes([len(context)]) + context
    return HKDFExpand(hashes.SHA256(), size, info).derive(secret)
