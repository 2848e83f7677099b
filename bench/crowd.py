"""Connections that idle on a proxy, and the memory that each of them takes."""

from __future__ import annotations

import resource
import time
from typing import TYPE_CHECKING, Self

from bench.measuring import Sample
from bench.programs import Failed, Program

if TYPE_CHECKING:
    from bench.running import Running
    from bench.works import Work

_SETTLES = 0.1


class Crowd:
    """More and more connections on a proxy that has just been started. A context manager: it ends them."""

    def __init__(self, proxy: Running) -> None:
        self._proxy = proxy
        self._before = proxy.memory()
        self._holders: list[Program] = []
        self._held = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for holder in self._holders:
            holder.kill()

    def grow(self, work: Work, number: int) -> Sample:
        """Open as many as there should be; how much its memory has grown for each. Raises Failed."""
        proxy = self._proxy
        serve = [] if self._holders else proxy.serve("held", "any")  # the first has the backends of all
        opened = ["--open", str(work.open - self._held)]
        try:
            self._holders.append(Program(proxy.load("idle", work.backend, *serve, *opened)))
        except Failed as failure:
            limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
            has = f"it has {proxy.descriptors():,} descriptors open, of {limit:,} that are allowed"
            raise Failed(f"{failure}; {has}") from None
        self._held = work.open
        time.sleep(_SETTLES)
        each = (proxy.memory() - self._before) / work.open
        return Sample(work.key, proxy.name, number, each, 0.0, proxy.cpu(), 0.0, {})
