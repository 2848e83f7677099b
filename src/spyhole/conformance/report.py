"""What the suite is told, and what it reports: all results against one proxy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from spyhole.conformance.oracle import VERSION
from spyhole.conformance.scoring import Result, Tally

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spyhole.conformance.case import Case

ROUTES: Final = (1, 99, 101, 10_000)
"""With how many routes the names are tried."""


@dataclass(frozen=True, slots=True)
class Options:
    """How the suite is run."""

    deadline: float = 2.0
    """Seconds that the proxy gives a client for its hello."""
    patience: float = 5.0
    """Seconds beyond it, after which a connection was left open."""
    routes: Sequence[int] = ROUTES
    only: Sequence[str] = ()
    """Groups, or patterns of the names of cases or families; none: all."""

    def wants(self, case: Case) -> bool:
        return not self.only or any(map(case.is_called, self.only))


@dataclass(slots=True)
class Report:
    """All results against one proxy."""

    proxy: str
    version: str
    options: Options
    results: list[Result] = field(default_factory=list)
    openssl: str = VERSION
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)

    @property
    def all_right(self) -> bool:
        """Every case as it should be, and the proxy still there."""
        return self.tally.all_right and not self.notes

    @property
    def tally(self) -> Tally:
        return Tally.of(self.results)
