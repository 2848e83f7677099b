"""Rules whose name almost matched: what a person who wonders "why not that one?" probably meant."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Final, NamedTuple

from spyhole.routing.patterns import NamePattern, PatternKind, compile_regex

if TYPE_CHECKING:
    from collections.abc import Iterable

    from spyhole.routing.decision import Decision
    from spyhole.routing.route import Route

MOST: Final = 5
"""How many are told; they are for reading."""

_CLOSE: Final = 0.85  # difflib's ratio: one wrong letter in seven


class NearMiss(NamedTuple):
    """A rule that did not match, and the difference."""

    route: str
    key: str
    """`sni` or `sni_regex`."""
    rule: str
    """The pattern, or the regular expression."""
    why: str

    def __str__(self) -> str:
        return f"{self.key} {self.rule!r} of route {self.route!r} {self.why}"


def near_misses(routes: Iterable[Route], decision: Decision) -> tuple[NearMiss, ...]:
    """Rules more specific than the one that was chosen whose name nearly matched. Looks at every route."""
    name = decision.server_name
    if name is None or not decision.tls:
        return ()
    chosen = decision.rule.kind if decision.rule else PatternKind.ANY
    found: list[NearMiss] = []
    spellings: dict[str, NearMiss] = {}
    for route in routes:
        if not route.tls:
            continue
        for pattern in route.patterns:
            if pattern.kind > chosen or pattern.matches(name) or pattern.kind is PatternKind.ANY:
                continue
            why = _shape(pattern, name)
            if why:
                found.append(NearMiss(route.name, "sni", str(pattern), why))
            elif pattern.kind <= chosen:
                spellings.setdefault(
                    str(pattern),
                    NearMiss(route.name, "sni", str(pattern), f"is spelt almost like {name!r}"),
                )
        if chosen >= PatternKind.REGEX:
            found.extend(_parts(route, name))
    return tuple([*found, *_alike(spellings, name)][:MOST])


def _shape(pattern: NamePattern, name: str) -> str | None:
    """The difference, where the name is the pattern's suffix or lies under it."""
    if pattern.kind is PatternKind.EXACT:
        if name.endswith("." + pattern.name):
            stars = "*." if name.count(".") == pattern.name.count(".") + 1 else "**."
            return f"takes that name only; {stars + pattern.name!r} takes names under it"
        return None
    if name == pattern.name:
        return f"takes names under {name!r}, not {name!r} itself; add it to `sni`"
    if pattern.kind is PatternKind.ONE_LABEL and name.endswith("." + pattern.name):
        labels = name.count(".") - pattern.name.count(".")
        deeper = "*" + str(pattern)
        return f"takes one label before {pattern.name!r}, and here are {labels}; {deeper!r} takes any depth"
    return None


def _parts(route: Route, name: str) -> list[NearMiss]:
    """Regular expressions that match somewhere in the name, but not all of it."""
    return [
        NearMiss(route.name, "sni_regex", text, "matches a part of the name; it has to match the whole")
        for text in route.sni_regex
        for regex in [compile_regex(text)]
        if regex.search(name) and not regex.fullmatch(name)
    ]


def _alike(spellings: dict[str, NearMiss], name: str) -> list[NearMiss]:
    """Patterns that differ by a slip of the keyboard; a wildcard's star stands for the first label."""
    exact = [text for text in spellings if not text.startswith("*")]
    wild = {text.partition(".")[2]: text for text in spellings if text.startswith("*")}
    close = difflib.get_close_matches(name, exact, n=MOST, cutoff=_CLOSE)
    suffix = name.partition(".")[2]
    if suffix:
        close += [wild[text] for text in difflib.get_close_matches(suffix, wild, n=MOST, cutoff=_CLOSE)]
    return [spellings[text] for text in close]
