"""What no library's client does on purpose: TLS 1.3 records of a client, made by hand.

client = TlsClient(sock, context, name)             # context.keylog_filename was set before
writer = Tls13Writer(client.tls, Path(context.keylog_filename))
sock.sendall(writer.key_update() + writer.application_data(b"…"))

From then on only the writer may write: it has the keys and the count of the records.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

CIPHER = "TLS_AES_256_GCM_SHA384"


class Tls13Writer:
    """The client's side of a connection that was just shaken hands, and has sent nothing since.

    With the `secret` CLIENT_HANDSHAKE_TRAFFIC_SECRET it writes what comes before the handshake's end.
    """

    def __init__(self, tls: ssl.SSLObject, keylog: Path, secret: str = "CLIENT_TRAFFIC_SECRET_0") -> None:
        cipher = tls.cipher()
        assert cipher is not None
        assert cipher[0] == CIPHER
        self._next_keys(secret_of(keylog, secret))

    def application_data(self, data: bytes) -> bytes:
        return self.record(data, 23)

    def key_update(self) -> bytes:
        """New keys for us, and please for yourself as well (RFC 8446, 4.6.3)."""
        record = self.record(b"\x18\0\0\1\1", 22)
        self._next_keys(self._expand(b"traffic upd", 48))
        return record

    def _next_keys(self, secret: bytes) -> None:
        self._secret = secret
        self._aead = AESGCM(self._expand(b"key", 32))
        self._iv = int.from_bytes(self._expand(b"iv", 12))
        self._count = 0

    def record(self, content: bytes, kind: int, *, padding: int = 0, outer: int = 23) -> bytes:
        """One record of any content type, `outer` what it says in the clear (RFC 8446, 5.2)."""
        nonce = (self._iv ^ self._count).to_bytes(12)
        self._count += 1
        inner = content + bytes([kind]) + bytes(padding)
        head = bytes([outer]) + b"\x03\x03" + (len(inner) + 16).to_bytes(2)
        return head + self._aead.encrypt(nonce, inner, head)

    def open(self, record: bytes) -> bytes:
        """What is in the next record that was written with these keys, its content type included."""
        nonce = (self._iv ^ self._count).to_bytes(12)
        return self._aead.decrypt(nonce, record[5:], record[:5])

    def _expand(self, label: bytes, size: int) -> bytes:
        """HKDF-Expand-Label with an empty context (RFC 8446, 7.1)."""
        label = b"tls13 " + label
        info = size.to_bytes(2) + bytes([len(label)]) + label + b"\0"
        return HKDFExpand(hashes.SHA384(), size, info).derive(self._secret)


def secret_of(keylog: Path, label: str) -> bytes:
    """The secret of the latest connection in a key log file, by its label there."""
    words = [line.split() for line in keylog.read_text().splitlines()]
    return bytes.fromhex(next(word[2] for word in reversed(words) if word[0] == label))
