"""The names that a route asks for: exact, `*.suffix`, `**.suffix`, `*`, and regular expressions."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from spyhole.errors import OperatorError
from spyhole.routing.host_names import MAX_NAME, is_ip_literal, name_problem
from spyhole.routing.idna import AmbiguousLabelError, to_ascii


class PatternError(OperatorError, ValueError):
    """The operator's pattern is not one; the message says what to write."""


class PatternKind(IntEnum):
    """The kinds, the most specific first: the order in which they are tried."""

    EXACT = 0
    ONE_LABEL = 1  # *.suffix
    ANY_DEPTH = 2  # **.suffix
    REGEX = 3
    ANY = 4  # *


@dataclass(frozen=True, slots=True)
class NamePattern:
    """One name of a route. `name` is the whole name of an exact pattern, what follows the stars and their
    dot in a wildcard (lower case, no trailing dot), and empty for `*`."""

    kind: PatternKind
    name: str

    @classmethod
    def parse(cls, text: str) -> NamePattern:
        """The pattern that `text` says, compared case-folded and without a trailing dot.

        A label in another script becomes its A-label. Raises `PatternError`.
        """
        if text == "*":
            return ANY
        for stars, kind in (("**.", PatternKind.ANY_DEPTH), ("*.", PatternKind.ONE_LABEL)):
            if text.startswith(stars):
                return cls(kind, _checked(text, text.removeprefix(stars), MAX_NAME - 2))
        return cls(PatternKind.EXACT, _checked(text, text, MAX_NAME))

    def matches(self, server_name: str | None) -> bool:
        """Whether a name, as `parse_server_name` gives it, is one of these. Only `*` takes None."""
        if self.kind is PatternKind.ANY:
            return True
        if server_name is None:
            return False
        if self.kind is PatternKind.EXACT:
            return server_name == self.name
        first, dot, rest = server_name.partition(".")
        if self.kind is PatternKind.ONE_LABEL:
            return bool(first and dot) and rest == self.name
        return server_name.endswith("." + self.name) and server_name != "." + self.name

    def __str__(self) -> str:
        return _WRITTEN[self.kind] + self.name


ANY: Final = NamePattern(PatternKind.ANY, "")
"""`*`: every name, and no name at all. A route that asks for no name has this one."""


def compile_regex(text: str) -> re.Pattern[str]:
    """`sni_regex`, to be used with `fullmatch` on the lower-cased name; raises `PatternError`.

    Letters match in either case, as everywhere with names, and `\\w` and `\\d` are ASCII. Python's engine
    backtracks: `(a+)+x` is exponential in the length of a name that the peer chose.
    """
    try:
        # "[[a]" and its like change their meaning in a later Python, which warns of them
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return re.compile(text, re.ASCII | re.IGNORECASE)
    except (re.error, OverflowError, RecursionError, FutureWarning, DeprecationWarning) as error:
        raise PatternError(f"sni_regex {text!r}: {error}") from None


_WRITTEN: Final = {
    PatternKind.EXACT: "",
    PatternKind.ONE_LABEL: "*.",
    PatternKind.ANY_DEPTH: "**.",
    PatternKind.ANY: "*",
}


def _checked(text: str, name: str, longest: int) -> str:
    """`name`, the part of the pattern `text` without stars, in the form that names are compared in."""
    if text == "**":
        raise PatternError("sni '**': write '*' for every name")
    if "*" in name:
        raise PatternError(
            f"sni {text!r}: a star stands for whole labels at the beginning only: 'example.com', "
            "'*.example.com' (one label), '**.example.com' (any depth) or '*'; use sni_regex for more"
        )
    if name.startswith("."):
        raise PatternError(f"sni {text!r}: for the names under {name[1:]!r} write {'**' + name!r}")
    if name.startswith(("~", "^")):
        raise PatternError(f"sni {text!r}: a regular expression goes under `sni_regex`")
    if is_ip_literal(name.removesuffix(".")):
        raise PatternError(
            f"sni {text!r}: an IP address is not a server name; a client that connects by address "
            "sends none, and only '*' takes it"
        )
    try:
        ascii_name = to_ascii(name).lower().removesuffix(".")
    except AmbiguousLabelError as error:
        raise PatternError(f"sni {text!r}: {error}") from None
    problem = name_problem(ascii_name.encode("ascii"))
    if problem is not None:
        raise PatternError(f"sni {text!r}: not a host name: {problem}")
    if len(ascii_name) > longest:
        raise PatternError(f"sni {text!r}: no name is long enough: {MAX_NAME} bytes is the most")
    return ascii_name
