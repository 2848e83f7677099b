"""Just enough ASN.1 to tell whether OpenSSL would decode what two extensions carry.

status_request holds OCSP responder IDs and X.509 extensions, certificate_authorities holds
distinguished names. Real clients leave them empty or send DER; OpenSSL decodes them while it reads
the hello, so a value that is not well formed refuses the hello. This checks the structure (tags,
lengths, nothing left over), definite lengths only; it decodes no value.
"""

from __future__ import annotations

_BOOLEAN, _OCTET_STRING, _OID, _SEQUENCE, _SET = 0x01, 0x04, 0x06, 0x30, 0x31


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
    """Whether `data` is one distinguished name: a SEQUENCE OF SET OF (OID, value) (RFC 5280, 4.1.2.4)."""
    rdns = _only(data, _SEQUENCE)
    if rdns is None:
        return False
    for set_tag, rdn in rdns:
        pairs = _elements(rdn)
        if set_tag != _SET or pairs is None:
            return False
        for pair_tag, pair in pairs:
            parts = _elements(pair)
            if pair_tag != _SEQUENCE or parts is None or len(parts) != 2 or not _is_oid(parts[0]):
                return False
    return True


def is_extensions(data: bytes) -> bool:
    """Whether `data` is one SEQUENCE OF Extension (RFC 5280, 4.1)."""
    extensions = _only(data, _SEQUENCE)
    if extensions is None:
        return False
    for tag, extension in extensions:
        parts = _elements(extension)
        if tag != _SEQUENCE or not parts or not _is_oid(parts[0]) or parts[-1][0] != _OCTET_STRING:
            return False
        if len(parts) == 3 and not (parts[1][0] == _BOOLEAN and len(parts[1][1]) == 1):
            return False
        if len(parts) not in (2, 3):
            return False
    return True


def _only(data: bytes, tag: int) -> list[tuple[int, bytes]] | None:
    """What is inside `data` if that is one element of this tag and nothing more."""
    outer = _elements(data)
    return _elements(outer[0][1]) if outer and len(outer) == 1 and outer[0][0] == tag else None


def _is_oid(element: tuple[int, bytes]) -> bool:
    tag, content = element
    return tag == _OID and bool(content) and not content[-1] & 0x80


def _elements(data: bytes) -> list[tuple[int, bytes]] | None:
    """The (tag, content) pairs that fill `data` exactly, or None."""
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
