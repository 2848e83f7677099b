"""What the load generator says is a ClientHello as Spyhole's parser reads it, whatever of it varies."""

from __future__ import annotations

import random

import pytest
from bench.hello import TLS_AES_128_GCM_SHA256, hello

from spyhole.wire.client_hello import ClientHello, ClientHelloParser


@pytest.mark.parametrize("post_quantum", [False, True])
@pytest.mark.parametrize("name", ["reply.bench.test", "n123.routes.bench.test"])
def test_a_hello_is_one_with_its_name_and_size(name: str, post_quantum: bool) -> None:
    made = hello(name, post_quantum=post_quantum)
    assert len(made.wire) == (1700 if post_quantum else 517)
    varied = bytearray(made.wire)
    for start, size in made.vary:
        varied[start : start + size] = random.randbytes(size)
    for wire in (made.wire, bytes(varied)):
        parsed = ClientHelloParser().feed(wire)
        assert isinstance(parsed, ClientHello)
        assert parsed.server_name == name.encode()


def test_the_key_share_is_where_it_is_said_to_be() -> None:
    made = hello("tls.bench.test", ciphers=(TLS_AES_128_GCM_SHA256,))
    assert made.wire[made.share_at - 4 : made.share_at] == b"\x00\x1d\x00\x20"  # x25519, 32 bytes
    assert made.wire[made.share_at : made.share_at + 32] == b"\7" * 32
