"""Marks: stories of what may come, and how they add up."""

from __future__ import annotations

from dataclasses import replace

import pytest

from spyhole.conformance.case import Case, Group, Severity, Then
from spyhole.conformance.expect import Expected
from spyhole.conformance.scoring import AlertMark, Came, Mark, Result, Tally, not_tried, score

CASE = Case(Group.CUTS, "a case", "a reason", b"", Severity.HIGH)
FOREIGN = Case(Group.NOT_TLS, "another", "a reason", b"", Severity.LOW, tls=False)
LEGAL = Expected(frozenset({"alpha"}))
LENIENT = Expected(frozenset({"alpha"}), refusal=True)
BROKEN = Expected(frozenset(), refusal=True, alert=50)
WAITS = Expected(frozenset(), refusal=True, waits=True)


def result(expected: Expected, came: Came, case: Case = CASE) -> Result:
    return score(case, 99, expected, came)


@pytest.mark.parametrize(
    ("expected", "came", "mark"),
    [
        (LEGAL, Came("alpha"), Mark.RIGHT),
        (LEGAL, Came("beta"), Mark.MISROUTED),
        (LEGAL, Came("default"), Mark.MISROUTED),
        (LEGAL, Came("alpha", intact=False), Mark.CHANGED),
        (LEGAL, Came(ended=True), Mark.TURNED_AWAY),
        (LEGAL, Came(ended=True, alert=50), Mark.TURNED_AWAY),
        (LEGAL, Came(), Mark.LEFT_OPEN),
        (LEGAL, Came(answered=True), Mark.LEFT_OPEN),
        (LENIENT, Came("alpha"), Mark.RIGHT),
        (LENIENT, Came(ended=True), Mark.RIGHT),
        (LENIENT, Came("default"), Mark.MISROUTED),
        (BROKEN, Came(ended=True, alert=50), Mark.RIGHT),
        (BROKEN, Came(ended=True), Mark.RIGHT),
        (BROKEN, Came("alpha"), Mark.FORWARDED),
        (BROKEN, Came(), Mark.LEFT_OPEN),
        (WAITS, Came(ended=True), Mark.RIGHT),
        (WAITS, Came(), Mark.LEFT_OPEN),
        (WAITS, Came("default"), Mark.FORWARDED),
    ],
)
def test_marks(expected: Expected, came: Came, mark: Mark) -> None:
    assert result(expected, came).mark is mark


@pytest.mark.parametrize(
    ("expected", "came", "alert"),
    [
        (BROKEN, Came(ended=True, alert=50), AlertMark.RIGHT),
        (BROKEN, Came(ended=True, alert=47), AlertMark.OTHER),
        (BROKEN, Came(ended=True), AlertMark.NONE),
        (BROKEN, Came("alpha"), None),
        (LENIENT, Came(ended=True, alert=112), None),
        (LENIENT, Came("alpha"), None),
        (WAITS, Came(ended=True), None),
    ],
)
def test_alerts_are_a_mark_of_their_own(expected: Expected, came: Came, alert: AlertMark | None) -> None:
    assert result(expected, came).alert is alert


@pytest.mark.parametrize(
    ("case", "mark"),
    [
        (CASE, Mark.TURNED_AWAY),
        (replace(CASE, then=Then.FIN), Mark.RIGHT),
        (replace(CASE, may_refuse=True), Mark.RIGHT),
        (FOREIGN, Mark.RIGHT),
    ],
    ids=["there is time left", "the client has ended", "it may be refused", "it is not TLS"],
)
def test_a_part_of_a_hello_is_waited_for(case: Case, mark: Mark) -> None:
    assert result(WAITS, Came(ended=True, early=True), case).mark is mark


def test_a_proxy_that_tells_other_protocols_no_in_their_words_has_refused() -> None:
    assert result(BROKEN, Came(answered=True), FOREIGN).mark is Mark.RIGHT
    assert result(BROKEN, Came(), FOREIGN).mark is Mark.LEFT_OPEN


def test_severity_is_the_case_s_and_low_for_an_alert_alone() -> None:
    assert result(BROKEN, Came("alpha")).severity is Severity.HIGH
    assert result(BROKEN, Came(ended=True)).severity is Severity.LOW
    assert result(BROKEN, Came(ended=True, alert=50)).severity is None
    assert result(LENIENT, Came(ended=True)).severity is None


def test_a_tally() -> None:
    results = [
        result(LEGAL, Came("alpha")),
        result(LEGAL, Came("beta")),
        result(LENIENT, Came(ended=True)),
        result(BROKEN, Came(ended=True)),
        result(BROKEN, Came(ended=True, alert=50)),
        not_tried(CASE, 99, LEGAL, "it can't"),
    ]
    tally = Tally.of(results)
    assert (tally.tried, tally.right) == (5, 4)
    assert (tally.legal, tally.legal_right) == (2, 1)
    assert (tally.alerts_owed, tally.alerts[AlertMark.RIGHT]) == (2, 1)
    assert tally.severities == {Severity.HIGH: 1, Severity.LOW: 1}
    assert not tally.all_right
    assert Tally.of([results[0], results[2], results[4], results[5]]).all_right
    assert not Tally.of([results[3]]).all_right, "no alert is not all right"
