"""Why a connection goes where it goes: values that a command, a log or a person can read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from spyhole.routing.conditions import Condition, Question, shown_protocol
from spyhole.routing.patterns import PatternKind

if TYPE_CHECKING:
    from spyhole.routing.decision import Decision, Rule
    from spyhole.routing.near_misses import NearMiss


@dataclass(frozen=True, slots=True)
class Tried:
    """One rule that was tried, and what each of its conditions said."""

    rule: Rule
    conditions: tuple[Condition, ...]
    """The name first (or `tls`), then the others that the route has."""
    taken: bool

    @classmethod
    def on(cls, rule: Rule, question: Question, *, named: bool, taken: bool) -> Tried:
        """`named` and `taken` are what the search found; the conditions are examined for their words.

        Where the name did not match, the others were not looked at, so they are not shown either.
        """
        others = rule.conditions.examine(question) if named else ()
        return cls(rule, (_name_condition(rule, named), *others), taken)

    def to_json(self) -> dict[str, Any]:
        return {
            "route": self.rule.route.name,
            "rule": self.rule.text,
            "kind": self.rule.kind.name.lower(),
            "taken": self.taken,
            "conditions": [
                {"key": condition.key, "holds": condition.holds, "why": condition.why}
                for condition in self.conditions
            ],
        }


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision, what was asked, the rules tried in order, and rules that came close."""

    decision: Decision
    alpn: tuple[bytes, ...]
    client: str | None
    listener: str
    tried: tuple[Tried, ...]
    near_misses: tuple[NearMiss, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values only: what `json.dumps` takes."""
        decision = self.decision
        return {
            "server_name": decision.server_name,
            "tls": decision.tls,
            "alpn": [shown_protocol(protocol) for protocol in self.alpn],
            "client": self.client,
            "listener": self.listener,
            "route": decision.route.name if decision.route else None,
            "mode": decision.route.mode.value if decision.route else None,
            "upstream": decision.route.upstream if decision.route else None,
            "refusal": decision.refusal.value if decision.refusal else None,
            "why": decision.why,
            "tried": [tried.to_json() for tried in self.tried],
            "near_misses": [miss._asdict() for miss in self.near_misses],
        }


def _name_condition(rule: Rule, named: bool) -> Condition:
    if not rule.route.tls:
        return Condition("tls", named, "it is not TLS, as the route asks")
    if rule.kind is PatternKind.REGEX:
        verb = "matches" if named else "does not match"
        return Condition("sni_regex", named, f"{rule.text!r} {verb} the whole name")
    return Condition("sni", named, _HOW[rule.kind].format(rule.text))


_HOW = {
    PatternKind.EXACT: "it is the name, {!r}",
    PatternKind.ONE_LABEL: "{!r} takes it: one label before the suffix",
    PatternKind.ANY_DEPTH: "{!r} takes it: any depth before the suffix",
    PatternKind.ANY: "{!r} takes every name, and none",
}
