"""A ClientHello in words: every field decoded for a person, or for a program as JSON.

For `spyhole hello`. Nothing here is on the path of a connection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from spyhole.wire import names
from spyhole.wire.ech import EXTENSION as ECH
from spyhole.wire.ech import Ech, EchKind, judge
from spyhole.wire.extensions import (
    ALPN,
    EC_POINT_FORMATS,
    KEY_SHARE,
    PRE_SHARED_KEY,
    PSK_KEY_EXCHANGE_MODES,
    SERVER_NAME,
    SIGNATURE_ALGORITHMS,
    SIGNATURE_ALGORITHMS_CERT,
    SUPPORTED_GROUPS,
    SUPPORTED_VERSIONS,
)
from spyhole.wire.ja3 import ja3, ja3_raw
from spyhole.wire.ja4 import ja4, ja4_raw
from spyhole.wire.message import Message, key_shares, short_list, shorts, take_apart

if TYPE_CHECKING:
    from spyhole.wire.client_hello import ClientHello
    from spyhole.wire.names import Named


@dataclass(frozen=True, slots=True)
class KeyShare:
    """One public key of the client's; `size` in bytes."""

    group: Named
    size: int


@dataclass(frozen=True, slots=True)
class ExtensionView:
    """One extension: size and offset in the message in bytes, the content if it is short and known."""

    name: Named
    size: int
    offset: int
    content: str | None


@dataclass(frozen=True, slots=True)
class Description:
    """Every field of a hello, in the order the client sent them."""

    hello: ClientHello
    message: Message
    legacy_version: Named
    versions: tuple[Named, ...]
    ciphers: tuple[Named, ...]
    compression: tuple[Named, ...]
    extensions: tuple[ExtensionView, ...]
    groups: tuple[Named, ...]
    key_shares: tuple[KeyShare, ...]
    signature_algorithms: tuple[Named, ...]
    ech: Ech

    @property
    def post_quantum(self) -> str:
        """Whether the client can agree on a key that a quantum computer can't find, and starts with one."""
        offered = [g.name for g in self.groups if names.is_post_quantum(g.code)]
        sent = [k.group.name for k in self.key_shares if names.is_post_quantum(k.group.code)]
        if sent:
            return f"yes: sends a key share of {', '.join(sent)}"
        if offered:
            return f"offered, without a key share: {', '.join(offered)}"
        return "no"

    def as_dict(self) -> dict[str, Any]:
        """For JSON: code points as hexadecimal text with their names, binary as hexadecimal."""
        name = self.hello.server_name
        return {
            "size": len(self.hello.raw),
            "server_name": None if name is None else printable(name),
            "alpn": [printable(p) for p in self.hello.alpn],
            "legacy_version": _as_dict(self.legacy_version),
            "versions": _list(self.versions),
            "random": self.message.random.hex(),
            "session_id": self.message.session_id.hex(),
            "ciphers": _list(self.ciphers),
            "compression": _list(self.compression),
            "extensions": [
                {**_as_dict(e.name), "size": e.size, "offset": e.offset, "content": e.content}
                for e in self.extensions
            ],
            "groups": _list(self.groups),
            "key_shares": [{**_as_dict(k.group), "size": k.size} for k in self.key_shares],
            "signature_algorithms": _list(self.signature_algorithms),
            "post_quantum": {
                "offered": any(names.is_post_quantum(g.code) for g in self.groups),
                "key_share": any(names.is_post_quantum(k.group.code) for k in self.key_shares),
            },
            "ech": self.ech._asdict(),
            "ja3": ja3(self.hello),
            "ja3_raw": ja3_raw(self.hello),
            "ja4": ja4(self.hello),
            "ja4_raw": ja4_raw(self.hello),
            "ja4_original": ja4_raw(self.hello, original=True),
        }

    def as_text(self) -> str:
        """For a person, lines of two columns."""
        name = self.hello.server_name
        lines = [f"ClientHello, {len(self.hello.raw)} bytes", ""]
        put = _Column(lines)
        put("server name", "none" if name is None else printable(name))
        put("ALPN", ", ".join(printable(p) for p in self.hello.alpn) or "none")
        offered = ", ".join(v.name for v in self.versions)
        put("versions", f"{offered} (legacy_version {self.legacy_version.name})")
        put("post-quantum", self.post_quantum)
        put("ECH", _ech_text(self.ech))
        put("JA4", ja4(self.hello))
        put("JA3", ja3(self.hello))
        put("random", self.message.random.hex())
        put("session id", self.message.session_id.hex() or "empty")
        put("compression", ", ".join(c.name for c in self.compression))
        for title, rows in (
            ("cipher suites", [(c.hex, c.name) for c in self.ciphers]),
            ("extensions", [_extension_row(e) for e in self.extensions]),
            ("groups", [(g.hex, _group_text(g)) for g in self.groups]),
            (
                "key shares",
                [(k.group.hex, f"{_group_text(k.group)}, {k.size} bytes") for k in self.key_shares],
            ),
            ("signature algorithms", [(s.hex, s.name) for s in self.signature_algorithms]),
        ):
            if rows:
                lines += ["", f"{title} ({len(rows)})", *(f"  {code}  {text}" for code, text in rows)]
        return "\n".join(lines)


def describe(hello: ClientHello) -> Description:
    """Decode every field of a hello."""
    message = take_apart(hello.raw)
    listed = message.body(SUPPORTED_VERSIONS)
    offered = hello.versions if listed is None else shorts(listed[1:])
    return Description(
        hello=hello,
        message=message,
        legacy_version=names.version(message.legacy_version),
        versions=tuple(map(names.version, offered)),
        ciphers=tuple(map(names.cipher, message.ciphers)),
        compression=tuple(map(names.compression, message.compression)),
        extensions=tuple(
            ExtensionView(names.extension(e.kind), len(e.body), e.offset, _content(e.kind, e.body))
            for e in message.extensions
        ),
        groups=tuple(map(names.group, short_list(message.body(SUPPORTED_GROUPS)))),
        key_shares=tuple(
            KeyShare(names.group(group), size) for group, size, _ in key_shares(message.body(KEY_SHARE))
        ),
        signature_algorithms=tuple(
            map(names.signature_scheme, short_list(message.body(SIGNATURE_ALGORITHMS)))
        ),
        ech=judge(message.body(ECH), hello.server_name),
    )


def printable(data: bytes) -> str:
    """Bytes from a stranger as text that is safe on a terminal: all but printable ASCII is escaped."""
    return "".join(chr(b) if 0x20 <= b < 0x7F and b != 0x5C else f"\\x{b:02x}" for b in data)


def _names_of(values: Iterable[int], namer: Callable[[int], Named]) -> str:
    return ", ".join(namer(v).name for v in values)


def _alps(body: bytes) -> str:
    protocols, pos = [], 2
    while pos < len(body):
        protocols.append(printable(body[pos + 1 : pos + 1 + body[pos]]))
        pos += 1 + body[pos]
    return ", ".join(protocols)


def _psk(body: bytes) -> str:
    end, pos, count = 2 + int.from_bytes(body[:2]), 2, 0
    while pos + 6 <= min(end, len(body)):
        pos += 6 + int.from_bytes(body[pos : pos + 2])
        count += 1
    return f"{count} identities" if count != 1 else "1 identity"


# The lists that have a section of their own are not repeated; the rest are told by their size.
_CONTENTS: Final[dict[int, Callable[[bytes], str]]] = {
    SERVER_NAME: lambda body: printable(body[5:]),
    ALPN: _alps,
    EC_POINT_FORMATS: lambda body: _names_of(body[1:], names.point_format),
    SIGNATURE_ALGORITHMS_CERT: lambda body: _names_of(short_list(body), names.signature_scheme),
    SUPPORTED_VERSIONS: lambda body: _names_of(shorts(body[1:]), names.version),
    PSK_KEY_EXCHANGE_MODES: lambda body: _names_of(body[1:], names.psk_mode),
    PRE_SHARED_KEY: _psk,
    1: lambda body: f"{2 ** (8 + body[0])} bytes" if body and 1 <= body[0] <= 4 else body.hex(),
    5: lambda body: "ocsp" if body[:1] == b"\1" else body.hex(),
    27: lambda body: _names_of(shorts(body[1:]), names.certificate_compression),
    28: lambda body: f"{int.from_bytes(body)} bytes",
    34: lambda body: _names_of(short_list(body), names.signature_scheme),
    17513: _alps,
    17613: _alps,
}


def _content(kind: int, body: bytes) -> str | None:
    decode = _CONTENTS.get(kind)
    return decode(body) if decode and body else None


def _extension_row(extension: ExtensionView) -> tuple[str, str]:
    name, content = extension.name.name, extension.content
    return extension.name.hex, f"{name}: {content}" if content else _with_size(name, extension.size)


def _with_size(name: str, size: int) -> str:
    return f"{name}, {'empty' if not size else '1 byte' if size == 1 else f'{size} bytes'}"


def _group_text(group: Named) -> str:
    return f"{group.name} (post-quantum)" if names.is_post_quantum(group.code) else group.name


def _ech_text(ech: Ech) -> str:
    if ech.kind is EchKind.ABSENT:
        return "none"
    return f"{ech.kind}: {ech.why}"


def _as_dict(named: Named) -> dict[str, Any]:
    return {"code": named.hex, "name": named.name, **({"grease": True} if named.grease else {})}


def _list(values: Iterable[Named]) -> list[dict[str, Any]]:
    return [_as_dict(value) for value in values]


class _Column:
    """Appends `label  text` with the texts in one column."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines

    def __call__(self, label: str, text: str) -> None:
        self._lines.append(f"{label:<13} {text}")
