from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spyhole.errors import OperatorError
from spyhole.upstreams.address import ANY_HOST, AddressError, TcpAddress, UnixAddress, parse_address

ports = st.integers(1, 65535)
labels = st.from_regex(r"[a-z_][a-z0-9_-]{0,20}", fullmatch=True)
# str() of a mapped address is '::ffff:a00:1' up to Python 3.12
ipv6 = st.ip_addresses(v=6).map(lambda ip: f"::ffff:{ip.ipv4_mapped}" if ip.ipv4_mapped else str(ip))
hosts = st.one_of(
    st.ip_addresses(v=4).map(str),
    ipv6,
    ipv6.map("{}%eth0.7".format),
    st.lists(labels, min_size=1, max_size=5).map(".".join),
)
paths = st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1).filter(
    lambda path: len(path.encode()) <= 107 and path[0] != "@" and not path.startswith("//")
)
addresses = st.one_of(st.builds(TcpAddress, hosts, ports), st.builds(UnixAddress, paths))


@given(addresses)
def test_text_and_value_are_the_same_thing(address: TcpAddress | UnixAddress) -> None:
    assert parse_address(str(address)) == address
    assert parse_address(str(address), listening=True) == address


@given(st.text(max_size=40) | st.from_regex(r"[\[\]a-f0-9:.%*@/-]{0,30}:[0-9]{0,6}", fullmatch=True))
def test_any_text_is_an_address_or_an_error_that_shows_it(text: str) -> None:
    address = error = None
    try:
        address = parse_address(text)
    except AddressError as raised:
        error = raised
    assert parse_address(str(address)) == address if error is None else repr(text) in str(error)


@pytest.mark.parametrize(
    ("text", "address", "family"),
    [
        ("10.0.0.5:443", TcpAddress("10.0.0.5", 443), 4),
        ("[::1]:443", TcpAddress("::1", 443), 6),
        ("[2001:DB8:0:0:0:0:0:1]:1", TcpAddress("2001:db8::1", 1), 6),
        ("[fe80::1%eth0]:65535", TcpAddress("fe80::1%eth0", 65535), 6),
        ("[::ffff:10.0.0.1]:80", TcpAddress("::ffff:10.0.0.1", 80), 6),
        ("[::FFFF:a00:1%eth0]:80", TcpAddress("::ffff:10.0.0.1%eth0", 80), 6),
        ("Web.Example.COM:443", TcpAddress("web.example.com", 443), None),
        ("web.example.com.:443", TcpAddress("web.example.com.", 443), None),
        ("my_service:8080", TcpAddress("my_service", 8080), None),
        ("bücher.example:80", TcpAddress("xn--bcher-kva.example", 80), None),
    ],
)
def test_tcp(text: str, address: TcpAddress, family: int | None) -> None:
    parsed = parse_address(text)
    assert parsed == address
    assert isinstance(parsed, TcpAddress)
    assert parsed.family == family
    if family == 4:
        IPv4Address(parsed.host)
    if family == 6:
        IPv6Address(parsed.host)


def test_unix_paths_may_be_relative_and_are_107_bytes_at_most() -> None:
    assert parse_address("unix:/run/x.sock") == UnixAddress("/run/x.sock")
    assert parse_address("unix:x.sock") == UnixAddress("x.sock")
    assert parse_address("unix:" + "x" * 107) == UnixAddress("x" * 107)
    with pytest.raises(AddressError, match="108 bytes"):
        parse_address("unix:" + "x" * 108)
    with pytest.raises(AddressError, match="108 bytes"):
        parse_address("unix:" + "ü" * 54)  # bytes count, not characters


def test_a_listening_address_may_leave_host_and_port_open() -> None:
    for text in ("*:443", ":443"):
        assert parse_address(text, listening=True) == TcpAddress(ANY_HOST, 443)
        with pytest.raises(AddressError, match="expected a host"):
            parse_address(text)
    assert str(parse_address(":0", listening=True)) == "*:0"
    with pytest.raises(AddressError, match="from 1 to 65535"):
        parse_address("localhost:0")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected 'host:port' or 'unix:/path'"),
        ("10.0.0.5", "'10.0.0.5:443'"),
        ("::1", r"'\[::1\]:443'"),
        ("fe80::1:2::3", "in brackets"),
        ("[::1]", "expected a port after the bracket"),
        ("[::1]443", "expected a port after the bracket"),
        ("[::1:443", "bracket is not closed"),
        ("[10.0.0.5]:443", "not an IPv6 address"),
        ("[fe80::1%]:443", "expected an interface"),
        ("[::1%a b]:443", "expected an interface"),
        ("10.0.0.5:", "port ''"),
        ("10.0.0.5:65536", "from 1 to 65535"),
        ("10.0.0.5:0443", "port '0443'"),
        ("10.0.0.5:+443", "expected a number"),
        ("10.0.0.5:４４３", "expected a number"),  # int() would take these digits
        ("10.0.0.5:443\n", "expected a number"),
        ("10.0.0:443", "not an IPv4 address"),
        ("256.0.0.1:443", "not an IPv4 address"),
        ("010.0.0.1:443", "no leading zeros"),
        ("0x7f000001:443", "not an IPv4 address"),
        ("a..b:443", "a label is empty"),
        ("a b:443", "b' ' at 1"),
        (f"{'a' * 64}:443", "64 bytes, where 63"),
        ("straße.example:443", "xn--strae-oqa"),
        ("https://a.example:443", "not a URL"),
        ("/run/x.sock", "'unix:/run/x.sock'"),
        ("unix:", "expected a path"),
        ("unix:@x", "abstract"),
        ("unix:///run/x", "'unix:/run/x'"),
        ("unix:/a\0b", "NUL"),
    ],
)
def test_an_error_says_what_was_expected(text: str, said: str) -> None:
    with pytest.raises(AddressError, match=said) as raised:
        parse_address(text)
    assert repr(text) in str(raised.value)
    assert isinstance(raised.value, OperatorError)
