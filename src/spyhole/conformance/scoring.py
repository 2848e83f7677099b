"""What became of a case, and whether that is right. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from spyhole.conformance.alerts import alert_name
from spyhole.conformance.case import Case, Group, Severity
from spyhole.described import Described

if TYPE_CHECKING:
    from collections.abc import Iterable

    from spyhole.conformance.expect import Expected


class Came(NamedTuple):
    """What was seen: from the client's side, and at the backend that it reached, if it did."""

    backend: str | None = None
    intact: bool = True
    """The backend got exactly the bytes that were sent, and the client what the backend sent."""
    ended: bool = False
    """The client's connection was ended by the proxy, by then."""
    answered: bool = False
    """The proxy itself answered, and with no alert."""
    alert: int | None = None
    """The fatal alert that the client got, in the clear and alone."""
    seconds: float = 0.0
    """From connecting until it was routed or ended, or was given up."""
    early: bool = False
    """It was ended when no half of the deadline had passed."""
    note: str = ""

    def __str__(self) -> str:
        if self.backend is not None:
            said = f"to {self.backend}" + ("" if self.intact else ", and not as it was sent")
        elif not self.ended and not self.answered:
            said = f"neither routed nor ended after {self.seconds:.1f} s"
        elif self.answered:
            said = "answered by the proxy itself"
        elif self.alert is not None:
            said = f"refused: {alert_name(self.alert)}"
        else:
            said = "refused, without an alert"
        return f"{said} ({self.note})" if self.note else said


class Mark(Described):
    """How a proxy does with one case."""

    RIGHT = "right", "as it should be"
    MISROUTED = "misrouted", "it reached a backend that is not its own"
    FORWARDED = "forwarded", "OpenSSL refuses it, or it is not whole, and a backend got it all the same"
    TURNED_AWAY = "turned away", "a legal hello was refused, or a part of one not waited for"
    CHANGED = "changed", "it reached its backend, but bytes were lost, changed or added"
    LEFT_OPEN = "left open", "neither routed nor ended, 5 s (`--patience`) after the deadline"
    NOT_TRIED = "not tried", "the proxy has no means for it, or is not set up for it"


WRONG: Final = (Mark.MISROUTED, Mark.FORWARDED, Mark.TURNED_AWAY, Mark.CHANGED, Mark.LEFT_OPEN)


class AlertMark(StrEnum):
    """How the client of a hello that was rightly refused was told, where OpenSSL sends an alert."""

    RIGHT = "right"
    OTHER = "other"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Result:
    """One case against one proxy."""

    case: Case
    routes: int
    """How many routes the proxy had."""
    expected: Expected
    came: Came
    mark: Mark
    alert: AlertMark | None
    """None where no alert is owed, or it was not refused."""

    @property
    def right(self) -> bool:
        """Nothing at all is wrong with it."""
        return self.mark in (Mark.RIGHT, Mark.NOT_TRIED) and self.alert in (None, AlertMark.RIGHT)

    @property
    def severity(self) -> Severity | None:
        """How bad it is; None when nothing is wrong."""
        if self.right:
            return None
        return Severity.LOW if self.mark is Mark.RIGHT else self.case.severity


def score(case: Case, routes: int, expected: Expected, came: Came) -> Result:
    """The mark for what came."""
    mark = _mark(case, expected, came)
    alert = None
    if mark is Mark.RIGHT and came.backend is None and expected.alert is not None:
        if came.alert is None:
            alert = AlertMark.NONE
        else:
            alert = AlertMark.RIGHT if came.alert == expected.alert else AlertMark.OTHER
    return Result(case, routes, expected, came, mark, alert)


def not_tried(case: Case, routes: int, expected: Expected, note: str) -> Result:
    """A case that this proxy can't be asked."""
    return Result(case, routes, expected, Came(note=note), Mark.NOT_TRIED, None)


def _mark(case: Case, expected: Expected, came: Came) -> Mark:
    if came.backend is not None:
        if came.backend in expected.backends:
            return Mark.RIGHT if came.intact else Mark.CHANGED
        return Mark.MISROUTED if expected.backends else Mark.FORWARDED
    # a proxy that tells a client of another protocol in its own words that it is wrong here has refused it
    if not came.ended and not (came.answered and not case.tls):
        return Mark.LEFT_OPEN
    if expected.waits and came.early and case.has_time:
        return Mark.TURNED_AWAY
    return Mark.RIGHT if expected.refusal else Mark.TURNED_AWAY


@dataclass(slots=True)
class Tally:
    """Marks, added up."""

    marks: Counter[Mark] = field(default_factory=Counter)
    alerts: Counter[AlertMark] = field(default_factory=Counter)
    severities: Counter[Severity] = field(default_factory=Counter)
    legal: int = 0
    """Cases of which a refusal is wrong."""
    legal_right: int = 0

    @classmethod
    def of(cls, results: Iterable[Result]) -> Tally:
        tally = cls()
        for result in results:
            tally.marks[result.mark] += 1
            if result.alert is not None:
                tally.alerts[result.alert] += 1
            if result.severity is not None:
                tally.severities[result.severity] += 1
            if result.expected.legal and result.mark is not Mark.NOT_TRIED:
                tally.legal += 1
                tally.legal_right += result.mark is Mark.RIGHT
        return tally

    @property
    def tried(self) -> int:
        return self.marks.total() - self.marks[Mark.NOT_TRIED]

    @property
    def right(self) -> int:
        """Cases that were routed or refused as they should be, whatever the alert."""
        return self.marks[Mark.RIGHT]

    @property
    def alerts_owed(self) -> int:
        return self.alerts.total()

    @property
    def all_right(self) -> bool:
        return self.right == self.tried and self.alerts[AlertMark.RIGHT] == self.alerts_owed


def by_group(results: Iterable[Result]) -> dict[Group, list[Result]]:
    """In the groups' order; those without a case are left out."""
    found: dict[Group, list[Result]] = {group: [] for group in Group}
    for result in results:
        found[result.case.group].append(result)
    return {group: listed for group, listed in found.items() if listed}
