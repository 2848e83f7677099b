"""Encrypted ClientHello (RFC 9849): a real one, for a key that nobody else has, and one that means nothing.

A proxy without the key can't tell the two apart, and must not try: it routes by the name that is shown. The
real one is sealed by HPKE in base mode (RFC 9180): DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-128-GCM.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, NamedTuple

from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from spyhole.conformance.hello import Extension, Node, Vector, encode, u16s, vector

if TYPE_CHECKING:
    from collections.abc import Callable

_ECH: Final = 0xFE0D
_KEM, _KDF, _AEAD = u16s(0x0020), u16s(1), u16s(1)
_CONFIG_ID: Final = 7
_TAG: Final = 16
_PADDED: Final = 32


class Sealer(NamedTuple):
    """An HPKE context of a sender, good for one message."""

    enc: bytes
    key: bytes
    nonce: bytes

    def seal(self, aad: bytes, data: bytes) -> bytes:
        return AESGCM(self.key).encrypt(self.nonce, data, aad)


def setup_sender(recipient: bytes, info: bytes, ephemeral: X25519PrivateKey) -> Sealer:
    """SetupBaseS of RFC 9180, 5.1.1, with a given ephemeral key."""
    enc = ephemeral.public_key().public_bytes_raw()
    shared = ephemeral.exchange(X25519PublicKey.from_public_bytes(recipient))
    kem, hpke = b"KEM" + _KEM, b"HPKE" + _KEM + _KDF + _AEAD
    secret = _expand(kem, _extract(kem, b"", b"eae_prk", shared), b"shared_secret", enc + recipient, 32)
    context = b"\0" + _extract(hpke, b"", b"psk_id_hash", b"") + _extract(hpke, b"", b"info_hash", info)
    secret = _extract(hpke, secret, b"secret", b"")
    return Sealer(
        enc, _expand(hpke, secret, b"key", context, 16), _expand(hpke, secret, b"base_nonce", context, 12)
    )


def config(public_key: bytes, public_name: bytes) -> bytes:
    """An ECHConfig (RFC 9849, 4)."""
    key_config = bytes([_CONFIG_ID]) + _KEM + vector(public_key, 2) + vector(_KDF + _AEAD, 2)
    return u16s(_ECH) + vector(key_config + b"\0" + vector(public_name, 1) + vector(b"", 2), 2)


def outer(enc: bytes, payload: bytes) -> Extension:
    """The encrypted_client_hello of an outer hello (RFC 9849, 5)."""
    return Extension(
        _ECH,
        "encrypted_client_hello",
        (
            b"\0" + _KDF + _AEAD + bytes([_CONFIG_ID]),
            Vector("encrypted_client_hello: enc", 2, (enc,)),
            Vector("encrypted_client_hello: payload", 2, (payload,)),
        ),
    )


INNER: Final = Extension(_ECH, "encrypted_client_hello", (b"\1",))
"""The mark of an inner hello, which never travels in the clear."""


def grease(size: int = 144) -> Extension:
    """What a client without a configuration sends (RFC 9849, 6.2)."""
    noise = hashlib.shake_256(b"grease").digest(32 + size)
    return outer(noise[:32], noise[32:])


def sealed(
    hello_outer: Callable[[Extension], tuple[Node, ...]], hello_inner: tuple[Node, ...], public_name: bytes
) -> bytes:
    """The outer hello's message, with the inner one sealed into it.

    `hello_outer` makes the message from the encrypted_client_hello extension that it is given.
    """
    recipient = X25519PrivateKey.generate().public_key().public_bytes_raw()
    info = b"tls ech\0" + config(recipient, public_name)
    sealer = setup_sender(recipient, info, X25519PrivateKey.generate())
    inner = encode(hello_inner)[4:]
    inner += bytes(-len(inner) % _PADDED)
    blank = outer(sealer.enc, bytes(len(inner) + _TAG))
    # what is authenticated is the outer hello itself, with zeros for the payload (RFC 9849, 5.2)
    aad = encode(hello_outer(blank))[4:]
    return encode(hello_outer(outer(sealer.enc, sealer.seal(aad, inner))))


def _extract(suite: bytes, salt: bytes, label: bytes, material: bytes) -> bytes:
    """LabeledExtract of RFC 9180, 4."""
    mac = hmac.HMAC(salt or bytes(32), hashes.SHA256())
    mac.update(b"HPKE-v1" + suite + label + material)
    return mac.finalize()


def _expand(suite: bytes, secret: bytes, label: bytes, info: bytes, size: int) -> bytes:
    """LabeledExpand of RFC 9180, 4."""
    labelled = u16s(size) + b"HPKE-v1" + suite + label + info
    return HKDFExpand(hashes.SHA256(), size, labelled).derive(secret)
