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
            return results.spread(self.work, OURS, self.what)
        faster = self.what == "rate"
        other = results.best(self.work, self.what, highest=faster) if self.to == "best" else self.to
        if other is None:
            return None
        pair = (other, OURS) if faster else (OURS, other)
        return results.ratio(self.work, *pair, self.what)

    def is_met(self, found: Spread) -> bool:
        """By its median, as it is shown: with two digits."""
        return round(found.median, 2) <= self.most

    @property
    def words(self) -> str:
        """What is compared with what."""
        what = {"figure": "", "p50_us": "p50, ", "p99_us": "p99, ", "rate": "throughput, "}[self.what]
        if self.to == "itself":
            return f"{what}ours : ours, {self.base}"
        if not self.to:
            return f"{what}ours, in bytes"
        if self.what == "rate":
            return f"{what}the best of the others : ours"
        return f"{what}ours : {self.to}"


def _all() -> Iterator[Target]:
    for work in ("setup-fin", "setup-reset", "setup-pq", "setup-pq-reset", "setup-permuted"):
        for peer in ("haproxy", "nginx"):
            yield Target("connection set-up", work, 1.05, peer)
    yield Target("connection set-up, access logs on", "setup-log", 1.25)
    yield Target("request/response 100 B × 64", "rr-100-64", 0.90)
    yield Target("request/response 100 B × 64", "rr-100-64", 1.15, "nginx")
    yield Target("request/response 100 B × 64", "rr-100-64", 1.00, what="p50_us")
    yield Target("request/response 100 B × 64", "rr-100-64", 1.00, what="p99_us")
    for work in ("bulk-up-1", "bulk-down-1", "bulk-up-16", "bulk-down-16"):
        yield Target("bulk, passthrough", work, 0.90, "haproxy-splice")
        yield Target("bulk, passthrough", work, 1.00, "best", "rate")
    yield Target("full handshake, terminated", "tls-full", 1.00)
    yield Target("resumed handshake, terminated", "tls-resumed", 1.10)
    for work in ("tls-up-1", "tls-down-1", "tls-up-16", "tls-down-16"):
        yield Target("bulk, terminated", work, 1.00)
    for work in ("idle-1000", "idle-8000"):
        yield Target("memory per idle connection, passthrough", work, 3072, "")
    for work in ("tls-idle-1000", "tls-idle-8000"):
        yield Target("memory per idle connection, terminated", work, 1.00)
    yield Target("10,000 routes", "routes-10000", 1.05, "itself", base="routes-1")
    yield Target("8,000 idle connections", "held-8000", 1.05, "itself", base="held-0")
    yield Target("p99 beside bulk", "fair-splice", 1.00, "haproxy-splice")
    yield Target("p99 beside bulk", "fair-splice", 1.00)
    yield Target("p99 beside bulk", "fair-tls", 1.00)


TARGETS = tuple(_all())
