from __future__ import annotations

import string
from ipaddress import ip_address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from spyhole.routing.host_names import InvalidServerName, parse_server_name

ALPHABET = string.ascii_letters + string.digits + "-_"
labels = st.text(ALPHABET, min_size=1, max_size=63)
names = st.lists(labels, min_size=1, max_size=8).map(".".join)


def plainly(raw: bytes) -> str | None:
    """The rule, written without a regular expression; raises ValueError."""
    text = raw.decode("ascii").removesuffix(".") if raw != b"." else "."
    try:
        ip_address(text.removeprefix("[").removesuffix("]") if text[:1] + text[-1:] == "[]" else text)
    except ValueError:
        pass
    else:
        return None
    if len(text) > 253:
        raise ValueError(text)
    for label in text.split("."):
        if not 1 <= len(label) <= 63 or set(label) - set(ALPHABET):
            raise ValueError(text)
    return "".join(chr(ord(c) + 32) if "A" <= c <= "Z" else c for c in text)


@given(st.one_of(names.map(str.encode), st.binary(max_size=300), st.from_regex(rb"[a-c.\n%:\[\]0-9]{0,9}")))
@example(b"a." * 126 + b"a")
@example(b"a." * 127)
@example(b"a." * 127 + b"a")
@example(b"1.2.3.4.")
@example(b"::1")
@example(b"[::1]")
@example(b"x" * 64)
def test_a_name_is_what_the_rule_says(raw: bytes) -> None:
    if b"%" in raw:
        return  # zone ids have a test of their own
    try:
        expected = plainly(raw)
    except ValueError:
        with pytest.raises(InvalidServerName):
            parse_server_name(raw)
    else:
        assert parse_server_name(raw) == expected


@given(names)
def test_case_and_one_trailing_dot_do_not_count(name: str) -> None:
    if len(name) <= 253:
        once = parse_server_name(name.encode())
        assert parse_server_name(name.swapcase().encode()) == once
        assert parse_server_name(name.encode() + b".") == once
        assert once is None or parse_server_name(once.encode()) == once


@pytest.mark.parametrize(
    "raw", [b"1.2.3.4", b"1.2.3.4.", b"::1", b"[::1]", b"fe80::1%eth0", b"::ffff:1.2.3.4"]
)
def test_an_ip_literal_is_no_name(raw: bytes) -> None:
    assert parse_server_name(raw) is None


@pytest.mark.parametrize(
    "raw", [b"_dmarc.a.test", b"-a-.test", b"xn--bcher-kva.test", b"localhost", b"1.2.3", b"a.1"]
)
def test_names_that_real_hosts_have(raw: bytes) -> None:
    assert parse_server_name(raw) == raw.decode()


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (b"", "it is empty"),
        (b".", "the root"),
        (b"a.test\n", r"b'\\n' at 6"),
        (b"a.test\0.evil.test", r"b'\\x00' at 6"),
        (b"a.test..", "a label is empty"),
        (b".a.test", "a label is empty"),
        (b"a..test", "a label is empty"),
        (b"*.a.test", r"b'\*' at 0"),
        (b"a.test:443", "b':' at 6"),
        (b"fe80::1%\n", r"b':' at 4"),
        ("bücher.test".encode(), "not ASCII"),
        (b"x" * 64 + b".test", "a label of 64 bytes, where 63"),
        (b"a." * 127 + b"a", "255 bytes, where 253"),
    ],
)
def test_any_other_name_is_refused_with_what_is_wrong(raw: bytes, problem: str) -> None:
    with pytest.raises(InvalidServerName, match=problem) as raised:
        parse_server_name(raw)
    assert raised.value.raw == raw


def test_the_error_does_not_repeat_a_huge_name() -> None:
    with pytest.raises(InvalidServerName, match="65535 bytes") as raised:
        parse_server_name(b"a" * 65534 + b"\n")
    assert len(str(raised.value)) < 250
