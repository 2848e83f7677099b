"""The catalogue: every kind of case that is promised, each with its name, and judged as it is meant."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from spyhole.conformance import cases
from spyhole.conformance.case import Case, Group
from spyhole.conformance.cases.plain import MESSAGE, WIRE
from spyhole.conformance.expect import expect
from spyhole.conformance.hello import browser, lengths
from spyhole.conformance.oracle import OpenSsl, Outcome
from spyhole.conformance.routes import ALPHA_NAME, Routes
from support.openssl import LATER

ROUTES = Routes.of(99)
ALL = cases.everything(ROUTES, 2.0)
ONE_BY_ONE = {(case.group, case.name): case for case in ALL}


def case(group: Group, name: str) -> Case:
    return ONE_BY_ONE[group, name]


def test_names_are_unique_and_reasons_given() -> None:
    twice = [key for key, count in Counter((case.group, case.name) for case in ALL).items() if count > 1]
    assert twice == []
    for each in ALL:
        assert each.why, each
        assert each.cve == "" or re.fullmatch(r"CVE-\d{4}-\d{4,}", each.cve), each
        assert each.pieces == () or b"".join(each.pieces) == each.wire, each


def test_every_group_has_cases_and_the_last_one_is_asked_afterwards() -> None:
    assert {case.group for case in ALL} == set(Group) - {Group.AFTERWARDS}
    assert cases.afterwards(1).group is Group.AFTERWARDS


def test_every_byte_of_the_hello_has_its_cut_stall_half_close_and_reset() -> None:
    families = Counter(case.family for case in ALL)
    cuts = sum(count for family, count in families.items() if family.startswith("two records, cut"))
    assert cuts == len(MESSAGE) - 1
    assert families["a stall after each byte"] == len(WIRE) - 1
    assert families["the client ends after each byte of a hello"] == len(WIRE)
    assert families["the client resets after each byte of a hello"] == len(WIRE)


def test_every_length_is_lied_about_both_ways_by_one_and_by_a_hundred() -> None:
    for length in lengths(browser(ALPHA_NAME.encode())):
        for by in (-100, -1, 1, 100):
            possible = 0 <= length.value + by < 256**length.size
            name = f"{length.name}: {abs(by)} too {'many' if by > 0 else 'few'}"
            assert ((Group.LENGTHS, name) in ONE_BY_ONE) == possible


@pytest.mark.parametrize(
    ("group", "name"),
    [
        (Group.CUTS, "one segment for each byte"),
        (Group.CUTS, "records of 1 bytes"),
        (Group.CUTS, "32 empty records first"),
        (Group.CUTS, "a hello of 1.7 KiB, with a post-quantum share"),
        (Group.CUTS, "a hello of 64 KiB, the name last"),
        (Group.CUTS, "another hello behind the first, for another name"),
        (Group.NAMES, "upper case"),
        (Group.NAMES, "UTF-8"),
        (Group.NAMES, "a name of 255 bytes"),
        (Group.NAMES, "an empty name"),
        (Group.LENGTHS, "a session id of 0 bytes"),
        (Group.VERSIONS, "a record of version 3.255"),
        (Group.VERSIONS, "a hello without extensions"),
        (Group.VERSIONS, "TLS 1.3 only"),
        (Group.MODERN, "Encrypted ClientHello, for another name inside"),
        (Group.MODERN, "a pre-shared key and early data"),
        (Group.MODERN, "a session ticket of TLS 1.2"),
        (Group.MODERN, "passed through: a second hello that names somebody else"),
    ],
)
def test_openssl_accepts(oracle: OpenSsl, group: Group, name: str) -> None:
    assert oracle.judge(case(group, name).wire).outcome is Outcome.ACCEPTED


@pytest.mark.parametrize(
    ("group", "name", "alert"),
    [
        (Group.CUTS, "33 empty records first", 10),
        (Group.CUTS, "application data inside the name", 10),
        (Group.CUTS, "one record of 16,385 bytes", 22),
        (Group.CUTS, "a hello of 131,401 bytes, one too many", 47),
        (Group.NAMES, "a name of 256 bytes", 112),
        (Group.NAMES, "NUL and another name", 112),
        (Group.NAMES, "an empty list", 50),
        (Group.NAMES, "two names", 50),
        (Group.NAMES, "two server_name extensions, together", 47),
        (Group.LENGTHS, "a session id of 33 bytes", 50),
        (Group.LENGTHS, "no ciphers", 50 if LATER else 47),
        (Group.LENGTHS, "an odd number of bytes of ciphers", 50),
        (Group.LENGTHS, "a byte behind the extensions", 50),
        (Group.VERSIONS, "a ServerHello", 10),
        (Group.VERSIONS, "a hello in the format of SSL 2.0, for SSL 2.0", 70),
        (Group.MODERN, "a pre-shared key that is not last", 47),
    ],
)
def test_openssl_refuses(oracle: OpenSsl, group: Group, name: str, alert: int) -> None:
    verdict = oracle.judge(case(group, name).wire)
    assert (verdict.outcome, verdict.alert) == (Outcome.REFUSED, alert)


def test_the_name_that_a_case_gives_is_the_one_that_openssl_sees(oracle: OpenSsl) -> None:
    for each in ALL:
        verdict = oracle.judge(each.wire)
        if verdict.seen and each.server_name is not None:
            assert verdict.name == each.server_name, each


def test_with_one_route_only_its_name_is_routed(oracle: OpenSsl) -> None:
    one = Routes.of(1)
    for each in cases.names_only(one):
        expected = expect(each, oracle.judge(each.wire), one)
        assert expected.backends <= {"alpha", "default"}, each
