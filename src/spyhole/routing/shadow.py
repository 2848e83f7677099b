"""Routes that can never be chosen, because an earlier one takes all that they ask for.

Sound, and not complete: what is reported is never chosen; a route that only several others together leave
nothing for (`0.0.0.0/1` and `128.0.0.0/1`, say) is not found.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Final, NamedTuple

from spyhole.routing.networks import plain_network
from spyhole.routing.patterns import PatternKind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from spyhole.routing.route import Network, Route


class Shadowed(NamedTuple):
    """A route that can never be chosen."""

    route: Route
    by: Route
    """The earlier route that takes its first name; `why` names all of them."""
    why: str


class DeadName(NamedTuple):
    """One name of a route that an earlier route takes; the route may still have others."""

    route: Route
    name: str
    """As written: a pattern, a regular expression, or `tls = false`."""
    by: Route


def shadowed(routes: Iterable[Route]) -> list[Shadowed]:
    """Routes of which every name is dead, in file order."""
    listed = list(routes)
    dead: dict[int, list[DeadName]] = {}
    for found in dead_names(listed):
        dead.setdefault(id(found.route), []).append(found)
    return [
        Shadowed(route, names[0].by, _why(names))
        for route in listed
        if len(names := dead.get(id(route), [])) == len(_keys(route))
    ]


def dead_names(routes: Iterable[Route]) -> list[DeadName]:
    """Names that can never choose their route, in file order: the same name is in an earlier route whose
    other conditions are equal or wider."""
    seen: dict[_Key, list[_Asks]] = {}
    found = []
    for route in routes:
        asks = _Asks(route)
        for key in _keys(route):
            wider = next((other for other in _earlier(seen, key) if other.covers(asks)), None)
            if wider is None:
                seen.setdefault(key, []).append(asks)  # a dead name need not be kept: its killer is wider
            else:
                found.append(DeadName(route, key.text, wider.route))
    return found


class _Key(NamedTuple):
    """What two rules must share to be tried on the same connections in file order."""

    kind: PatternKind
    text: str
    tls: bool


_EVERY_NAME: Final = (".*", ".+", "^.*$", "^.+$")


def _keys(route: Route) -> list[_Key]:
    if not route.tls:
        return [_Key(PatternKind.ANY, "tls = false", False)]
    names = [_Key(pattern.kind, str(pattern), True) for pattern in route.patterns]
    return names + [_Key(PatternKind.REGEX, text, True) for text in dict.fromkeys(route.sni_regex)]


def _earlier(seen: dict[_Key, list[_Asks]], key: _Key) -> list[_Asks]:
    earlier = seen.get(key, [])
    if key.kind is PatternKind.REGEX:
        for text in _EVERY_NAME:
            if text != key.text:
                earlier = [*earlier, *seen.get(key._replace(text=text), [])]
    return earlier


@dataclass(frozen=True, slots=True, init=False)
class _Asks:
    """A route's conditions besides names, as sets that can be compared."""

    route: Route
    alpn: frozenset[str]
    listeners: frozenset[str]
    networks: tuple[Network, ...]

    def __init__(self, route: Route) -> None:
        object.__setattr__(self, "route", route)
        object.__setattr__(self, "alpn", frozenset(route.alpn))
        object.__setattr__(self, "listeners", frozenset(route.listeners))
        object.__setattr__(self, "networks", tuple(map(plain_network, route.networks)))

    def covers(self, other: _Asks) -> bool:
        """Whether every connection that `other` takes is one that this takes."""
        return (
            (not self.alpn or (bool(other.alpn) and self.alpn >= other.alpn))
            and (not self.listeners or (bool(other.listeners) and self.listeners >= other.listeners))
            and (not self.networks or (bool(other.networks) and all(map(self._has, other.networks))))
        )

    def _has(self, network: Network) -> bool:
        return any(_within(network, wider) for wider in self.networks)


def _within(network: Network, wider: Network) -> bool:
    if isinstance(network, IPv4Network):
        return isinstance(wider, IPv4Network) and network.subnet_of(wider)
    return not isinstance(wider, IPv4Network) and network.subnet_of(wider)


def _why(names: list[DeadName]) -> str:
    by: dict[str, list[str]] = {}
    for name in names:
        by.setdefault(name.by.name, []).append(repr(name.name))
    return "; ".join(
        f"{', '.join(texts)}: the earlier route {route!r} takes the same with equal or wider conditions"
        for route, texts in by.items()
    )
