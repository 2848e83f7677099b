"""The judge says what OpenSSL says, also where Python's ssl can't."""

from __future__ import annotations

import sys

import pytest

from spyhole.conformance.cases.plain import WIRE
from spyhole.conformance.hello import TLS13, browser, client_hello, encode, server_name, supported_versions
from spyhole.conformance.oracle import OpenSsl, Outcome
from spyhole.conformance.records import records


def hello(name: bytes) -> bytes:
    return records(encode(browser(name)))


def test_it_accepts_and_tells_the_name(oracle: OpenSsl) -> None:
    verdict = oracle.judge(hello(b"A.test."))
    assert verdict[:5] == (Outcome.ACCEPTED, True, b"A.test.", None, None)
    assert verdict.answer[0] == 22


def test_a_hello_without_a_name(oracle: OpenSsl) -> None:
    verdict = oracle.judge(records(encode(browser(None))))
    assert verdict[:3] == (Outcome.ACCEPTED, True, None)


def test_a_name_that_python_can_not_decode(oracle: OpenSsl, capfd: pytest.CaptureFixture[str]) -> None:
    hook = sys.unraisablehook
    verdict = oracle.judge(hello("bücher.test".encode()))
    assert verdict[:4] == (Outcome.ACCEPTED, True, "bücher.test".encode(), None)
    assert sys.unraisablehook is hook
    assert capfd.readouterr() == ("", "")


def test_it_refuses_with_an_alert(oracle: OpenSsl) -> None:
    names = server_name(b"a.test", b"b.test")
    verdict = oracle.judge(records(encode(browser(None, names=names))))
    assert (verdict.outcome, verdict.alert) == (Outcome.REFUSED, 50)


@pytest.mark.parametrize("size", [0, 1, 5, 100, len(WIRE) - 1])
def test_it_waits(oracle: OpenSsl, size: int) -> None:
    assert oracle.judge(WIRE[:size])[:4] == (Outcome.WAITING, False, None, None)


def test_a_client_that_it_has_nothing_in_common_with(oracle: OpenSsl) -> None:
    extension = supported_versions(0x0A0A)
    verdict = oracle.judge(records(encode(browser(None, names=extension))))
    assert verdict.outcome is Outcome.REFUSED, "supported_versions comes twice"
    only_grease = client_hello([server_name(b"a.test"), extension, *TLS13[1:]])
    assert oracle.judge(records(encode(only_grease))).outcome is Outcome.UNSUITED


@pytest.mark.parametrize("wire", [b"GET / HTTP/1.1\r\n\r\n", b"SSH-2.0-x\r\n", b"\x16\x00\x84\x00\x00"])
def test_what_is_not_tls_gets_no_alert(oracle: OpenSsl, wire: bytes) -> None:
    verdict = oracle.judge(wire)
    assert (verdict.outcome, verdict.alert) == (Outcome.REFUSED, None)
