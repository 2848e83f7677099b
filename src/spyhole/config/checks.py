"""What the parts of a configuration say to each other: references, contradictions, things given twice.

Each check is a function from `Parts` to findings. `Parts` may have holes: where a key has an error of its
own it is missing here, and no check draws conclusions from that. So one run shows every error at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from spyhole.config.problems import Finding, nearest
from spyhole.config.words import is_address
from spyhole.routing.route import Mode
from spyhole.upstreams.address import TcpAddress

if TYPE_CHECKING:
    from spyhole.config.model import Certificate, Config, Listener, Route, UpstreamConfig
    from spyhole.config.positions import Path

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Part(Generic[T]):
    """One table of the configuration, valid but for keys that are `broken` and have their default."""

    path: Path
    value: T
    broken: frozenset[str] = frozenset()
    """Keys with an error of their own, or probably meant by one that is misspelt."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What there is of a configuration."""

    listeners: tuple[Part[Listener], ...] = ()
    routes: tuple[Part[Route], ...] = ()
    upstreams: tuple[Part[UpstreamConfig], ...] = ()
    certificates: tuple[Part[Certificate], ...] = ()
    upstream_names: frozenset[str] = frozenset()
    """All of them, also those of upstreams that are not valid."""
    holes: frozenset[str] = field(default_factory=frozenset)
    """The sections of which something is missing: `listeners`, `routes`, …"""

    @classmethod
    def of(cls, config: Config) -> Parts:
        """The parts of a configuration that is valid in itself."""

        def parts(section: str, values: Iterable[T]) -> tuple[Part[T], ...]:
            return tuple(Part((section, index), value) for index, value in enumerate(values))

        return cls(
            listeners=parts("listeners", config.listeners),
            routes=parts("routes", config.routes),
            upstreams=tuple(Part(("upstreams", name), value) for name, value in config.upstreams.items()),
            certificates=parts("certificates", config.certificates),
            upstream_names=frozenset(config.upstreams),
        )


_LISTED: Final = 10
"""How many names a message lists."""

_SUGGESTED: Final = 50
"""How many wrong references get a suggestion: each is compared with every name there is."""


def cross_checks(parts: Parts) -> list[Finding]:
    """Everything that the parts contradict each other in."""
    return [finding for check in _CHECKS for finding in check(parts)]


def _nothing_there(parts: Parts) -> Iterator[Finding]:
    if not parts.listeners and "listeners" not in parts.holes:
        yield Finding(
            ("listeners",),
            "no-listeners",
            "no listeners",
            expected='[[listeners]] with bind = "0.0.0.0:443"',
        )
    if not parts.routes and "routes" not in parts.holes:
        yield Finding(
            ("routes",), "no-routes", "no routes", expected='[[routes]] with sni = "…" and upstream = "…"'
        )


def _listeners_twice(parts: Parts) -> Iterator[Finding]:
    names: dict[str, Path] = {}
    binds: dict[str, Path] = {}
    for part in parts.listeners:
        for index, address in enumerate(part.value.bind):
            path = (*part.path, "bind", index)
            if isinstance(address, TcpAddress) and address.port == 0:
                continue  # the kernel picks another port each time
            if (first := binds.setdefault(str(address), path)) is not path:
                yield Finding(path, "duplicate-bind", f"{str(address)!r} is bound twice", first=first)
        path = (*part.path, "name")
        given = "name" in part.value.model_fields_set and part.value.name != str(part.value.bind[0])
        if (
            "name" not in part.broken
            and (first := names.setdefault(part.value.name, path)) is not path
            and given
        ):
            yield Finding(path, "duplicate-name", f"two listeners named {part.value.name!r}", first=first)


def _routes_twice(parts: Parts) -> Iterator[Finding]:
    # What a route without a name is called, another may not be called either: a name means one route.
    names: dict[str, Path] = {
        f"routes[{int(part.path[-1]) + 1}]": part.path for part in parts.routes if part.value.name is None
    }
    for part in parts.routes:
        path = (*part.path, "name")
        name = part.value.name
        if name is not None and (first := names.setdefault(name, path)) is not path:
            yield Finding(path, "duplicate-name", f"two routes named {name!r}", first=first)


def _upstream_references(parts: Parts) -> Iterator[Finding]:
    known = ", ".join(repr(name) for name in sorted(parts.upstream_names)[:_LISTED])
    wrong = 0
    for part in parts.routes:
        reference = part.value.upstream
        if reference is None or is_address(reference) or reference in parts.upstream_names:
            continue
        wrong += 1
        yield Finding(
            (*part.path, "upstream"),
            "unknown-upstream",
            f"unknown upstream {reference!r}",
            expected=(f"{known}, or" if known else "the X of an [upstreams.X], or")
            + f" an address with a port, as in '{reference if '.' in reference else '10.0.0.5'}:443'",
            suggestion=nearest(reference, parts.upstream_names) if wrong <= _SUGGESTED else None,
        )


def _upstream_names(parts: Parts) -> Iterator[Finding]:
    for name in sorted(parts.upstream_names):
        if is_address(name) or not name:
            yield Finding(
                ("upstreams", name),
                "bad-name",
                f"an upstream can't be named {name!r}",
                expected="a name without ':', which is how a route tells names from addresses",
                at="key",
            )


def _modes(parts: Parts) -> Iterator[Finding]:
    for part in parts.routes:
        route = part.value
        if "mode" in part.broken:
            continue
        if route.mode is Mode.REJECT:
            if route.upstream is not None:
                yield Finding(
                    (*part.path, "upstream"),
                    "contradiction",
                    "a route that rejects has no upstream",
                    hint='remove the upstream, or mode = "reject"',
                    at="key",
                )
        elif route.upstream is None and "upstream" not in part.broken:
            yield Finding(
                part.path,
                "missing-upstream",
                "a route without an upstream",
                expected='upstream = "…", or mode = "reject"',
                at="table",
            )
        if route.min_version is not None and route.mode is not Mode.TERMINATE:
            yield Finding(
                (*part.path, "min_version"),
                "contradiction",
                f"min_version has no meaning with mode {str(route.mode)!r}",
                hint='only mode = "terminate" negotiates a TLS version',
                at="key",
            )


def _without_tls(parts: Parts) -> Iterator[Finding]:
    for part in parts.routes:
        route = part.value
        if route.tls:
            continue
        for key in ("sni", "sni_regex", "alpn"):
            if getattr(route, key):
                yield Finding(
                    (*part.path, key),
                    "contradiction",
                    f"{key} with tls = false: a connection that is not TLS has none",
                    hint=f"remove {key}, or tls = false",
                    at="key",
                )
        if route.mode is Mode.TERMINATE:
            yield Finding(
                (*part.path, "mode"),
                "contradiction",
                "mode 'terminate' with tls = false: there is no TLS to terminate",
                expected="'passthrough' or 'reject'",
            )


def _listener_references(parts: Parts) -> Iterator[Finding]:
    if "listeners" in parts.holes:
        return
    names = {part.value.name for part in parts.listeners}
    by_address = {str(bind): part.value.name for part in parts.listeners for bind in part.value.bind}
    known = ", ".join(repr(name) for name in sorted(names)[:_LISTED]) or "there are none"
    wrong = 0
    for part in parts.routes:
        for index, name in enumerate(part.value.listener):
            if name in names:
                continue
            wrong += 1
            yield Finding(
                (*part.path, "listener", index),
                "unknown-listener",
                f"unknown listener {name!r}",
                expected=f"the name of a listener: {known}",
                suggestion=by_address.get(name) or (nearest(name, names) if wrong <= _SUGGESTED else None),
            )


def _certificates(parts: Parts) -> Iterator[Finding]:
    first: Path | None = None
    for part in parts.certificates:
        if not part.value.default:
            continue
        path = (*part.path, "default")
        if first is not None:
            yield Finding(path, "two-defaults", "two certificates marked as the default", first=first)
        first = first or path
    if parts.certificates or "certificates" in parts.holes:
        return
    for route in parts.routes:
        if route.value.mode is Mode.TERMINATE and route.value.tls:
            yield Finding(
                (*route.path, "mode"),
                "no-certificate",
                "mode 'terminate' needs a certificate, and there is none",
                expected='[[certificates]] with cert = "…" and key = "…"',
            )
            return


_CHECKS = (
    _nothing_there,
    _listeners_twice,
    _routes_twice,
    _upstream_names,
    _upstream_references,
    _modes,
    _without_tls,
    _listener_references,
    _certificates,
)
