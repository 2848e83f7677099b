"""The outside suites run by `make outside` only: they take minutes, and programs that few have."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from support.public_certificate import PublicAuthority
from support.scale import FULL_SCALE

collect_ignore_glob = [] if FULL_SCALE else ["test_*.py"]

_figures: list[str] = []


@pytest.fixture(scope="session")
def figure() -> Callable[[str], None]:
    """Takes down one line of a result."""
    return _figures.append


@pytest.fixture(scope="session")
def public_authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PublicAuthority]:
    """A CA whose certificates are as public ones are: the suites look closely."""
    return PublicAuthority(tmp_path_factory.mktemp("authority"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _figures:
        terminalreporter.section("results")
        for line in _figures:
            terminalreporter.line(line)
