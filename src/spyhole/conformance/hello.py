"""ClientHellos, built from the bytes up, whole or with lengths that lie.

A hello is a tree: `bytes`, and `Vector`s, which are what stands behind a length. Each vector has a name,
and `encode` can be told to write another length for one of them.

    message = client_hello([server_name(b"a.test"), *TLS13])
    encode(message)                                        # a whole handshake message
    encode(message, {"server_name: name": -1})             # one length is one too short
    [field.name for field in lengths(message)]             # every length in it
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

RANDOM: Final = bytes(range(32))
SESSION_ID: Final = bytes(range(32, 64))
CIPHERS: Final = (
    *(0x0A0A, 0x1301, 0x1302, 0x1303, 0xC02B, 0xC02F, 0xC02C, 0xC030, 0xCCA9, 0xCCA8),
    *(0xC013, 0xC014, 0x009C, 0x009D, 0x002F, 0x0035),
)
X25519, P256, P384, X25519_MLKEM768, GREASE = 29, 23, 24, 4588, 0x0A0A
TLS10, TLS11, TLS12, TLS13_VERSION = 0x0301, 0x0302, 0x0303, 0x0304


class Vector(NamedTuple):
    """What stands behind a length of `size` bytes; `name` is unique in its hello."""

    name: str
    size: int
    content: tuple[Node, ...]


Node: TypeAlias = bytes | Vector


class Extension(NamedTuple):
    """An extension: its number, its name in the registry, and what it contains."""

    kind: int
    name: str
    content: tuple[Node, ...]


class Length(NamedTuple):
    """One length of a hello: where it is in the encoded message, its size in bytes, and what it says."""

    name: str
    offset: int
    size: int
    value: int


def encode(nodes: Node | Iterable[Node], lies: Mapping[str, int] | None = None) -> bytes:
    """The bytes; `lies` is what to add to the lengths of these names. Raises OverflowError for one that
    then does not fit."""
    if isinstance(nodes, bytes):
        return nodes
    if isinstance(nodes, Vector):
        body = encode(nodes.content, lies)
        lie = lies.get(nodes.name, 0) if lies else 0
        return (len(body) + lie).to_bytes(nodes.size) + body
    return b"".join(encode(node, lies) for node in nodes)


def lengths(nodes: Iterable[Node], offset: int = 0) -> Iterator[Length]:
    """Every length, the outer before the inner ones."""
    for node in nodes:
        if isinstance(node, Vector):
            yield Length(node.name, offset, node.size, len(encode(node.content)))
            yield from lengths(node.content, offset + node.size)
        offset += len(encode(node))


def client_hello(
    extensions: Sequence[Extension] | None,
    *,
    legacy: int = TLS12,
    random: bytes = RANDOM,
    session_id: bytes = SESSION_ID,
    ciphers: bytes | None = None,
    compression: bytes = b"\0",
    after: bytes = b"",
    kind: int = 1,
) -> tuple[Node, ...]:
    """A handshake message (RFC 8446, 4.1.2). `extensions` None leaves out even their length; `after`
    follows them inside the message."""
    body: list[Node] = [
        u16s(legacy) + random,
        Vector("session id", 1, (session_id,)),
        Vector("cipher suites", 2, (u16s(*CIPHERS) if ciphers is None else ciphers,)),
        Vector("compression methods", 1, (compression,)),
    ]
    if extensions is not None:
        listed: list[Node] = []
        for extension in extensions:
            listed += [u16s(extension.kind), Vector(extension.name, 2, extension.content)]
        body.append(Vector("extensions", 2, tuple(listed)))
    return bytes([kind]), Vector("message", 3, (*body, after))


def u16s(*values: int) -> bytes:
    return b"".join(value.to_bytes(2) for value in values)


def vector(data: bytes, size: int) -> bytes:
    """`data` behind its length, where nobody lies about it."""
    return len(data).to_bytes(size) + data


# Extensions.


def server_name(*names: bytes, kind: int = 0) -> Extension:
    """RFC 6066, 3: a list of names, which is to have one of a kind."""
    entries: list[Node] = []
    for number, name in enumerate(names):
        entries += [bytes([kind]), Vector(_numbered("server_name: name", number), 2, (name,))]
    return Extension(0, "server_name", (Vector("server_name: list", 2, tuple(entries)),))


def alpn(*protocols: bytes) -> Extension:
    """RFC 7301, 3.1."""
    entries = tuple(Vector(_numbered("alpn: protocol", n), 1, (p,)) for n, p in enumerate(protocols))
    return Extension(16, "alpn", (Vector("alpn: list", 2, entries),))


def supported_versions(*versions: int) -> Extension:
    """RFC 8446, 4.2.1."""
    return _list(43, "supported_versions", 1, u16s(*versions))


def supported_groups(*groups: int) -> Extension:
    """RFC 8446, 4.2.7."""
    return _list(10, "supported_groups", 2, u16s(*groups))


def signature_algorithms(*schemes: int) -> Extension:
    """RFC 8446, 4.2.3."""
    return _list(13, "signature_algorithms", 2, u16s(*schemes))


def key_share(*shares: tuple[int, bytes]) -> Extension:
    """RFC 8446, 4.2.8."""
    entries: list[Node] = []
    for number, (group, share) in enumerate(shares):
        entries += [u16s(group), Vector(_numbered("key_share: share", number), 2, (share,))]
    return Extension(51, "key_share", (Vector("key_share: list", 2, tuple(entries)),))


def pre_shared_key(identity: bytes = b"somebody's key", binder: bytes = bytes(32)) -> Extension:
    """RFC 8446, 4.2.11: an identity that no server here knows. It has to be the last extension."""
    identities = (Vector("pre_shared_key: identity", 2, (identity,)), bytes(4))
    binders = (Vector("pre_shared_key: binder", 1, (binder,)),)
    return Extension(
        41,
        "pre_shared_key",
        (
            Vector("pre_shared_key: identities", 2, identities),
            Vector("pre_shared_key: binders", 2, binders),
        ),
    )


def status_request(responder: bytes = b"", extensions: bytes = b"") -> Extension:
    """RFC 6066, 8."""
    return Extension(
        5,
        "status_request",
        (
            b"\1",
            Vector("status_request: responders", 2, (responder,)),
            Vector("status_request: extensions", 2, (extensions,)),
        ),
    )


def plain(kind: int, name: str, content: bytes = b"") -> Extension:
    """An extension of which nobody looks at the inside."""
    return Extension(kind, name, (content,))


def padding(size: int) -> Extension:
    """RFC 7685."""
    return plain(21, "padding", bytes(size))


def browser(
    name: bytes | None,
    *,
    size: int | None = 517,
    names: Extension | None = None,
    hybrid: bool = False,
    **fields: int | bytes,
) -> tuple[Node, ...]:
    """A hello such as browsers send. `size` is that of the one record that it needs, reached by padding;
    None: no padding. `names` replaces the server_name extension; `hybrid` adds a post-quantum key share."""
    quantum = [(X25519_MLKEM768, b"\7" * 1216)] if hybrid else []
    told = [names] if names is not None else [] if name is None else [server_name(name)]
    extensions = [
        plain(GREASE, "GREASE"),
        *told,
        plain(23, "extended_master_secret"),
        Extension(0xFF01, "renegotiation_info", (Vector("renegotiation_info: data", 1, ()),)),
        supported_groups(GREASE, *(group for group, _ in quantum), X25519, P256, P384),
        _list(11, "ec_point_formats", 1, b"\0"),
        plain(35, "session_ticket"),
        alpn(b"h2", b"http/1.1"),
        status_request(),
        SIGNATURES,
        plain(18, "signed_certificate_timestamp"),
        key_share((GREASE, b"\0"), *quantum, SHARE),
        PSK_MODES,
        supported_versions(GREASE, TLS13_VERSION, TLS12),
        _list(27, "compress_certificate", 1, u16s(2)),
        plain(GREASE + 0x1010, "GREASE #2", b"\0"),
    ]
    return padded(extensions, None if size is None else size - 5, **fields)


def padded(extensions: Sequence[Extension], size: int | None, **fields: int | bytes) -> tuple[Node, ...]:
    """A message of `size` bytes, by a padding extension at the end if it has room for one."""
    message = client_hello(extensions, **fields)  # type: ignore[arg-type]
    missing = -1 if size is None else size - len(encode(message)) - 4
    return client_hello([*extensions, padding(missing)], **fields) if missing >= 0 else message  # type: ignore[arg-type]


def _list(kind: int, name: str, size: int, content: bytes) -> Extension:
    return Extension(kind, name, (Vector(f"{name}: list", size, (content,)),))


def _numbered(name: str, number: int) -> str:
    return name if number == 0 else f"{name} #{number + 1}"


PSK_MODES: Final = Extension(45, "psk_key_exchange_modes", (Vector("psk modes: list", 1, (b"\1",)),))
SHARE: Final = (X25519, bytes(range(1, 33)))
"""Any 32 bytes are a public key, but for a few of small order."""

SIGNATURES: Final = signature_algorithms(0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601)
TLS13: Final[tuple[Extension, ...]] = (
    supported_versions(TLS13_VERSION, TLS12),
    supported_groups(X25519, P256, P384),
    SIGNATURES,
    key_share(SHARE),
)
"""What a server needs to answer with TLS 1.3."""
