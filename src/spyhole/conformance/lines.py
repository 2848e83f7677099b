"""Results, gathered into lines: cases of one family, or one name at several numbers of routes, that came
out the same are one line. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from spyhole.conformance.case import Group, Then
from spyhole.conformance.scoring import AlertMark, Mark, Result

if TYPE_CHECKING:
    from collections.abc import Iterable

    from spyhole.conformance.case import Severity


@dataclass(slots=True)
class Line:
    """Results that say the same."""

    title: str
    expected: str
    came: str
    """How they came out; empty when nothing more is to be said than what was expected."""
    results: list[Result] = field(default_factory=list)
    split: bool = False
    """Others of the same title came out otherwise."""

    @property
    def first(self) -> Result:
        return self.results[0]

    @property
    def right(self) -> bool:
        return self.first.right

    @property
    def severity(self) -> Severity | None:
        return self.first.severity

    @property
    def count(self) -> int:
        return len(self.results)

    @property
    def routes(self) -> str:
        """With how many routes, when that makes a difference."""
        counts = sorted({result.routes for result in self.results})
        if not self.split or self.first.case.family or not counts:
            return ""
        listed = ", ".join(f"{count:,}" for count in counts)
        return f"{listed} route{'s' * (counts != [1])}"

    @property
    def took(self) -> str:
        """How long it took to end what had to be waited out, "2.0 to 2.1 s", or to serve at the end; else
        empty."""
        first = self.first
        if first.case.group is Group.AFTERWARDS and first.right:
            return f"{1000 * max(result.came.seconds for result in self.results):.0f} ms"
        if not (first.expected.waits and first.right and first.case.then is Then.HOLD):
            return ""
        seconds = [result.came.seconds for result in self.results]
        shortest, longest = f"{min(seconds):.1f}", f"{max(seconds):.1f}"
        return f"{shortest} s" if shortest == longest else f"{shortest} to {longest} s"

    @property
    def verdict(self) -> str:
        """What is wrong, in a word or two; empty when nothing is."""
        result = self.first
        if result.mark is Mark.NOT_TRIED:
            return f"not tried: {result.came.note}"
        if result.mark is not Mark.RIGHT:
            return result.mark.value
        return "" if result.right else "no alert" if result.alert is AlertMark.NONE else "another alert"


def gather(results: Iterable[Result], *, every_case: bool = False) -> list[Line]:
    """The lines of one group, in the order of their titles' first results; `every_case`: one for each."""
    titles: dict[str, dict[tuple[object, ...], Line]] = {}
    for number, result in enumerate(results):
        case = result.case
        title = case.name if every_case else case.family or case.name
        came = _came(result)
        key = (str(result.expected), came, number if every_case else 0)
        line = titles.setdefault(title, {}).setdefault(key, Line(title, str(result.expected), came))
        line.results.append(result)
    for lines in titles.values():
        for line in lines.values():
            line.split = len(lines) > 1
    return [line for lines in titles.values() for line in lines.values()]


def _came(result: Result) -> str:
    """What came, without the figures that differ from one connection to the next."""
    if result.right and result.mark is Mark.RIGHT:
        return ""
    return str(result.came._replace(seconds=0.0, note="")).removesuffix(" after 0.0 s")
