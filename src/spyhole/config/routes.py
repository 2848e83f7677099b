"""From a configuration to the values that routing works with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spyhole.config.words import is_address
from spyhole.routing.route import Route
from spyhole.upstreams.address import parse_address
from spyhole.upstreams.upstream import Upstream

if TYPE_CHECKING:
    from spyhole.config.model import Config


def routes_of(config: Config) -> tuple[Route, ...]:
    """The routes in the order of the file."""
    return tuple(
        Route(
            name=route.name or f"routes[{number}]",
            sni=route.sni,
            sni_regex=route.sni_regex,
            alpn=route.alpn,
            networks=route.from_,
            listeners=route.listener,
            tls=route.tls,
            mode=route.mode,
            upstream=route.upstream,
            min_version=route.min_version,
        )
        for number, route in enumerate(config.routes, start=1)
    )


def upstreams_of(config: Config) -> dict[str, Upstream]:
    """Every upstream that a route can refer to, named ones and literal addresses, by `Route.upstream`."""
    upstreams = {name: Upstream(name, upstream.servers) for name, upstream in config.upstreams.items()}
    for route in config.routes:
        reference = route.upstream
        if reference is not None and is_address(reference):
            upstreams.setdefault(reference, Upstream(reference, (parse_address(reference),)))
    return upstreams
