"""The report for machines, and tables of several of them in Markdown. Pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from spyhole.conformance.case import Group, Severity
from spyhole.conformance.lines import Line, gather
from spyhole.conformance.scoring import WRONG, AlertMark, Mark, Result, Tally, by_group

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from spyhole.conformance.report import Report


def as_document(report: Report) -> dict[str, Any]:
    """The whole report as JSON takes it; `docs/conformance.md` lists the keys."""
    groups = by_group(report.results)
    return {
        "proxy": report.proxy,
        "version": report.version,
        "openssl": report.openssl,
        "deadline": report.options.deadline,
        "seconds": round(report.seconds, 1),
        "notes": report.notes,
        "score": _score(report.tally),
        "groups": {str(group): _score(Tally.of(results)) for group, results in groups.items()},
        "lines": [_line(line) for results in groups.values() for line in gather(results)],
        "cases": [_case(result) for result in report.results],
    }


def markdown(documents: Sequence[dict[str, Any]]) -> str:
    """The scores side by side, and below them each line that not all get right."""
    return "\n".join([*_scores(documents), "", *_details(documents), ""])


def _score(tally: Tally) -> dict[str, Any]:
    return {
        "cases": tally.tried,
        "right": tally.right,
        "legal": tally.legal,
        "legal_right": tally.legal_right,
        **{mark.value.replace(" ", "_"): tally.marks[mark] for mark in (*WRONG, Mark.NOT_TRIED)},
        "alerts": tally.alerts_owed,
        "alerts_right": tally.alerts[AlertMark.RIGHT],
        "high": tally.severities[Severity.HIGH],
        "medium": tally.severities[Severity.MEDIUM],
        "low": tally.severities[Severity.LOW],
        "all_right": tally.all_right,
    }


def _case(result: Result) -> dict[str, Any]:
    case = result.case
    return {
        "group": str(case.group),
        "name": case.name,
        "routes": result.routes,
        "why": case.why,
        "cve": case.cve or None,
        "severity": str(case.severity),
        "expected": str(result.expected),
        "came": str(result.came),
        "mark": result.mark.value,
        "alert": None if result.alert is None else result.alert.value,
        "seconds": round(result.came.seconds, 3),
    }


def _line(line: Line) -> dict[str, Any]:
    return {
        "group": str(line.first.case.group),
        "title": line.title,
        "cases": line.count,
        "mark": line.first.mark.value,
        "backend": line.first.came.backend,
        "severity": None if line.severity is None else str(line.severity),
    }


_MEASURES: Final = {
    "cases tried": "cases",
    "right": "right",
    "legal hellos": "legal",
    "of them routed to their backend, unchanged": "legal_right",
    "misrouted": "misrouted",
    "forwarded, though OpenSSL refuses it or it is not whole": "forwarded",
    "legal, and turned away": "turned_away",
    "changed on the way": "changed",
    "left open": "left_open",
    "not tried": "not_tried",
    "refusals for which OpenSSL has an alert": "alerts",
    "of them with the right alert": "alerts_right",
    "wrong, and of severity high": "high",
    "wrong, medium": "medium",
    "wrong, low": "low",
}


def _scores(documents: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield from _table_head("", documents)
    for title, key in _MEASURES.items():
        yield _row(title, (f"{document['score'][key]:,}" for document in documents))
    for group in Group:
        scores = [document["groups"].get(str(group)) for document in documents]
        if any(scores):
            cells = (f"{s['right']:,} of {s['cases']:,}" if s else "–" for s in scores)
            yield _row(f"{group}: {group.description}", cells)


def _details(documents: Sequence[dict[str, Any]]) -> Iterator[str]:
    """One table for each group, of what at least one gets wrong, whatever the alert."""
    for group in Group:
        said = [_verdicts(document, str(group)) for document in documents]
        titles = list(dict.fromkeys(title for verdicts in said for title in verdicts))
        wrong = [title for title in titles if any(v.get(title, "✓") not in ("✓", "–") for v in said)]
        if not wrong:
            continue
        yield from (f"### {group}: {group.description}", "")
        yield from _table_head("", documents)
        for title in wrong:
            yield _row(title, (verdicts.get(title, "✓") for verdicts in said))
        yield ""


def _verdicts(document: dict[str, Any], group: str) -> dict[str, str]:
    """For each title of a group: ✓, or what is wrong, and with how many where not with all."""
    found: dict[str, Counter[str]] = {}
    for line in document["lines"]:
        if line["group"] == group:
            found.setdefault(line["title"], Counter())[_words(line)] += line["cases"]
    return {title: _told(words) for title, words in found.items()}


def _told(words: Counter[str]) -> str:
    wrong = [(word, count) for word, count in words.items() if word != "✓"]
    if not wrong:
        return "✓"
    return ", ".join(word if count == words.total() else f"{word} ({count})" for word, count in wrong)


def _words(line: dict[str, Any]) -> str:
    mark = line["mark"]
    if mark in (Mark.RIGHT, Mark.NOT_TRIED):
        return "✓" if mark == Mark.RIGHT else "–"
    return f"{mark} to {line['backend']}" if mark in (Mark.MISROUTED, Mark.FORWARDED) else str(mark)


def _table_head(corner: str, documents: Iterable[dict[str, Any]]) -> Iterator[str]:
    names = [f"{document['proxy']} {document['version']}".strip() for document in documents]
    yield _row(corner, names)
    yield "|---|" + "---:|" * len(names)


def _row(title: str, cells: Iterable[str]) -> str:
    return f"| {title.replace('|', '&#124;')} | " + " | ".join(cells) + " |"
