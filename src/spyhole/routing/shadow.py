"""Routes that can never be chosen, because an earlier one takes all that they ask for.

Sound, and not complete: what is reported is never chosen; a route that only several others together leave
nothing for (`0.0.0.0/1` and `128.0.0.0/1`, say) is not found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from spyhole.routing.networks import plain_network
from spyhole.routing.patterns import PatternKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

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
    seen: dict[_Key, _Earlier] = {}
    found = []
    for route in routes:
        asks = _Asks(route)
        for key in _keys(route):
            alike = (seen[other] for other in (key, *_wider_keys(key)) if other in seen)
            wider = next(filter(None, (earlier.wider_than(asks) for earlier in alike)), None)
            if wider is None:
                # a dead name need not be kept: what takes it is wider
                seen.setdefault(key, _Earlier()).add(asks)
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


def _wider_keys(key: _Key) -> list[_Key]:
    """Other names that are tried in the same turn and take all that this one takes."""
    if key.kind is not PatternKind.REGEX:
        return []
    return [key._replace(text=text) for text in _EVERY_NAME if text != key.text]


class _Asks:
    """A route's conditions besides names, as sets that can be compared."""

    __slots__ = ("alpn", "listeners", "networks", "route")

    def __init__(self, route: Route) -> None:
        self.route = route
        self.alpn = frozenset(route.alpn)
        self.listeners = frozenset(route.listeners)
        self.networks = frozenset(map(plain_network, route.networks))

    def covers(self, other: _Asks) -> bool:
        """Whether every connection that `other` takes is one that this takes."""
        return (
            (not self.alpn or (bool(other.alpn) and self.alpn >= other.alpn))
            and (not self.listeners or (bool(other.listeners) and self.listeners >= other.listeners))
            and (not self.networks or (bool(other.networks) and all(map(self._has, other.networks))))
        )

    def _has(self, network: Network) -> bool:
        return any(wider in self.networks for wider in _supernets(network))


class _Earlier:
    """The routes so far that have one name, so that thousands of networks are not compared in pairs."""

    __slots__ = ("_by_network", "_everywhere")

    def __init__(self) -> None:
        self._everywhere: list[_Asks] = []
        self._by_network: dict[Network, list[_Asks]] = {}

    def add(self, asks: _Asks) -> None:
        if not asks.networks:
            self._everywhere.append(asks)
        for network in asks.networks:
            self._by_network.setdefault(network, []).append(asks)

    def wider_than(self, asks: _Asks) -> _Asks | None:
        """One that covers `asks`."""
        for earlier in self._everywhere:
            if earlier.covers(asks):
                return earlier
        # what covers all of its networks covers any one of them
        holders = _supernets(min(asks.networks, key=str)) if asks.networks else ()
        for network in holders:
            for earlier in self._by_network.get(network, ()):
                if earlier.covers(asks):
                    return earlier
        return None


def _supernets(network: Network) -> Iterator[Network]:
    """The network, and all that hold it."""
    yield network
    for length in range(network.prefixlen):
        yield network.supernet(new_prefix=length)


def _why(names: list[DeadName]) -> str:
    by: dict[str, list[str]] = {}
    for name in names:
        by.setdefault(name.by.name, []).append(repr(name.name))
    return "; ".join(
        f"{', '.join(texts)}: the earlier route {route!r} takes the same with equal or wider conditions"
        for route, texts in by.items()
    )
