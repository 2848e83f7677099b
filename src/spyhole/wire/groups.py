"""Key shares: whether the public value that a client sends for a group is one that a server can use.

Only the groups that OpenSSL 3.0 uses in TLS 1.3 are judged. What a server makes of a share of another
group (GREASE, post-quantum) cannot be known from here, and an OpenSSL that does not have it skips it.
Of a finite-field share only the size is checked: whether it is in the right subgroup would cost
milliseconds, and OpenSSL answers one that is not with internal_error.
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
CURVES: Final = {
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


def _small_order(size: int, prime: int, points: tuple[int, ...], spare_bits: int) -> frozenset[bytes]:
    """The values that give any server the shared secret zero (RFC 7748, 6), however they are encoded."""
    values = {p + k * prime for p in points for k in (0, 1) if p + k * prime < 2 ** (8 * size - spare_bits)}
    marked = {v | top << (8 * size - 1) for v in values for top in range(spare_bits + 1)}
    return frozenset(v.to_bytes(size, "little") for v in marked)


_P25519: Final = 2**255 - 19
_P448: Final = 2**448 - 2**224 - 1
_EIGHTH: Final = (  # points of order 8
    0x00B8495F16056286FDB1329CEB8D09DA6AC49FF1FAE35616AEB8413B7C7AEBE0,
    0x57119FD0DD4E22D8868E1C58C45C44045BEF839C55B1D0B1248C50A3BC959C5F,
)
WEAK: Final = {
    0x001D: _small_order(32, _P25519, (0, 1, _P25519 - 1, *_EIGHTH), 1),
    0x001E: _small_order(56, _P448, (0, 1, _P448 - 1), 0),
}


def bad_share(group: int, body: bytes, pos: int, size: int) -> str | None:
    """What is wrong with the `size` bytes at `pos`: "" if nothing, None if OpenSSL has no such group."""
    expected = _EXACT_SIZES.get(group)
    if expected is not None:
        if size != expected:
            return f"{size} bytes for group 0x{group:04x}, not {expected}"
        return ""
    curve = CURVES.get(group)
    if curve is None:
        return None
    width, p, b = curve
    if size != 2 * width + 1 or body[pos] != 4:
        return f"not an uncompressed point for group 0x{group:04x}"
    x = int.from_bytes(body[pos + 1 : pos + 1 + width])
    y = int.from_bytes(body[pos + 1 + width : pos + size])
    if x >= p or y >= p or (y * y - (x * x - 3) * x - b) % p:
        return f"a point off the curve of group 0x{group:04x}"
    return ""


def is_weak(group: int, value: bytes) -> bool:
    """Whether a share that is not bad is of small order: found only when the secret is derived."""
    weak = WEAK.get(group)
    return weak is not None and value in weak
