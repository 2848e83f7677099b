"""The route table: which route takes this connection?

The most specific name goes first: exact, `*.`, `**.` (the longest suffix first), regular expressions, `*`;
among equals, the order of the file. A rule whose name matches and whose other conditions do not is passed
over, and the search goes on to the next less specific one.

Names and suffixes are keys of dictionaries, so the cost depends on the labels of the name and not on the
number of routes. What is tried one by one: routes that share one name, regular expressions, and routes for
`*` or for `tls = false`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from spyhole.routing.conditions import Conditions, Question
from spyhole.routing.decision import Decision, Rule
from spyhole.routing.explain import Explanation, Tried
from spyhole.routing.near_misses import near_misses
from spyhole.routing.patterns import ANY, PatternKind, compile_regex

if TYPE_CHECKING:
    import re
    from collections.abc import Iterable, Iterator

    from spyhole.routing.route import Route

_Rules: TypeAlias = list[Rule]


class RouteTable:
    """An immutable set of routes, ready to be asked."""

    __slots__ = (
        "_any",
        "_any_depth",
        "_exact",
        "_not_tls",
        "_one_label",
        "_regexes",
        "_settled",
        "_settled_as_sent",
        "routes",
    )

    def __init__(self, routes: Iterable[Route]) -> None:
        """Raises `PatternError` for a regular expression that does not compile."""
        self.routes = tuple(routes)
        self._exact: dict[str, _Rules] = {}
        self._one_label: dict[str, _Rules] = {}
        self._any_depth: dict[str, _Rules] = {}
        self._regexes: list[tuple[re.Pattern[str], Rule]] = []
        self._any: _Rules = []
        self._not_tls: _Rules = []
        for route in self.routes:
            self._add(route)
        self._settled: dict[str | None, Decision] = {
            name: Decision.to(rules[0], name, True)
            for name, rules in [*self._exact.items(), (None, self._any)]
            if rules and rules[0].conditions.unconditional
        }
        """Names that one look-up decides, because the first rule has no condition: the common case."""
        self._settled_as_sent = {
            None if name is None else name.encode(): decision for name, decision in self._settled.items()
        }

    def settled_by(self, raw: bytes | None) -> Decision | None:
        """The decision, if the server name as it was sent is all that it takes; None: ask `match`.

        Only for a name that stands in a route as it was sent: such a name needs no other check.
        """
        return self._settled_as_sent.get(raw)

    def match(
        self,
        server_name: str | None,
        alpn: tuple[bytes, ...],
        client: str | None,
        listener: str,
        *,
        tls: bool = True,
    ) -> Decision:
        """The decision for one connection.

        `server_name` is what `parse_server_name` gave; a hello whose name that refuses never comes here.
        `client` is the address without port, None on a unix socket; ValueError when it is no address.
        """
        if tls:
            settled = self._settled.get(server_name)
            if settled is not None:
                return settled
        return self._search(server_name, Question(alpn, client, listener), tls, None)

    def explain(
        self,
        server_name: str | None,
        alpn: tuple[bytes, ...],
        client: str | None,
        listener: str,
        *,
        tls: bool = True,
    ) -> Explanation:
        """The same decision as `match`, with every rule that was tried and what came of it."""
        question = Question(alpn, client, listener)
        tried: list[Tried] = []
        decision = self._search(server_name, question, tls, tried)
        return Explanation(
            decision, alpn, client, listener, tuple(tried), near_misses(self.routes, decision)
        )

    def _search(
        self, server_name: str | None, question: Question, tls: bool, trace: list[Tried] | None
    ) -> Decision:
        almost: Rule | None = None
        for rule, named in self._candidates(server_name, tls):
            taken = named and rule.conditions.hold(question)
            if trace is not None:
                trace.append(Tried.on(rule, question, named=named, taken=taken))
            if taken:
                return Decision.to(rule, server_name, tls)
            if named and (
                almost is None
                or (rule.conditions.on_listener(question) and not almost.conditions.on_listener(question))
            ):
                almost = rule
        return Decision.none(server_name, tls, almost)

    def _candidates(self, server_name: str | None, tls: bool) -> Iterator[tuple[Rule, bool]]:
        """Rules in the order to try them, and whether the name matches: False only for `sni_regex`."""
        if not tls:
            for rule in self._not_tls:
                yield rule, True
            return
        if server_name is not None:
            for rule in self._exact.get(server_name, ()):
                yield rule, True
            dot = server_name.find(".") + 1
            if dot and self._one_label:
                for rule in self._one_label.get(server_name[dot:], ()):
                    yield rule, True
            if self._any_depth:
                while dot:
                    for rule in self._any_depth.get(server_name[dot:], ()):
                        yield rule, True
                    dot = server_name.find(".", dot) + 1
            for regex, rule in self._regexes:
                yield rule, regex.fullmatch(server_name) is not None
        for rule in self._any:
            yield rule, True

    def _add(self, route: Route) -> None:
        conditions = Conditions(route)
        if not route.tls:
            self._not_tls.append(Rule(route, PatternKind.ANY, "tls = false", conditions))
            return
        by_kind = {
            PatternKind.EXACT: self._exact,
            PatternKind.ONE_LABEL: self._one_label,
            PatternKind.ANY_DEPTH: self._any_depth,
        }
        for pattern in route.patterns:
            rule = Rule(route, pattern.kind, str(pattern), conditions)
            if pattern == ANY:
                self._any.append(rule)
            else:
                by_kind[pattern.kind].setdefault(pattern.name, []).append(rule)
        for text in dict.fromkeys(route.sni_regex):
            self._regexes.append((compile_regex(text), Rule(route, PatternKind.REGEX, text, conditions)))

    def __repr__(self) -> str:
        return f"<RouteTable of {len(self.routes)} routes>"
