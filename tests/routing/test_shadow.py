from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spyhole.routing.patterns import NamePattern
from spyhole.routing.route import Route
from spyhole.routing.shadow import dead_names, shadowed
from spyhole.routing.table import RouteTable


def route(name: str, *sni: str, nets: tuple[str, ...] = (), **others: Any) -> Route:
    return Route(
        name,
        sni=tuple(map(NamePattern.parse, sni)),
        networks=tuple(map(ip_network, nets)),
        upstream="u",
        **others,
    )


@given(st.data())
def test_what_is_reported_is_never_chosen(world: Any, data: st.DataObject) -> None:
    routes = data.draw(world.tables)
    never = {found.route.name for found in shadowed(routes)}
    dead = {(found.route.name, found.name) for found in dead_names(routes)}
    table = RouteTable(routes)
    for knock in data.draw(world.knocks):
        decision = table.match(*knock[:4], tls=knock.tls)
        if decision.route is not None:
            assert decision.rule is not None
            assert decision.route.name not in never
            assert (decision.route.name, decision.rule.text) not in dead


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (route("1", "a.test"), route("2", "A.test.", alpn=("h2",))),
        (route("1", "*"), route("2")),
        (route("1", "*.a", "b"), route("2", "b", "*.a")),
        (route("1", "a", alpn=("h2", "")), route("2", "a", alpn=("",))),
        (route("1", "a", nets=("10.0.0.0/8",)), route("2", "a", nets=("10.1.0.0/16", "10.2.0.1/32"))),
        (route("1", nets=("10.0.0.0/8",)), route("2", nets=("::ffff:10.1.0.0/112",))),
        (route("1", "a", listeners=("x", "y")), route("2", "a", listeners=("y",))),
        (route("1", sni_regex=(".*",)), route("2", sni_regex=("a.*",))),
        (route("1", tls=False), route("2", tls=False, nets=("::/0",))),
    ],
)
def test_a_route_behind_an_equal_or_wider_one(first: Route, second: Route) -> None:
    [found] = shadowed([first, second])
    assert (found.route, found.by) == (second, first)
    assert "the earlier route '1' takes the same" in found.why


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (route("1", "a", alpn=("h2",)), route("2", "a")),
        (route("1", "a", alpn=("h2",)), route("2", "a", alpn=("h2", ""))),
        (route("1", "a", nets=("10.0.0.0/8",)), route("2", "a", nets=("10.1.0.0/16", "11.0.0.0/8"))),
        (route("1", "a", nets=("0.0.0.0/0", "::/0")), route("2", "a")),  # unix sockets
        (route("1", nets=("::/0",)), route("2", nets=("::ffff:10.1.0.0/112",))),  # that is IPv4
        (route("1", "a", listeners=("x",)), route("2", "a", listeners=("y",))),
        (route("1", "*"), route("2", "a.test")),
        (route("1", "**.test"), route("2", "*.test")),
        (route("1", "a"), route("2", "a", "b")),
        (route("1"), route("2", tls=False)),
        (route("1", sni_regex=(".*",)), route("2", "*")),  # takes those that send no name
    ],
)
def test_a_route_that_something_is_left_for(first: Route, second: Route) -> None:
    assert shadowed([first, second]) == []


def test_names_taken_by_different_routes_are_all_told() -> None:
    [found] = shadowed([route("1", "a"), route("2", "b"), route("3", "a", "b")])
    assert found.by.name == "1"
    assert "'a': the earlier route '1'" in found.why
    assert "'b': the earlier route '2'" in found.why
    [dead] = dead_names([route("1", "a"), route("2", "a", "b")])
    assert (dead.route.name, dead.name, dead.by.name) == ("2", "a", "1")
