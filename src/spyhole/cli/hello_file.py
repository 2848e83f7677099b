"""A ClientHello in a file, as people have them: raw from a capture, or as hexadecimal text."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Final

import click

LARGEST: Final = 16 << 20
"""Bytes of the file; the largest hello that a TLS record layer can carry is smaller."""

_HEX_TEXT: Final = re.compile(rb"\s*(?:0[xX])?[0-9A-Fa-f][0-9A-Fa-f\s:,]*")


def read_hello_file(path: str, called: str = "--hello") -> bytes:
    """What the client sent, from the file at `path`, or from standard input for `-`.

    Text of hexadecimal digits, with white space, colons or commas between bytes, is decoded. A handshake
    message without its record header gets one. Raises `click.UsageError`, which says what was `called`.
    """
    if path == "-":
        data = sys.stdin.buffer.read(LARGEST + 1)
    else:
        try:
            with Path(path).open("rb") as file:
                data = file.read(LARGEST + 1)
        except OSError as error:
            raise click.UsageError(f"{called} {path!r}: {(error.strerror or str(error)).lower()}") from None
    if not data:
        raise click.UsageError(f"{called} {path!r}: the file is empty")
    if len(data) > LARGEST:
        raise click.UsageError(f"{called} {path!r}: larger than {LARGEST >> 20} MiB")
    return _in_a_record(_from_hex(f"{called} {path!r}", data))


def _from_hex(called: str, data: bytes) -> bytes:
    if not _HEX_TEXT.fullmatch(data):
        return data
    digits = re.sub(rb"0[xX]|[\s:,]", b"", data)
    if len(digits) % 2:
        raise click.UsageError(f"{called}: {len(digits)} hexadecimal digits, an odd number")
    return bytes.fromhex(digits.decode("ascii"))


def _in_a_record(data: bytes) -> bytes:
    """Handshake type 1 and a length that is right: a message out of its records (RFC 8446, 4)."""
    if data[:1] != b"\x01" or len(data) != 4 + int.from_bytes(data[1:4]):
        return data
    pieces = [data[at : at + 0x4000] for at in range(0, len(data), 0x4000)]
    return b"".join(b"\x16\x03\x01" + len(piece).to_bytes(2) + piece for piece in pieces)
