"""The law of the locator: its paths are tomli's, and each span parses to the value at its path."""

from __future__ import annotations

import math
from random import Random
from typing import Any

import pytest
import tomli
from hypothesis import given, settings
from hypothesis import strategies as st

from spyhole.config.positions import Lines, Path, locate


def leaves(value: Any, path: Path = ()) -> dict[Path, Any]:
    """Every path of a parsed document with its value, containers included, the root left out."""
    found: dict[Path, Any] = {path: value} if path else {}
    if isinstance(value, dict):
        for key, inner in value.items():
            found |= leaves(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            found |= leaves(inner, (*path, index))
    return found


def same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one):
        return math.isnan(other)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and bool(one == other)


def check_law(text: str) -> None:
    text = text.replace("\r\n", "\n")
    document = tomli.loads(text)
    positions = locate(text)
    expected = leaves(document)
    assert set(positions.entries) == set(expected)
    for path, entry in positions.entries.items():
        if entry.value is not None:
            written = text[entry.value.start : entry.value.end]
            assert same(tomli.loads(f"v = {written}")["v"], expected[path]), path
        else:
            assert isinstance(expected[path], (dict, list))
        name = path[-1]
        written = text[entry.key.start : entry.key.end]
        if isinstance(name, str):
            assert tomli.loads(f"{written} = 1") == {name: 1}
        if entry.header is not None:
            assert text[entry.header.start] == "["
            assert text[entry.header.end - 1] == "]"


# Any document: made as text from a grammar, so that spacing, quoting and comments vary as people vary
# them. What tomli refuses (a key twice, mostly) is dropped. All of it is made of one number: to draw every
# choice takes thirty times as long as to check the law.

BLANKS = ["", " ", "\t", "  "]
FILLERS = ["", " ", "\n", "\n  ", " # ] } , \" '''\n", "\n#\n\t"]
BARE_KEYS = ["a", "b", "c", "d-e", "_", "0", "127", "true", "inf"]
PLAIN = [*"ax =[{,]}#", "é", "€", "\u0300", "\xad", "\u2028", "\ufeff", "😀", "\U0010fffd"]
ESCAPES = [r"\"", r"\\", r"\n", r"\u00e9", r"\U0001F600", r"\e", r"\x41", "'", "'''"]
NUMBERS = ["0", "-17", "1_000", "0xdead_beef", "0o755", "0b1101", "1.5", "-2.5e+10", "inf", "-inf", "nan"]
TIMES = ["07:32:00", "07:32", "1979-05-27", "1979-05-27T07:32:00Z", "1979-05-27 07:32Z"]
TIMES += ["1979-05-27 07:32:00", "1979-05-27T00:32:00.999999-07:00"]
SCALARS = [*NUMBERS, *TIMES, "true", "false"]


class Writer:
    """Writes TOML as the dice have it."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.one_of = self.random.choice

    def some(self, pieces: list[str], most: int) -> str:
        return "".join(self.random.choices(pieces, k=self.random.randint(0, most)))

    def string(self, *, one_line: bool = False) -> str:
        basic = [*PLAIN, *PLAIN, *ESCAPES]
        kind = self.random.randrange(2 if one_line else 4)
        if kind == 0:
            return f'"{self.some(basic, 4)}"'
        if kind == 1:
            return "'" + self.some([*PLAIN, '"', '"""', "\\"], 4) + "'"
        if kind == 2:
            several = [*basic, "\n", '"', '""', "\\\n  ", r"\"" + '""', "\\  \n"]
            return '"""' + self.some(several, 5) + self.one_of(["", '"', '""']) + '"""'
        return (
            "'''"
            + self.some([*PLAIN, "\n", "'", "''", '"""', "\\"], 5)
            + self.one_of(["", "'", "''"])
            + "'''"
        )

    def key(self) -> str:
        parts = (
            self.one_of(BARE_KEYS) if self.random.random() < 0.5 else self.string(one_line=True)
            for _ in range(self.random.randint(1, 3))
        )
        gap = self.one_of(BLANKS)
        return f"{gap}.{gap}".join(parts)

    def pair(self, depth: int) -> str:
        return f"{self.key()}{self.one_of(BLANKS)}={self.one_of(BLANKS)}{self.value(depth)}"

    def value(self, depth: int = 0) -> str:
        kind = self.random.randrange(6 if depth < 3 else 4)
        if kind < 2:
            return self.one_of(SCALARS)
        if kind < 4:
            return self.string()
        inside = self.value if kind == 4 else self.pair
        items = [inside(depth + 1) for _ in range(self.random.randint(0, 3))]
        gap = self.one_of(FILLERS)
        comma = "," if items and self.random.random() < 0.5 else ""
        opening, closing = "[]" if kind == 4 else "{}"
        return f"{opening}{gap}{f'{gap},{gap}'.join(items)}{gap}{comma}{gap}{closing}"

    def header(self) -> str:
        opening, closing = self.one_of([("[", "]"), ("[[", "]]")])
        gap = self.one_of(BLANKS)
        return f"{opening}{gap}{self.key()}{gap}{closing}"

    def line(self) -> str:
        kind = self.random.randrange(5)
        said = self.pair(0) if kind < 2 else self.header() if kind == 2 else self.one_of(["", "# [x] = '"])
        return f"{self.one_of(BLANKS)}{said}{self.one_of(BLANKS)}{self.one_of(['', '# é'])}"

    def document(self) -> str:
        """Line by line, keeping each line that leaves the document valid."""
        newline = self.one_of(["\n", "\r\n"])
        text = ""
        for _ in range(self.random.randint(0, 10)):
            longer = text + self.line().replace("\n", newline) + newline
            try:
                tomli.loads(longer)
            except tomli.TOMLDecodeError:
                continue
            text = longer
        return self.one_of([text, text.removesuffix(newline)])


@settings(max_examples=1000)
@given(st.integers(0, 2**48).map(lambda seed: Writer(seed).document()))
def test_paths_are_tomlis_and_each_span_parses_to_its_value(text: str) -> None:
    check_law(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a.b.c = 1\na.b.d = 2\na.e = 3",
        "[a.b]\nx = 1\n[a]\ny = 2\n[a.c]",
        "[[a]]\nx = 1\n[[a.b]]\ny = 1\n[[a.b]]\n[a.b.c]\nz = 1\n[[a]]\n[[a.b]]\n[a.d]",
        "[[a.b]]\nc.d = 1\nc.e = 2\n[[a.b]]\nc.d = 3",
        '"quoted . key".\'x]\' = "]"\n["a.b" . c]\n[[ d ."e" ]]',
        'a = { b.c = 1, b.d = [ { e = 2 }, [] ], "f" = {} , }',
        'a = [\n  1, # one ]\n  "two", # "\n  [ [3] ],\n]\nb = 1',
        (
            'a = """one ""two"" three"""""\nb = \'\'\'it\'s \'\'\'\'\'\n'
            'c = """\n\\\n  x"""\nd = ""\ne = \'\'\nf = """"""'
        ),
        "a = 1979-05-27 07:32:00 # c\nb = [1979-05-27 07:32:00,07:32:00]",
    ],
)
def test_documents_worth_naming(text: str) -> None:
    check_law(text)


def test_the_first_header_is_known() -> None:
    positions = locate("a = 1\n\n  [[b.c]]\n[d]")
    assert positions.first_header is not None
    assert Lines(positions.text).place(positions.first_header.start) == (3, 3)


def test_a_path_that_is_not_written_falls_back_to_what_surrounds_it() -> None:
    positions = locate('[[routes]]\nsni = "x"')
    assert positions.nearest(("routes", 0, "sni", 0)) == positions.entries["routes", 0, "sni"]
    assert positions.nearest(("routes", 0, "mode")) == positions.entries["routes", 0]
    assert positions.nearest(("listeners",)) is None


@given(st.text(alphabet="ab\n", max_size=12), st.data())
def test_lines_and_columns_count_from_one(text: str, data: st.DataObject) -> None:
    offset = data.draw(st.integers(0, len(text)))
    before = text[:offset]
    assert Lines(text).place(offset) == (before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1)
