"""Waiting for what no socket tells of, and making sure that waiting costs the proxy nothing."""

from __future__ import annotations

import select
import time
from collections.abc import Callable

from support.backends import BOUND
from support.clients import STUCK
from support.proc import cpu_ticks


def until(true: Callable[[], object]) -> None:
    """Look again and again until it holds."""
    deadline = time.monotonic() + BOUND
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        select.select([], [], [], 0.01)


def assert_idle(pid: int) -> None:
    """It uses no CPU to speak of while nothing happens."""
    before = cpu_ticks(pid)
    select.select([], [], [], STUCK)
    assert cpu_ticks(pid) - before <= STUCK * 100 / 10
