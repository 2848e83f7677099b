"""What is wrong with a configuration, in the manner of a compiler: where, what, and what to write instead.

A check says what it found as a `Finding`: a path in the document, no line numbers. The source of the
document (`config/source.py`) turns it into a `Problem`, which knows the file and line, or the flag.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from enum import StrEnum
from typing import TYPE_CHECKING, Literal, TypeAlias

from spyhole.errors import OperatorError

if TYPE_CHECKING:
    from spyhole.config.positions import Path


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"


At: TypeAlias = Literal["key", "value", "table"]
"""Which part of what stands at a path; `table` is the header of the table, for what is missing in it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about one place of the document."""

    path: Path
    code: str
    """A short name for the kind of problem, for machines: `unknown-key`."""
    message: str
    expected: str | None = None
    """Completes "expected …"."""
    suggestion: str | None = None
    """What was probably meant: exactly the text to write, without quotes."""
    hint: str | None = None
    """A sentence of advice."""
    at: At = "value"
    """What the caret points at."""
    first: Path | None = None
    """Where the same thing stood for the first time, for what may stand once only."""
    severity: Severity = Severity.ERROR


@dataclass(frozen=True, slots=True)
class Problem:
    """A finding with its place: either `file` (and, but for an unreadable one, a line) or `flag`."""

    message: str
    code: str
    severity: Severity = Severity.ERROR
    file: str | None = None
    flag: str | None = None
    """The flag as it was typed, with its value: `--listen localhost`."""
    line: int | None = None
    """From 1, as is `column`, which counts characters."""
    column: int | None = None
    source_line: str | None = None
    length: int = 0
    """How many characters of `source_line`, from `column`, are meant; at least 1 where there is a line."""
    expected: str | None = None
    suggestion: str | None = None
    hint: str | None = None

    def __str__(self) -> str:
        """The problem for a person, on several lines; for a flag without source, on one."""
        if self.line is None:
            return self._one_line()
        assert self.column is not None
        assert self.source_line is not None
        gutter = " " * len(str(self.line))
        shown, caret = _underlined(self.source_line, self.column, self.length)
        lines = [
            _printable(f"{self.file}:{self.line}:{self.column}: {self.severity}: {self.message}"),
            f"{gutter} |",
            f"{self.line} | {shown}".rstrip(),
            f"{gutter} | {caret}",
        ]
        lines += [f"{gutter} = {note}" for note in self._notes()]
        return "\n".join(lines)

    def as_dict(self) -> dict[str, object]:
        """For `--format json`: every field, the absent ones as null."""
        return asdict(self)

    def _notes(self) -> list[str]:
        notes = []
        if self.expected:
            notes.append(f"expected {self.expected}")
        if self.suggestion is not None:
            notes.append(f"did you mean {self.suggestion!r}?")
        if self.hint:
            notes.append(self.hint)
        return [_printable(note) for note in notes]

    def _one_line(self) -> str:
        # As compilers do: the place before the word where it is in a file, and else behind it.
        if self.file is not None:
            message = f"{self.file}: {self.severity}: {self.message}"
        elif self.flag is not None:
            message = f"{self.severity}: {self.flag}: {self.message}"
        else:
            message = f"{self.severity}: {self.message}"
        return ", ".join([_printable(message), *self._notes()])


class ConfigErrors(OperatorError):  # plural: it is all of them
    """Everything that is wrong with a configuration, in the order of the file."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(render(self.problems))

    @property
    def only_flags(self) -> bool:
        """Whether all of it was typed on the command line: then it is a mistake of usage."""
        return all(problem.file is None for problem in self.problems)


def render(problems: Iterable[Problem]) -> str:
    """The problems for a person, with a blank line after each that shows its source."""
    return "\n".join(
        f"{problem}\n" if problem.line is not None else str(problem) for problem in problems
    ).rstrip()


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """The choice that `word` was probably meant to be: a slip, or its beginning; case aside."""
    by_plain = {_plain(choice): choice for choice in choices}
    begun = [choice for choice in by_plain if len(word) > 2 and choice.startswith(_plain(word))]
    if len(begun) == 1:
        return by_plain[begun[0]]
    close = get_close_matches(_plain(word), by_plain, n=1, cutoff=0.6)
    return by_plain[close[0]] if close else None


def one_of(choices: Iterable[str]) -> str:
    """`'a', 'b' or 'c'`."""
    quoted = [repr(choice) for choice in choices]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} or {quoted[-1]}"


def _plain(word: str) -> str:
    return word.lower().replace("-", "_")


_WIDEST = 160
"""Columns of a source line that are shown; of a longer one, the part around the caret."""


def _underlined(line: str, column: int, length: int) -> tuple[str, str]:
    """The line as a terminal may show it, and the carets under `length` characters from `column`."""
    start, end = column - 1, column - 1 + max(length, 1)
    head = tail = ""
    if len(line) > _WIDEST:
        first = max(0, min(start - _WIDEST // 3, len(line) - _WIDEST))
        head, tail = "…" * (first > 0), "…" * (first + _WIDEST < len(line))
        line, start, end = line[first : first + _WIDEST], start - first, min(end - first, _WIDEST)
    cells = [_cell(character) for character in line]
    blanks = sum(map(_width, cells[:start])) + len(head)
    carets = sum(map(_width, cells[start:end])) + max(0, end - max(start, len(cells)))
    return head + "".join(cells) + tail, " " * blanks + "^" * max(carets, 1)


def _printable(text: str) -> str:
    return "".join(map(_cell, text))


def _cell(character: str) -> str:
    """A character that is safe on a terminal: a file may hold escape sequences. Surrogates, which stand for
    bytes of a file name that are not UTF-8, go out as those bytes."""
    if character == "\t":
        return "    "
    if character.isprintable() or "\udc80" <= character <= "\udcff":
        return character
    return "\N{REPLACEMENT CHARACTER}"


def _width(cell: str) -> int:
    if len(cell) == 1:
        if unicodedata.combining(cell):
            return 0
        if unicodedata.east_asian_width(cell) in "WF":
            return 2
    return len(cell)
