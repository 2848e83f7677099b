"""Python's ssl tells of a name that is not ASCII by `sys.unraisablehook`, which writes to stderr. The first
hello is ours to parse; after a HelloRetryRequest there is a second one, which only OpenSSL sees.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from spyhole.wire.alerts import Alert
from support.certificates import Authority
from support.clients import connect, read_to_end
from support.hellos import TLS13_NEEDS, hello, record, server_name, u16s, vector
from support.spyhole_process import SpyholeProcess


def hello_of(name: bytes, *shares: bytes) -> bytes:
    """A hello whose key share is in a group that nobody has, or for X25519."""
    key_share = 51, vector(b"".join(shares), 2)
    return hello([server_name(name), *TLS13_NEEDS[:3], key_share], ciphers=u16s(0x1301))


FIRST = hello_of(b"end.test", u16s(0x1234) + vector(b"x", 2))
SECOND = hello_of(b"\xffnd.test", u16s(29) + vector(bytes(range(1, 33)), 2))


@pytest.mark.parametrize("level", ["debug", "info"])
def test_a_second_hello(spyhole: Callable[..., SpyholeProcess], authority: Authority, level: str) -> None:
    leaf = authority.issue("end.test")
    proxy = spyhole(
        *("--listen", "127.0.0.1:0", "--route", "*=terminate:127.0.0.1:1", "--workers", "1"),
        *("--cert", leaf.cert, "--key", leaf.key, "--log-level", level),
    )
    for _ in range(3):
        with connect(proxy.sockaddr()) as client:
            client.sendall(record(FIRST))
            retry = client.recv(65536)
            assert retry[:1] == b"\x16"  # a HelloRetryRequest, and not an alert
            client.sendall(record(SECOND, version=0x0303))
            assert read_to_end(client).endswith(Alert.INTERNAL_ERROR.record())
            logged = proxy.record_of(client)
        assert (logged["reason"], logged["alert"]) == ("handshake_failed", "internal_error")
    told = "a second ClientHello with a name that is not ASCII"
    if level == "debug":
        assert " debug worker[1] " in proxy.wait_for_error_log(told)
    proxy.stop()
    said = proxy.error_log_lines()
    assert not any("Exception" in line for line in said)
    assert level == "debug" or not any(told in line for line in said)
