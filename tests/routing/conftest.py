"""Random routes and connections from a small world, so that they meet often."""

from __future__ import annotations

from ipaddress import ip_network
from random import Random
from typing import NamedTuple

import pytest
from hypothesis import strategies as st

from spyhole.routing.patterns import NamePattern
from spyhole.routing.route import Mode, Route


class Knock(NamedTuple):
    """The arguments of `RouteTable.match`."""

    server_name: str | None
    alpn: tuple[bytes, ...]
    client: str | None
    listener: str
    tls: bool


class World(NamedTuple):
    tables: st.SearchStrategy[list[Route]]
    knocks: st.SearchStrategy[list[Knock]]
    """Thirty, made of one number: to draw each by itself takes ten times as long."""


names = st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map(".".join)
patterns = st.one_of(names, names.map("*.{}".format), names.map("**.{}".format), st.just("*"))
regexes = st.sampled_from([r"[ab]\..*", r"a.*", r".*", r".+", r"(a|b\.)+", r"C", r"b\.c|a"])
networks = st.sampled_from(
    ["0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.3/32", "::/0", "fd00::/8"]
) | st.just("::ffff:10.1.0.0/112")


def _few(values: st.SearchStrategy[str], most: int = 2) -> st.SearchStrategy[tuple[str, ...]]:
    return st.just(()) | st.lists(values, max_size=most, unique=True).map(tuple)


@st.composite
def tables(draw: st.DrawFn) -> list[Route]:
    routes = []
    for number in range(draw(st.integers(0, 8))):
        tls = draw(st.sampled_from([True, True, True, False]))
        routes.append(
            Route(
                name=f"routes[{number + 1}]",
                sni=tuple(map(NamePattern.parse, draw(_few(patterns, 3)))) if tls else (),
                sni_regex=draw(_few(regexes)) if tls else (),
                alpn=draw(_few(st.sampled_from(["h2", "http/1.1", ""]))) if tls else (),
                networks=tuple(map(ip_network, draw(_few(networks)))),
                listeners=draw(_few(st.sampled_from(["web", "admin"]))),
                tls=tls,
                mode=draw(st.sampled_from(Mode)) if tls else Mode.PASSTHROUGH,
                upstream="web",
            )
        )
    return routes


CLIENTS = (None, "10.1.2.3", "10.9.9.9", "192.0.2.1", "fd00::1%eth0", "2001:db8::1", "::ffff:10.1.2.3")


def _knocks(random: Random) -> list[Knock]:
    return [
        Knock(
            None if random.random() < 0.25 else ".".join(random.choices("abc", k=random.randint(1, 4))),
            tuple(random.choices([b"h2", b"http/1.1", b"x"], k=random.randint(0, 2))),
            random.choice(CLIENTS),
            random.choice(["web", "admin", "other"]),
            random.random() < 0.75,
        )
        for _ in range(30)
    ]


@pytest.fixture(scope="session")
def world() -> World:
    return World(tables(), st.integers(0, 2**48).map(lambda seed: _knocks(Random(seed))))
