"""docs/access-log.md says what the code does, key for key and reason for reason."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from spyhole.observe.formats import MAX_LINE, MAX_LISTED, MAX_TEXT, json_line
from spyhole.observe.record import ConnectionRecord
from spyhole.outcome import EndedBy, Reason


@pytest.fixture(scope="module")
def page() -> str:
    return (Path(__file__).resolve().parents[2] / "docs" / "access-log.md").read_text(encoding="utf-8")


def section(page: str, title: str) -> str:
    return page.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_the_keys_are_documented_in_their_order(page: str) -> None:
    documented = re.findall(r"^\| `(\w+)` \|", section(page, "Keys"), re.MULTILINE)
    assert documented == list(json.loads(json_line(ConnectionRecord(0.0, "", ""))))


def test_the_reasons_are_documented_in_their_order(page: str) -> None:
    rows = [f"| `{reason.value}` | {reason.description} |" for reason in Reason]
    documented = section(page, "Reasons").partition("|---|---|\n")[2].strip().splitlines()
    assert documented == rows, "the rows have to be:\n" + "\n".join(rows)


def test_who_can_end_a_connection_is_documented(page: str) -> None:
    (row,) = (line for line in page.splitlines() if line.startswith("| `ended_by`"))
    assert re.findall(r"`(\w+)`", row) == ["ended_by", *EndedBy]


def test_the_limits_are_documented(page: str) -> None:
    assert f"{MAX_TEXT} characters are written" in page
    assert f"{MAX_LISTED} entries are written" in page
    assert f"longer than {MAX_LINE} bytes" in page
