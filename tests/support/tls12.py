"""TLS 1.2 records of a client, made by hand: as support.tls13, for what no library's client does."""

from __future__ import annotations

import hmac
import ssl
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from support.tls13 import secret_of

CIPHERS = {"ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384"}


class Tls12Writer:
    """The client's encrypted side, from its Finished on. `count` records were written before.

    It needs the two randoms: that of the ClientHello, and that of the ServerHello.
    """

    def __init__(
        self, tls: ssl.SSLObject, keylog: Path, randoms: tuple[bytes, bytes], count: int = 0
    ) -> None:
        cipher = tls.cipher()
        assert cipher is not None
        assert cipher[0] in CIPHERS
        ours, theirs = randoms
        # RFC 5246, 6.3; RFC 5288: no MAC keys, two keys of 32 bytes, two salts of 4
        block = prf(secret_of(keylog, "CLIENT_RANDOM"), b"key expansion" + theirs + ours, 72)
        self._aead, self._salt = AESGCM(block[:32]), block[64:68]
        self._count = count

    def record(self, content: bytes, kind: int) -> bytes:
        explicit = self._count.to_bytes(8)
        self._count += 1
        about = explicit + bytes([kind]) + b"\x03\x03" + len(content).to_bytes(2)
        sealed = explicit + self._aead.encrypt(self._salt + explicit, content, about)
        return bytes([kind]) + b"\x03\x03" + len(sealed).to_bytes(2) + sealed

    def open(self, record: bytes) -> bytes:
        """What is in the next record that was written with these keys."""
        explicit, size = record[5:13], len(record) - 13 - 16
        about = self._count.to_bytes(8) + record[:3] + size.to_bytes(2)
        return self._aead.decrypt(self._salt + explicit, record[13:], about)


def prf(secret: bytes, seed: bytes, size: int) -> bytes:
    """P_SHA384 (RFC 5246, 5)."""
    out, a = b"", seed
    while len(out) < size:
        a = hmac.digest(secret, a, "sha384")
        out += hmac.digest(secret, a + seed, "sha384")
    return out[:size]
