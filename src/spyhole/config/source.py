"""Where a configuration was written, a file or flags: turns findings into problems that name the place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from spyhole.config.positions import Lines, Path, Positions, Span
from spyhole.config.problems import Finding, Problem


class Source(Protocol):
    """Knows the place of every path of one document."""

    def problem(self, finding: Finding) -> Problem:
        """The finding with its place."""


class FileSource:
    """A TOML document whose positions are known."""

    def __init__(self, name: str, positions: Positions) -> None:
        self.name = name
        self.positions = positions
        self._lines = Lines(positions.text)

    def problem(self, finding: Finding) -> Problem:
        span = self._span(finding)
        line, column = self._lines.place(span.start)
        source_line = self._lines.lines[line - 1]
        hint = finding.hint
        if finding.first is not None:
            first = self.positions.nearest(finding.first)
            if first is not None:
                place = self._lines.place((first.value or first.header or first.key).start)
                hint = f"the first is on line {place[0]}" + (f"; {hint}" if hint else "")
        return Problem(
            message=finding.message,
            code=finding.code,
            severity=finding.severity,
            file=self.name,
            line=line,
            column=column,
            source_line=source_line,
            # A value over several lines is underlined to the end of its first.
            length=max(1, min(span.end - span.start, len(source_line) - column + 1)),
            expected=finding.expected,
            suggestion=finding.suggestion,
            hint=hint,
        )

    def line_of_first_header(self) -> int | None:
        """The line of the first `[table]`: top-level keys have to stand above it."""
        header = self.positions.first_header
        return None if header is None else self._lines.place(header.start)[0]

    def _span(self, finding: Finding) -> Span:
        entry = self.positions.nearest(finding.path)
        if entry is None:
            # About the document as a whole ("no routes"): its last line, where something is to be added.
            end = len(self.positions.text.rstrip())
            start = self.positions.text.rfind("\n", 0, end) + 1
            return Span(start, end)
        if finding.at == "key":
            return entry.key
        if finding.at == "table":
            return entry.header or entry.value or entry.key
        return entry.value or entry.header or entry.key


@dataclass(slots=True)
class FlagSource:
    """Flags, and under them a file, if one was given as well."""

    origins: Mapping[Path, str]
    """The flag, as typed with its value, for each path that one made."""
    file: FileSource | None = None
    advice: Mapping[str, str] = field(default_factory=dict)
    """What to expect instead, by finding code, where the wording for files does not fit flags."""

    def problem(self, finding: Finding) -> Problem:
        path = finding.path
        while path and path not in self.origins:
            path = path[:-1]
        if not path and self.file is not None:
            return self.file.problem(finding)
        return Problem(
            message=finding.message,
            code=finding.code,
            severity=finding.severity,
            flag=self.origins.get(path),
            expected=self.advice.get(finding.code, finding.expected),
            suggestion=finding.suggestion,
            hint=None if finding.code in self.advice else finding.hint,
        )
