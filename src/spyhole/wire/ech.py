"""Encrypted Client Hello (RFC 9849): what an onlooker can say of it, and how sure he can be.

A client that has no key for the server sends a made-up extension (GREASE) that is meant to look the
same as a real one, and does: random config id, a random key, random bytes of a plausible length. Only
the holder of the key can tell. What is left to go by is the name that the hello shows: a real one shows
the public name of the operator who publishes the key, a made-up one goes with the true name.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple

EXTENSION: Final = 0xFE0D

# Names that exist to be the outer name of other sites. Operators can choose any, so this is no full list.
PUBLIC_NAMES: Final = frozenset({b"cloudflare-ech.com", b"cover.defo.ie", b"public.tls-ech.dev"})

_KEMS_SIZE: Final = 32  # X25519, which every client in use sends
_KDFS: Final = {1: "HKDF-SHA256", 2: "HKDF-SHA384", 3: "HKDF-SHA512"}
_AEADS: Final = {1: "AES-128-GCM", 2: "AES-256-GCM", 3: "ChaCha20Poly1305"}


class EchKind(StrEnum):
    """`PROBABLY_…` is a guess from the name shown; nothing better can be had from outside."""

    ABSENT = "absent"
    PROBABLY_REAL = "probably real"
    PROBABLY_GREASE = "probably GREASE"
    UNDECIDED = "undecided"
    INNER = "inner"
    MALFORMED = "malformed"


class Ech(NamedTuple):
    """The judgement, why, and the fields that can be read; sizes in bytes."""

    kind: EchKind
    why: str
    config_id: int | None = None
    cipher: str | None = None
    key_size: int | None = None
    payload_size: int | None = None


def judge(body: bytes | None, server_name: bytes | None) -> Ech:
    """What the extension with this content is, in a hello that shows `server_name`."""
    if body is None:
        return Ech(EchKind.ABSENT, "the client sends no encrypted_client_hello")
    if body == b"\x01":
        return Ech(EchKind.INNER, "the marker of an inner hello, which never travels in the clear")
    fields = _outer(body)
    if fields is None:
        return Ech(EchKind.MALFORMED, "the content is not that of an outer hello (RFC 9849, 5)")
    config_id, cipher, key_size, payload_size = fields
    if server_name is None:
        kind, why = EchKind.UNDECIDED, "no name is shown to go by"
    elif server_name.lower() in PUBLIC_NAMES:
        kind, why = EchKind.PROBABLY_REAL, "the name shown is one that only stands in for others"
    elif key_size != _KEMS_SIZE:
        kind, why = EchKind.UNDECIDED, "its key is not of the kind that clients make up"
    else:
        kind, why = EchKind.PROBABLY_GREASE, "the name shown is not a known public name of an ECH operator"
    return Ech(kind, why, config_id, cipher, key_size, payload_size)


def _outer(body: bytes) -> tuple[int, str, int, int] | None:
    if len(body) < 10 or body[0] != 0:
        return None
    kdf, aead = int.from_bytes(body[1:3]), int.from_bytes(body[3:5])
    key_size = int.from_bytes(body[6:8])
    payload_at = 8 + key_size
    payload_size = int.from_bytes(body[payload_at : payload_at + 2])
    if payload_at + 2 + payload_size != len(body) or not payload_size:
        return None
    cipher = f"{_KDFS.get(kdf, hex(kdf))}, {_AEADS.get(aead, hex(aead))}"
    return body[5], cipher, key_size, payload_size
