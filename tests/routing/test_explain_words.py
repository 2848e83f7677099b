from __future__ import annotations

from ipaddress import ip_network
from typing import Any

from spyhole.routing.patterns import NamePattern
from spyhole.routing.route import Route
from spyhole.routing.table import RouteTable


def route(name: str, *sni: str, **others: Any) -> Route:
    return Route(name, sni=tuple(map(NamePattern.parse, sni)), upstream="u", **others)


def words(
    table: list[Route], name: str | None, alpn: tuple[bytes, ...] = (), client: str | None = "1.2.3.4"
) -> str:
    explanation = RouteTable(table).explain(name, alpn, client, "web")
    return "\n".join(
        f"{tried.rule.route.name} {condition.key} {condition.holds} {condition.why}"
        for tried in explanation.tried
        for condition in tried.conditions
    )


def missed(table: list[Route], name: str) -> list[tuple[str, str, str]]:
    misses = RouteTable(table).explain(name, (), None, "web").near_misses
    return [(miss.route, miss.rule, miss.why) for miss in misses]


def test_each_condition_says_why() -> None:
    table = [
        route("h2", "a.test", alpn=("h2", "http/1.1")),
        route("inside", "*.test", networks=(ip_network("10.0.0.0/8"), ip_network("fd00::/8"))),
        route("admin", "**.test", listeners=("admin", "other")),
        Route("regex", sni_regex=("b.*",), upstream="u"),
        route("none", alpn=("",)),
    ]
    offers_none = (
        'the client offers none; the route asks for h2 or http/1.1; add "" to take clients that offer none'
    )
    assert words(table, "a.test").splitlines() == [
        "h2 sni True it is the name, 'a.test'",
        f"h2 alpn False {offers_none}",
        "inside sni True '*.test' takes it: one label before the suffix",
        "inside from False 1.2.3.4 is not in 10.0.0.0/8 or fd00::/8",
        "admin sni True '**.test' takes it: any depth before the suffix",
        "admin listener False 'web' is not 'admin' or 'other'",
        "regex sni_regex False 'b.*' does not match the whole name",
        "none sni True '*' takes every name, and none",
        "none alpn True the client offers none; the route asks for no ALPN",
    ]
    assert "the client offers \\x" not in words(table, "a.test", (b"\x0a\x0a",))
    assert "the client offers 0x0a0a; the route asks for h2" in words(table, "a.test", (b"\x0a\x0a",))
    assert "inside from False the client has no IP address to be in 10" in words(
        table, "a.test", client=None
    )


def test_a_wildcard_does_not_take_its_bare_suffix() -> None:
    for pattern in ("*.example.com", "**.example.com"):
        [(name, rule, why)] = missed([route("web", pattern), route("rest", "*")], "example.com")
        assert (name, rule) == ("web", pattern)
        assert why == "takes names under 'example.com', not 'example.com' itself; add it to `sni`"


def test_a_wildcard_is_one_label() -> None:
    [(_, rule, why)] = missed([route("web", "*.example.com")], "a.b.example.com")
    assert rule == "*.example.com"
    assert why == "takes one label before 'example.com', and here are 2; '**.example.com' takes any depth"


def test_an_exact_name_does_not_take_names_under_it() -> None:
    [(_, rule, why)] = missed([route("web", "example.com")], "www.example.com")
    assert (rule, why) == ("example.com", "takes that name only; '*.example.com' takes names under it")


def test_a_slip_of_the_keyboard() -> None:
    table = [route("web", "www.exmaple.com"), route("shops", "*.shpo.example.com")]
    assert missed(table, "www.example.com") == [
        ("web", "www.exmaple.com", "is spelt almost like 'www.example.com'")
    ]
    assert [rule for _, rule, _ in missed(table, "a.shop.example.com")] == ["*.shpo.example.com"]


def test_a_regular_expression_that_matches_a_part() -> None:
    [(_, rule, why)] = missed([Route("r", sni_regex=("web[0-9]",), upstream="u")], "web7.test")
    assert rule == "web[0-9]"
    assert why == "matches a part of the name; it has to match the whole"


def test_nothing_comes_close_to_what_was_found_by_its_own_name() -> None:
    table = [
        route("exact", "a.test"),
        route("wild", "*.a.test"),
        route("other", "b.test"),
        route("rest", "*"),
    ]
    assert missed(table, "a.test") == []
    assert missed(table, "nothing.like.it") == []


def test_at_most_five_are_told() -> None:
    assert len(missed([route(str(n), f"*.{n}a.test", "*.test") for n in range(9)], "test")) == 5
