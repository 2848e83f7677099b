"""The figures to reach, and whether they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.results import OURS, Results, Spread

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Target:
    """A value that is to be at most `most`."""

    group: str
    """What the work's name goes on from."""
    work: str
    """The key of the work."""
    most: float
    to: str = "haproxy"
    """Ours : whose. `best`: the best of the others. `itself`: ours in `base`. ``: not a ratio."""
    what: str = "figure"
    """See `value_of`. Of `rate`, the other's : ours counts, so that less is better here too."""
    base: str = ""

    def found(self, results: Results) -> Spread | None:
        """The value; None when it was not measured."""
        if self.to == "itself":
            return results.growth(self.work, self.base, OURS)
        if not self.to:
            return self.ours(results)
        other = self.other(results)
        pair = (other, OURS) if self.what == "rate" else (OURS, other)
        return results.ratio(self.work, *pair, self.what)

    def ours(self, results: Results) -> Spread | None:
        """What is compared."""
        return results.spread(self.work, OURS, self.what)

    def theirs(self, results: Results) -> Spread | None:
        """What it is compared with; None when it is not a ratio."""
        if not self.to:
            return None
        return results.spread(self.base or self.work, self.other(results), self.what)

    def other(self, results: Results) -> str:
        """Whose that is; empty when there is nobody."""
        if self.to == "itself":
            return OURS
        if self.to == "best":
            return results.best(self.work, self.what, highest=self.what == "rate") or ""
        return self.to

    def is_met(self, found: Spread) -> bool:
        """By its median, as it is shown: with two digits."""
        return round(found.median, 2) <= self.most


def _all() -> Iterator[Target]:
    for work in ("setup-fin", "setup-reset", "setup-pq", "setup-pq-reset", "setup-permuted"):
        for peer in ("haproxy", "nginx"):
            yield Target("connection set-up", work, 1.05, peer)
    yield Target("growth", "setup-log", 1.25)
    for peer, most in (("haproxy", 0.90), ("nginx", 1.15)):
        yield Target("request/response", "rr-100-64", most, peer)
    for what in ("p50_us", "p99_us"):
        yield Target("request/response", "rr-100-64", 1.00, what=what)
    for work in ("bulk-up-1", "bulk-down-1", "bulk-up-16", "bulk-down-16"):
        yield Target("bulk", work, 0.90, "haproxy-splice")
        yield Target("bulk", work, 1.00, "best", "rate")
    yield Target("terminated", "tls-full", 1.00)
    yield Target("terminated", "tls-resumed", 1.10)
    for work in ("tls-up-1", "tls-down-1", "tls-up-16", "tls-down-16"):
        yield Target("terminated", work, 1.00)
    for work in ("idle-1000", "idle-8000"):
        yield Target("idle connections", work, 3072, "")
    for work in ("tls-idle-1000", "tls-idle-8000"):
        yield Target("idle connections", work, 1.00)
    yield Target("growth", "routes-10000", 1.05, "itself", base="routes-1")
    yield Target("growth", "held-8000", 1.05, "itself", base="held-0")
    for work, peer in (
        ("fair-splice", "haproxy-splice"),
        ("fair-splice", "haproxy"),
        ("fair-tls", "haproxy"),
    ):
        yield Target("beside bulk", work, 1.00, peer)


TARGETS = tuple(_all())
