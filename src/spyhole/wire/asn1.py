"""Just enough ASN.1 to tell whether OpenSSL would decode what two extensions carry.

status_request may hold OCSP responder IDs and X.509 extensions, certificate_authorities holds
distinguished names. Real clients leave them empty or send DER; OpenSSL decodes them while it reads the
hello, so what is not well formed refuses the hello. This checks the same things (tags, lengths, object
identifiers, the kinds of strings). Of BER it knows no indefinite lengths and no strings in pieces, which
OpenSSL would take and nobody sends.
"""

from __future__ import annotations

from typing import Final

Elements = list[tuple[int, bytes]]
"""Tags and contents."""

_BOOLEAN, _BIT_STRING, _OCTET_STRING, _OID, _BMP_STRING, _SEQUENCE, _SET = 1, 3, 4, 6, 30, 0x30, 0x31
_ENCODINGS: Final = {12: "utf-8", 28: "utf-32-be"}
_CONSTRUCTED: Final = 0x20

# What a name may be made of: OpenSSL's printable types, and the numbers that stand for no type.
_NAME_STRINGS: Final = frozenset({3, 7, 8, 9, 11, 12, 13, 14, 15, 0x30, 18, 19, 20, 22, 28, 29, 30})


def is_responder_id(data: bytes) -> bool:
    """Whether `data` is one ResponderID: byName [1] Name or byKey [2] OCTET STRING (RFC 6960, 4.2.1)."""
    outer = _elements(data)
    if outer is None or len(outer) != 1:
        return False
    tag, content = outer[0]
    if tag == 0xA1:
        return is_name(content)
    inner = _elements(content)
    return tag == 0xA2 and inner is not None and [tag for tag, _ in inner] == [_OCTET_STRING]


def is_name(data: bytes) -> bool:
    """Whether `data` is one distinguished name: a SEQUENCE OF SET OF (OID, string) (RFC 5280, 4.1.2.4)."""
    rdns = _list_of(_SEQUENCE, _only(data))
    if rdns is None:
        return False
    for rdn in rdns:
        pairs = _list_of(_SET, rdn)
        if pairs is None or not all(_is_attribute(pair) for pair in pairs):
            return False
    return True


def is_extensions(data: bytes) -> bool:
    """Whether `data` is one SEQUENCE OF Extension (RFC 5280, 4.1)."""
    extensions = _list_of(_SEQUENCE, _only(data))
    return extensions is not None and all(_is_extension(extension) for extension in extensions)


def _is_attribute(element: tuple[int, bytes]) -> bool:
    tag, content = element
    parts = _elements(content)
    return (
        tag == _SEQUENCE
        and parts is not None
        and len(parts) == 2
        and _is_oid(parts[0])
        and _is_string(parts[1])
    )


def _is_extension(element: tuple[int, bytes]) -> bool:
    tag, content = element
    parts = _elements(content)
    if tag != _SEQUENCE or parts is None or len(parts) not in (2, 3) or not _is_oid(parts[0]):
        return False
    critical = parts[1]
    if len(parts) == 3 and not (critical[0] == _BOOLEAN and len(critical[1]) == 1):
        return False
    return parts[-1][0] == _OCTET_STRING


def _is_oid(element: tuple[int, bytes]) -> bool:
    tag, content = element
    if tag != _OID or not content or content[-1] & 0x80:
        return False
    # no number of it begins with zeros
    return all(
        byte != 0x80 or before & 0x80 for before, byte in zip(b"\0" + content, content, strict=False)
    )


def _is_string(element: tuple[int, bytes]) -> bool:
    tag, content = element
    if tag == _BIT_STRING:
        return bool(content) and content[0] <= 7
    if tag == _BMP_STRING:
        return len(content) % 2 == 0 and not any(0xD8 <= high <= 0xDF for high in content[::2])
    encoding = _ENCODINGS.get(tag)
    if encoding is not None:
        try:
            content.decode(encoding)
        except UnicodeDecodeError:
            return False
    return tag in _NAME_STRINGS


def _only(data: bytes) -> tuple[int, bytes]:
    """The one element that is `data`; of the tag 0, which is none, if it is not that."""
    found = _elements(data)
    return found[0] if found and len(found) == 1 else (0, b"")


def _list_of(tag: int, element: tuple[int, bytes]) -> Elements | None:
    """What is inside a SEQUENCE OF or SET OF. OpenSSL does not mind if it is not marked as constructed."""
    return _elements(element[1]) if element[0] | _CONSTRUCTED == tag else None


def _elements(data: bytes) -> Elements | None:
    """The elements that fill `data` exactly, or None."""
    found = []
    pos = 0
    while pos < len(data):
        if pos + 2 > len(data):
            return None
        tag, size = data[pos], data[pos + 1]
        pos += 2
        if size & 0x80:
            count = size & 0x7F
            if not 1 <= count <= 4 or pos + count > len(data):
                return None
            size = int.from_bytes(data[pos : pos + count])
            pos += count
        if pos + size > len(data):
            return None
        found.append((tag, data[pos : pos + size]))
        pos += size
    return found
