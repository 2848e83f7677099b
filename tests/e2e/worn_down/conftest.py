"""What the tests of a proxy under attack share: figures, shown at the end of `make worn-down`."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from support.scale import FULL_SCALE

_figures: list[str] = []


@pytest.fixture
def figure() -> Callable[[str], None]:
    """Takes down one line of what was measured."""
    return _figures.append


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if FULL_SCALE and _figures:
        terminalreporter.section("figures")
        for line in _figures:
            terminalreporter.line(line)
