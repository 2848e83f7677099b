"""JA4: FoxIO's fingerprint of a TLS client over TCP, by the text of its technical details.

It goes into every line of the access log, so hellos of a kind share one: what it is computed from is the
same in all of them (see `kind`). For others, its two hashes come from small caches: a client's lists are
the same each time.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from spyhole.wire.message import GREASE, frame, shorts, two_shorts

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from spyhole.wire.client_hello import ClientHello

_VERSIONS: Final = {0x0304: "13", 0x0303: "12", 0x0302: "11", 0x0301: "10", 0x0300: "s3", 0x0002: "s2"}
_IN_PART_A: Final = frozenset({0, 16})  # server_name and ALPN are left out of the third part
_SIGNATURE_ALGORITHMS, _SUPPORTED_VERSIONS = 13, 43
_SMALL: Final = 4096  # the caches keep lists of hellos up to this many bytes: what they hold is bounded


def ja4(hello: ClientHello) -> str:
    """The fingerprint, such as t13d1516h2_8daaf6152771_e5627efa2ab1."""
    common = hello.common
    if common is None:
        return _computed(hello)
    if common.ja4 is None:
        common.ja4 = _computed(hello)
    return common.ja4


def ja4_raw(hello: ClientHello, *, original: bool = False) -> str:
    """The same before hashing (JA4_r); `original` keeps the client's order and every type (JA4_ro)."""
    ciphers, kinds, algorithms = _lists(hello.raw)
    suites = [c for c in shorts(ciphers) if c not in GREASE]
    listed = [kind for kind in kinds if kind not in GREASE]
    named = [a for a in shorts(algorithms) if a not in GREASE]
    part_a = _part_a(hello, kinds, len(suites), len(listed))
    if original:
        parts = [_hex(suites), _hex(listed)]
    else:
        parts = [_hex(sorted(suites)), _hex(sorted(k for k in listed if k not in _IN_PART_A))]
    return "_".join((part_a, *parts, *([_hex(named)] if named else [])))


def _computed(hello: ClientHello) -> str:
    raw = hello.raw
    ciphers, kinds, algorithms = _lists(raw)
    unique = frozenset(kinds)
    if len(raw) <= _SMALL and len(unique) == len(kinds):
        cipher_count, cipher_hash = _cipher_part(ciphers)
        extension_count, extension_hash = _extension_part(unique - GREASE, algorithms)
    else:  # too large to be kept, or some type comes twice and counts twice
        cipher_count, cipher_hash = _cipher_part.__wrapped__(ciphers)
        listed = [kind for kind in kinds if kind not in GREASE]
        extension_count, extension_hash = _extension_part.__wrapped__(listed, algorithms)
    return f"{_part_a(hello, unique, cipher_count, extension_count)}_{cipher_hash}_{extension_hash}"


def _lists(raw: bytes) -> tuple[bytes, list[int], bytes]:
    """The cipher suites as sent, the extension types in order, the signature algorithms as sent."""
    ciphers, _, pos = frame(raw)
    kinds = []
    algorithms = b""
    end = len(raw)
    while pos < end:
        kind, size = two_shorts(raw, pos)
        kinds.append(kind)
        if kind == _SIGNATURE_ALGORITHMS:
            algorithms = raw[pos + 6 : pos + 4 + size]
        pos += 4 + size
    return ciphers, kinds, algorithms


def _part_a(hello: ClientHello, kinds: Collection[int], ciphers: int, extensions: int) -> str:
    if _SUPPORTED_VERSIONS in kinds:
        version = max(hello.versions, default=0)
    else:
        version = int.from_bytes(hello.raw[4:6])
    name = "i" if hello.server_name is None else "d"
    alpn = _ends(hello.alpn[0]) if hello.alpn else "00"
    return f"t{_VERSIONS.get(version, '00')}{name}{min(ciphers, 99):02}{min(extensions, 99):02}{alpn}"


@lru_cache(maxsize=256)
def _ends(protocol: bytes) -> str:
    """Its first and last character, or those of its hexadecimal form if either is not alphanumeric."""
    ends, digits = protocol[:1] + protocol[-1:], protocol.hex()
    return ends.decode() if ends.isalnum() else digits[0] + digits[-1]


@lru_cache(maxsize=256)
def _cipher_part(ciphers: bytes) -> tuple[int, str]:
    suites = sorted(c for c in shorts(ciphers) if c not in GREASE)
    return len(suites), _hash(_hex(suites))


@lru_cache(maxsize=256)
def _extension_part(kinds: Collection[int], algorithms: bytes) -> tuple[int, str]:
    listed = _hex(sorted(kind for kind in kinds if kind not in _IN_PART_A))
    named = _hex(a for a in shorts(algorithms) if a not in GREASE)
    return len(kinds), _hash(f"{listed}_{named}" if listed and named else listed)


def _hex(values: Iterable[int]) -> str:
    return ",".join([f"{v:04x}" for v in values])


def _hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:12] if text else "000000000000"
