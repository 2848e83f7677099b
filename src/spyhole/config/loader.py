"""From a TOML file to a `Config`, or to everything that is wrong with the file at once."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path as FilePath
from typing import Any, Final, NamedTuple

import tomli

from spyhole.config.model import Config
from spyhole.config.positions import Lines, locate
from spyhole.config.problems import ConfigErrors, Finding, Problem
from spyhole.config.source import FileSource, FlagSource, Source
from spyhole.config.validate import findings_in, validate

DEFAULT_FILE: Final = "spyhole.toml"
"""The configuration that `check` and `run` look for in the current directory when none is named."""

LARGEST: Final = 16 << 20
"""Bytes; a larger file is not a configuration (10,000 routes are one megabyte)."""


class Loaded(NamedTuple):
    """A valid configuration, and where its parts stand: for warnings about them."""

    config: Config
    source: Source

    def errors(self, findings: Iterable[Finding]) -> ConfigErrors:
        """Findings of a check that came later (certificates), as errors with their places."""
        return ConfigErrors([self.source.problem(finding) for finding in findings])


def load(path: str | os.PathLike[str]) -> Config:
    """The configuration in the file at `path`; raises `ConfigErrors`."""
    return load_with_source(path).config


def load_with_source(path: str | os.PathLike[str]) -> Loaded:
    """As `load`, with the source, which turns a `Finding` about the configuration into a `Problem`."""
    document, source = read(path)
    return Loaded(build(document, source, FilePath(path).parent), source)


def read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], FileSource]:
    """The file's document, not validated, and its positions; raises `ConfigErrors`."""
    name = os.fspath(path)
    return parse(_text(name), name)


def parse(text: str, name: str) -> tuple[dict[str, Any], FileSource]:
    """As `read`, from the text of the file called `name`."""
    text = text.replace("\r\n", "\n")
    try:
        document = tomli.loads(text)
        positions = locate(text)
    except tomli.TOMLDecodeError as error:
        raise ConfigErrors([_syntax_problem(name, text, error)]) from None
    except RecursionError:
        raise ConfigErrors([Problem("nested too deeply", "syntax", file=name)]) from None
    except ValueError as error:  # an integer of thousands of digits
        raise ConfigErrors([Problem(str(error), "syntax", file=name)]) from None
    if not document:
        raise ConfigErrors([Problem("there is nothing in it", "empty", file=name, expected=_SMALLEST)])
    return document, FileSource(name, positions)


def build(document: Mapping[str, Any], source: Source, directory: FilePath) -> Config:
    """The configuration that a document says; its relative paths start from `directory`.

    Raises `ConfigErrors` with every error, in the order of the file.
    """
    result = validate(document, directory)
    if isinstance(result, Config):
        return result
    first_line = None
    file = source.file if isinstance(source, FlagSource) else source
    if isinstance(file, FileSource):
        first_line = file.line_of_first_header()
    problems = {source.problem(finding): None for finding in findings_in(result, document, first_line)}
    raise ConfigErrors(sorted(problems, key=lambda problem: (problem.line or 0, problem.column or 0)))


_SMALLEST: Final = (
    'at least [[listeners]] with bind = "0.0.0.0:443" and [[routes]] with upstream = "10.0.0.5:443"'
)


def _text(name: str) -> str:
    def unreadable(message: str, hint: str | None = None) -> ConfigErrors:
        return ConfigErrors([Problem(message, "unreadable", file=name, hint=hint)])

    try:
        with open(name, "rb") as file:  # noqa: PTH123  # the name as it was given: Path() would tidy it
            raw = file.read(LARGEST + 1)
    except FileNotFoundError:
        raise unreadable("no such file", "name another with -c, or make one") from None
    except IsADirectoryError:
        raise unreadable(
            "it is a directory", f"name the file in it: -c {FilePath(name) / DEFAULT_FILE}"
        ) from None
    except PermissionError:
        raise unreadable(
            "permission to read it is denied", f"its owner may allow it: chmod +r {name}"
        ) from None
    except (OSError, ValueError) as error:
        text = (
            os.strerror(error.errno).lower() if isinstance(error, OSError) and error.errno else str(error)
        )
        raise unreadable(f"it can't be read: {text}") from None
    if len(raw) > LARGEST:
        raise unreadable(f"larger than {LARGEST >> 20} MiB")
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise unreadable("it is UTF-16", "save it as UTF-8")
    if raw.startswith(b"\xef\xbb\xbf"):
        raise unreadable("it starts with a byte order mark (BOM)", "save it as UTF-8 without one")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise ConfigErrors([_not_utf8(name, raw, error)]) from None


def _not_utf8(name: str, raw: bytes, error: UnicodeDecodeError) -> Problem:
    line_start = raw.rfind(b"\n", 0, error.start) + 1
    line_end = raw.find(b"\n", error.start)
    line = raw[line_start : None if line_end < 0 else line_end].rstrip(b"\r")
    return Problem(
        message=f"not UTF-8: byte 0x{raw[error.start]:02x}",
        code="unreadable",
        file=name,
        line=raw.count(b"\n", 0, error.start) + 1,
        column=len(raw[line_start : error.start].decode()) + 1,
        source_line=line.decode(errors="replace"),
        length=1,
        hint="save it as UTF-8",
    )


def _syntax_problem(name: str, text: str, error: tomli.TOMLDecodeError) -> Problem:
    lines = Lines(text)
    at = min(error.pos, len(text))
    message = error.msg[:1].lower() + error.msg[1:]
    length, expected, suggestion, hint = 1, None, None, None
    if error.msg == "Invalid value":
        word = re.compile(r"[^\s,\]}#]*").match(text, at)
        written = word[0] if word else ""
        length = max(len(written), 1)
        if written.lower() in ("true", "false"):
            suggestion = written.lower()
        elif written.lower() in ("yes", "on", "no"):
            suggestion = "true" if written.lower() != "no" else "false"
        elif written:
            message, expected = f"invalid value {written!r}", f'a string in quotes: "{written}"'
        else:
            # What should have been there is nowhere: the caret goes to what comes before it.
            message, at = "a value is missing", len(text[:at].rstrip()) - 1
    elif error.msg == "Cannot overwrite a value":
        message, at, length = "this key is there already", *_statement(text, at)
    elif error.msg.startswith(("Cannot declare", "Cannot redefine", "Cannot mutate")):
        at, length = _statement(text, at)
        message = "this table is there already"
        hint = "an array of tables has two brackets, [[routes]], and may be there many times"
    elif error.msg.startswith("Expected newline or end of document"):
        message = "something follows where the line should end"
        length = len(text[at:].partition("\n")[0].rstrip())
        hint = "strings stand in quotes, and each key on a line of its own"
    elif error.msg.startswith("Expected '=' after a key"):
        message, expected = "a key without a value", "key = value, or a [table]"
        hint = "a key with other characters than letters, digits, '-' and '_' stands in quotes"
    elif error.msg.startswith("Illegal character '\\n'"):
        message, expected = "a string is not closed", "a quote before the end of the line"
    elif at >= len(text.rstrip()):
        message, at = f"{message}, at the end of the file", max(len(text.rstrip()) - 1, 0)
    line, column = lines.place(at)
    source_line = lines.lines[line - 1]
    return Problem(
        message=message,
        code="syntax",
        file=name,
        line=line,
        column=column,
        source_line=source_line,
        length=max(1, min(length, len(source_line) - column + 1)),
        expected=expected,
        suggestion=suggestion,
        hint=hint,
    )


def _statement(text: str, at: int) -> tuple[int, int]:
    """Start and length of what is written on the line before `at`, where tomli had read it whole."""
    start = text.rfind("\n", 0, at) + 1
    start += len(text[start:at]) - len(text[start:at].lstrip())
    return min(start, at), max(len(text[start:].partition("\n")[0].rstrip()), 1)
