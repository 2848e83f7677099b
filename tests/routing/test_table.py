from __future__ import annotations

import json
import re
import sys
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spyhole.outcome import Reason
from spyhole.routing.patterns import NamePattern, PatternError
from spyhole.routing.route import Mode, Route, RouteError
from spyhole.routing.table import RouteTable


def routes_of(*texts: str, **others: Any) -> list[Route]:
    return [Route(text, sni=(NamePattern.parse(text),), upstream="u", **others) for text in texts]


def chosen(
    routes: list[Route], name: str | None, alpn: tuple[bytes, ...] = (), tls: bool = True
) -> str | None:
    route = RouteTable(routes).match(name, alpn, "10.0.0.1", "web", tls=tls).route
    return route.name if route else None


# the law: the table is the sentence of the documentation, applied to every route in turn


def other_conditions_hold(route: Route, alpn: tuple[bytes, ...], client: str | None, listener: str) -> bool:
    if route.listeners and listener not in route.listeners:
        return False
    if route.alpn:
        offered = [protocol.decode() for protocol in alpn] or [""]
        if not any(protocol in route.alpn for protocol in offered):
            return False
    if route.networks:
        if client is None:
            return False
        v6 = [IPv6Address(client.split("%")[0])] if ":" in client else [IPv6Address(f"::ffff:{client}")]
        mapped = v6[0].ipv4_mapped
        addresses = [mapped, *v6] if mapped else v6
        if not any(
            address in network
            for network in route.networks
            for address in addresses
            if address.version == network.version
            and not (mapped and network.prefixlen < 96 and address is v6[0])
        ):
            return False
    return True


def plainly(
    routes: list[Route], name: str | None, alpn: Any, client: Any, listener: Any, tls: bool
) -> Route | None:
    """Exact, then `*.`, then `**.` by its length, then regular expression, then `*`; then file order."""
    ranked = []
    for order, route in enumerate(routes):
        if route.tls != tls or not other_conditions_hold(route, alpn, client, listener):
            continue
        if not tls or not (route.sni or route.sni_regex):
            ranked.append((4, 0, order))
        for pattern in map(str, route.sni):
            suffix = pattern.lstrip("*").removeprefix(".")
            if pattern == "*":
                ranked.append((4, 0, order))
            elif name is None:
                continue
            elif pattern.startswith("**."):
                if name.endswith("." + suffix):
                    ranked.append((2, -len(suffix), order))
            elif pattern.startswith("*."):
                if name.split(".", 1)[1:] == [suffix]:
                    ranked.append((1, 0, order))
            elif name == pattern:
                ranked.append((0, 0, order))
        if name is not None and any(re.fullmatch(regex.lower(), name) for regex in route.sni_regex):
            ranked.append((3, 0, order))
    return routes[min(ranked)[2]] if ranked else None


@given(st.data())
def test_the_table_decides_as_the_naive_matcher_and_explain_as_match(
    world: Any, data: st.DataObject
) -> None:
    routes = data.draw(world.tables)
    table = RouteTable(routes)
    for knock in data.draw(world.knocks)[:8]:
        decision = table.match(*knock[:4], tls=knock.tls)
        assert decision.route is plainly(routes, *knock)
        explanation = table.explain(*knock[:4], tls=knock.tls)
        assert explanation.decision == decision
        check_explanation(explanation, decision)


def check_explanation(explanation: Any, decision: Any) -> None:
    """The words agree with the decision: the last rule tried is the one taken, and no other is."""
    *passed_over, last = [*explanation.tried, None] if decision.route is None else explanation.tried
    for tried in passed_over:
        assert not tried.taken
        assert not all(condition.holds for condition in tried.conditions)
    if last is not None:
        assert last.taken
        assert last.rule is decision.rule
        assert all(condition.holds for condition in last.conditions)
    assert json.loads(json.dumps(explanation.to_json()))["why"] == decision.why


# the cost: counted in lines that run, because a clock would fail on a slow machine


def cost(table: RouteTable, name: str) -> int:
    """Lines of Python that a decision takes: a loop over the routes would take one for each."""
    lines = 0

    def count(_: Any, event: str, __: Any) -> Any:
        nonlocal lines
        lines += event == "line"
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        table.match(name, (), "10.0.0.1", "web")
    finally:
        sys.settrace(before)
    return lines


def test_the_cost_does_not_grow_with_the_number_of_routes() -> None:
    few, many = (
        RouteTable(
            routes_of(
                *(f"host{n}.example.com" for n in range(count)),
                *(f"*.shop{n}.example.com" for n in range(count)),
                *(f"**.apps{n}.example.com" for n in range(count)),
            )
        )
        for count in (10, 3_334)  # of each kind
    )
    names = ["host7.example.com", "www.shop7.example.com", "a.b.apps7.example.com", "nobody.example.org"]
    assert [cost(many, name) for name in names] == [cost(few, name) for name in names]
    assert cost(many, "host7.example.com") < 10, "an exact name is one look-up"
    assert [len(many.explain(name, (), "10.0.0.1", "web").tried) for name in names] == [1, 1, 1, 0]


def test_a_name_of_127_labels_costs_as_much_for_each() -> None:
    table = RouteTable(routes_of("*.z", "**.z"))
    two, three, most = (cost(table, "a." * count + "a") for count in (1, 2, 126))
    assert most - two == 125 * (three - two) > 0
    assert table.explain("a." * 126 + "a", (), "10.0.0.1", "web").tried == ()


# stories


def test_the_most_specific_name_wins_whatever_the_order_of_the_file() -> None:
    routes = [
        *routes_of("*", "**.example.com", "**.b.example.com", "*.b.example.com", "a.b.example.com"),
        Route("regex", sni_regex=(r".*\.example\.(com|org)",), upstream="u"),
    ]
    for listed in (routes, routes[::-1]):
        assert chosen(listed, "a.b.example.com") == "a.b.example.com"
        assert chosen(listed, "c.b.example.com") == "*.b.example.com"
        assert chosen(listed, "c.c.b.example.com") == "**.b.example.com"
        assert chosen(listed, "b.example.com") == "**.example.com"
        assert chosen(listed, "x.example.org") == "regex"
        assert chosen(listed, "example.com") == "*"
        assert chosen(listed, None) == "*"


def test_among_equals_the_first_in_the_file() -> None:
    first, second = (Route(name, sni=(NamePattern.parse("a.test"),), upstream="u") for name in "12")
    assert chosen([first, second], "a.test") == "1"
    assert chosen([second, first], "a.test") == "2"


def test_where_other_conditions_fail_the_less_specific_name_is_next() -> None:
    routes = [
        *routes_of("a.test", alpn=("h2",)),
        *routes_of("**.test", listeners=("admin",)),
        *routes_of("*"),
    ]
    assert chosen(routes, "a.test", (b"h2",)) == "a.test"
    assert chosen(routes, "a.test", (b"http/1.1",)) == "*"


def test_no_route_is_never_a_default_route() -> None:
    table = RouteTable(routes_of("a.test", "*.a.test", "**.b.test"))
    for name in ("b.test", "test", "a.test.evil", None):
        decision = table.match(name, (b"h2",), "10.0.0.1", "web")
        assert decision.route is None
        assert decision.refusal is Reason.NO_ROUTE
    assert RouteTable([]).match("a.test", (), None, "web").route is None


def test_tls_and_not_tls_never_cross() -> None:
    plain = Route("plain", tls=False, upstream="u")
    assert chosen([plain], "a.test") is None
    assert chosen([plain], None) is None
    assert chosen([plain], None, tls=False) == "plain"
    assert chosen([Route("every", upstream="u"), plain], None, tls=False) == "plain"
    refused = RouteTable(routes_of("*")).match(None, (), None, "web", tls=False)
    assert refused.route is None
    assert refused.refusal is Reason.NOT_TLS


def test_a_reject_route_refuses_and_is_named() -> None:
    decision = RouteTable(routes_of("a.test", mode=Mode.REJECT)).match("a.test", (), None, "web")
    assert decision.route is not None
    assert decision.refusal is Reason.REJECTED
    assert decision.why == "sni 'a.test' of route 'a.test'"


@pytest.mark.parametrize(
    ("asked", "offered", "taken"),
    [
        ((), (), True),
        ((), (b"h2",), True),
        (("h2",), (), False),
        (("h2",), (b"http/1.1", b"h2"), True),
        (("h2",), (b"http/1.1",), False),
        (("h2", ""), (), True),
        (("h2", ""), (b"http/1.1",), False),
        (("",), (), True),
        (("",), (b"h2",), False),
    ],
)
def test_alpn(asked: tuple[str, ...], offered: tuple[bytes, ...], taken: bool) -> None:
    assert (chosen(routes_of("a.test", alpn=asked), "a.test", offered) is not None) == taken


def test_a_regular_expression_matches_the_whole_name_in_either_case() -> None:
    routes = [Route("r", sni_regex=(r"Web[0-9]+\.a",), upstream="u")]
    assert chosen(routes, "web12.a") == "r"
    assert chosen(routes, "web12.a.b") is None
    assert chosen(routes, "xweb12.a") is None
    assert chosen(routes, None) is None
    with pytest.raises(PatternError, match=r"sni_regex '\(a': .*unterminated"):
        RouteTable([Route("r", sni_regex=("(a",))])


def test_a_route_that_is_not_for_tls_has_no_tls_conditions() -> None:
    with pytest.raises(RouteError, match="`alpn` needs TLS"):
        Route("r", tls=False, alpn=("h2",))
    with pytest.raises(RouteError, match="'terminate' needs TLS"):
        Route("r", tls=False, mode=Mode.TERMINATE)


@pytest.fixture
def addresses_parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    parsed: list[str] = []

    def parse(text: str) -> Any:
        parsed.append(text)
        return ip_address(text)

    monkeypatch.setattr("spyhole.routing.conditions.parse_client", parse)
    return parsed


def test_the_address_is_parsed_once_and_only_if_a_route_asks(addresses_parsed: list[str]) -> None:
    nets = tuple(ip_network(f"192.168.{n}.0/24") for n in range(3))
    table = RouteTable([*routes_of("a.test", "*.test", networks=nets), *routes_of("b.test", alpn=("h2",))])
    table.match("b.test", (b"h2",), "10.0.0.1", "web")
    assert addresses_parsed == []
    table.match("a.test", (b"h2",), "10.0.0.1", "web")
    assert addresses_parsed == ["10.0.0.1"]
