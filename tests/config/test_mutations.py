"""Whatever is done to a valid file, the outcome is a Config or errors that lie inside the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import tomli
from hypothesis import given, settings
from hypothesis import strategies as st

from spyhole.config.loader import build, parse
from spyhole.config.model import Config
from spyhole.config.problems import ConfigErrors
from spyhole.config.routes import routes_of, upstreams_of
from spyhole.config.source import FlagSource

EXAMPLES = [
    path.read_text()
    for path in sorted((Path(__file__).resolve().parents[2] / "examples" / "configs").glob("*.toml"))
]


def attempt(make: Callable[[], Config]) -> Config | ConfigErrors:
    """What comes of it; anything else that is raised fails the test."""
    try:
        return make()
    except ConfigErrors as errors:
        return errors


def outcome(text: str) -> Config | ConfigErrors:
    """Loads, and checks what must hold for any text."""

    def make() -> Config:
        document, source = parse(text, "x.toml")
        return build(document, source, Path("/etc"))

    result = attempt(make)
    if isinstance(result, Config):
        check_config(result)
    else:
        check_errors(result, text.replace("\r\n", "\n").split("\n"))
    return result


def check_config(config: Config) -> None:
    """What loads, routing accepts as well."""
    upstreams = upstreams_of(config)
    assert all(route.upstream is None or route.upstream in upstreams for route in routes_of(config))


def check_errors(errors: ConfigErrors, lines: list[str]) -> None:
    assert errors.problems
    assert str(errors)
    placed = [problem for problem in errors.problems if problem.line is not None]
    assert placed == sorted(placed, key=lambda problem: (problem.line or 0, problem.column or 0))
    for problem in placed:
        assert problem.line is not None
        assert problem.column is not None
        line = lines[problem.line - 1]
        assert problem.source_line == line
        assert 1 <= problem.column <= len(line) + 1
        assert 1 <= problem.length <= max(1, len(line) + 1 - problem.column)


def test_the_examples_are_valid() -> None:
    assert len(EXAMPLES) == 5
    assert all(isinstance(outcome(text), Config) for text in EXAMPLES)


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """An example with pieces of its lines removed, doubled, moved or replaced."""
    text = draw(st.sampled_from(EXAMPLES))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 12)))
        piece = draw(
            st.one_of(
                st.just(""),
                st.just(text[start:end] * 2),
                st.text("[]{}=\"'.,#\\\n\r\t 0aé", max_size=4),
                st.sampled_from(
                    ["[[routes]]\n", "[upstreams]\n", '"""', "sni = ", "\0", "\x1b[2J", "\ufeff"]
                ),
            )
        )
        text = text[:start] + piece + text[end:]
    return text


@settings(max_examples=300)
@given(mutated())
def test_a_mutated_file(text: str) -> None:
    outcome(text)


@settings(max_examples=150)
@given(st.sampled_from(EXAMPLES), st.data())
def test_lines_in_another_order(text: str, data: st.DataObject) -> None:
    outcome("\n".join(data.draw(st.permutations(text.splitlines()))))


# Documents that are valid TOML of the right or nearly right shape, with any value anywhere.

anything = st.recursive(
    st.one_of(
        st.booleans(),
        st.integers(-(1 << 63), (1 << 63) - 1),
        st.floats(),
        st.dates(),
        st.sampled_from(
            ["auto", "off", "-", "5s", "x", "", "10.0.0.5:443", "*", "*.a.test", "1.2", "terminate"]
        ),
        st.text(max_size=5),
    ),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=3,
)
DOCUMENTS = [tomli.loads(text) for text in EXAMPLES]


def replaced(draw: st.DrawFn, value: Any) -> Any:
    if draw(st.integers(0, 9)) == 0:
        return draw(anything)
    if isinstance(value, dict):
        changed = {key: replaced(draw, inner) for key, inner in value.items() if draw(st.integers(0, 15))}
        if draw(st.integers(0, 9)) == 0:
            changed[
                draw(st.sampled_from(["workers", "sni", "name", "x", "tls", "from", "min_version"]))
            ] = draw(anything)
        return changed
    if isinstance(value, list):
        return [replaced(draw, inner) for inner in value]
    return value


@st.composite
def document(draw: st.DrawFn) -> dict[str, Any]:
    base = draw(st.sampled_from(DOCUMENTS))
    return {key: replaced(draw, value) for key, value in base.items()}


@settings(max_examples=300)
@given(document())
def test_any_value_anywhere(made: dict[str, Any]) -> None:
    result = attempt(lambda: build(made, FlagSource({}), Path()))
    if isinstance(result, Config):
        check_config(result)
        return
    assert all(problem.message for problem in result.problems)
    # No check of ours fell through to pydantic's words.
    assert all(problem.code != "bad-value" for problem in result.problems)
