"""The law of the locator: its paths are tomli's, and each span parses to the value at its path."""

from __future__ import annotations

import math
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
# them. What tomli refuses (a key twice, mostly) is dropped.

blank = st.sampled_from(["", " ", "\t", "  "])
filler = st.sampled_from(["", " ", "\n", "\n  ", " # ] } , \" '''\n", "\n#\n\t"])
bare_key = st.sampled_from(["a", "b", "c", "d-e", "_", "0", "127", "true", "inf"])
plain = st.characters(
    exclude_categories=["Cs", "Cc"], exclude_characters="\"'\\"
)  # no quoting of its own: added by the strategies
basic_piece = st.one_of(
    plain,
    st.sampled_from([r"\"", r"\\", r"\n", r"\u00e9", r"\U0001F600", r"\e", r"\x41", "'", "'''", "#", "]"]),
)
multi_piece = st.one_of(basic_piece, st.sampled_from(["\n", '"', '""', "\\\n  ", r"\"" + '""', "\\  \n"]))
basic_string = st.lists(basic_piece, max_size=4).map(lambda pieces: '"' + "".join(pieces) + '"')
literal_string = st.lists(st.one_of(plain, st.sampled_from(['"', '"""', "\\", "#"])), max_size=4).map(
    lambda pieces: "'" + "".join(pieces) + "'"
)
multi_basic = st.builds(
    lambda pieces, tail: '"""' + "".join(pieces) + tail + '"""',
    st.lists(multi_piece, max_size=5),
    st.sampled_from(["", '"', '""']),
)
multi_literal = st.builds(
    lambda pieces, tail: "'''" + "".join(pieces) + tail + "'''",
    st.lists(st.one_of(plain, st.sampled_from(["\n", "'", "''", '"""', "\\"])), max_size=5),
    st.sampled_from(["", "'", "''"]),
)
numbers = ["0", "-17", "1_000", "0xdead_beef", "0o755", "0b1101", "1.5", "-2.5e+10", "inf", "-inf", "nan"]
times = [
    "07:32:00",
    "07:32",
    "1979-05-27",
    "1979-05-27T07:32:00Z",
    "1979-05-27 07:32Z",
    "1979-05-27 07:32:00",
]
scalar = st.sampled_from([*numbers, *times, "1979-05-27T00:32:00.999999-07:00", "true", "false"])
string = st.one_of(basic_string, literal_string, multi_basic, multi_literal)
key_part = st.one_of(bare_key, bare_key, basic_string, literal_string)
dotted_key = st.builds(
    lambda parts, gap: f"{gap}.{gap}".join(parts), st.lists(key_part, min_size=1, max_size=3), blank
)


def pairs(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.builds(lambda key, a, b, value: f"{key}{a}={b}{value}", dotted_key, blank, blank, values)


def containers(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    def wrap(opening: str, closing: str, items: list[str], gap: str, comma: bool) -> str:
        inner = f"{gap},{gap}".join(items)
        return f"{opening}{gap}{inner}{gap}{',' if comma and items else ''}{gap}{closing}"

    return st.one_of(
        st.builds(wrap, st.just("["), st.just("]"), st.lists(values, max_size=3), filler, st.booleans()),
        st.builds(
            wrap, st.just("{"), st.just("}"), st.lists(pairs(values), max_size=3), filler, st.booleans()
        ),
    )


value = st.recursive(st.one_of(scalar, string), containers, max_leaves=6)
header = st.builds(
    lambda brackets, key, gap: f"{brackets[0]}{gap}{key}{gap}{brackets[1]}",
    st.sampled_from([("[", "]"), ("[[", "]]")]),
    dotted_key,
    blank,
)
statement = st.one_of(pairs(value), pairs(value), header, st.just(""), st.just("# [x] = '"))
line = st.builds(
    lambda a, text, b, comment: a + text + b + comment,
    blank,
    statement,
    blank,
    st.sampled_from(["", "# é"]),
)


@st.composite
def document(draw: st.DrawFn) -> str:
    """Line by line, keeping each line that leaves the document valid."""
    newline = draw(st.sampled_from(["\n", "\r\n"]))
    text = ""
    for candidate in draw(st.lists(line, max_size=8)):
        longer = text + candidate.replace("\n", newline) + newline
        try:
            tomli.loads(longer)
        except tomli.TOMLDecodeError:
            continue
        text = longer
    return text.removesuffix(newline) if draw(st.booleans()) else text


@settings(max_examples=300)
@given(document())
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
