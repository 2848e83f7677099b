"""The inputs that fuzzing begins with: our own captured hellos, hostile ones, and scripts."""

from __future__ import annotations

from collections.abc import Iterator

from fuzz.targets import KINDS, SEEN
from spyhole.wire.client_hello import ClientHello
from spyhole.wire.message import take_apart
from support.hellos import captured
from support.hostile_hellos import HOSTILE, ODD
from support.parser_laws import answer

_NAME = bytes.fromhex("302331143012060a0992268993f22c640119160474657374310b300906035504030c025879")


def seeds(target: str) -> Iterator[bytes]:
    """For the target of this name."""
    if target == "first_bytes":
        yield from (real.wire for real in captured())
        yield from (wire for wire, _ in HOSTILE.values() if len(wire) < 2000)
        yield from (wire for wire in ODD.values() if len(wire) < 2000)
        yield from (
            b"GET / HTTP/1.1\r\n\r\n",
            b"SSH-2.0-x\r\n",
            b"\x16\x00\x84\x01\x03",
            b"\x80\x2e\x01\x03",
        )
    elif target == "extensions":
        for wire in [*(real.wire for real in captured()), *ODD.values(), *(w for w, _ in HOSTILE.values())]:
            said = answer(wire)
            if isinstance(said, ClientHello):
                listed = take_apart(said.raw).extensions
                yield b"\1" + b"".join(
                    bytes([KINDS.index(e.kind), len(e.body)]) + e.body
                    for e in listed
                    if e.kind in KINDS and len(e.body) < 256
                )
    elif target == "der":
        yield b"\0" + _NAME
        yield b"\1\xa1\x25" + _NAME
        yield b"\1\xa2\x16\x04\x14" + bytes(20)
        yield b"\2" + bytes.fromhex("3011300f06092b06010505073001020402aabb")
        yield b"\2" + bytes.fromhex("300f300d0603551d130101ff0403300100")
    elif target == "familiar":
        for number, wire in enumerate(SEEN):
            for extension in take_apart(wire[5:]).extensions:
                if extension.kind in {0, 51}:  # the first bytes of what it says
                    yield bytes([number]) + (5 + extension.offset + 9).to_bytes(2) + b"\x04\0\0\0\0"
            yield bytes([number, 0, 11, 4, 1, 2, 3, 4])  # the random
            yield bytes([128 | number, 0, 11, 4, 1, 2, 3, 4])
    elif target == "server_name":
        yield from (
            b"a.test",
            b"b.a.test",
            b"c.b.a.test.",
            b"192.0.2.1",
            b"[2001:db8::1%eth0]",
            b"a.test\n",
        )
        yield from (
            b"xn--bcher-kva.test",
            b"_a.-b-.test",
            b"a" * 63 + b".test",
            b"A.TEST",
            b".",
            b"a..test",
        )
    elif target == "pattern":
        texts = (
            "a.test",
            "*.a.test",
            "**.a.test",
            "*",
            "bücher.test",
            "straße.test",
            "例え.テスト",
            "a.*.test",
        )
        yield from (text.encode() for text in texts)
        yield from (
            text.encode() for text in ("~a", "^a$", "192.0.2.1", "[::1]", ".a.test", "a.test.", "☕.test")
        )
    else:
        yield bytes([1, 0, 0, 10, 0, 200, 3, 0, 2, 0])  # writes, a close_notify, the end
        yield bytes([0, 0, 0, 10, 4, 255, 3, 0, 2, 0])
        yield bytes([1, 0, 0, 10, 5, 30, 0, 10])  # a changed record
        yield bytes([1, 0, 0, 10, 1, 5, 23, 3, 3, 0, 0, 0, 4])  # an empty record
        yield bytes([0, 0, 0, 10, 6, 9, 2, 0])  # a part of a record, and the end
        yield bytes([3, 7, 255, 255, 255])  # the hello is disturbed
        yield bytes([2, 8, 22, 3, 3])  # what follows it is
        yield bytes([1, 0, 0, 10, 128, 3, 64, 4, 3, 0, 2, 0])  # the engine closes first
