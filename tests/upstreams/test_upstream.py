from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spyhole.errors import OperatorError
from spyhole.upstreams.address import TcpAddress
from spyhole.upstreams.upstream import Upstream

servers = st.lists(st.builds(TcpAddress, st.just("10.0.0.1"), st.integers(1, 5)), min_size=1, max_size=8)


@given(servers, st.integers(0, 20), st.integers(1, 5))
def test_each_round_gives_every_server_its_turn(listed: list[TcpAddress], start: int, rounds: int) -> None:
    upstream = Upstream("web", listed)
    upstream.begin_with(start)
    for _ in range(rounds):
        assert Counter(upstream.pick() for _ in listed) == Counter(listed)


@given(servers, st.integers(0, 20))
def test_candidates_are_every_server_once_and_begin_where_pick_would(
    listed: list[TcpAddress], start: int
) -> None:
    retrying, picking = Upstream("web", listed), Upstream("web", listed)
    retrying.begin_with(start)
    picking.begin_with(start)
    for _ in range(2 * len(listed)):
        candidates = retrying.candidates()
        assert candidates[0] == picking.pick()
        assert sorted(candidates, key=str) == sorted(set(listed), key=str)


def test_workers_start_at_different_servers() -> None:
    listed = [TcpAddress("10.0.0.1", port) for port in (1, 2, 3)]
    upstream = Upstream("web", listed)
    firsts = []
    for worker in range(3):
        upstream.begin_with(worker)
        firsts.append(upstream.pick())
    assert firsts == listed


def test_no_servers_is_the_operators_error() -> None:
    with pytest.raises(OperatorError, match="'web' has no servers"):
        Upstream("web", [])
