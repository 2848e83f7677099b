"""The report as people read it: group by group, what was expected and what came, and a summary."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

from spyhole.conformance.case import Severity
from spyhole.conformance.lines import Line, gather
from spyhole.conformance.scoring import WRONG, AlertMark, Mark, Tally, by_group

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spyhole.conformance.report import Report


class Tone(Enum):
    """How a piece of text is meant; who prints it chooses the colours."""

    TITLE = "title"
    PLAIN = "plain"
    RIGHT = "right"
    WRONG = "wrong"
    WEAK = "weak"
    """Less than wrong: another alert, or none; not tried."""


class Row(NamedTuple):
    """One row of text."""

    text: str
    tone: Tone = Tone.PLAIN


_WIDEST: Final = 64


def rows(report: Report, *, every_case: bool = False, only_wrong: bool = False) -> Iterator[Row]:
    """The whole report. `every_case`: a row for each, also where a family came out the same."""
    yield from _head(report)
    for group, results in by_group(report.results).items():
        lines = [
            line for line in gather(results, every_case=every_case) if not only_wrong or not line.right
        ]
        if not lines:
            continue
        yield Row("")
        yield Row(f"{group}: {group.description}", Tone.TITLE)
        width = min(_WIDEST, max(len(_title(line)) for line in lines))
        for line in lines:
            yield from _line(line, width)
    yield Row("")
    yield from summary(report)


def summary(report: Report) -> Iterator[Row]:
    """The score: a row for each group, and what it comes to."""
    groups = {str(group): Tally.of(results) for group, results in by_group(report.results).items()}
    total = report.tally
    table = [["", "cases", "right", *(mark.value for mark in WRONG), "alerts"]]
    for name, tally in (groups | {"all": total}).items():
        alerts = f"{tally.alerts[AlertMark.RIGHT]} of {tally.alerts_owed}" if tally.alerts_owed else "-"
        cells = [tally.tried, tally.right, *(tally.marks[mark] for mark in WRONG)]
        table.append([name, *(f"{cell:,}" for cell in cells), alerts])
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for number, line in enumerate(table):
        first, *rest = (
            cell.rjust(width) if at else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        yield Row("   ".join([first, *rest]).rstrip(), Tone.TITLE if number == 0 else Tone.PLAIN)
    yield Row("")
    yield from _verdict(report, total)


def _verdict(report: Report, total: Tally) -> Iterator[Row]:
    for note in report.notes:
        yield Row(note, Tone.WRONG)
    skipped = total.marks[Mark.NOT_TRIED]
    if skipped:
        yield Row(
            f"{skipped} not tried: the proxy has no means for them, or is not set up for them", Tone.WEAK
        )
    yield Row(f"legal hellos that reached their backend: {total.legal_right:,} of {total.legal:,}")
    took = f"{report.seconds:.0f} s"
    if report.all_right:
        yield Row(f"All {total.tried:,} are right, in {took}.", Tone.RIGHT)
        return
    wrong = ", ".join(
        f"{total.severities[severity]:,} {severity}" for severity in Severity if total.severities[severity]
    )
    yield Row(f"Not all is right, in {took}: {wrong or 'see above'}.", Tone.WRONG)


def _head(report: Report) -> Iterator[Row]:
    options = report.options
    proxy = f"{report.proxy} {report.version}".strip()
    numbers = sorted({result.routes for result in report.results})
    counts = f"{', '.join(f'{number:,}' for number in numbers)} route{'s' * (numbers != [1])}"
    yield Row(f"{proxy}, judged by {report.openssl}", Tone.TITLE)
    yield Row(f"{len(report.results):,} cases; {counts}; a hello has {options.deadline:g} s")


def _line(line: Line, width: int) -> Iterator[Row]:
    mark = line.first.mark
    count = f"{line.count:,} ×" if line.count > 1 else ""
    start = f"{_title(line):{width}}  {count:>6}  {line.expected}"
    if mark is Mark.NOT_TRIED:
        yield Row(f"  - {start}; {line.verdict}", Tone.WEAK)
    elif mark is not Mark.RIGHT:
        case = line.first.case
        yield Row(f"  ✗ {start}", Tone.WRONG)
        yield Row(f"      came {line.came}: {line.verdict}, {line.severity}", Tone.WRONG)
        yield Row(f"      {case.why}; {case.cve}" if case.cve else f"      {case.why}")
    elif line.right:
        yield Row(f"  ✓ {start}" + (f", after {line.took}" if line.took else ""), Tone.RIGHT)
    else:
        came = line.came.partition(": ")[2]
        yield Row(f"  ~ {start}; came {came or line.verdict}", Tone.WEAK)


def _title(line: Line) -> str:
    return f"{line.title} ({line.routes})" if line.routes else line.title
