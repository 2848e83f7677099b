"""Durations, sizes and counts: what is written, and what is made of it."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest
import tomli
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from spyhole.config.loader import load
from spyhole.config.problems import ConfigErrors
from spyhole.config.values import parse_duration, parse_size, quoted, show_duration, show_size
from spyhole.config.words import BindAddress, FilePath, Network, UpstreamReference


def context(raised: pytest.ExceptionInfo[PydanticCustomError]) -> dict[str, Any]:
    return dict(raised.value.context or {})


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("250ms", 0.25),
        ("5s", 5),
        ("2m", 120),
        ("1h", 3600),
        ("1d", 86_400),
        ("366d", 366 * 86_400),
        ("1.5h", 5400),
        (" 5 s ", 5),
        (5, 5),
        (0.5, 0.5),
        ("30", 30),
    ],
)
def test_durations(written: object, seconds: float) -> None:
    assert parse_duration(written) == seconds


@pytest.mark.parametrize(
    ("written", "message", "suggestion"),
    [
        ("5 sec", "'5 sec' is not a duration", "5s"),
        ("5minutes", "'5minutes' is not a duration", "5m"),
        ("5S", "'5S' is not a duration", "5s"),
        ("1h30m", "'1h30m' is not a duration", None),
        ("-5s", "'-5s' is not a duration", None),
        ("٥s", "'٥s' is not a duration", None),
        ("", "'' is not a duration", None),
        ("off", "this can't be off", None),
        ("0s", "'0s' is out of range", None),
        (0, "0 is out of range", None),
        (-1, "-1 is out of range", None),
        ("367d", "'367d' is out of range", None),
        (float("nan"), "nan is out of range", None),
        (float("inf"), "inf is out of range", None),
        (10**400, None, None),
        (True, "wrong type: a boolean", None),
        ([5], "wrong type: an array", None),
        ({}, "wrong type: a table", None),
        (date(2026, 1, 1), "wrong type: a date or time", None),
    ],
)
def test_what_is_no_duration(written: object, message: str | None, suggestion: str | None) -> None:
    with pytest.raises(PydanticCustomError) as raised:
        parse_duration(written)
    if message is not None:
        assert context(raised)["message"] == message
    assert context(raised)["suggestion"] == suggestion


@given(st.integers(1, 366 * 86_400_000))
def test_a_duration_shown_reads_back(milliseconds: int) -> None:
    seconds = milliseconds / 1000
    assert parse_duration(show_duration(seconds).strip('"')) == pytest.approx(seconds, rel=1e-4)


@given(st.integers(0, 1 << 40))
def test_a_size_shown_reads_back(size: int) -> None:
    shown = show_size(size).strip('"')
    assert parse_size(int(shown) if shown.isdecimal() else shown) == size


@pytest.mark.parametrize(
    ("written", "suggestion"),
    [("64KB", "64KiB"), ("64k", "64KiB"), ("1 mib", "1MiB"), ("x", None), ("-1", None)],
)
def test_what_is_no_size(written: str, suggestion: str | None) -> None:
    with pytest.raises(PydanticCustomError) as raised:
        parse_size(written)
    assert context(raised)["suggestion"] == suggestion


@pytest.mark.parametrize("written", [True, 1.5, "9" * 30, [], {}])
def test_what_is_no_size_at_all(written: object) -> None:
    with pytest.raises(PydanticCustomError):
        parse_size(written)


encodable = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.recursive(encodable | st.booleans() | st.integers(-9, 9), st.lists, max_leaves=4))
def test_a_quoted_value_is_toml(value: object) -> None:
    assert tomli.loads(f"v = {quoted(value)}")["v"] == value


@pytest.mark.parametrize(
    ("kind", "written", "said"),
    [
        (BindAddress, "localhost:443", "127.0.0.1:443"),
        (BindAddress, "example.com:443", "not a name"),
        (BindAddress, "443", "0.0.0.0:443"),
        (BindAddress, "0.0.0.0", "expected 'host:port'"),
        (BindAddress, 443, "wrong type: an integer"),
        (Network, "10.0.0.1/8", "10.0.0.0/8"),
        (Network, "2001:db8::1/32", "2001:db8::/32"),
        (Network, "10.0.0.0/33", "not a network"),
        (Network, "example.com", "not a network"),
        (UpstreamReference, "", "an empty string"),
        (UpstreamReference, "10.0.0.5:x", "expected a number"),
        (UpstreamReference, "/run/x.sock", "unix:/run/x.sock"),
        (FilePath, "a\0b", "NUL"),
    ],
)
def test_words_that_are_refused(kind: Any, written: object, said: str) -> None:
    with pytest.raises(ValidationError) as raised:
        TypeAdapter(kind).validate_python(written)
    (error,) = raised.value.errors()
    assert said in str(error["ctx"])


def test_addresses_are_written_in_one_way() -> None:
    assert TypeAdapter(UpstreamReference).validate_python("[0:0::1]:443") == "[::1]:443"


def test_paths_start_from_the_directory() -> None:
    adapter: TypeAdapter[Path] = TypeAdapter(FilePath)
    assert adapter.validate_python("a.pem", context={"directory": Path("/etc/x")}) == Path("/etc/x/a.pem")
    assert adapter.validate_python("/b.pem", context={"directory": Path("/etc/x")}) == Path("/b.pem")


def test_keepalive_is_what_the_kernel_takes(tmp_path: Path) -> None:
    file = tmp_path / "spyhole.toml"
    rest = '[[listeners]]\nbind = "127.0.0.1:0"\n[[routes]]\nupstream = "127.0.0.1:9"\n'
    file.write_text(f'keepalive = "9h"\n{rest}')
    assert load(file).keepalive == 9 * 3600
    file.write_text(f'keepalive = "10h"\n{rest}')
    with pytest.raises(ConfigErrors, match="36000 s is too long"):
        load(file)
