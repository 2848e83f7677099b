"""The corpus of `make fuzz`, without the fuzzer: whatever it once found stays found."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzz.__main__ import CORPUS, NAMES
from fuzz.seeds import seeds
from fuzz.targets import TARGETS


def inputs(name: str) -> list[Path]:
    return sorted(CORPUS.joinpath(name).iterdir())


def test_the_targets_are_those_that_are_run() -> None:
    assert tuple(TARGETS) == NAMES
    assert {path.name for path in CORPUS.iterdir()} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_in_the_corpus_breaks_its_target(name: str) -> None:
    found = inputs(name)
    assert found
    for path in found:
        TARGETS[name].run(path.read_bytes())


@pytest.mark.parametrize("name", NAMES)
def test_no_seed_breaks_its_target(name: str) -> None:
    for seed in seeds(name):
        TARGETS[name].run(seed)
