"""Key shares: whether the public value that a client sends for a group is one that a server can use.

Only the groups that OpenSSL 3.0 uses in TLS 1.3 are judged. What a server makes of a share of another
group (GREASE, post-quantum) cannot be known from here, and an OpenSSL that does not have it skips it.
"""

from __future__ import annotations

from typing import Final

_EXACT_SIZES: Final = {
    0x001D: 32,
    0x001E: 56,
    0x0100: 256,
    0x0101: 384,
    0x0102: 512,
    0x0103: 768,
    0x0104: 1024,
}

# y² = x³ - 3x + b (mod p), coordinates of so many bytes (FIPS 186-4, D.1.2)
_CURVES: Final = {
    0x0017: (
        32,
        2**256 - 2**224 + 2**192 + 2**96 - 1,
        0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B,
    ),
    0x0018: (
        48,
        2**384 - 2**128 - 2**96 + 2**32 - 1,
        0xB3312FA7E23EE7E4988E056BE3F82D19181D9C6EFE8141120314088F5013875AC656398D8A2ED19D2A85C8EDD3EC2AEF,
    ),
    0x0019: (
        66,
        2**521 - 1,
        0x0051953EB9618E1C9A1F929A21A0B68540EEA2DA725B99B315F3B8B489918EF109E156193951EC7E937B1652C0BD3BB1BF073573DF883D2C34F1EF451FD46B503F00,
    ),
}


def bad_share(group: int, body: bytes, pos: int, size: int) -> str | None:
    """What is wrong with the `size` bytes at `pos`: "" if nothing, None if OpenSSL has no such group."""
    expected = _EXACT_SIZES.get(group)
    if expected is not None:
        return (
            ""
            if size == expected
            else f"a key share of group 0x{group:04x} has {size} bytes, not {expected}"
        )
    curve = _CURVES.get(group)
    if curve is None:
        return None
    width, p, b = curve
    if size != 2 * width + 1 or body[pos] != 4:
        return f"a key share of group 0x{group:04x} is not an uncompressed point"
    x = int.from_bytes(body[pos + 1 : pos + 1 + width])
    y = int.from_bytes(body[pos + 1 + width : pos + size])
    if x >= p or y >= p or (y * y - (x * x - 3) * x - b) % p:
        return f"a key share of group 0x{group:04x} is not on its curve"
    return ""
