"""Slices of a work together say what the whole would have said."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

from bench.measuring import together
from hypothesis import given
from hypothesis import strategies as st

SLICES = st.lists(st.lists(st.sampled_from([0.5, 1.0, 2.0, 64.0, 1000.0])), min_size=1, max_size=8)


def said(latencies: list[float]) -> dict[str, Any]:
    """What the load generator prints of a slice with such latencies."""
    counts = sorted(Counter(latencies).items())
    return {
        "operations": len(latencies),
        "seconds": 0.25,
        "why": "",
        "latencies": [[*pair] for pair in counts],
    }


@given(SLICES)
def test_the_latencies_are_those_of_all_slices(slices: list[list[float]]) -> None:
    whole = sorted(latency for latencies in slices for latency in latencies)
    found = together([said(latencies) for latencies in slices])
    for name, quantile in (("p50_us", 0.5), ("p99_us", 0.99), ("p999_us", 0.999)):
        expected = whole[math.ceil(quantile * len(whole)) - 1] if whole else 0
        assert found[name] == expected


@given(SLICES)
def test_what_is_counted_is_added_up(slices: list[list[float]]) -> None:
    found = together([said(latencies) for latencies in slices])
    assert found["operations"] == sum(map(len, slices))
    assert found["seconds"] == 0.25 * len(slices)
    assert not {"latencies", "why"} & found.keys()
