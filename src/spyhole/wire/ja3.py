"""JA3: the older fingerprint of a TLS client, an MD5 of what it offers, in the order it offers it."""

from __future__ import annotations

from hashlib import md5
from typing import TYPE_CHECKING

from spyhole.wire.message import GREASE, short_list, take_apart

if TYPE_CHECKING:
    from collections.abc import Iterable

    from spyhole.wire.client_hello import ClientHello


def ja3(hello: ClientHello) -> str:
    """The fingerprint, 32 hexadecimal digits."""
    return md5(ja3_raw(hello).encode(), usedforsecurity=False).hexdigest()


def ja3_raw(hello: ClientHello) -> str:
    """What is hashed: version, ciphers, extensions, groups, point formats, without GREASE."""
    message = take_apart(hello.raw)
    formats = message.body(11) or b""
    fields = (
        message.ciphers,
        (e.kind for e in message.extensions),
        short_list(message.body(10)),
        formats[1 : 1 + formats[0]] if formats else (),
    )
    return ",".join((str(message.legacy_version), *map(_dashed, fields)))


def _dashed(values: Iterable[int]) -> str:
    return "-".join(str(v) for v in values if v not in GREASE)
