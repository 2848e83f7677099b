"""A hello in words: what is shown of real clients, and that nothing a stranger sends breaks it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spyhole.wire import names
from spyhole.wire.client_hello import ClientHello, ClientHelloError, ClientHelloParser
from spyhole.wire.describe import Description, describe, printable
from spyhole.wire.ech import EchKind, judge
from support.hellos import TLS13_NEEDS, Captured, alpn, captured, hello, records, server_name, u16s, vector


def described(*extensions: tuple[int, bytes]) -> Description:
    said = ClientHelloParser().feed(records(hello(extensions)))
    assert isinstance(said, ClientHello)
    return describe(said)


@pytest.mark.parametrize("real", captured(), ids=str)
def test_every_number_of_a_real_client_has_a_name(real: Captured) -> None:
    said = ClientHelloParser().feed(real.wire)
    assert isinstance(said, ClientHello)
    shown = describe(said)
    assert "unknown" not in json.dumps(shown.as_dict())
    assert "unknown" not in shown.as_text()


@pytest.mark.parametrize(
    ("client", "post_quantum", "ech"),
    [
        ("chrome110", "no", EchKind.ABSENT),
        ("chrome120", "no", EchKind.PROBABLY_GREASE),
        ("chrome131", "yes: sends a key share of X25519MLKEM768", EchKind.PROBABLY_GREASE),
        ("firefox147", "yes: sends a key share of X25519MLKEM768", EchKind.PROBABLY_GREASE),
        ("safari155", "no", EchKind.ABSENT),
        ("safari260_ios", "no", EchKind.ABSENT),
    ],
)
def test_browsers(client: str, post_quantum: str, ech: EchKind) -> None:
    said = ClientHelloParser().feed(next(r for r in captured() if r.client.endswith(f" as {client}")).wire)
    assert isinstance(said, ClientHello)
    shown = describe(said)
    assert shown.post_quantum == post_quantum
    assert shown.ech.kind is ech
    assert shown.versions[-1].name in {"TLS 1.2", "TLS 1.0"}


@pytest.mark.parametrize("group", sorted(names.POST_QUANTUM))
def test_post_quantum_groups(group: int) -> None:
    offered = (10, vector(u16s(29, group), 2))
    assert described(offered).post_quantum.startswith("offered, without a key share")
    share = (51, vector(u16s(group) + vector(b"x" * 1216, 2), 2))
    assert described(offered, share).post_quantum.startswith("yes: sends a key share of")
    assert described((10, vector(u16s(29, 23), 2))).post_quantum == "no"


def test_a_hello_of_tls_1_3_field_by_field() -> None:
    shown = described(*TLS13_NEEDS, server_name(b"a.test"), alpn(b"h2"), (45, b"\1\1"), (28, b"\x40\1"))
    assert [v.name for v in shown.versions] == ["TLS 1.3", "TLS 1.2"]
    assert [str(g) for g in shown.groups] == ["x25519 (0x001d)", "secp256r1 (0x0017)", "unknown (0x1234)"]
    assert [(k.group.name, k.size) for k in shown.key_shares] == [("x25519", 32)]
    assert shown.signature_algorithms[0].name == "ecdsa_secp256r1_sha256"
    contents = {e.name.name: e.content for e in shown.extensions}
    assert contents["server_name"] == "a.test"
    assert contents["psk_key_exchange_modes"] == "psk_dhe_ke"
    assert contents["record_size_limit"] == "16385 bytes"
    raw = shown.hello.raw
    for extension in shown.extensions:  # each stands where it says
        assert raw[extension.offset : extension.offset + 2] == extension.name.code.to_bytes(2)


def test_grease_is_marked() -> None:
    shown = described((0x3A3A, b"\0"), (10, vector(u16s(0x8A8A, 29), 2)))
    assert shown.extensions[0].name.grease
    assert [g.grease for g in shown.groups] == [True, False]
    assert shown.as_dict()["groups"][0] == {"code": "0x8a8a", "name": "GREASE", "grease": True}


# ECH

OUTER = b"\0\0\1\0\1\x2a" + vector(bytes(32), 2) + vector(bytes(176), 2)


@pytest.mark.parametrize(
    ("body", "name", "kind"),
    [
        (None, b"a.test", EchKind.ABSENT),
        (OUTER, b"Cloudflare-ECH.com", EchKind.PROBABLY_REAL),
        (OUTER, b"a.test", EchKind.PROBABLY_GREASE),
        (OUTER, None, EchKind.UNDECIDED),
        (OUTER[:6] + vector(bytes(65), 2) + vector(bytes(176), 2), b"a.test", EchKind.UNDECIDED),
        (b"\1", b"a.test", EchKind.INNER),
        (b"", b"a.test", EchKind.MALFORMED),
        (OUTER[:-1], b"a.test", EchKind.MALFORMED),
        (OUTER + b"\0", b"a.test", EchKind.MALFORMED),
        (b"\2" + OUTER[1:], b"a.test", EchKind.MALFORMED),
    ],
)
def test_ech(body: bytes | None, name: bytes | None, kind: EchKind) -> None:
    judged = judge(body, name)
    assert judged.kind is kind
    assert judged.why
    if body == OUTER:
        assert judged[2:] == (42, "HKDF-SHA256, AES-128-GCM", 32, 176)


# laws

KINDS = st.one_of(st.sampled_from(sorted(names.EXTENSIONS)), st.integers(0, 0xFFFF))


@given(st.lists(st.tuples(KINDS, st.binary(max_size=30)), max_size=6, unique_by=lambda e: e[0]))
def test_whatever_the_parser_takes_can_be_described(extensions: list[tuple[int, bytes]]) -> None:
    try:
        said = ClientHelloParser().feed(records(hello(extensions)))
    except ClientHelloError:
        return
    assert isinstance(said, ClientHello)
    shown = describe(said)
    json.dumps(shown.as_dict())
    assert all(line.isprintable() for line in shown.as_text().splitlines())


@given(st.binary())
def test_printable_text_is_harmless_and_loses_nothing(data: bytes) -> None:
    shown = printable(data)
    assert shown.isascii()
    assert shown.isprintable()
    assert shown.encode().decode("unicode_escape").encode("latin-1") == data


def test_names_of_the_registry() -> None:
    assert names.cipher(0x1301).name == "TLS_AES_128_GCM_SHA256"
    assert names.cipher(0xC02F).name == "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"
    assert names.cipher(0xCCA9).name == "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"
    assert names.cipher(0x00FF).name == "TLS_EMPTY_RENEGOTIATION_INFO_SCSV"
    assert names.extension(51).name == "key_share"
    assert names.extension(0xFE0D).name == "encrypted_client_hello"
    assert names.group(0x11EC).name == "X25519MLKEM768"
    assert names.group(23).name == "secp256r1"
    assert names.group(260).name == "ffdhe8192"
    assert names.signature_scheme(0x0804).name == "rsa_pss_rsae_sha256"
    assert names.version(0x7F1C).name == "TLS 1.3 draft 28"
    assert str(names.version(0x0999)) == "unknown (0x0999)"
