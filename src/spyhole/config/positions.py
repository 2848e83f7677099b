"""Where each key and value of a TOML document stands in its text.

tomli says where the syntax breaks, and nothing about a document it accepts. `locate` walks a document
that tomli **has accepted** once more and notes the span of every key and value. Because tomli went
first, the walk needs no error handling of its own: it must only find the ends of strings, arrays and
tables, as TOML 1.1 writes them (1.0 is contained in it).

The law (tests/config/test_positions.py): the paths found are exactly those of what tomli parsed, and
the text of each value's span parses to that value.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Final

import tomli

Path = tuple[str | int, ...]
"""A place in the parsed document: table keys and zero-based array indexes, `("routes", 0, "sni")`."""


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of the text: character offsets, end exclusive."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Entry:
    """What the text has for one path."""

    key: Span
    """The key as written; for an element of an inline array, the element."""
    value: Span | None
    """The value as written; None for a table that headers or dotted keys spell out."""
    header: Span | None = None
    """`[table]` or `[[array of tables]]`, whole, where one names exactly this path."""


@dataclass(slots=True)
class Positions:
    """The spans of one document; look-ups never fail, they fall back to the nearest enclosing path."""

    text: str
    entries: dict[Path, Entry] = field(default_factory=dict)
    first_header: Span | None = None

    def nearest(self, path: Path) -> Entry | None:
        """The entry of `path`, or of the closest path around it that the text spells out."""
        while path:
            if entry := self.entries.get(path):
                return entry
            path = path[:-1]
        return None


class Lines:
    """Turns character offsets into lines and columns, both from 1."""

    def __init__(self, text: str) -> None:
        self.lines: Final = text.split("\n")
        starts = [0]
        for line in self.lines:
            starts.append(starts[-1] + len(line) + 1)
        self._starts: Final = starts[:-1]

    def place(self, offset: int) -> tuple[int, int]:
        """The line and the column of the character at `offset`."""
        line = bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1] + 1


def locate(text: str) -> Positions:
    """The positions of everything in `text`: a document that tomli accepts, with `\\n` line ends only."""
    walker = _Walker(text)
    walker.document()
    return walker.positions


_WS: Final = re.compile(r"[ \t]*")
_FILLER: Final = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
_STRING: Final = re.compile(
    r'"""(?:[^"\\]|\\.|"(?!""))*"{3,5}'
    r"|'''(?:[^']|'(?!''))*'{3,5}"
    r'|"(?:[^"\\]|\\.)*"'
    r"|'[^']*'",
    re.DOTALL,
)
# A date and its time may be parted by one space: the only bare value with a blank in it.
_BARE_VALUE: Final = re.compile(r"\d{4}-\d\d-\d\d \d\d:[^\s,\]}#]*|[^\s,\]}#]+")


class _Walker:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.positions = Positions(text)
        self.tables_in: dict[Path, int] = {}  # how many [[headers]] each array of tables has had so far

    def document(self) -> None:
        table: Path = ()
        while self._skip(_FILLER) < len(self.text):
            if self.text[self.at] == "[":
                table = self._header()
            else:
                self._pair(table)

    def _header(self) -> Path:
        start = self.at
        is_array = self.text.startswith("[[", start)
        self.at += 2 if is_array else 1
        parts = self._key()
        self.at = self.text.index("]", self.at) + (2 if is_array else 1)
        header = Span(start, self.at)
        if self.positions.first_header is None:
            self.positions.first_header = header
        path: Path = ()
        for part, span in parts[:-1]:
            path = self._enter((*path, part), span)
        last, span = parts[-1]
        path = (*path, last)
        if is_array:
            self._note(path, Entry(span, None, header))
            count = self.tables_in.get(path, 0)
            self.tables_in[path] = count + 1
            path = (*path, count)
        # A header may come after [deeper.headers] have already made its table.
        self.positions.entries[path] = Entry(span, None, header)
        return path

    def _enter(self, path: Path, span: Span) -> Path:
        """Step into the table at `path`: its last element, if it is an array of tables."""
        self._note(path, Entry(span, None))
        count = self.tables_in.get(path)
        return path if count is None else (*path, count - 1)

    def _note(self, path: Path, entry: Entry) -> None:
        self.positions.entries.setdefault(path, entry)

    def _pair(self, table: Path) -> None:
        parts = self._key()
        path = table
        for part, span in parts[:-1]:
            path = self._enter((*path, part), span)
        last, span = parts[-1]
        path = (*path, last)
        self.at += 1  # "="
        self._skip(_WS)
        self._value(path, span)

    def _key(self) -> list[tuple[str, Span]]:
        """The parts of a dotted key; stops at what follows it."""
        parts = []
        while True:
            self._skip(_WS)
            start = self.at
            quoted = self.text[start] in "\"'"
            self._skip(_STRING if quoted else _BARE_KEY)
            written = self.text[start : self.at]
            parts.append((_unquote(written) if quoted else written, Span(start, self.at)))
            self._skip(_WS)
            if self.text[self.at] != ".":
                return parts
            self.at += 1

    def _value(self, path: Path, key: Span | None) -> None:
        start = self.at
        first = self.text[start]
        if first == "[":
            self._array(path)
        elif first == "{":
            self._inline_table(path)
        else:
            self._skip(_STRING if first in "\"'" else _BARE_VALUE)
        value = Span(start, self.at)
        self.positions.entries[path] = Entry(key or value, value)

    def _array(self, path: Path) -> None:
        self.at += 1
        index = 0
        while self.text[self._skip(_FILLER)] != "]":
            self._value((*path, index), None)
            index += 1
            if self.text[self._skip(_FILLER)] == ",":
                self.at += 1
        self.at += 1

    def _inline_table(self, path: Path) -> None:
        self.at += 1
        while self.text[self._skip(_FILLER)] != "}":
            self._pair(path)
            if self.text[self._skip(_FILLER)] == ",":
                self.at += 1
        self.at += 1

    def _skip(self, pattern: re.Pattern[str]) -> int:
        match = pattern.match(self.text, self.at)
        assert match is not None, "locate() was given a document that tomli does not accept"
        self.at = match.end()
        return self.at


def _unquote(written: str) -> str:
    value = tomli.loads(f"v = {written}")["v"]
    assert isinstance(value, str)
    return value
