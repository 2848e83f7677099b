"""The soak of `make soak`, for seconds instead of minutes: so that it can't rot, and for what it finds."""

from __future__ import annotations

from pathlib import Path

from soak.run import soak


def test_nothing_is_left_of_a_short_one(tmp_path: Path) -> None:
    report = soak(tmp_path, seconds=5.0, clients=16)
    story = "\n".join(report.lines)
    assert not report.wrong, story
    assert "workers killed" in story
    assert "0 workers killed" not in story
