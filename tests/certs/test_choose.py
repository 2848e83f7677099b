"""Which certificates a name selects: against the rule written down plainly."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from spyhole.certs.choose import CertificateTable


@dataclass(frozen=True, eq=False)
class Card:
    names: tuple[str, ...]
    key_type: str = "ecdsa"
    default: bool = False


def chosen(cards: list[Card], name: str | None) -> list[int]:
    choice = CertificateTable(cards).choose(name)
    return [] if choice is None else sorted(cards.index(card) for card in choice.certificates)


def plainly(cards: list[Card], name: str | None) -> list[int]:
    """The rule, for each key type by itself, by looking at every certificate."""
    result = []
    for key_type in {card.key_type for card in cards}:
        of_type = [i for i, card in enumerate(cards) if card.key_type == key_type]
        if name is not None:
            exact = [i for i in of_type if name in cards[i].names]
            wild = [i for i in of_type if "*." + name.partition(".")[2] in cards[i].names]
            result += (exact or wild)[:1]
    if not result:
        for default in [card for card in cards if card.default][:1]:
            for key_type in {card.key_type for card in cards}:
                same = [
                    i
                    for i, card in enumerate(cards)
                    if card.key_type == key_type and set(card.names) == set(default.names)
                ]
                result += [cards.index(default)] if key_type == default.key_type else same[:1]
    return sorted(result)


NAMES = ["a.test", "b.test", "x.a.test", "y.x.a.test", "test"]
CARDS = st.builds(
    Card,
    names=st.lists(st.sampled_from([*NAMES, "*.test", "*.a.test", "*.x.a.test"]), max_size=3).map(tuple),
    key_type=st.sampled_from(["rsa", "ecdsa"]),
    default=st.booleans(),
)


@given(cards=st.lists(CARDS, max_size=5), name=st.sampled_from([None, "", "other.example", *NAMES]))
def test_the_table_follows_the_rule(cards: list[Card], name: str | None) -> None:
    assert chosen(cards, name) == plainly(cards, name)


@given(cards=st.lists(CARDS, max_size=5))
def test_every_choice_is_among_the_choices_and_none_is_made_twice(cards: list[Card]) -> None:
    table = CertificateTable(cards)
    choices = {table.choose(name) for name in [None, "z.test", "z.a.test", "z.x.a.test", *NAMES]} - {None}
    assert choices <= set(table.choices)
    kept = [choice.certificates for choice in table.choices if not choice.is_default]
    assert len(kept) == len(set(kept))


def test_exact_before_wildcard_and_a_wildcard_is_one_label() -> None:
    cards = [Card(("*.shop.test",)), Card(("www.shop.test",))]
    assert chosen(cards, "www.shop.test") == [1]
    assert chosen(cards, "api.shop.test") == [0]
    assert chosen(cards, "a.b.shop.test") == []
    assert chosen(cards, "shop.test") == []
    assert chosen(cards, None) == []


def test_rsa_and_ecdsa_go_together_even_where_one_is_a_wildcard() -> None:
    cards = [
        Card(("*.shop.test",), "rsa"),
        Card(("www.shop.test",), "ecdsa"),
        Card(("*.shop.test",), "ecdsa"),
    ]
    assert chosen(cards, "www.shop.test") == [0, 1]
    assert chosen(cards, "api.shop.test") == [0, 2]


def test_the_default_is_for_what_nothing_covers_and_brings_its_sibling() -> None:
    cards = [Card(("a.test",), "rsa", default=True), Card(("a.test",), "ecdsa"), Card(("b.test",), "ecdsa")]
    assert chosen(cards, None) == chosen(cards, "c.test") == [0, 1]
    assert chosen(cards, "b.test") == [2]
    choice = CertificateTable(cards).choose(None)
    assert choice is not None
    assert choice.is_default


def test_a_partial_wildcard_covers_nothing() -> None:
    assert chosen([Card(("w*.test", "*"))], "www.test") == []
