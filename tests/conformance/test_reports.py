"""The report: as text, for machines, and as tables."""

from __future__ import annotations

import json

import pytest

from spyhole.conformance.case import Case, Group, Severity
from spyhole.conformance.document import as_document, markdown
from spyhole.conformance.expect import Expected
from spyhole.conformance.lines import gather
from spyhole.conformance.report import Options, Report
from spyhole.conformance.scoring import Came, Result, not_tried, score
from spyhole.conformance.text import Tone, rows

LEGAL = Expected(frozenset({"alpha"}))
BROKEN = Expected(frozenset(), refusal=True, alert=50)
WAITS = Expected(frozenset(), refusal=True, waits=True)


def case(name: str, group: Group = Group.CUTS, family: str = "", **more: str) -> Case:
    return Case(group, name, "because (RFC 1, 2)", b"", Severity.HIGH, family=family, **more)


def cut(at: int, came: Came) -> Result:
    return score(case(f"cut at {at}", family="cut in two"), 99, LEGAL, came)


@pytest.fixture
def report() -> Report:
    results = [
        score(case("whole"), 99, LEGAL, Came("alpha")),
        *(cut(at, Came("alpha")) for at in (1, 2, 3)),
        *(cut(at, Came("default")) for at in (4, 5)),
        score(case("broken", Group.LENGTHS, cve="CVE-2020-8660"), 99, BROKEN, Came("alpha")),
        score(case("broken, and not told", Group.LENGTHS), 99, BROKEN, Came(ended=True)),
        score(case("broken, and told wrong", Group.LENGTHS), 99, BROKEN, Came(ended=True, alert=47)),
        *(score(case("a name", Group.NAMES), n, LEGAL, Came("alpha")) for n in (1, 99)),
        score(case("a name", Group.NAMES), 10_000, LEGAL, Came(ended=True)),
        score(case("a stall", Group.TIME, "stalls"), 99, WAITS, Came(ended=True, seconds=2.04)),
        score(case("a longer stall", Group.TIME, "stalls"), 99, WAITS, Came(ended=True, seconds=2.31)),
        not_tried(case("ended here", Group.MODERN), 99, LEGAL, "it does not terminate TLS"),
    ]
    return Report("a proxy", "1.2.3", Options(), results, openssl="OpenSSL 3.0.0", seconds=7.0)


def text(report: Report, *, every_case: bool = False, only_wrong: bool = False) -> str:
    found = rows(report, every_case=every_case, only_wrong=only_wrong)
    return "\n".join(row.text for row in found)


def test_text(report: Report) -> None:
    assert text(report) == EXPECTED.strip("\n")


EXPECTED = """
a proxy 1.2.3, judged by OpenSSL 3.0.0
15 cases; 1, 99, 10,000 routes; a hello has 2 s

cuts: one hello, cut over segments and records in every way, and of every size
  ✓ whole               to alpha
  ✓ cut in two     3 ×  to alpha
  ✗ cut in two     2 ×  to alpha
      came to default: misrouted, high
      because (RFC 1, 2)

names: server names, and what is none
  ✓ a name (1, 99 routes)      2 ×  to alpha
  ✗ a name (10,000 routes)          to alpha
      came refused, without an alert: turned away, high
      because (RFC 1, 2)

lengths: every length that says too much or too little, and what is left over
  ✗ broken                          refused: decode_error
      came to alpha: forwarded, high
      because (RFC 1, 2); CVE-2020-8660
  ~ broken, and not told            refused: decode_error; came no alert
  ~ broken, and told wrong          refused: decode_error; came illegal_parameter

modern: Encrypted ClientHello, early data, pre-shared keys, HelloRetryRequest
  - ended here          to alpha; not tried: it does not terminate TLS

time: silence, stalls, half-close and reset, at every byte
  ✓ stalls     2 ×  ended in time, after 2.0 to 2.3 s

          cases   right   misrouted   forwarded   turned away   changed   left open   alerts
cuts          6       4           2           0             0         0           0        -
names         3       2           0           0             1         0           0        -
lengths       3       2           0           1             0         0           0   0 of 2
modern        0       0           0           0             0         0           0        -
time          2       2           0           0             0         0           0        -
all          14      10           2           1             1         0           0   0 of 2

1 not tried: the proxy has no means for them, or is not set up for them
legal hellos that reached their backend: 6 of 9
Not all is right, in 7 s: 4 high, 2 low.
"""


def test_text_of_what_is_wrong_only(report: Report) -> None:
    said = text(report, only_wrong=True)
    assert "whole" not in said
    assert "✗ cut in two" in said
    assert "legal hellos that reached their backend" in said


def test_text_of_every_case(report: Report) -> None:
    said = text(report, every_case=True)
    assert [f"cut at {at} " in said for at in range(1, 6)] == [True] * 5


def test_all_right(report: Report) -> None:
    report.results = report.results[:4]
    assert report.all_right
    *_, last = rows(report)
    assert last == ("All 4 are right, in 7 s.", Tone.RIGHT)
    report.notes.append("a proxy with 99 routes ended by itself")
    assert not report.all_right
    assert "ended by itself" in text(report)


def test_document(report: Report) -> None:
    document = json.loads(json.dumps(as_document(report)))
    assert (document["proxy"], document["version"]) == ("a proxy", "1.2.3")
    assert document["score"]["misrouted"] == 2
    assert document["score"]["legal_right"] == 6
    assert document["groups"]["lengths"] == {
        **document["groups"]["lengths"],
        "cases": 3,
        "right": 2,
        "forwarded": 1,
        "alerts": 2,
        "alerts_right": 0,
        "high": 1,
        "low": 2,
    }
    assert len(document["cases"]) == 15
    broken = next(each for each in document["cases"] if each["name"] == "broken")
    assert broken == {
        "group": "lengths",
        "name": "broken",
        "routes": 99,
        "why": "because (RFC 1, 2)",
        "cve": "CVE-2020-8660",
        "severity": "high",
        "expected": "refused: decode_error",
        "came": "to alpha",
        "mark": "forwarded",
        "alert": None,
        "seconds": 0.0,
    }


def test_markdown_puts_proxies_side_by_side(report: Report) -> None:
    good = Report("another", "2", Options(), [cut(at, Came("alpha")) for at in range(1, 6)])
    said = markdown([as_document(report), as_document(good)]).splitlines()
    assert "|  | a proxy 1.2.3 | another 2 |" in said
    assert "| misrouted | 2 | 0 |" in said
    assert "| cut in two | misrouted to default (2) | ✓ |" in said
    assert "| broken | forwarded to alpha | ✓ |" in said
    assert not any(line.startswith(("| whole", "| broken, and")) for line in said)


def test_lines_keep_families_together(report: Report) -> None:
    assert [(line.title, line.count) for line in gather(report.results[:6])] == [
        ("whole", 1),
        ("cut in two", 3),
        ("cut in two", 2),
    ]
