"""What is right, given OpenSSL's verdict: stories, with verdicts made up."""

from __future__ import annotations

import pytest

from spyhole.conformance.case import Case, Group, Then
from spyhole.conformance.expect import Expected, expect
from spyhole.conformance.oracle import Outcome, Verdict
from spyhole.conformance.routes import (
    ALPHA_NAME,
    BETA_NAME,
    LONG_LABEL_NAME,
    LONGEST_NAME,
    Routes,
    is_host_name,
)

ROUTES = Routes.of(99)
CASE = Case(Group.NAMES, "a case", "a reason", b"")


def accepted(name: bytes | None) -> Verdict:
    return Verdict(Outcome.ACCEPTED, True, name, None, None, b"")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (b"alpha.conformance.test", "to alpha"),
        (b"ALPHA.Conformance.TEST", "to alpha"),
        (b"beta.conformance.test", "to beta"),
        (b"r00042.conformance.test", "to others"),
        (LONG_LABEL_NAME.encode(), "to others"),
        (LONGEST_NAME.encode(), "to others"),
        (b"nobody.test", "to default"),
        (None, "to default"),
        (b"alpha.conformance.test.", "to alpha, or refused"),
        (b"alpha.conformance.test..", "to default, or refused"),
        (b"alpha.conformance.test\n", "to default, or refused"),
        (b"192.0.2.1", "to default, or refused"),
        (b"2001:db8::1", "to default, or refused"),
        (b"", "to default, or refused"),
        ("bücher.test".encode(), "to default, or refused"),
        (b"l" * 64 + b".test", "to default, or refused"),
        (b"n" + LONGEST_NAME.encode(), "to default, or refused"),
    ],
)
def test_what_openssl_accepts_goes_where_its_name_belongs(name: bytes | None, said: str) -> None:
    assert str(expect(CASE, accepted(name), ROUTES)) == said


def test_what_openssl_refuses_goes_nowhere_and_is_told_why() -> None:
    refused = Verdict(Outcome.REFUSED, True, b"alpha.conformance.test", 50, "LENGTH_MISMATCH", b"")
    expected = expect(CASE, refused, ROUTES)
    assert expected == Expected(frozenset(), refusal=True, alert=50)
    assert str(expected) == "refused: decode_error"


def test_what_is_not_tls_is_owed_no_alert() -> None:
    refused = Verdict(Outcome.REFUSED, False, None, 70, "WRONG_VERSION_NUMBER", b"")
    assert expect(Case(Group.NOT_TLS, "", "", b"", tls=False), refused, ROUTES).alert is None


def test_what_openssl_waits_for_is_waited_for() -> None:
    expected = expect(CASE, Verdict(Outcome.WAITING, False, None, None, None, b""), ROUTES)
    assert (expected.backends, expected.waits, str(expected)) == (frozenset(), True, "ended in time")


def test_a_client_without_anything_in_common_may_be_carried_or_refused() -> None:
    unsuited = Verdict(Outcome.UNSUITED, False, None, 70, "UNSUPPORTED_PROTOCOL", b"")
    case = Case(Group.VERSIONS, "", "", b"", server_name=BETA_NAME.encode())
    assert str(expect(case, unsuited, ROUTES)) == "to beta, or refused"


def test_a_case_may_know_better() -> None:
    lenient = Case(Group.CUTS, "", "", b"", may_refuse=True)
    assert str(expect(lenient, accepted(ALPHA_NAME.encode()), ROUTES)) == "to alpha, or refused"
    gone = Case(Group.TIME, "", "", b"", then=Then.RESET)
    assert expect(gone, accepted(ALPHA_NAME.encode()), ROUTES).refusal
    script = Case(Group.MODERN, "", "", b"", backends=frozenset({"gamma"}))
    assert str(expect(script, accepted(None), ROUTES)) == "to gamma"


def test_routes() -> None:
    assert list(Routes.of(1).names.items()) == [(ALPHA_NAME, "alpha")]
    for count in (1, 6, 99, 101, 10_000):
        routes = Routes.of(count)
        assert len(routes) == count
        assert all(is_host_name(name.encode()) for name in routes.names)
    assert len(LONGEST_NAME) == 253
    assert Routes.of(1).place(BETA_NAME.encode()).backend == "default"
