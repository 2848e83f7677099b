"""Durations, sizes and counts: values of the configuration that are numbers, parsed once into Python's.

Every kind of value, here and in `config/words.py`, is an `Annotated` type: the Python type, the parser,
the JSON Schema of what may be written, and a `Kind` for the reference and the flags.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final, NoReturn

from pydantic import AfterValidator, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from spyhole.config.problems import At, nearest


@dataclass(frozen=True, slots=True)
class Kind:
    """How a key's value is called, and written."""

    name: str
    """For the reference: `duration`."""
    metavar: str
    """For `--help`."""
    show: Callable[[Any], str] = str
    """A value as it would be written after the `=` of the file."""
    numeric: bool = False
    """Whether the file may have a bare number, so that a flag's text is read as one if it is one."""
    path: bool = False
    """Whether it is a path, which a file gives relative to itself and a flag to the working directory."""


def fault(
    code: str,
    message: str,
    *,
    expected: str | None = None,
    suggestion: str | None = None,
    hint: str | None = None,
    at: At = "value",
    **more: object,
) -> PydanticCustomError:
    """An error for pydantic to collect, carrying the fields of a `Finding`."""
    context = {"message": message, "expected": expected, "suggestion": suggestion, "hint": hint, "at": at}
    return PydanticCustomError("spyhole", "{message}", {**context, **more, "code": code})


def wrong_type(value: object, expected: str, *, suggestion: str | None = None) -> NoReturn:
    raise fault("wrong-type", f"wrong type: {toml_type(value)}", expected=expected, suggestion=suggestion)


def toml_type(value: object) -> str:
    """What TOML calls the type of `value`, with its article."""
    if isinstance(value, bool):
        return "a boolean"
    names: dict[type, str] = {
        str: "a string", int: "an integer", float: "a float", list: "an array", dict: "a table"
    }  # fmt: skip
    return names.get(type(value), "a date or time")


def quoted(value: object) -> str:
    """`value` as TOML writes it, for the reference and for `--help`."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(quoted(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {quoted(item)}" for key, item in value.items()) + " }"
    text = str(value)
    if "\\" in text and "'" not in text and text.isprintable():
        return f"'{text}'"
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


# durations

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|m|h|d)?")
_DURATION_EXPECTED: Final = "a duration, as in '250ms', '5s', '2m', '1h' or '1d', or a number of seconds"
_DURATION_PATTERN: Final = r"^[0-9]+(\.[0-9]+)?\s*(ms|s|m|h|d)?$"
_LONGEST: Final = 366 * 86400.0


def parse_duration(value: object) -> float:
    """Seconds, from "250ms", "5s" and so on, or from a number of seconds; at most a year, never 0."""
    if isinstance(value, str):
        match = _DURATION.fullmatch(value.strip())
        if match is None:
            code = "bad-duration"
            if value == "off":
                raise fault(code, "this can't be off", expected=_DURATION_EXPECTED)
            unit = re.fullmatch(r"([0-9.]+)\s*([a-zA-Zµ]+)", value)
            meant = _LONG_UNITS.get(unit[2].lower().rstrip("s") or "s") if unit else None
            raise fault(
                code,
                f"{value!r} is not a duration",
                expected=_DURATION_EXPECTED,
                suggestion=f"{unit[1]}{meant}" if unit and meant else None,
            )
        seconds = float(match[1]) * _UNITS[match[2] or "s"]
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            seconds = float(value)
        except OverflowError:
            seconds = math.inf
    else:
        wrong_type(value, _DURATION_EXPECTED)
    if not 0 < seconds <= _LONGEST:
        raise fault("bad-duration", f"{value!r} is out of range", expected="more than 0 and at most a year")
    return seconds


_LONG_UNITS: Final = {
    "millisecond": "ms", "msec": "ms", "m": "ms", "second": "s", "sec": "s", "s": "s",
    "minute": "m", "min": "m", "hour": "h", "hr": "h", "h": "h", "day": "d", "d": "d",
}  # fmt: skip


def _parse_duration_or_off(value: object) -> float | None:
    if value is None or value == "off":
        return None
    if value is False:
        wrong_type(value, 'a duration, or "off"', suggestion="off")
    return parse_duration(value)


def show_duration(seconds: float | None) -> str:
    """The shortest text that `parse_duration` reads as `seconds`, quoted."""
    if seconds is None:
        return '"off"'
    for unit, size in reversed(_UNITS.items()):
        count = seconds / size
        if count >= 1 and count == int(count):
            return f'"{int(count)}{unit}"'
    return f'"{seconds:.3f}'.rstrip("0").rstrip(".") + 's"'


_DURATION_SCHEMA: Final[dict[str, Any]] = {
    "anyOf": [
        {"type": "string", "pattern": _DURATION_PATTERN},
        {"type": "number", "exclusiveMinimum": 0},
    ]
}
Duration = Annotated[
    float,
    PlainValidator(parse_duration),
    WithJsonSchema(_DURATION_SCHEMA),
    Kind("duration", "DURATION", show_duration, numeric=True),
]
OptionalDuration = Annotated[
    float | None,
    PlainValidator(_parse_duration_or_off),
    WithJsonSchema({"anyOf": [*_DURATION_SCHEMA["anyOf"], {"const": "off"}]}),
    Kind('duration, or "off"', "DURATION|off", show_duration, numeric=True),
]


# sizes and counts

_SIZE: Final = re.compile(r"([0-9]+)\s*(B|KiB|MiB|GiB)?")
_SIZES: Final = {None: 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_SIZE_EXPECTED: Final = "a number of bytes, or a size as in '64KiB' or '1MiB'"


def parse_size(value: object) -> int:
    """Bytes, from a number or from "64KiB"."""
    if isinstance(value, str):
        match = _SIZE.fullmatch(value.strip())
        if match is None:
            loose = re.fullmatch(r"([0-9]+)\s*([kmg])i?b?", value.strip().lower(), re.ASCII)
            meant = f"{loose[1]}{loose[2].upper()}iB" if loose else None
            raise fault("bad-size", f"{value!r} is not a size", expected=_SIZE_EXPECTED, suggestion=meant)
        return _whole(match[1], value) * _SIZES[match[2]]
    if isinstance(value, bool) or not isinstance(value, int):
        wrong_type(value, _SIZE_EXPECTED)
    return value


def _whole(digits: str, value: object) -> int:
    if len(digits) > 18:
        raise fault("bad-number", f"{value!r} is out of range", expected="a smaller number")
    return int(digits)


def show_size(size: int) -> str:
    for unit in ("GiB", "MiB", "KiB"):
        if size >= _SIZES[unit] and size % _SIZES[unit] == 0:
            return f'"{size // _SIZES[unit]}{unit}"'
    return str(size)


Size = Annotated[
    int,
    PlainValidator(parse_size),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 0},
                {"type": "string", "pattern": r"^[0-9]+\s*(B|KiB|MiB|GiB)?$"},
            ]
        }
    ),
    Kind("size in bytes", "SIZE", show_size, numeric=True),
]


def within(lowest: int, highest: int) -> AfterValidator:
    """Restricts a `Size` or a count; given after it in the field's `Annotated`."""

    def check(value: int | None) -> int | None:
        if value is not None and not lowest <= value <= highest:
            raise fault("out-of-range", f"{value} is out of range", expected=f"{lowest} to {highest}")
        return value

    return AfterValidator(check)


def at_most(longest: float) -> AfterValidator:
    """Restricts a duration; given after it in the field's `Annotated`."""

    def check(value: float | None) -> float | None:
        if value is not None and value > longest:
            raise fault("out-of-range", f"{value:g} s is too long", expected=f"at most {longest:g} s")
        return value

    return AfterValidator(check)


def _parse_whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        meant = value if isinstance(value, str) and value.strip().isdecimal() else None
        if isinstance(value, str) and meant is None:
            raise fault("bad-number", f"{value!r} is not a whole number", expected="a whole number")
        wrong_type(value, "a whole number" + (f": {meant}, without quotes" if meant else ""))
    return value


def _parse_count(value: object) -> int | None:
    if value is None or value == "auto":
        return None
    if isinstance(value, str) and not value.strip().isdecimal():
        meant = nearest(value, ["auto"])
        raise fault(
            "bad-number",
            f"{value!r} is not a number",
            expected='a whole number, or "auto"',
            suggestion=meant,
        )
    return _parse_whole(value)


Count = Annotated[
    int,
    PlainValidator(_parse_whole),
    WithJsonSchema({"type": "integer"}),
    Kind("number", "N", numeric=True),
]
AutoCount = Annotated[
    int | None,
    PlainValidator(_parse_count),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, {"const": "auto"}]}),
    Kind(
        'number, or "auto"', "N|auto", lambda count: '"auto"' if count is None else str(count), numeric=True
    ),
]
