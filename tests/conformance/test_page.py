"""docs/conformance.md: what it counts and names is what there is."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from spyhole.conformance import cases
from spyhole.conformance.case import Group
from spyhole.conformance.peers import PEERS
from spyhole.conformance.routes import Routes
from spyhole.conformance.scoring import Mark

PAGE = (Path(__file__).parents[2] / "docs" / "conformance.md").read_text(encoding="utf-8")
TEXT, _, RESULTS = PAGE.partition("<!-- results")
ALL = cases.everything(Routes.of(99), 2.0)


def test_the_groups_and_their_cases() -> None:
    told = dict(re.findall(r"^\| `([a-z-]+)` \| ([\d,]+) \|", TEXT, re.MULTILINE))
    counts = Counter(case.group for case in ALL)
    assert told == {group: f"{counts[group] or 1:,}" for group in Group}


def test_the_marks() -> None:
    for mark in Mark:
        assert re.search(rf"^\| {mark} \| {re.escape(mark.description)}", TEXT, re.MULTILINE), mark


def test_the_cves() -> None:
    assert set(re.findall(r"CVE-\d+-\d+", TEXT)) == {case.cve for case in ALL if case.cve}


def test_every_peer_is_named_and_has_results() -> None:
    head = next(line for line in RESULTS.splitlines() if line.startswith("|"))
    for name in PEERS:
        assert name in TEXT
        assert f"| {name} " in head


def test_the_results_are_of_these_groups() -> None:
    for group in Group:
        assert f"\n| {group}: {group.description} | " in RESULTS
