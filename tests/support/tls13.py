"""What no library's client does on purpose: TLS 1.3 records of a client, made by hand.

client = TlsClient(sock, context, name)             # context.keylog_filename was set before
writer = Tls13Writer(client, Path(context.keylog_filename))
sock.sendall(writer.key_update() + writer.application_data(b"…"))

From then on only the writer may write: it has the keys and the count of the records.
"""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from support.clients import TlsClient

CIPHER = "TLS_AES_256_GCM_SHA384"


class Tls13Writer:
    """The client's side of a connection that was just shaken hands, and has sent nothing since."""

    def __init__(self, client: TlsClient, keylog: Path) -> None:
        cipher = client.tls.cipher()
        assert cipher is not None
        assert cipher[0] == CIPHER
        lines = [line.split() for line in keylog.read_text().splitlines()]
        self._next_keys(bytes.fromhex(next(w[2] for w in lines if w[0] == "CLIENT_TRAFFIC_SECRET_0")))

    def application_data(self, data: bytes) -> bytes:
        return self._record(data, 23)

    def key_update(self) -> bytes:
        """New keys for us, and please for yourself as well (RFC 8446, 4.6.3)."""
        record = self._record(b"\x18\0\0\1\1", 22)
        self._next_keys(self._expand(b"traffic upd", 48))
        return record

    def _next_keys(self, secret: bytes) -> None:
        self._secret = secret
        self._aead = AESGCM(self._expand(b"key", 32))
        self._iv = int.from_bytes(self._expand(b"iv", 12))
        self._count = 0

    def _record(self, content: bytes, kind: int) -> bytes:
        nonce = (self._iv ^ self._count).to_bytes(12)
        self._count += 1
        head = b"\x17\x03\x03" + (len(content) + 17).to_bytes(2)
        return head + self._aead.encrypt(nonce, content + bytes([kind]), head)

    def _expand(self, label: bytes, size: int) -> bytes:
        """HKDF-Expand-Label with an empty context (RFC 8446, 7.1)."""
        label = b"tls13 " + label
        info = size.to_bytes(2) + bytes([len(label)]) + label + b"\0"
        return HKDFExpand(hashes.SHA384(), size, info).derive(self._secret)
