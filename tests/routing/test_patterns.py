from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spyhole.errors import OperatorError
from spyhole.routing.patterns import ANY, NamePattern, PatternError, PatternKind, compile_regex

labels = st.from_regex(r"[a-z_][a-z0-9_-]{0,12}", fullmatch=True)
names = st.lists(labels, min_size=1, max_size=5).map(".".join)
stars = st.sampled_from(["", "*.", "**."])


@given(stars, names)
def test_text_and_value_are_the_same_thing(star: str, name: str) -> None:
    pattern = NamePattern.parse(star + name)
    assert str(pattern) == star + name
    assert NamePattern.parse(f"{star}{name.upper()}.") == pattern
    assert NamePattern.parse("*") is ANY


@given(st.text(max_size=30) | st.from_regex(r"[*.a~^-]{1,9}", fullmatch=True))
def test_any_text_is_a_pattern_or_an_error_that_shows_it(text: str) -> None:
    pattern = error = None
    try:
        pattern = NamePattern.parse(text)
    except PatternError as raised:
        error = raised
    assert NamePattern.parse(str(pattern)) == pattern if error is None else repr(text) in str(error)


@given(names, st.lists(labels, max_size=3))
def test_what_each_kind_takes(suffix: str, before: list[str]) -> None:
    name = ".".join([*before, suffix])
    assert NamePattern.parse(suffix).matches(name) == (not before)
    assert NamePattern.parse("*." + suffix).matches(name) == (len(before) == 1)
    assert NamePattern.parse("**." + suffix).matches(name) == bool(before)
    assert NamePattern.parse("*").matches(name)
    assert not NamePattern.parse("**." + suffix).matches(f"x{suffix}")


def test_only_the_star_takes_no_name() -> None:
    assert [NamePattern.parse(text).matches(None) for text in ("*", "*.a", "**.a", "a")] == [
        True,
        False,
        False,
        False,
    ]


def test_names_in_other_scripts_become_a_labels() -> None:
    assert NamePattern.parse("*.Bücher.example") == NamePattern(
        PatternKind.ONE_LABEL, "xn--bcher-kva.example"
    )
    assert NamePattern.parse("例え.テスト").name == "xn--r8jz45g.xn--zckzah"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it is empty"),
        ("**", r"write '\*' for every name"),
        ("*.", "it is empty"),
        ("*.*.example.com", "a star stands for whole labels"),
        ("a*.example.com", "a star stands for whole labels"),
        ("www.*", "a star stands for whole labels"),
        (".example.com", r"write '\*\*.example.com'"),
        (r"~^www\.", "under `sni_regex`"),
        ("a..b", "a label is empty"),
        ("a.test:443", "b':' at 6"),
        ("a.test\n", r"b'\\n' at 6"),
        ("10.0.0.5", "an IP address is not a server name"),
        ("::1", "an IP address is not a server name"),
        ("x" * 64, "64 bytes, where 63"),
        ("*." + "a." * 125 + "aa", "no name is long enough"),
        ("straße.example", "xn--strae-oqa"),
        ("☃.example", "xn--n3h"),
    ],
)
def test_an_error_says_what_to_write(text: str, said: str) -> None:
    with pytest.raises(PatternError, match=said) as raised:
        NamePattern.parse(text)
    assert isinstance(raised.value, OperatorError)
    assert isinstance(raised.value, ValueError)


@pytest.mark.parametrize("text", ["(a", "[[a]b", "a{2,1}", "(?P<n>a)(?P<n>b)", "(" * 9999 + ")" * 9999])
def test_a_regular_expression_that_does_not_compile(text: str) -> None:
    with pytest.raises(PatternError, match="sni_regex"):
        compile_regex(text)
