"""The laws of the parser on hellos that nobody on the team wrote, and on what mutation makes of them."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spyhole.conformance.oracle import OpenSsl
from spyhole.wire.client_hello import ClientHello
from spyhole.wire.ja3 import ja3
from spyhole.wire.ja4 import ja4
from support.hellos import Captured
from support.mutations import changed_anywhere, mutated
from support.parser_laws import assert_agreement, assert_same_however_cut


def rows(folder: Path, name: str) -> list[dict[str, Any]]:
    """The rows of a file of vectors; skips by its name where it is not there."""
    path = folder / name
    if not path.is_file():
        pytest.skip(f"needs the vectors from outside: ../shared/vectors/{name} is not there")
    text = path.read_text()
    found = [json.loads(line) for line in text.splitlines()] if name.endswith("l") else json.loads(text)
    assert found
    return found


@pytest.fixture(scope="module")
def clients(vectors: Path) -> list[Captured]:
    """Real clients, each hello in one record."""
    found = rows(vectors, "clienthellos.jsonl") + rows(vectors, "browsers.json")
    return [Captured(row.get("profile", "?"), None, bytes.fromhex(row["hex"])) for row in found]


@pytest.fixture(scope="module")
def seeds(vectors: Path) -> list[Captured]:
    """Fuzz seeds that begin with a hello, sound or not, and go on."""
    return [
        Captured("?", None, bytes.fromhex(row["hex"])) for row in rows(vectors, "boringssl_seeds.jsonl")
    ]


@pytest.mark.parametrize("which", ["clients", "seeds"])
def test_any_split_gives_the_same_answer(which: str, request: pytest.FixtureRequest) -> None:
    random = Random(4)
    hellos: list[Captured] = request.getfixturevalue(which)
    for number, real in enumerate(hellos):
        size = len(real.wire)
        for _ in range(20):
            assert_same_however_cut(real.wire, [random.randrange(size) for _ in range(random.randrange(6))])
        if number % 8 == 0:
            assert_same_however_cut(real.wire, range(size))


@settings(max_examples=500)
@given(data=st.data())
def test_mutated_clients_agree_with_openssl(
    oracle: OpenSsl, clients: list[Captured], data: st.DataObject
) -> None:
    assert_agreement(oracle, data.draw(mutated(clients)))


@settings(max_examples=500)
@given(data=st.data())
def test_bytes_changed_anywhere_agree_with_openssl(
    oracle: OpenSsl, clients: list[Captured], seeds: list[Captured], data: st.DataObject
) -> None:
    assert_agreement(oracle, data.draw(changed_anywhere(clients + seeds)))


def test_every_fingerprint_is_theirs(vectors: Path) -> None:
    """JA3 of all; JA4 of all that it was told of, and so of all on which two tools agree."""
    found = rows(vectors, "clienthellos.jsonl")
    compared: Counter[str] = Counter()
    for row in [*found, *rows(vectors, "browsers.json")]:
        said = assert_same_however_cut(bytes.fromhex(row["hex"]), [])
        assert isinstance(said, ClientHello)
        assert ja3(said) == row["ja3"]
        if row["ja4"] is not None:
            assert ja4(said) == row["ja4"]
            compared[row.get("ja4_status", "browser")] += 1
    assert compared["agreed"] == sum(row["ja4_status"] == "agreed" for row in found) > 0
    assert compared["browser"] > 40
